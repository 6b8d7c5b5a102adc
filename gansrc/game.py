"""Algorithm 1: the game between a generator and a discriminator, for any pair of torch modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid


@dataclass(frozen=True)
class Rules:
    """How the game is played.

    order: "alternating" (Algorithm 1: D moves, then G against the new D) or "simultaneous" (the authors'
    code: one
        forward pass, both gradients taken before either net moves, D's dropout masks shared).
    k: steps of D for one of G. saturating: G descends log(1 - D(G(z))), else it ascends log D(G(z)).
    d_cost: factor on D's cost; the authors' code has 1/2.
    batch_size: m of Algorithm 1. learning_rate, decay, min_learning_rate: after every update the rate is
    divided by
        `decay`, down to the floor. momentum: its first and last value, linear from epoch 1 to
        `momentum_epochs`.
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

    def __post_init__(self) -> None:
        if self.order not in ("alternating", "simultaneous"):
            raise ValueError(f"order must be 'alternating' or 'simultaneous', got {self.order!r}")
        if self.order == "simultaneous" and self.k != 1:
            raise ValueError(f"simultaneous updates need k = 1, got k = {self.k}: use order='alternating'")
        for name in ("k", "d_cost", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


def minibatch_value(real: Float[Tensor, " m"], fake: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """Minibatch estimate of V(D, G), eq. (1), in nats, from D's logits on data and on samples."""
    return logsigmoid(real).mean() + logsigmoid(-fake).mean()  # log D(x) + log(1 - D(G(z)))


def generator_cost(fake: Float[Tensor, " m"], saturating: bool) -> Float[Tensor, ""]:
    """What G descends, nats: log(1 - D(G(z))) of eq. (1), or section 3's non-saturating -log D(G(z))."""
    return logsigmoid(-fake).mean() if saturating else -logsigmoid(fake).mean()


class Game:
    """A generator and a discriminator at play.

    generator: codes (n, ...) to samples. discriminator: samples to logits (n,). Layers that mix the examples
    of a batch (batch normalisation) see data and samples together. noise: p_z; its tensors say on which
    device codes are drawn. rng: the stream that every draw of the game comes from: batches, codes, dropout
    masks.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        noise: Distribution,
        rules: Rules,
        rng: torch.Generator,
    ) -> None:
        self.generator, self.discriminator, self.noise = generator, discriminator, noise
        self.rules, self.rng, self.updates = rules, rng, 0
        self.velocity = {
            net: [torch.zeros_like(p) for p in net.parameters()] for net in (generator, discriminator)
        }

    def play(self, data: Float[Tensor, "n *shape"], updates: int) -> dict[str, float]:
        """Play `updates` rounds of Algorithm 1 on `data`; return the means of V, G's cost, D(x) and D(G(z)).

        Interrupted between two calls and continued from the same state, it gives bit for bit what one call
        gives.
        """
        if len(data) < self.rules.batch_size:
            raise ValueError(f"batch_size {self.rules.batch_size} needs as many examples, got {len(data)}")
        self.generator.train(), self.discriminator.train()
        total = torch.zeros(4, device=data.device)
        batches = minibatches(
            data, self.rules.batch_size, self.rng.initial_seed(), self.updates * self.rules.k
        )
        step = self.alternating_update if self.rules.order == "alternating" else self.simultaneous_update
        with drawing_from(self.rng):
            for _ in range(updates):
                self.set_schedules(len(data) // self.rules.batch_size)
                total += step(batches)
                self.updates += 1
        return dict(
            zip(("value", "g_cost", "d_real", "d_fake"), (total / max(updates, 1)).tolist(), strict=True)
        )

    def alternating_update(self, batches: Iterator[Float[Tensor, "m *shape"]]) -> Float[Tensor, "4"]:
        """One iteration of Algorithm 1 as the paper has it, k steps of D and one of G."""
        G, D, rules = self.generator, self.discriminator, self.rules
        for _ in range(rules.k):  # for k steps do
            x = next(batches)  # sample m examples from the data,
            with torch.no_grad():
                samples = G(self.noise.sample((len(x),)))  # m noise samples from the prior;
            real, fake = D(torch.cat([x, samples])).split(len(x))
            value = minibatch_value(real, fake)
            self.descend(D, -rules.d_cost * value)  # update D by ascending its gradient.
        z = self.noise.sample((rules.batch_size,))  # Sample m noise samples;
        fake_for_g = D(G(z))
        cost = generator_cost(fake_for_g, rules.saturating)
        self.descend(G, cost)  # update G by descending its gradient.
        return report(value, cost, real, fake)

    def simultaneous_update(self, batches: Iterator[Float[Tensor, "m *shape"]]) -> Float[Tensor, "4"]:
        """One update as the authors' code has it: one set of samples and masks, both nets move at once."""
        G, D, rules = self.generator, self.discriminator, self.rules
        x = next(batches)
        samples = G(self.noise.sample((len(x),)))
        real, fake = D(torch.cat([x, samples])).split(len(x))
        value = minibatch_value(real, fake)
        cost = generator_cost(fake, rules.saturating)
        d_gradient = torch.autograd.grad(-rules.d_cost * value, list(D.parameters()), retain_graph=True)
        g_gradient = torch.autograd.grad(cost, list(G.parameters()))
        self.move(D, d_gradient)
        self.move(G, g_gradient)
        return report(value, cost, real, fake)

    def descend(self, net: nn.Module, cost: Float[Tensor, ""]) -> None:
        """Move one net down the gradient of a cost; the other net is left alone."""
        self.move(net, torch.autograd.grad(cost, list(net.parameters())))

    @torch.no_grad()
    def move(self, net: nn.Module, gradient: tuple[Tensor, ...]) -> None:
        """Gradient step with momentum, the rate inside the velocity: v <- m v - lr g; theta <- theta + v."""
        for theta, v, g in zip(net.parameters(), self.velocity[net], gradient, strict=True):
            v.mul_(self.momentum).add_(g, alpha=-self.learning_rate)
            theta.add_(v)

    def set_schedules(self, batches_per_epoch: int) -> None:
        """Learning rate (by update) and momentum (by epoch, counted from 0) for the next update."""
        rules = self.rules
        self.learning_rate = max(rules.learning_rate / rules.decay**self.updates, rules.min_learning_rate)
        epoch = self.updates * rules.k // batches_per_epoch
        ramp = min(max((epoch - 1) / max(rules.momentum_epochs - 1, 1), 0.0), 1.0)
        self.momentum = rules.momentum[0] + (rules.momentum[1] - rules.momentum[0]) * ramp

    def state(self) -> dict[str, Tensor]:
        """What the next update depends on beside the count of updates: weights, velocities, random stream."""
        state = {"rng": self.rng.get_state()}
        for name, net in (("generator", self.generator), ("discriminator", self.discriminator)):
            state |= {f"{name}.{key}": tensor for key, tensor in net.state_dict().items()}
            state |= {f"velocity.{name}.{i}": v for i, v in enumerate(self.velocity[net])}
        return state

    @torch.no_grad()
    def load_state(self, state: dict[str, Tensor], updates: int) -> None:
        """Continue from `state()` as taken after `updates` updates; ValueError if it is of other networks."""
        own = self.state()
        wrong = sorted(own.keys() ^ state.keys()) or [k for k in own if own[k].shape != state[k].shape]
        if wrong:
            raise ValueError(
                f"the saved state does not fit these networks: {wrong[0]!r} is missing, unknown or misshapen"
            )
        for key, tensor in own.items():
            tensor.copy_(state[key])
        self.rng.set_state(state["rng"])
        self.updates = updates


def report(
    value: Float[Tensor, ""], cost: Float[Tensor, ""], real: Float[Tensor, " m"], fake: Float[Tensor, " m"]
) -> Float[Tensor, "4"]:
    """V, G's cost (nats), mean D(x) and mean D(G(z)) of an update, kept on the device."""
    with torch.no_grad():
        return torch.stack([value, cost, real.sigmoid().mean(), fake.sigmoid().mean()])


def minibatches(data: Float[Tensor, "n *shape"], size: int, seed: int, start: int = 0) -> Iterator[Tensor]:
    """Endless minibatches (size, ...) from number `start` on: shuffled passes, a last partial batch dropped.

    The order of an epoch depends on `seed` and the epoch alone, so that any point of the sequence can be gone
    back to.
    """
    per_epoch = len(data) // size
    epoch, first = divmod(start, per_epoch)
    while True:
        order = torch.randperm(
            len(data), generator=torch.Generator().manual_seed(seed + 1_000_003 * (epoch + 1))
        )
        order = order.to(data.device)
        for i in range(first, per_epoch):
            yield data[order[i * size : (i + 1) * size]]
        epoch, first = epoch + 1, 0


@contextmanager
def drawing_from(rng: torch.Generator) -> Iterator[None]:
    """Within the block torch's default generator is `rng`'s stream, which nn.Dropout and others draw from.

    The caller's own random state is untouched.
    """
    devices = [rng.device] if rng.device.type != "cpu" else []
    module = torch.get_device_module(rng.device) if devices else torch
    with torch.random.fork_rng(devices, device_type=rng.device.type if devices else "cuda"):
        module.set_rng_state(rng.get_state(), *devices)
        try:
            yield
        finally:
            rng.set_state(module.get_rng_state(*devices))


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
