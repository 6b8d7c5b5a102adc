"""Ways to coordinate G and D: what the authors' own code could do beside Algorithm 1, and what came later."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.utils.parametrizations import spectral_norm

from gansrc.game import Cost, Game, generator_cost
from gansrc.gan import GANRecipe
from gansrc.model import UNUSED, Source, sources
from gansrc.recipes import MNIST_ALGORITHM_1
from gansrc.streams import drawing_from


@dataclass(frozen=True, kw_only=True)
class CoordinationRecipe(GANRecipe):
    """The GAN of the paper with other parts, each left out at its default.

    rates: Adam moves G and D by these rates, in place of the rules' momentum; betas: how much of its running
    means of the gradient and of its square Adam keeps. r1: weight of the penalty on D's slope at the data.
    spectral: every weight matrix of D is divided by its largest singular value.

    Of the authors' code: blend, the share of eq. (1)'s own cost in what G descends; input_noise, standard
    deviation of Gaussian noise on all that D sees; clear: G's cost sees D without dropout; radius: of a
    sphere on which all codes lie, 0 for none.
    """

    rates: tuple[float, ...] = ()
    betas: tuple[float, float] = (0.5, 0.999)
    r1: float = 0.0
    spectral: bool = False
    blend: float = 0.0
    input_noise: float = 0.0
    clear: bool = False
    radius: float = 0.0

    together = False

    def game(self, generator: nn.Sequential, discriminator: nn.Sequential, rng: torch.Generator) -> Game:
        """The game with these parts handed in."""
        if self.spectral:
            with drawing_from(rng):  # the search for the largest singular value begins at random
                for layer in discriminator.modules():
                    if isinstance(layer, nn.Linear):
                        spectral_norm(layer)
        if self.input_noise:
            discriminator = nn.Sequential(Noise(self.input_noise), *discriminator)
        nets = generator, discriminator
        adams = [
            torch.optim.Adam(net.parameters(), rate, self.betas, fused=True)
            for net, rate in zip(nets, self.rates, strict=bool(self.rates))
        ]
        return Game(
            *nets, self.p_z(rng.device), self.rules, rng, self.average, optimizers=adams,
            g_cost=blended(self.blend, self.clear) if self.blend or self.clear else None,
            penalty=slope_penalty(self.r1) if self.r1 else None,
        )  # fmt: skip

    def p_z(self, device: torch.device | str = "cpu") -> Distribution:
        """The noise prior p_z over codes (z_dim,), on the sphere if the recipe asks for it."""
        noise = super().p_z(device)
        return Sphere(noise, self.radius) if self.radius else noise


class Sphere(Distribution):
    """Draws of a distribution, each brought to one length: N(0, I) gives the uniform law on a sphere."""

    arg_constraints = {}

    def __init__(self, noise: Distribution, radius: float) -> None:
        super().__init__(noise.batch_shape, validate_args=False)
        self.noise, self.radius = noise, radius

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Float[Tensor, "*shape z"]:
        """Codes of that length."""
        return self.radius * nn.functional.normalize(self.noise.sample(torch.Size(sample_shape)), dim=-1)


class Noise(nn.Module):
    """Adds Gaussian noise in training, by torch's default generator."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """x with noise; outside of training, x."""
        return x + self.std * torch.randn_like(x) if self.training else x


def blended(share: float, clear: bool) -> Cost:
    """What G descends: so much of eq. (1)'s log(1 - D(G(z))), the rest of section 3's -log D(G(z)), nats.

    clear: by D without dropout.
    """

    def cost(D: nn.Module, samples: Tensor) -> Tensor:
        fake = D.eval()(samples) if clear else D(samples)
        D.train()
        return share * generator_cost(fake, True) + (1 - share) * generator_cost(fake, False)

    return cost


def slope_penalty(weight: float) -> Cost:
    """R1: weight / 2 times the mean of |dD/dx|^2 over data, by D's logits (Mescheder et al., 2018, eq. 9)."""

    def cost(D: nn.Module, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
        return weight / 2 * slope.square().sum(-1).mean(-1)

    return cost


def _from(base: GANRecipe, name: str, note: str, **changes: Any) -> CoordinationRecipe:
    """A recipe with some values changed, those of its rules among them, for the reason that `note` gives."""
    of_rules = {key: value for key, value in changes.items() if hasattr(base.rules, key)}
    values = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)}
    own = {key: value for key, value in changes.items() if key not in of_rules}
    left_out = {} if isinstance(base, CoordinationRecipe) else dict.fromkeys(PARTS.split(), UNUSED)
    if "rates" in changes:
        left_out |= dict.fromkeys(MOMENTUM.split(), UNUSED) | {"betas": Source("ours", "usual for a GAN")}
    changed = {**dict.fromkeys(changes, Source("ours", note)), **sources("ours", "epochs rows_per_epoch")}
    return CoordinationRecipe(
        **values | own | {
            "name": name,
            "rules": dataclasses.replace(base.rules, **of_rules),
            "sources": {**base.sources, **left_out, **changed},
        }
    )  # fmt: skip


PARTS = "rates betas r1 spectral blend input_noise clear radius"
"""The fields beside those of the GAN's recipe."""
MOMENTUM = "learning_rate decay min_learning_rate momentum momentum_epochs"
"""The rules that Adam does without."""

LADDER_MEAN = _from(
    MNIST_ALGORITHM_1, "ladder-mean", "of four decays, by validation images", average=0.998, epochs=15,
    rows_per_epoch=5,
)  # fmt: skip
"""The paper's text, and a running mean over some 500 updates of G, where the recipe has 10,000."""

LADDER_ADAM = _from(
    LADDER_MEAN, "ladder-adam", "of two, by validation images after 500 updates",
    rates=(1e-3, 1e-3), epochs=3, rows_per_epoch=20,
)  # fmt: skip
"""And Adam in place of momentum."""

LADDER_R1 = _from(LADDER_ADAM, "ladder-r1", "of three, by validation images after 500 updates", r1=1.0)
"""And a penalty on D's slope at the data."""

LADDER_RATE = _from(LADDER_R1, "ladder-rate", "twice as large", rates=(2e-3, 2e-3))
"""And larger steps, which the penalty allows."""

LADDER_TWO_SCALES = _from(LADDER_RATE, "ladder-two-scales", "D's twice as large as G's", rates=(2e-3, 4e-3))
"""And D on a faster time scale than G (Heusel et al., 2017)."""

LADDER_SPECTRAL = _from(LADDER_ADAM, "ladder-spectral", "in place of the penalty", spectral=True)
"""Adam, and D's weights divided by their largest singular value (Miyato et al., 2018)."""

LADDER_GAUSSIAN = _from(LADDER_RATE, "ladder-gaussian", "does z matter?", noise="gaussian")
"""The ladder's top with z ~ N(0, I)."""

LADDER_SPHERE = _from(LADDER_RATE, "ladder-sphere", "does z matter?", noise="gaussian", radius=10.0)
"""The ladder's top with z on a sphere, each number of unit variance."""

LADDER_UNIT_SPHERE = _from(LADDER_SPHERE, "ladder-unit-sphere", "as in the authors' code", radius=1.0)
"""The same on the unit sphere, the "spherical" noise of the authors' code."""

KNOB_BLEND = _from(
    MNIST_ALGORITHM_1, "knob-blend", "the authors' default: D's halved cost as weight", blend=1 / 3
)
"""G descends both costs: the authors' blend_obj, whose two coefficients are 1, D's cost being halved."""

KNOB_NOISE = _from(MNIST_ALGORITHM_1, "knob-noise", "of the size of a grey level's step", input_noise=0.1)
"""Noise on all that D sees: the authors' noise_both."""

KNOB_CLEAR = _from(MNIST_ALGORITHM_1, "knob-clear", "the authors' no_drop_in_d_for_g", clear=True)
"""G's cost sees D without dropout."""

KNOB_UNIT_SPHERE = _from(
    MNIST_ALGORITHM_1, "knob-unit-sphere", "the authors' spherical noise", noise="gaussian", radius=1.0
)
"""z on the unit sphere."""

LADDER = (
    LADDER_MEAN, LADDER_ADAM, LADDER_R1, LADDER_RATE, LADDER_TWO_SCALES, LADDER_SPECTRAL, LADDER_GAUSSIAN,
    LADDER_SPHERE, LADDER_UNIT_SPHERE,
)  # fmt: skip
"""From 2014 to today on the paper's nets, one change at a time, and three other distributions of z."""
KNOBS = (KNOB_BLEND, KNOB_NOISE, KNOB_CLEAR, KNOB_UNIT_SPHERE)
"""What the authors' own code could do beside the paper; k = 2, the saturating cost and Gaussian z are
ablations in `gansrc.recipes`."""
