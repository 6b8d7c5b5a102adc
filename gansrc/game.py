"""Algorithm 1: the game between a generator and a discriminator, for any pair of torch modules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gansrc.devices import GraphedUpdate, summing
from gansrc.networks import limit_column_norms_
from gansrc.streams import batch_indices, draw, drawing_from

Cost = Callable[[nn.Module, Tensor], Tensor]
"""A number, nats, from D and a minibatch of rows."""


@dataclass(frozen=True)
class Rules:
    """How the game is played.

    order: "alternating" (Algorithm 1: D moves, then G against the new D) or "simultaneous" (the authors'
    code: one set of samples and of D's dropout masks for both costs, both gradients taken before either net
    moves). k: steps of D in an update. saturating: G descends log(1 - D(G(z))), else it ascends log D(G(z)).
    d_cost: factor on D's cost; the authors' code has 1/2. batch_size: m of Algorithm 1. learning_rate, decay,
    min_learning_rate: after every update the rate is divided by `decay`, down to the floor. momentum: its
    first and last value, linear from epoch 1 to `momentum_epochs`. fresh_masks: G's cost sees masks of its
    own in simultaneous play too. max_column_norm: after every step no unit has a larger norm of the weights
    into it; 0 for no limit. epoch_updates: how many updates count as an epoch; 0 for one pass through the
    data. g_steps: steps of G in an update; more than the one of Algorithm 1 send it ahead of D.
    """

    order: str = "alternating"
    k: int = 1
    saturating: bool = False
    d_cost: float = 1.0
    batch_size: int = 100
    learning_rate: float = 0.1
    decay: float = 1.000004
    min_learning_rate: float = 1e-6
    momentum: tuple[float, float] = (0.5, 0.7)
    momentum_epochs: int = 250
    fresh_masks: bool = False
    max_column_norm: float = 0.0
    epoch_updates: int = 0
    g_steps: int = 1

    def batches_per_epoch(self, n: int) -> int:
        """Minibatches that count as an epoch, with n training examples."""
        return self.epoch_updates * self.k or n // self.batch_size

    def __post_init__(self) -> None:
        if self.order not in ("alternating", "simultaneous"):
            raise ValueError(f"order must be 'alternating' or 'simultaneous', got {self.order!r}")
        if self.order == "simultaneous" and self.k != 1:
            raise ValueError(f"simultaneous updates need k = 1, got k = {self.k}: use order='alternating'")
        if self.order == "simultaneous" and self.g_steps != 1:
            raise ValueError(
                f"simultaneous updates need g_steps = 1, got {self.g_steps}: use order='alternating'"
            )
        for name in ("k", "g_steps", "d_cost", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


def gradient(net: nn.Module, cost: Float[Tensor, ""], retain_graph: bool = False) -> list[Tensor | None]:
    """The gradient of a cost by each of a net's parameters, None for one that is frozen or takes no part."""
    parameters = list(net.parameters())
    moving = [p for p in parameters if p.requires_grad] if cost.requires_grad else []
    if not moving:
        return [None] * len(parameters)
    found = iter(torch.autograd.grad(cost, moving, retain_graph=retain_graph, allow_unused=True))
    return [next(found) if p.requires_grad else None for p in parameters]


def check_alike(x: Tensor, samples: Tensor) -> None:
    """Raise ValueError for samples that have not the shape of data."""
    if samples.shape != x.shape:
        raise ValueError(
            f"G's samples must have the data's shape {tuple(x.shape)}, got {tuple(samples.shape)}: end G in"
            " nn.Unflatten or the like"
        )


def minibatch_value(real: Float[Tensor, "*s m"], fake: Float[Tensor, "*s m"]) -> Float[Tensor, "*s"]:
    """Minibatch estimate of V(D, G), eq. (1), in nats, from D's logits on data and on samples."""
    return logsigmoid(real).mean(-1) + logsigmoid(-fake).mean(-1)  # log D(x) + log(1 - D(G(z)))


def generator_cost(fake: Float[Tensor, "*s m"], saturating: bool) -> Float[Tensor, "*s"]:
    """What G descends, nats: log(1 - D(G(z))) of eq. (1), or section 3's non-saturating -log D(G(z))."""
    return logsigmoid(-fake).mean(-1) if saturating else -logsigmoid(fake).mean(-1)


class Game:
    """A generator and a discriminator at play.

    generator: codes (n, ...) to samples. discriminator: samples to logits (n,). Layers that are frozen, or
    take no part, stay as they are. Layers that mix the examples of a batch (batch normalisation) see data and
    samples together in alternating play. noise: p_z; its
    tensors say on which device codes are drawn. rng: the stream that every draw of the game comes from:
    batches, codes, dropout masks. average: decay, by update, of a running mean of G's weights that is kept
    beside the game, which does not know of it; 0 for none. learning_rate and momentum are tensors: no number
    of the host's is baked into an update, so that a CUDA device can replay it as a graph. There neither net
    nor noise may ask the device for a value.

    Parts in place of the paper's, for alternating play. g_cost: what G descends, from D and G's samples.
    penalty: what D descends beside its cost, from D and the data. optimizers: what moves G and D, by rates of
    their own; with them nothing is replayed as a graph.
    """

    batch_axis = 0
    """The axis of a minibatch's examples."""
    replays = True
    """Whether a CUDA device may replay an update as a graph."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        noise: Distribution,
        rules: Rules,
        rng: torch.Generator,
        average: float = 0.0,
        *,
        g_cost: Cost | None = None,
        penalty: Cost | None = None,
        optimizers: Sequence[torch.optim.Optimizer] = (),
    ) -> None:
        if not 0 <= average < 1:
            raise ValueError(f"average must lie in [0, 1), got {average}")
        if (g_cost or penalty) and rules.order != "alternating":
            raise ValueError(f"costs of one's own need order='alternating', got {rules.order!r}")
        self.generator, self.discriminator, self.noise = generator, discriminator, noise
        self.rules, self.rng, self.updates = rules, rng, 0
        self.g_cost, self.penalty = g_cost, penalty
        nets = generator, discriminator
        self.optimizers = dict(zip(nets, optimizers, strict=True)) if optimizers else {}
        self.velocity = {
            net: [torch.zeros_like(p) for p in net.parameters() if not optimizers] for net in nets
        }
        self.average = [p.detach().clone() for p in generator.parameters()] if average else []
        self.decay, self._update_average = average, get_ema_multi_avg_fn(average)
        weight = next(discriminator.parameters())
        self.learning_rate, self.momentum = weight.new_zeros(()), weight.new_zeros(())
        self.graphed: GraphedUpdate | None = None

    def play(self, data: Float[Tensor, "n *shape"], updates: int) -> dict[str, float]:
        """Play `updates` rounds of Algorithm 1 on `data`; return the means of V, G's cost, D(x) and D(G(z)).

        Interrupted between two calls and continued from the same state, it gives bit for bit what one call
        gives (on a CPU).
        """
        with drawing_from(self.rng):
            return means(self.reports(data, updates))

    def reports(self, data: Float[Tensor, "n *shape"], updates: int) -> Float[Tensor, "*s 4"]:
        """As `play`, by torch's default generator; the means as they lie on the device."""
        rules = self.rules
        if len(data) < rules.batch_size:
            raise ValueError(f"batch_size {rules.batch_size} needs as many examples, got {len(data)}")
        self.generator.train()
        self.discriminator.train()
        indices = self.batch_indices(len(data), data.device)
        replayable = self.replays and data.is_cuda and not self.optimizers
        if replayable and (self.graphed is None or self.graphed.data is not data):
            self.graphed = GraphedUpdate(data, self.streams())
        total = torch.zeros(4, dtype=summing(data.device), device=data.device)
        with torch.cuda.device(data.device if data.is_cuda else -1):
            for _ in range(updates):
                self.set_schedules(rules.batches_per_epoch(len(data)))
                chosen = torch.stack([next(indices) for _ in range(rules.k)])
                report = self.graphed(self.update, chosen) if self.graphed else self.update(data, chosen)
                total = total + report
                self.updates += 1
        return total / max(updates, 1)

    def update(
        self, data: Float[Tensor, "n *shape"], chosen: Int64[Tensor, "k *s m"]
    ) -> Float[Tensor, "*s 4"]:
        """One update by the rules' order, on k minibatches given by their rows of `data`."""
        batches = iter(data[chosen])
        if self.rules.order == "alternating":
            return self.alternating_update(batches)
        return self.simultaneous_update(batches)

    def alternating_update(self, batches: Iterator[Float[Tensor, "*s m d"]]) -> Float[Tensor, "*s 4"]:
        """One iteration of Algorithm 1 as the paper has it, k steps of D and one of G (or `g_steps`)."""
        G, D, rules = self.generator, self.discriminator, self.rules
        for _ in range(rules.k):  # for k steps do
            x = next(batches)  # sample m examples from the data,
            with torch.no_grad():
                samples = G(self.codes())  # m noise samples from the prior;
            real, fake = self.logits(x, samples)
            value = minibatch_value(real, fake)
            extra = self.penalty(D, x) if self.penalty else 0.0
            self.descend(D, -rules.d_cost * value + extra)  # update D by ascending its gradient.
        for _ in range(rules.g_steps):
            samples = G(self.codes())  # Sample m noise samples;
            cost = self.g_cost(D, samples) if self.g_cost else generator_cost(D(samples), rules.saturating)
            self.descend(G, cost)  # update G by descending its gradient.
        return report(value, cost, real, fake)

    def simultaneous_update(self, batches: Iterator[Float[Tensor, "*s m d"]]) -> Float[Tensor, "*s 4"]:
        """One update as the authors' code has it: one set of samples, both nets move at once."""
        G, D, rules = self.generator, self.discriminator, self.rules
        samples = G(self.codes())
        x = next(batches)
        check_alike(x, samples)
        real, fake = self.one_each(x, D(x)), self.one_each(x, D(samples))  # the way to G is samples alone
        value = minibatch_value(real, fake)
        cost = generator_cost(D(samples) if rules.fresh_masks else fake, rules.saturating)
        d_cost = -rules.d_cost * value.sum()
        d_gradient, g_gradient = gradient(D, d_cost, retain_graph=True), gradient(G, cost.sum())
        self.move(D, d_gradient)
        self.move(G, g_gradient)
        return report(value, cost, real, fake)

    def codes(self) -> Float[Tensor, "*s m z"]:
        """A minibatch of noise."""
        return draw(self.noise, self.rules.batch_size)

    def logits(self, x: Float[Tensor, "*s m d"], samples: Tensor) -> tuple[Tensor, Tensor]:
        """What D says of data and of samples, which it sees together. ValueError for nets that do not fit."""
        check_alike(x, samples)
        both = torch.cat([x, samples], self.batch_axis)
        real, fake = self.one_each(both, self.discriminator(both)).chunk(2, -1)
        return real, fake

    def one_each(self, x: Float[Tensor, "*s m d"], logits: Tensor) -> Float[Tensor, "*s m"]:
        """D's logits, as they are. ValueError if they are not one for each example."""
        if logits.shape != x.shape[: self.batch_axis + 1]:
            raise ValueError(
                f"D must give one logit for each example, {tuple(x.shape[: self.batch_axis + 1])}, got"
                f" {tuple(logits.shape)}: end it in nn.Flatten(0)"
            )
        return logits

    def descend(self, net: nn.Module, cost: Float[Tensor, "*s"]) -> None:
        """Move one net down the gradient of a cost; the other net is left alone."""
        self.move(net, gradient(net, cost.sum()))

    @torch.no_grad()
    def move(self, net: nn.Module, gradient: Sequence[Tensor | None]) -> None:
        """Gradient step with momentum, the rate inside the velocity: v <- m v - lr g; theta <- theta + v.

        Or one of the net's optimizer, where it was given one. What has no gradient stays as it is.
        """
        if net in self.optimizers:
            for theta, g in zip(net.parameters(), gradient, strict=True):
                theta.grad = g
            self.optimizers[net].step()
        else:
            for theta, v, g in zip(net.parameters(), self.velocity[net], gradient, strict=True):
                if g is not None:
                    v.mul_(self.momentum).addcmul_(g, self.learning_rate, value=-1)
                    theta.add_(v)
        if self.rules.max_column_norm:
            limit_column_norms_(net, self.rules.max_column_norm)
        if self.average and net is self.generator:
            self._update_average(self.average, list(net.parameters()), None)

    def set_schedules(self, batches_per_epoch: int) -> None:
        """Learning rate (by update) and momentum (by epoch, counted from 0) for the next update."""
        rules = self.rules
        rate = max(rules.learning_rate / rules.decay**self.updates, rules.min_learning_rate)
        epoch = self.updates * rules.k // batches_per_epoch
        ramp = min(max((epoch - 1) / max(rules.momentum_epochs - 1, 1), 0.0), 1.0)
        self.learning_rate.fill_(rate)
        self.momentum.fill_(rules.momentum[0] + (rules.momentum[1] - rules.momentum[0]) * ramp)

    def batch_indices(self, n: int, device: torch.device) -> Iterator[Int64[Tensor, "*s m"]]:
        """The rows of the minibatches to come."""
        start = self.updates * self.rules.k
        return batch_indices(n, self.rules.batch_size, self.rng.initial_seed(), start, device)

    def streams(self) -> list[torch.Generator]:
        """The generators that an update draws from, beside torch's default one."""
        return []

    def averaged(self) -> nn.Module:
        """A generator with the running mean of the weights."""
        net = copy.deepcopy(self.generator)
        for theta, mean in zip(net.parameters(), self.average, strict=True):
            theta.data = mean.clone()
        return net


def means(total: Float[Tensor, "4"]) -> dict[str, float]:
    """A report by name, brought to the host."""
    return dict(zip(("value", "g_cost", "d_real", "d_fake"), total.tolist(), strict=True))


def report(
    value: Float[Tensor, "*s"],
    cost: Float[Tensor, "*s"],
    real: Float[Tensor, "*s m"],
    fake: Float[Tensor, "*s m"],
) -> Float[Tensor, "*s 4"]:
    """V, G's cost (nats), mean D(x) and mean D(G(z)) of an update, kept on the device."""
    with torch.no_grad():
        return torch.stack([value, cost, real.sigmoid().mean(-1), fake.sigmoid().mean(-1)], -1)


@torch.no_grad()
def sample(
    generator: nn.Module, noise: Distribution, n: int, rng: torch.Generator, batch_size: int = 1000
) -> Float[Tensor, "n *shape"]:
    """Draw n samples G(z), z ~ p_z: one forward pass each, no Markov chain."""
    training = generator.training
    generator.eval()
    with drawing_from(rng):
        samples = torch.cat(
            [generator(noise.sample((min(batch_size, n - i),))) for i in range(0, n, batch_size)]
        )
    generator.train(training)
    return samples
