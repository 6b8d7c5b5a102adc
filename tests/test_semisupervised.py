"""Few labels: the game of K + 1 classes, its update by hand, linear classifiers against SciPy and NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp
from torch import Tensor

from gansrc import catalogue, parzen, runs
from gansrc.cli import main
from gansrc.datasets import Dataset, of
from gansrc.extensions.semisupervised import (
    SEMISUPERVISED_MNIST_100,
    FeatureMatching,
    NoisyClassifier,
    SemiSupervisedRecipe,
    classifier_cost,
    hidden_layers,
    mismatch,
)
from gansrc.labels import few, mistakes, softmax_regression, tried
from gansrc.networks import discriminator

SMALL: dict[str, Any] = {
    "g_hidden": (9, 7), "d_hidden": (9, 8, 7), "z_dim": 3, "labels": 6, "classes": 3, "batch_size": 20,
    "epoch_updates": 6, "preview": 30,
}  # fmt: skip


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(**changes: object) -> SemiSupervisedRecipe:
    return dataclasses.replace(SEMISUPERVISED_MNIST_100, **(SMALL | changes))


def labelled(n: int = 60, d: int = 12) -> Dataset:
    """Three kinds of images, each bright in a third of its own."""
    kinds = torch.arange(n) % 3
    images = torch.rand(n, d, generator=rng(0)) / 2 + (torch.arange(d) % 3 == kinds[:, None]) / 2
    parts = {"train": kinds, "valid": kinds[:30], "test": kinds[:30]}
    return dataclasses.replace(of(images), valid=images[:30], test=images[:30], labels=parts)


def everything(model: FeatureMatching) -> dict[str, Tensor]:
    return {key: tensor.clone() for part in model.state().values() for key, tensor in part.items()}


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_every_value_has_a_source_and_those_of_the_file_are_its_own():
    recipe = SEMISUPERVISED_MNIST_100
    assert {"model", *recipe.sources} == set(recipe.values())
    theirs = {
        "labels": 100, "classes": 10, "z_dim": 100, "g_hidden": (500, 500),
        "d_hidden": (1000, 500, 250, 250, 250), "input_noise": 0.3, "hidden_noise": 0.5, "d_std": 0.1,
        "start_images": 500, "learning_rate": 0.003, "momentum": 0.5, "average": 0.9999,
        "batch_size": 2 * 100, "floor": 1e-4,
    }  # fmt: skip
    assert {name: getattr(recipe, name) for name in theirs} == theirs
    assert recipe.epochs * recipe.epoch_updates == 300 * 60_000 / 100
    for labels in (20, 50, 1000):
        other = catalogue.recipe(f"semisupervised-mnist-{labels}")
        assert other == dataclasses.replace(recipe, name=other.name, labels=labels)


def test_as_many_labels_of_each_class_drawn_anew_by_every_seed():
    labels = torch.randint(5, (300,), generator=rng(0))
    rows = few(labels, 40, 3)
    assert torch.equal(labels[rows].bincount(), torch.full((5,), 8)) and len(rows.unique()) == 40
    assert torch.equal(rows, few(labels, 40, 3)) and not torch.equal(rows, few(labels, 40, 4))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (4, "labels must be a multiple of the 5 classes, got 4"),
        (0, "labels must be a multiple of the 5 classes, got 0"),
        (12, "labels must be a multiple of the 5 classes, got 12"),
        (500, "500 labels take 100 images of each class, class 4 has 3 images: ask for fewer labels"),
    ],
)
def test_labels_that_cannot_be_drawn_are_told_in_a_line(wanted, message):
    labels = torch.cat([torch.arange(4).repeat(100), torch.full((3,), 4)])
    with pytest.raises(ValueError, match=message) as error:
        few(labels, wanted, 0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(2, 9, 20), (3, 40, 5)], ids=["fewer rows than numbers", "more"])
def test_softmax_regression_is_at_the_minimum_that_scipy_finds(shape):
    x, y, penalty = torch.randn(shape, generator=rng(0)), torch.randint(3, shape[:2], generator=rng(1)), 0.01
    found = softmax_regression(x, y, 3, penalty).numpy()
    for rows, kinds, weights in zip(x.double().numpy(), y.numpy(), found, strict=True):

        def cost(w: np.ndarray, rows: np.ndarray = rows, kinds: np.ndarray = kinds) -> float:
            w = w.reshape(-1, 3)
            told = log_softmax(rows @ w[:-1] + w[-1], axis=1)
            return -told[np.arange(len(kinds)), kinds].mean() + penalty / 2 * (w[:-1] ** 2).sum()

        best = minimize(cost, np.zeros(weights.size), method="BFGS", options={"gtol": 1e-6})
        assert cost(weights.ravel()) <= best.fun + 1e-9
        np.testing.assert_allclose(weights[:-1], best.x.reshape(-1, 3)[:-1], atol=2e-3)


def test_mistakes_are_counted_by_the_largest_score():
    weights = torch.zeros(2, 4, 3, dtype=torch.float64)
    weights[0, :3] = torch.eye(3)
    weights[1, 3, 1] = 1.0  # always the class 1
    y = torch.tensor([0, 1, 2, 2])
    assert mistakes(weights, torch.eye(3)[[0, 1, 2, 0]], y).tolist() == [0.25, 0.75]


def test_features_that_tell_the_class_are_seen_whatever_their_size_and_place():
    y = torch.randint(4, (400,), generator=rng(0))
    good = torch.eye(4)[y] + 0.1 * torch.randn(400, 4, generator=rng(1))
    noise = torch.randn(400, 4, generator=rng(2))
    chosen = torch.stack([few(y[:200], 20, seed) for seed in range(3)])

    def missed(x: Tensor, labels: Tensor = y) -> Tensor:
        return tried(x[:200], labels[:200], chosen, x[200:], y[200:], 1e-3)

    assert missed(good).max() < 0.02 and missed(noise).min() > 0.6
    assert torch.equal(missed(good), missed(1000 * good + 500))
    assert missed(good, y[torch.randperm(400, generator=rng(3))]).min() > 0.4


def test_hidden_layers_are_what_the_next_layer_sees():
    D = discriminator(6, (5, 4), 3, 0.8, 0.5, 0.5, rng(0)).eval()
    x = torch.rand(8, 6, generator=rng(1))
    first, second = hidden_layers(D, x)
    assert first.shape == (8, 5) and second.shape == (8, 4)
    assert torch.equal(D[3](first), second) and torch.equal(D[5:](second), D(x))


def test_the_cost_of_D_is_that_of_a_net_with_a_class_for_fakes(float64):
    real, fake, some = (3 * torch.randn(7, 4, generator=rng(seed)) for seed in range(3))
    kinds = torch.randint(4, (7,), generator=rng(3))
    cost = classifier_cost(some, kinds, real, fake).item()
    # probabilities of K + 1 classes, the last score 0, by their definition
    real, fake, some = (np.column_stack([part.numpy(), np.zeros(7)]) for part in (real, fake, some))
    told = [part - logsumexp(part, axis=1, keepdims=True) for part in (real, fake)]
    genuine = np.log(1 - np.exp(told[0][:, -1])).mean()
    among = some[:, :4] - logsumexp(some[:, :4], axis=1, keepdims=True)
    named = among[np.arange(7), kinds.numpy()].mean()
    assert cost == pytest.approx(-named - (genuine + told[1][:, -1].mean()) / 2)


def test_features_match_by_their_means_not_image_by_image():
    a = torch.randn(50, 6, generator=rng(0))
    assert mismatch(a, a[torch.randperm(50, generator=rng(1))]) < 1e-12
    b = a + torch.tensor([1.0, 2, 0, 0, 0, 0])
    assert mismatch(a, b).item() == pytest.approx(5 / 6, rel=1e-5)


def test_noise_is_there_in_training_and_gone_in_a_test():
    with torch.random.fork_rng():
        net = NoisyClassifier([6, 5, 4, 3], (0.3, 0.5, 0.5), 0.1)
        x = torch.rand(9, 6)
        assert not torch.equal(net(x), net(x)) and not torch.equal(net.features(x), net.features(x))
        net.eval()
        assert torch.equal(net(x), net(x)) and torch.equal(net.features(x), net.features(x))


def test_at_the_start_every_unit_has_mean_0_and_variance_1(float64):
    net = NoisyClassifier([6, 5, 4, 3], (0.0, 0.0, 0.0), 0.1)
    x = torch.rand(200, 6, generator=rng(0))
    net.standardise_(x)
    for layer in net.layers:
        y = layer(x)
        np.testing.assert_allclose(y.mean(0).detach(), 0, atol=1e-10)
        np.testing.assert_allclose(y.var(0, correction=0).detach(), 1, atol=1e-10)
        x = y.relu()


def test_labelled_images_come_equally_often_and_with_their_classes():
    data = labelled()
    for labels, m in ((6, 12), (30, 10), (9, 9)):
        model = FeatureMatching(small(labels=labels), data, 2, "cpu")
        seen = torch.zeros(labels, dtype=torch.int64)
        for model.updates in range(9):
            x, y = model.labelled(m)
            same = (x[:, None] == model.few).all(2)
            assert torch.equal(model.kinds[same.int().argmax(1)], y)
            seen += same.sum(0)
        assert (seen == 9 * m / labels).all()
        rows = (data.train == model.few[:, None]).all(2).int().argmax(1)
        assert torch.equal(data.labels["train"][rows], model.kinds)


def test_an_update_by_hand(float64):
    data, recipe = labelled(), small(input_noise=0.0, hidden_noise=0.0)
    data = dataclasses.replace(data, train=data.train.double())
    model = FeatureMatching(recipe, data, 1, "cpu")
    G, D, x = model.generator, model.discriminator, data.train[:20]
    codes = [torch.rand(10, 3, generator=rng(seed)) for seed in (5, 6)]
    given = iter(codes)
    model.codes = lambda n: next(given)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    def d_cost() -> float:
        with torch.no_grad():
            few_x, kinds = model.labelled(10)
            scores = [D(part).numpy() for part in (few_x, x[:10], fakes)]
        named = log_softmax(scores[0], axis=1)[np.arange(10), kinds.numpy()].mean()
        z_real, z_fake = (logsumexp(part, axis=1) for part in scores[1:])
        v = -np.log1p(np.exp(-z_real)).mean() - np.log1p(np.exp(z_fake)).mean()
        return -named - v / 2

    def g_cost() -> float:
        with torch.no_grad():
            gap = D.features(x[10:]).mean(0) - D.features(G(codes[1])).mean(0)
        return gap.square().mean().item()

    def slope(p: Tensor, at: tuple[int, ...], cost: Any) -> float:
        ends, eps = [], 1e-5
        for step in (eps, -eps):
            p.data[at] += step
            ends.append(cost())
            p.data[at] -= step
        return (ends[0] - ends[1]) / (2 * eps)

    with torch.no_grad():
        fakes = G(codes[0])
    names = {"discriminator.layers.0.direction": (2, 3), "discriminator.layers.1.bias": (1,),
             "discriminator.layers.3.length": (2,)}  # fmt: skip
    slopes = {name: slope(model.get_parameter(name), at, d_cost) for name, at in names.items()}
    expected = d_cost()
    assert model.update(x).item() == pytest.approx(expected)
    for name, at in names.items():
        p, g = model.get_parameter(name), slopes[name]
        step = 0.003 * g / (abs(g) + 1e-4)  # Adam's first
        assert p[at].item() == pytest.approx(before[name][at].item() - step, abs=1e-7)
    learnt = [p for p in D.parameters() if p.requires_grad]
    for mean, p in zip(model.average, learnt, strict=True):
        np.testing.assert_allclose(mean, 1e-4 * p.detach(), atol=1e-12)
    frozen = [name for name, p in D.named_parameters() if not p.requires_grad]
    assert frozen == [f"layers.{n}.length" for n in range(3)]
    # G moved last, against the new D: put its weights back to see by which slope
    after = {name: p.detach().clone() for name, p in G.named_parameters()}
    for name, p in G.named_parameters():
        p.data.copy_(before[f"generator.{name}"])
    for name, at in (("0.weight", (1, 2)), ("8.direction", (5, 3)), ("6.bias", (2,))):
        g = slope(G.get_parameter(name), at, g_cost)
        step = 0.003 * g / (abs(g) + 1e-4)
        assert after[name][at].item() == pytest.approx(
            before[f"generator.{name}"][at].item() - step, abs=1e-7
        )


def test_the_mean_of_weights_that_stand_still_is_these_weights():
    model = small(learning_rate=0.0).start(labelled(), 0)
    model.fit(labelled().train, 7)
    x = labelled().test
    torch.testing.assert_close(model.classifier()(x), model.discriminator.eval()(x))


def test_it_goes_on_from_its_state_as_if_never_stopped_and_without_the_data_set():
    images = labelled().train
    whole, parts = small().start(labelled(), 3), small().start(labelled(), 3)
    whole.fit(images, 20)
    parts.fit(images, 11)
    again = small().start(of(torch.full((1, 12), 0.5)), 3)
    again.load_state(everything(parts), parts.updates)
    again.fit(images, 9)
    one, two = everything(whole), everything(again)
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    assert again.rates().keys() == {"learning_rate"}


def test_it_learns_three_kinds_and_the_columns_say_so():
    data = labelled()
    model = small().start(data, 0)
    model.fit(data.train, 150)
    rates = model.rates()
    assert rates["test_error"] < 0.1 and rates["average_test_error"] < 0.1
    with torch.no_grad():
        counted = (model.classifier()(data.test).argmax(1) != data.labels["test"]).sum().item()
    assert rates["average_test_error"] == pytest.approx(counted / 30)
    assert model.discriminator.training  # looked at, not changed


def saved(tmp_path, **changes: np.ndarray) -> str:
    data = labelled()
    arrays = {f"x_{part}": getattr(data, part).reshape(-1, 3, 4).numpy() for part in data.labels}
    arrays |= {f"y_{part}": labels.numpy() for part, labels in data.labels.items()}
    np.savez(tmp_path / "x.npz", **{name: x for name, x in (arrays | changes).items() if x is not None})
    return str(tmp_path / "x.npz")


@pytest.mark.filterwarnings("ignore:best sigma")
def test_from_the_command_line_to_a_record(tmp_path, monkeypatch):
    recipe = small(name="semisupervised-small")
    monkeypatch.setattr(catalogue, "RECIPES", {recipe.name: recipe})
    monkeypatch.setattr(parzen, "N_SAMPLES", 50)
    out, data = str(tmp_path / "run"), saved(tmp_path)
    for epochs in ("2", "5"):
        assert main(["train", recipe.name, "--out", out, "--data", data, "--epochs", epochs]) == 0
    run = runs.Run(tmp_path / "run")
    assert run.recipe == recipe and run.record.updates == 30
    for column in ("cost", "test_error", "average_test_error"):
        assert np.isfinite(run.history[column]).all()
    assert np.isfinite(run.history["valid_fine"][[0, 4]]).all()
    assert main(["evaluate", out, "--keep", "20"]) == 0
    assert runs.Run(tmp_path / "run").samples(20).shape == (20, 12)


@pytest.mark.parametrize(
    ("arrays", "changes", "message"),
    [
        ({"y_train": None, "y_valid": None, "y_test": None}, {}, "has no labels"),
        ({}, {"labels": 300}, "300 labels take 100 images of each class, class 0 has 20 images"),
        ({}, {"labels": 2}, "labels must be a multiple of the 3 classes, got 2"),
        ({}, {"classes": 2}, "has labels from 0 to 2, semisupervised-small has 2 classes"),
    ],
)
def test_data_that_do_not_fit_are_told_in_a_line(tmp_path, monkeypatch, capsys, arrays, changes, message):
    recipe = small(name="semisupervised-small", **changes)
    monkeypatch.setattr(catalogue, "RECIPES", {recipe.name: recipe})
    command = ["train", recipe.name, "--out", str(tmp_path / "run"), "--data", saved(tmp_path, **arrays)]
    assert main(command) == 2
    told = capsys.readouterr().err.strip()
    assert message in told and "\n" not in told
