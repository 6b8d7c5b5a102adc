"""The other models of Table 1 at small size, each against something that is none of our code."""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest, norm, uniform
from torch import Tensor

from gansrc import catalogue, parzen, runs
from gansrc.catalogue import MODELS, RECIPES
from gansrc.cli import main
from gansrc.datasets import of
from gansrc.measures import autocorrelation_time, centroids
from gansrc.model import Density
from gansrc.models import base
from gansrc.models.base import ChainRecipe, MinibatchModel, MinibatchRecipe
from gansrc.models.boltzmann import RBM
from gansrc.models.cae import ContractiveLayer
from gansrc.models.gmmn import squared_mmd

pytestmark = pytest.mark.filterwarnings("ignore:best sigma")  # noise images: the grid is for real ones

SMALL = {
    "dbn": {
        "hidden": (9, 7), "layer_epochs": 3, "batch_size": 10, "chains": 20, "burn_in": 5, "annealing": 4,
    },
    "dbm": {
        "hidden": (9, 7), "width": 0.0, "rate_epochs": 6, "epoch_updates": 0, "batch_size": 10, "chains": 20,
        "burn_in": 5, "thin": 2,
    },
    "cae": {"hidden": (9, 7), "layer_epochs": 2, "batch_size": 10, "chains": 8, "burn_in": 3, "thin": 2},
    "gsn": {"hidden": (9, 7), "batch_size": 10, "burn_in": 3},
    "vae": {"hidden": (9, 7), "z_dim": 2, "batch_size": 10},
    "gmmn": {"hidden": (9, 7), "z_dim": 2, "batch_size": 20, "epoch_updates": 7, "late_update": 12},
    "gmmn-ae": {
        "hidden": (9, 7), "z_dim": 2, "batch_size": 20, "epoch_updates": 7, "late_update": 12,
        "code_layers": (8, 3), "layer_updates": 3, "tune_updates": 4, "code_batch": 10, "rates": (0.1, 0.9),
    },
    "diffusion": {"hidden": 16, "blocks": 2, "steps": 6, "batch_size": 10},
    **dict.fromkeys(
        ("score-wink", "denoising-wink", "nce-wink"),
        {"hidden": (9, 7), "batch_size": 10, "epoch_updates": 6, "chains": 8, "burn_in": 3, "thin": 2},
    ),
    "pm-wink": {"hidden": (9, 7), "units": 3, "predictor": (5,), "batch_size": 10, "points": 20},
    "ae-wink": {"hidden": (9, 7), "z_dim": 2, "batch_size": 10},
    "vae-wink": {"hidden": (9, 7), "z_dim": 2, "batch_size": 10},
    "gsn-wink": {"hidden": (9, 7), "noise_std": 0.5, "batch_size": 10, "chains": 8, "burn_in": 3, "thin": 2},
    "bigan": {"g_hidden": (9, 7), "e_hidden": (9, 7), "d_hidden": (9, 7), "z_dim": 3, "batch_size": 10},
}  # fmt: skip
POINTS = {kind for kind in SMALL if kind.endswith("-wink")}
"""Models of real numbers, which no range bounds."""


DRAWS_NOTHING = {"cae", "ae-wink", "pm-wink", "score-wink"}
"""Whose updates are the same, given weights and minibatch, whatever the seed."""


def name_of(kind: str) -> str:
    """The recipe of that kind: for images, where it has one, or else for points."""
    if kind in POINTS:
        return kind
    return f"{kind}-mnist" if f"{kind}-mnist" in RECIPES else f"{kind}-wink"


def small(kind: str, **changes: object) -> MinibatchRecipe:
    return dataclasses.replace(RECIPES[name_of(kind)], **({"preview": 30} | SMALL[kind] | changes))


def flat(model: MinibatchModel) -> dict[str, Tensor]:
    """All tensors of a model's state."""
    return {key: tensor for part in model.state().values() for key, tensor in part.items()}


def everything(model: MinibatchModel) -> Tensor:
    state = flat(model)
    return torch.cat([state[key].double().flatten() for key in sorted(state)])


@pytest.fixture
def images() -> Tensor:
    return torch.rand(60, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("recipe", MODELS, ids=lambda recipe: recipe.name)
def test_every_value_has_a_source(recipe):
    assert {"model", *recipe.sources} == set(recipe.values())


@pytest.mark.parametrize("kind", SMALL)
def test_a_model_is_fitted_by_parts_as_at_once_and_from_its_state(kind, images):
    whole, parts = small(kind).start(of(images), 3), small(kind).start(of(images), 3)
    whole.fit(images, 20)
    cost = whole.fit(images, 5)["cost"]
    parts.fit(images, 11)
    again = small(kind).start(of(torch.full((1, 12), 0.5)), 0)  # as a record is read: without the data
    again.load_state(flat(parts), parts.updates)
    again.fit(images, 9)
    assert again.fit(images, 5)["cost"] == cost
    assert torch.equal(everything(whole), everything(again))
    other = small(kind).start(of(images), 4)
    other.fit(images, 25)
    assert not torch.equal(everything(whole), everything(other))


@pytest.mark.parametrize("kind", SMALL)
def test_samples_are_as_many_as_asked_and_depend_on_their_seed_alone(kind, images):
    model = small(kind).start(of(images), 0)
    model.fit(images, 20)
    before = torch.get_rng_state()
    a, b, c = (model.samples(25, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert a.shape == (25, 12) and a.isfinite().all()
    assert kind in POINTS or (a.min() >= 0 and a.max() <= 1)
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", sorted(SMALL.keys() - POINTS))
def test_a_baseline_from_the_command_line_to_a_record_of_samples(kind, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x_train=rng.random((60, 4, 4)), x_test=rng.random((20, 4, 4)))
    name, out = name_of(kind), str(tmp_path / "run")
    monkeypatch.setattr(catalogue, "RECIPES", {name: small(kind)})
    monkeypatch.setattr(parzen, "N_SAMPLES", 50)
    monkeypatch.setattr(base, "FILM_STEPS", 9)
    train = ["train", name, "--out", out, "--data", str(tmp_path / "x.npz"), "--epochs"]
    assert main([*train, "2"]) == 0
    assert main([*train, "6"]) == 0
    run = runs.Run(tmp_path / "run")
    assert run.recipe == small(kind) and run.record.epochs == 6
    assert np.isfinite(run.history["cost"]).all() and np.isfinite(run.history["valid_fine"][[0, 4]]).all()

    drawn = run.samples(50)
    assert main(["evaluate", out]) == 0
    assert main(["sample", out, "-n", "30", "--seed", "5"]) == 0  # not among those that the record keeps
    (tmp_path / "run" / run.record.checkpoint.folder / "model.safetensors").unlink()
    (tmp_path / "run" / run.record.checkpoint.folder).rename(tmp_path / "gone")
    assert main(["evaluate", out]) == 0  # once more, from the samples that the record keeps
    kept = runs.Run(tmp_path / "run")
    assert (kept.samples(50) - drawn).abs().max() <= 0.501 / 255
    if isinstance(small(kind), ChainRecipe):
        assert kept.film().shape == (9, 16)
    assert kept.log_likelihood["fine"].shape == (20,)
    capsys.readouterr()
    assert main([*train[:4], "--seeds", "2"]) == 2
    assert "trains one seed at a time" in capsys.readouterr().err


@pytest.mark.parametrize("kind", sorted(POINTS))
def test_a_model_of_points_from_the_command_line_to_a_record_of_weights(kind, tmp_path, monkeypatch, capsys):
    out = str(tmp_path / "run")
    monkeypatch.setattr(catalogue, "RECIPES", {kind: small(kind, epoch_updates=5)})
    monkeypatch.setattr(parzen, "N_SAMPLES", 50)
    assert main(["train", kind, "--out", out, "--epochs", "2"]) == 0
    assert main(["evaluate", out]) == 0
    run = runs.Run(tmp_path / "run")
    assert run.record.evaluation and not list((tmp_path / "run").glob("*.webp"))
    drawn = run.samples(50)
    assert drawn.shape == (50, 2) and run.log_likelihood["fine"].shape == (2000,)
    if isinstance(run.sampler(), Density):
        assert run.sampler().log_density(drawn).shape == (50,)
    capsys.readouterr()
    assert main(["evaluate", out, "--keep", "10"]) == 2
    assert "a run on points" in capsys.readouterr().err


def test_a_model_of_another_kind_of_device_is_sampled_and_goes_on(tmp_path, images, monkeypatch):
    np.savez(tmp_path / "x.npz", x_train=images.reshape(60, 3, 4), x_test=images[:20].reshape(20, 3, 4))
    run = runs.train(small("vae"), tmp_path / "run", epochs=1, data=str(tmp_path / "x.npz"))
    here, state = run.sampler().samples(9, torch.Generator().manual_seed(0)), run.state()
    elsewhere = state | {"rng": torch.zeros(16, dtype=torch.uint8)}  # as long as CUDA's
    monkeypatch.setattr(runs.Run, "state", lambda self: elsewhere)
    assert torch.equal(run.sampler().samples(9, torch.Generator().manual_seed(0)), here)
    model = run.model(of(images))
    now = flat(model)
    assert all(torch.equal(now[key], state[key]) for key in state if key != "rng") and model.updates == 5
    assert not torch.equal(now["rng"], state["rng"]) and model.fit(images, 1)["cost"] > 0


@pytest.mark.parametrize(("epoch_updates", "epochs"), [(0, [0, 0, 1, 1, 2]), (3, [0, 0, 0, 1, 1])])
def test_updates_see_minibatch_after_minibatch_and_their_costs_are_averaged(images, epoch_updates, epochs):
    model, seen, when = small("vae", batch_size=25, epoch_updates=epoch_updates).start(of(images), 0), [], []
    model.eval()

    def update(x: Tensor) -> Tensor:
        assert model.training
        seen.append(x)
        when.append(model.epoch)
        return torch.tensor(float(len(seen) ** 2))

    model.update = update
    assert model.fit(images, 3) == {"cost": pytest.approx(14 / 3)}
    assert model.fit(images, 2) == {"cost": pytest.approx(41 / 2)}
    assert model.updates == 5 and when == epochs
    rows = [[(images == row).all(1).nonzero().item() for row in x] for x in seen]
    assert len({*rows[0], *rows[1]}) == len({*rows[2], *rows[3]}) == 50  # no image twice in a pass
    assert len({tuple(sorted(chosen)) for chosen in rows}) == 5  # each pass in an order of its own


def first_minibatch(kind: str, images: Tensor, seed: int) -> Tensor:
    model, seen = small(kind).start(of(images), seed), []
    model.update = lambda x: seen.append(x) or torch.zeros(())
    model.fit(images, 1)
    return seen[0]


@pytest.mark.parametrize("kind", SMALL)
def test_two_seeds_begin_elsewhere_and_see_other_minibatches(kind, images):
    a, b = (small(kind).start(of(images), seed) for seed in (0, 1))
    for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
        if p.ndim == 2 and name != "log_variance.weight":  # which starts at 0
            assert not (p == q).any()
    if isinstance(a.recipe, ChainRecipe):
        assert not torch.equal(a.starts, b.starts)
        assert all((images == start).all(1).any() for start in a.starts)
    assert not torch.equal(first_minibatch(kind, images, 0), first_minibatch(kind, images, 1))


@pytest.mark.parametrize("kind", SMALL)
def test_two_seeds_draw_other_codes_and_masks_while_they_train(kind):
    images = torch.rand(1, 12, generator=torch.Generator().manual_seed(0)).expand(60, 12)
    a, b, again = (small(kind).start(of(images), seed) for seed in (0, 1, 0))
    for other in (b, again):
        other.load_state_dict(a.state_dict())
    for model in (a, b, again):  # of the same weights on the same minibatches: what is left is what they draw
        model.fit(images, 10)
    of_a, of_b, of_again = (torch.cat([p.flatten() for p in m.parameters()]) for m in (a, b, again))
    assert torch.equal(of_a, of_again)
    assert torch.equal(of_a, of_b) == (kind in DRAWS_NOTHING)


def test_too_few_images_for_a_batch_are_told(images):
    with pytest.raises(ValueError, match="batch_size 10 needs as many examples, got 3"):
        small("vae").start(of(images), 0).fit(images[:3], 1)


def test_a_belief_net_that_has_learnt_all_is_not_prolonged(tmp_path):
    with pytest.raises(ValueError, match="epochs must be at most 6, where dbn-mnist ends, got 7"):
        runs.train(small("dbn"), tmp_path / "run", epochs=7)
    assert not (tmp_path / "run").exists()


# Starts


@pytest.mark.parametrize("kind", ["cae", "gsn", "dbn", "gmmn"])
def test_weights_start_as_wide_as_their_sources_say(kind):
    model = small(kind, hidden=(200, 150)).start(of(torch.rand(10, 100)), 0)
    for weight in (p for p in model.parameters() if p.ndim == 2):
        rows, columns = weight.shape
        edge = {"cae": 4 * math.sqrt(6 / (rows + columns)), "gsn": math.sqrt(6 / (rows + columns))}.get(kind)
        std = {"dbn": 0.1, "gmmn": math.sqrt(2 / columns)}.get(kind)
        flat = weight.detach().double().flatten().numpy()
        start = uniform(-edge, 2 * edge) if edge else norm(0, std)
        assert kstest(flat, start.cdf).pvalue > 1e-3
    biases = [p for name, p in model.named_parameters() if p.ndim == 1 and name != "layers.0.visible_bias"]
    assert biases and not torch.cat(biases).any()


def test_visible_biases_of_a_belief_net_stay_finite_where_a_unit_is_never_or_always_on():
    images = torch.tensor([0.0, 1.0, 0.3]).repeat(10, 1)
    still = {"learning_rate": 0.0, "top_rate": 0.0}
    model = small("dbn", hidden=(2, 4), layer_epochs=1, **still).start(of(images), 0)
    edge = math.log(99)  # of a share of .99
    np.testing.assert_allclose(
        model.layers[0].visible_bias.detach(), [-edge, edge, math.log(3 / 7)], atol=1e-5
    )
    with torch.no_grad():
        model.layers[0].hidden_bias.copy_(torch.tensor([-200.0, 200.0]))
    model.fit(images, 2)
    np.testing.assert_allclose(model.layers[1].visible_bias.detach(), [-edge, edge], atol=1e-5)


# The deep belief net


def binary(d: int) -> Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=d)))


def exact(rbm: RBM) -> tuple[Tensor, Tensor]:
    """p(v) of all states v of a small RBM, by summing exp(-E) over all of its states."""
    v, h = binary(rbm.weight.shape[1]), binary(rbm.weight.shape[0])
    minus_energy = (v @ rbm.visible_bias)[:, None] + h @ rbm.hidden_bias + v @ rbm.weight.T @ h.T
    weights = minus_energy.double().exp().sum(1)
    return v, weights / weights.sum()


@pytest.fixture
def tiny() -> RBM:
    rng = torch.Generator().manual_seed(1)
    rbm = RBM(5, 4, 1.0, rng)
    with torch.no_grad():
        rbm.visible_bias.normal_(generator=rng)
        rbm.hidden_bias.normal_(generator=rng)
    return rbm


@torch.no_grad()
def test_R3_free_energy_is_the_hidden_units_summed_out(tiny):
    v, p = exact(tiny)
    weights = (-tiny.free_energy(v)).double().exp()
    np.testing.assert_allclose(weights / weights.sum(), p, rtol=1e-5)
    h = binary(4)
    partition = sum(
        math.exp(v_ @ tiny.visible_bias + h_ @ tiny.hidden_bias + h_ @ tiny.weight @ v_)
        for v_ in v
        for h_ in h
    )
    assert weights.sum().item() == pytest.approx(partition, rel=1e-5)


def test_R3_gradient_is_that_of_the_exact_likelihood(tiny):
    v, p = exact(tiny)
    data = v[[3, 17, 17, 30]]
    log_z = torch.logsumexp(-tiny.free_energy(v), 0)
    exactly = torch.autograd.grad(tiny.free_energy(data).mean() + log_z, list(tiny.parameters()))
    index = torch.multinomial(p.float(), 400_000, True, generator=torch.Generator().manual_seed(0))
    tiny.gradient_(data, v[index], tiny.up(v[index]).detach())
    for parameter, gradient in zip(tiny.parameters(), exactly, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, atol=0.005)


@pytest.mark.parametrize("annealing", [0, 30])
@torch.no_grad()
def test_R3_the_chain_of_a_net_of_one_layer_visits_images_as_often_as_they_are_likely(tiny, annealing):
    recipe = small("dbn", hidden=(4,), chains=40_000, burn_in=60, annealing=annealing)
    model = recipe.start(of(torch.rand(10, 5)), 0)
    model.layers[0].load_state_dict(tiny.state_dict())
    means = model.samples(40_000, torch.Generator().manual_seed(0))
    v, p = exact(tiny)
    np.testing.assert_allclose(means.double().mean(0), p @ v.double(), atol=0.01)
    second = (v.double().T * p) @ v.double()
    pairs = means.double().T @ means.double() / len(means)
    off = ~torch.eye(5, dtype=torch.bool)  # pixels are independent given the hidden units
    np.testing.assert_allclose(pairs[off], second[off], atol=0.01)


def test_R3_layers_learn_one_after_the_other_and_the_likelihood_rises():
    patterns = torch.tensor([[1.0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1]])
    data = patterns.repeat(500, 1)
    recipe = small(
        "dbn", hidden=(5, 5), batch_size=20, layer_epochs=5, top_rate=0.1, momentum_epoch=1, weight_std=0.01
    )
    model = recipe.start(of(data), 0)
    start = [layer.weight.detach().clone() for layer in model.layers]

    @torch.no_grad()
    def log_p() -> float:
        v, p = exact(model.layers[0])
        return sum(p[(v == pattern).all(1)].log().item() for pattern in patterns) / 2

    first = log_p()
    model.fit(data, 5 * 50)
    assert log_p() > first + 1 and log_p() < math.log(0.5) + 1e-6
    assert torch.equal(model.layers[1].weight, start[1])
    below = model.layers[0].weight.detach().clone()
    model.fit(data, 5 * 50)
    assert torch.equal(model.layers[0].weight, below) and not torch.equal(model.layers[1].weight, start[1])


# The contractive auto-encoder


def test_R7_contraction_and_step_by_autograds_jacobian():
    layer = ContractiveLayer(6, 4, torch.Generator().manual_seed(0)).double()
    x, noise = torch.rand(3, 6).double(), torch.randn(3, 4).double()
    codes = layer.encode(x)
    moved = layer.step(codes, noise)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda row: layer.encode(row[None])[0], x[i])
        assert layer.penalty(codes)[i].item() == pytest.approx(jacobian.square().sum().item(), rel=1e-12)
        expected = codes[i] + jacobian @ jacobian.T @ noise[i]
        np.testing.assert_allclose(moved[i].detach(), expected.detach(), atol=1e-12)


# The deep generative stochastic network


def test_R7_corruption_replaces_the_stated_share_by_salt_and_pepper():
    model = small("gsn").start(of(torch.rand(10, 12)), 0)
    x = torch.full((10_000, 12), 0.5)
    noisy = model.corrupt(x)
    assert (noisy == 0.5).float().mean() == pytest.approx(0.6, abs=0.01)
    assert (noisy == 0).float().mean() == pytest.approx(0.2, abs=0.01)
    assert set(noisy.unique().tolist()) == {0, 0.5, 1}


# The variational auto-encoder


@torch.no_grad()
def test_R2_the_bound_misses_the_likelihood_by_the_posteriors_divergence():
    model = small("vae", z_dim=1, hidden=(5,)).start(of(torch.rand(10, 3)), 1)
    x = torch.tensor([[1.0, 0.0, 1.0]])
    mean, log_variance = (t.item() for t in model.encoder(x).chunk(2, 1))
    std = math.exp(log_variance / 2)

    def joint(z: float) -> float:
        p = model.decoder(torch.tensor([[z]])).sigmoid()[0].double().numpy()
        return norm.pdf(z) * np.prod(np.where(x[0].numpy() == 1, p, 1 - p))

    def q(z: float) -> float:
        return norm.pdf(z, mean, std)

    evidence = quad(joint, -9, 9, limit=200)[0]
    divergence = quad(
        lambda z: q(z) * math.log(q(z) * evidence / joint(z)), mean - 8 * std, mean + 8 * std, epsabs=1e-6
    )[0]
    noise = torch.randn(400_000, 1, generator=torch.Generator().manual_seed(0))
    bound = model.bound(x.expand(len(noise), -1), noise).mean().item()
    assert divergence > 0.005
    assert bound == pytest.approx(math.log(evidence) - divergence, abs=0.002)


@torch.no_grad()
def test_R2_samples_of_a_linear_decoder_are_those_of_a_known_gaussian():
    model = small("vae", z_dim=2, hidden=()).start(of(torch.rand(10, 3)), 1)
    weight, bias = (p.double() for p in model.decoder.parameters())
    logits = model.samples(100_000, torch.Generator().manual_seed(0)).double().logit()
    np.testing.assert_allclose(logits.mean(0), bias, atol=0.02)
    np.testing.assert_allclose(logits.T.cov(), weight @ weight.T, atol=0.02)


# Moment matching


def test_mmd_by_a_double_sum():
    rng = np.random.default_rng(0)
    x, y, bandwidths = rng.random((7, 3)), rng.random((5, 3)), (0.5, 2.0)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return sum(math.exp(-((a - b) ** 2).sum() / (2 * bandwidth)) for bandwidth in bandwidths)

    def mean(first: np.ndarray, second: np.ndarray) -> float:
        return sum(k(a, b) for a in first for b in second) / (len(first) * len(second))

    expected = mean(x, x) - 2 * mean(x, y) + mean(y, y)
    x, y = torch.tensor(x), torch.tensor(y)
    assert squared_mmd(x, y, bandwidths).item() == pytest.approx(expected, abs=1e-12)
    assert squared_mmd(x, x, bandwidths).item() == pytest.approx(0, abs=1e-12)


def gaussian(n: int) -> Tensor:
    """Points near .5 in the plane, standard deviations .1, correlation .8."""
    root = torch.tensor([[0.1, 0.0], [0.08, 0.06]])
    return 0.5 + torch.randn(n, 2, generator=torch.Generator().manual_seed(0)) @ root.T


@pytest.mark.slow
def test_gmmn_learns_a_known_gaussian():
    recipe = small(
        "gmmn",
        hidden=(32, 32),
        batch_size=100,
        widths=(0.005, 0.02, 0.08),
        rates=(0.03, 0.9),
        late_rates=(0.003, 0.9),
        late_update=800,
    )
    model = recipe.start(of(gaussian(2000)), 0)
    model.fit(gaussian(2000), 1200)
    samples = model.samples(5000, torch.Generator().manual_seed(1))
    np.testing.assert_allclose(samples.mean(0), [0.5, 0.5], atol=0.015)
    np.testing.assert_allclose(samples.T.cov(), [[0.01, 0.008], [0.008, 0.01]], atol=0.002)


# Diffusion


def test_diffusion_with_the_exact_denoiser_of_a_gaussian_draws_it():
    model = small("diffusion", steps=1000, betas=(1e-4, 0.02)).start(of(torch.rand(10, 2)), 0)
    mean, std = torch.tensor([0.3, -0.2]), 0.25  # in [-1, 1], where pixels live

    class Exact(torch.nn.Module):
        def forward(self, x: Tensor, step: Tensor) -> Tensor:
            alpha_bar = model.alpha_bar[step][:, None]
            variance = alpha_bar * std**2 + 1 - alpha_bar
            return (alpha_bar.sqrt() * std**2 * x + (1 - alpha_bar) * mean) / variance

    model.mean = Exact()
    samples = 2 * model.samples(8_000, torch.Generator().manual_seed(0)) - 1
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.01)
    np.testing.assert_allclose(samples.T.cov(), std**2 * np.eye(2), atol=0.004)


def test_diffusion_adds_the_noise_of_all_steps_at_once():
    model = small("diffusion", steps=5, betas=(0.1, 0.5)).start(of(torch.rand(10, 2)), 0)
    x, rng = torch.ones(200_000, 1), torch.Generator().manual_seed(0)
    y = x
    for beta in np.linspace(0.1, 0.5, 5):
        y = math.sqrt(1 - beta) * y + math.sqrt(beta) * torch.randn(y.shape, generator=rng)
    at_once = model.q_sample(x, torch.full((200_000,), 4), torch.randn(x.shape, generator=rng))
    assert at_once.mean().item() == pytest.approx(y.mean().item(), abs=0.01)
    assert at_once.std().item() == pytest.approx(y.std().item(), abs=0.01)


# Chains


def test_I2_samples_are_taken_after_the_burn_in_and_then_as_far_apart_as_stated(images):
    model = small("cae", chains=8, burn_in=3, thin=2).start(of(images), 0)

    def chain(n: int) -> Iterator[Tensor]:
        assert not model.training
        for step in itertools.count(1):
            yield torch.full((n, 12), float(step))

    model.chain = chain
    samples = model.train().samples(20, torch.Generator().manual_seed(0))
    assert samples[:, 0].tolist() == 8 * [4] + 8 * [6] + 4 * [8]
    assert model.train().film(4, torch.Generator().manual_seed(0))[:, 0].tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("kind", ["dbn", "cae", "gsn"])
def test_chains_begin_at_images_drawn_with_replacement(kind, images):
    starts = small(kind, chains=60).start(of(images), 0).starts
    chosen = {(images == start).all(1).nonzero().item() for start in starts}
    assert 28 < len(chosen) < 48  # of 60; 38 are expected


def test_I2_steps_are_counted_as_the_chain_takes_them(images):
    recipe = small("cae", chains=8, burn_in=3, thin=2)
    model, steps = recipe.start(of(images), 0), 0
    chain = model.chain

    def counting(n: int):
        nonlocal steps
        for x in chain(n):
            steps += len(x)
            yield x

    model.chain = counting
    model.samples(25, torch.Generator().manual_seed(0))
    assert recipe.passes_per_sample(25) == pytest.approx(steps / 25)


@pytest.mark.parametrize("phi", [(0.0, 0.0), (0.5, 0.5), (0.9, 0.9), (0.9, 0.2)])
def test_D2_autocorrelation_time_of_an_autoregressive_chain(phi):
    phi, rng = np.array(phi), np.random.default_rng(0)
    x = np.zeros((60_000, 2))
    for t in range(1, len(x)):
        x[t] = phi * x[t - 1] + rng.standard_normal(2)
    share = (1 / (1 - phi**2)) / (1 / (1 - phi**2)).sum()  # of each coordinate in the variance
    expected = (share * (1 + phi) / (1 - phi)).sum()
    assert autocorrelation_time(torch.tensor(x + 3)) == pytest.approx(expected, rel=0.1)


def test_D2_a_chain_that_never_moves():
    assert autocorrelation_time(torch.ones(50, 3)) == math.inf


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", SMALL)
def test_a_model_is_fitted_and_sampled_on_a_gpu(kind, images):
    model = small(kind).start(of(images.cuda(), 0), "cuda")
    model.fit(images.cuda(), 25)
    samples = model.samples(30, torch.Generator("cuda").manual_seed(0))
    assert samples.is_cuda and samples.shape == (30, 12)


# Yardsticks


def test_P2_centroids_are_those_of_one_step_of_lloyds_algorithm():
    from sklearn.cluster import KMeans

    x = torch.rand(300, 6, generator=torch.Generator().manual_seed(0))
    means, counts = centroids(x, x[:20])
    with warnings.catch_warnings(action="ignore"):  # one step is no convergence
        kmeans = KMeans(20, init=x[:20].numpy(), n_init=1, max_iter=1).fit(x.numpy())
    np.testing.assert_allclose(means, kmeans.cluster_centers_, atol=1e-6)
    assert counts.sum() == 300 and counts.min() > 0


def test_P2_nearness_to_centroids_is_measured_along_the_directions_of_most_variance():
    x = torch.rand(300, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 9, 1, 1, 9, 1])
    means, counts = centroids(x, x[:20], directions=2)
    plane = torch.linalg.eigh(torch.cov(x[:20].T)).eigenvectors[[1, 4], -2:]
    assert plane.det().abs() > 0.9  # the two wide coordinates, nearly
    apart = np.linalg.norm(x[:, None, [1, 4]] - x[None, :20, [1, 4]], axis=2)
    nearest = apart.argmin(1)
    right = [np.allclose(means[k], x[nearest == k].mean(0), atol=1.0) for k in range(20)]
    assert np.mean(right) > 0.8 and counts.sum() == 300
