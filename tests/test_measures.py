"""Nearest examples against SciPy's k-d tree; the centroid of no image; a chain's time by its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from gansrc.measures import autocorrelation_time, centroids, nearest


def test_F2_nearest_rows_and_their_distances():
    rng = np.random.default_rng(0)
    train, x = rng.random((500, 6)), rng.random((300, 6))
    expected, rows = KDTree(train).query(x, k=3)
    distance, index = nearest(torch.from_numpy(x).float(), torch.from_numpy(train).float(), k=3)
    np.testing.assert_allclose(distance, expected, atol=1e-5)
    assert (index.numpy() == rows).mean() > 0.999  # float32 may swap two that are equally far


def test_D3_a_copy_is_at_distance_zero_far_from_the_origin():
    train = 1000 + torch.rand(50, 300, generator=torch.Generator().manual_seed(0))
    distance, index = nearest(train[[7, 30]], train)
    assert distance.tolist() == [[0], [0]] and index.tolist() == [[7], [30]]


def test_more_neighbours_than_rows():
    with pytest.raises(ValueError, match="^2 nearest rows are wanted, the training set has 1: lower k$"):
        nearest(torch.rand(4, 3), torch.rand(1, 3), k=2)


def test_P2_the_centroid_of_no_image_is_0():
    train = torch.rand(30, 3, generator=torch.Generator().manual_seed(0))
    means, counts = centroids(train, torch.cat([train[:4], torch.full((1, 3), 99.0)]))
    assert counts[4] == 0 and (means[4] == 0).all() and counts.sum() == 30


def test_D2_autocorrelation_time_by_its_definition():
    x, steps = np.random.default_rng(0).standard_normal((60, 2)), range(60)
    for t in steps[1:]:
        x[t] += 0.5 * x[t - 1]
    moved = x - x.mean(0)
    covariance = [(moved[t:] * moved[: 60 - t]).sum() for t in steps]
    times = 2 * np.cumsum(covariance) / covariance[0] - 1
    expected = next(times[t] for t in steps if t >= 5 * times[t])
    assert autocorrelation_time(torch.from_numpy(x)) == pytest.approx(expected)
