"""A small denoising diffusion model (Ho et al., 2020), the younger kin of Sohl-Dickstein et al. (2015)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from gansrc.datasets import Dataset
from gansrc.model import OURS, Sampler, Source, sources
from gansrc.models.base import MNIST_SOURCES, MinibatchModel, MinibatchRecipe, on_faces
from gansrc.streams import drawing_from


@dataclass(frozen=True, kw_only=True)
class DiffusionRecipe(MinibatchRecipe):
    """Hyper-parameters of a denoising diffusion model (Ho et al., 2020) on a fully connected net.

    hidden: units of each block. blocks: how many. steps: of the diffusion. betas: variance of the noise of
    the first and of the last step, linear between them. learning_rate: of Adam. average: decay, by update, of
    the running mean of the weights that draws samples.
    """

    hidden: int
    blocks: int
    steps: int
    betas: tuple[float, float]
    learning_rate: float
    average: float

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> DenoisingDiffusion:
        """The model at its start."""
        return DenoisingDiffusion(self, dataset.train.shape[1], seed, device)

    def passes_per_sample(self, n: int) -> float:
        """The steps of the way back."""
        return self.steps


class Denoiser(nn.Module):
    """Says which image is in a noisy one: blocks of two affine layers, each told the step."""

    def __init__(self, d: int, hidden: int, blocks: int, steps: int) -> None:
        super().__init__()
        self.steps, self.hidden = steps, hidden
        self.into, self.out = nn.Linear(d, hidden), nn.Linear(hidden, d)
        self.time = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(blocks))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
            )
            for _ in range(blocks)
        )

    def forward(self, x: Float[Tensor, "n d"], step: Int64[Tensor, " m"]) -> Float[Tensor, "n d"]:
        """x0_hat, the images in [-1, 1] without noise; step: from 0, one for each, or m = 1 for all."""
        frequencies = torch.exp(torch.linspace(0, -math.log(10_000), self.hidden // 2, device=x.device))
        phase = 1000 / self.steps * step[:, None] * frequencies
        when = torch.cat([phase.sin(), phase.cos()], 1)
        h = self.into(x)
        for time, block in zip(self.time, self.blocks, strict=True):
            h = h + block(h + time(when))
        return self.out(h)


class DenoisingDiffusion(MinibatchModel):
    """Noise is added to an image step by step until nothing else is left; a net learns the way back."""

    recipe: DiffusionRecipe
    beta: Tensor
    alpha_bar: Tensor

    def __init__(self, recipe: DiffusionRecipe, d: int, seed: int, device: torch.device | str) -> None:
        super().__init__(recipe, seed, device)
        with drawing_from(torch.Generator().manual_seed(seed)):
            self.net = Denoiser(d, recipe.hidden, recipe.blocks, recipe.steps)
        self.mean = torch.optim.swa_utils.AveragedModel(
            self.net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.average)
        )
        self.d, beta = d, torch.linspace(*recipe.betas, recipe.steps)
        self.register_buffer("beta", beta, persistent=False)
        self.register_buffer("alpha_bar", (1 - beta).cumprod(0), persistent=False)
        self.to(device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=recipe.learning_rate)

    def q_sample(
        self, x: Float[Tensor, "n d"], step: Int64[Tensor, " n"], noise: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n d"]:
        """A draw of q(x_t | x_0) at t = `step`: the noise of the steps 0 to t at once (Ho et al., eq. 4).

        x: images in [-1, 1]; noise: a draw of N(0, I) for each.
        """
        alpha_bar = self.alpha_bar[step][:, None]
        return alpha_bar.sqrt() * x + (1 - alpha_bar).sqrt() * noise

    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """A step of Adam on the squared error of x0_hat in [-1, 1], the mean over pixels.

        To guess the noise, as Ho et al. do, comes to the same up to a weight for each step; but noise has as
        many dimensions as an image has pixels, and a net with a bottleneck cannot pass it on.
        """
        step, x = torch.randint(self.recipe.steps, (len(x),), device=x.device), 2 * x - 1
        cost = (self.net(self.q_sample(x, step, torch.randn_like(x)), step) - x).square().mean()
        self.descend(cost)
        self.mean.update_parameters(self.net)
        return cost

    def draw(self, n: int) -> Float[Tensor, "n d"]:
        """From noise to images, a thousand at a time (Ho et al., algorithm 2); cut to [0, 1] in the end."""
        counts = [min(1000, n - i) for i in range(0, n, 1000)]
        parts = [self.reverse(torch.randn(count, self.d, device=self.device)) for count in counts]
        return ((torch.cat(parts) + 1) / 2).clamp(0, 1)

    def reverse(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """All steps back from pure noise; the last one is x0_hat itself."""

        def x0_hat(t: int) -> Float[Tensor, "n d"]:
            return self.mean(x, torch.full((1,), t, device=x.device)).clamp(-1, 1)

        for t in reversed(range(1, self.recipe.steps)):
            beta, alpha_bar, before = self.beta[t], self.alpha_bar[t], self.alpha_bar[t - 1]
            x = before.sqrt() * beta * x0_hat(t) + (1 - beta).sqrt() * (1 - before) * x  # Ho et al., eq. 7
            x = x / (1 - alpha_bar) + ((1 - before) / (1 - alpha_bar) * beta).sqrt() * torch.randn_like(x)
        return x0_hat(0)


DDPM = "Ho et al. (2020)"

DIFFUSION_MNIST = DiffusionRecipe(
    name="diffusion-mnist",
    data="mnist",
    epochs=100,
    batch_size=128,
    preview=500,
    hidden=1000,
    blocks=3,
    steps=250,
    betas=(4e-4, 0.08),
    learning_rate=2e-4,
    average=0.999,
    sources=MNIST_SOURCES
    | sources(
        DDPM,
        "batch_size learning_rate",
        betas=Source(DDPM, "times 4 for a quarter of the steps"),
        hidden=OURS,
        blocks=OURS,
        steps=OURS,
        average=OURS,
    ),
)

DIFFUSION_FACES = on_faces(DIFFUSION_MNIST, OURS, epoch_updates=390)
