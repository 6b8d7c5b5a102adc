"""The values of the paper's experiments, each with its source."""

from __future__ import annotations

import dataclasses
from typing import Any

from gansrc.game import Rules
from gansrc.gan import GANRecipe
from gansrc.model import OURS, UNUSED, Source, sources

REPOSITORY = "github.com/goodfeli/adversarial, commit 1720041"
"""The authors' own code of the experiments (Theano and Pylearn2): the files that sources name are in it."""
CODE = "__init__.py"
"""Their implementation of the update."""
ALGORITHM_1 = "Algorithm 1 of the paper"

MNIST = GANRecipe(
    name="mnist",
    data="mnist",
    noise="uniform",
    z_dim=100,
    g_hidden=(1200, 1200),
    g_range=0.05,
    output_bias="marginals",
    d_hidden=(240, 240),
    d_pieces=5,
    d_range=0.005,
    keep_input=0.8,
    keep_hidden=0.5,
    rules=Rules(
        order="simultaneous",
        k=1,
        saturating=False,
        d_cost=0.5,
        batch_size=100,
        learning_rate=0.1,
        decay=1.000004,
        min_learning_rate=1e-6,
        momentum=(0.5, 0.7),
        momentum_epochs=250,
    ),
    epochs=250,
    sources=sources(
        "mnist.yaml",
        "z_dim batch_size learning_rate g_activations g_output",
        name=OURS,
        data=Source("mnist.yaml", "MNIST scaled to [0, 1], first 50,000 training images"),
        noise=Source("mnist.yaml", "noise, which Generator.get_noise makes uniform on ±sqrt(3)"),
        g_hidden=Source("mnist.yaml", "two RectifiedLinear layers, sigmoid output"),
        g_range=Source("mnist.yaml", "irange"),
        g_output_range=Source("mnist.yaml", "the same irange"),
        output_bias=Source("mnist.yaml", "init_bias_target_marginals"),
        d_hidden=Source("mnist.yaml", "two Maxout layers, sigmoid output"),
        d_pieces=Source("mnist.yaml", "num_pieces"),
        d_range=Source("mnist.yaml", "irange"),
        keep_input=Source("mnist.yaml", "discriminator_input_include_probs, scale 1/keep"),
        keep_hidden=Source("mnist.yaml", "discriminator_default_input_include_prob, scale 1/keep"),
        decay=Source("mnist.yaml", "ExponentialDecay, after every update"),
        min_learning_rate=Source("mnist.yaml", "ExponentialDecay"),
        momentum=Source("mnist.yaml", "init_momentum, final_momentum"),
        momentum_epochs=Source("mnist.yaml", "MomentumAdjustor, start 1, saturate 250"),
        rules=Source("below", "each of its fields"),
        order=Source(CODE, "both gradients from one forward pass"),
        k=Source(CODE, "both nets move at every update; Algorithm 1's caption agrees (k = 1)"),
        g_steps=Source(CODE, "the same"),
        saturating=Source(CODE, "G's target is 1; section 3 of the paper recommends it"),
        d_cost=Source(CODE, "D's cost is half of the sum of its two cross-entropies"),
        fresh_masks=Source(CODE, "one pass through D serves both costs"),
        epochs=Source("ours", "their run had no end; 250 is where the momentum stops rising"),
        epoch_updates=Source("Pylearn2", "one shuffled pass counts as an epoch"),
        average=Source("ours", "chosen on validation images; the game does not know of it"),
        preview=Source("parzen_ll.py", "as many as in the final score"),
        rows_per_epoch=OURS,
        g_sigmoid_bias=UNUSED,
        g_output_sparse=UNUSED,
        g_deconvolution=UNUSED,
        g_strokes=UNUSED,
        d_convolutions=UNUSED,
        contrast=UNUSED,
        pretrained=UNUSED,
        max_column_norm=UNUSED,
    ),
)
"""The authors' code: simultaneous updates, D's cost halved, shared dropout masks."""

SHARED = (
    "z_dim g_hidden g_range d_hidden d_pieces d_range keep_input keep_hidden batch_size learning_rate decay"
    " min_learning_rate momentum momentum_epochs g_activations g_output"
)
"""The fields that each of their configurations sets for itself."""


def _configured(code: GANRecipe, where: str, fields: str, **special: Source) -> dict[str, Source]:
    """Sources of a recipe whose configuration file sets SHARED and other fields; the rest as for `code`."""
    return {**code.sources, **sources(where, f"{SHARED} {fields}"), **special}


def _by_the_text(code: GANRecipe) -> GANRecipe:
    """A recipe of the authors' code, played as the paper's Algorithm 1 has it."""
    return dataclasses.replace(
        code,
        name=f"{code.name}-algorithm-1",
        rules=dataclasses.replace(code.rules, order="alternating", d_cost=1.0),
        sources={
            **code.sources,
            "order": Source(ALGORITHM_1, "D moves first, then G against the new D with fresh noise"),
            "d_cost": Source(ALGORITHM_1, "the full sum"),
            "fresh_masks": Source(ALGORITHM_1, "alternating play always draws masks anew"),
        },
    )


MNIST_ALGORITHM_1 = _by_the_text(MNIST)
"""The paper's text: alternating updates, D's full cost, fresh noise and masks for G; the rest is `mnist`."""


def _variant(suffix: str, **changes: Any) -> GANRecipe:
    """`mnist-algorithm-1` with some values changed, those of its rules among them."""
    of_rules = {key: value for key, value in changes.items() if hasattr(MNIST.rules, key)}
    own = {key: value for key, value in changes.items() if key not in of_rules}
    return dataclasses.replace(
        MNIST_ALGORITHM_1,
        name=f"{MNIST_ALGORITHM_1.name}-{suffix}",
        rules=dataclasses.replace(MNIST_ALGORITHM_1.rules, **of_rules),
        sources={
            **MNIST_ALGORITHM_1.sources,
            **dict.fromkeys(changes, Source("ours", "what is its effect?")),
        },
        **own,
    )


ABLATIONS = (
    _variant("half-cost", d_cost=0.5),
    _variant("simultaneous", order="simultaneous", fresh_masks=True),
    _variant("simultaneous-shared", order="simultaneous"),
    _variant("saturating", saturating=True),
    _variant("k-2", k=2),
    _variant("k-5", k=5),
    _variant("steady-momentum", momentum=(0.5, 0.5)),
    _variant("steady-rate", decay=1.0),
    _variant("rectifier", d_hidden=(1200, 240), d_pieces=1),  # as many weights as the maxout net
    _variant("no-dropout", keep_input=1.0, keep_hidden=1.0),
    _variant("zero-bias", output_bias="zero"),
    _variant("gaussian", noise="gaussian"),
)
"""`mnist-algorithm-1` with one thing changed (the second of the simultaneous ones is two steps away)."""

MNIST_STROKES = _variant(
    "strokes", g_strokes=3, g_hidden=(240, 240), g_output="linear", g_output_range=1.0,
    output_bias="zero", learning_rate=0.01, d_cost=10.0,
)  # fmt: skip
"""A pen in place of the output layer, narrower layers before it, and smaller steps of G alone."""

FACES = dataclasses.replace(
    MNIST,
    name="faces",
    data="faces",
    noise="gaussian",
    g_hidden=(8000, 8000),
    g_activations=("relu", "sigmoid"),
    g_sigmoid_bias=-2.0,
    g_output_sparse=100,
    d_hidden=(1200, 1200),
    rules=dataclasses.replace(MNIST.rules, learning_rate=0.05, max_column_norm=1.9365, epoch_updates=980),
    epochs=50,
    rows_per_epoch=10,
    sources=_configured(
        MNIST,
        "tfd_pretrain/pretrain.yaml",
        "g_sigmoid_bias g_output_sparse output_bias max_column_norm epochs",
        data=Source(
            "tfd_pretrain/pretrain.yaml",
            "the unlabeled part of TFD, in [0, 1]; where TFD is absent, Labeled Faces in the Wild (ours)",
        ),
        noise=Source(CODE, "the file sets none, and Generator.get_noise then draws a Gaussian"),
        g_output_range=UNUSED,
        epoch_updates=Source(
            "tfd_pretrain/pretrain.yaml",
            "98,058 unlabeled images of TFD, 100 a batch; on other data, too, so many count (ours)",
        ),
    ),
)
"""The face experiment, first stage: pretraining."""

FACES_ALGORITHM_1 = _by_the_text(FACES)
"""The same by the paper's text."""

FACES_NARROW = dataclasses.replace(
    FACES_ALGORITHM_1,
    name="faces-algorithm-1-narrow",
    g_hidden=(1000, 1000),
    g_range=0.084,
    d_hidden=(150, 150),
    rules=dataclasses.replace(FACES_ALGORITHM_1.rules, learning_rate=0.02),
    epochs=10,
    sources={
        **FACES_ALGORITHM_1.sources,
        **dict.fromkeys(("g_hidden", "d_hidden"), Source("ours", "an eighth of theirs")),
        "g_range": Source(
            "ours", "8 ** (1 / 4) times theirs, so that a unit's input varies with z as in the wide net"
        ),
        "learning_rate": OURS,
        "epochs": OURS,
    },
)
"""The paper's text with narrow nets, whose single step moves all samples together by less."""

FACES_STAGE_2 = dataclasses.replace(
    FACES,
    name="faces-stage-2",
    g_hidden=(8000, 100, 8000, 8000),
    g_activations=("relu", "sigmoid", "relu", "sigmoid"),
    epochs=22,
    pretrained="faces",
    sources={
        **_configured(FACES, "tfd_pretrain/train.yaml", "g_sigmoid_bias max_column_norm epochs"),
        "g_output": FACES.sources["g_output"],
        "pretrained": Source("tfd_pretrain/train.yaml", "add_layers, pretrained"),
    },
)
"""The face experiment, second stage: two new layers under the pretrained net, all of it trained on."""

CIFAR10_FC = dataclasses.replace(
    MNIST,
    name="cifar10-fc",
    data="cifar10",
    noise="gaussian",
    g_hidden=(8000, 8000),
    g_activations=("relu", "sigmoid"),
    g_output="linear",
    g_output_range=0.5,
    output_bias="zero",
    d_hidden=(1600, 1600),
    contrast=55.0,
    rules=dataclasses.replace(MNIST.rules, learning_rate=0.025),
    rows_per_epoch=4,
    sources=_configured(
        MNIST,
        "cifar10_fully_connected.yaml",
        "g_sigmoid_bias g_output_range output_bias contrast",
        data=Source(
            "cifar10_fully_connected.yaml",
            "CIFAR-10, the first 40,000 training images; the other 10,000 for validation",
        ),
        noise=Source(CODE, "the file sets none, and Generator.get_noise then draws a Gaussian"),
    ),
)
"""CIFAR-10, both nets fully connected."""

CIFAR10_CONV = dataclasses.replace(
    CIFAR10_FC,
    name="cifar10-conv",
    g_output_range=0.0,
    g_deconvolution=(80, 5, 3),
    d_convolutions=((32, 2, 8, 4, 4, 2), (32, 2, 8, 3, 4, 2), (192, 2, 5, 3, 2, 2)),
    d_hidden=(500,),
    rules=dataclasses.replace(CIFAR10_FC.rules, batch_size=128, learning_rate=0.004),
    sources=_configured(
        CIFAR10_FC,
        "cifar10_convolutional.yaml",
        "g_sigmoid_bias g_output_range output_bias contrast g_deconvolution d_convolutions",
        data=Source(
            "cifar10_convolutional.yaml",
            "CIFAR-10, the first 40,000 training images; the other 10,000 for validation",
        ),
    ),
)
"""CIFAR-10, a convolutional D and a G that ends in a transposed convolution."""

MNIST_G_20 = dataclasses.replace(
    MNIST_ALGORITHM_1,
    name="mnist-algorithm-1-g-20",
    g_hidden=(120, 120),
    g_range=0.089,
    d_hidden=(24, 24),
    d_range=0.05,
    rules=dataclasses.replace(MNIST_ALGORITHM_1.rules, g_steps=20),
    epochs=1,
    rows_per_epoch=5,
    average=0.0,
    sources={
        **MNIST_ALGORITHM_1.sources,
        **sources("ours", "d_range epochs rows_per_epoch average"),
        "g_steps": Source("ours", "G is to be ahead of D"),
        **dict.fromkeys(("g_hidden", "d_hidden"), Source("ours", "a tenth of theirs")),
        "g_range": Source(
            "ours", "10 ** (1 / 4) times theirs, so that a unit's input varies with z as in the wide net"
        ),
    },
)
"""A small pair by the paper's text, but for G: it moves twenty times for one step of D."""

WINK = dataclasses.replace(
    MNIST_ALGORITHM_1,
    name="gan-wink",
    data="wink",
    noise="gaussian",
    z_dim=2,
    g_hidden=(48, 48),
    g_range=0.3,
    g_output="linear",
    output_bias="zero",
    d_hidden=(48, 48),
    d_pieces=1,
    d_range=0.3,
    keep_input=1.0,
    keep_hidden=1.0,
    rules=dataclasses.replace(
        MNIST_ALGORITHM_1.rules,
        batch_size=200, learning_rate=0.05, decay=1.0002, momentum=(0.5, 0.5), epoch_updates=1000,
    ),
    epochs=20,
    preview=1000,
    average=0.0,
    sources={
        **MNIST_ALGORITHM_1.sources,
        **sources(
            "ours",
            "data noise z_dim g_hidden g_range g_activations g_output d_hidden d_range batch_size momentum"
            " epoch_updates epochs preview average",
        ),
        **dict.fromkeys(
            ("learning_rate", "decay"), Source("ours", "of ten settings, by distance to the data")
        ),
        "output_bias": Source("ours", "points have no pixel means"),
        "d_pieces": Source("ours", "rectifiers: as many weights as G"),
        **dict.fromkeys(("keep_input", "keep_hidden"), Source("ours", "two numbers are too few to drop one")),
        **dict.fromkeys(("g_output_range", "momentum_epochs"), UNUSED),
    },
)  # fmt: skip
"""The data in the plane, by the paper's text, small nets."""

GANS = (
    MNIST, MNIST_ALGORITHM_1, FACES, FACES_ALGORITHM_1, FACES_NARROW, FACES_STAGE_2, CIFAR10_FC, CIFAR10_CONV,
    MNIST_G_20, MNIST_STROKES, WINK, *ABLATIONS,
)  # fmt: skip
"""All of them."""


def differences(one: GANRecipe, two: GANRecipe) -> list[tuple[str, object, object]]:
    """The fields of two recipes and of their rules that differ, and both values; those that do not bear on
    the game, or are the data, aside."""
    left_out = ("name", "data", "rules", "sources", "average")
    pairs: tuple[tuple[GANRecipe | Rules, GANRecipe | Rules], ...] = ((one, two), (one.rules, two.rules))
    return [
        (field.name, getattr(a, field.name), getattr(b, field.name))
        for a, b in pairs
        for field in dataclasses.fields(a)
        if field.name not in left_out and getattr(a, field.name) != getattr(b, field.name)
    ]
