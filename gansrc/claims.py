"""The claims of the paper: figures that the chapters hand over, rules on them, verdicts.

A chapter calls `evidence("T3", worst_error=...)`. The figures stay in the output of that cell, in the very
tag that shows them in a notebook, and nowhere else; the built page leaves that line out. `collect_html`
finds them in pieces of HTML. `read_claims` reads the rows of `book/claims.yml`; `verdict` judges a row by
its figures.
"""

from __future__ import annotations

import ast
import html
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

Value = float | int | bool | str
Kind = Literal[
    "agrees",
    "agrees, with a restriction",
    "does not agree",
    "not comparable",
    "left out of this build",
    "not computed in this build",
]

TAG = '<div class="evidence"'
"""How the output of `evidence` begins in a notebook."""

# What a rule may be made of: names, constants, arithmetic, comparisons, and / or / not. No calls.
_ALLOWED = (
    ast.Expression, ast.Name, ast.Load, ast.Constant, ast.BoolOp, ast.And, ast.Or, ast.Compare, ast.cmpop,
    ast.UnaryOp, ast.Not, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div,
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """One row of `book/claims.yml`: a statement of the paper, and the rule that our figures must meet.

    `page` is the chapter that computes the figures, `shown` a format string over them; `holds` and `fails`
    are the words for either outcome. `restriction` says what the statement as printed lacks to be true.
    `needs` is a rule of its own: where it is false, the figures cannot be compared with the paper's, `rule`
    is not asked, and `lacks`, a format string too, says what there is too little of.
    """

    id: str
    page: str
    paper: str
    shown: str
    rule: str
    holds: str
    fails: str
    restriction: str = ""
    needs: str = ""
    lacks: str = ""


@dataclass(frozen=True)
class Verdict:
    """How a claim fared: its kind, our figures in words, what there is to say about them, what they lack."""

    kind: Kind
    shown: str
    wording: str
    lacks: str = ""

    @property
    def title(self) -> str:
        """The kind, with what is lacking where something is: "not comparable: 5 % of their length"."""
        return f"{self.kind}: {self.lacks}" if self.lacks else self.kind


def evidence(claim: str, **figures: float | int | bool | str) -> None:
    """Hand the figures that bear on a claim to the book's claims page, and show them on one line.

    A chapter that lacks what they need, such as a data set, says so in their place: left_out="no MNIST".
    In a notebook the line is HTML whose tag carries the raw figures; elsewhere the line is printed. Raises
    ValueError for a figure that is not finite, TypeError for one that is no plain number or text.
    """
    if not figures:
        raise ValueError(f"evidence for {claim} needs a figure, got none: evidence({claim!r}, error=...)")
    for name, value in figures.items():
        _check(f"{claim}.{name}", value)
    shown = (f"{name} = {v:.4g}" if isinstance(v, float) else f"{name} = {v}" for name, v in figures.items())
    line = ", ".join(shown)
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        in_notebook = False
    else:
        in_notebook = get_ipython() is not None
    if not in_notebook:
        print(f"{claim} · {line}")
        return
    tag = f'{TAG} data-claim="{html.escape(claim)}" data-figures="{html.escape(json.dumps(figures))}">'
    row = f"{tag}<b>{html.escape(claim)}</b> {html.escape(line)}</div>"
    display({"text/plain": f"{claim} · {line}", "text/html": row}, raw=True)


def collect_html(pieces: Iterable[str]) -> dict[str, dict[str, Value]]:
    """Gather the evidence from pieces of HTML, one an output; pieces that hold none are passed over.

    Raises ValueError when a figure is given twice, or is not finite.
    """
    found: dict[str, dict[str, Value]] = {}
    for tag in (ElementTree.fromstring(piece) for piece in pieces if piece.startswith(TAG)):
        claim = tag.attrib["data-claim"]
        known = found.setdefault(claim, {})
        for name, value in json.loads(tag.attrib["data-figures"]).items():
            if name in known:
                raise ValueError(f"figure {claim}.{name} is given twice: give each its own name")
            _check(f"{claim}.{name}", value)
            known[name] = value
    return found


def read_claims(path: Path) -> list[Claim]:
    """Read the rows of a claims file: YAML, a list of mappings whose keys are the fields of `Claim`.

    Raises ValueError for an unknown, missing or empty field, a rule that does not parse, a repeated id.
    """
    import yaml  # only the book needs it; the machine that trains may lack it

    known = {field.name for field in fields(Claim)}
    claims: dict[str, Claim] = {}
    for row in yaml.safe_load(path.read_text(encoding="utf-8")):
        label = f"{path.name}: {row.get('id', 'a row without id')}"
        if extra := sorted(set(row) - known):
            raise ValueError(f"{label} has the unknown field {extra[0]!r}: the fields are {sorted(known)}")
        optional = {"restriction"} | (set() if {"needs", "lacks"} & set(row) else {"needs", "lacks"})
        if empty := sorted(name for name in known - optional if not str(row.get(name) or "").strip()):
            raise ValueError(f"{label} lacks the field {empty[0]!r}: write it")
        claim = Claim(**{name: str(text).strip() for name, text in row.items()})
        if claim.id in claims:
            raise ValueError(f"{label} occurs twice: keep one row")
        for rule in filter(None, (claim.needs, claim.rule)):
            _parse(rule)
        claims[claim.id] = claim
    return list(claims.values())


def evaluate(rule: str, figures: Mapping[str, Value]) -> bool:
    """Apply a rule such as `worst_error <= 1e-12 and pairs >= 8` to figures.

    Raises ValueError when the rule names a figure that is missing or not finite, holds more than arithmetic
    and comparisons, or ends in something else than true or false.
    """
    tree = _parse(rule)
    for name in (node.id for node in ast.walk(tree) if isinstance(node, ast.Name)):
        if name not in figures:
            raise ValueError(f"rule {rule!r} needs the figure {name!r}, got {sorted(figures)}: hand it over")
        _check(name, figures[name])
    try:
        # Safe: _parse lets nothing through but names, constants and operators, and there are no built-ins.
        outcome = eval(compile(tree, "<rule>", "eval"), {"__builtins__": {}}, dict(figures))
    except (TypeError, ZeroDivisionError) as error:
        raise ValueError(f"rule {rule!r} does not fit the figures {dict(figures)}: {error}") from error
    if not isinstance(outcome, bool):
        raise ValueError(f"rule {rule!r} must be true or false, got {outcome!r}: compare it with something")
    return outcome


def verdict(claim: Claim, figures: Mapping[str, Value] | None) -> Verdict:
    """Judge a claim by its figures; without any, say that it was not computed, or why it was left out.

    Raises ValueError as `evaluate` does, and when `shown` names a figure that is missing.
    """
    if not figures:
        return Verdict("not computed in this build", "", "No chapter hands over a figure for it.")
    if "left_out" in figures:
        return Verdict("left out of this build", "", f"{figures['left_out']}.")
    comparable = not claim.needs or evaluate(claim.needs, figures)
    holds = comparable and evaluate(claim.rule, figures)
    shown = _filled(claim.shown, figures)
    if not comparable:
        return Verdict("not comparable", shown, "", _filled(claim.lacks, figures))
    if not holds:
        return Verdict("does not agree", shown, claim.fails)
    return Verdict("agrees, with a restriction" if claim.restriction else "agrees", shown, claim.holds)


def _filled(form: str, figures: Mapping[str, Value]) -> str:
    """A format string with its figures."""
    try:
        # Mathematics has braces of its own: what stands between two $ is left alone.
        parts = enumerate(form.split("$"))
        return "$".join(part if i % 2 else part.format(**figures) for i, part in parts)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{form!r} does not fit the figures {sorted(figures)}: {error}") from error


def _parse(rule: str) -> ast.Expression:
    try:
        tree = ast.parse(rule, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"rule {rule!r} does not parse: {error.msg}") from error
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            kind = type(node).__name__
            raise ValueError(f"rule {rule!r} holds a {kind}: use names, numbers, + - * /, comparisons")
    return tree


def _check(name: str, value: Value) -> None:
    if not isinstance(value, Value):
        raise TypeError(f"{name} must be a plain number or text, got {value!r}: make it float(...)")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}: hand over a finite figure")
