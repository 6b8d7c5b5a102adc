"""Algorithm 1 (claim A1): the updates against their definition, the stream of randomness, exact resume."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, Uniform

from gansrc.game import Game, Rules, drawing_from, generator_cost, minibatch_value, minibatches, sample


def new_game(seed: int = 0, dropout: float = 0.5, **rules) -> Game:
    torch_state = torch.get_rng_state()
    torch.manual_seed(seed)
    G = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    D = nn.Sequential(
        nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1), nn.Flatten(0)
    ).double()
    torch.set_rng_state(torch_state)
    zero = torch.zeros(2, dtype=torch.float64)
    rng = torch.Generator().manual_seed(seed)
    return Game(G, D, Normal(zero, zero + 1), Rules(**{"batch_size": 4, **rules}), rng)


DATA = torch.randn(22, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def weights(game: Game) -> torch.Tensor:
    return torch.cat(
        [p.detach().flatten() for net in (game.generator, game.discriminator) for p in net.parameters()]
    )


def numeric_gradient(cost, net: nn.Module) -> np.ndarray:
    """Central differences over every weight of a net, in float64: knows nothing of autograd."""
    parts = []
    for p in net.parameters():
        for i in range(p.numel()):
            with torch.no_grad():
                flat, old = p.view(-1), p.view(-1)[i].item()
                flat[i] = old + 1e-6
                up = cost()
                flat[i] = old - 1e-6
                down = cost()
                flat[i] = old
            parts.append((up - down) / 2e-6)
    return np.array(parts)


def flat(net: nn.Module) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])


def as_the_paper_writes(D: nn.Module, x: torch.Tensor, samples: torch.Tensor) -> float:
    """1/m sum log D(x) + log(1 - D(G(z))), by numpy."""
    with torch.no_grad():
        d_x, d_g = (1 / (1 + np.exp(-D(v).numpy())) for v in (x, samples))
    return float(np.mean(np.log(d_x)) + np.mean(np.log(1 - d_g)))


@pytest.mark.parametrize("saturating", [True, False])
def test_A1_alternating_update_is_algorithm_1_by_finite_differences(saturating):
    game = new_game(dropout=0.0, saturating=saturating, learning_rate=0.3, momentum=(0.0, 0.0))
    G, D = copy.deepcopy((game.generator, game.discriminator))
    x = next(minibatches(DATA, 4, game.rng.initial_seed()))
    with drawing_from(torch.Generator().manual_seed(0)):
        z_d, z_g = game.noise.sample((4,)), game.noise.sample((4,))
    game.play(DATA, 1)

    with torch.no_grad():
        samples = G(z_d)
    ascent = numeric_gradient(lambda: as_the_paper_writes(D, x, samples), D)
    new_d = flat(D) + 0.3 * ascent
    np.testing.assert_allclose(flat(game.discriminator), new_d, atol=1e-7)

    D.load_state_dict(game.discriminator.state_dict())  # G moves against the new D

    def cost() -> float:
        with torch.no_grad():
            d_g = 1 / (1 + np.exp(-D(G(z_g)).numpy()))
        return float(np.mean(np.log(1 - d_g)) if saturating else -np.mean(np.log(d_g)))

    np.testing.assert_allclose(flat(game.generator), flat(G) - 0.3 * numeric_gradient(cost, G), atol=1e-7)


def test_A1_simultaneous_update_takes_both_gradients_at_the_old_point_with_half_the_cost():
    game = new_game(dropout=0.0, order="simultaneous", d_cost=0.5, learning_rate=0.3, momentum=(0.0, 0.0))
    G, D = copy.deepcopy((game.generator, game.discriminator))
    x = next(minibatches(DATA, 4, game.rng.initial_seed()))
    with drawing_from(torch.Generator().manual_seed(0)):
        z = game.noise.sample((4,))
    game.play(DATA, 1)
    with torch.no_grad():
        samples = G(z)

    def g_cost() -> float:
        with torch.no_grad():
            return float(np.mean(np.log1p(np.exp(-D(G(z)).numpy()))))

    new_g = flat(G) - 0.3 * numeric_gradient(g_cost, G)
    new_d = flat(D) + 0.3 * 0.5 * numeric_gradient(lambda: as_the_paper_writes(D, x, samples), D)
    np.testing.assert_allclose(flat(game.generator), new_g, atol=1e-7)
    np.testing.assert_allclose(flat(game.discriminator), new_d, atol=1e-7)


def test_simultaneous_costs_share_dropout_masks():
    # One forward pass of D, hence one set of masks, serves both costs; Algorithm 1 makes two.
    game = new_game(dropout=0.5, order="simultaneous")
    calls = []
    game.discriminator.register_forward_hook(lambda *_: calls.append(1))
    game.play(DATA, 3)
    assert len(calls) == 3
    game = new_game(dropout=0.5, order="alternating")
    game.discriminator.register_forward_hook(lambda *_: calls.append(1))
    calls.clear()
    game.play(DATA, 3)
    assert len(calls) == 6


def test_momentum_keeps_the_learning_rate_inside_the_velocity():
    game = new_game(momentum=(0.9, 0.9))
    net = game.discriminator
    theta, gradients = flat(net), np.random.default_rng(0).normal(size=(3, flat(net).size))
    velocity = np.zeros_like(theta)
    for rate, gradient in zip((0.5, 0.1, 0.02), gradients, strict=True):
        game.learning_rate, game.momentum = rate, 0.9
        velocity = 0.9 * velocity - rate * gradient
        theta = theta + velocity
        parts = torch.from_numpy(gradient).split([p.numel() for p in net.parameters()])
        game.move(net, tuple(g.view_as(p) for g, p in zip(parts, net.parameters(), strict=True)))
    np.testing.assert_allclose(flat(net), theta, atol=1e-12)


def test_schedules_of_the_original_recipe():
    game = new_game(learning_rate=0.1, decay=1.000004, momentum=(0.5, 0.7), momentum_epochs=250)
    seen = {}
    for epoch in (0, 1, 2, 125, 250, 251, 1000):
        game.updates = 500 * epoch
        game.set_schedules(500)
        seen[epoch] = (game.learning_rate, game.momentum)
    assert seen[0] == (0.1, 0.5)
    assert seen[1][1] == 0.5
    assert seen[2][1] == pytest.approx(0.5 + 0.2 / 249)
    assert seen[250][1] == pytest.approx(0.7) and seen[1000][1] == pytest.approx(0.7)
    assert seen[1000][0] == pytest.approx(0.1 * math.exp(-500_000 * math.log(1.000004)))
    assert round(seen[1000][0], 4) == 0.0135
    game.updates = 10_000_000
    game.set_schedules(500)
    assert game.learning_rate == 1e-6


def test_k_steps_of_d_use_k_fresh_minibatches():
    drawn = []

    class Counting(nn.Module):
        def forward(self, x):
            drawn.append(x.detach().clone())
            return x.sum(1) * self.w

        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones((), dtype=torch.float64))

    game = new_game(k=3)
    game = Game(game.generator, Counting(), game.noise, game.rules, game.rng)
    game.play(DATA, 2)
    assert [len(x) for x in drawn] == [8, 8, 8, 4] * 2
    real = torch.cat([x[:4] for x in drawn if len(x) == 8])
    expected = minibatches(DATA, 4, game.rng.initial_seed())
    assert torch.equal(real, torch.cat([next(expected) for _ in range(6)]))


def test_minibatches_pass_once_over_the_data_each_epoch_and_can_start_anywhere():
    stream = minibatches(DATA, 4, seed=7)
    batches = [next(stream) for _ in range(15)]
    for first in (0, 5, 10):
        rows = torch.cat(batches[first : first + 5])
        assert len(torch.unique(rows, dim=0)) == 20  # 22 examples: the last partial batch is dropped
    assert not torch.equal(batches[0], batches[5])
    again = minibatches(DATA, 4, seed=7, start=8)
    assert all(torch.equal(next(again), batch) for batch in batches[8:])


def test_costs_are_the_papers_to_the_last_digit():
    real, fake = torch.tensor([0.3, -2.0]), torch.tensor([1.5, 4.0])
    d_real, d_fake = 1 / (1 + np.exp(-real.numpy())), 1 / (1 + np.exp(-fake.numpy()))
    assert minibatch_value(real, fake).item() == pytest.approx(
        np.log(d_real).mean() + np.log(1 - d_fake).mean()
    )
    assert generator_cost(fake, saturating=True).item() == pytest.approx(np.log(1 - d_fake).mean(), rel=1e-5)
    assert generator_cost(fake, saturating=False).item() == pytest.approx(-np.log(d_fake).mean(), rel=1e-5)
    assert minibatch_value(real + 1e4, fake - 1e4).item() == 0.0  # a certain D: no log of zero
    assert torch.isfinite(generator_cost(fake - 1e4, saturating=False))


@pytest.mark.parametrize(
    "rules", [{"order": "alternating", "k": 2}, {"order": "simultaneous", "d_cost": 0.5}]
)
def test_resume_is_bit_for_bit(rules):
    whole, first, second = (new_game(dropout=0.5, **rules) for _ in range(3))
    whole.play(DATA, 23)
    first.play(DATA, 11)
    saved = {key: tensor.clone() for key, tensor in first.state().items()}
    second.load_state(saved, first.updates)
    second.play(DATA, 12)
    assert torch.equal(weights(whole), weights(second))


def test_the_callers_random_state_is_untouched_and_does_not_matter():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = new_game()
    one.play(DATA, 5)
    sample(one.generator, one.noise, 5, torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    other = new_game()
    other.play(DATA, 5)
    assert torch.equal(weights(one), weights(other))


def test_samples_follow_their_seed_and_leave_the_mode_alone():
    game = new_game()
    game.generator.train()
    draw = [
        sample(game.generator, game.noise, 25, torch.Generator().manual_seed(s), batch_size=10)
        for s in (3, 3, 4)
    ]
    assert draw[0].shape == (25, 3) and torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2])
    assert game.generator.training


def test_any_pair_of_modules_learns_a_shifted_gaussian():
    zero = torch.zeros(1)
    rng = torch.Generator().manual_seed(0)
    data = 3 + 0.5 * torch.randn(2000, 1, generator=rng)
    torch.manual_seed(0)
    G = nn.Sequential(nn.Linear(1, 1))
    D = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    rules = Rules(batch_size=100, learning_rate=0.05, momentum=(0.0, 0.0))
    game = Game(G, D, Uniform(zero - 1, zero + 1, validate_args=False), rules, rng)
    first = game.play(data, 50)
    last = [game.play(data, 50) for _ in range(40)][-1]
    samples = sample(G, game.noise, 2000, rng)
    assert abs(samples.mean().item() - 3) < 0.4
    assert last["value"] < first["value"] + 1 and abs(last["d_real"] - 0.5) < 0.2


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"order": "random"}, "order must be 'alternating' or 'simultaneous', got 'random'"),
        (
            {"order": "simultaneous", "k": 2},
            "simultaneous updates need k = 1, got k = 2: use order='alternating'",
        ),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"batch_size": -1}, "batch_size must be positive, got -1"),
    ],
)
def test_bad_rules(rules, message):
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(") + "$"):
        Rules(**rules)


def test_bad_input_too_few_examples_and_a_foreign_state():
    game = new_game()
    with pytest.raises(ValueError, match="batch_size 4 needs as many examples, got 3"):
        game.play(DATA[:3], 1)
    state = game.state()
    del state["velocity.generator.0"]
    with pytest.raises(ValueError, match=r"does not fit these networks: 'velocity\.generator\.0'"):
        game.load_state(state, 0)
