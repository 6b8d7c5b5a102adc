"""Algorithm 1: the game between a generator and a discriminator, for any pair of torch modules."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.distributions import Distribution, Normal, Uniform
from torch.nn.functional import logsigmoid

from gansrc.networks import limit_column_norms_, side_by_side, stack


@dataclass(frozen=True)
class Rules:
    """How the game is played.

    order: "alternating" (Algorithm 1: D moves, then G against the new D) or "simultaneous" (the authors'
    code: one set of samples and of D's dropout masks for both costs, both gradients taken before either net
    moves). k: steps of D for one of G. saturating: G descends log(1 - D(G(z))), else it ascends log D(G(z)).
    d_cost: factor on D's cost; the authors' code has 1/2. batch_size: m of Algorithm 1. learning_rate, decay,
    min_learning_rate: after every update the rate is divided by `decay`, down to the floor. momentum: its
    first and last value, linear from epoch 1 to `momentum_epochs`. fresh_masks: G's cost sees masks of its
    own in simultaneous play too. average: decay, by update, of a running mean of G's weights, which then
    draws the samples that are judged; 0 for none, as in the paper. max_column_norm: after every step no unit
    has a larger norm of the weights into it; 0 for no limit. epoch_updates: how many updates count as an
    epoch; 0 for one pass through the data.
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
    average: float = 0.0
    max_column_norm: float = 0.0
    epoch_updates: int = 0

    def batches_per_epoch(self, n: int) -> int:
        """Minibatches that count as an epoch, with n training examples."""
        return self.epoch_updates * self.k or n // self.batch_size

    def __post_init__(self) -> None:
        if self.order not in ("alternating", "simultaneous"):
            raise ValueError(f"order must be 'alternating' or 'simultaneous', got {self.order!r}")
        if self.order == "simultaneous" and self.k != 1:
            raise ValueError(f"simultaneous updates need k = 1, got k = {self.k}: use order='alternating'")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must lie in [0, 1), got {self.average}")
        for name in ("k", "d_cost", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


def minibatch_value(real: Float[Tensor, "*s m"], fake: Float[Tensor, "*s m"]) -> Float[Tensor, "*s"]:
    """Minibatch estimate of V(D, G), eq. (1), in nats, from D's logits on data and on samples."""
    return logsigmoid(real).mean(-1) + logsigmoid(-fake).mean(-1)  # log D(x) + log(1 - D(G(z)))


def generator_cost(fake: Float[Tensor, "*s m"], saturating: bool) -> Float[Tensor, "*s"]:
    """What G descends, nats: log(1 - D(G(z))) of eq. (1), or section 3's non-saturating -log D(G(z))."""
    return logsigmoid(-fake).mean(-1) if saturating else -logsigmoid(fake).mean(-1)


class Game:
    """A generator and a discriminator at play.

    generator: codes (n, ...) to samples. discriminator: samples to logits (n,). Layers that mix the examples
    of a batch (batch normalisation) see data and samples together in alternating play. noise: p_z; its
    tensors say on which device codes are drawn. rng: the stream that every draw of the game comes from:
    batches, codes, dropout masks. learning_rate and momentum are tensors: no number of the host's is baked
    into an update, so that a CUDA device can replay it as a graph. There neither net nor noise may ask the
    device for a value.
    """

    batch_axis = 0
    """The axis of a minibatch's examples."""

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
        self.average = [p.detach().clone() for p in generator.parameters()] if rules.average else []
        weight = next(discriminator.parameters())
        self.learning_rate, self.momentum = weight.new_zeros(()), weight.new_zeros(())
        self._replay: Replay | None = None

    def play(self, data: Float[Tensor, "n *shape"], updates: int) -> dict[str, float]:
        """Play `updates` rounds of Algorithm 1 on `data`; return the means of V, G's cost, D(x) and D(G(z)).

        Interrupted between two calls and continued from the same state, it gives bit for bit what one call
        gives (on a CPU).
        """
        with drawing_from(self.rng):
            return means(self._play(data, updates))

    def _play(self, data: Float[Tensor, "n *shape"], updates: int) -> Float[Tensor, "*s 4"]:
        rules = self.rules
        if len(data) < rules.batch_size:
            raise ValueError(f"batch_size {rules.batch_size} needs as many examples, got {len(data)}")
        self.generator.train(), self.discriminator.train()
        indices = self.batch_indices(len(data), data.device)
        if data.is_cuda and (self._replay is None or self._replay.data is not data):
            self._replay = Replay(data, self.streams())
        total = torch.zeros(4, dtype=summing(data.device), device=data.device)
        with torch.cuda.device(data.device if data.is_cuda else -1):
            for _ in range(updates):
                self.set_schedules(rules.batches_per_epoch(len(data)))
                chosen = torch.stack([next(indices) for _ in range(rules.k)])
                report = self._replay(self.update, chosen) if self._replay else self.update(data, chosen)
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
        """One iteration of Algorithm 1 as the paper has it, k steps of D and one of G."""
        G, D, rules = self.generator, self.discriminator, self.rules
        for _ in range(rules.k):  # for k steps do
            x = next(batches)  # sample m examples from the data,
            with torch.no_grad():
                samples = G(self.codes())  # m noise samples from the prior;
            real, fake = D(torch.cat([x, samples], self.batch_axis)).chunk(2, -1)
            value = minibatch_value(real, fake)
            self.descend(D, -rules.d_cost * value)  # update D by ascending its gradient.
        z = self.codes()  # Sample m noise samples;
        cost = generator_cost(D(G(z)), rules.saturating)
        self.descend(G, cost)  # update G by descending its gradient.
        return report(value, cost, real, fake)

    def simultaneous_update(self, batches: Iterator[Float[Tensor, "*s m d"]]) -> Float[Tensor, "*s 4"]:
        """One update as the authors' code has it: one set of samples, both nets move at once."""
        G, D, rules = self.generator, self.discriminator, self.rules
        samples = G(self.codes())
        real, fake = D(next(batches)), D(samples)  # apart: the way back to G is through the samples alone
        value = minibatch_value(real, fake)
        cost = generator_cost(D(samples) if rules.fresh_masks else fake, rules.saturating)
        d_cost = -rules.d_cost * value.sum()
        d_gradient = torch.autograd.grad(d_cost, list(D.parameters()), retain_graph=True)
        g_gradient = torch.autograd.grad(cost.sum(), list(G.parameters()))
        self.move(D, d_gradient)
        self.move(G, g_gradient)
        return report(value, cost, real, fake)

    def codes(self) -> Float[Tensor, "*s m z"]:
        """A minibatch of noise."""
        return draw(self.noise, self.rules.batch_size)

    def descend(self, net: nn.Module, cost: Float[Tensor, "*s"]) -> None:
        """Move one net down the gradient of a cost; the other net is left alone."""
        self.move(net, torch.autograd.grad(cost.sum(), list(net.parameters())))

    @torch.no_grad()
    def move(self, net: nn.Module, gradient: tuple[Tensor, ...]) -> None:
        """Gradient step with momentum, the rate inside the velocity: v <- m v - lr g; theta <- theta + v."""
        for theta, v, g in zip(net.parameters(), self.velocity[net], gradient, strict=True):
            v.mul_(self.momentum).addcmul_(g, self.learning_rate, value=-1)
            theta.add_(v)
        if self.rules.max_column_norm:
            limit_column_norms_(net, self.rules.max_column_norm)
        if self.average and net is self.generator:
            for mean, theta in zip(self.average, net.parameters(), strict=True):
                mean.lerp_(theta, 1 - self.rules.average)

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

    @property
    def device(self) -> torch.device:
        """Where the game is played."""
        return self.rng.device

    def fit(self, data: Float[Tensor, "n *shape"], updates: int) -> Any:
        """`play`, by the name that it has with the models of `gansrc.baselines`."""
        return self.play(data, updates)

    def samples(self, n: int, rng: torch.Generator) -> Float[Tensor, "n *shape"]:
        """n samples of the generator that is judged."""
        return sample(self.judged_generator(), self.noise, n, rng)

    def rates(self) -> dict[str, float]:
        """Learning rate and momentum of the last update."""
        return {"learning_rate": self.learning_rate.item(), "momentum": self.momentum.item()}

    def judged_generator(self) -> nn.Module:
        """The generator whose samples are judged: the running mean, where the rules keep one."""
        if not self.average:
            return self.generator
        net = copy.deepcopy(self.generator)
        for theta, mean in zip(net.parameters(), self.average, strict=True):
            theta.data = mean.clone()
        return net

    def state(self) -> dict[str, Tensor]:
        """What the next update depends on beside the count of updates: weights, velocities, random stream."""
        state = {"rng": self.rng.get_state()}
        for name, net in (("generator", self.generator), ("discriminator", self.discriminator)):
            state |= {f"{name}.{key}": tensor for key, tensor in net.state_dict().items()}
            state |= {f"velocity.{name}.{i}": v for i, v in enumerate(self.velocity[net])}
        if self.average:
            names = (name for name, _ in self.generator.named_parameters())
            state |= {f"average.{name}": mean for name, mean in zip(names, self.average, strict=True)}
        return state

    @torch.no_grad()
    def load_state(self, state: dict[str, Tensor], updates: int) -> None:
        """Continue from `state()` as taken after `updates` updates; ValueError if it is of other networks."""
        own = self.state()
        if "rng" in state and state["rng"].shape != own["rng"].shape:
            raise ValueError("the saved state is of another kind of device: go on with that one")
        wrong = sorted(own.keys() ^ state.keys()) or [k for k in own if own[k].shape != state[k].shape]
        if wrong:
            raise ValueError(
                f"the saved state does not fit these networks: {wrong[0]!r} is missing, unknown or misshapen"
            )
        for key, tensor in own.items():
            tensor.copy_(state[key])
        self.rng.set_state(state["rng"])
        self.updates = updates


class Games(Game):
    """Games of one make, played as one computation: their nets' weights lie side by side on a leading axis.

    Each game keeps its own random stream and stays usable by itself (its tensors are views of its slice,
    until it is put together with others anew), so playing games together gives each of them, up to rounding,
    what it would have come to alone. Raises ValueError for games that differ in rules, in their count of
    updates or in shape, and for nets with layers other than those of `gansrc.networks`. Save and load the
    games, not this.
    """

    batch_axis = 1

    def __init__(self, games: Sequence[Game]) -> None:
        first = games[0]
        for game in games:
            if (game.rules, game.updates) != (first.rules, first.updates):
                raise ValueError("games played together need the same rules and count of updates")
        self.games, rngs = list(games), [game.rng for game in games]
        generator = stack([game.generator for game in games], rngs)
        discriminator = stack([game.discriminator for game in games], rngs)
        super().__init__(generator, discriminator, first.noise, first.rules, first.rng)
        self.updates = first.updates
        for net, nets in (
            (generator, [game.generator for game in games]),
            (discriminator, [game.discriminator for game in games]),
        ):
            lists = [game.velocity[own] for game, own in zip(games, nets, strict=True)]
            self.velocity[net] = side_by_side(lists)
        self.average = side_by_side([game.average for game in games])
        for game in games:
            game._replay = None  # it would go on with the weights of before

    def play(self, data: Float[Tensor, "n *shape"], updates: int) -> list[dict[str, float]]:
        """As `Game.play`; the means of each game. Raises ValueError if one was played alone in between."""
        if {game.updates for game in self.games} != {self.updates}:
            raise ValueError("a game was played alone since these were put together: put them together anew")
        totals = self._play(data, updates)
        for game in self.games:
            game.updates = self.updates
            game.learning_rate.copy_(self.learning_rate), game.momentum.copy_(self.momentum)
        return [means(total) for total in totals.expand(len(self.games), 4)]

    def codes(self) -> Float[Tensor, "s m z"]:
        """A minibatch of noise for each game, from its own stream."""
        return torch.stack([draw(self.noise, self.rules.batch_size, rng) for rng in self.streams()])

    def batch_indices(self, n: int, device: torch.device) -> Iterator[Int64[Tensor, "s m"]]:
        """The rows of each game's minibatches to come."""
        return map(torch.stack, zip(*(game.batch_indices(n, device) for game in self.games), strict=True))

    def streams(self) -> list[torch.Generator]:
        """The games' random streams."""
        return [game.rng for game in self.games]


class Replay:
    """An update on a CUDA device, captured as a graph and replayed: one launch where there were a hundred.

    Call it with the update, always the same, and the rows of the next minibatches; it returns the report. The
    first few updates run as they are, on a stream of their own, as CUDA asks of whatever is to be captured.
    """

    WARM_UP = 3

    def __init__(self, data: Float[Tensor, "n *shape"], streams: Sequence[torch.Generator]) -> None:
        self.data, self.streams, self.calls = data, streams, 0

    def __call__(
        self, update: Callable[[Tensor, Tensor], Tensor], chosen: Int64[Tensor, "k *s m"]
    ) -> Float[Tensor, "*s 4"]:
        self.calls += 1
        if self.calls <= self.WARM_UP:
            return on_a_side_stream(lambda: update(self.data, chosen))
        if self.calls == self.WARM_UP + 1:
            self.chosen = chosen.clone()
            self.replay = capture(lambda: update(self.data, self.chosen), self.streams)
        self.chosen.copy_(chosen)
        return self.replay()


def on_a_side_stream(step: Callable[[], Tensor]) -> Tensor:
    """Run a step on a CUDA stream of its own, in its turn."""
    main, side = torch.cuda.current_stream(), torch.cuda.Stream()
    side.wait_stream(main)
    with torch.cuda.stream(side):
        result = step()
    main.wait_stream(side)
    return result


def capture(step: Callable[[], Tensor], streams: Sequence[torch.Generator]) -> Callable[[], Tensor]:
    """A step as a CUDA graph, which draws anew from torch's default generator and `streams` at every call.

    To capture it does not run it. Every call overwrites the tensor that the one before returned.
    """
    graph = torch.cuda.CUDAGraph()
    if torch.__version__ < "2.14":  # later versions find the generators by themselves
        for generator in streams:
            graph.register_generator_state(generator)
    gc.collect()  # a graph that is collected while another one is captured spoils it
    collecting = gc.isenabled()
    gc.disable()
    try:
        with torch.cuda.graph(graph, stream=torch.cuda.Stream()):  # torch frees cuBLAS memory by stream
            result = step()
    finally:
        if collecting:
            gc.enable()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def summing(device: torch.device) -> torch.dtype:
    """What reports are summed in: float64, so that it does not matter how they are split. MPS has none."""
    return torch.float32 if device.type == "mps" else torch.float64


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


def minibatches(data: Float[Tensor, "n *shape"], size: int, seed: int, start: int = 0) -> Iterator[Tensor]:
    """Endless minibatches (size, ...) from number `start` on: shuffled passes, a partial last one dropped."""
    return (data[chosen] for chosen in batch_indices(len(data), size, seed, start, data.device))


def batch_indices(
    n: int, size: int, seed: int, start: int, device: torch.device
) -> Iterator[Int64[Tensor, " size"]]:
    """The rows of the minibatches of `minibatches`.

    The order of an epoch depends on `seed` and the epoch alone, so that any point of the sequence can be gone
    back to. It is drawn on the CPU: the same on every device.
    """
    per_epoch = n // size
    epoch, first = divmod(start, per_epoch)
    while True:
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed + 1_000_003 * (epoch + 1)))
        if device.type == "cuda":  # from pinned memory the copy does not wait for the device
            order = order.pin_memory().to(device, non_blocking=True)
        order = order.to(device)
        for i in range(first, per_epoch):
            yield order[i * size : (i + 1) * size]
        epoch, first = epoch + 1, 0


@contextmanager
def drawing_from(rng: torch.Generator) -> Iterator[None]:
    """Within the block torch's default generator is `rng`'s stream, which nn.Dropout and others draw from.

    The caller's own random state is untouched.
    """
    module = torch if rng.device.type == "cpu" else torch.get_device_module(rng.device)
    where = [rng.device] if rng.device.type == "cuda" else []
    before = module.get_rng_state(*where)
    module.set_rng_state(rng.get_state(), *where)
    try:
        yield
    finally:
        rng.set_state(module.get_rng_state(*where))
        module.set_rng_state(before, *where)


def draw(noise: Distribution, n: int, rng: torch.Generator | None = None) -> Float[Tensor, "n *z"]:
    """n codes from `rng`'s stream or else from torch's default one, as `noise.sample((n,))`.

    A CUDA graph can hold it; not so a normal distribution's own `sample`, which looks at its scale.
    Raises TypeError if a stream is given and the noise neither uniform nor normal.
    """
    if isinstance(noise, Uniform):
        low, high = noise.low, noise.high
        chance = torch.rand(n, *low.shape, generator=rng, device=low.device, dtype=low.dtype)
        return low + chance * (high - low)
    if isinstance(noise, Normal):
        loc, scale = noise.loc, noise.scale
        return loc + scale * torch.randn(n, *loc.shape, generator=rng, device=loc.device, dtype=loc.dtype)
    if rng is None:
        return noise.sample((n,))
    raise TypeError(f"several games at once need uniform or normal noise, got {type(noise).__name__}")


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
