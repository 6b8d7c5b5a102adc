"""More than one process, as torchrun starts them: which one this is, and a game that all of them play."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import torch
from jaxtyping import Float, Int64
from torch import Tensor, distributed, nn

from gansrc.game import Game
from gansrc.model import Model
from gansrc.networks import Bias, Dropout, Maxout, MaxoutConv

TIMEOUT = timedelta(minutes=10)
"""How long a process that is silent is waited for: no score and no checkpoint takes so long."""
ROW_BY_ROW = (
    nn.Sequential, nn.Linear, nn.Conv2d, nn.ConvTranspose2d, Maxout, MaxoutConv, Bias, Dropout, nn.ReLU,
    nn.Sigmoid, nn.Identity, nn.Flatten, nn.Unflatten,
)  # fmt: skip
"""Layers that treat every example by itself, and draw nothing but our masks."""
END, START = 0, 1
"""What the first process says in place of a number of updates."""


class Lost(ConnectionError):
    """Another process is gone, or has been silent for too long."""


@dataclass(frozen=True)
class Place:
    """A process among those that torchrun started: its number, how many there are, its number on its host."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def here(cls) -> Place:
        """This process's, from the environment; outside of torchrun it is the only one. Raises ValueError."""
        names = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
        given = {name: os.environ.get(name) or alone for name, alone in names.items()}
        told = ", ".join(f"{name}={value!r}" for name, value in given.items())
        cure = "start by torchrun, or unset these variables"
        try:
            place = cls(*map(int, given.values()))
        except ValueError:
            place = cls(0, 0)
        if not (0 <= place.rank < place.size and 0 <= place.local_rank < place.size):
            raise ValueError(f"there is no such process: {told}: {cure}")
        needed = ("RANK", "MASTER_ADDR", "MASTER_PORT") if place.size > 1 else ()
        if missing := [name for name in needed if not os.environ.get(name)]:
            raise ValueError(f"WORLD_SIZE={place.size} without {' and '.join(missing)}: {cure}")
        return place

    def device(self, name: str) -> str:
        """The device of that name for this process: where several share a host's cards, a card of its own."""
        return f"cuda:{self.local_rank}" if name == "cuda" and self.size > 1 else name


@contextmanager
def in_touch() -> Iterator[None]:
    """Raise Lost, one line, if another process is lost within the block."""
    try:
        yield
    except (RuntimeError, OSError) as error:  # torch's own classes for it are RuntimeErrors
        words = " ".join(str(error).split())
        raise Lost(
            f"another process is lost ({words:.90}): the same command goes on from the last checkpoint"
        ) from None


def _connect(backend: str, timeout: timedelta, card: torch.device | None = None) -> None:
    """Wait for the other processes, and connect with them."""
    from torch.distributed.rendezvous import rendezvous  # not in every build of torch

    with in_touch():
        store, rank, size = next(rendezvous("env://", timeout=timeout))
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = distributed.PrefixStore(attempt, store)  # it still has the addresses of the attempt before
        distributed.init_process_group(
            backend, store=store, rank=rank, world_size=size, timeout=timeout, device_id=card
        )


@contextmanager
def connected(device: str) -> Iterator[None]:
    """Within the block all processes can send each other tensors on their devices; when the first leaves it,
    it tells the others. Raises Lost."""
    if device.startswith("mps"):
        raise ValueError(f"several processes cannot play a game on {device}: use --device cpu")
    card = torch.device(device) if device.startswith("cuda") else None
    _connect("nccl" if card else "gloo", TIMEOUT, card)
    try:
        yield
    except Lost:  # to end in good order would be to wait for it
        raise
    except BaseException:
        _leave(device)
        raise
    _leave(device)


def _leave(device: str) -> None:
    with suppress(Lost):
        if is_first():
            say(END, torch.device(device))
    distributed.destroy_process_group()


def processes() -> int:
    """How many processes are connected."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the first of the processes that are connected."""
    return distributed.get_rank() == 0


def meet() -> None:
    """Wait until all processes have come here: torchrun stops the others as soon as one ends in failure."""
    _connect("gloo", timedelta(days=365))
    with in_touch():
        distributed.barrier()
        distributed.destroy_process_group()


def say(what: int, device: torch.device) -> int:
    """Send a number from the first process to all; what it said is returned in each."""
    number = torch.tensor(what, device=device)
    with in_touch():
        distributed.broadcast(number, 0)
    return int(number)


class Shared(Game):
    """A game of which every process plays a share: its rows of each minibatch, of the codes, of the masks.

    Row i is that of process i modulo their number. All draw the whole minibatch's randomness from the one
    stream and keep their own rows; costs are means over rows, so the mean of the processes' gradients is, up
    to rounding, the gradient that one process would have. Every process moves its own nets by that, and they
    stay the same, bit for bit. Nets, velocities and mean are those of `game`.

    Raises ValueError for a minibatch that cannot be shared out evenly, for games with costs of their own, and
    for layers that mix the rows or draw by themselves.
    """

    replays = False

    def __init__(self, game: Game, rank: int, size: int) -> None:
        if game.rules.batch_size % size:
            raise ValueError(
                f"a minibatch of {game.rules.batch_size} cannot be shared evenly by {size} processes:"
                " start a number of them that divides it"
            )
        if game.g_cost or game.penalty:
            raise ValueError("games with costs of their own are played by one process")
        for layer in (*game.generator.modules(), *game.discriminator.modules()):
            if not isinstance(layer, ROW_BY_ROW):
                raise ValueError(f"nets with a {type(layer).__name__} layer are trained by one process")
        nets = game.generator, game.discriminator
        super().__init__(*nets, game.noise, game.rules, game.rng, game.decay)
        self.game, self.rank, self.size, self.updates = game, rank, size, game.updates
        self.velocity, self.average, self.optimizers = game.velocity, game.average, game.optimizers
        self.learning_rate, self.momentum = game.learning_rate, game.momentum

    def reports(self, data: Float[Tensor, "n *shape"], updates: int) -> Float[Tensor, " 4"]:
        """As `Game.reports`, of the whole minibatches."""
        dropouts = [layer for net in self.velocity for layer in net.modules() if isinstance(layer, Dropout)]
        for layer in dropouts:
            layer.share = self.rank, self.size
        try:
            return super().reports(data, updates)
        finally:
            self.game.updates = self.updates
            for layer in dropouts:
                layer.share = 0, 1

    def update(self, data: Float[Tensor, "n *shape"], chosen: Int64[Tensor, "k m"]) -> Float[Tensor, " 4"]:
        """One update on this process's rows of k minibatches; its report is that of all rows."""
        (report,) = self.mean([super().update(data, chosen)])
        return report

    def batch_indices(self, n: int, device: torch.device) -> Iterator[Int64[Tensor, " m"]]:
        """This process's rows of the minibatches to come."""
        return (chosen[self.rank :: self.size] for chosen in super().batch_indices(n, device))

    def codes(self) -> Float[Tensor, "m z"]:
        """This process's rows of a minibatch of noise."""
        return super().codes()[self.rank :: self.size]

    def move(self, net: nn.Module, gradient: Sequence[Tensor | None]) -> None:
        """As `Game.move`, by the mean of the processes' gradients."""
        means = iter(self.mean([g for g in gradient if g is not None]))
        super().move(net, [None if g is None else next(means) for g in gradient])

    def mean(self, tensors: list[Tensor]) -> list[Tensor]:
        """The mean over processes of each tensor; all are sent as one."""
        if not tensors:
            return []
        whole = torch.cat([tensor.flatten() for tensor in tensors])
        with in_touch():
            distributed.all_reduce(whole)
        parts = whole.div_(self.size).split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


class Joined:
    """A model's training by all processes: the first calls it, as any other `Fitting`; the others `follow`.

    The first gives them the model's state: they need neither a run's folder nor its disk. Raises ValueError,
    in the first, for a game that cannot be shared.
    """

    def __init__(self, model: Model, game: Game) -> None:
        self.model, self.game = model, game
        if is_first():
            self.shared = Shared(game, 0, processes())
            say(START, model.device)
            self._exchange()

    def __call__(self, data: Float[Tensor, "n d"], updates: int) -> list[dict[str, float]]:
        """Play so many updates; the means of what they report."""
        say(updates, self.model.device)
        return [self.shared.play(data, updates)]

    def follow(self, data: Float[Tensor, "n d"]) -> None:
        """Do as the first process says, until it ends."""
        if say(END, self.model.device) == START:
            self._exchange()
            self.shared = Shared(self.game, distributed.get_rank(), processes())
            while updates := say(END, self.model.device):
                self.shared.play(data, updates)

    def _exchange(self) -> None:
        """Take over the first process's state."""
        updates, state = say(self.model.updates, self.model.device), {}
        own = {key: tensor for part in self.model.state().values() for key, tensor in part.items()}
        for key in sorted(own):
            sent = own[key].to(self.model.device, copy=True)
            with in_touch():
                distributed.broadcast(sent, 0)
            state[key] = sent.to(own[key].device)
        self.model.load_state(state, updates)
