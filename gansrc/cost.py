"""What a computation costs, counted while it runs: passes through a model's weights, forward and back, and
layers of random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
DRAWS = {
    aten.bernoulli, aten.rand, aten.rand_like, aten.randn, aten.randn_like, aten.normal, aten.multinomial,
    aten.normal_functional, aten.bernoulli_, aten.normal_, aten.uniform_,
}  # fmt: skip
"""The operations by which torch draws random numbers, but for those that only choose rows."""


@dataclass(frozen=True)
class Cost:
    """What a computation took.

    forward, back: multiplications by weights, in passes of one example through all of the model's weights;
    back are those of gradients. draws: how many times random numbers were drawn, each time for all examples.
    """

    forward: float
    back: float
    draws: int


class _Counter(TorchDispatchMode):
    """Counts products of matrices, in multiplications, and draws."""

    def __init__(self, weights: set[tuple[int, ...]]) -> None:
        super().__init__()
        self.weights, self.work, self.draws = weights, [0.0, 0.0], 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = func._overloadpacket
        self.draws += packet in DRAWS
        if packet in flop_registry:
            back = torch._C._current_graph_task_id() != -1 or tuple(out.shape) in self.weights
            self.work[back] += flop_registry[packet](*args, **kwargs, out_val=out) / 2
        return out


def counted(model: nn.Module, examples: int, run: Callable[[], object]) -> Cost:
    """What `run` costs for each of so many examples, counted while it is called once.

    A gradient is told from a pass forward by where it is computed, on autograd's way back, or by its shape,
    which is that of a weight; so let the number of examples differ from every number of units. Raises
    ValueError for a model without matrices of weights.
    """
    shapes = [tuple(p.shape) for p in model.parameters() if p.dim() > 1]
    weights = sum(rows * columns for rows, columns in (shape[-2:] for shape in shapes))
    if not weights:
        raise ValueError("passes are counted by weights, the model has none: give one with matrices")
    with _Counter({*shapes, *(shape[::-1] for shape in shapes)}) as counter:
        run()
    forward, back = (work / weights / examples for work in counter.work)
    return Cost(forward, back, counter.draws)
