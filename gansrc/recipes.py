"""Every hyper-parameter of the paper's experiments, with its source."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Normal, Uniform

from gansrc import networks
from gansrc.baselines import BASELINES, Baseline
from gansrc.datasets import contrast_normalised
from gansrc.game import Game, Rules

REPOSITORY = "of github.com/goodfeli/adversarial, commit 1720041"
"""The authors' own code of the experiments (2014, Theano and Pylearn2)."""
YAML = f"mnist.yaml {REPOSITORY}"
"""Their configuration of the MNIST experiment."""
CODE = f"__init__.py {REPOSITORY}"
"""Their implementation of the update."""

Activation = Literal["relu", "sigmoid"]


@dataclass(frozen=True)
class Recipe:
    """One experiment: data, noise, both nets, the rules of the game, and where each value comes from.

    noise: "uniform" on [-sqrt(3), sqrt(3)] or "gaussian", unit variance both, in `z_dim` dimensions.
    g_hidden, d_hidden: layer widths; d_pieces: maxout pieces a unit, 1 for rectifiers. g_range, d_range:
    weights start uniform in ±range. output_bias: "marginals" starts G's output at the data's pixel means.
    keep_input, keep_hidden: dropout in D. epochs: default length. sources: a line for every field, those of
    `rules` included.

    g_activations: of G's hidden layers, all rectifiers if none are given. g_sigmoid_bias: where the biases of
    its sigmoid ones start. g_output: "sigmoid" or "linear". g_output_range: a range of the output's own;
    g_output_sparse: so many weights a unit from N(0, 1) instead, the rest zero. g_deconvolution: (channels,
    kernel, stride) of a transposed convolution in place of the output's matrix. d_convolutions: of D, below
    its dense layers, each (channels, pieces, kernel, padding, pool, stride). contrast: scale of a global
    contrast normalisation of the images; 0 leaves them in [0, 1]. pretrained: the recipe whose trained
    generator G carries on top. rows_per_epoch: how often the history is written.
    """

    name: str
    data: str
    noise: Literal["uniform", "gaussian"]
    z_dim: int
    g_hidden: tuple[int, ...]
    g_range: float
    output_bias: Literal["marginals", "zero"]
    d_hidden: tuple[int, ...]
    d_pieces: int
    d_range: float
    keep_input: float
    keep_hidden: float
    rules: Rules
    epochs: int
    sources: Mapping[str, str] = dataclasses.field(repr=False, compare=False)
    g_activations: tuple[Activation, ...] = ()
    g_sigmoid_bias: float = 0.0
    g_output: Literal["sigmoid", "linear"] = "sigmoid"
    g_output_range: float = 0.0
    g_output_sparse: int = 0
    g_deconvolution: tuple[int, ...] = ()
    d_convolutions: tuple[tuple[int, ...], ...] = ()
    contrast: float = 0.0
    pretrained: str = ""
    rows_per_epoch: int = 1

    def examples_per_update(self) -> int:
        """How many training images an update takes."""
        return self.rules.batch_size * self.rules.k

    def updates_per_epoch(self, n: int) -> int:
        """Updates that count as an epoch, with n training images."""
        return self.rules.batches_per_epoch(n) // self.rules.k

    def p_z(self, device: torch.device | str = "cpu") -> Distribution:
        """The noise prior p_z over codes (z_dim,)."""
        edge, zero = (
            torch.full((self.z_dim,), math.sqrt(3.0), device=device),
            torch.zeros(self.z_dim, device=device),
        )
        if self.noise == "uniform":
            return Uniform(-edge, edge, validate_args=False)
        return Normal(zero, torch.ones_like(zero), validate_args=False)

    def prepare(self, images: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Images in [0, 1] as the nets are to see them."""
        return contrast_normalised(images, self.contrast) if self.contrast else images

    def pixels(self, samples: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Samples as images to look at, in [0, 1]; where contrast was normalised, one grey stands for 0.

        A normalised image has no brightness or contrast of its own: 1 is shown as a quarter of the range.
        """
        return (0.5 + samples / 4).clamp(0, 1) if self.contrast else samples

    def generator(self, d: int, rng: torch.Generator) -> nn.Sequential:
        """G before training, codes (n, z_dim) to rows (n, d); the output bias is still zero."""
        if self.g_deconvolution:
            body = networks.generator(
                self.z_dim, self.g_hidden[:-1], self.g_hidden[-1], self.g_range, rng,
                self.g_activations[:-1], self.g_activations[-1],
            )  # fmt: skip
            net = networks.deconvolution(body, *self.g_deconvolution, square(d))
            return networks.init_uniform_(net, self.g_range, rng)
        net = networks.generator(
            self.z_dim, self.g_hidden, d, self.g_range, rng, self.g_activations, self.g_output
        )
        output = net[-2]
        if self.g_output_sparse:
            networks.init_sparse_(output, self.g_output_sparse, rng)
        elif self.g_output_range:
            nn.init.uniform_(output.weight, -self.g_output_range, self.g_output_range, generator=rng)
        for layer, activation in zip(net[::2], self.g_activations, strict=False):
            if activation == "sigmoid":
                nn.init.constant_(layer.bias, self.g_sigmoid_bias)
        return net

    def game(
        self,
        train: Float[Tensor, "n d"],
        seed: int,
        device: torch.device | str = "cpu",
        pretrained: nn.Sequential | None = None,
    ) -> Game:
        """The game at its start, on prepared images: nets drawn from `seed`, then moved to `device`.

        pretrained: a trained generator, a copy of whose layers replaces G's last ones.
        """
        init = torch.Generator().manual_seed(seed)
        d = train.shape[1]
        generator = self.generator(d, init)
        if self.output_bias == "marginals":
            networks.set_output_bias_(generator, train)
        if pretrained is not None:
            generator = nn.Sequential(*generator[: -len(pretrained)], *copy.deepcopy(pretrained))
        discriminator = networks.discriminator(
            d, self.d_hidden, self.d_pieces, self.keep_input, self.keep_hidden, self.d_range, init,
            self.d_convolutions, square(d) if self.d_convolutions else (),
        )  # fmt: skip
        rng = torch.Generator(device).manual_seed(seed)
        return Game(generator.to(device), discriminator.to(device), self.p_z(device), self.rules, rng)

    def values(self) -> dict[str, object]:
        """All values, nested, without their sources: what a record keeps."""
        values = dataclasses.asdict(self)
        del values["sources"]
        return values


def square(d: int) -> tuple[int, int, int]:
    """(channels, side, side) of square images of d numbers, grey or colour. ValueError for other d."""
    for channels in (1, 3):
        side = math.isqrt(d // channels)
        if channels * side**2 == d:
            return channels, side, side
    raise ValueError(
        f"a convolution needs square images, grey or colour, got {d} numbers an image: crop them"
    )


MNIST = Recipe(
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
    sources={
        "name": "ours",
        "data": YAML + ": MNIST scaled to [0, 1], first 50,000 training images",
        "noise": YAML + ": noise, which Generator.get_noise makes uniform on ±sqrt(3)",
        "z_dim": YAML,
        "g_hidden": YAML + ": two RectifiedLinear layers, sigmoid output",
        "g_range": YAML + ": irange",
        "output_bias": YAML + ": init_bias_target_marginals",
        "d_hidden": YAML + ": two Maxout layers, sigmoid output",
        "d_pieces": YAML + ": num_pieces",
        "d_range": YAML + ": irange",
        "keep_input": YAML + ": discriminator_input_include_probs, scale 1/keep",
        "keep_hidden": YAML + ": discriminator_default_input_include_prob, scale 1/keep",
        "rules": "the fields below",
        "order": CODE + ": both gradients from one forward pass",
        "k": CODE + ": both nets move at every update; Algorithm 1's caption agrees (k = 1)",
        "saturating": CODE + ": G's target is 1; section 3 of the paper recommends it",
        "d_cost": CODE + ": D's cost is half of the sum of its two cross-entropies",
        "batch_size": YAML,
        "learning_rate": YAML,
        "decay": YAML + ": ExponentialDecay, after every update",
        "min_learning_rate": YAML + ": ExponentialDecay",
        "momentum": YAML + ": init_momentum, final_momentum",
        "momentum_epochs": YAML + ": MomentumAdjustor, start 1, saturate 250",
        "fresh_masks": CODE + ": one pass through D serves both costs",
        "average": "none in the paper or its code",
        "epochs": "ours: their run had no end; 250 is where the momentum stops rising",
        "g_activations": YAML,
        "g_sigmoid_bias": "no sigmoid layer below the output",
        "g_output": YAML,
        "g_output_range": YAML + ": the same irange",
        "g_output_sparse": "no sparse_init in " + YAML,
        "g_deconvolution": "none in " + YAML,
        "d_convolutions": "none in " + YAML,
        "contrast": "none in " + YAML,
        "pretrained": "none in " + YAML,
        "rows_per_epoch": "ours",
        "max_column_norm": "none in " + YAML,
        "epoch_updates": "one shuffled pass, as Pylearn2 counts",
    },
)
"""The authors' code: simultaneous updates, D's cost halved, shared dropout masks."""


def _by_the_text(code: Recipe) -> Recipe:
    """A recipe of the authors' code, played as the paper's Algorithm 1 has it."""
    return dataclasses.replace(
        code,
        name=f"{code.name}-algorithm-1",
        rules=dataclasses.replace(code.rules, order="alternating", d_cost=1.0),
        sources=code.sources
        | {
            "order": "Algorithm 1 of the paper: D moves first, then G against the new D with fresh noise",
            "d_cost": "Algorithm 1 of the paper: the full sum",
            "fresh_masks": "alternating play always draws masks anew",
        },
    )


MNIST_ALGORITHM_1 = _by_the_text(MNIST)
"""The paper's text: alternating updates, D's full cost, fresh noise and masks for G; the rest is `mnist`."""


def _variant(suffix: str, **changes: Any) -> Recipe:
    """`mnist-algorithm-1` with some values changed, those of its rules among them."""
    of_rules = {key: value for key, value in changes.items() if hasattr(MNIST.rules, key)}
    own = {key: value for key, value in changes.items() if key not in of_rules}
    return dataclasses.replace(
        MNIST_ALGORITHM_1,
        name=f"{MNIST_ALGORITHM_1.name}-{suffix}",
        rules=dataclasses.replace(MNIST_ALGORITHM_1.rules, **of_rules),
        sources=MNIST_ALGORITHM_1.sources | dict.fromkeys(changes, "ours: what is its effect?"),
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
    _variant("average", average=0.999),
)
"""`mnist-algorithm-1` with one thing changed (the second of the simultaneous ones is two steps away)."""


def _from(file: str, fields: str, **special: str) -> dict[str, str]:
    """Sources of fields that a file of the authors' sets, beside those that are as for MNIST."""
    sources = dict.fromkeys(fields.split(), f"{file} {REPOSITORY}")
    return (
        {key: text.replace(YAML, f"{file} {REPOSITORY}") for key, text in MNIST.sources.items()}
        | sources
        | special
    )


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
    sources=_from(
        "tfd_pretrain/pretrain.yaml",
        "g_hidden g_activations g_sigmoid_bias g_output_sparse learning_rate max_column_norm epochs",
        data="the unlabeled part of TFD, in [0, 1]; where TFD is absent, Labeled Faces in the Wild (ours)",
        noise="none is set there, and Generator.get_noise then draws a Gaussian",
        g_output_range="none: the output has sparse_init",
        epoch_updates="98,058 unlabeled images of TFD, 100 a batch; on other data, too, so many count (ours)",
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
    sources=FACES_ALGORITHM_1.sources
    | dict.fromkeys(("g_hidden", "d_hidden"), "ours: an eighth of theirs")
    | {
        "g_range": "ours: 8 ** (1 / 4) times theirs, so that a unit's input varies with z as in the wide net",
        "learning_rate": "ours",
        "epochs": "ours",
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
    sources=FACES.sources
    | {
        key: source.replace("pretrain.yaml", "train.yaml")
        for key, source in FACES.sources.items()
        if key not in ("g_output", "g_output_sparse", "output_bias")
    }
    | {"pretrained": f"tfd_pretrain/train.yaml {REPOSITORY}: add_layers, pretrained"},
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
    sources=_from(
        "cifar10_fully_connected.yaml",
        "g_hidden g_activations g_sigmoid_bias g_output g_output_range output_bias learning_rate contrast",
        data="CIFAR-10, the first 40,000 training images; the other 10,000 for validation",
        noise="none is set there, and Generator.get_noise then draws a Gaussian",
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
    sources={
        key: source.replace("fully_connected", "convolutional") for key, source in CIFAR10_FC.sources.items()
    }
    | dict.fromkeys(
        ("g_output_range", "g_deconvolution", "d_convolutions", "d_hidden"),
        f"cifar10_convolutional.yaml {REPOSITORY}",
    ),
)
"""CIFAR-10, a convolutional D and a G that ends in a transposed convolution."""

RECIPES = {
    recipe.name: recipe
    for recipe in (
        MNIST,
        MNIST_ALGORITHM_1,
        FACES,
        FACES_ALGORITHM_1,
        FACES_NARROW,
        FACES_STAGE_2,
        CIFAR10_FC,
        CIFAR10_CONV,
        *ABLATIONS,
    )
}


def differences(one: Recipe, two: Recipe) -> list[tuple[str, Any, Any]]:
    """The fields of two recipes and of their rules that differ, name and data aside, and both values."""
    left_out = ("name", "data", "rules", "sources")
    return [
        (field, getattr(a, field), getattr(b, field))
        for a, b in ((one, two), (one.rules, two.rules))
        for field in vars(a)
        if field not in left_out and getattr(a, field) != getattr(b, field)
    ]


def recipe(name: str) -> Recipe | Baseline:
    """The recipe of that name, of a GAN or of another model. Raises ValueError for an unknown one."""
    known = {**RECIPES, **BASELINES}
    if name not in known:
        raise ValueError(f"unknown recipe {name!r}: choose one of {', '.join(known)}")
    return known[name]
