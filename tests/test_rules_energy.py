"""The rules of R5 and R6 are handed wrong models of the density in the plane, and fail."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from gansrc import claims, plane
from gansrc.models import energy

pytest.importorskip("yaml")
RULES = {row.id: row.rule for row in claims.read_claims(Path(__file__).parents[1] / "book/claims.yml")}

# Figures that meet the rules: those of the pages, or of their size.
RIGHT: dict[str, dict[str, claims.Value]] = {
    "R5": {"precision_error": 6e-13, "runs": 5, "score_off": 0.1, "distance": 0.2, "bell": 0.746,
           "least_log_z": 9.4, "denoised_score_off": 0.015, "denoised_distance": 0.21, "noised": 0.201},
    "R6": {"runs": 5, "off": 0.03, "model_distance": 0.07, "stays_first": 0.342, "stays_last": 0.00036,
           "moves_first": 0.25, "moves_last": 0.25, "beside": 0.72, "beside_value": -0.003,
           "follows": 0.19, "generator": 0.41, "generator_value": -1.38},
}  # fmt: skip


def judged(claim: str, **wrong: claims.Value) -> bool:
    """The rule's answer to right figures with some wrong ones among them."""
    return claims.evaluate(RULES[claim], RIGHT[claim] | wrong)


@pytest.mark.parametrize("claim", RIGHT)
def test_right_figures_pass(claim: str) -> None:
    assert judged(claim)


def test_R5_R6_a_shuffled_density() -> None:
    truth = plane.truth()
    order = torch.randperm(truth.numel(), generator=torch.Generator().manual_seed(0))
    distance, _ = plane.distances(truth.flatten()[order].reshape(truth.shape))
    assert distance > 0.8
    assert not judged("R5", distance=distance)
    assert not judged("R5", denoised_distance=distance)
    assert not judged("R6", model_distance=distance)


def score_off(mean: float, std: float) -> float:
    """Mean squared error of the score of a round bell, over that of no score at all, on the grid."""
    points = plane.points()
    mass = plane.log_density(points).softmax(0)
    right = energy.score(plane.log_density, points).detach()
    wrong = -(points - mean) / std**2
    return ((mass @ (wrong - right).square().sum(1)) / (mass @ right.square().sum(1))).item()


@pytest.mark.parametrize("bell", [(0.0, 1.5), (0.0, 0.2), (1.0, 1.0)])
def test_R5_the_score_of_a_bell(bell: tuple[float, float]) -> None:
    assert not judged("R5", score_off=score_off(*bell))
    assert not judged("R5", denoised_score_off=score_off(*bell))
    assert score_off(*bell) > 0.5


def test_R5_a_density_that_was_normalised() -> None:
    _, integral = plane.masses(plane.log_density(plane.points()))
    assert not judged("R5", least_log_z=abs(math.log(integral)))


def test_R5_a_precision_by_likelihood_that_forgets_the_normaliser() -> None:
    # -precision x^2 / 2 is largest at precision 0: all of the page's, 2.8, is missed.
    assert not judged("R5", precision_error=2.8)


def test_R5_R6_nothing_learnt_but_the_bell_around_all() -> None:
    bell = torch.distributions.Normal(0.0, 2.0).log_prob(plane.points()).sum(1)
    distance, _ = plane.distances(plane.masses(bell)[0])
    assert not judged("R5", distance=distance)
    assert not judged("R6", model_distance=distance)  # though its c, 0, is right


@pytest.mark.parametrize("nats", [-1.0, 1.0])
def test_R6_a_normaliser_that_is_a_nat_off(nats: float) -> None:
    _, integral = plane.masses(plane.log_density(plane.points()) + nats)
    assert math.log(integral) == pytest.approx(nats, abs=1e-3)
    assert not judged("R6", off=abs(math.log(integral)))


def test_R6_noise_that_moves_in_place_of_noise_that_stays() -> None:
    right = RIGHT["R6"]
    assert not judged("R6", stays_first=right["moves_first"], stays_last=right["moves_last"])
    assert not judged("R6", moves_first=right["stays_first"], moves_last=right["stays_last"])
    assert not judged("R6", beside=right["follows"], beside_value=-1.38, generator=0.1)


def test_R6_noise_around_the_data_in_place_of_noise_beside_them() -> None:
    assert not judged("R6", beside=0.72, beside_value=-0.6)
    assert not judged("R6", beside=0.22, generator=0.1)


def test_R6_an_opponent_that_does_not_move_in_place_of_a_generator() -> None:
    assert not judged("R6", generator=RIGHT["R6"]["beside"], generator_value=-0.003)
