"""Densities of many narrow modes in the plane, and what samples cover of them: Helvetica, measured.

The ring of 8 and the grid of 25, and the counts of samples in each mode, after Srivastava et al. (2017) and
Lin et al. (2018); many pairs of nets at play on them at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.distributions import Normal

from gansrc import theory
from gansrc.game import Game, Rules
from gansrc.networks import discriminator, generator
from gansrc.seeds import stack
from gansrc.streams import draw, drawing_from


@dataclass(frozen=True)
class Modes:
    """Bells N(mean, sigma^2 I) of equal weight. Raises ValueError where two of them are one."""

    means: Float[Tensor, "modes 2"]
    sigma: float

    def __post_init__(self) -> None:
        distances = torch.cdist(self.means, self.means).fill_diagonal_(math.inf)
        if distances.min() <= 6 * self.sigma:
            raise ValueError(
                f"modes must be apart by more than 6 sigma, got two at {distances.min():.3g} with sigma"
                f" {self.sigma}: give distinct means"
            )

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "n 2"]:
        """n points."""
        chosen = torch.randint(len(self.means), (n,), generator=rng)
        return self.means[chosen] + self.sigma * torch.randn(n, 2, generator=rng)

    def counts(self, samples: Float[Tensor, "n 2"]) -> Int64[Tensor, " modes"]:
        """How many samples are of high quality, within 3 sigma of a mean, by mode.

        Raises ValueError for samples of another shape, or nan.
        """
        if samples.dim() != 2 or samples.shape[1] != 2 or samples.isnan().any():
            raise ValueError(f"samples must be numbers of shape (n, 2), got {tuple(samples.shape)}, or nan")
        distance, mode = torch.cdist(samples, self.means).min(1)
        return torch.bincount(mode[distance <= 3 * self.sigma], minlength=len(self.means))


def ring(n: int = 8) -> Modes:
    """The ring: n modes at equal angles on the unit circle, sigma .01.

    The last angle is 2 pi (n - 1) / n: with 2 pi itself it would be the first one again.
    """
    angle = torch.arange(n) * (2 * math.pi / n)
    return Modes(torch.stack([angle.cos(), angle.sin()], 1), 0.01)


def grid() -> Modes:
    """The grid: 25 modes at {-4, -2, 0, 2, 4}^2, sigma .05."""
    line = torch.arange(-4.0, 5.0, 2.0)
    return Modes(torch.cartesian_prod(line, line), 0.05)


def covered(counts: Int64[Tensor, "*s modes"]) -> Int64[Tensor, "*s"]:
    """Modes with at least one sample of high quality."""
    return (counts > 0).sum(-1)


def reverse_kl(counts: Int64[Tensor, " modes"]) -> float:
    """KL(q || uniform), nats, for the shares q of the samples of high quality by mode; infinite if there are
    none.

    It is 0 where all n modes get as many, log n where one gets all.
    """
    if counts.sum() == 0:
        return math.inf
    share = counts.double() / counts.sum()
    return theory.kl(share, torch.full_like(share, 1 / len(share))).item()


class Crowd(Game):
    """Pairs of small nets, side by side, each at the game of Algorithm 1 on its own minibatches.

    rates: Adam's step for G and for D; without, both move as the rules say, by momentum. The nets have two
    hidden layers of rectifiers, codes are z ~ N(0, I) in the plane; pair s starts from weights of seed s.
    """

    batch_axis = 1

    def __init__(
        self,
        pairs: int,
        rules: Rules,
        width: int = 64,
        rates: tuple[float, float] | None = None,
        seed: int = 0,
    ) -> None:
        inits = [torch.Generator().manual_seed(s) for s in range(pairs)]
        hidden, reach = (width, width), math.sqrt(3 / width)  # so that a sum of `width` inputs keeps its size
        self.pairs = pairs
        self.adams: dict[nn.Module, torch.optim.Adam] = {}
        super().__init__(
            stack([generator(2, hidden, 2, reach, rng, output="linear") for rng in inits], []),
            stack([discriminator(2, hidden, 1, 1.0, 1.0, reach, rng) for rng in inits], []),
            Normal(torch.zeros(2), torch.ones(2), validate_args=False), rules,
            torch.Generator().manual_seed(seed),
        )  # fmt: skip
        for net, rate in zip((self.generator, self.discriminator), rates or (), strict=False):
            self.adams[net] = torch.optim.Adam(net.parameters(), rate, (0.5, 0.999))

    def codes(self) -> Float[Tensor, "s m 2"]:
        """A minibatch of noise for each pair."""
        return draw(self.noise, self.pairs * self.rules.batch_size).unflatten(0, (self.pairs, -1))

    def batch_indices(self, n: int, device: torch.device) -> Iterator[Int64[Tensor, "s m"]]:
        """The rows of each pair's minibatches to come, drawn anew each time."""
        while True:
            yield torch.randint(n, (self.pairs, self.rules.batch_size))

    def move(self, net: nn.Module, gradient: Sequence[Tensor | None]) -> None:
        """A step of the net's Adam, or, without one, with momentum."""
        if net not in self.adams:
            super().move(net, gradient)
            return
        for theta, g in zip(net.parameters(), gradient, strict=True):
            theta.grad = g
        self.adams[net].step()

    def on(self, data: Float[Tensor, "n 2"], updates: int) -> None:
        """Play so many updates. Nothing is reported: D(x) would be a mean over pairs."""
        with drawing_from(self.rng):
            self.reports(data, updates)

    @torch.no_grad()
    def samples(self, n: int) -> Float[Tensor, "s n 2"]:
        """n samples of each G; the stream of the game is left alone."""
        rng = torch.Generator().manual_seed(n)
        return self.generator(draw(self.noise, self.pairs * n, rng).unflatten(0, (self.pairs, n)))
