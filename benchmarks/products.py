"""The unit of the benchmarks: the fastest product of two float32 matrices that this machine is known to do.

`python benchmarks/products.py` prints what each library does; `--record` also adds a line to
benchmarks/results. JAX is asked where it is installed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that wait shall not spin

import numpy as np
import torch
from torch import Tensor

Work = Callable[[], object]
UPDATE = (100, 1200, 1200)
"""Rows, inner dimension and columns of G's middle layer, the largest product of an update."""
PARZEN = (768, 784, 10_000)
"""A block of test images against 10,000 samples."""


class Product(NamedTuple):
    """The fastest product of a size: by which library, billions of operations a second, and one to run."""

    library: str
    gflops: float
    run: Work
    all: dict[str, float]


def as_line(product: Product) -> dict[str, object]:
    """A product as a line of results has it."""
    return {"library": product.library, "gflops": product.gflops, "all": product.all}


def by_torch(x: Tensor, w: Tensor) -> Work:
    """`torch.mm`, into memory that is there."""
    out = x.new_empty(len(x), len(w))
    return lambda: torch.mm(x, w.T, out=out)


def by_onednn(x: Tensor, w: Tensor) -> Work:
    """oneDNN, which torch brings along, on tensors that are already in its own layout."""
    ours, theirs = x.to_mkldnn(), w.to_mkldnn()
    return lambda: torch.nn.functional.linear(ours, theirs)


def by_onednn_and_back(x: Tensor, w: Tensor) -> Work:
    """oneDNN on torch's ordinary tensors: into its layout and back."""
    return lambda: torch.nn.functional.linear(x.to_mkldnn(), w.to_mkldnn()).to_dense()


def by_numpy(x: Tensor, w: Tensor) -> Work:
    """NumPy, into memory that is there."""
    a, b, out = x.numpy(), w.numpy(), np.empty((len(x), len(w)), np.float32)
    return lambda: np.matmul(a, b.T, out=out)


def by_jax(x: Tensor, w: Tensor) -> Work:
    """JAX, compiled."""
    import jax

    a, b = jax.numpy.asarray(x.numpy()), jax.numpy.asarray(w.numpy())
    product = jax.jit(lambda one, other: one @ other.T)
    return lambda: product(a, b).block_until_ready()


def has_jax() -> bool:
    """Whether JAX is installed; where torch is held to one thread, JAX is, too."""
    if torch.get_num_threads() == 1:
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    return find_spec("jax") is not None


def fastest(size: tuple[int, int, int], device: str = "cpu", rounds: int = 5) -> Product:
    """The fastest of all libraries' products of (rows, inner) with (inner, columns), each at its best."""
    rows, inner, columns = size
    x, w = torch.rand(rows, inner, device=device), torch.rand(columns, inner, device=device)
    makers = {"torch.mm": by_torch}
    if device == "cpu":
        makers |= {"NumPy": by_numpy}
        if torch.backends.mkldnn.is_available():
            makers |= {"oneDNN": by_onednn, "oneDNN and back": by_onednn_and_back}
        if has_jax():
            makers |= {"JAX": by_jax}
    work = {name: make(x, w) for name, make in makers.items()}
    operations = 2 * rows * inner * columns
    repeats = min(max(int(2e9 / operations), 1), 1000) if device == "cpu" else 1000
    best = dict.fromkeys(work, 0.0)
    for _ in range(rounds):
        for name, run in work.items():
            run()
            begun = now(device)
            for _ in range(repeats):
                run()
            best[name] = max(best[name], operations * repeats / (now(device) - begun) / 1e9)
    library = max(best, key=best.__getitem__)
    return Product(library, best[library], work[library], best)


def now(device: str = "cpu") -> float:
    """The time in seconds, when all that was asked of the device is done. On one thread it is the
    processor's, in which other programs do not count."""
    if device == "cuda":
        torch.cuda.synchronize()
    alone = device == "cpu" and torch.get_num_threads() == 1
    return time.process_time() if alone else time.perf_counter()


def main() -> None:
    import lines
    import page

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments.add_argument("--record", action="store_true", help="add a line to results/products.jsonl")
    given = arguments.parse_args()
    sizes = {" x ".join(map(str, size)): fastest(size, given.device) for size in (UPDATE, PARZEN)}
    new = lines.line(torch.device(given.device), gflops={size: found.all for size, found in sizes.items()})
    page.tell(page.products, new, given.record)


if __name__ == "__main__":
    main()
