"""The auto-encoder: it learns to squeeze and to restore, and no density."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gansrc.datasets import Dataset
from gansrc.model import Sampler, sources
from gansrc.models.base import WINK_SOURCES, MinibatchModel, MinibatchRecipe, rectifiers
from gansrc.streams import drawing_from


@dataclass(frozen=True, kw_only=True)
class AERecipe(MinibatchRecipe):
    """Hyper-parameters of an auto-encoder.

    hidden: rectifiers of each layer of the encoder and, turned round, of the decoder. z_dim: numbers of a
    code. learning_rate: of Adam.
    """

    hidden: tuple[int, ...]
    z_dim: int
    learning_rate: float

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> Autoencoder:
        """The auto-encoder at its start."""
        return Autoencoder(self, dataset.train.shape[1], seed, device)


class Autoencoder(MinibatchModel):
    """z = h(x) and y = g(z), trained for y near x. What codes are likely it is never asked."""

    recipe: AERecipe

    def __init__(self, recipe: AERecipe, d: int, seed: int, device: torch.device | str) -> None:
        super().__init__(recipe, seed, device)
        with drawing_from(torch.Generator().manual_seed(seed)):
            self.encoder = rectifiers([d, *recipe.hidden, recipe.z_dim])
            self.decoder = rectifiers([recipe.z_dim, *reversed(recipe.hidden), d])
        self.to(device)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=recipe.learning_rate)

    def restored(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """What is left of x after its code: y = g(h(x))."""
        return self.decoder(self.encoder(x))

    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """A step of Adam on the squared error |x - y|², summed over the numbers of x."""
        cost = (x - self.restored(x)).square().sum(1).mean()
        self.descend(cost)
        return cost

    def draw(self, n: int) -> Float[Tensor, "n d"]:
        """Decoded codes from N(0, I): what people try, though nothing in the training knows of N(0, I)."""
        return self.decoder(torch.randn(n, self.recipe.z_dim, device=self.device))


AE_WINK = AERecipe(
    name="ae-wink",
    data="wink",
    epochs=10,
    epoch_updates=500,
    batch_size=100,
    preview=1000,
    hidden=(64, 64),
    z_dim=2,
    learning_rate=1e-3,
    sources=WINK_SOURCES | sources("ours", "batch_size hidden z_dim learning_rate"),
)
