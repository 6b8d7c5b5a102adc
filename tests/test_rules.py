"""The rules on copies, look-ups and variety in book/claims.yml: wrong answers fail, held-out digits pass."""

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


class LookUp(torch.nn.Module):
    """Stored images with a random code each: a new code gets their mean, weighted by nearness of the codes.

    softness 0 gives the image of the nearest code.
    """

    def __init__(self, images: Tensor, softness: float) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(5)
        self.images, self.softness = images, softness
        self.codes = draw(recipes.MNIST.p_z(), len(images), rng)

    def forward(self, z: Tensor) -> Tensor:
        distance = torch.cdist(z, self.codes)
        if not self.softness:
            return self.images[distance.argmin(1)]
        return (-distance.square() / (2 * self.softness)).softmax(1) @ self.images


def between(net: torch.nn.Module, digits: datasets.Dataset, reader: torch.nn.Module) -> dict[str, float]:
    """The figures of F3 for a net from codes to images."""
    rng = torch.Generator().manual_seed(0)
    half_way = net(draw(recipes.MNIST.p_z(), 400, rng).view(2, 200, 100).mean(0)).detach()
    (sure, read), (sure_real, _) = (reader(x).softmax(1).max(1) for x in (half_way, digits.test))
    apart, apart_real = (measures.nearest(x, digits.train)[0].median() for x in (half_way, digits.test))
    once, twice = (
        walk(net, recipes.MNIST.p_z(), lines=3, steps=n).diff(dim=1).norm(dim=2).max() for n in (201, 401)
    )
    return {
        "read": (sure > 0.9).float().mean().item(),
        "read_real": (sure_real > 0.9).float().mean().item(),
        "commonest": read.bincount().max().item() / len(read),
        "apart": (apart / apart_real).item(),
        "jump": (twice / once).item(),
    }


@pytest.mark.parametrize("softness", [0, 0.3, 1, 3, 10])
def test_F3_a_look_up_fails(softness, digits, reader, rules):
    assert not claims.evaluate(rules["F3"], between(LookUp(digits.train[:1000], softness), digits, reader))


def test_F3_untrained_and_jumping_generators_fail_and_the_recorded_one_passes(digits, reader, rules):
    trained = between(Run(ROOT / "book/runs/mnist").sampler().net, digits, reader)
    assert claims.evaluate(rules["F3"], trained)
    untrained = between(recipes.MNIST.start(digits, seed=0).game.generator, digits, reader)
    assert not claims.evaluate(rules["F3"], untrained)
    jumping = between(LookUp(digits.valid, 0), digits, reader)  # of images that are no training digits
    assert jumping["jump"] > 0.99
    assert not claims.evaluate(rules["F3"], trained | {"jump": jumping["jump"]})


def components(patterns: Tensor, digits: datasets.Dataset) -> dict[str, float]:
    """The figures of D3 for patterns as the columns of G, with samples that are above suspicion."""
    unseen = torch.cat([digits.valid, digits.test])
    shares = [measures.share_from(digits.train, unseen, patterns, side) for side in (28, 14, 7)]
    names = ("whole", "quarter", "sixteenth")
    return {**dict(zip(names, shares, strict=True)), "fair": 0.8, "rise": 0.0, "low": 0.01}


def strokes(x: Tensor) -> Tensor:
    """Of each image one quarter, at random, in a little noise."""
    corner = torch.randint(0, 2, (2, len(x)), generator=torch.Generator().manual_seed(2))
    kept = torch.zeros(len(x), 2, 2)
    kept[torch.arange(len(x)), corner[0], corner[1]] = 1
    mask = kept.repeat_interleave(14, 1).repeat_interleave(14, 2).flatten(1)
    return noise(x * mask, 0.1)


@pytest.mark.parametrize("copied", [lambda x: noise(x, 0.2), lambda x: -noise(x, 0.1), strokes])
def test_D3_patterns_that_hold_training_digits_or_parts_of_them_fail(copied, digits, rules):
    assert not claims.evaluate(rules["D3"], components(copied(digits.train[:400]), digits))


def test_D3_noise_and_digits_of_others_pass(digits, rules):
    rng = torch.Generator().manual_seed(0)
    assert claims.evaluate(rules["D3"], components(torch.randn(400, 784, generator=rng), digits))
    strangers = datasets.of(digits.train[:3600])
    unseen = torch.cat([digits.valid, digits.train[3600:]])
    for side in (28, 14, 7):
        share = measures.share_from(strangers.train, unseen, digits.test, side)
        assert abs(share - 0.8) < 0.08


def test_D3_best_matches_by_brute_force():
    rng = np.random.default_rng(0)
    known, others, patterns = (rng.random((n, 16)) for n in (12, 5, 9))
    wins = 0
    for pattern in patterns:
        squares = {(r, c): pattern.reshape(4, 4)[r : r + 2, c : c + 2] for r in (0, 2) for c in (0, 2)}
        (r, c), square = max(squares.items(), key=lambda item: item[1].var())
        best = [
            max(abs(np.corrcoef(square.flat, x.reshape(4, 4)[r : r + 2, c : c + 2].flat)[0, 1]) for x in xs)
            for xs in (known, others)
        ]
        wins += best[0] > best[1]
    tensors = (torch.from_numpy(x) for x in (known, others, patterns))
    assert measures.share_from(*tensors, 2) == pytest.approx(wins / 9)


def test_I1_a_fresh_net_tells_noise_and_blur_but_not_digits_from_digits(digits, rules):
    pool = torch.cat([digits.train[:1500], digits.valid])
    one, other = pool[:1000], pool[1000:]
    told = {
        name: measures.two_sample_accuracy(x, other, updates=120)
        for name, x in {"real": one, "blurred": blur(one), "noisy": noise(one, 0.1).clamp(0, 1)}.items()
    }
    assert abs(told["real"][0] - 0.5) < 4 * told["real"][1]
    share = told["real"][0]
    assert told["real"][1] == pytest.approx((share * (1 - share) / 1000) ** 0.5)
    figures = {"told_real": told["real"][0], "told_blurred": told["blurred"][0]}
    for name in ("blurred", "noisy"):
        told_apart, error = told[name]
        assert not claims.evaluate(rules["I1-images"], figures | {"told": told_apart, "error": error})
    same = dict(zip(("told", "error"), told["real"], strict=True))
    assert claims.evaluate(rules["I1-images"], figures | same)
    blind = {"told": 0.5, "error": 0.01, "told_real": 0.5, "told_blurred": 0.5}
    assert not claims.evaluate(rules["I1-images"], blind)


@pytest.mark.parametrize("claim", ["E2", "E3", "E4"])
def test_E_images_without_variety_fail_whatever_they_score(claim, digits, rules):
    weights = {"E2": 104287505, "E3": 126788673, "E4": 77279145}[claim]
    rest = {"weights": weights, "updates": 70560, "mean": 9.0, "error": 0.1, "constant": 0.0, "grey": 0.0}

    def agrees(images: Tensor) -> bool:
        new, seen, real = (measures.shrunk(x, (28, 28), 4) for x in (digits.test, images, digits.valid))
        recall = {"recall": measures.covered(new, seen), "recall_real": measures.covered(new, real)}
        return claims.evaluate(rules[claim], rest | recall)

    mean, rng = digits.train.mean(0), torch.Generator().manual_seed(0)
    brightness = torch.rand(500, 1, generator=rng)
    assert agrees(digits.train[:500])
    assert not agrees(mean.expand(500, -1))
    assert not agrees(noise(mean.expand(500, -1), 0.2))
    assert not agrees(brightness * blur(mean[None]))
    assert not agrees(torch.rand(500, 784, generator=rng))
    assert not agrees(digits.train[:5].repeat(100, 1) + 0.01 * torch.randn(500, 784, generator=rng))


def test_E_shrunk_images_are_means_of_squares():
    x = np.random.default_rng(0).random((4, 3, 6, 4))
    expected = x.reshape(4, 3, 3, 2, 2, 2).mean((3, 5)).reshape(4, -1)
    np.testing.assert_allclose(measures.shrunk(torch.from_numpy(x).flatten(1), (3, 6, 4), 2), expected)


def test_P2_covered_by_its_definition():
    rng = np.random.default_rng(0)
    x, by = rng.random((40, 2)), rng.random((30, 2))
    reach = np.sort(np.linalg.norm(by[:, None] - by[None], axis=2), axis=1)[:, 3]
    inside = (np.linalg.norm(x[:, None] - by[None], axis=2) <= reach).any(1).mean()
    assert measures.covered(torch.from_numpy(x), torch.from_numpy(by)) == pytest.approx(inside)
