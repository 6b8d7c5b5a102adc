"""Many games of one make, played as one computation: their nets' weights lie side by side."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from gansrc.game import Game, means
from gansrc.networks import Dropout, Linear, Maxout, Net
from gansrc.streams import draw


class Games:
    """Games of one make, played as one computation: their nets' weights lie side by side on a leading axis.

    Each game keeps its own random stream and stays usable by itself (its tensors are views of its slice,
    until it is put together with others anew), so playing games together gives each of them, up to rounding,
    what it would have come to alone. Raises ValueError for games that differ in rules, in their count of
    updates or in shape, have parts of their own, or nets with layers other than those of `gansrc.networks`.
    Save and load the games, not this.
    """

    def __init__(self, games: Sequence[Game]) -> None:
        first = games[0]
        for game in games:
            if (game.rules, game.decay, game.updates) != (first.rules, first.decay, first.updates):
                raise ValueError("games played together need the same rules and count of updates")
            if game.optimizers or game.g_cost or game.penalty:
                raise ValueError("games with parts of their own are played one at a time")
            game.graphed = None  # it would go on with the weights of before
        self.games, self.together = list(games), _Together(games)

    @property
    def updates(self) -> int:
        """Updates that the games have come to."""
        return self.together.updates

    def play(self, data: Float[Tensor, "n *shape"], updates: int) -> list[dict[str, float]]:
        """As `Game.play`; the means of each game. Raises ValueError if one was played alone in between."""
        together = self.together
        if {game.updates for game in self.games} != {together.updates}:
            raise ValueError("a game was played alone since these were put together: put them together anew")
        totals = together.reports(data, updates)
        for game in self.games:
            game.updates = together.updates
            game.learning_rate.copy_(together.learning_rate)
            game.momentum.copy_(together.momentum)
        return [means(total) for total in totals.expand(len(self.games), 4)]


class _Together(Game):
    """One game on the stacked nets of several; batches, codes and masks of slice s are those of game s."""

    batch_axis = 1

    def __init__(self, games: Sequence[Game]) -> None:
        first, self.games = games[0], games
        generators, discriminators = [g.generator for g in games], [g.discriminator for g in games]
        generator, discriminator = (stack(nets, self.streams()) for nets in (generators, discriminators))
        super().__init__(generator, discriminator, first.noise, first.rules, first.rng, first.decay)
        self.updates = first.updates
        for net, nets in ((generator, generators), (discriminator, discriminators)):
            lists = [game.velocity[own] for game, own in zip(games, nets, strict=True)]
            self.velocity[net] = side_by_side(lists)
        self.average = side_by_side([game.average for game in games])

    def codes(self) -> Float[Tensor, "s m z"]:
        """A minibatch of noise for each game, from its own stream."""
        return torch.stack([draw(self.noise, self.rules.batch_size, rng) for rng in self.streams()])

    def batch_indices(self, n: int, device: torch.device) -> Iterator[Int64[Tensor, "s m"]]:
        """The rows of each game's minibatches to come."""
        return map(torch.stack, zip(*(game.batch_indices(n, device) for game in self.games), strict=True))

    def streams(self) -> list[torch.Generator]:
        """The games' random streams."""
        return [game.rng for game in self.games]


def stack(nets: Sequence[Net], rngs: list[torch.Generator]) -> Net:
    """S nets of one make as one net, (S, n, ...) to (S, n, ...), net s on slice s.

    The nets' own weights become views of its weights: to train it is to train them. Dropout masks of slice s
    are drawn from rngs[s]. Raises ValueError for nets that differ in shape, or have layers other than those
    of this module.
    """
    known = (nn.Sequential, Linear, Dropout, Maxout, nn.ReLU, nn.Sigmoid, nn.Identity, nn.Flatten)
    for layer in nets[0].modules():
        if not isinstance(layer, known):
            raise ValueError(
                f"nets with a {type(layer).__name__} layer cannot be trained together: one at a time"
            )
        if isinstance(layer, nn.Flatten) and layer.start_dim >= 0:  # it would flatten the seeds, too
            raise ValueError(f"Flatten({layer.start_dim}) counts from the first axis: use a negative one")
    if len({tuple(p.shape for p in net.parameters()) for net in nets}) > 1:
        raise ValueError("nets of different shapes cannot be trained together: one at a time")
    together = copy.deepcopy(nets[0])
    weights = side_by_side([list(net.parameters()) for net in nets])
    for parameter, whole in zip(together.parameters(), weights, strict=True):
        parameter.data = whole
    for layer in together.modules():
        if isinstance(layer, Dropout):
            layer.rngs = rngs
    return together


def side_by_side(lists: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """S lists of tensors as one list, each tensor with a leading axis of S; theirs become views of it."""
    wholes = []
    for tensors in zip(*lists, strict=True):
        wholes.append(torch.stack([tensor.detach() for tensor in tensors]))
        for tensor, part in zip(tensors, wholes[-1], strict=True):
            tensor.data = part
    return wholes
