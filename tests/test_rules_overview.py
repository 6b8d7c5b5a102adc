"""Chapter 2's overview: its rules are handed models that need more than a GAN, or stand at a wrong place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from gansrc import claims, datasets, plane
from gansrc.cost import counted
from gansrc.model import Density
from gansrc.models.base import ChainModel
from gansrc.runs import Run

pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
RULES = {row.id: row for row in claims.read_claims(ROOT / "book/claims.yml")}
PLACES = {"vae": (True, False), "rbm": (True, True), "score": (True, True), "gsn": (False, True),
          "gan": (False, False)}  # fmt: skip
"""Whether a model has a density, and whether it draws by a chain."""


def recorded(name: str) -> Run:
    return Run(ROOT / f"book/runs/{name}-wink-seed-0")


def needs(name: str) -> dict[str, claims.Value]:
    """What the overview hands over of the GAN, of any model in its place."""
    run, wink, n = recorded(name), datasets.load("wink"), 500
    model, size = run.model(wink), run.recipe.examples_per_update()
    nets = (
        nn.ModuleList([model.game.generator, model.game.discriminator]) if hasattr(model, "game") else model
    )
    update = counted(nets, size, lambda: model.fit(wink.train, 1))
    sampler = run.sampler()
    net = getattr(sampler, "net", sampler)
    passes = counted(net, n, lambda: sampler.samples(n, torch.Generator().manual_seed(0))).forward
    return {"forward": update.forward, "back": update.back, "draws": update.draws, "sample": passes,
            "chains": 7, "least": 200.0}  # fmt: skip


def test_I2_the_game_takes_passes_and_codes_alone() -> None:
    figures = needs("gan")
    assert claims.evaluate(RULES["I2-training"].rule, figures)
    assert claims.verdict(RULES["I2-training"], figures).kind == "agrees"
    for wrong in ({"least": 3.0}, {"chains": 0}, {"back": 0.0}):
        assert not claims.evaluate(RULES["I2-training"].rule, figures | wrong)


@pytest.mark.parametrize("name", ["rbm", "gsn", "vae"])
def test_I2_models_that_walk_or_infer_do_not_pass_for_it(name: str) -> None:
    assert not claims.evaluate(RULES["I2-training"].rule, needs(name))


@pytest.mark.parametrize("wrong", [None, "gan", "score"])
def test_I3_a_model_at_a_wrong_place_is_noticed(wrong: str | None) -> None:
    places = (
        PLACES if wrong is None else PLACES | {wrong: (False, True) if wrong == "gan" else (False, False)}
    )
    misplaced = 0
    for name, kinds in places.items():
        sampler = recorded(name).sampler()
        misplaced += (isinstance(sampler, Density), isinstance(sampler, ChainModel)) != kinds
    figures = {"places": 5, "models": 10, "misplaced": misplaced}
    assert claims.evaluate(RULES["I3"].rule, figures) == (wrong is None)


def test_recorded_densities_integrate_to_one_where_they_are_whole() -> None:
    for name in ("vae", "rbm", "dbn", "dbm"):
        sampler = recorded(name).sampler()
        assert isinstance(sampler, Density)
        with torch.no_grad():
            _, integral = plane.masses(sampler.log_density(plane.points().float()))
        assert integral == pytest.approx(1, abs=0.002), name
