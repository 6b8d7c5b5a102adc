"""What Boltzmann machines are made of: two layers of units with weights between them, all states of a few
units, and the normaliser Z, counted or estimated by annealed importance sampling (Neal, 2001)."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from gansrc.streams import drawing_from

COUNTABLE = 20
"""Units whose states are counted at most: a million."""


class RBM(nn.Module):
    """A restricted Boltzmann machine of binary units, with energy -b v - c h - h W v."""

    def __init__(self, visible: int, hidden: int, std: float, rng: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(std * torch.randn(hidden, visible, generator=rng))
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))

    def up(self, v: Float[Tensor, "n v"], share: float = 1.0) -> Float[Tensor, "n h"]:
        """p(h = 1 | v), with that share of the weights."""
        return linear(share * v, self.weight, self.hidden_bias).sigmoid()

    def down(self, h: Float[Tensor, "n h"], share: float = 1.0) -> Float[Tensor, "n v"]:
        """The mean of v given h, p(v = 1 | h), with that share of the weights."""
        return linear(share * h, self.weight.T, self.visible_bias).sigmoid()

    def drawn(self, mean: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        """Visible units of that mean, by torch's default generator."""
        return mean.bernoulli()

    def free_energy(self, v: Float[Tensor, "n v"]) -> Float[Tensor, " n"]:
        """F(v) with p(v) = exp(-F(v)) / Z, nats: the hidden units summed out."""
        return -v @ self.visible_bias - softplus(linear(v, self.weight, self.hidden_bias)).sum(1)

    def log_conditional(self, v: Float[Tensor, "n v"], h: Float[Tensor, "m h"]) -> Float[Tensor, "n m"]:
        """log p(v | h) of every v under every h, nats."""
        field = linear(h, self.weight.T, self.visible_bias)
        return v @ field.T - softplus(field).sum(1)

    def log_weight(self, h: Float[Tensor, "n h"], share: float = 1.0) -> Float[Tensor, " n"]:
        """log of what h weighs, nats: the visible units summed out, with that share of the weights.

        The sum of exp of it over all h is Z.
        """
        return h @ self.hidden_bias + softplus(linear(share * h, self.weight.T, self.visible_bias)).sum(1)

    def walk(self, h: Float[Tensor, "n h"], share: float = 1.0) -> Float[Tensor, "n h"]:
        """A step of Gibbs sampling, down and up, with that share of the weights."""
        return self.up(self.drawn(self.down(h, share)), share).bernoulli()

    def gradient_(
        self, data: Float[Tensor, "n v"], model: Float[Tensor, "m v"], model_h: Float[Tensor, "m h"]
    ) -> None:
        """Set the gradients that descend on -log p, nats: statistics under the model less those of the data.

        model, model_h: states of the visible units as the model draws them, and p(h = 1) for each.
        """
        self.contrast_(data, self.up(data), model, model_h)

    @torch.no_grad()
    def contrast_(
        self,
        data: Float[Tensor, "n v"],
        data_h: Float[Tensor, "n h"],
        model: Float[Tensor, "m v"],
        model_h: Float[Tensor, "m h"],
    ) -> None:
        """Set the gradients to statistics of states under the model less those with the data."""
        self.weight.grad = model_h.T @ model / len(model) - data_h.T @ data / len(data)
        self.visible_bias.grad = model.mean(0) - data.mean(0)
        self.hidden_bias.grad = model_h.mean(0) - data_h.mean(0)


class GaussianRBM(RBM):
    """One whose visible units are numbers: given h a bell of width 1 about b + W' h in each direction.

    Its energy is |v - b|^2 / 2 - c h - h W v, so p(v) is a mixture of such bells, one for each h.
    """

    def down(self, h: Float[Tensor, "n h"], share: float = 1.0) -> Float[Tensor, "n v"]:
        """The mean of v given h, with that share of the weights."""
        return linear(share * h, self.weight.T, self.visible_bias)

    def drawn(self, mean: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        """Visible units of that mean, by torch's default generator."""
        return mean + torch.randn_like(mean)

    def free_energy(self, v: Float[Tensor, "n v"]) -> Float[Tensor, " n"]:
        """F(v) with p(v) = exp(-F(v)) / Z, nats: the hidden units summed out."""
        bell = (v - self.visible_bias).square().sum(1) / 2
        return bell - softplus(linear(v, self.weight, self.hidden_bias)).sum(1)

    def log_conditional(self, v: Float[Tensor, "n v"], h: Float[Tensor, "m h"]) -> Float[Tensor, "n m"]:
        """log p(v | h) of every v under every h, nats."""
        mean, size = self.down(h), v.shape[1] * math.log(2 * math.pi)
        shared = torch.addmm(-(mean.square().sum(1) + size) / 2, v, mean.T)
        return shared.sub_(v.square().sum(1, keepdim=True) / 2)

    def log_weight(self, h: Float[Tensor, "n h"], share: float = 1.0) -> Float[Tensor, " n"]:
        """log of what h weighs, nats: the visible units integrated out, with that share of the weights."""
        pull = share * linear(h, self.weight.T)
        size = len(self.visible_bias) * math.log(2 * math.pi) / 2
        return h @ self.hidden_bias + pull @ self.visible_bias + pull.square().sum(1) / 2 + size


def bottom_layer(
    train: Float[Tensor, "n v"], hidden: int, std: float, width: float, rng: torch.Generator
) -> RBM:
    """The layer that the data enter, its visible biases at their means; for points if there is a width."""
    rbm = (GaussianRBM if width else RBM)(train.shape[1], hidden, std, rng)
    mean = train.mean(0)
    with torch.no_grad():
        rbm.visible_bias.copy_(mean / width if width else mean.clamp(0.01, 0.99).logit())
    return rbm


def in_widths(x: Float[Tensor, "n v"], width: float) -> Float[Tensor, "n v"]:
    """Points in widths of the bells about them; images, of width 0, as they are."""
    return x / width if width else x


@runtime_checkable
class Machine(Protocol):
    """What has a Z: an RBM, or a deeper machine, seen from one layer of hidden units."""

    @property
    def hidden_bias(self) -> Tensor:
        """The biases of that layer."""

    def log_weight(self, h: Float[Tensor, "n h"], share: float = 1.0) -> Float[Tensor, " n"]:
        """log of what h weighs, all other units summed out, with that share of the weights."""

    def walk(self, h: Float[Tensor, "n h"], share: float = 1.0) -> Float[Tensor, "n h"]:
        """A step of Gibbs sampling, with that share of the weights."""


def states(units: int, like: Tensor) -> Float[Tensor, "states units"]:
    """All states of so many binary units. Raises ValueError where they are too many to be counted."""
    if units > COUNTABLE:
        raise ValueError(
            f"{units} units have 2^{units} states: at most {COUNTABLE} are counted, estimate by annealing"
        )
    bits = torch.arange(2**units, device=like.device)[:, None] >> torch.arange(units, device=like.device)
    return (bits & 1).to(like.dtype)


@torch.no_grad()
def log_z(machine: Machine) -> float:
    """log Z, nats, by counting all states of one layer."""
    every = states(len(machine.hidden_bias), machine.hidden_bias)
    return torch.cat([machine.log_weight(part) for part in every.split(2**14)]).logsumexp(0).item()


def mixed(
    layer: RBM, v: Float[Tensor, "n v"], h: Float[Tensor, "m h"], log_p: Float[Tensor, " m"]
) -> Float[Tensor, " n"]:
    """log p(v), nats, where the states h have probabilities exp(log_p)."""
    parts = [(layer.log_conditional(part, h) + log_p).logsumexp(1) for part in v.split(2**18 // len(h) + 1)]
    return torch.cat(parts)


@torch.no_grad()
def annealed(machine: Machine, turns: int, chains: int, rng: torch.Generator) -> Float[Tensor, " chains"]:
    """log of what each chain collects on its way from no weights to all, nats: exp of it has the mean Z.

    At every turn the share of the weights grows by 1 / turns, and a chain collects by how much its state
    weighs more now; then it takes a Gibbs step. Raises ValueError without turns or chains.
    """
    if turns < 1 or chains < 1:
        raise ValueError(f"annealing needs a turn and a chain, got {turns} and {chains}: give at least 1")
    bias = machine.hidden_bias
    nothing = machine.log_weight(torch.zeros_like(bias)[None], 0.0)
    collected = (nothing + softplus(bias).sum()).double().expand(chains)  # log Z without weights
    with drawing_from(rng):
        h = bias.sigmoid().expand(chains, -1).bernoulli()
        for turn in range(1, turns + 1):
            gain = machine.log_weight(h, turn / turns) - machine.log_weight(h, (turn - 1) / turns)
            collected = collected + gain
            h = machine.walk(h, turn / turns)
    return collected


def log_mean_exp(
    logs: Float[Tensor, "*batch chains"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """log of the mean of exp(logs), and its standard error by the delta method, over the last axis.

    Raises ValueError for fewer than two chains, of which no error can be told.
    """
    n = logs.shape[-1]
    if n < 2:
        raise ValueError(f"an error is told by two chains or more, got {n}: run more")
    mean = logs.logsumexp(-1) - math.log(n)
    return mean, (logs - mean[..., None]).exp().std(-1) / math.sqrt(n)
