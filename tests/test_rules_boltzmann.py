"""The rules on Boltzmann machines (R3-ais, R3-mixing, R4) are handed wrong answers: they fail."""

from __future__ import annotations

import copy
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansrc import claims, plane
from gansrc.measures import autocorrelation_time
from gansrc.models.boltzmann import RBM, annealed, log_mean_exp, log_z
from gansrc.runs import Run
from gansrc.streams import drawing_from

pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
RULES = {row.id: row.rule for row in claims.read_claims(ROOT / "book/claims.yml")}
COUNTED = {"factor": 2.0}  # of the time of counting, for one unit more
LEARNT = {  # of the page
    "near": 0.55, "on": 0.25, "perfect": 0.23, "far_near": 0.13, "far_on": 0.08, "far_perfect": 0.09,
    "off_near": 0.49, "off_on": 0.05, "off_perfect": 0.02, "off_runs": 0.1, "runs": 5,
}  # fmt: skip
DRAWN = {"seeds": 5, "gap": 0.03, "distance": 0.2, "spread": 0.02}


@pytest.fixture(scope="module")
def machine() -> RBM:
    """A machine with strong weights."""
    rng = torch.Generator().manual_seed(0)
    rbm = RBM(20, 10, 1.0, rng)
    with torch.no_grad():
        for bias in (rbm.visible_bias, rbm.hidden_bias):
            bias.normal_(generator=rng)
    return rbm


def estimated(machine: RBM, turns: int, counted: RBM | None = None) -> dict[str, float]:
    """What the page hands over of estimates with that many turns, beside the count of a machine, its own."""
    found = []
    for n in (1, turns):
        logs = annealed(machine, n, 2000, torch.Generator().manual_seed(0)).unflatten(0, (20, 100))
        mean, error = log_mean_exp(logs)
        found.append((mean - log_z(counted or machine), error))
    (once, _), (miss, error) = found
    return {
        "error": miss.square().mean().sqrt().item(),
        "error_one": once.square().mean().sqrt().item(),
        "covered": (miss.abs() < 2 * error).double().mean().item(),
    }


def test_R3_R4_a_right_estimate_passes(machine: RBM) -> None:
    figures = estimated(machine, 300)
    assert claims.evaluate(RULES["R3-ais"], figures | COUNTED)
    assert claims.evaluate(RULES["R4"], figures | DRAWN)


@pytest.mark.parametrize("fault", ["one turn", "chains that do not move", "the count of another machine"])
def test_R3_R4_wrong_estimates_fail(machine: RBM, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = copy.deepcopy(machine)
    if fault == "chains that do not move":
        monkeypatch.setattr(machine, "walk", lambda h, share=1.0: h)
    if fault == "the count of another machine":
        with torch.no_grad():
            counted.weight.mul_(0.9)
    figures = estimated(machine, 1 if fault == "one turn" else 300, counted)
    assert not claims.evaluate(RULES["R3-ais"], figures | COUNTED)
    assert not claims.evaluate(RULES["R4"], figures | DRAWN)


def test_R3_counting_that_does_not_double_fails(machine: RBM) -> None:
    figures = estimated(machine, 300)
    assert not claims.evaluate(RULES["R3-ais"], figures | {"factor": 1.0})
    assert not claims.evaluate(RULES["R3-ais"], figures | {"factor": 2.0, "covered": 0.5})


def gap(mass: Tensor, walk: Tensor) -> float:
    """Total variation between a density and the points of a walk, over squares."""
    return (plane.shares(walk.flatten(0, 1)) - mass).abs().sum().item() / 2


def test_R4_a_shuffled_density_and_a_chain_that_does_not_move_fail(machine: RBM) -> None:
    sampler = Run(ROOT / "book/runs/dbm-wink-seed-0").sampler()
    mass, _ = plane.masses(sampler.log_density(plane.points()))
    with torch.no_grad(), drawing_from(torch.Generator().manual_seed(0)):
        walk = torch.stack([*islice(sampler.chain(300), 500, 1700)], 1)
    figures = estimated(machine, 300) | DRAWN | {"distance": plane.distances(mass)[0], "spread": 0.0}
    assert claims.evaluate(RULES["R4"], figures | {"gap": gap(mass, walk)})

    order = torch.randperm(mass.numel(), generator=torch.Generator().manual_seed(0))
    shuffled = mass.flatten()[order].view_as(mass)
    wrong = {"gap": gap(shuffled, walk), "distance": plane.distances(shuffled)[0]}
    for part in ({"gap": wrong["gap"]}, {"distance": wrong["distance"]}):
        assert not claims.evaluate(RULES["R4"], figures | {"gap": gap(mass, walk)} | part)
    still = walk[:, :1].expand(-1, 1200, -1)
    assert not claims.evaluate(RULES["R4"], figures | {"gap": gap(mass, still)})
    assert not claims.evaluate(RULES["R4"], figures | {"gap": gap(mass, walk), "seeds": 4})


def test_R3_mixing() -> None:
    rng = torch.Generator().manual_seed(0)
    independent = autocorrelation_time(torch.randn(100, 4000, 2, generator=rng))
    sampler = Run(ROOT / "book/runs/rbm-wink-seed-0").sampler()
    with torch.no_grad(), drawing_from(rng):
        walk = torch.stack([*islice(sampler.chain(100), 3000)], 1)
    slow = autocorrelation_time(walk)
    assert claims.evaluate(RULES["R3-mixing"], LEARNT | {"steps": slow})
    assert not claims.evaluate(RULES["R3-mixing"], LEARNT | {"steps": independent})
    assert not claims.evaluate(RULES["R3-mixing"], LEARNT | {"steps": slow, "off_runs": 0.01})
    for figure in ("", "far_", "off_"):  # short chains that do no harm
        as_good = {f"{figure}near": LEARNT[f"{figure}perfect"]}
        assert not claims.evaluate(RULES["R3-mixing"], LEARNT | {"steps": slow} | as_good)
