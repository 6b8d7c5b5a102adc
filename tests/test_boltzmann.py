"""Boltzmann machines (R3, R4) against counting all states by their energy, quadrature and autograd."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gansrc import catalogue, plane, runs
from gansrc.catalogue import RECIPES
from gansrc.cli import main
from gansrc.datasets import of
from gansrc.measures import autocorrelation_time
from gansrc.model import Density
from gansrc.models.boltzmann import RBM, GaussianRBM, annealed, log_mean_exp, log_z, states
from gansrc.models.dbm import DBM


def randomised(module: torch.nn.Module, size: float = 0.7, seed: int = 0) -> torch.nn.Module:
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            if p.requires_grad:
                p.copy_(size * torch.randn(p.shape, generator=rng))
    return module.double()


def binary(d: int) -> Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=d)), dtype=torch.float64)


def rbm(kind: type[RBM], visible: int, hidden: int, seed: int = 0) -> RBM:
    return randomised(kind(visible, hidden, 1.0, torch.Generator()), seed=seed)


def deep(kind: type[RBM], visible: int) -> DBM:
    rng = torch.Generator()
    return randomised(DBM(kind(visible, 4, 1.0, rng), RBM(4, 3, 1.0, rng)))


def energy(layer: RBM, v: Tensor, h: Tensor) -> Tensor:
    """E(v, h) of one pair of layers, for all v (rows) and h (columns), term by term."""
    numbers = isinstance(layer, GaussianRBM)
    own = (v - layer.visible_bias).square().sum(1) / 2 if numbers else -v @ layer.visible_bias
    return own[:, None] - h @ layer.hidden_bias - v @ layer.weight.T @ h.T


def log_unnormalised(machine: DBM, v: Tensor) -> Tensor:
    """log of the sum over all states of both hidden layers of exp(-E)."""
    h1, h2 = (binary(len(layer.hidden_bias)) for layer in (machine.bottom, machine.top))
    both = energy(machine.bottom, v, h1)[:, :, None] + energy(machine.top, h1, h2)
    return torch.logsumexp(-both.flatten(1), 1)


def lattice(edge: float = 12.0, parts: int = 300) -> tuple[Tensor, float]:
    """Points of the plane and the area that each stands for."""
    line = (torch.arange(parts, dtype=torch.float64) + 0.5) * (2 * edge / parts) - edge
    return torch.cartesian_prod(line, line), (2 * edge / parts) ** 2


def test_states_are_all_and_each_once() -> None:
    every = states(5, torch.zeros(1))
    assert sorted(map(tuple, every.tolist())) == sorted(map(tuple, binary(5).tolist()))


@torch.no_grad()
@pytest.mark.parametrize("kind", [RBM, GaussianRBM])
def test_R3_sums_over_one_layer_are_those_of_the_energy(kind: type[RBM]) -> None:
    layer = rbm(kind, 2, 4)
    v, area = (binary(2), 1.0) if kind is RBM else lattice()
    joint = -energy(layer, v, binary(4))
    np.testing.assert_allclose(-layer.free_energy(v), torch.logsumexp(joint, 1), atol=1e-10)
    weights = torch.logsumexp(joint, 0) + math.log(area)
    np.testing.assert_allclose(layer.log_weight(binary(4)), weights, atol=1e-6)
    np.testing.assert_allclose(layer.log_conditional(v, binary(4)), joint - weights, atol=1e-6)
    assert log_z(layer) == pytest.approx(torch.logsumexp(weights, 0).item(), abs=1e-6)
    np.testing.assert_allclose(
        layer.up(v), torch.softmax(joint, 1) @ binary(4), atol=1e-12
    )  # p(h | v) by all states


@torch.no_grad()
@pytest.mark.parametrize("kind", [RBM, GaussianRBM])
def test_R4_a_deep_machine_sums_out_both_sides(kind: type[RBM]) -> None:
    machine = deep(kind, 2)
    v, area = (binary(2), 1.0) if kind is RBM else lattice()
    total = torch.logsumexp(log_unnormalised(machine, v), 0) + math.log(area)
    assert log_z(machine) == pytest.approx(total.item(), abs=1e-6)
    v, h2 = v[:3], binary(3)[[1, 4, 6]]
    h1 = binary(4)
    log_p = -energy(machine.bottom, v, h1) + (h2 @ machine.top.weight @ h1.T)
    np.testing.assert_allclose(machine.between(v, h2), torch.softmax(log_p, 1) @ h1, atol=1e-12)


def test_R4_mean_field_rests_where_its_bound_does() -> None:
    machine = deep(RBM, 5)
    v = torch.tensor([[1.0, 0, 1, 1, 0]], dtype=torch.float64)
    with torch.no_grad():
        h1, h2 = machine.means(v, 200)
    h1, h2 = h1.requires_grad_(), h2.requires_grad_()
    above = h2 @ machine.top.weight @ h1.T + h2 @ machine.top.hidden_bias
    minus_energy = above - energy(machine.bottom, v, h1)

    def entropy(p: Tensor) -> Tensor:
        return torch.distributions.Bernoulli(p).entropy().sum()

    bound = minus_energy.sum() + entropy(h1) + entropy(h2)
    slopes = torch.autograd.grad(bound, [h1, h2])
    assert max(slope.abs().max().item() for slope in slopes) < 1e-9
    assert bound.item() <= log_unnormalised(machine, v).item()


def test_R4_the_gradient_with_exact_statistics_is_that_of_the_likelihood() -> None:
    machine, v = deep(RBM, 3), binary(3)
    data = v[[1, 6, 6]]
    log_p = log_unnormalised(machine, v)
    cost = -(log_unnormalised(machine, data).mean() - torch.logsumexp(log_p, 0))
    parts = [machine.bottom.weight, machine.bottom.visible_bias, machine.bottom.hidden_bias]
    parts += [machine.top.weight, machine.top.hidden_bias]
    exactly = torch.autograd.grad(cost, parts)
    h1, h2 = binary(4), binary(3)
    with torch.no_grad():
        both = -(energy(machine.bottom, v, h1)[:, :, None] + energy(machine.top, h1, h2))
        index = torch.cartesian_prod(torch.arange(8), torch.arange(16), torch.arange(8)).T
        model = both.flatten().softmax(0)
        times = torch.tensor([0, 1, 0, 0, 0, 0, 2, 0])
        given = (both.flatten(1).softmax(1) * times[:, None] / 3).flatten()
        rng = torch.Generator().manual_seed(0)
        a, b = (index[:, torch.multinomial(p, 400_000, True, generator=rng)] for p in (given, model))
        machine.bottom.contrast_(v[a[0]], h1[a[1]], v[b[0]], h1[b[1]])
        machine.top.contrast_(h1[a[1]], h2[a[2]], h1[b[1]], h2[b[2]])
    for part, gradient in zip(parts, exactly, strict=True):
        np.testing.assert_allclose(part.grad, gradient, atol=0.006)


SHAPES = {"rbm-wink": {"hidden": (4,)}, "dbn-wink": {"hidden": (4, 3)}, "dbm-wink": {"hidden": (4, 3)}}


def of_points(name: str, **changes: object):
    settings = SHAPES[name] | {"batch_size": 10, "chains": 20} | changes
    train = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    return dataclasses.replace(RECIPES[name], **settings).start(of(train), 0)


def by_hand(model, x: Tensor) -> Tensor:
    """log p(x) of a net or machine: every hidden state, by its energy; Z by the same sum over x."""
    width = model.recipe.width or 1.0
    every, area = lattice(16.0, 400) if model.recipe.width else (binary(x.shape[1]), 1.0)
    v = torch.cat([x / width, every])

    def normalised(log_p: Tensor) -> Tensor:
        size = math.log(area) + x.shape[1] * math.log(width)
        return log_p[: len(x)] - torch.logsumexp(log_p[len(x) :], 0) - size

    if hasattr(model, "machine"):
        return normalised(log_unnormalised(model.machine.double(), v))
    *lower, top = [layer.double() for layer in model.layers]
    h = v if not lower else binary(len(top.visible_bias))
    log_p = torch.logsumexp(-energy(top, h, binary(len(top.hidden_bias))), 1)
    if not lower:
        return normalised(log_p)
    p = torch.softmax(log_p, 0)
    for layer in reversed(lower):
        above, h = h, (binary(len(layer.visible_bias)) if layer is not lower[0] else v)
        minus = -energy(layer, h, above)
        rest = minus[len(x) :] if layer is lower[0] else minus
        p = (minus - torch.logsumexp(rest, 0)).exp() @ p
    return p[: len(x)].log() - (math.log(area) + x.shape[1] * math.log(width))


@torch.no_grad()
@pytest.mark.parametrize("width", [0.5, 0.0])
@pytest.mark.parametrize("name", [*SHAPES, "three layers"])
def test_R3_R4_log_density_by_counting_every_hidden_state(name: str, width: float) -> None:
    if name == "three layers":
        model = of_points("dbn-wink", hidden=(4, 3, 2), width=width)
    else:
        model = of_points(name, width=width)
    randomised(model)
    assert isinstance(model, Density)
    rng = torch.Generator().manual_seed(0)
    x = 0.5 * torch.randn(9, 2, generator=rng, dtype=torch.float64) if width else binary(2)
    np.testing.assert_allclose(model.log_density(x), by_hand(model, x), atol=2e-5)
    if width:
        assert plane.masses(model.log_density(plane.points()))[1] == pytest.approx(1, abs=1e-4)
    else:
        assert model.log_density(x).exp().sum().item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", SHAPES)
def test_R3_R4_chains_end_in_the_density(name: str) -> None:
    model = of_points(name, width=0.5, chains=2000, burn_in=100, thin=5)
    randomised(model, 0.8).float()
    samples = model.samples(100_000, torch.Generator().manual_seed(0))
    mass, _ = plane.masses(model.log_density(plane.points()))
    found = plane.shares(samples)
    coarse = [m.unflatten(0, (16, 5)).unflatten(2, (16, 5)).sum((1, 3)) for m in (mass, found)]
    assert (coarse[0] - coarse[1]).abs().sum().item() / 2 < 0.03  # half samples in empty squares: .03


@torch.no_grad()
@pytest.mark.parametrize("kind", [RBM, GaussianRBM])
@pytest.mark.parametrize("depth", [1, 2])
def test_R3_R4_annealing_is_right_on_average(kind: type[RBM], depth: int) -> None:
    machine = rbm(kind, 3, 4) if depth == 1 else deep(kind, 3)
    exact, rng = log_z(machine), torch.Generator().manual_seed(0)
    spread = []
    for turns in (1, 10, 100):
        mean, error = log_mean_exp(annealed(machine, turns, 8_000, rng))
        assert abs(mean.item() - exact) < 4 * error.item() + 1e-4
        spread.append(error.item())
    assert spread[0] > 2 * spread[1] > 4 * spread[2]


@torch.no_grad()
def test_R3_a_chain_that_does_not_move_collects_what_one_turn_would() -> None:
    machine = rbm(RBM, 3, 4)
    at_once = annealed(machine, 1, 50, torch.Generator().manual_seed(0))
    machine.walk = lambda h, share=1.0: h
    np.testing.assert_allclose(
        annealed(machine, 7, 50, torch.Generator().manual_seed(0)), at_once, atol=1e-10
    )
    h = machine.hidden_bias.sigmoid().expand(50, -1).bernoulli(generator=torch.Generator().manual_seed(0))
    base = torch.distributions.Bernoulli(machine.hidden_bias.sigmoid()).log_prob(h).sum(1)
    np.testing.assert_allclose(at_once, machine.log_weight(h) - base, atol=1e-10)


def test_R3_log_mean_exp_and_its_error() -> None:
    logs = torch.randn(2000, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 2 + 700
    mean, error = log_mean_exp(logs)
    np.testing.assert_allclose(mean, np.log(np.exp(logs.numpy() - 700).mean(1)) + 700, atol=1e-10)
    assert error.mean().item() == pytest.approx(mean.std().item(), rel=0.05)


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda: states(21, torch.zeros(1)), "21 units have 2\\^21 states: at most 20 are counted"),
        (lambda: annealed(rbm(RBM, 2, 2), 0, 5, torch.Generator()), "needs a turn and a chain, got 0 and 5"),
        (lambda: annealed(rbm(RBM, 2, 2), 5, 0, torch.Generator()), "needs a turn and a chain, got 5 and 0"),
        (lambda: log_mean_exp(torch.zeros(1)), "two chains or more, got 1"),
        (lambda: of_points("dbn-wink", hidden=(30, 3)).log_density(torch.zeros(1, 2)), "30 units have"),
        (lambda: of_points("rbm-wink", hidden=(30,)).log_density(torch.zeros(1, 2)), "30 units have"),
        (lambda: of_points("dbm-wink", hidden=(30, 3)).log_density(torch.zeros(1, 2)), "30 units have"),
    ],
)
def test_what_cannot_be_done_is_told(call, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        call()


@pytest.mark.filterwarnings("ignore:best sigma")  # of a few points
@pytest.mark.parametrize("name", SHAPES)
def test_a_run_on_points_from_the_command_line_to_its_density(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, short = (
        str(tmp_path / "run"),
        dataclasses.replace(RECIPES[name], epoch_updates=20, burn_in=9, thin=2),
    )
    monkeypatch.setattr(catalogue, "RECIPES", {name: short})
    assert main(["train", name, "--out", out, "--epochs", "1"]) == 0
    assert main(["evaluate", out]) == 0
    run = runs.Run(tmp_path / "run")
    sampler = run.sampler()
    assert isinstance(sampler, Density)
    mass, integral = plane.masses(sampler.log_density(plane.points()))
    assert integral == pytest.approx(1, abs=0.01)
    assert run.samples(50).shape == (50, 2)
    assert np.isfinite(run.log_likelihood["fine"]).all()
    assert math.isfinite(autocorrelation_time(run.samples(2000).unflatten(0, (2, 1000)).transpose(0, 1)))
