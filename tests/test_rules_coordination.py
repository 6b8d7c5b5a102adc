"""The rules of Z5 are handed changes that are none, and gains of luck, of other nets or of the mean alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gansrc import claims
from gansrc.extensions import speedrun

pytest.importorskip("yaml")
HOME = Path(__file__).parents[1]
ROWS = {row.id: row for row in claims.read_claims(HOME / "book/claims.yml")}
GOOD: dict[str, claims.Value] = {
    "seeds": 3, "before_seeds": 10, "change": "words", "slowest": 60.0, "fastest": 2400.0,
    "fastest_mean": 600.0, "same": True, "lines": 3,
}  # fmt: skip
AHEAD: dict[str, claims.Value] = {
    "kinds": 2, "seeds": 3, "uniform_low": 40.0, "uniform_high": 60.0, "best": "z Gaussian",
    "best_low": 61.0, "best_high": 80.0, "updates": 1200,
}  # fmt: skip


def kind(claim: str, **figures: claims.Value) -> str:
    return claims.verdict(ROWS[claim], (GOOD if claim == "Z5" else AHEAD) | figures).title


def test_Z5_holds_where_every_seed_is_far_ahead():
    assert kind("Z5") == "agrees, with a restriction"


@pytest.mark.parametrize(
    "wrong",
    [
        {"slowest": 3600.0},  # the same recipe renamed: its seeds are spread as the others are
        {"slowest": 2400.0, "fastest_mean": 2400.0},
        {"slowest": 500.0},  # a little faster
        {"slowest": 301.0},  # the running mean alone, a little shorter
        {"same": False},  # with narrower nets
        {"before_seeds": 1},
        {"slowest": 0.0},
    ],
)
def test_Z5_fails_for_a_change_that_is_none(wrong):
    assert kind("Z5", **wrong) == "does not agree"


def test_Z5_fails_for_the_papers_recipe_under_another_name():
    first = speedrun.entries(HOME / "benchmarks" / "results")[0]
    again = dataclasses.replace(first, recipe="renamed", beside=first.recipe)
    assert speedrun.faults(again, first) and speedrun.records([first, again]) == [first]
    seconds = [one.seconds_to(speedrun.GOAL) for one in (again, first)]
    assert kind("Z5", slowest=float(seconds[0].max()), fastest=float(seconds[1].min())) == "does not agree"


def test_Z5_of_too_few_seeds_is_not_judged():
    assert kind("Z5", seeds=2) == "not comparable: 2 of 3 seeds"


def test_Z5_z_holds_where_all_seeds_are_ahead():
    assert kind("Z5-z") == "agrees"


@pytest.mark.parametrize("wrong", [{"best_low": 60.0}, {"best_low": 41.0}])
def test_Z5_z_fails_where_seeds_overlap(wrong):
    assert kind("Z5-z", **wrong) == "does not agree"


def test_Z5_z_fails_where_the_uniform_distribution_is_only_renamed():
    assert kind("Z5-z", best_low=40.0, best_high=60.0) == "does not agree"


def test_Z5_z_of_too_few_seeds_is_not_judged():
    assert kind("Z5-z", seeds=1) == "not comparable: 1 of 3 seeds"
