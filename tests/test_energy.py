"""Unnormalised densities: objectives and chain against quadrature, finite differences, closed forms."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, stats
from torch import Tensor

from gansrc import plane
from gansrc.catalogue import RECIPES
from gansrc.datasets import of
from gansrc.game import minibatch_value
from gansrc.models import energy
from gansrc.models.energy import Energy


def start(name: str = "nce-wink", **changes: object) -> Energy:
    """A small density at its start, its weights wider than the recipe's, so that it bends."""
    small = {"hidden": (8, 8), "chains": 20, "burn_in": 3, "thin": 2} | changes
    model = dataclasses.replace(RECIPES[name], **small).start(of(torch.randn(30, 2)), 0)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.net.parameters():
            p.normal_(generator=rng)
    return model


def two_bells(weight: float, std: float, apart: float = 3.0) -> Callable[[Tensor], Tensor]:
    """Log-density on the line, (n, 1) to (n,), of bells at +- apart / 2."""

    def log_density(x: Tensor) -> Tensor:
        bells = torch.distributions.Normal(x.new_tensor([apart / 2, -apart / 2]), std)
        return (bells.log_prob(x) + x.new_tensor([weight, 1 - weight]).log()).logsumexp(1)

    return log_density


def on_line(function: Callable[[Tensor], Tensor], p: Callable[[Tensor], Tensor]) -> float:
    """The mean of a function, (n, 1) to (n,), under the density exp(p) on the line, by Simpson's rule."""
    x = torch.linspace(-12, 12, 4801, dtype=torch.float64)[:, None]
    return float(integrate.simpson((function(x).detach() * p(x).exp()).numpy(), x=x[:, 0].numpy()))


def squared_gap(a: Callable[[Tensor], Tensor], p: Callable[[Tensor], Tensor]) -> float:
    """Half the mean squared distance between two scores under the second density, by differences of logs."""
    x, h = torch.linspace(-12, 12, 4801, dtype=torch.float64)[:, None], 1e-5
    gap = ((a(x + h) - p(x + h)) - (a(x - h) - p(x - h))) / (2 * h)
    return float(integrate.simpson((p(x).exp() * gap**2 / 2).numpy(), x=x[:, 0].numpy()))


def test_R5_score_and_trace_by_finite_differences() -> None:
    model = start().double()
    x, h = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double(), 1e-4
    log_p = model.log_density
    with torch.no_grad():
        shifts = h * torch.eye(2).double()
        slopes = torch.stack([(log_p(x + s) - log_p(x - s)) / (2 * h) for s in shifts], 1)
        trace = sum((log_p(x + s) - 2 * log_p(x) + log_p(x - s)) / h**2 for s in shifts)
    np.testing.assert_allclose(energy.score(log_p, x).detach(), slopes, atol=1e-6)
    by_hand = slopes.square().sum(1) / 2 + trace
    np.testing.assert_allclose(energy.score_matching(log_p, x).detach(), by_hand, atol=2e-5)


def test_R5_score_matching_is_half_the_squared_distance_of_scores_but_for_a_constant() -> None:
    data, a, b = two_bells(0.6, 0.9), two_bells(0.3, 1.2), two_bells(0.6, 1.4, apart=1.0)
    cost = [on_line(lambda x, m=m: energy.score_matching(m, x), data) for m in (a, b, data)]
    gaps = [squared_gap(m, data) for m in (a, b, data)]
    assert gaps[2] == pytest.approx(0, abs=1e-9)
    assert cost[0] - cost[2] == pytest.approx(gaps[0], rel=1e-5)
    assert cost[1] - cost[2] == pytest.approx(gaps[1], rel=1e-5)
    assert min(gaps[:2]) > 0.05


def test_R5_denoising_is_score_matching_to_the_noised_data_but_for_a_constant() -> None:
    std, nodes = 0.7, np.polynomial.hermite_e.hermegauss(40)
    data, noised = two_bells(0.6, 0.9), two_bells(0.6, math.hypot(0.9, std))
    a, b = two_bells(0.3, 1.2), two_bells(0.6, 1.4, apart=1.0)

    def cost(model: Callable[[Tensor], Tensor]) -> float:
        total = 0.0
        for node, weight in zip(*nodes, strict=True):  # the mean over N(0, 1)

            def at(x: Tensor, node: float = node) -> Tensor:
                return energy.denoising(model, x, torch.full_like(x, node), std)

            total += weight * on_line(at, data) / math.sqrt(2 * math.pi)
        return total

    best = cost(noised)
    assert cost(a) - best == pytest.approx(squared_gap(a, noised), rel=1e-4)
    assert cost(b) - best == pytest.approx(squared_gap(b, noised), rel=1e-4)
    assert cost(data) > best + 0.01


def test_R5_a_gaussians_precision_without_its_normaliser() -> None:
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.multivariate_normal([1.0, -2.0], [[2.0, 0.6], [0.6, 0.5]], 400))
    precision = torch.tensor(np.linalg.inv(np.cov(x.T.numpy(), bias=True)))
    mean = x.mean(0)

    def cost(entries: Tensor) -> Tensor:
        root = torch.stack([entries[:2], entries[1:]])  # symmetric
        return energy.score_matching(lambda y: 7 - ((y - mean) @ root * (y - mean)).sum(1) / 2, x).mean()

    entries = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    hessian = torch.autograd.functional.hessian(cost, entries)  # the cost is a parabola: one step of Newton
    slope = torch.autograd.functional.jacobian(cost, entries)
    found = (entries - torch.linalg.solve(hessian, slope)).detach()
    np.testing.assert_allclose(found, [precision[0, 0], precision[0, 1], precision[1, 1]], rtol=1e-9)


def test_R6_as_many_points_of_noise_as_of_data_give_the_value_of_the_game() -> None:
    rng = torch.Generator().manual_seed(0)
    real, fake = torch.randn(30, generator=rng), torch.randn(30, generator=rng)
    assert energy.contrast(real, fake).item() == pytest.approx(minibatch_value(real, fake).item(), rel=1e-6)


@pytest.mark.parametrize("noises", [1, 5])
def test_R6_contrast_is_bayes_rule_on_two_known_densities(noises: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, 40), rng.normal(1, 2, 40 * noises)
    model, noise = stats.norm(0.2, 1.1), stats.norm(1, 2)

    def chance(at: np.ndarray) -> np.ndarray:
        return model.pdf(at) / (model.pdf(at) + noises * noise.pdf(at))

    expected = np.log(chance(x)).mean() + noises * np.log(1 - chance(y)).mean()
    ratios = [torch.tensor(model.logpdf(at) - noise.logpdf(at)) for at in (x, y)]
    assert energy.contrast(*ratios, noises).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("noises", [1, 5])
def test_R6_the_best_constant_is_the_one_that_normalises(noises: int) -> None:
    levels = (np.arange(40_000) + 0.5) / 40_000
    data, noise = stats.norm(0, 0.7), stats.norm(0.5, 2)
    x, y = torch.tensor(data.ppf(levels)), torch.tensor(noise.ppf(levels))

    def cost(c: float) -> float:
        ratios = [-(at**2) / (2 * 0.7**2) + c - torch.tensor(noise.logpdf(at)) for at in (x, y)]
        return -energy.contrast(*ratios, noises).item()

    found = optimize.minimize_scalar(cost, (-2, 0)).x
    assert found == pytest.approx(-math.log(0.7 * math.sqrt(2 * math.pi)), abs=1e-4)


@pytest.mark.parametrize(("right_ones", "expected"), [(1, 0.342), (8, 0.0997)])
def test_R6_the_pull_of_noise_that_stays_by_sampling(right_ones: int, expected: float) -> None:
    """The figures of the page, there by integration over a length: here drawn, by autograd."""
    rng, n = torch.Generator().manual_seed(0), 400_000
    x, y = (std * torch.randn(n, right_ones + 1, generator=rng).double() for std in (1, 3))
    log_precision = torch.tensor(math.log(2)).double().requires_grad_()

    def log_ratio(points: Tensor) -> Tensor:
        scales = torch.cat([torch.ones(right_ones), (-log_precision / 2).exp()[None]])
        model = torch.distributions.Normal(0.0, scales).log_prob(points).sum(1)
        return model - torch.distributions.Normal(0.0, 3.0).log_prob(points).sum(1)

    (slope,) = torch.autograd.grad(energy.contrast(log_ratio(x), log_ratio(y)), log_precision)
    assert slope.item() == pytest.approx(-expected, rel=0.05)  # four standard errors


def test_R6_c_is_learnt_by_contrast_alone() -> None:
    for name in ("score-wink", "denoising-wink", "nce-wink"):
        model = start(name)
        model.fit(plane.draw(500, torch.Generator().manual_seed(0)), 3)
        assert (model.c.item() != 0) == (name == "nce-wink")


def test_I2_the_chain_draws_a_bell_whatever_its_step() -> None:
    model = start(step=2.5, spread=2.0, chains=4000, burn_in=30, thin=5)
    with torch.no_grad():
        model.net[-2].weight.zero_()
    samples = model.samples(4000, torch.Generator().manual_seed(0))
    assert stats.kstest(samples[:, 0].numpy(), stats.norm(0, 2).cdf).pvalue > 1e-3
    assert samples.std(0).numpy() == pytest.approx([2, 2], rel=0.05)  # unadjusted, 2.6


def test_I2_the_chain_draws_the_density_of_a_net() -> None:
    model = start(step=0.7, spread=1.0, chains=4000, burn_in=100, thin=10)
    with torch.no_grad():
        mass, _ = plane.masses(model.log_density(plane.points()))
    drawn = plane.shares(model.samples(40_000, torch.Generator().manual_seed(0)))
    counts = drawn * (40_000 + plane.SQUARES**2 / 2) - 0.5  # less what every square has beforehand
    for axis in (0, 1):
        assert (counts.sum(axis) / 40_000 - mass.sum(axis)).abs().sum().item() / 2 < 0.03


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"objective": "likelihood"}, "objective must be one of score, denoising, nce, got 'likelihood'"),
        ({"step": 0.0}, "step must be positive, got 0.0"),
        ({"chains": 0}, "chains must be positive, got 0"),
        ({"noises": -1}, "noises must be positive, got -1"),
    ],
)
def test_recipes_that_are_none(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        dataclasses.replace(RECIPES["nce-wink"], **changes)


def test_a_density_that_does_not_integrate_is_told() -> None:
    model = start()
    with torch.no_grad():
        model.c.fill_(math.nan)
        with pytest.raises(ValueError, match="finite somewhere and nowhere nan"):
            plane.masses(model.log_density(plane.points()))


def test_points_of_another_space_are_told() -> None:
    with pytest.raises(ValueError, match=r"points must be of shape \(n, 2\), got \(5, 3\)"):
        start().log_density(torch.zeros(5, 3))
