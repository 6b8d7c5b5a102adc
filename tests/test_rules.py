"""The rules on copies, look-ups and variety in book/claims.yml: wrong answers fail them, held-out digits pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gansrc import claims, datasets, measures, recipes
from gansrc.gan import walk
from gansrc.runs import Run
from gansrc.streams import draw

pytest.importorskip("mlxtend")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def rules() -> dict[str, str]:
    """The rules of the book, by the claim's id."""
    pytest.importorskip("yaml")
    return {claim.id: claim.rule for claim in claims.read_claims(ROOT / "book" / "claims.yml")}


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    """5,000 real digits, of which 4,000 are to be trained on."""
    return datasets._mnist_stand_in()


@pytest.fixture(scope="module")
def reader(digits) -> torch.nn.Sequential:
    """A judge of these digits."""
    return measures.judge(digits.train, digits.labels["train"], updates=300)


def noise(x: Tensor, size: float) -> Tensor:
    """Images with noise of that standard deviation."""
    return x + size * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))


def blur(x: Tensor) -> Tensor:
    """Each pixel replaced by the mean of 3 x 3."""
    return avg_pool2d(x.view(-1, 1, 28, 28), 3, 1, 1).flatten(1)


def shift(x: Tensor, down: int, right: int) -> Tensor:
    """Images moved by so many pixels."""
    return x.view(-1, 28, 28).roll((down, right), (1, 2)).flatten(1)


COPIES: dict[str, Callable[[Tensor], Tensor]] = {
    "exact": lambda x: x,
    "noise of .05": lambda x: noise(x, 0.05),
    "noise of .1": lambda x: noise(x, 0.1),
    "noise of .2": lambda x: noise(x, 0.2),
    "blur": blur,
    "two blurs": lambda x: blur(blur(x)),
    "shift by one": lambda x: shift(x, 0, 1),
    "shift by one each way": lambda x: shift(x, -1, 1),
    "all of it": lambda x: noise(blur(shift(x, 1, -1)), 0.1),
    "one in ten": lambda x: torch.cat([shift(x[:30], 1, 0), noise(torch.zeros(270, 784), 1.0)]),
}
"""A memoriser's ways to hide; the last copies now and then, and else draws what is like nothing."""


def copying(images: Tensor, digits: datasets.Dataset) -> dict[str, float]:
    """The figures of F2 for images as samples, half of the held-out digits as yardstick."""
    ratios = (measures.neighbour_ratio(x, digits.train, (28, 28)) for x in (images, digits.test))
    rise, low = measures.nearer(*ratios)
    return {"rise": rise, "low": low}


@pytest.mark.parametrize("disguise", COPIES)
def test_F2_D3_copies_in_disguise_fail(disguise, digits, rules):
    figures = copying(COPIES[disguise](digits.train[:300]), digits)
    innocent = {"whole": 0.7, "quarter": 0.7, "sixteenth": 0.7, "fair": 5 / 7}
    assert not claims.evaluate(rules["F2"], figures)
    assert not claims.evaluate(rules["D3"], figures | innocent)


def test_F2_D3_held_out_digits_and_samples_pass(digits, rules):
    samples = Run(ROOT / "book/runs/mnist").samples(500)
    for images in (digits.valid, samples):
        assert claims.evaluate(rules["F2"], copying(images, digits))


def test_F2_the_two_figures_of_a_curve_against_scipy():
    rng = np.random.default_rng(0)
    for a, b in ((rng.random(300), rng.random(400) ** 2), (rng.random(100) ** 3, rng.random(50))):
        rise, low = measures.nearer(torch.from_numpy(a), torch.from_numpy(b))
        assert rise == pytest.approx(ks_2samp(a, b, alternative="greater").statistic, abs=1e-6)
        assert low == pytest.approx((a < np.quantile(b, 0.01)).mean())


def test_F2_ratio_by_brute_force():
    rng = np.random.default_rng(0)
    x, train = rng.random((20, 8, 9)), rng.random((30, 8, 9))

    def half(pictures: np.ndarray, top: int, left: int) -> np.ndarray:
        part = pictures[:, top : top + 6, left : left + 6]
        return part.reshape(-1, 3, 2, 3, 2).mean((2, 4))

    part, expected = half(train, 1, 1), []
    for i in range(20):
        places = [half(x[i : i + 1], top, left) for top in range(3) for left in range(3)]
        gaps = [np.sqrt(((place - part) ** 2).sum((1, 2))) for place in places]
        first, second = np.sort(np.min(gaps, 0))[:2]
        expected.append(first / second)
    # nine columns: the last one of the window of seven has no partner, and is left out
    found = measures.neighbour_ratio(*(torch.from_numpy(a).flatten(1) for a in (x, train)), (8, 9))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_one_training_image_has_no_second():
    with pytest.raises(ValueError, match="two nearest images are wanted, the training set has 1: give more"):
        measures.neighbour_ratio(torch.rand(2, 16), torch.rand(1, 16), (4, 4))
