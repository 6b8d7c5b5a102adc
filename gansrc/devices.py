"""What differs between devices: updates captured as graphs on CUDA, TF32 products, sums in float64."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class GraphedUpdate:
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
        """One update on the minibatches of these rows."""
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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory, or the machine's, did not suffice: torch's have no class
    in common."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


@contextmanager
def tensor_float_32() -> Iterator[None]:
    """Within the block CUDA may multiply float32 matrices as TF32, with ten bits after the point."""
    switch = torch.backends.cuda.matmul
    before, switch.fp32_precision = switch.fp32_precision, "tf32"
    try:
        yield
    finally:
        switch.fp32_precision = before


def summing(device: torch.device) -> torch.dtype:
    """The type that reports of many updates are summed in: float64, which MPS lacks."""
    return torch.float32 if device.type == "mps" else torch.float64
