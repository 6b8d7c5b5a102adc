"""The claims of the paper: figures that the chapters hand over, rules on them, verdicts.

A chapter calls `evidence("T3", worst_error=...)`. The figures stay in the output of that cell, and nowhere else:
whoever reads the executed notebook (the book's claims page does) finds them with `collect`, reads the rows
of `book/claims.yml` with `read_claims` and judges each row with `verdict`.
"""

from __future__ import annotations

import ast
import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

MIME = "application/vnd.gansrc.evidence+json"
"""Media type under which a notebook output carries the raw figures."""

Value = float | int | bool | str
Figures = Mapping[str, Value]
Kind = Literal["agrees", "agrees, with a restriction", "does not agree", "not computed in this build"]

# What a rule may be made of: names, constants, arithmetic, comparisons, and / or / not. No calls, no attributes.
_ALLOWED = (
    ast.Expression, ast.Name, ast.Load, ast.Constant, ast.BoolOp, ast.And, ast.Or, ast.Compare, ast.cmpop,
    ast.UnaryOp, ast.Not, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div,
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """One row of `book/claims.yml`: a statement of the paper and the rule that our figures must meet.

    `shown` is a format string over the figures. `holds` and `fails` are the words for either outcome. `restriction`
    says what the printed statement needs to be true, and is left out where it needs nothing.
    """

    id: str
    page: str
    paper: str
    shown: str
    rule: str
    holds: str
    fails: str
    restriction: str = ""


@dataclass(frozen=True)
class Verdict:
    """How a claim fared: its kind, our figures in words, and what to say about them."""

    kind: Kind
    shown: str
    wording: str


def evidence(claim: str, **figures: float | int | bool | str) -> None:
    """Hand the figures that bear on a claim to the book's claims page, and show them on one line.

    In a notebook the raw numbers stay in the output of the cell, under the media type `MIME`. Elsewhere the
    line is printed. Raises ValueError for a figure that is not finite, TypeError for one that is no plain number
    or text (`float(x)` makes one of a tensor).
    """
    if not figures:
        raise ValueError(f"evidence for {claim} needs at least one figure, got none: evidence({claim!r}, error=...)")
    checked = {name: _checked(f"{claim}.{name}", value) for name, value in figures.items()}
    line = ", ".join(f"{name} = {_short(value)}" for name, value in checked.items())
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
    row = f'<div class="evidence"><b>{html.escape(claim)}</b> {html.escape(line)}</div>'
    display(
        {"text/plain": f"{claim} · {line}", "text/html": row, MIME: {"claim": claim, "figures": checked}}, raw=True
    )


def collect(notebooks: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Value]]:
    """Gather from executed notebooks (nbformat 4) every figure given as evidence: claim -> name -> value.

    Raises ValueError when one figure is given twice, or is not finite.
    """
    found: dict[str, dict[str, Value]] = {}
    outputs = (out for nb in notebooks for cell in nb["cells"] for out in cell.get("outputs", ()))
    for bundle in (out["data"][MIME] for out in outputs if MIME in out.get("data", {})):
        known = found.setdefault(bundle["claim"], {})
        for name, value in bundle["figures"].items():
            if name in known:
                raise ValueError(f"figure {bundle['claim']}.{name} is given twice: give each cell's its own name")
            known[name] = _checked(f"{bundle['claim']}.{name}", value)
    return found


def read_claims(path: Path) -> list[Claim]:
    """Read the rows of a claims file (YAML, a list of mappings with the fields of `Claim`).

    Raises ValueError for an unknown, missing or empty field, a rule that does not parse and an id that occurs twice.
    """
    import yaml  # only the book needs it: training machines may lack it

    known = {field.name for field in fields(Claim)}
    claims: list[Claim] = []
    for row in yaml.safe_load(path.read_text(encoding="utf-8")):
        label = row.get("id", "a row without id")
        if extra := sorted(set(row) - known):
            raise ValueError(f"{path.name}: {label} has unknown field {extra[0]!r}: take one of {sorted(known)}")
        if gone := sorted(name for name in known - {"restriction"} if not str(row.get(name) or "").strip()):
            raise ValueError(f"{path.name}: {label} lacks field {gone[0]!r}: write it, quoted")
        claim = Claim(**{name: str(text).strip() for name, text in row.items()})
        if any(claim.id == other.id for other in claims):
            raise ValueError(f"{path.name}: {label} occurs twice: keep one row")
        _parse(claim.rule)
        claims.append(claim)
    return claims


def evaluate(rule: str, figures: Figures) -> bool:
    """Apply a rule such as `worst_error <= 1e-12 and pairs >= 8` to figures.

    Raises ValueError when the rule names a figure that is not there, holds more than arithmetic and comparisons,
    or does not end in true or false.
    """
    tree = _parse(rule)
    for name in (node.id for node in ast.walk(tree) if isinstance(node, ast.Name)):
        if name not in figures:
            raise ValueError(f"rule {rule!r} needs figure {name!r}, got {sorted(figures)}: add it to the evidence")
        _checked(name, figures[name])
    try:
        # Safe: _parse let through nothing but names, constants and operators, and there are no built-ins.
        outcome = eval(compile(tree, "<rule>", "eval"), {"__builtins__": {}}, dict(figures))
    except (TypeError, ZeroDivisionError) as error:
        raise ValueError(f"rule {rule!r} cannot be applied to {dict(figures)}: {error}") from error
    if not isinstance(outcome, bool):
        raise ValueError(f"rule {rule!r} must be true or false, got {outcome!r}: compare it with something")
    return outcome


def verdict(claim: Claim, figures: Figures | None) -> Verdict:
    """Judge one claim by its figures; without any, say that it was not computed.

    Raises ValueError as `evaluate` does, and when `shown` names a figure that is not there.
    """
    if not figures:
        return Verdict("not computed in this build", "", "No figure for this claim was handed over.")
    holds = evaluate(claim.rule, figures)
    try:
        shown = claim.shown.format(**figures)
    except KeyError as error:
        raise ValueError(f"{claim.id}: shown needs figure {error}, got {sorted(figures)}: add it") from error
    if not holds:
        return Verdict("does not agree", shown, claim.fails)
    return Verdict("agrees, with a restriction" if claim.restriction else "agrees", shown, claim.holds)


def _parse(rule: str) -> ast.Expression:
    try:
        tree = ast.parse(rule, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"rule {rule!r} does not parse: {error.msg}") from error
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise ValueError(f"rule {rule!r} holds {type(node).__name__}: only names, numbers, + - * /, comparisons")
    return tree


def _checked(name: str, value: Value) -> Value:
    if not isinstance(value, bool | int | float | str):
        raise TypeError(f"{name} must be a plain number or text, got {type(value).__name__}: pass float(...)")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}: hand over a finite figure")
    return value


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
