"""The recipes' values against the authors' files; what a variant changes; noise, seeds and epochs.

The tables are typed from the files: github.com/goodfeli/adversarial at commit 1720041, github.com/yaoli/GSN,
github.com/yujiali/gmmn, github.com/ynd/cae.py.
"""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm, uniform

from gansrc import extensions, models, recipes
from gansrc.catalogue import RECIPES, recipe
from gansrc.datasets import of
from gansrc.model import Recipe
from gansrc.recipes import CIFAR10_FC, MNIST, MNIST_ALGORITHM_1, differences

OURS = "ours"
"""In a table: the file says nothing, or something else, and the source of the value must own to it."""

EVERY_YAML = {
    "name": OURS, "rows_per_epoch": OURS,
    # the generator: nvis, irange
    "z_dim": 100, "g_range": 0.05,
    # the discriminator: num_pieces, irange; discriminator_..._include_prob(s)
    "d_pieces": 5, "d_range": 0.005, "keep_input": 0.8, "keep_hidden": 0.5,
    # ExponentialDecay; init_momentum and MomentumAdjustor
    "decay": 1.000004, "min_learning_rate": 1e-6, "momentum": (0.5, 0.7), "momentum_epochs": 250,
    # AdversaryCost2 of __init__.py: g_obj's target is 1; d_obj = 0.5 * (...); one y_hat0; both move at once
    "order": "simultaneous", "k": 1, "g_steps": 1, "saturating": False, "d_cost": 0.5, "fresh_masks": False,
    # parzen_ll.py; no running mean
    "preview": 10_000, "average": OURS,
}  # fmt: skip

PRETRAIN_YAML = {
    **EVERY_YAML, "data": "faces", "pretrained": "",
    "noise": "gaussian", "g_hidden": (8000, 8000), "g_activations": ("relu", "sigmoid"), "g_sigmoid_bias": -2,
    "g_output": "sigmoid", "g_output_range": 0, "g_output_sparse": 100, "output_bias": "marginals",
    "g_deconvolution": (), "g_strokes": 0, "d_convolutions": (), "d_hidden": (1200, 1200), "contrast": 0,
    "batch_size": 100, "learning_rate": 0.05, "max_column_norm": 1.9365,
    "epochs": 50, "epoch_updates": 98_058 // 100,
}  # fmt: skip

YAML: dict[str, dict[str, Any]] = {
    "mnist": {  # mnist.yaml
        **EVERY_YAML, "data": "mnist", "pretrained": "",
        "noise": "uniform", "g_hidden": (1200, 1200), "g_activations": (), "g_sigmoid_bias": 0,
        "g_output": "sigmoid", "g_output_range": 0, "g_output_sparse": 0, "output_bias": "marginals",
        "g_deconvolution": (), "g_strokes": 0, "d_convolutions": (), "d_hidden": (240, 240), "contrast": 0,
        "batch_size": 100, "learning_rate": 0.1, "max_column_norm": 0,
        "epochs": OURS, "epoch_updates": 0,
    },
    "faces": PRETRAIN_YAML,  # tfd_pretrain/pretrain.yaml
    "faces-stage-2": {  # tfd_pretrain/train.yaml
        **PRETRAIN_YAML, "pretrained": "faces", "epochs": 22,
        "g_hidden": (8000, 100, 8000, 8000), "g_activations": ("relu", "sigmoid", "relu", "sigmoid"),
    },
    "cifar10-fc": {  # cifar10_fully_connected.yaml
        **EVERY_YAML, "data": "cifar10", "pretrained": "",
        "noise": "gaussian", "g_hidden": (8000, 8000), "g_activations": ("relu", "sigmoid"),
        "g_sigmoid_bias": 0, "g_output": "linear", "g_output_range": 0.5, "g_output_sparse": 0,
        "output_bias": "zero", "g_deconvolution": (), "g_strokes": 0, "d_convolutions": (),
        "d_hidden": (1600, 1600),
        "contrast": 55, "batch_size": 100, "learning_rate": 0.025, "max_column_norm": 0,
        "epochs": OURS, "epoch_updates": 0,
    },
    "cifar10-conv": {  # cifar10_convolutional.yaml
        **EVERY_YAML, "data": "cifar10", "pretrained": "",
        "noise": "gaussian", "g_hidden": (8000, 8000), "g_activations": ("relu", "sigmoid"),
        "g_sigmoid_bias": 0, "g_output": "linear", "g_output_range": 0, "g_output_sparse": 0,
        "output_bias": "zero", "g_deconvolution": (80, 5, 3), "g_strokes": 0,
        # num_channels, num_pieces, kernel_shape, pad, pool_shape, pool_stride
        "d_convolutions": ((32, 2, 8, 4, 4, 2), (32, 2, 8, 3, 4, 2), (192, 2, 5, 3, 2, 2)),
        "d_hidden": (500,), "contrast": 55, "batch_size": 128, "learning_rate": 0.004, "max_column_norm": 0,
        "epochs": OURS, "epoch_updates": 0,
    },
}  # fmt: skip


def flat(original: Recipe) -> dict[str, Any]:
    """All values by name, those of the rules among the others."""
    values = original.values()
    del values["model"]
    return values | values.pop("rules")


@pytest.mark.parametrize("name", YAML)
def test_every_value_of_a_gan_is_that_of_the_authors_file(name):
    values, sources = flat(recipe(name)), recipe(name).sources
    assert values.keys() == YAML[name].keys()
    assert {field for field in values if sources[field].where == "ours"} == {
        field for field, value in YAML[name].items() if value == OURS
    }
    theirs = {field: value for field, value in YAML[name].items() if value != OURS}
    assert {field: values[field] for field in theirs} == theirs


GSN = {  # run_gsn.py: the defaults of its options; model.py: one chain, every step of it
    "epochs": 1000, "batch_size": 100, "hidden": (1500, 1500), "walkbacks": 4, "noise_std": 2.0,
    "decay": 0.995, "momentum": 0.5, "chains": 1, "thin": 1,
}  # fmt: skip
GMMN = {  # train.py, both sets: layers from the top, minibatch_size, the schedules' first entry
    "z_dim": 10, "hidden": (64, 256, 256, 1024), "batch_size": 1000, "late_update": 10_000,
}  # fmt: skip
GMMN_AE = {**GMMN, "layer_rates": (0.1, 0.5), "tune_rate": 0.1, "code_batch": 100, "largest_gradient": 10}
BIGAN = {  # train_mnist.sh: its first objective, epochs; train_gan.py: the defaults of its options
    "batch_size": 128, "learning_rate": 0.0002, "beta": 0.5, "weight_decay": 2.5e-5, "steady_epochs": 200,
    "falling_epochs": 200,
}  # fmt: skip
CODE: dict[str, tuple[str, dict[str, Any]]] = {
    "gsn-mnist": (
        "github.com/yaoli/GSN", GSN | {"salt_and_pepper": 0.4, "resample": True, "learning_rate": 0.25}
    ),
    "gsn-faces": ("github.com/yaoli/GSN", GSN),
    "cae-mnist": ("github.com/ynd/cae.py", {"batch_size": 20, "layer_epochs": 20}),
    "cae-faces": ("github.com/ynd/cae.py", {"batch_size": 20}),
    "gmmn-mnist": (  # mnist_mmd_input_space
        "github.com/yujiali/gmmn", GMMN | {"epochs": 40_000 / 500, "widths": (2, 5, 10, 20, 40, 80)}
    ),
    "gmmn-faces": (  # tfd_mmd_input_space
        "github.com/yujiali/gmmn", GMMN | {"epochs": 48_000 / 500, "widths": (5, 10, 20, 40, 80, 160)}
    ),
    "gmmn-ae-mnist": (  # mnist_mmd_code_space
        "github.com/yujiali/gmmn",
        GMMN_AE | {
            "epochs": (2 * 3000 + 3000 + 40_000) / 500, "widths": (1,), "rates": (2, 0.9),
            "late_rates": (0.2, 0.99), "code_layers": (1024, 32), "drop": (0.2, 0.5), "layer_updates": 3000,
            "tune_updates": 3000, "tune_momentum": ((0, 0), (50, 0.5), (200, 0.9)),
        },
    ),
    "gmmn-ae-faces": (  # tfd_mmd_code_space; layer_updates as for MNIST
        "github.com/yujiali/gmmn",
        GMMN_AE | {
            "widths": (1, 2, 5, 10, 20, 40), "rates": (0.1, 0.9), "late_rates": (0.01, 0.99),
            "code_layers": (512, 512, 128), "drop": (0.1, 0.1, 0.1), "layer_updates": 3000,
            "tune_updates": 15_000,
        },
    ),
    "bigan-mnist": (
        "github.com/jeffdonahue/bigan", BIGAN | {"z_dim": 50, "epochs": 400, "objective": "adversarial"}
    ),
    "inference-mnist-adversarial": ("github.com/jeffdonahue/bigan", BIGAN),
}  # fmt: skip


@pytest.mark.parametrize("name", CODE)
def test_what_another_model_takes_from_its_authors_code_is_there(name):
    values, (repository, theirs) = recipe(name).values(), CODE[name]
    assert {f for f, source in recipe(name).sources.items() if repository in source.where} == theirs.keys()
    assert {field: values[field] for field in theirs} == theirs


VARIANTS: dict[str, list[tuple[str, Any, Any]]] = {
    "half-cost": [("d_cost", 1, 0.5)],
    "simultaneous": [("order", "alternating", "simultaneous"), ("fresh_masks", False, True)],
    "simultaneous-shared": [("order", "alternating", "simultaneous")],
    "saturating": [("saturating", False, True)],
    "k-2": [("k", 1, 2)],
    "k-5": [("k", 1, 5)],
    "steady-momentum": [("momentum", (0.5, 0.7), (0.5, 0.5))],
    "steady-rate": [("decay", 1.000004, 1)],
    "rectifier": [("d_hidden", (240, 240), (1200, 240)), ("d_pieces", 5, 1)],
    "no-dropout": [("keep_input", 0.8, 1), ("keep_hidden", 0.5, 1)],
    "zero-bias": [("output_bias", "marginals", "zero")],
    "gaussian": [("noise", "uniform", "gaussian")],
}


def test_the_catalogue_has_every_recipe_that_is_defined():
    parts = [f"{p.__name__}.{m.name}" for p in (models, extensions) for m in iter_modules(p.__path__)]
    files = [recipes, *map(import_module, parts)]
    defined = {r.name for file in files for r in vars(file).values() if isinstance(r, Recipe)}
    assert defined | {r.name for r in recipes.ABLATIONS} == RECIPES.keys()


def test_sources_of_the_texts_order_and_of_the_second_stages_output_are_their_own():
    for name in ("mnist", "faces"):
        theirs = recipe(f"{name}-algorithm-1").sources
        assert {theirs[field].where for field in ("order", "d_cost", "fresh_masks")} == {recipes.ALGORITHM_1}
    output = recipe("faces-stage-2").sources["g_output"]  # a layer of the net that is taken over
    assert output.where == "tfd_pretrain/pretrain.yaml"


def test_a_variant_changes_what_its_name_says_and_nothing_else():
    changes = {r.name: differences(MNIST_ALGORITHM_1, r) for r in recipes.ABLATIONS}
    assert changes == {f"mnist-algorithm-1-{name}": changed for name, changed in VARIANTS.items()}
    for variant in recipes.ABLATIONS:
        assert variant.data == "mnist"
        own = {
            field for field, source in variant.sources.items() if str(source) == "ours: what is its effect?"
        }
        assert own >= {field for field, *_ in changes[variant.name]}


def test_the_texts_recipes_change_order_and_cost_alone_and_others_what_they_say():
    for name in ("mnist", "faces"):
        assert differences(recipe(name), recipe(f"{name}-algorithm-1")) == [
            ("order", "simultaneous", "alternating"), ("d_cost", 0.5, 1)
        ]  # fmt: skip
    assert differences(recipe("mnist-algorithm-1"), recipe("mnist-algorithm-1-strokes")) == [
        ("g_hidden", (1200, 1200), (240, 240)), ("output_bias", "marginals", "zero"),
        ("g_output", "sigmoid", "linear"), ("g_output_range", 0, 1), ("g_strokes", 0, 3),
        ("d_cost", 1, 10), ("learning_rate", 0.1, 0.01),
    ]  # fmt: skip
    narrow = recipe("faces-algorithm-1-narrow")
    assert narrow.data == "faces"
    assert differences(recipe("faces-algorithm-1"), narrow) == [
        ("epochs", 50, 10), ("g_hidden", (8000, 8000), (1000, 1000)), ("g_range", 0.05, 0.084),
        ("d_hidden", (1200, 1200), (150, 150)), ("learning_rate", 0.05, 0.02),
    ]  # fmt: skip


def test_the_pair_whose_g_is_ahead_is_a_tenth_as_wide_and_that_of_the_plane_keeps_the_texts_order():
    small, points = recipe("mnist-algorithm-1-g-20"), recipe("gan-wink")
    assert differences(MNIST_ALGORITHM_1, small) == [
        ("epochs", 250, 1), ("rows_per_epoch", 1, 5), ("g_hidden", (1200, 1200), (120, 120)),
        ("g_range", 0.05, 0.089), ("d_hidden", (240, 240), (24, 24)), ("d_range", 0.005, 0.05),
        ("g_steps", 1, 20),
    ]  # fmt: skip
    assert (small.data, points.data) == ("mnist", "wink")
    changed = {name for name, *_ in differences(MNIST_ALGORITHM_1, points)}
    assert not changed & {"order", "k", "g_steps", "saturating", "d_cost"}
    for one in (small, points):
        for name in {name for name, *_ in differences(MNIST_ALGORITHM_1, one)}:
            assert one.sources[name].where == "ours"


@pytest.mark.parametrize(
    ("noise", "expected"), [("gaussian", norm()), ("uniform", uniform(-(3**0.5), 2 * 3**0.5))]
)
def test_p_z_has_unit_variance(noise, expected):
    p_z = dataclasses.replace(MNIST, noise=noise).p_z()
    torch.manual_seed(0)
    codes = p_z.sample((200,))
    assert codes.shape == (200, 100)
    assert kstest(codes.flatten().numpy(), expected.cdf).pvalue > 0.01
    assert (p_z.mean == 0).all() and torch.allclose(p_z.variance, torch.ones(100))


def test_every_seed_has_batches_and_codes_of_its_own():
    small = dataclasses.replace(MNIST, g_hidden=(8,), d_hidden=(6,))
    images = torch.rand(200, 9, generator=torch.Generator().manual_seed(0))
    one, same, other = (small.start(of(images), seed).game for seed in (1, 1, 0))
    for game in (same, other):  # with the nets of the first
        game.generator.load_state_dict(one.generator.state_dict())
        game.discriminator.load_state_dict(one.discriminator.state_dict())
    reports = [game.play(images, 1) for game in (one, same, other)]
    assert reports[0] == reports[1] and reports[0] != reports[2]
    assert not torch.equal(
        small.start(of(images), 0).game.generator[0].weight,
        small.start(of(images), 1).game.generator[0].weight,
    )


def test_samples_of_normalised_contrast_are_shown_around_grey_and_others_as_they_are():
    x = torch.tensor([[-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0]])
    assert CIFAR10_FC.pixels(x).tolist() == [[0, 0, 0.25, 0.5, 0.75, 1, 1]]
    assert torch.equal(MNIST.pixels(x), x)


@pytest.mark.parametrize(
    ("k", "epoch_updates", "batches", "updates"), [(1, 0, 10, 10), (2, 0, 10, 5), (1, 7, 7, 7), (2, 7, 14, 7)]
)
def test_an_epoch_is_a_pass_or_so_many_updates_of_k_batches_each(k, epoch_updates, batches, updates):
    rules = dataclasses.replace(MNIST_ALGORITHM_1.rules, k=k, epoch_updates=epoch_updates, momentum_epochs=3)
    small = dataclasses.replace(MNIST_ALGORITHM_1, g_hidden=(8,), d_hidden=(6,), rules=rules)
    assert rules.batches_per_epoch(1099) == batches
    assert small.updates_per_epoch(1099) == updates and small.examples_per_update() == 100 * k
    images = torch.rand(1099, 9, generator=torch.Generator().manual_seed(0))
    game = small.start(of(images), 0).game
    momenta = []
    for _ in range(4 * updates):
        game.play(images, 1)
        momenta.append(game.momentum.item())
    expected = np.repeat([0.5, 0.5, 0.6, 0.7], updates)  # by epoch: even at 0 and 1, then straight up to 3
    np.testing.assert_allclose(momenta, expected, atol=1e-6)
