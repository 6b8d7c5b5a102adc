"""Parts that a game may be handed: costs, penalty, optimizers, other codes; each against autograd, a closed
form or torch by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import logsigmoid

from gansrc import runs
from gansrc.catalogue import recipe
from gansrc.datasets import of
from gansrc.extensions.coordination import (
    KNOBS,
    LADDER,
    LADDER_R1,
    CoordinationRecipe,
    Noise,
    Sphere,
    blended,
    slope_penalty,
)
from gansrc.game import Game, Rules
from gansrc.recipes import MNIST_ALGORITHM_1, differences
from gansrc.seeds import Games

NARROW = {"g_hidden": (9, 7), "d_hidden": (6, 5), "g_range": 0.5, "d_range": 0.5, "z_dim": 4}
IMAGES = torch.rand(60, 12, generator=torch.Generator().manual_seed(0))


def small(base: CoordinationRecipe = LADDER_R1, **changes: object) -> CoordinationRecipe:
    rules = dataclasses.replace(base.rules, batch_size=10)
    return dataclasses.replace(base, **{**NARROW, "preview": 30, "rules": rules, **changes})


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("one", (*LADDER, *KNOBS), ids=lambda one: one.name)
def test_every_value_has_a_source_and_the_nets_are_the_papers(one):
    fields = {field.name for part in (one, one.rules) for field in dataclasses.fields(part)}
    assert fields - {"sources"} == set(one.sources)
    unlike = {name for name, *_ in differences(MNIST_ALGORITHM_1, one) if hasattr(MNIST_ALGORITHM_1, name)}
    assert unlike <= {"epochs", "rows_per_epoch", "noise"}


def changed(one: object, two: object) -> set[str]:
    names = {field.name for field in dataclasses.fields(one)} - {
        "name",
        "sources",
        "epochs",
        "rows_per_epoch",
    }
    return {name for name in names if getattr(one, name) != getattr(two, name)}


def test_each_rung_changes_one_thing():
    steps = [
        ("ladder-mean", "ladder-adam", {"rates"}), ("ladder-adam", "ladder-r1", {"r1"}),
        ("ladder-r1", "ladder-rate", {"rates"}), ("ladder-rate", "ladder-two-scales", {"rates"}),
        ("ladder-adam", "ladder-spectral", {"spectral"}), ("ladder-rate", "ladder-gaussian", {"noise"}),
        ("ladder-gaussian", "ladder-sphere", {"radius"}), ("ladder-sphere", "ladder-unit-sphere", {"radius"}),
    ]  # fmt: skip
    for before, after, what in steps:
        assert changed(recipe(before), recipe(after)) == what
    assert changed(MNIST_ALGORITHM_1, recipe("ladder-mean")) == {"average"}


def test_the_slope_penalty_of_a_line_and_of_a_net_by_finite_differences(float64):
    line = nn.Linear(3, 1)
    flat = nn.Sequential(line, nn.Flatten(0))
    x = torch.rand(5, 3)
    expected = 0.7 / 2 * (line.weight**2).sum()
    torch.testing.assert_close(slope_penalty(0.7)(flat, x), expected)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    step, total = 1e-6, 0.0
    with torch.no_grad():
        for i in range(3):
            shift = torch.zeros(3)
            shift[i] = step
            total += ((net(x + shift) - net(x - shift)) / (2 * step)).square().mean().item()
    assert slope_penalty(2.0)(net, x).item() == pytest.approx(total, rel=1e-6)


def test_the_penalty_reaches_the_weights(float64):
    line = nn.Linear(3, 1)
    cost = slope_penalty(1.0)(nn.Sequential(line, nn.Flatten(0)), torch.rand(5, 3))
    (gradient,) = torch.autograd.grad(cost, line.weight)
    torch.testing.assert_close(gradient, line.weight.detach())  # of |w|^2 / 2


@pytest.mark.parametrize("share", [0.0, 1 / 3, 1.0])
def test_a_blended_cost_is_both_costs_by_their_shares(share):
    logits = torch.tensor([-2.0, 0.5, 3.0])
    p = 1 / (1 + np.exp(-logits.double().numpy()))
    expected = share * np.log(1 - p).mean() + (1 - share) * -np.log(p).mean()
    assert blended(share, False)(nn.Identity(), logits).item() == pytest.approx(expected, rel=1e-5)


def test_the_blend_is_the_authors_up_to_a_factor():
    """(1 * g_obj - 1 * d_obj) / 2 with d_obj half of both cross-entropies: its slope is 3/4 of ours."""
    logits = torch.tensor([-2.0, 0.5, 3.0], requires_grad=True)
    theirs = (-logsigmoid(logits).mean() - 0.5 * -logsigmoid(-logits).mean()) / 2
    ours = blended(recipe("knob-blend").blend, False)(nn.Identity(), logits)
    slopes = [torch.autograd.grad(cost, logits)[0] for cost in (theirs, ours)]
    torch.testing.assert_close(slopes[0], 0.75 * slopes[1])


def test_a_clear_cost_sees_d_without_dropout_and_leaves_it_in_training():
    net = nn.Sequential(nn.Dropout(0.5), nn.Flatten(0))
    x = torch.ones(200, 1)
    assert blended(0.0, True)(net, x).item() == pytest.approx(-logsigmoid(torch.tensor(1.0)).item())
    assert net.training
    assert blended(0.0, False)(net, x).item() != pytest.approx(
        -logsigmoid(torch.tensor(1.0)).item(), rel=0.01
    )


def test_codes_on_the_sphere_have_its_radius_and_no_preferred_direction():
    sphere = Sphere(Normal(torch.zeros(3), torch.ones(3)), 2.0)
    torch.manual_seed(0)
    z = sphere.sample((4000,))
    torch.testing.assert_close(z.norm(dim=1), torch.full((4000,), 2.0))
    for axis in range(3):  # Archimedes: each coordinate is uniform
        assert kstest(z[:, axis].numpy(), "uniform", (-2, 4)).pvalue > 0.01
    p_z = recipe("ladder-sphere").p_z()
    assert p_z.sample((50,)).square().mean().item() == pytest.approx(1, rel=1e-5)


def test_noise_is_there_in_training_alone():
    layer, x = Noise(0.3), torch.zeros(4000, 1)
    torch.manual_seed(0)
    assert kstest((layer(x) / 0.3)[:, 0].numpy(), "norm").pvalue > 0.01
    assert torch.equal(layer.eval()(x), x)


def test_an_update_with_adam_and_penalty_by_hand(float64):
    """Z5: D by -V and R1, then G, each by a first step of Adam, whose length is the rate."""
    one = small(rates=(0.02, 0.03), r1=0.8, keep_input=1.0, keep_hidden=1.0, d_pieces=1)
    model = one.start(of(IMAGES.double()), 3)
    game = model.game
    G, D = ([p.detach().clone().requires_grad_() for p in net.parameters()]
            for net in (game.generator, game.discriminator))  # fmt: skip

    def out(p: list[Tensor], x: Tensor, last: bool) -> Tensor:
        for i in range(0, len(p), 2):
            x = x @ p[i].T + p[i + 1]
            x = x.relu() if i < len(p) - 2 else x
        return x.sigmoid() if last else x[:, 0]

    stream = torch.Generator()
    stream.set_state(game.rng.get_state())
    x = IMAGES.double()[next(game.batch_indices(60, IMAGES.device))].requires_grad_()
    edge = math.sqrt(3.0)
    first, second = (edge * (2 * torch.rand(10, 4, generator=stream) - 1) for _ in range(2))
    value = (
        logsigmoid(out(D, x, False)).mean() + logsigmoid(-out(D, out(G, first, True).detach(), False)).mean()
    )
    (slope,) = torch.autograd.grad(out(D, x, False).sum(), x, create_graph=True)
    d_slopes = torch.autograd.grad(-value + 0.4 * (slope**2).sum(1).mean(), D, materialize_grads=True)
    D = [p.detach() - 0.03 * g / (g.abs() + 1e-8) for p, g in zip(D, d_slopes, strict=True)]
    cost = -logsigmoid(out(D, out(G, second, True), False)).mean()
    G = [
        p.detach() - 0.02 * g / (g.abs() + 1e-8) for p, g in zip(G, torch.autograd.grad(cost, G), strict=True)
    ]
    report = model.fit(IMAGES.double(), 1)
    assert report["value"] == pytest.approx(value.item()) and report["g_cost"] == pytest.approx(cost.item())
    for net, own in ((game.generator, G), (game.discriminator, D)):
        for p, mine in zip(net.parameters(), own, strict=True):
            torch.testing.assert_close(p.detach(), mine, rtol=0, atol=1e-6)
    assert model.rates() == {"learning_rate": 0.02, "d_learning_rate": 0.03}


def test_with_the_spectral_norm_every_matrix_of_d_stretches_by_one_at_most():
    model = small(r1=0.0, spectral=True, rates=(0.05, 0.05)).start(of(IMAGES), 0)
    model.fit(IMAGES, 60)
    matrices = [layer.weight for layer in model.game.discriminator.modules() if isinstance(layer, nn.Linear)]
    assert len(matrices) == 3
    for matrix in matrices:
        assert np.linalg.norm(matrix.detach().numpy(), 2) == pytest.approx(1, abs=0.05)


PARTS = {
    "adam and R1": {}, "spectral norm": {"r1": 0.0, "spectral": True},
    "all by momentum": {"rates": (), "blend": 0.5, "input_noise": 0.1, "clear": True, "radius": 2.0},
}  # fmt: skip


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_resumed_it_is_bit_for_bit_what_it_would_have_been(parts):
    one = small(**parts)
    whole = one.start(of(IMAGES), 3)
    whole.fit(IMAGES, 12)
    half = one.start(of(IMAGES), 3)
    half.fit(IMAGES, 5)
    kept = {key: t.clone() for part in half.state().values() for key, t in part.items()}
    again = one.start(of(IMAGES), 0)
    again.load_state(kept, half.updates)
    again.fit(IMAGES, 7)
    for a, b in zip(whole.state().values(), again.state().values(), strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    for weights in one.weights:
        assert torch.equal(whole.samples(5, rng(1), weights), again.samples(5, rng(1), weights))


def test_a_run_of_the_ladder_is_recorded_resumed_and_drawn_from(tmp_path):
    data = tmp_path / "x.npz"
    np.savez(data, x_train=IMAGES.view(60, 4, 3).numpy(), x_test=IMAGES[:20].view(20, 4, 3).numpy())
    one = small(average=0.9, rows_per_epoch=1)
    runs.train(one, tmp_path / "run", epochs=2, data=str(data))
    run = runs.train(one, tmp_path / "run", epochs=5, data=str(data))
    assert run.recipe == one and run.record.recipe["model"] == "Coordination"
    assert np.isfinite(run.history["average_valid_fine"][[0, 4]]).all()
    assert run.samples(5, weights="average").shape == (5, 12)
    with pytest.raises(ValueError, match="trains one seed at a time"):
        runs.train_seeds(one, {1: tmp_path / "a", 2: tmp_path / "b"}, epochs=1, data=str(data))


def test_parts_that_do_not_fit_are_refused():
    game = small().start(of(IMAGES), 0).game
    with pytest.raises(ValueError, match="parts of their own are played one at a time"):
        Games([game])
    with pytest.raises(ValueError, match="need order='alternating', got 'simultaneous'"):
        Game(game.generator, game.discriminator, game.noise, Rules(order="simultaneous"), game.rng,
             penalty=slope_penalty(1.0))  # fmt: skip
