"""The package's own documentation: `.. package:: gansrc`, in a block of reStructuredText.

Every public module of the package gets a section, with what it defines, by Sphinx's autodoc; modules are
found by walking the package. Docstrings are read as they are written: `x` is code, $x$ is mathematics.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

MARKUP = re.compile(
    r"``.+?``|`(?P<code>[^`]+)`|\$\$(?P<display>.+?)\$\$|\$(?P<inline>[^$]+)\$|(?P<other>[*|\\]|_(?!\w))",
    re.DOTALL,
)
MODULES = "package_modules"


def modules(package: str) -> Iterator[str]:
    """The package and its public modules, by dotted name."""
    yield package
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if "._" not in module.name:
            yield module.name


class Package(SphinxDirective):
    """The sections of a package's modules."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write the sections in reStructuredText, and have them read."""
        found, lines = list(modules(self.arguments[0])), []
        self.env.metadata[self.env.docname][MODULES] = found
        for name in found:
            lines += [name, "-" * len(name), "", f".. automodule:: {name}", ""]
        section = nodes.section()
        section.document = self.state.document
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), 0, section, match_titles=True)
        return section.children


def outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """The pages on packages that have other modules now than when the page was read."""
    known = {name: data[MODULES] for name, data in env.metadata.items() if MODULES in data}
    return [name for name, found in known.items() if found != list(modules(found[0]))]


def as_written(
    app: Sphinx, what: str, name: str, thing: object, options: dict[str, Any], lines: list[str]
) -> None:
    """Turn `x` and $x$ of a docstring into what reStructuredText has for them."""

    def markup(match: re.Match[str]) -> str:
        match match.lastgroup:
            case "code":
                return f"``{match['code']}``"
            case "display":
                return f".. math:: {match['display']}".replace("\n", "\n   ")
            case "inline":
                return f":math:`{match['inline']}`"
            case "other":
                return "\\" + match["other"]
        return match[0]

    lines[:] = MARKUP.sub(markup, "\n".join(lines)).split("\n")


def readable(
    app: Sphinx,
    what: str,
    name: str,
    thing: object,
    options: dict[str, Any],
    signature: str | None,
    back: str | None,
) -> tuple[str, str | None] | None:
    """Write `...` for a default that a dataclass makes anew: Python's `<factory>` is no Python."""
    return (signature.replace("<factory>", "..."), back) if signature else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Bring autodoc, with links to the source, and the directive."""
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.viewcode")
    app.add_directive("package", Package)
    app.connect("env-get-outdated", outdated)
    app.connect("autodoc-process-signature", readable)
    app.connect("autodoc-process-docstring", as_written)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
