"""The variational auto-encoder (Kingma & Welling, 2014)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from gansrc.datasets import Dataset
from gansrc.model import OURS, Sampler, Source
from gansrc.models.base import MNIST_SOURCES, MinibatchModel, MinibatchRecipe, on_faces
from gansrc.streams import drawing_from


@dataclass(frozen=True, kw_only=True)
class VAERecipe(MinibatchRecipe):
    """Hyper-parameters of a variational auto-encoder (Kingma & Welling, 2014).

    hidden: rectifiers of each layer of the encoder and, turned round, of the decoder. z_dim: numbers of a
    code. learning_rate: of Adam.
    """

    hidden: tuple[int, ...]
    z_dim: int
    learning_rate: float

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> VariationalAutoencoder:
        """The auto-encoder at its start."""
        return VariationalAutoencoder(self, dataset.train.shape[1], seed, device)


class VariationalAutoencoder(MinibatchModel):
    """z ~ N(0, I); p(x | z): a pixel is on with the probability that the decoder gives it."""

    recipe: VAERecipe

    def __init__(self, recipe: VAERecipe, d: int, seed: int, device: torch.device | str) -> None:
        super().__init__(recipe, seed, device)
        with drawing_from(torch.Generator().manual_seed(seed)):
            self.encoder = rectifiers([d, *recipe.hidden, 2 * recipe.z_dim])
            self.decoder = rectifiers([recipe.z_dim, *reversed(recipe.hidden), d])
        self.to(device)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=recipe.learning_rate)

    def bound(self, x: Float[Tensor, "m d"], noise: Float[Tensor, "m z"]) -> Float[Tensor, " m"]:
        """The evidence lower bound of log p(x), nats, at z = mean + std noise: reconstruction less KL.

        noise: a draw of N(0, I) for each image (Kingma & Welling, 2014, eq. 10; pixels are on or off).
        """
        mean, log_variance = self.encoder(x).chunk(2, 1)
        logits = self.decoder(mean + (log_variance / 2).exp() * noise)
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return -binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1) - kl

    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """A step of Adam on the negative bound, nats an image."""
        noise = torch.randn(len(x), self.recipe.z_dim, device=x.device)
        cost = -self.bound(x, noise).mean()
        self.descend(cost)
        return cost

    def draw(self, n: int) -> Float[Tensor, "n d"]:
        """Decoded codes from the prior: probabilities of pixels."""
        return self.decoder(torch.randn(n, self.recipe.z_dim, device=self.device)).sigmoid()


def rectifiers(sizes: list[int]) -> nn.Sequential:
    """Affine layers, from `sizes[0]` numbers to `sizes[-1]`, with rectifiers between them."""
    layers: list[nn.Module] = []
    for below, above in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(below, above), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


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
    | {"batch_size": OURS},
)

VAE_FACES = on_faces(VAE_MNIST, EVAE, "epochs z_dim hidden learning_rate", epochs=250, z_dim=15)
