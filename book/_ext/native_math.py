"""Formulas as MathML, which browsers draw by themselves.

There is no script to load, to wait for, or to stop at with the tab key. Docutils translates; what it cannot
read is a warning that names the formula.
"""

from __future__ import annotations

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.locale import _
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)

SAME = [
    (r"(\\,)?(?:\\middle)?\\(?:\||Vert(?![a-z]))(\\,)?", r"\\parallel "),  # a bar that is not stretched
    (r"\\dots(?![a-z])", r"\\ldots"),
    (r"\\middle(?![a-z])", ""),
    (r"(\\[td]?frac)(\d)(\d)", r"\1{\2}{\3}"),
    (r"(\\(?:bar|hat|tilde)\s*(?:\\[a-z]+|[a-zA-Z]))_", r"\1{}_"),  # else the index stands under the letter
]
"""TeX that docutils does not know or misreads, and what says the same."""

FUNCTION = re.compile(
    r'<m[io]( movablelimits="true")?>([A-Za-z]{2,})</m[io]>'
    r"(?=(?:<mo>&ApplyFunction;</mo>)?(<mo[^>]*>\(|<mrow><mo)?)"
)
BAR = re.compile(r'<mo( class="\w+")?(?: stretchy="false")?>([‖|])</mo>')
"""A bar that nobody asked to grow or to stand apart: browsers do both, where TeX leaves it as it is."""
SPACED = '<mo{0} lspace="0.1667em" rspace="{2}">{1}</mo>'
"""The name of a function stands apart from what surrounds it, but for its bracket."""
FIRST = re.compile(
    r'((?:<math[^>]*>|<mo[^>]*>\(</mo>)(?:<m(?:row|sub|sup|under|style)[^>]*>)*<mo[^>]*) lspace="0.1667em"'
)
"""Such a name as the first of its formula, or of a bracket: there is nothing to stand apart from."""
STYLE = re.compile(r'<(?!mstyle|mtable|math)(\w+)((?: (?:displaystyle|scriptlevel)="[^"]*")+)')
"""A fraction, say, that is drawn smaller or larger than its place asks for."""


def mathml(tex: str, block: bool) -> str:
    """The formula `tex` as a <math> element, on a line of its own if `block`."""
    for unknown, known in SAME:
        tex = re.sub(unknown, known, tex)
    found = styled(re.sub(r">\s+<", "><", tex2mathml(tex, as_block=block)))
    found = BAR.sub(r'<mo\1 stretchy="false" lspace="0" rspace="0">\2</mo>', found)
    found = FUNCTION.sub(lambda m: SPACED.format(m[1] or "", m[2], "0" if m[3] else "0.1667em"), found)
    return FIRST.sub(r'\1 lspace="0"', found)


def styled(formula: str) -> str:
    """The same with the style of a fraction on an element around it, the one place that HTML has for it."""
    while found := STYLE.search(formula):
        tag, style = found.groups()
        depth, end = 0, found.start()
        for each in re.finditer(rf"<(/?){tag}\b[^>]*>", formula[found.start() :]):
            depth += -1 if each[1] else 1
            if depth == 0:
                end += each.end()
                break
        inner = f"<{tag}{formula[found.end() : end]}"
        formula = f"{formula[: found.start()]}<mstyle{style}>{inner}</mstyle>{formula[end:]}"
    return formula


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """A formula within a line."""
    self.body.append(f'<span class="math">{_translated(node, block=False)}</span>')
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """A formula on a line of its own, with its number if it has one."""
    self.body.append(self.starttag(node, "div", CLASS="math"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, _("Link to this equation"))
        self.body.append("</span>")
    self.body.append(f"{_translated(node, block=True)}</div>\n")
    raise nodes.SkipNode


def _translated(node: nodes.math | nodes.math_block, block: bool) -> str:
    try:
        return mathml(node.astext(), block)
    except MathError as error:
        logger.warning("formula %r: %s", node.astext(), error, location=node)
        return ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Offer the renderer; `html_math_renderer` chooses it."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
