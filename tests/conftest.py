"""Under test, every annotated shape and type of `gansrc` is checked at run time."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

if find_spec("beartype"):
    install_import_hook("gansrc", "beartype.beartype")

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore Ctrl-C

settings.register_profile("same", derandomize=True)  # other inputs: pytest --hypothesis-profile default
settings.load_profile("same")

BOOK = Path(__file__).parents[1] / "book"
STATIC = BOOK / "_static"
PAGE = """<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>{piece}</title>
<link rel="stylesheet" href="{static}/custom.css"><link rel="stylesheet" href="{static}/live/live.css">
<script defer src="{live}/live.js"></script><script defer src="{live}/{piece}.js"></script>
<body><article class="bd-article">{data}
<figure class="live" id="live-{piece}" data-live="{piece}" aria-label="{piece}">
<div class="live-stage"></div><div class="live-still">still picture</div></figure></article></body></html>"""


@pytest.fixture
def images(tmp_path) -> str:
    """A file of small images, to train on."""
    rng, file = np.random.default_rng(0), tmp_path / "images.npz"
    parts = {"x_train": 200, "x_valid": 30, "x_test": 40}
    np.savez(file, **{name: rng.random((n, 4, 4)) for name, n in parts.items()})
    return str(file)


@pytest.fixture
def levels(tmp_path) -> str:
    """Every part of another grey; and after the 1,000 validation images that count, some white ones."""
    rng, file = np.random.default_rng(1), tmp_path / "levels.npz"
    parts = {
        name: np.clip(grey + 0.1 * rng.standard_normal((n, 4, 4)) + np.linspace(0, 0.1, 4), 0, 1)
        for name, grey, n in (("x_train", 0.3, 200), ("x_valid", 0.5, 1200), ("x_test", 0.7, 40))
    }
    parts["x_valid"][1000:] = rng.random((200, 4, 4)) > 0.1
    np.savez(file, **parts)
    return str(file)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; its tests are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -e .[test]")
    sys.path.append(str(BOOK / "_ext"))
    from whole_book import CHROMIUM, FLAGS

    if CHROMIUM is None:
        pytest.skip("no Chromium: install it (Debian: apt install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_piece(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open a page, from disk, that holds nothing but one piece of `book/_static/live`. A fault in its scripts
    or a request to a host fails the test.

    state: behind the #, such as "theorem-1:mean=1". data: what cells hand over, by name. folder: where the
    scripts lie. More options are those of a tab: color_scheme, reduced_motion, java_script_enabled, viewport.
    """
    faults, tabs = list[str](), list[Any]()

    def start(piece: str, state: str = "", data: dict[str, Any] | None = None, folder: Path = STATIC / "live",
              **options: Any) -> Any:  # fmt: skip
        scripts = "".join(
            f'<script type="application/json" id="live-data-{name}">{json.dumps(value)}</script>'
            for name, value in (data or {}).items()
        )
        file = tmp_path / f"{piece}.html"
        text = PAGE.format(piece=piece, static=STATIC.as_uri(), live=folder.as_uri(), data=scripts)
        file.write_text(text, encoding="utf-8")
        tab = chromium.new_page(**{"viewport": {"width": 800, "height": 900}, **options})
        tabs.append(tab)
        tab.on("pageerror", lambda error: faults.append(f"error: {error}"))
        tab.on("request", lambda r: r.url.startswith("file:") or faults.append(f"request: {r.url}"))
        tab.goto(file.as_uri() + (f"#{state}" if state else ""))
        if options.get("java_script_enabled", True):
            tab.wait_for_function("[...document.querySelectorAll('svg')].every(e => e.childElementCount)")
        return tab

    yield start
    for tab in tabs:
        tab.close()
    assert not faults, "\n".join(faults)
