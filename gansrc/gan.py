"""The generative adversarial net under the contract: a recipe that builds both nets, their game a model."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Normal, Uniform

from gansrc import networks, parallel, parzen
from gansrc.datasets import Dataset, contrast_normalised
from gansrc.game import Game, Rules, sample
from gansrc.model import Fitting, Model, Recipe, Sampler, State, load_slots, slots
from gansrc.seeds import Games
from gansrc.streams import drawing_from
from gansrc.strokes import NUMBERS, Strokes

Activation = Literal["relu", "sigmoid"]


@dataclass(frozen=True, kw_only=True)
class GameRecipe(Recipe):
    """What the recipe of any game has, whatever its nets.

    average: decay of the running mean of G's weights that is kept, and scored, beside the last ones; 0 for
    none. sources: those of the fields of `rules` among them.
    """

    rules: Rules
    average: float = 0.9999

    @property
    def weights(self) -> tuple[str, ...]:
        """G's last weights and, where one is kept, their running mean."""
        return ("last", "average") if self.average else ("last",)

    def weights_file(self, weights: str = "last") -> str:
        """The file of G's weights, the last ones or their mean."""
        return "generator" if weights == "last" else weights

    def examples_per_update(self) -> int:
        """How many training images an update takes."""
        return self.rules.batch_size * self.rules.k

    def updates_per_epoch(self, n: int) -> int:
        """Updates that count as an epoch, with n training images."""
        return self.rules.batches_per_epoch(n) // self.rules.k

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> GameRecipe:
        """The recipe of recorded values; the running mean was a rule once, and at first unknown."""
        rules = dict(values["rules"])
        values = {**values, "average": values.get("average", rules.pop("average", 0.0))}
        return cls(**{**values, "rules": Rules(**rules)})


@dataclass(frozen=True, kw_only=True)
class GANRecipe(GameRecipe):
    """One experiment: data, noise, both nets, the rules of the game, and where each value comes from.

    noise: "uniform" on [-sqrt(3), sqrt(3)] or "gaussian", unit variance both, in `z_dim` dimensions.
    g_hidden, d_hidden: layer sizes; d_pieces: maxout pieces a unit, 1 for rectifiers. g_range, d_range:
    weights start uniform in ±range. output_bias: "marginals" starts G's output at the data's pixel means.
    keep_input, keep_hidden: dropout in D.

    g_activations: of G's hidden layers, all rectifiers if none are given. g_sigmoid_bias: where the biases of
    its sigmoid ones start. g_output: "sigmoid" or "linear". g_output_range: a range of the output's own;
    g_output_sparse: so many weights a unit from N(0, 1) instead, the rest zero. g_deconvolution: (channels,
    kernel, stride) of a transposed convolution in place of the output's matrix. g_strokes: G's outputs are
    no pixels, but say how so many strokes of a pen go, which draws the image. d_convolutions: of D, below
    its dense layers, each (channels, pieces, kernel, padding, pool, stride). contrast: scale of a global
    contrast normalisation of the images; 0 leaves them in [0, 1]. pretrained: the recipe whose trained
    generator G carries on top.
    """

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
    g_activations: tuple[Activation, ...] = ()
    g_sigmoid_bias: float = 0.0
    g_output: Literal["sigmoid", "linear"] = "sigmoid"
    g_output_range: float = 0.0
    g_output_sparse: int = 0
    g_deconvolution: tuple[int, ...] = ()
    g_strokes: int = 0
    d_convolutions: tuple[tuple[int, ...], ...] = ()
    contrast: float = 0.0
    pretrained: str = ""

    leaves_samples = False
    together = True

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> GAN:
        """The game at its start, on a prepared data set: nets drawn from `seed`, then moved to `device`.

        below: a trained generator, a copy of whose layers replaces G's last ones.
        """
        init = torch.Generator().manual_seed(seed)
        generator = self.generator(dataset.image_shape, init)
        if self.output_bias == "marginals":
            networks.set_output_bias_(generator, dataset.train)
        if below:
            carried = copy.deepcopy(cast(TrainedGenerator, below).net)
            generator = nn.Sequential(*list(generator)[: -len(carried)], *carried)
        discriminator = networks.discriminator(
            dataset.train.shape[1], self.d_hidden, self.d_pieces, self.keep_input, self.keep_hidden,
            self.d_range, init, self.d_convolutions,
            square(dataset.image_shape) if self.d_convolutions else (),
        )  # fmt: skip
        rng = torch.Generator(device).manual_seed(seed)
        return GAN(self.game(generator.to(device), discriminator.to(device), rng))

    def game(self, generator: nn.Sequential, discriminator: nn.Sequential, rng: torch.Generator) -> Game:
        """The game of both nets, on the device of its random stream."""
        return Game(generator, discriminator, self.p_z(rng.device), self.rules, rng, self.average)

    def generator(self, image_shape: Sequence[int], rng: torch.Generator) -> nn.Sequential:
        """G before training, codes (n, z_dim) to rows (n, d); the output bias is still zero."""
        if self.g_deconvolution:
            body = networks.generator(
                self.z_dim, self.g_hidden[:-1], self.g_hidden[-1], self.g_range, rng,
                self.g_activations[:-1], self.g_activations[-1],
            )  # fmt: skip
            channels, kernel, stride = self.g_deconvolution
            net = networks.deconvolution(body, channels, kernel, stride, square(image_shape))
            return networks.init_uniform_(net, self.g_range, rng)
        out_features = self.g_strokes * NUMBERS or math.prod(image_shape)
        net = networks.generator(
            self.z_dim, self.g_hidden, out_features, self.g_range, rng, self.g_activations, self.g_output
        )
        layers = [layer for layer in net if isinstance(layer, nn.Linear)]
        if self.g_output_sparse:
            networks.init_sparse_(layers[-1], self.g_output_sparse, rng)
        elif self.g_output_range:
            nn.init.uniform_(layers[-1].weight, -self.g_output_range, self.g_output_range, generator=rng)
        for layer, activation in zip(layers, self.g_activations, strict=False):
            if activation == "sigmoid":
                nn.init.constant_(layer.bias, self.g_sigmoid_bias)
        return net.append(Strokes(image_shape)) if self.g_strokes else net

    def sampler(self, image_shape: Sequence[int]) -> TrainedGenerator:
        """G, whose weights are still to be loaded."""
        return TrainedGenerator(self.generator(image_shape, torch.Generator()).eval(), self.p_z())

    def p_z(self, device: torch.device | str = "cpu") -> Distribution:
        """The noise prior p_z over codes (z_dim,)."""
        zero = torch.zeros(self.z_dim, device=device)
        if self.noise == "uniform":
            edge = torch.full_like(zero, math.sqrt(3.0))
            return Uniform(-edge, edge, validate_args=False)
        return Normal(zero, torch.ones_like(zero), validate_args=False)

    def builds_on(self) -> str:
        """The recipe whose generator G carries on top."""
        return self.pretrained

    def check_below(self, below: Recipe) -> None:
        """Raise ValueError if the generator of `below` cannot be G's last layers."""
        upper = cast(GANRecipe, below)
        given = (upper.z_dim, *upper.g_hidden)
        wanted = self.g_hidden[-len(given) :]
        if given != wanted:
            raise ValueError(
                f"a run of {upper.name} has a generator of {' -> '.join(map(str, given))} units,"
                f" {self.name} needs {' -> '.join(map(str, wanted))}: give --pretrained a run with these"
            )

    def prepare(self, dataset: Dataset) -> Dataset:
        """The data set as the nets are to see it: with its contrast normalised, if the recipe asks for it."""
        return dataset.mapped(self.normalised) if self.contrast else dataset

    def normalised(self, images: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Images in [0, 1] as the nets are to see them."""
        return contrast_normalised(images, self.contrast) if self.contrast else images

    def pixels(self, samples: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Samples as images to look at, in [0, 1]; where contrast was normalised, one grey stands for 0.

        A normalised image has no brightness or contrast of its own: 1 is shown as a quarter of the range.
        """
        return (0.5 + samples / 4).clamp(0, 1) if self.contrast else samples

    def sigmas(self) -> dict[str, tuple[float, ...]]:
        """The sigma grids; images of normalised contrast have a fine one of their own."""
        return super().sigmas() | ({"fine": parzen.CONTRAST_SIGMAS} if self.contrast else {})

    def byte_range(self, samples: Float[Tensor, "n d"]) -> tuple[float, float]:
        """0 and 1, or, where contrast was normalised, the samples' own extremes."""
        return (samples.min().item(), samples.max().item()) if self.contrast else (0.0, 1.0)

    def fitting(self, models: Sequence[Model]) -> Fitting:
        """One game, by one process or all that are connected, or many as one computation."""
        if len(models) == 1 and parallel.processes() > 1:
            return parallel.Joined(models[0], cast(GAN, models[0]).game)
        if len(models) == 1:
            return super().fitting(models)
        return Games([cast(GAN, model).game for model in models]).play


class GAN(Model):
    """A game under the contract of `Model`."""

    def __init__(self, game: Game) -> None:
        self.game = game

    @property
    def updates(self) -> int:
        """Updates that the game has come to."""
        return self.game.updates

    @property
    def device(self) -> torch.device:
        """Where the game is played."""
        return self.game.rng.device

    def fit(self, data: Float[Tensor, "n d"], updates: int) -> dict[str, float]:
        """Play so many updates: the means of V, G's cost, D(x) and D(G(z))."""
        return self.game.play(data, updates)

    def rates(self) -> dict[str, float]:
        """Learning rate and momentum of the last update, or the rates of both optimizers."""
        game = self.game
        if game.optimizers:
            g_rate, d_rate = (one.param_groups[0]["lr"] for one in game.optimizers.values())
            return {"learning_rate": g_rate, "d_learning_rate": d_rate}
        return {"learning_rate": game.learning_rate.item(), "momentum": game.momentum.item()}

    def samples(self, n: int, rng: torch.Generator, weights: str = "last") -> Float[Tensor, "n d"]:
        """n samples of G with its last weights, or with their running mean."""
        game = self.game
        return sample(game.generator if weights == "last" else game.averaged(), game.noise, n, rng)

    def state(self) -> State:
        """Weights, velocities and random stream of the game."""
        game = self.game
        state: State = {"random": {"rng": game.rng.get_state()}, "momentum": {}}
        for name, net in (("generator", game.generator), ("discriminator", game.discriminator)):
            state[name] = {f"{name}.{key}": tensor for key, tensor in net.state_dict().items()}
            state["momentum"] |= {f"velocity.{name}.{i}": v for i, v in enumerate(game.velocity[net])}
            if net in game.optimizers:
                state["momentum"] |= slots(game.optimizers[net], f"optimizer.{name}")
        if game.average:
            names = (name for name, _ in game.generator.named_parameters())
            means = zip(names, game.average, strict=True)
            state["average"] = {f"average.{name}": mean for name, mean in means}
        return state

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Go on from the tensors of `state()`; ValueError if they are of other networks."""
        game = self.game
        for name, net in (("generator", game.generator), ("discriminator", game.discriminator)):
            if net in game.optimizers:
                load_slots(game.optimizers[net], f"optimizer.{name}", state)
        own = {key: tensor for part in self.state().values() for key, tensor in part.items()}
        if "rng" in state and state["rng"].shape != own["rng"].shape:  # of another kind of device
            state = {**state, "rng": own["rng"]}
        wrong = sorted(own.keys() ^ state.keys()) or [k for k in own if own[k].shape != state[k].shape]
        if wrong:
            raise ValueError(
                f"the saved state does not fit these networks: {wrong[0]!r} is missing, unknown or misshapen"
            )
        for key, tensor in own.items():
            tensor.copy_(state[key])
        game.rng.set_state(state["rng"])
        game.updates = updates


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator and its noise, which draw samples: `net` maps codes (n, z) to rows (n, d)."""

    net: nn.Sequential
    noise: Distribution

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over G's weights, whatever file they were kept in."""
        self.net.load_state_dict({key.partition(".")[2]: tensor for key, tensor in weights.items()})

    def samples(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """n samples: one pass through the net each."""
        return sample(self.net, self.noise, n, rng)

    def pictures(self, rng: torch.Generator) -> dict[str, Float[Tensor, "_ d"]]:
        """The walks between codes of Figure 3; they have a stream of their own, the same for all runs."""
        return {"walk": walk(self.net, self.noise).flatten(0, 1)}


@torch.no_grad()
def walk(
    generator: nn.Module, noise: Distribution, lines: int = 5, steps: int = 12, seed: int = 3
) -> Float[Tensor, "lines steps d"]:
    """Samples along straight lines between random codes (Figure 3)."""
    with drawing_from(torch.Generator().manual_seed(seed)):
        start, end = noise.sample((2, lines))
    t = torch.linspace(0, 1, steps)[None, :, None]
    codes = (1 - t) * start[:, None] + t * end[:, None]
    return generator(codes.flatten(0, 1)).unflatten(0, (lines, steps))


def square(image_shape: Sequence[int]) -> tuple[int, int, int]:
    """(channels, side, side) of square images, grey (h, w) or colour (3, h, w). ValueError for others."""
    shape = (1, *image_shape) if len(image_shape) == 2 else tuple(image_shape)
    if len(shape) != 3 or shape[0] not in (1, 3) or shape[1] != shape[2]:
        given = " x ".join(map(str, image_shape))
        raise ValueError(f"a convolution needs square images, grey or colour, got {given}: crop them")
    return shape[0], shape[1], shape[2]
