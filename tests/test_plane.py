"""The density in the plane (`gansrc.plane`) against quadrature, sampling and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from gansrc import datasets, plane


@pytest.mark.parametrize("bell", plane.BELLS)
def test_bell_integrates_to_one(bell: plane.BentBell) -> None:
    def density(y: float, x: float) -> float:
        return bell.log_density(torch.tensor([[x, y]], dtype=torch.float64)).exp().item()

    (x0, y0), reach = bell.centre, 2.2
    total, _ = integrate.dblquad(density, x0 - reach, x0 + reach, y0 - reach, y0 + reach, epsabs=1e-4)
    line = torch.linspace(-8, 8, 1601, dtype=torch.float64)
    points = torch.cartesian_prod(line, line)
    whole = bell.log_density(points).exp().sum().item() * 0.01**2
    assert total <= whole + 1e-3
    assert whole == pytest.approx(1, abs=1e-6)


def test_draws_follow_the_density() -> None:
    samples = plane.draw(200_000, torch.Generator().manual_seed(1))
    counts = plane.shares(samples) * (len(samples) + plane.SQUARES**2 / 2) - 0.5
    edges = np.linspace(-plane.EDGE, plane.EDGE, plane.SQUARES + 1)
    brute, _, _ = np.histogram2d(samples[:, 1].numpy(), samples[:, 0].numpy(), [edges, edges])
    assert np.abs(brute - counts.numpy()).sum() < 10  # but for points on an edge, or outside
    expected, counts = plane.truth(), counts / len(samples)
    large = expected * len(samples) > 20  # so that a square's count is nearly normal
    z = (counts[large] - expected[large]) / (expected[large] / len(samples)).sqrt()
    assert 0.9 < z.std() < 1.1
    assert abs(z.mean()) < 0.1
    shares = [(samples - torch.tensor(b.centre)).norm(dim=1).lt(0.1).double().mean() for b in plane.BELLS]
    assert min(shares) > 0


def test_masses_are_those_of_a_known_bell() -> None:
    logs = torch.distributions.Normal(0.5, 0.7).log_prob(plane.points()).sum(1)
    mass, integral = plane.masses(logs)
    edges = np.linspace(-plane.EDGE, plane.EDGE, plane.SQUARES + 1)
    along = np.diff(stats.norm(0.5, 0.7).cdf(edges))
    assert integral == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(mass.numpy(), np.outer(along, along), atol=2e-6)
    scaled, three = plane.masses(logs + math.log(3))
    torch.testing.assert_close(scaled, mass)
    assert three == pytest.approx(3, abs=1e-5)


def test_distances_of_the_data_and_of_others() -> None:
    assert plane.distances(plane.truth()) == (0, pytest.approx(0, abs=1e-12))
    far = plane.shares(torch.full((1000, 2), 9.0))  # outside: counted to the last square
    assert far.argmax() == plane.SQUARES**2 - 1
    total_variation, kl = plane.distances(plane.truth().flip(0))
    data = plane.truth().numpy()
    assert total_variation == pytest.approx(0.5 * np.abs(data - data[::-1]).sum())
    assert kl == pytest.approx(stats.entropy(data.ravel(), data[::-1].ravel()))
    assert total_variation > 0.5


@pytest.mark.parametrize(
    ("logs", "fault"),
    [
        (torch.zeros(5), "at all 102,400 points, got 5"),
        (torch.full((102_400,), math.nan), "finite somewhere and nowhere nan, got up to nan"),
        (torch.full((102_400,), -math.inf), "got up to -inf"),
    ],
)
def test_densities_that_are_none(logs: torch.Tensor, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        plane.masses(logs)


def test_samples_that_are_none() -> None:
    with pytest.raises(ValueError, match="numbers of shape"):
        plane.shares(torch.full((5, 2), math.nan))


def test_data_set() -> None:
    data = datasets.load("wink")
    assert [len(part) for part in (data.train, data.valid, data.test)] == [10_000, 1_000, 2_000]
    assert data.sha256 == datasets.load("wink").sha256
    log_density = plane.log_density(data.test.double())
    exact = plane.log_density(plane.points())
    entropy = -(exact.exp() * exact).sum().item() * (2 * plane.EDGE / plane.SQUARES / plane.WITHIN) ** 2
    assert -log_density.mean().item() == pytest.approx(entropy, abs=4 * log_density.std().item() / 2000**0.5)
