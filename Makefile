# The book and its tests, from python3 (3.11 or later) and make alone. `make help` lists what there is.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/installed

# By default a thread that waits spins: on a busy machine that makes training tens of times slower. Some
# microseconds of it make a quiet one faster.
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 2000

.DEFAULT_GOAL := help
.PHONY: help setup book pdf test quick lint serve references clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1 /p' $(MAKEFILE_LIST) | while read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

book: $(READY) ## Run every chapter whose code, data or records changed, and write the book to _build/html
	@$(BIN)/gansrc data
	$(BIN)/jupyter-book build -W -n --keep-going .
	@echo "Open $(CURDIR)/_build/html/index.html"

pdf: book ## Print the book, with Chromium, to one file in _build/pdf
	$(BIN)/python book/_ext/whole_book.py

test: $(READY) ## Run the unit tests and every cell of every chapter
	@$(BIN)/gansrc data  # once, before two processes want to download it
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --nbval-lax --nbval-cell-timeout 300 book tests

quick: $(READY) ## Run the quick ones of the unit tests, without a built book and a browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow" tests --ignore tests/test_book.py --ignore tests/test_browser.py

lint: $(READY) ## Check style, spelling and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

serve: book ## Serve the book at http://localhost:8000 (some parts need a server)
	$(BIN)/python -m http.server --bind localhost --directory _build/html 8000

references: $(READY) ## Run the chapters again and store the outputs that the tests compare
	$(BIN)/python tests/write_references.py

clean: ## Delete the built book and the outputs it keeps
	rm -rf _build

setup: $(READY) ## Only make .venv and install into it

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or later, or run make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("gansrc needs Python 3.11 or later, got %d.%d: run make PYTHON=/path/to/python3" % sys.version_info[:2])'
	@echo "Making .venv: once, a few minutes and some 6 GB"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[book,test]'
	@touch $@
