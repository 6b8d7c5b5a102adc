"""Ring, grid and what samples cover of them (claim D1) against brute force; games side by side against each
alone."""

from __future__ import annotations

import dataclasses
import inspect
import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2, entropy
from torch.nn.functional import logsigmoid

from gansrc.game import Rules
from gansrc.modes import Crowd, Modes, covered, grid, reverse_kl, ring


def test_D1_ring_and_grid_have_as_many_modes_as_their_names_say():
    eight, many = ring(), grid()
    assert len({tuple(np.round(mean, 4)) for mean in eight.means.numpy()}) == 8
    np.testing.assert_allclose(eight.means.norm(dim=1), 1, rtol=1e-6)
    turns = np.sort(np.degrees(np.arctan2(*eight.means.T.flip(0).numpy())) % 360)
    np.testing.assert_allclose(turns, np.arange(8) * 45, atol=1e-4)
    assert sorted(map(tuple, many.means.tolist())) == [
        (x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)
    ]
    assert (eight.sigma, many.sigma) == (0.01, 0.05)


def test_D1_a_ring_with_both_ends_of_the_circle_is_refused():
    angle = torch.linspace(0, 2 * math.pi, 8)
    with pytest.raises(ValueError, match="^modes must be apart by more than 6 sigma, got two at .*distinct"):
        Modes(torch.stack([angle.cos(), angle.sin()], 1), 0.01)


@pytest.mark.parametrize("modes", [ring(), grid()])
def test_D1_counts_by_brute_force(modes):
    rng = np.random.default_rng(0)
    means = modes.means.numpy()
    near = means[rng.integers(len(means), size=400)] + rng.normal(0, 2 * modes.sigma, (400, 2))
    x = np.concatenate([near, rng.uniform(-5, 5, (400, 2))]).astype(np.float32)
    expected = [0] * len(means)
    for point in x:
        gaps = [math.hypot(*(point - mean)) for mean in means]
        if min(gaps) <= 3 * modes.sigma:
            expected[gaps.index(min(gaps))] += 1
    counts = modes.counts(torch.from_numpy(x))
    assert counts.tolist() == expected and 0 < sum(expected) < 400
    assert covered(counts) == sum(n > 0 for n in expected)
    assert reverse_kl(counts) == pytest.approx(entropy(expected, [1] * len(means)), abs=1e-9)


def test_D1_perfect_samples_and_ends():
    samples = ring().draw(100_000, torch.Generator().manual_seed(0))
    counts = ring().counts(samples)
    assert counts.sum() / len(samples) == pytest.approx(chi2(2).cdf(9), abs=2e-3)
    assert covered(counts) == 8 and reverse_kl(counts) < 1e-3
    one = torch.tensor([0, 0, 7, 0, 0, 0, 0, 0])
    assert covered(one) == 1 and reverse_kl(one) == pytest.approx(math.log(8))
    assert covered(one * 0) == 0 and reverse_kl(one * 0) == math.inf


@pytest.mark.parametrize("samples", [torch.zeros(5), torch.zeros(5, 3), torch.full((2, 2), math.nan)])
def test_samples_that_are_no_points(samples):
    counts = inspect.unwrap(Modes.counts)  # without the tests' own check of shapes
    with pytest.raises(ValueError, match=r"^samples must be numbers of shape \(n, 2\), got"):
        counts(ring(), samples)


def test_D1_a_pair_in_a_crowd_moves_as_alone_by_adam_and_ahead():
    """Pair 1 of two, two updates with three steps of G, by torch's own Adam on nets apart."""
    data = ring().draw(500, torch.Generator().manual_seed(0))
    rules = Rules(batch_size=10, g_steps=3)
    crowd = Crowd(2, rules, width=6, rates=(0.01, 0.002), seed=4)
    nets = [
        [p[1].detach().clone().requires_grad_() for p in net.parameters()]
        for net in (crowd.generator, crowd.discriminator)
    ]
    adams = [torch.optim.Adam(p, rate, (0.5, 0.999)) for p, rate in zip(nets, (0.01, 0.002), strict=True)]

    def out(parameters: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        for i in range(0, len(parameters), 2):
            x = x @ parameters[i].T + parameters[i + 1]
            x = x.relu() if i < len(parameters) - 2 else x
        return x

    crowd.on(data, 2)
    rng = torch.Generator().manual_seed(4)
    for _ in range(2):
        rows = torch.randint(500, (2, 10), generator=rng)[1]
        fake = out(nets[0], torch.randn(20, 2, generator=rng)[10:]).detach()
        adams[1].zero_grad()
        (-(logsigmoid(out(nets[1], data[rows])) + logsigmoid(-out(nets[1], fake))).mean()).backward()
        adams[1].step()
        for _ in range(3):
            adams[0].zero_grad()
            (
                -logsigmoid(out(nets[1], out(nets[0], torch.randn(20, 2, generator=rng)[10:]))).mean()
            ).backward()
            adams[0].step()
    for net, own in zip((crowd.generator, crowd.discriminator), nets, strict=True):
        for p, mine in zip(net.parameters(), own, strict=True):
            torch.testing.assert_close(p[1], mine, rtol=1e-4, atol=1e-5)


def test_D1_without_rates_a_crowd_moves_by_momentum():
    data = ring().draw(500, torch.Generator().manual_seed(0))
    crowd = Crowd(2, Rules(batch_size=10, learning_rate=0.1, momentum=(0.5, 0.5)), width=6)
    before = [p.detach().clone() for p in crowd.generator.parameters()]
    crowd.on(data, 1)
    for p, old, v in zip(crowd.generator.parameters(), before, crowd.velocity[crowd.generator], strict=True):
        torch.testing.assert_close(p, old + v)
    assert not torch.equal(crowd.samples(5)[0], crowd.samples(5)[1])
    assert torch.equal(crowd.samples(5), crowd.samples(5))
    crowd.rules = dataclasses.replace(crowd.rules, g_steps=2)
    crowd.on(data, 3)
    assert crowd.updates == 4
