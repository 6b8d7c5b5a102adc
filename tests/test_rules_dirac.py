"""The rule of Z5-dirac is handed cures that are none, games that arrive by themselves, and wrong theory."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansrc import claims
from gansrc.extensions.dirac import Play, consensus, measured, minimax, noisy, non_saturating, penalised

pytest.importorskip("yaml")
ROWS = claims.read_claims(Path(__file__).parents[1] / "book/claims.yml")
(RULE,) = (row.rule for row in ROWS if row.id == "Z5-dirac")
H = 0.1
START = torch.tensor([1.0, 0.3], dtype=torch.float64)
PAPER = Play(minimax)
RECIPE = Play(non_saturating, alternating=False, momentum=0.5)
CURES = (Play(noisy(1.0)), Play(penalised(minimax, 0.3)), Play(penalised(non_saturating, 0.3)),
         Play(consensus(1.0)))  # fmt: skip
NONE = Play(penalised(minimax, 0.0))
BEST = Play(penalised(minimax, 0.95))
NETS = {"net_plain": 0.16, "net_r1": 0.015, "net_mean": 0.014}


@cache
def path(play: Play, scale: float = 1.0) -> Tensor:
    return play.path(scale * START, 1200)


def left(play: Play) -> float:
    """The distance in the end."""
    return path(play)[-200:].norm(dim=-1).square().mean().sqrt().item()


def rate(play: Play) -> float:
    """What an update takes off the logarithm of the distance, measured."""
    return -math.log(measured(path(play)))


def judged(
    paper: Play = PAPER,
    recipe: Play = RECIPE,
    cures: tuple[Play, ...] = CURES,
    none: Play = NONE,
    best: Play = BEST,
    meant: Play = PAPER,
    theory: tuple[float, ...] = (),
    **given: float,
) -> bool:
    """The verdict on these plays, as the page sums them up."""
    factors = theory or [-math.log(play.modulus()) for play in cures]
    radius = left(recipe)
    ring = 4 * (max(recipe.modulus().item() - 1, 0) * (1 - recipe.momentum) / H) ** 0.5
    mean = path(meant).cumsum(0) / torch.arange(1, 1202)[:, None]
    mean = mean.norm(dim=-1).unfold(0, 126, 1).amax(-1)
    figures: dict[str, claims.Value] = {
        "stays": left(paper) / START.norm().item(),
        "away": measured(path(dataclasses.replace(paper, alternating=False), 1e-9)).item(),
        "recipe": radius,
        "law_error": abs(radius / ring - 1) if ring else 1.0,
        "cures": len(cures),
        "left": max(map(left, cures)) / START.norm().item(),
        "rate_error": max(abs(rate(p) / f - 1) for p, f in zip(cures, factors, strict=True)),
        "mean_gain": (mean[300] / mean[-1] * 300 / (len(mean) - 1)).item(),
        "mean_left": (mean[-1] / START.norm()).item(),
        "fast": math.log(100) / rate(best),
        "slow": 8 / (0.01 * 1.5) ** 2 / H,
        "idle": left(none) / START.norm().item(),
    }
    return claims.evaluate(RULE, figures | NETS | given)


def test_Z5_dirac_the_plays_of_the_page_pass():
    assert judged()


@pytest.mark.parametrize("game", [penalised(minimax, 0.2), noisy(0.8), consensus(0.5)])
def test_Z5_dirac_a_game_that_arrives_by_itself(game):
    assert not judged(paper=Play(game))


def test_Z5_dirac_settings_of_the_authors_that_arrive_or_miss_the_law():
    assert not judged(recipe=Play(penalised(non_saturating, 0.5)))
    assert not judged(recipe=Play(minimax, alternating=False, momentum=0.5))  # which runs away


@pytest.mark.parametrize(
    "none",
    [penalised(minimax, 0.0), noisy(0.0), consensus(0.0), penalised(non_saturating, 0.0)],
    ids=["R1 of weight 0", "noise of variance 0", "consensus of weight 0", "R1 of weight 0, section 3"],
)
def test_Z5_dirac_a_cure_that_is_none(none):
    wrong = (*CURES[:3], Play(none))
    assert not judged(cures=wrong, theory=tuple(-math.log(p.modulus()) for p in CURES))  # as if it were one
    assert not judged(cures=wrong, theory=tuple(rate(p) for p in wrong))  # or foretold as it is


def test_Z5_dirac_too_weak_a_cure_or_too_few():
    assert not judged(cures=(*CURES[:3], Play(penalised(minimax, 0.01))))
    assert not judged(cures=CURES[:3])
    assert not judged(best=Play(penalised(minimax, 4.0)))  # so strong that D hardly moves


def test_Z5_dirac_theory_that_foretells_another_rate():
    factors = [-math.log(p.modulus()) for p in CURES]
    assert not judged(theory=(*factors[:3], 1.02 * factors[3]))


def test_Z5_dirac_the_mean_of_what_runs_away():
    assert not judged(meant=Play(minimax, alternating=False))
    assert not judged(meant=Play(minimax, momentum=0.5))


def test_Z5_dirac_nets_that_are_not_helped():
    assert not judged(net_r1=0.15)
    assert not judged(net_mean=0.15)
    assert not judged(net_plain=0.015)
    assert not judged(idle=0.01)  # a cure of strength 0 that cures: then it was something else
