"""Ways to coordinate G and D: what the authors' own code could do beside Algorithm 1, and what came later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.utils.parametrizations import spectral_norm

from gansrc.game import Cost, Game, generator_cost
from gansrc.gan import GANRecipe
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
