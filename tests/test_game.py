"""Algorithm 1 (claim A1): the updates against their definition, the stream of randomness, exact resume."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Laplace, Normal, Uniform
from torch.utils._python_dispatch import TorchDispatchMode

from gansrc import devices, recipes
from gansrc.datasets import of
from gansrc.devices import GraphedUpdate
from gansrc.game import (
    Game,
    Rules,
    generator_cost,
    minibatch_value,
    sample,
)
from gansrc.gan import GAN
from gansrc.networks import Linear
from gansrc.seeds import Games, stack
from gansrc.streams import draw, drawing_from, minibatches


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


def state_of(game: Game) -> dict[str, torch.Tensor]:
    """All tensors that the next update depends on."""
    return {key: tensor for part in GAN(game).state().values() for key, tensor in part.items()}


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


def shares(D: nn.Module, x: torch.Tensor, samples: torch.Tensor) -> dict[str, float]:
    """The mean of D(x) and that of D(G(z)), by numpy."""
    with torch.no_grad():
        d_x, d_g = (1 / (1 + np.exp(-D(v).numpy())) for v in (x, samples))
    return {"d_real": d_x.mean(), "d_fake": d_g.mean()}


@pytest.mark.parametrize(("saturating", "d_cost"), [(True, 1.0), (False, 1.0), (False, 0.25)])
def test_A1_alternating_update_is_algorithm_1_by_finite_differences(saturating, d_cost):
    rules = {"saturating": saturating, "d_cost": d_cost, "learning_rate": 0.3, "momentum": (0.0, 0.0)}
    game = new_game(dropout=0.0, **rules)
    G, D = copy.deepcopy((game.generator, game.discriminator))
    x = next(minibatches(DATA, 4, game.rng.initial_seed()))
    with drawing_from(torch.Generator().manual_seed(0)):
        z_d, z_g = game.noise.sample((4,)), game.noise.sample((4,))
    told = game.play(DATA, 1)

    with torch.no_grad():
        samples = G(z_d)
    told_of_d = {"value": as_the_paper_writes(D, x, samples), **shares(D, x, samples)}
    ascent = numeric_gradient(lambda: as_the_paper_writes(D, x, samples), D)
    new_d = flat(D) + 0.3 * d_cost * ascent
    np.testing.assert_allclose(flat(game.discriminator), new_d, atol=1e-7)

    D.load_state_dict(game.discriminator.state_dict())  # G moves against the new D

    def cost() -> float:
        with torch.no_grad():
            d_g = 1 / (1 + np.exp(-D(G(z_g)).numpy()))
        return float(np.mean(np.log(1 - d_g)) if saturating else -np.mean(np.log(d_g)))

    assert told == pytest.approx({**told_of_d, "g_cost": cost()}, rel=1e-6)
    np.testing.assert_allclose(flat(game.generator), flat(G) - 0.3 * numeric_gradient(cost, G), atol=1e-7)


def test_D1_every_step_of_g_has_codes_of_its_own_and_the_same_d_by_finite_differences():
    game = new_game(dropout=0.0, g_steps=2, learning_rate=0.3, momentum=(0.0, 0.0))
    G = copy.deepcopy(game.generator)
    with drawing_from(torch.Generator().manual_seed(0)):
        _, *codes = (game.noise.sample((4,)) for _ in range(3))  # the first are for D
    told = game.play(DATA, 1)
    D = game.discriminator  # it moved once, before G
    for z in codes:

        def cost(z: torch.Tensor = z) -> float:
            with torch.no_grad():
                return float(np.mean(np.log1p(np.exp(-D(G(z)).numpy()))))

        last, slope = cost(), numeric_gradient(cost, G)
        nn.utils.vector_to_parameters(torch.from_numpy(flat(G) - 0.3 * slope), G.parameters())
    np.testing.assert_allclose(flat(game.generator), flat(G), atol=1e-7)
    assert told["g_cost"] == pytest.approx(last, rel=1e-6)


def test_A1_simultaneous_update_takes_both_gradients_at_the_old_point_with_half_the_cost():
    game = new_game(dropout=0.0, order="simultaneous", d_cost=0.5, learning_rate=0.3, momentum=(0.0, 0.0))
    G, D = copy.deepcopy((game.generator, game.discriminator))
    x = next(minibatches(DATA, 4, game.rng.initial_seed()))
    with drawing_from(torch.Generator().manual_seed(0)):
        z = game.noise.sample((4,))
    told = game.play(DATA, 1)
    with torch.no_grad():
        samples = G(z)

    def g_cost() -> float:
        with torch.no_grad():
            return float(np.mean(np.log1p(np.exp(-D(G(z)).numpy()))))

    expected = {"value": as_the_paper_writes(D, x, samples), "g_cost": g_cost(), **shares(D, x, samples)}
    assert told == pytest.approx(expected, rel=1e-6)
    new_g = flat(G) - 0.3 * numeric_gradient(g_cost, G)
    new_d = flat(D) + 0.3 * 0.5 * numeric_gradient(lambda: as_the_paper_writes(D, x, samples), D)
    np.testing.assert_allclose(flat(game.generator), new_g, atol=1e-7)
    np.testing.assert_allclose(flat(game.discriminator), new_d, atol=1e-7)


def test_simultaneous_costs_share_dropout_masks_unless_told_otherwise():
    # D is passed by the data and by the samples; a third pass, and its masks, is there for fresh ones alone.
    passes = {}
    for fresh_masks in (False, True):
        game = new_game(dropout=0.5, order="simultaneous", fresh_masks=fresh_masks)
        calls = []
        game.discriminator.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        game.play(DATA, 3)
        passes[fresh_masks] = len(calls)
    assert passes == {False: 6, True: 9}


def test_momentum_keeps_the_learning_rate_inside_the_velocity():
    game = new_game(momentum=(0.9, 0.9))
    net = game.discriminator
    theta, gradients = flat(net), np.random.default_rng(0).normal(size=(3, flat(net).size))
    velocity = np.zeros_like(theta)
    for rate, gradient in zip((0.5, 0.1, 0.02), gradients, strict=True):
        game.learning_rate.fill_(rate), game.momentum.fill_(0.9)
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
        seen[epoch] = (game.learning_rate.item(), game.momentum.item())
    assert seen[0] == (0.1, 0.5)
    assert seen[1][1] == 0.5
    assert seen[2][1] == pytest.approx(0.5 + 0.2 / 249)
    assert seen[250][1] == pytest.approx(0.7) and seen[1000][1] == pytest.approx(0.7)
    assert seen[1000][0] == pytest.approx(0.1 * math.exp(-500_000 * math.log(1.000004)))
    assert round(seen[1000][0], 4) == 0.0135
    game.updates = 10_000_000
    game.set_schedules(500)
    assert game.learning_rate.item() == 1e-6


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


class Watcher(nn.Module):
    """A discriminator that notes what it is given, and what its dropout lets through of it."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.dropout = nn.Parameter(torch.ones((), dtype=torch.float64)), nn.Dropout(0.5)
        self.given, self.let_through = [], []

    def forward(self, x):
        self.given.append(x.detach().clone())
        self.let_through.append(self.dropout(torch.ones_like(x)))
        return x.sum(1) * self.w


@pytest.mark.parametrize("order", ["alternating", "simultaneous"])
def test_another_seed_brings_other_minibatches_codes_and_masks(order):
    seen = []
    for seed in (3, 4):
        watcher, same = Watcher(), new_game(0, order=order)  # the nets of both are the same
        game = Game(same.generator, watcher, same.noise, same.rules, torch.Generator().manual_seed(seed))
        game.play(DATA, 1)
        given = torch.cat(watcher.given[:2])
        assert all((row == DATA).all(1).any() for row in given[:4])
        seen.append((given[:4], given[4:8], torch.cat(watcher.let_through)))
    for one, other in zip(*seen, strict=True):
        assert one.shape == other.shape and not torch.equal(one, other)
    assert not torch.equal(seen[0][0].sort(0).values, seen[1][0].sort(0).values)


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
    saved = {key: tensor.clone() for key, tensor in state_of(first).items()}
    GAN(second).load_state(saved, first.updates)
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


def test_an_error_gives_the_caller_his_stream_back():
    before, rng = torch.get_rng_state(), torch.Generator().manual_seed(5)
    with pytest.raises(KeyError), drawing_from(rng):
        torch.rand(3)
        raise KeyError
    assert torch.equal(before, torch.get_rng_state())


def test_a_game_drops_out_whatever_its_nets_were_used_for_before():
    one, other = new_game(dropout=0.5), new_game(dropout=0.5)
    other.generator.eval(), other.discriminator.eval()
    one.play(DATA, 3), other.play(DATA, 3)
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


def test_samples_are_drawn_without_dropout():
    G, noise = nn.Sequential(nn.Linear(2, 50), nn.Dropout(0.5)).double(), new_game().noise
    drawn = sample(G, noise, 30, torch.Generator().manual_seed(1))
    with drawing_from(torch.Generator().manual_seed(1)):
        z = noise.sample((30,)).numpy()
    weight, bias = (p.detach().numpy() for p in G[0].parameters())
    np.testing.assert_allclose(drawn, z @ weight.T + bias, atol=1e-12)


@pytest.mark.slow
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
        (
            {"order": "simultaneous", "g_steps": 2},
            "simultaneous updates need g_steps = 1, got 2: use order='alternating'",
        ),
        ({"k": 0}, "k must be positive, got 0"),
        ({"g_steps": 0}, "g_steps must be positive, got 0"),
    ],
)
def test_bad_rules(rules, message):
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(") + "$"):
        Rules(**rules)


def test_bad_input_too_few_examples_and_a_foreign_state():
    game = new_game()
    with pytest.raises(ValueError, match="batch_size 4 needs as many examples, got 3"):
        game.play(DATA[:3], 1)
    state = state_of(game)
    del state["velocity.generator.0"]
    with pytest.raises(ValueError, match=r"does not fit these networks: 'velocity\.generator\.0'"):
        GAN(game).load_state(state, 0)


def maxout_games(seeds, order="alternating", average=0.0, **rules) -> list[Game]:
    """Small pairs of the section 5 make, with dropout, each with its own stream."""
    base = dataclasses.replace(
        recipes.MNIST, g_hidden=(8, 7), d_hidden=(6, 5), z_dim=3, g_range=0.5, d_range=0.5, average=average,
        rules=Rules(**{"order": order, "batch_size": 10, "learning_rate": 0.3, **rules}),
    )  # fmt: skip
    return [base.start(of(IMAGES), seed).game for seed in seeds]


IMAGES = torch.rand(60, 16, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(("order", "k"), [("alternating", 1), ("alternating", 3), ("simultaneous", 1)])
def test_games_played_together_come_to_what_each_comes_to_alone(order, k):
    steps = {"k": k, "g_steps": 2 if k > 1 else 1}
    alone, together = (maxout_games((3, 4, 9), order, average=0.9, **steps) for _ in range(2))
    means = [game.play(IMAGES, 40) for game in alone]
    many = Games(together)
    first, second = many.play(IMAGES, 13), many.play(IMAGES, 27)
    for i, (one, other) in enumerate(zip(alone, together, strict=True)):
        assert (weights(one) - weights(other)).abs().max() < 1e-5
        for v, w in zip(one.average, other.average, strict=True):
            torch.testing.assert_close(v, w, atol=1e-5, rtol=0)
        for key in means[i]:
            both = (13 * first[i][key] + 27 * second[i][key]) / 40
            assert both == pytest.approx(means[i][key], abs=1e-4)
        assert torch.equal(one.rng.get_state(), other.rng.get_state()) and other.updates == 40
        assert GAN(one).rates() == GAN(other).rates()
    assert (weights(alone[0]) - weights(alone[1])).abs().max() > 1e-2
    assert (weights(alone[0]) - weights(maxout_games((3,), order)[0])).abs().max() > 1e-2  # they have moved


def test_what_many_updates_report_is_the_mean_to_the_last_digit():
    one, other = (maxout_games((0,))[0] for _ in range(2))
    told = [one.play(IMAGES, 1) for _ in range(40)]
    for key, mean in other.play(IMAGES, 40).items():
        assert mean == pytest.approx(np.mean([report[key] for report in told]), rel=1e-12)


def test_a_game_that_was_played_with_others_can_go_on_alone():
    alone, together = maxout_games((0, 1)), maxout_games((0, 1))
    alone[1].play(IMAGES, 30)
    many = Games(together)
    many.play(IMAGES, 20)
    saved = {key: tensor.clone() for key, tensor in state_of(together[1]).items()}
    resumed = maxout_games((1,))[0]
    GAN(resumed).load_state(saved, together[1].updates)
    resumed.play(IMAGES, 10)
    together[1].play(IMAGES, 10)
    for game in (resumed, together[1]):
        assert (weights(alone[1]) - weights(game)).abs().max() < 1e-5
    with pytest.raises(ValueError, match="played alone since these were put together"):
        many.play(IMAGES, 1)


def test_games_that_do_not_fit_together_are_refused():
    one, other = maxout_games((0, 1))
    one.play(IMAGES, 1)
    means = [maxout_games((0,), average=average)[0] for average in (0.9, 0.99)]
    for games in ([one, other], means):
        with pytest.raises(ValueError, match="need the same rules and count of updates"):
            Games(games)
    with pytest.raises(
        ValueError, match="^nets of different shapes cannot be trained together: one at a time$"
    ):
        stack([Linear(3, 2), Linear(3, 4)], [])
    with pytest.raises(ValueError, match="a Linear layer cannot be trained together: one at a time"):
        Games([new_game(0), new_game(1)])
    with pytest.raises(ValueError, match=r"^Flatten\(0\) counts from the first axis: use a negative one$"):
        stack([nn.Flatten(0)] * 2, [])


@pytest.mark.parametrize("kind", [Normal, Uniform])
def test_codes_from_own_streams_are_the_default_ones(kind):
    noise = kind(torch.ones(3), 3 * torch.ones(3))
    with drawing_from(torch.Generator().manual_seed(1)):
        expected = noise.sample((7,))
    torch.testing.assert_close(draw(noise, 7, torch.Generator().manual_seed(1)), expected)


def test_several_games_need_noise_of_a_known_kind():
    with pytest.raises(TypeError, match="uniform or normal noise, got Laplace"):
        draw(Laplace(torch.zeros(3), torch.ones(3)), 7, torch.Generator())


def test_average_is_the_exponential_mean_of_gs_weights():
    game = maxout_games((0,), average=0.9)[0]
    mean = flat(game.generator)
    for _ in range(5):
        game.play(IMAGES, 1)
        mean = 0.9 * mean + 0.1 * flat(game.generator)
    np.testing.assert_allclose(flat(game.averaged()), mean, atol=1e-6)
    net = copy.deepcopy(game.generator)
    nn.utils.vector_to_parameters(torch.from_numpy(mean).float(), net.parameters())
    by_mean, by_last = (
        sample(judged, game.noise, 20, torch.Generator().manual_seed(1)) for judged in (net, game.generator)
    )
    drawn = GAN(game).samples(20, torch.Generator().manual_seed(1), "average")
    torch.testing.assert_close(drawn, by_mean, atol=1e-5, rtol=0)
    assert (drawn - by_last).abs().max() > 1e-3
    plain = maxout_games((0,))[0]
    plain.play(IMAGES, 5)
    assert torch.equal(weights(plain), weights(game)) and not plain.average
    kept = game.averaged()
    game.play(IMAGES, 1)
    np.testing.assert_allclose(flat(kept), mean, atol=1e-6)  # it does not move on


class Operations(TorchDispatchMode):
    """Notes every operation that reaches a device: its name, its plain numbers, the shapes."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        plain = [x if isinstance(x, (int, float, bool)) else getattr(x, "shape", None) for x in args]
        self.seen.append((str(function), str(plain)))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("noise", ["uniform", "gaussian"])
@pytest.mark.parametrize("order", ["alternating", "simultaneous"])
def test_an_update_can_be_captured_as_a_graph(order, noise, many):
    # A graph repeats the same operations, on the same numbers, in the same places, and never asks the device
    # for a value. So do our updates, however far the schedules have moved in between.
    games = maxout_games((0, 1), order, decay=1.01, average=0.9)
    if noise == "gaussian":
        for game in games:
            game.noise = Normal(torch.zeros(3), torch.ones(3))
    game = Games(games).together if many else games[0]
    chosen = torch.stack([next(game.batch_indices(60, IMAGES.device))])
    seen, places = [], []
    for _ in range(3):
        game.set_schedules(6)
        with Operations() as operations:
            game.update(IMAGES, chosen)
        seen.append(operations.seen)
        tensors = [game.learning_rate, game.momentum, *game.generator.parameters()]
        tensors += [*game.discriminator.parameters(), *sum(game.velocity.values(), []), *game.average]
        places.append([t.data_ptr() for t in tensors])
        game.updates += 100
    assert seen[0] == seen[1] == seen[2] and places[0] == places[1] == places[2]
    reads = ("_local_scalar_dense", "nonzero", "masked_select", "_to_copy", "normal.Tensor_Tensor")
    assert not [name for name, _ in seen[0] if any(read in name for read in reads)]
    assert len(seen[0]) > 50


@pytest.mark.parametrize("many", [False, True])
def test_replayed_updates_are_the_plain_ones(monkeypatch, many):
    # What surrounds a graph, with the graph itself replaced by the step that it would have captured.
    captured = []

    def capture(step, streams):
        captured.append(streams)
        return step

    monkeypatch.setattr(devices, "capture", capture)
    monkeypatch.setattr(devices, "on_a_side_stream", lambda step: step())
    plain, graphed = (maxout_games((0, 1)) for _ in range(2))
    game = Games(graphed).together if many else graphed[0]
    replay, indices = GraphedUpdate(IMAGES, game.streams()), game.batch_indices(60, IMAGES.device)
    graphed[0].graphed = replay
    with drawing_from(game.rng):
        for _ in range(14):
            game.set_schedules(6)
            replay(game.update, torch.stack([next(indices)]))
            game.updates += 1
    for one, other in zip(plain, graphed, strict=True):
        one.play(IMAGES, 14 if many or one is plain[0] else 0)
        assert (weights(one) - weights(other)).abs().max() < 1e-5
    assert captured == [[g.rng for g in graphed] if many else []]
    assert Games(graphed[:1]).games[0].graphed is None  # its weights lie elsewhere now


def test_tf32_is_allowed_within_its_block_alone():
    switch = torch.backends.cuda.matmul
    before = switch.fp32_precision
    with pytest.raises(KeyError), devices.tensor_float_32():
        assert switch.fp32_precision == "tf32" != before
        raise KeyError
    assert switch.fp32_precision == before


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@needs_cuda
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("order", ["alternating", "simultaneous"])
def test_a_cuda_graph_plays_like_plain_updates(monkeypatch, order, many):
    images, results = IMAGES.cuda(), []
    for by_graph in (True, False):
        if not by_graph:
            monkeypatch.setattr(devices, "capture", lambda step, streams: step)
        games = on_cuda(maxout_games((0, 1), order))
        game = Games(games).together if many else games[0]
        before = torch.cuda.get_rng_state()
        game.play(images, 20), game.play(images, 30)
        assert torch.equal(before, torch.cuda.get_rng_state())
        results.append([weights(one) for one in games])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def on_cuda(games: list[Game]) -> list[Game]:
    moved = []
    for game in games:
        noise = type(game.noise)(game.noise.low.cuda(), game.noise.high.cuda(), validate_args=False)
        rng = torch.Generator("cuda").manual_seed(game.rng.initial_seed())
        moved.append(Game(game.generator.cuda(), game.discriminator.cuda(), noise, game.rules, rng))
    return moved


@needs_cuda
def test_cuda_dropout_masks_differ_from_replay_to_replay():
    still = {"learning_rate": 1e-12, "min_learning_rate": 1e-12, "momentum": (0.0, 0.0)}
    game, data = on_cuda(maxout_games((0,), **still))[0], torch.ones(60, 16, device="cuda")
    seen = [game.play(data, 1)["d_real"] for _ in range(12)]  # same nets, same data: only the masks differ
    assert len(set(seen[4:])) > 4
