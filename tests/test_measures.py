"""Nearest examples against SciPy's k-d tree; the centroid of no image; what a judge reads; a chain's time by
its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree
from scipy.stats import energy_distance as scipy_energy_distance

from gansrc.measures import (
    autocorrelation_time,
    birthday,
    centroids,
    class_shares,
    energy_distance,
    judge,
    nearest,
    total_variation,
    twins,
)  # fmt: skip


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


@pytest.mark.parametrize("shape", [(14, 17), (3, 13, 16)])
def test_P2_a_judge_reads_what_it_was_taught_and_leaves_the_random_stream_alone(shape):
    rng = torch.Generator().manual_seed(0)

    def bars(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise with one bright line: lying, standing, or none."""
        images, labels = torch.rand(n, *shape, generator=rng), torch.arange(n) % 3
        images[labels == 0, ..., 6, :] += 1
        images[labels == 1, ..., 9] += 1
        return images.flatten(1), labels

    images, labels = bars(600)
    torch.manual_seed(1)
    net, again = (judge(images, labels, shape, updates=60) for _ in range(2))
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    fresh, truth = bars(300)
    assert (net(fresh).argmax(1) == truth).float().mean() > 0.95
    assert torch.equal(net(fresh), again(fresh)) and net[0](fresh).shape == (300, 64)
    assert not torch.equal(net(fresh), judge(images, labels, shape, updates=60, seed=1)(fresh))


@pytest.mark.parametrize("chains", [(), (1,), (3, 2)])
def test_D2_autocorrelation_time_by_its_definition(chains):
    x, steps = np.random.default_rng(0).standard_normal((*chains, 60, 2)), range(60)
    for t in steps[1:]:
        x[..., t, :] += 0.5 * x[..., t - 1, :]
    moved = (x - x.reshape(-1, 2).mean(0)).reshape(-1, 60, 2)
    covariance = [(moved[:, t:] * moved[:, : 60 - t]).sum() / (60 - t) for t in steps]
    times = 2 * np.cumsum(covariance) / covariance[0] - 1
    expected = next(times[t] for t in steps if t >= 5 * times[t])
    assert autocorrelation_time(torch.from_numpy(x)) == pytest.approx(expected)


def test_I2_many_short_chains_show_the_time_of_a_long_one():
    x = torch.randn(20_000, 30, 1, generator=torch.Generator().manual_seed(0)).double()
    for t in range(1, 30):
        x[:, t] = 0.6 * x[:, t - 1] + 0.8 * x[:, t]
    assert autocorrelation_time(x) == pytest.approx(1.6 / 0.4, rel=0.03)


def test_I2_chains_that_keep_each_to_its_place_show_no_time_but_their_length():
    places = torch.arange(8.0)[:, None, None] + 0.01 * torch.randn(8, 10, 1)
    assert autocorrelation_time(places) == pytest.approx(2 * 10 - 1, rel=0.01)


def test_shares_of_classes_and_how_far_they_are_apart():
    images = torch.eye(4)[[0, 0, 1, 3, 3, 3]]
    shares = class_shares(torch.nn.Identity(), images)
    np.testing.assert_allclose(shares, np.array([2, 1, 0, 3]) / 6, atol=1e-7)
    uniform = torch.full((4,), 0.25)
    events = [sum(shares[i] - uniform[i] for i in range(4) if number >> i & 1) for number in range(16)]
    assert total_variation(shares, uniform) == pytest.approx(max(events).item())
    assert total_variation(shares, shares) == 0
    assert total_variation(torch.eye(4)[0], torch.eye(4)[2]) == 1


def test_D1_of_23_people_two_share_a_birthday():
    day = torch.randint(365, (3000, 1), generator=torch.Generator().manual_seed(0)).float()
    assert abs(birthday(day, 0.5, trials=2000) - 23) <= 1
    assert birthday(torch.arange(50.0)[:, None], 0.5) == float("inf")
    assert birthday(torch.zeros(50, 1), 0.5) == 2
    with pytest.raises(ValueError, match="^two rows at least are wanted, got 1: draw more$"):
        birthday(day[:1], 0.5)


def test_D1_the_first_pair_by_brute_force():
    rng = np.random.default_rng(0)
    x = rng.random((40, 2))
    waits = []
    for _ in range(1000):
        order = rng.permutation(40)
        seen: list[np.ndarray] = []
        for point in x[order]:
            if any(np.hypot(*(point - other)) <= 0.05 for other in seen):
                break
            seen.append(point)
        waits.append(len(seen) + 1)
    found = birthday(torch.from_numpy(x), 0.05, trials=1000)
    assert abs(found - np.median(waits)) <= 1


def test_D1_one_pair_in_a_hundred_is_as_near_as_twins():
    x = np.random.default_rng(0).random((60, 3))
    found = twins(torch.from_numpy(x), n=50, pairs=100)
    gaps = sorted(np.linalg.norm(a - b) for i, a in enumerate(x[:50]) for b in x[:i])
    assert found == pytest.approx(gaps[12])  # of 1,225 pairs, 12 are nearer
    with pytest.raises(ValueError, match="^100 pairs are wanted, 5 rows have fewer: give more rows$"):
        twins(torch.from_numpy(x), n=5, pairs=100)


def test_N2_the_energy_distance_on_a_line_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=60), rng.normal(0.7, 2.0, size=40)
    within = {len(x): np.abs(x[:, None] - x).mean() for x in (a, b)}
    biased = scipy_energy_distance(a, b) ** 2  # which also pairs each sample with itself
    expected = biased - sum(mean / (n - 1) for n, mean in within.items())
    assert energy_distance(*(torch.from_numpy(x)[:, None] for x in (a, b))) == pytest.approx(expected)
    x = torch.from_numpy(rng.normal(size=(2000, 3)))
    assert abs(energy_distance(x[:1000], x[1000:])) < 0.02 < energy_distance(x[:1000], x[1000:] + 0.5)
    with pytest.raises(ValueError, match="^two samples of each are wanted, got 2000 and 1: draw more$"):
        energy_distance(x, x[:1])
