"""Every hyper-parameter of the paper's experiments, with its source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Normal, Uniform

from gansrc import networks
from gansrc.game import Game, Rules

YAML = "mnist.yaml of github.com/goodfeli/adversarial, commit 1720041"
"""The authors' own configuration of the MNIST experiment (2014, Theano and Pylearn2)."""
CODE = "__init__.py of github.com/goodfeli/adversarial, commit 1720041"
"""The authors' implementation of the update."""


@dataclass(frozen=True)
class Recipe:
    """One experiment: data, noise, both nets, the rules of the game, and where each value comes from.

    noise: "uniform" on [-sqrt(3), sqrt(3)] or "gaussian", unit variance both, in `z_dim` dimensions.
    g_hidden, d_hidden: layer widths; d_pieces: maxout pieces a unit. g_range, d_range: weights start uniform
    in ±range.
    output_bias: "marginals" starts G's output at the data's pixel means. keep_input, keep_hidden: dropout in
    D. d_pieces 1 stands for rectifiers.
    epochs: default length. sources: a line for every field, those of `rules` included.
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

    def p_z(self, device: torch.device | str = "cpu") -> Distribution:
        """The noise prior p_z over codes (z_dim,)."""
        edge, zero = (
            torch.full((self.z_dim,), math.sqrt(3.0), device=device),
            torch.zeros(self.z_dim, device=device),
        )
        if self.noise == "uniform":
            return Uniform(-edge, edge, validate_args=False)
        return Normal(zero, torch.ones_like(zero), validate_args=False)

    def game(self, train: Float[Tensor, "n d"], seed: int, device: torch.device | str = "cpu") -> Game:
        """The game at its start: nets drawn from `seed`, then moved to `device`."""
        init = torch.Generator().manual_seed(seed)
        d = train.shape[1]
        generator = networks.generator(self.z_dim, self.g_hidden, d, self.g_range, init)
        if self.output_bias == "marginals":
            networks.set_output_bias_(generator, train)
        discriminator = networks.discriminator(
            d, self.d_hidden, self.d_pieces, self.keep_input, self.keep_hidden, self.d_range, init
        )
        rng = torch.Generator(device).manual_seed(seed)
        return Game(generator.to(device), discriminator.to(device), self.p_z(device), self.rules, rng)

    def values(self) -> dict[str, object]:
        """All values, nested, without their sources: what a record keeps."""
        values = dataclasses.asdict(self)
        del values["sources"]
        return values


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
        "k": YAML + "; section 5 of the paper agrees (k = 1)",
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
    },
)
"""The authors' code: simultaneous updates, D's cost halved, shared dropout masks."""

MNIST_ALGORITHM_1 = dataclasses.replace(
    MNIST,
    name="mnist-algorithm-1",
    rules=dataclasses.replace(MNIST.rules, order="alternating", d_cost=1.0),
    sources=MNIST.sources
    | {
        "order": "Algorithm 1 of the paper: D moves first, then G against the new D with fresh noise",
        "d_cost": "Algorithm 1 of the paper: the full sum",
        "fresh_masks": "alternating play always draws masks anew",
    },
)
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

RECIPES = {recipe.name: recipe for recipe in (MNIST, MNIST_ALGORITHM_1, *ABLATIONS)}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises ValueError for an unknown one."""
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}")
    return RECIPES[name]
