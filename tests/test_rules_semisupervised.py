"""The rules of Z4 are handed features that learnt nothing, shuffled labels, short runs, wrong figures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansrc import claims
from gansrc.labels import few, tried

pytest.importorskip("yaml")
ROWS = {row.id: row for row in claims.read_claims(Path(__file__).parents[1] / "book/claims.yml")}
DRAWS, LABELS, CLASSES = 10, 100, 10


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


KINDS = torch.randint(CLASSES, (1200,), generator=rng(0))
CENTRES = torch.randn(CLASSES, 30, generator=rng(1))
NOISE = torch.randn(1200, 30, generator=rng(2))
PIXELS = CENTRES[KINDS] + 2.5 * NOISE
LEARNT = CENTRES[KINDS] + 1.5 * NOISE
"""The same images, of which a net has learnt to leave some of the noise out."""
UNTRAINED = (PIXELS @ torch.randn(30, 20, generator=rng(3))).relu()
CHOSEN = torch.stack([few(KINDS[:800], LABELS, seed) for seed in range(DRAWS)])


def missed(features: Tensor, labels: Tensor = KINDS, chosen: Tensor = CHOSEN) -> Tensor:
    return tried(features[:800], labels[:800], chosen, features[800:], KINDS[800:], 1e-2)


def judged(pixels: Tensor, untrained: Tensor, trained: Tensor, labels: int = LABELS) -> bool:
    figures: dict[str, claims.Value] = {"labels": labels, "draws": len(trained)}
    for name, other in (("gain", pixels), ("over_untrained", untrained)):
        gain = other - trained
        figures |= {name: gain.mean().item(), f"{name}_error": gain.std().item() / len(gain) ** 0.5}
    return claims.evaluate(ROWS["Z4"].rule, figures)


def test_Z4_features_that_have_learnt_something_pass() -> None:
    assert judged(missed(PIXELS), missed(UNTRAINED), missed(LEARNT))


def test_Z4_features_of_an_untrained_net_in_place_of_the_trained_one() -> None:
    assert not judged(missed(PIXELS), missed(UNTRAINED), missed(UNTRAINED))
    other = (PIXELS @ torch.randn(30, 20, generator=rng(4))).relu()
    assert not judged(missed(PIXELS), missed(UNTRAINED), missed(other))


def test_Z4_an_untrained_net_that_does_as_well() -> None:
    assert not judged(missed(PIXELS), missed(LEARNT), missed(LEARNT))


def test_Z4_pixels_that_do_as_well() -> None:
    assert not judged(missed(PIXELS), missed(UNTRAINED), missed(PIXELS))


def test_Z4_shuffled_labels() -> None:
    wrong = KINDS[torch.randperm(len(KINDS), generator=rng(5))]
    assert not judged(*(missed(x, wrong) for x in (PIXELS, UNTRAINED, LEARNT)))


def test_Z4_a_gain_within_the_scatter_of_the_labels() -> None:
    scatter = torch.randn(DRAWS, generator=rng(6)) / 10
    good = missed(LEARNT)
    assert not judged(good + 0.03 + scatter, good + 0.2, good)
    assert not judged(good + 0.2, good + 0.03 + scatter, good)


def test_Z4_too_few_draws_or_more_labels() -> None:
    parts = [missed(x, chosen=CHOSEN[:3]) for x in (PIXELS, UNTRAINED, LEARNT)]
    assert not judged(*parts)
    assert not judged(missed(PIXELS), missed(UNTRAINED), missed(LEARNT), labels=1000)


def verdict(claim: str, **figures: claims.Value) -> str:
    return claims.verdict(ROWS[claim], figures).kind


CLASSIFIER: dict[str, claims.Value] = {
    "missed": 95.0, "spread": " ± 3", "difference_error": 7.0, "seeds": 10, "updates": 180_000, "share": 1.0,
    "pixels": 2400.0, "trained": 1300.0,
}  # fmt: skip
SCORES: dict[str, claims.Value] = {
    "first": 500, "updates": 180_000, "first_missed": 0.2, "missed": 0.01, "first_score": -200.0,
    "score": 20.0, "below_best": 60.0, "plain": 150.0, "share": 1.0, "seeds": 10,
}  # fmt: skip


def test_Z4_classifier_the_published_figure_passes_others_do_not() -> None:
    assert verdict("Z4-classifier", **CLASSIFIER) == "agrees"
    for other in (60.0, 191.0, 2400.0, 9000.0):
        assert verdict("Z4-classifier", **CLASSIFIER | {"missed": other}) == "does not agree"


def test_Z4_a_shorter_run_or_fewer_seeds_are_not_compared() -> None:
    for lacking in ({"updates": 15_000, "share": 0.08}, {"seeds": 1}):
        for figure in (95.0, 1200.0):
            told = verdict("Z4-classifier", **CLASSIFIER | lacking | {"missed": figure})
            assert told == "not comparable"
    short = SCORES | {"updates": 15_000, "share": 0.08}
    assert verdict("Z4-scores", **short) == "agrees"  # what is there already needs no longer run
    for lacking in ({"seeds": 1}, {"below_best": 0.0}, {"score": 160.0}, {"missed": 0.3}):
        assert verdict("Z4-scores", **short | lacking) == "not comparable"


def test_Z4_scores_a_generator_that_gets_worse_beside_a_better_classifier() -> None:
    assert verdict("Z4-scores", **SCORES) == "agrees"
    for wrong in (
        {"below_best": 0.0},  # it ends at its best
        {"score": 160.0},  # as good as the plain one
        {"missed": 0.3},  # the classifier got worse
        {"missed": 0.2, "first_missed": 0.2},
    ):
        assert verdict("Z4-scores", **SCORES | wrong) == "does not agree"
