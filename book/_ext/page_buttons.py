"""The buttons above a chapter: download it as a notebook, or open it in Colab or Binder.

The latter two need an address, `repository: url` in `_config.yml`, and are left out while that is empty. The
notebooks that they open are those to download, in a branch of their own. In MyST:

    {repository}`its repository`    linked to the address, if there is one
    {printed}`one file`             linked to the PDF beside the published pages, if there is one
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import jupytext
from docutils import nodes
from plain_notebooks import plain
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxRole
from whole_book import PDF

NOTEBOOK_BRANCH = "notebooks"


class Repository(SphinxRole):
    """Words that lead to the repository, if there is an address."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """A link, or the words alone."""
        url = self.config.html_theme_options.get("repository_url")
        words = nodes.Text(self.text)
        return [nodes.reference("", "", words, refuri=url) if url else words], []


class Printed(SphinxRole):
    """Words that lead to the whole book for paper, which only the workflow puts beside the pages."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """A link, or the words alone."""
        words, site = nodes.Text(self.text), self.config.html_baseurl
        return [nodes.reference("", "", words, refuri=f"{site}{PDF.name}") if site else words], []


def switch_on(app: Sphinx, config: Config) -> None:
    """Show the theme's own repository buttons if there is an address."""
    options = config.html_theme_options
    if options.get("repository_url"):
        names = ("use_repository_button", "use_edit_page_button", "use_issues_button")
        options.update(dict.fromkeys(names, True))


def offer_notebook(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Put the chapter, as a notebook without outputs, where the theme's download button looks for it."""
    if _is_notebook(app, pagename):
        notebook = Path(app.outdir, "_sources", f"{pagename}.ipynb")
        notebook.parent.mkdir(parents=True, exist_ok=True)
        url = app.config.html_theme_options.get("repository_url", "")
        chapter = jupytext.read(app.env.doc2path(pagename))
        jupytext.write(plain(chapter, pagename, url, partial(words, app.env)), notebook)
        context["ipynb_source"] = f"{pagename}.ipynb"


def words(env: BuildEnvironment, role: str, text: str) -> str:
    """A figure or a verdict of the claims, or a citation, in words."""
    if role.startswith("cite"):
        entries = env.get_domain("cite").bibdata.data.entries
        cited = [_cited(entries[key.strip()]) for key in text.split(",")]
        listed = "; ".join(f"{who}, {year}" for who, year in cited)
        return ", ".join(f"{who} ({year})" for who, year in cited) if role == "cite:t" else f"({listed})"
    if role == "tally":
        return str(len(env.verdicts))
    claim, _, form = text.partition(":")
    claim, _, figure = claim.partition(".")
    judged = env.verdicts[claim]
    if role == "result":
        return (
            format(env.figures[claim][figure], form) if figure in env.figures.get(claim, {}) else judged.kind
        )
    return judged.title if role == "verdict" else judged.shown or judged.title


def _cited(entry: Any) -> tuple[str, str]:
    """Who wrote an entry of the bibliography, and when."""
    names = [" ".join(person.last_names) for person in entry.persons.get("author", [])] or ["?"]
    who = names[0] if len(names) == 1 else " and ".join(names) if len(names) == 2 else f"{names[0]} et al."
    return re.sub(r"[{}]", "", who), entry.fields.get("year", "")


def offer_launch(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add the buttons for Colab and Binder."""
    url = app.config.html_theme_options.get("repository_url", "").rstrip("/")
    if not url or not _is_notebook(app, pagename):
        return
    repository = "/".join(url.split("/")[-2:])
    places = {
        "Colab": f"https://colab.research.google.com/github/{repository}/blob/{NOTEBOOK_BRANCH}/{pagename}.ipynb",
        "Binder": f"https://mybinder.org/v2/gh/{repository}/{NOTEBOOK_BRANCH}?urlpath=lab/tree/{pagename}.ipynb",
    }
    buttons = [
        {"type": "link", "url": place, "text": name, "tooltip": f"Open in {name}", "icon": "fas fa-play"}
        for name, place in places.items()
    ]
    group = {"type": "group", "tooltip": "Run this page", "icon": "fas fa-rocket", "label": "launch-buttons"}
    context["header_buttons"].insert(0, group | {"buttons": buttons})


def _is_notebook(app: Sphinx, pagename: str) -> bool:
    return "kernelspec" in app.env.metadata.get(pagename, {})


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the role, and the buttons before and after the theme's own."""
    app.add_role("repository", Repository())
    app.add_role("printed", Printed())
    app.connect("config-inited", switch_on)
    app.connect("html-page-context", offer_notebook, priority=400)  # before the theme's buttons, at 501
    app.connect("html-page-context", offer_launch, priority=600)  # after them
    return {"parallel_read_safe": True, "parallel_write_safe": True}
