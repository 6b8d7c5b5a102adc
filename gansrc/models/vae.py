"""The variational auto-encoder (Kingma & Welling, 2014)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from gansrc.datasets import Dataset
from gansrc.model import OURS, UNUSED, Sampler, Source, sources
from gansrc.models.base import (
    MNIST_SOURCES,
    WINK_SOURCES,
    MinibatchModel,
    MinibatchRecipe,
    check_points,
    from_bell,
    log_bell,
    on_faces,
    rectifiers,
)
from gansrc.streams import drawing_from

CODES, REACH = 50_000, 5.0
"""The grid over which p(x) is summed up: so many codes, from -REACH to REACH in each direction."""


@dataclass(frozen=True, kw_only=True)
class VAERecipe(MinibatchRecipe):
    """Hyper-parameters of a variational auto-encoder (Kingma & Welling, 2014).

    hidden: rectifiers of each layer of the encoder and, turned round, of the decoder. z_dim: numbers of a
    code. learning_rate: of Adam. gaussian: whether x are real numbers, each from a bell whose mean and
    variance the decoder gives, and no pixels.
    """

    hidden: tuple[int, ...]
    z_dim: int
    learning_rate: float
    gaussian: bool = False

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> VariationalAutoencoder:
        """The auto-encoder at its start."""
        return VariationalAutoencoder(self, dataset.train.shape[1], seed, device)


class VariationalAutoencoder(MinibatchModel):
    """z ~ N(0, I); p(x | z): a pixel is on with the probability that the decoder gives it. Of real numbers:
    each is Gaussian, its mean and the log of its variance are the decoder's."""

    recipe: VAERecipe

    def __init__(self, recipe: VAERecipe, d: int, seed: int, device: torch.device | str) -> None:
        super().__init__(recipe, seed, device)
        with drawing_from(torch.Generator().manual_seed(seed)):
            self.encoder = rectifiers([d, *recipe.hidden, 2 * recipe.z_dim])
            numbers = 2 * d if recipe.gaussian else d
            self.decoder = rectifiers([recipe.z_dim, *reversed(recipe.hidden), numbers])
        self.to(device)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=recipe.learning_rate)

    def bound(self, x: Float[Tensor, "m d"], noise: Float[Tensor, "m z"]) -> Float[Tensor, " m"]:
        """The evidence lower bound of log p(x), nats, at z = mean + std noise: reconstruction less KL.

        noise: a draw of N(0, I) for each image (Kingma & Welling, 2014, eq. 10; pixels are on or off).
        """
        mean, log_variance = self.encoder(x).chunk(2, 1)
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return self.log_given(x, mean + (log_variance / 2).exp() * noise) - kl

    def log_given(self, x: Float[Tensor, "m d"], z: Float[Tensor, "m z"]) -> Float[Tensor, " m"]:
        """log p(x | z), nats, of each image and its code."""
        if not self.recipe.gaussian:
            return -binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none").sum(1)
        return log_bell(x, self.decoder(z)).sum(1)

    @torch.no_grad()
    def log_density(self, x: Float[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        """log p(x), nats, of points in the plane: the integral of N(z; 0, I) p(x | z) over all codes.

        By a grid of some CODES codes within REACH of 0. Given a code the two coordinates are independent, so
        all pairs of a horizontal and a vertical one come at once, as a product of two matrices. Raises
        ValueError for pixels, and for codes of more than two numbers.
        """
        if not self.recipe.gaussian or self.recipe.z_dim > 2:
            raise ValueError(
                f"the integral is taken over one or two numbers, of points, got z_dim {self.recipe.z_dim}"
                f" and gaussian {self.recipe.gaussian}: take the bound"
            )
        check_points(x, 2)
        sides = [numbers.double().unique(return_inverse=True) for numbers in x.T]
        if len(sides[0][0]) * len(sides[1][0]) > 100 * len(x):  # no grid: few pairs of the table are wanted
            return torch.cat([self.log_density(part) for part in x.split(100)])
        each = round(CODES ** (1 / self.recipe.z_dim))
        line = (torch.arange(each, dtype=torch.float64) + 0.5) * (2 * REACH / each) - REACH
        z = torch.cartesian_prod(*[line] * self.recipe.z_dim).reshape(-1, self.recipe.z_dim)
        weight = (-z.square().sum(1) / 2).softmax(0)
        bells = self.decoder(z.to(next(self.parameters()).dtype)).double()
        mean, log_variance = bells.chunk(2, 1)
        total = torch.zeros(len(sides[0][0]), len(sides[1][0]), dtype=torch.float64)
        for w, m, v in zip(*(part.split(4096) for part in (weight, mean, log_variance)), strict=True):
            across, up = (
                (-((numbers[:, None] - m[:, i]).square() / v[:, i].exp() + v[:, i]) / 2).exp()
                for i, (numbers, _) in enumerate(sides)
            )
            total += across * w @ up.T
        return (total / (2 * math.pi)).log()[sides[0][1], sides[1][1]]

    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """A step of Adam on the negative bound, nats an image."""
        noise = torch.randn(len(x), self.recipe.z_dim, device=x.device)
        cost = -self.bound(x, noise).mean()
        self.descend(cost)
        return cost

    def draw(self, n: int) -> Float[Tensor, "n d"]:
        """Decoded codes from the prior: probabilities of pixels; of real numbers, draws."""
        decoded = self.decoder(torch.randn(n, self.recipe.z_dim, device=self.device))
        return from_bell(decoded) if self.recipe.gaussian else decoded.sigmoid()


EVAE = Source("Yeung et al. (2017)", "of whose grid of VAEs this one scores best")

VAE_MNIST = VAERecipe(
    name="vae-mnist",
    data="mnist",
    epochs=200,
    batch_size=100,
    hidden=(500, 500, 500),
    z_dim=8,
    learning_rate=1e-3,
    sources=MNIST_SOURCES
    | dict.fromkeys(("epochs", "hidden", "z_dim", "learning_rate"), EVAE)
    | {"batch_size": OURS, "gaussian": UNUSED},
)

VAE_FACES = on_faces(VAE_MNIST, EVAE, "epochs z_dim hidden learning_rate", epochs=250, z_dim=15)

VAE_WINK = VAERecipe(
    name="vae-wink",
    data="wink",
    epochs=40,
    epoch_updates=500,
    batch_size=100,
    preview=1000,
    hidden=(64, 64),
    z_dim=2,
    learning_rate=1e-3,
    gaussian=True,
    sources=WINK_SOURCES
    | sources(
        "ours",
        "batch_size hidden z_dim learning_rate",
        gaussian=Source("Kingma & Welling (2014)", "appendix C.2"),
    ),
)
