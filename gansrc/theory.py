"""Section 4.1 of the paper: the value of the game, its best discriminator, its global optimum.

A density, or a probability mass function, lies along the last axis of an array; leading axes are a
batch. Everything broadcasts. numpy arrays or tensors go in, float64 tensors come out, on the device
of the first tensor given; logarithms are natural, so values are in nats. `dx` turns the sum over the last
axis into an integral: 1 for a mass function, the grid's spacing, or an array of quadrature weights. Each
density is divided by its sum times dx, which must be 1 but for rounding: to 1e-6 in double, 1e-4 in single,
1e-2 in half precision.

Gradients flow. Where a density is zero its 0 log 0 counts as a constant, so that they stay finite.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

# Wrong shapes are bad input and get a ValueError, so the annotations leave the shapes of arguments open.
Array: TypeAlias = Shaped[Tensor, "..."] | Shaped[np.ndarray, "..."]
Weights: TypeAlias = int | float | Array


def value(d: Array, p_data: Array, p_g: Array, dx: Weights = 1.0) -> Float64[Tensor, "*batch"]:
    """Value of the game V(G, D) for a discriminator's outputs: eq. (3), second line.

    The sum of p_data log d + p_g log(1 - d), times dx. All arguments (..., x) → (...), in nats; -inf where
    d rules out what happens (d = 0 < p_data, or d = 1 and p_g > 0). d may be nan where both densities
    are zero, as D* is: such points count nothing.

    Raises ValueError for d outside [0, 1] or nan elsewhere, for a density that is negative, not finite
    or off 1 by more than rounding, and for shapes that do not broadcast.
    """
    rounding = _rounding(p_data, p_g, dx)
    d, p_data, p_g, dx = _broadcast(d=d, p_data=p_data, p_g=p_g, dx=dx)
    mass_data, mass_g = (p * dx for p in _normalised(dx, rounding, p_data=p_data, p_g=p_g))
    _require(~((d < 0) | (d > 1)), "d", d, "lie in [0, 1]")
    _require(~d.isnan() | (mass_data + mass_g == 0), "d", d, "be a number wherever a density is positive")
    return (_xlogy(mass_data, d) + _xlogy(mass_g, 1 - d)).sum(-1)


def optimal_discriminator(p_data: Array, p_g: Array) -> Float64[Tensor, "*batch x"]:
    """Best discriminator D* = p_data / (p_data + p_g) against a fixed generator: Proposition 1, eq. (2).

    Both (..., x) → (..., x), in [0, 1]; nan where both densities are zero: D* is undefined there.

    Raises ValueError for a density that is negative or not finite, and for shapes that do not broadcast.
    """
    p_data, p_g = _broadcast(p_data=p_data, p_g=p_g)
    _require_density(p_data=p_data, p_g=p_g)
    total = p_data + p_g
    # The division must not see 0 / 0: its nan would reach the gradient even from behind the mask.
    return (p_data / total.where(total > 0, 1.0)).where(total > 0, math.nan)


def virtual_criterion(p_data: Array, p_g: Array, dx: Weights = 1.0) -> Float64[Tensor, "*batch"]:
    """Criterion C(G) = max_D V(G, D), which is the value of the game at D*: eq. (4).

    All arguments (..., x) → (...), in nats, from -log 4 (equal densities) to 0 (disjoint ones).

    Raises ValueError for a density that is negative, not finite or off 1 by more than rounding,
    and for shapes that do not broadcast.
    """
    rounding = _rounding(p_data, p_g, dx)
    p_data, p_g, dx = _broadcast(p_data=p_data, p_g=p_g, dx=dx)
    p_data, p_g = _normalised(dx, rounding, p_data=p_data, p_g=p_g)
    # 1 - D* is the optimal discriminator with the roles exchanged; as a difference it would round to 0
    # where p_g is tiny beside p_data, and its logarithm to -inf.
    on_data = _xlogy(p_data * dx, optimal_discriminator(p_data, p_g))
    on_generated = _xlogy(p_g * dx, optimal_discriminator(p_g, p_data))
    return (on_data + on_generated).sum(-1)


def kl(p: Array, q: Array, dx: Weights = 1.0) -> Float64[Tensor, "*batch"]:
    """Kullback-Leibler divergence KL(p ‖ q), the sum of p log(p / q) times dx: used in eq. (5).

    All arguments (..., x) → (...), in nats; inf where q = 0 < p.

    Raises ValueError for a density that is negative, not finite or off 1 by more than rounding,
    and for shapes that do not broadcast.
    """
    rounding = _rounding(p, q, dx)
    p, q, dx = _broadcast(p=p, q=q, dx=dx)
    p, q = _normalised(dx, rounding, p=p, q=q)
    # Two logarithms, not one of p / q: the quotient overflows far out in the tail of q.
    return (_xlogy(p * dx, p) - _xlogy(p * dx, q)).sum(-1)


def jsd(p: Array, q: Array, dx: Weights = 1.0) -> Float64[Tensor, "*batch"]:
    """Jensen-Shannon divergence, half of KL(p ‖ m) + KL(q ‖ m) with m = (p + q) / 2: used in eq. (6).

    All arguments (..., x) → (...), in nats, from 0 (equal) to log 2 (disjoint), never beyond.

    Raises ValueError for a density that is negative, not finite or off 1 by more than rounding,
    and for shapes that do not broadcast.
    """
    rounding = _rounding(p, q, dx)
    p, q, dx = _broadcast(p=p, q=q, dx=dx)
    p, q = _normalised(dx, rounding, p=p, q=q)
    total = p + q
    u = (p - q) / total.where(total > 0, 1.0)
    # With p = m (1 + u) and q = m (1 - u), p log(p/m) + q log(q/m) is m times the line below. Near p = q
    # the answer is of order u²; taken as two separate KLs it would drown in rounding errors of order 1.
    terms = [(1 + v) * torch.log1p(v.where(v > -1, 0.0)) for v in (u, -u)]
    found = (total * dx / 4 * (terms[0] + terms[1]).clamp(min=0)).sum(-1)
    return found - (found - math.log(2)).clamp(min=0).detach()  # what rounding has added


def _xlogy(x: Tensor, y: Tensor) -> Tensor:
    """x log y, and 0 wherever x = 0: for y = 0 and y = nan too, and in the gradient."""
    return torch.xlogy(x, y.where(x > 0, 1.0))


def _broadcast(**arrays: Weights) -> tuple[Tensor, ...]:
    """The arrays as float64 tensors of one shape, on one device; points on the last axis."""
    device = next((a.device for a in arrays.values() if isinstance(a, Tensor)), torch.device("cpu"))
    tensors = [
        a.to(torch.float64) if isinstance(a, Tensor)
        # A copy in C order: torch takes no array that is reversed, byte-swapped or read-only.
        else torch.from_numpy(np.array(a, dtype=np.float64, order="C")).to(device)
        for a in arrays.values()
    ]  # fmt: skip
    shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in zip(arrays, tensors, strict=True))
    try:
        tensors = torch.broadcast_tensors(*tensors)
    except RuntimeError:
        raise ValueError(f"shapes must broadcast, got {shapes}: give all the same last axis") from None
    if not tensors[0].shape or tensors[0].shape[-1] == 0:
        raise ValueError(f"densities must have at least one point on their last axis, got {shapes}")
    return tuple(tensors)


def _rounding(*arrays: Weights) -> float:
    """How far the sum of a density may be off 1, by the precision of what was given.

    By rounding alone a softmax over a million outcomes is off by 6e-5 in single precision.
    """
    of = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-2}
    return max(of.get(str(getattr(a, "dtype", "")).removeprefix("torch."), 1e-6) for a in arrays)


def _normalised(dx: Tensor, rounding: float, **densities: Tensor) -> list[Tensor]:
    """Each density over its sum times dx, after the checks: dx and densities not negative, every sum 1.

    To gradients the sum is a constant.
    """
    _require_density(dx=dx, **densities)
    found = []
    for name, p in densities.items():
        total = (p * dx).sum(-1, keepdim=True).detach()
        _require(
            (total[..., 0] - 1).abs() <= rounding,
            f"the sum of {name} * dx",
            total[..., 0],
            "be 1 (divide by it)",
        )
        found.append(p / total)
    return found


def _require_density(**densities: Tensor) -> None:
    for name, p in densities.items():
        _require((p >= 0) & p.isfinite(), name, p, "be finite and not negative")


def _require(ok: Tensor, name: str, values: Tensor, must: str) -> None:
    if not ok.all():
        index = (~ok).nonzero()[0].tolist()
        at = f" at index {index}" if index else ""
        raise ValueError(f"{name} must {must}, got {values[tuple(index)].item():.9g}{at}")
