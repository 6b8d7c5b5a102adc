"""The paper's own numbers for its equations, theorems, algorithm, figures and tables, on whatever page.

The label says it: `eq-4` is equation (4), `thm-1` Theorem 1, `prop-2` Proposition 2, `alg-1` Algorithm 1,
`fig-1` Figure 1, `table-1` Table 1. Our own figures and tables have no number, our own equations no label
(theorems: `:nonumber:`), so that none passes for one of the paper's. A warning says where it is otherwise.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.domains.math import MathDomain
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

PREFIX = {"figure": "fig", "table": "table", "theorem": "thm", "proposition": "prop", "algorithm": "alg"}

logger = logging.getLogger(__name__)


def paper_number(prefix: str, label: str) -> int | None:
    """The number that a label such as `eq-4` stands for, None for a label that is not the paper's."""
    match = re.fullmatch(rf"{prefix}-(\d+)", label)
    return int(match[1]) if match else None


class PaperEquations(MathDomain):
    """Sphinx's equations, numbered by their labels."""

    def note_equation(self, docname: str, labelid: str, location: Any = None) -> None:
        """Give a labelled equation the number in its label; a label that is not the paper's is a warning."""
        super().note_equation(docname, labelid, location)
        number = paper_number("eq", labelid)
        if number is None:
            logger.warning("equation label %s is not the paper's: remove it", labelid, location=location)
        else:
            self.equations[labelid] = (docname, number)


def configure(app: Sphinx, config: Config) -> None:
    """Switch Sphinx's own numbers of equations off."""
    config["math_numfig"] = False  # equation numbers come from the domain above, not from counting


def restore_counts(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Give Sphinx its own numbers back, so that it sees which pages have changed since the last build."""
    env.toc_fignumbers = getattr(env, "counted_fignumbers", env.toc_fignumbers)
    return []


def renumber(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Replace the numbers that Sphinx has counted by the paper's."""
    env.counted_fignumbers = env.toc_fignumbers
    env.toc_fignumbers = {
        docname: {kind: _numbers(docname, kind, counted) for kind, counted in kinds.items()}
        for docname, kinds in env.toc_fignumbers.items()
    }
    return []


def _numbers(docname: str, kind: str, counted: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    if kind not in PREFIX:
        return counted
    numbers = {label: paper_number(PREFIX[kind], label) for label in counted}
    if kind in ("figure", "table"):
        return {label: (number,) for label, number in numbers.items() if number is not None}
    for label in (label for label, number in numbers.items() if number is None):
        # The proof extension cannot do without a number here, so it keeps the counted one.
        logger.warning("%s %s is not the paper's: give it :nonumber:", kind, label, location=docname)
    return {label: counted[label] if number is None else (number,) for label, number in numbers.items()}


def setup(app: Sphinx) -> dict[str, bool]:
    """Number by label: equations in Sphinx's domain, all else before and after its counting."""
    app.add_domain(PaperEquations, override=True)
    app.connect("config-inited", configure)
    # Sphinx counts in this event, at priority 500.
    app.connect("env-get-updated", restore_counts, priority=100)
    app.connect("env-get-updated", renumber, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
