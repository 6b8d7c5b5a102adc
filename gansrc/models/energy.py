"""A density up to its normaliser. Score matching (Hyvarinen, 2005), denoising score matching (Vincent, 2011)
or noise-contrastive estimation (Gutmann & Hyvarinen, 2010) fits it; a Langevin chain samples it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from gansrc.datasets import Dataset
from gansrc.model import OURS, UNUSED, Sampler, Source, sources
from gansrc.models.base import ChainModel, ChainRecipe, check_points, some_of
from gansrc.streams import drawing_from

LogDensity: TypeAlias = Callable[[Tensor], Tensor]
"""The log of a density, up to a constant: (n, d) to (n,)."""
OBJECTIVES = ("score", "denoising", "nce")


def score(log_density: LogDensity, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The score of a density at the points x, grad_x log p(x): a constant factor of p is not seen."""
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        return torch.autograd.grad(log_density(x).sum(), x, create_graph=True)[0]


def score_matching(log_density: LogDensity, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """What score matching brings down at data x: |score|^2 / 2 + the trace of the Hessian of log p.

    Its mean is, but for a constant, half the mean squared distance between the scores of the model and of the
    data (Hyvarinen, 2005, theorem 1). The trace is exact: one backward pass for each of the d coordinates.
    """
    x = x.detach().requires_grad_()
    psi = score(log_density, x)
    trace = sum(
        torch.autograd.grad(psi[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(x.shape[1])
    )
    return psi.square().sum(1) / 2 + trace


def denoising(
    log_density: LogDensity, x: Float[Tensor, "n d"], noise: Float[Tensor, "n d"], std: float
) -> Float[Tensor, " n"]:
    """What denoising score matching brings down: half the squared error of the score at x + std noise as a
    guess of -noise / std, the way back to x.

    noise: a draw of N(0, I) for each point. Best is the score of the noised data (Vincent, 2011).
    """
    return (score(log_density, x + std * noise) + noise / std).square().sum(1) / 2


def contrast(data: Float[Tensor, " n"], noise: Float[Tensor, " v"], noises: int = 1) -> Float[Tensor, ""]:
    """What noise-contrastive estimation brings up, nats for each point of the data: the log-likelihood of
    telling data from `noises` times as many points of noise (Gutmann & Hyvarinen, 2012).

    data, noise: log(p_model / p_noise) at points of either. D, p_model / (p_model + noises p_noise), is a
    ratio of two densities that are both at hand. For noises = 1 it is V of eq. (1).
    """
    shift = math.log(noises)
    return logsigmoid(data - shift).mean() + noises * logsigmoid(shift - noise).mean()


@dataclass(frozen=True, kw_only=True)
class EnergyRecipe(ChainRecipe):
    """Hyper-parameters of an unnormalised density.

    objective: "score", "denoising" or "nce". hidden: tanh units of each layer. spread: standard deviation
    of the bell that makes the density one that can be integrated; NCE draws its noise from it. noise_std: of
    the noise of denoising. noises: points of noise for one of the data, of NCE. learning_rate: of Adam.
    decay: of that, by epoch. step: length of a step of the chain, the standard deviation of its noise.
    """

    objective: str
    hidden: tuple[int, ...]
    spread: float
    noise_std: float
    noises: int
    learning_rate: float
    decay: float
    step: float

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, got {self.objective!r}")
        for name in ("spread", "noise_std", "noises", "learning_rate", "step", "chains", "thin"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> Energy:
        """The density at its start."""
        return Energy(self, dataset.train, seed, device)


class Energy(ChainModel):
    """p(x) ~ exp(net(x) + c) N(x; 0, spread^2 I): any net will do, as nobody has to integrate it in training.

    c is learnt by NCE alone, where it makes the integral 1; else it stays 0, and the integral is open.
    """

    recipe: EnergyRecipe
    starts: Tensor

    def __init__(
        self, recipe: EnergyRecipe, train: Float[Tensor, "n d"], seed: int, device: torch.device | str
    ) -> None:
        super().__init__(recipe, seed, device)
        init, sizes = torch.Generator().manual_seed(seed), [train.shape[1], *recipe.hidden]
        with drawing_from(init):
            layers: list[nn.Module] = []
            for below, above in itertools.pairwise(sizes):
                layers += [nn.Linear(below, above), nn.Tanh()]
            self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], 1, bias=False), nn.Flatten(0))
        self.c = nn.Parameter(torch.zeros(()))
        self.register_buffer("starts", some_of(train, recipe.chains, init))
        self.to(device)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=recipe.learning_rate)

    def log_noise(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Log-density of the bell, nats."""
        return torch.distributions.Normal(0.0, self.recipe.spread).log_prob(x).sum(1)

    def log_density(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """log p(x), nats; but for a constant where c is not learnt. Raises ValueError for points of another
        space."""
        check_points(x, self.starts.shape[1])
        x = x.to(self.c)
        return self.net(x) + self.c + self.log_noise(x)

    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """A step of Adam on the mean of the objective over a minibatch."""
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * recipe.decay**self.epoch
        if recipe.objective == "score":
            cost = score_matching(self.log_density, x).mean()
        elif recipe.objective == "denoising":
            cost = denoising(self.log_density, x, torch.randn_like(x), recipe.noise_std).mean()
        else:
            noise = recipe.spread * torch.randn_like(x.repeat(recipe.noises, 1))
            on_data, on_noise = (self.log_density(part) - self.log_noise(part) for part in (x, noise))
            cost = -contrast(on_data, on_noise, recipe.noises)
        self.descend(cost)
        return cost

    def slope(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """log p(x) and its score by one pass forward and one back, cut off from the weights."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            log_p = self.log_density(x)
            return log_p.detach(), torch.autograd.grad(log_p.sum(), x)[0]

    def chain(self, n: int) -> Iterator[Float[Tensor, "n d"]]:
        """Langevin's steps, from points of the data: uphill by half the score, and noise; each is taken or
        left by Metropolis' rule, so that where it goes in the end is the model's density itself."""
        step = self.recipe.step

        def way(to: Tensor, start: Tensor, slope: Tensor) -> Tensor:
            """The log-probability of being proposed `to`, but for a constant."""
            return -(to - start - step**2 / 2 * slope).square().sum(1) / (2 * step**2)

        x = self.starts[:n]
        log_p, slope = self.slope(x)
        while True:
            y = x + step**2 / 2 * slope + step * torch.randn_like(x)
            log_p_y, slope_y = self.slope(y)
            gain = log_p_y - log_p + way(x, y, slope_y) - way(y, x, slope)
            taken = torch.rand_like(gain).log() < gain
            x, slope = (torch.where(taken[:, None], *pair) for pair in ((y, x), (slope_y, slope)))
            log_p = torch.where(taken, log_p_y, log_p)
            yield x


SCORE_WINK = EnergyRecipe(
    name="score-wink",
    data="wink",
    epochs=20,
    batch_size=100,
    epoch_updates=300,
    preview=200,
    objective="score",
    hidden=(48, 48),
    spread=2.0,
    noise_std=0.2,
    noises=10,
    learning_rate=0.01,
    decay=0.83,
    chains=1000,
    burn_in=2000,
    thin=50,
    step=0.3,
    sources=sources(
        "ours",
        "name data epochs epoch_updates preview rows_per_epoch batch_size hidden spread learning_rate decay"
        " chains step",
        objective=Source("Hyvarinen (2005)"),
        noise_std=UNUSED,
        noises=UNUSED,
        burn_in=Source("ours", "about the autocorrelation time of the chain"),
        thin=Source("ours", "about the autocorrelation time within a part of the density"),
    ),
)
"""Widths, rates and the chain's step are ours, chosen by the distance of seed 0 to the true density, the same
for all three."""
DENOISING_WINK = dataclasses.replace(
    SCORE_WINK,
    name="denoising-wink",
    objective="denoising",
    sources={**SCORE_WINK.sources, "objective": Source("Vincent (2011)"), "noise_std": OURS},
)
NCE_WINK = dataclasses.replace(
    SCORE_WINK,
    name="nce-wink",
    objective="nce",
    sources={**SCORE_WINK.sources, "objective": Source("Gutmann & Hyvarinen (2010)"), "noises": OURS},
)
