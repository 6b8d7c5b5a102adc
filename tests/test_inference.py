"""Encoders for a generator that is fixed, or learns beside them, against closed forms, scipy, brute force."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear
from torch import Tensor, nn

from gansrc import catalogue, runs
from gansrc.cli import main
from gansrc.datasets import Dataset, of
from gansrc.extensions import inference
from gansrc.extensions.inference import (
    BIGAN_MNIST,
    COLUMNS,
    EDGE,
    INFERENCE_ADVERSARIAL,
    INFERENCE_REGRESSION,
    KEPT,
    Inference,
    by_hand,
    neighbour_accuracy,
)
from gansrc.gan import TrainedGenerator
from gansrc.recipes import MNIST, MNIST_ALGORITHM_1

TINY = {"z_dim": 3, "g_hidden": (9, 7), "e_hidden": (8, 6), "d_hidden": (8, 6), "batch_size": 10}
BELOW = dataclasses.replace(
    MNIST, name="mnist", z_dim=3, g_hidden=(9, 7), d_hidden=(6,), g_range=1.0, preview=30,
    rules=dataclasses.replace(MNIST.rules, batch_size=10),
)  # fmt: skip
ALL = (BIGAN_MNIST, INFERENCE_ADVERSARIAL, INFERENCE_REGRESSION)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def digits() -> Dataset:
    """Made-up images of three kinds, each near a picture of its own."""
    kinds, shapes = torch.randint(3, (90,), generator=rng(1)), torch.rand(3, 12, generator=rng(2))
    images = (shapes[kinds] + 0.1 * torch.randn(90, 12, generator=rng(3))).clamp(0, 1)
    parts = {"train": slice(60), "valid": slice(60, 65), "test": slice(65, 90)}
    return Dataset(
        "made up", "memory", *(images[part] for part in parts.values()), (3, 4), True, "rows",
        labels={name: kinds[part] for name, part in parts.items()},
    )  # fmt: skip


def linear(matrix: Tensor) -> nn.Sequential:
    """G(z) = z A^T, fixed."""
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
    layer.weight.data = matrix
    return nn.Sequential(layer)


def encoder_of(matrix: Tensor, updates: int) -> Inference:
    """A regression's encoder after so many updates, for a linear G."""
    recipe = dataclasses.replace(
        INFERENCE_REGRESSION, z_dim=matrix.shape[1], g_hidden=(), e_hidden=(64,), d_hidden=(), batch_size=200,
        learning_rate=3e-3, weight_decay=0.0, steady_epochs=0, falling_epochs=updates,
    )  # fmt: skip
    data = of(torch.zeros(200, matrix.shape[0]))
    model = recipe.start(data, 0, below=TrainedGenerator(linear(matrix), torch.distributions.Normal(0, 1)))
    model.fit(data.train, updates)
    return model.eval()


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.name)
def test_every_value_has_a_source(recipe):
    assert {"model", *recipe.sources} == set(recipe.values())


def test_Z2_regression_comes_to_the_mean_code_and_its_error_to_what_G_throws_away():
    # G shows z1 + z2 of three numbers alone: E(z1 | z1 + z2) is half of the sum, z3 stays unknown
    matrix = torch.tensor([[1.0, 1.0, 0.0], [-1.0, -1.0, 0.0]])
    model = encoder_of(matrix, 600)
    z = EDGE * (2 * torch.rand(20_000, 3, generator=rng(4)) - 1)
    with torch.no_grad():
        codes = model.encode(model.generator(z))
    half = (z[:, 0] + z[:, 1]) / 2
    assert (codes[:, 0] - half).square().mean() < 0.005 and (codes[:, 1] - half).square().mean() < 0.005
    assert codes[:, 2].abs().mean() < 0.05
    # var(z1 - half) + var(z2 - half) + var z3 = 1/2 + 1/2 + 1
    assert (z - codes).square().sum(1).mean().item() == pytest.approx(2.0, abs=0.05)


def test_Z2_codes_by_hand_are_the_bounded_least_squares():
    A = np.random.default_rng(0).standard_normal((7, 4))
    x = np.random.default_rng(1).standard_normal((6, 7)) * 4
    found = by_hand(linear(torch.tensor(A)).double(), torch.tensor(x), torch.zeros(6, 4).double(), 1500, 0.03)
    for row, code in zip(x, found, strict=True):
        exact = lsq_linear(A, row, bounds=(-EDGE, EDGE), tol=1e-12).x
        np.testing.assert_allclose(code, exact, atol=1e-3)
    assert (found.abs() > EDGE - 1e-6).any() and (found.abs() < EDGE - 0.1).any()  # some at the edge


def test_the_nearest_neighbours_accuracy_is_that_of_brute_force():
    known, x = torch.randn(40, 3, generator=rng(0)) + 2, torch.randn(501, 3, generator=rng(1)) + 2
    labels, truth = torch.randint(4, (40,), generator=rng(2)), torch.randint(4, (501,), generator=rng(3))
    distances = ((x.numpy()[:, None] - known.numpy()) ** 2).sum(2)
    expected = (labels.numpy()[distances.argmin(1)] == truth.numpy()).mean()
    assert 0.1 < expected < 0.5
    assert neighbour_accuracy(known, labels, x, truth) == pytest.approx(expected)


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.name)
def test_what_is_measured_is_what_its_names_say(recipe):
    data = digits()
    model = dataclasses.replace(recipe, **TINY).start(data, 0)
    model.fit(data.train, 6)
    found = model.measured()
    model.eval()
    with torch.no_grad():
        z = EDGE * (2 * torch.rand(25, 3, generator=rng(0)) - 1)
        made, codes = model.generator(z), model.encode(data.test)
        drawn, back = model.generator(codes), model.encode(made)
        known, hidden = model.encode(data.train), [model.encoder[:-1](p) for p in (data.train, data.test)]

    def mean_distance(a: Tensor, b: Tensor) -> float:
        return np.sqrt(((a.numpy() - b.numpy()) ** 2).sum(1)).mean()

    other = [-1, *range(24)]
    again = model.generator(back).detach()
    labels, truth = data.labels["train"], data.labels["test"]
    expected = {
        "error": mean_distance(data.test, drawn), "other": mean_distance(data.test[other], drawn),
        "sample_error": mean_distance(made, again), "sample_other": mean_distance(made[other], again),
        "code_error": mean_distance(z, back), "code_other": mean_distance(z[other], back),
        "code_spread": np.sqrt(codes.numpy().var(0).mean()),
        "sample_spread": np.sqrt(back.numpy().var(0).mean()),
        "nearest_code": neighbour_accuracy(known, labels, codes, truth),
        "nearest_hidden": neighbour_accuracy(hidden[0], labels, hidden[1], truth),
    }  # fmt: skip
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4), name


def test_test_images_are_looked_at_after_the_first_and_every_fifth_epoch():
    data = digits()
    model = dataclasses.replace(BIGAN_MNIST, **TINY).start(data, 0)
    seen = []
    for _ in range(11):
        model.fit(data.train, 6)
        seen.append(not math.isnan(model.rates()["error"]))
    assert [n for n, x in enumerate(seen, 1) if x] == [1, 5, 10]
    before = model.rng.get_state()
    model.measured()
    assert torch.equal(before, model.rng.get_state())


def test_every_fifth_test_image_is_seen_with_its_label(monkeypatch):
    data = digits()
    assert BIGAN_MNIST.prepare(data) is data  # whose samples are scored by all
    prepared = INFERENCE_REGRESSION.prepare(data)
    few, all_of = (dataclasses.replace(BIGAN_MNIST, **TINY).start(part, 0) for part in (prepared, data))
    assert few.measured() != all_of.measured()
    monkeypatch.setattr(inference, "TESTED", 5)
    fifth = dataclasses.replace(BIGAN_MNIST, **TINY).start(data, 0)
    assert fifth.measured() == few.measured() and torch.equal(fifth.digits, few.digits)
    assert torch.equal(prepared.test, data.test[::5]) and len(prepared.train) == len(data.train)
    assert torch.equal(prepared.labels["test"], data.labels["test"][::5])


def test_pictures_are_test_images_drawn_again_and_walks_between_two_of_them():
    data = digits()
    model = dataclasses.replace(INFERENCE_ADVERSARIAL, **TINY).start(data, 0)
    pictures = model.pictures(rng(0))
    shown = data.test[torch.arange(KEPT) % 25]
    with torch.no_grad():
        codes = model.eval().encode(shown)
        torch.testing.assert_close(pictures["reconstructions"], model.generator(codes))
        walk = pictures["walk"].unflatten(0, (5, 12))
        for line in range(5):
            first, last = 2 * line, 2 * line + 1
            assert torch.equal(walk[line, 0], shown[first]) and torch.equal(walk[line, -1], shown[last])
            at = [codes[first], codes[first] + (codes[last] - codes[first]) * 4 / 9, codes[last]]
            torch.testing.assert_close(walk[line, [1, 5, 10]], model.generator(torch.stack(at)))


def test_a_regression_without_a_fixed_generator_is_refused():
    with pytest.raises(ValueError, match="regression needs a fixed generator"):
        dataclasses.replace(INFERENCE_REGRESSION, pretrained="").start(digits(), 0)


@pytest.mark.parametrize("recipe", [INFERENCE_ADVERSARIAL, INFERENCE_REGRESSION], ids=lambda r: r.name)
def test_Z2_a_generator_from_another_run_stays_as_it_is(recipe, tmp_path, images, monkeypatch, capsys):
    own = dataclasses.replace(recipe, **TINY, preview=30)
    monkeypatch.setattr(catalogue, "RECIPES", {"mnist": BELOW, own.name: own})
    below, out = tmp_path / "mnist", tmp_path / "run"
    train = ["train", own.name, "--data", images, "--epochs", "2", "--out", str(out)]
    assert main([*train]) == 2
    assert "starts from a trained run of mnist: give --pretrained" in capsys.readouterr().err
    assert main(["train", "mnist", "--data", images, "--epochs", "1", "--out", str(below)]) == 0
    assert main([*train, "--pretrained", str(below)]) == 0
    assert main(["train", own.name, "--data", images, "--epochs", "5", "--out", str(out)]) == 0
    run, upper = runs.Run(out), runs.Run(below)
    state, given = run.state(), upper.sampler().net.state_dict()
    for name, tensor in given.items():
        assert torch.equal(state[f"model.generator.{name}"], tensor)
    z = EDGE * (2 * torch.rand(20, 3, generator=rng(5)) - 1)
    torch.testing.assert_close(run.samples(20, 5), upper.sampler().net(z).detach())
    moved = [run.recipe.start(run.dataset(), 0).encoder[0].weight, state["model.encoder.0.weight"]]
    assert not torch.equal(*moved)
    assert run.record.pretrained.updates == 20 and np.isfinite(run.history["error"][[0, 4]]).all()
    assert set(COLUMNS) < run.history.keys() and np.isnan(run.history["nearest_code"]).all()  # no labels


def test_a_generator_of_another_make_is_refused():
    own = dataclasses.replace(INFERENCE_REGRESSION, **TINY)
    own.check_below(BELOW)
    wrong = [{"noise": "gaussian"}, {"z_dim": 4}, {"g_hidden": (9, 8)}, {"g_strokes": 3}]
    wrong += [{"g_activations": ("relu", "sigmoid")}, {"g_deconvolution": (1, 5, 1)}]
    for change in wrong:
        with pytest.raises(ValueError, match="3 -> 9 -> 7 units, with uniform codes, got a run of mnist"):
            own.check_below(dataclasses.replace(BELOW, **change))
    with pytest.raises(ValueError, match="give --pretrained a run of mnist"):
        own.check_below(MNIST_ALGORITHM_1)
