"""The arcs and the chain on their blurred copies (`gansrc.arcs`) against brute force and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.spatial import cKDTree

from gansrc import arcs
from gansrc.measures import autocorrelation_time


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_D4_distances_are_those_to_the_nearest_of_many_points() -> None:
    angles = np.linspace(-arcs.HALF, arcs.HALF, 20_001)
    right = np.stack([np.cos(angles), np.sin(angles)], 1)
    x = 2 * torch.randn(500, 2, generator=rng(), dtype=torch.float64)
    nearest, _ = cKDTree(np.concatenate([right, -right])).query(x.numpy())
    np.testing.assert_allclose(arcs.distance(x), nearest, atol=1e-4)


def test_D4_the_data_lie_on_both_arcs_and_evenly() -> None:
    x = arcs.draw(100_000, rng()).double()
    assert arcs.distance(x).max() < 1e-6
    assert arcs.unevenness(x) < 0.01
    assert x[:, 0].sign().mean().abs() < 0.02
    gap = torch.cdist(x[x[:, 0] > 0][:3000], x[x[:, 0] < 0][:3000]).min().item()
    assert gap == pytest.approx(arcs.GAP, abs=0.02)


def test_D4_unevenness_of_points_in_some_parts_alone() -> None:
    assert arcs.unevenness(torch.tensor([[1.0, 0.01]]).expand(50, 2)) == pytest.approx(0.95)
    right = arcs.draw(50_000, rng())
    right[:, 0] = right[:, 0].abs()
    assert arcs.unevenness(right) == pytest.approx(0.5, abs=0.01)
    assert arcs.unevenness(3 * arcs.draw(50_000, rng())) < 0.02  # how far away does not count


def test_D4_the_blurred_density_by_scipys_quadrature() -> None:
    width, chosen = 0.3, [1000, 2345, 2600]

    def at(x: float, y: float) -> float:
        def bell(t: float, side: int) -> float:
            away = (x - side * math.cos(t)) ** 2 + (y - side * math.sin(t)) ** 2
            return math.exp(-away / (2 * width**2))

        return sum(quad(bell, -arcs.HALF, arcs.HALF, args=(side,))[0] for side in (1, -1))

    found = arcs.blurred(width)
    assert found.sum().item() == pytest.approx(1)
    expected = np.array([at(*arcs.middles()[i].tolist()) for i in chosen])
    np.testing.assert_allclose(found[chosen] / found[chosen[0]], expected / expected[0], rtol=1e-3)


@pytest.fixture
def small(monkeypatch) -> torch.Tensor:
    """A grid of 8 x 8 squares, on which the chain can be a dense matrix, and masses for it."""
    monkeypatch.setattr(arcs, "SQUARES", 8)
    monkeypatch.setattr(arcs, "SIDE", 2 * arcs.EDGE / 8)
    return (torch.randn(64, generator=rng(), dtype=torch.float64)).softmax(0)


def by_hand(p: np.ndarray, steps: int) -> np.ndarray:
    """The Metropolis matrix, square by square and move by move."""
    matrix = np.zeros((64, 64))
    for a, b in np.ndindex(8, 8):
        for right in range(-steps, steps + 1):
            for up in range(-steps, steps + 1):
                chance, to = 1 / (2 * steps + 1) ** 2, (a + right, b + up)
                if min(to) >= 0 and max(to) < 8:
                    j = to[0] * 8 + to[1]
                    accepted = min(1, p[j] / p[a * 8 + b])
                    matrix[a * 8 + b, j] += chance * accepted
                    matrix[a * 8 + b, a * 8 + b] += chance * (1 - accepted)
                else:
                    matrix[a * 8 + b, a * 8 + b] += chance
    return matrix


@pytest.mark.parametrize("steps", [1, 2])
def test_D4_the_chains_matrix_by_hand_and_its_eigenvalue_by_numpy(small, steps) -> None:
    matrix = by_hand(small.numpy(), steps)
    np.testing.assert_allclose(arcs.transitions(small, steps).toarray(), matrix, atol=1e-14)
    np.testing.assert_allclose(small.numpy() @ matrix, small, atol=1e-14)  # it draws from p
    values, vectors = np.linalg.eig(matrix)  # not symmetric
    order = np.argsort(-values.real)
    value, share = arcs.slowest(small, steps)
    assert value == pytest.approx(values.real[order[1]])
    side = np.sign(arcs.middles()[:, 0].numpy())
    spanned = vectors[:, order].real
    weights = np.linalg.solve(spanned, side)  # the side as a sum of right eigenvectors
    norm = (small.numpy() * spanned[:, 1] ** 2).sum()
    assert share == pytest.approx(weights[1] ** 2 * norm)


def test_D4_the_simulated_chain_is_the_matrixs(small) -> None:
    right = arcs.walk(small, 1, 20_000, 4, rng())
    assert right.shape == (20_000, 4)
    matrix, side = by_hand(small.numpy(), 1), (arcs.middles()[:, 0] > 0).double().numpy()
    together = small.numpy() * side @ np.linalg.matrix_power(matrix, 3) @ side  # right at first, and 3 later
    assert (right[:, 0] & right[:, 3]).double().mean().item() == pytest.approx(together, abs=0.01)
    assert right.double().mean().item() == pytest.approx(small.numpy() @ side, abs=0.01)


def test_D4_steps_counted_and_steps_by_the_eigenvalue() -> None:
    p, steps = arcs.blurred(0.4), arcs.reach(0.4)
    value, share = arcs.slowest(p, steps)
    counted = autocorrelation_time(arcs.walk(p, steps, 1000, 400, rng())[..., None].double())
    assert counted == pytest.approx(share * (1 + value) / (1 - value), rel=0.12)


def test_D4_a_blur_below_the_grid_and_a_chain_of_no_steps_are_told() -> None:
    for width in (0.0, -1.0, math.nan, math.inf, arcs.SIDE / 2):
        with pytest.raises(ValueError, match="width must be at least 0.05, a square of the grid, got"):
            arcs.blurred(width)
    with pytest.raises(ValueError, match="length must be positive, got 0: let the chain take a step"):
        arcs.walk(arcs.blurred(0.4), 2, 10, 0, rng())
