"""Exercises that check themselves: what is said of an answer, our answers, and their places on the pages."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from gansrc.exercises import EXERCISES, Exercise, P, Q, check

BOOK = Path(__file__).parents[1] / "book"


# --- What is said ---------------------------------------------------------------------------------------


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three exercises: numbers, a function of one argument, one number."""
    monkeypatch.setitem(EXERCISES, "numbers", Exercise(lambda: [1.0, 2.0, -3.0]))
    monkeypatch.setitem(EXERCISES, "function", Exercise(lambda x: x**2, (torch.tensor([1.0, 2.0, 3.0]),)))
    monkeypatch.setitem(EXERCISES, "one", Exercise(lambda: math.log(2), tolerance=0.01))


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("numbers", [1, 2, -3], "right"),
        ("numbers", np.array([1, 2, -3.002]), "right"),
        ("numbers", torch.tensor([1.0, 2.0, -3.0], requires_grad=True), "right"),
        ("numbers", [1, 2, -3.1], "2 of 3 are right; number 3 is too small"),
        ("numbers", [1.5, 2, 7], "1 of 3 are right; number 1 is too large"),
        ("numbers", None, "not answered yet"),
        ("numbers", [[1, 2, -3]], "the shape is (1, 3), and should be (3,)"),
        ("numbers", 1, "the shape is that of one number, and should be (3,)"),
        ("numbers", [-1, -2, 3], "the sign is the other one"),
        ("numbers", [2, 4, -6], "it is twice as large as it should be"),
        ("numbers", [0.5, 1, -1.5], "it is half as large as it should be"),
        ("numbers", [7, 14, -21], "right but for a factor, the same for all"),
        ("numbers", [0, 0, 0], "0 of 3 are right; number 1 is too small"),
        ("numbers", [3, 4, -1], "right but for a constant that is added"),
        ("numbers", [math.nan, 2, -3], "1 of 3 are no finite numbers"),
        ("numbers", "1, 2, -3", "a number is asked for, or several, got str"),
        ("function", lambda x: x * x, "right"),
        ("function", lambda x: None, "not answered yet"),
        ("function", lambda x: 2 * x, "1 of 3 are right; number 1 is too large"),
        ("function", lambda x: x.sum(), "the shape is that of one number, and should be (3,)"),
        ("one", math.log(2), "right"),
        ("one", 0.69, "right"),
        ("one", 1, "this is in bits, not in nats"),
        ("one", 0.68, "too small"),
        ("one", 3.0, "too large"),
        ("one", math.inf, "1 of 1 are no finite numbers"),
    ],
)
def test_an_answer_is_right_or_is_told_what_is_off(name: str, answer: object, words: str) -> None:
    finding = check(name, answer)
    assert repr(finding) == words and bool(finding) == (words == "right")


def test_an_unknown_exercise_is_named() -> None:
    with pytest.raises(ValueError, match=r"^no exercise is called 'ex-none': take one of \['ex-"):
        check("ex-none", 1)


# --- Ours, worked out in another way --------------------------------------------------------------------


def best_of_shares() -> list[float]:
    """By a search at each point."""

    def cost(y: float, p: float, q: float) -> float:
        return -(0.8 * p * math.log(y) + 0.2 * q * math.log1p(-y))

    exact = {"method": "bounded", "bounds": (1e-9, 1 - 1e-9), "options": {"xatol": 1e-10}}
    return [minimize_scalar(cost, args=pair, **exact).x for pair in zip(P.tolist(), Q.tolist(), strict=True)]


OTHERWISE: dict[str, Callable[[], object]] = {
    "ex-share": best_of_shares,
}


@pytest.mark.parametrize("name", EXERCISES)
def test_our_answer_comes_out_in_another_way(name: str) -> None:
    ours = torch.as_tensor(EXERCISES[name].ours(*EXERCISES[name].given))
    others = np.asarray(OTHERWISE[name](), dtype=float)
    near = EXERCISES[name].tolerance * ours.abs().max().item()
    np.testing.assert_allclose(ours, others, rtol=0, atol=near / 2)


# --- On the pages ---------------------------------------------------------------------------------------


def checks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Every cell that calls `check`: the exercise, the solution that it stands in ("" outside), its code."""
    import jupytext

    inside = ""
    for cell in jupytext.read(page).cells:
        if cell.cell_type == "code":
            for name in re.findall(r'\bcheck\("([\w-]+)"', cell.source):
                yield name, inside, cell.source
        else:
            marks = re.findall(r"\{solution-(?:start\} ([\w-]+)|end\})", cell.source)
            inside = marks[-1] if marks else inside


def test_each_exercise_is_asked_on_one_page_and_answered_in_its_own_solution() -> None:
    pytest.importorskip("jupytext")
    asked, solved = [], []
    for page in sorted(BOOK.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if "format_name: myst" not in text[:300]:
            continue
        for name, inside, code in checks(page):
            assert f":label: {name}\n" in text, f"{page}: no exercise has the label {name}"
            if inside:
                assert inside == name and f'assert check("{name}"' in code, f"{page}: {name}"
                solved.append(name)
            else:
                assert re.search(r"\bNone\b", code), f"{page}: the cell of {name} holds no placeholder"
                asked.append(name)
    assert sorted(asked) == sorted(solved) == sorted(EXERCISES)
