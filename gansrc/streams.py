"""Every random draw: minibatches, codes, and a stream of its own for a block of code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.distributions import Distribution, Normal, Uniform


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
