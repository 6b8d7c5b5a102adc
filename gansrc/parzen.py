"""The Gaussian Parzen window of section 5: how likely is test data under samples of a generator?

A Gaussian bump of width sigma stands on every sample; their average is a density, and test data are scored
by its logarithm. `log_likelihood` is the formula, `select_sigma` the cross-validation, `score` an entry of
Table 1, `redraw_error` how firm it is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64, Shaped
from torch import Tensor

Array = Shaped[np.ndarray, "..."] | Shaped[Tensor, "..."]
"""What a caller may hand in. Shapes are checked by hand, in words that name the cure."""

SIGMAS: tuple[float, ...] = tuple(10 ** (-1 + i / 9) for i in range(10))
"""The grid of the authors' evaluation script, `logspace(-1, 0, 10)`."""
FINE_SIGMAS = tuple(round(0.10 + 0.01 * i, 2) for i in range(20))
"""A finer grid around the optimum of MNIST, .10 to .29."""
CONTRAST_SIGMAS = tuple(round(0.50 + 0.03 * i, 2) for i in range(20))
"""The same for images of normalised contrast, whose numbers are some four times as large: .50 to 1.07."""
N_SAMPLES, N_VALID = 10_000, 1_000
"""The authors' evaluation (parzen_ll.py): samples in the window, validation images that choose sigma."""

TOLERANCE = 0.004
"""Error, in nats, that float32 may cause at a point by its worst-case bound; in fact it causes a tenth."""
NEGLIGIBLE = 7.0
"""The terms left out of a sum add up to less than exp(-NEGLIGIBLE), .0009, of what is kept."""
WORKERS = 4
"""Blocks of the n x m table that a CPU works on at one time, at most."""
BLOCK = 2**22
"""Entries of a block: 16 MB in float32."""
PIECE = 2**18
"""Entries that a core works on at one time: 1 MB stays in its cache."""
PANEL = 160
"""Longest sum left to a float32 matrix product: shorter ones round less and take longer."""
LARGEST = 1e150
"""Sizes of coordinates and of sigma end there, those of sigma begin at its inverse: float64 holds squares."""


class Score(NamedTuple):
    """An entry of Table 1, in nats: mean over the test set, its standard error, and what they come from."""

    mean: float
    standard_error: float
    sigma: float
    log_likelihoods: Float64[Tensor, " m"]


def log_likelihood(
    samples: Array, x: Array, sigma: float | Sequence[float] | Array
) -> Float64[Tensor, " m"] | Float64[Tensor, "m s"]:
    r"""Log-density of every point of x under the Parzen window of the samples (section 5), in nats.

    $$\log p(x) = \log \frac1n \sum_j \exp\frac{-|x - s_j|^2}{2\sigma^2} - d \log(\sigma\sqrt{2\pi})$$

    samples is (n, d), x is (m, d); one sigma gives (m,), a sequence of s of them (m, s). Floats of any
    precision go in, float64 comes out, on the device of x. Memory beyond the inputs: a float32 copy of the
    samples and some 100 MB. Raises ValueError for shapes that do not fit, integers (divide pixels by 255),
    empty or non-finite data, sigma <= 0, and sizes whose squares are beyond float64.
    """
    values = _log_likelihood(*_matching(samples, x, "x"), _sigmas(sigma))
    return values if np.ndim(sigma) else values[:, 0]


def select_sigma(samples: Array, valid: Array, sigmas: Sequence[float] | Array = SIGMAS) -> float:
    """The sigma under which the validation set is likeliest (section 5: "obtained by cross validation").

    samples is (n, d), valid (m, d); the default grid is the authors' own. Warns if the best sigma is the
    smallest or the largest on offer: a better one may lie beyond. Errors as in `log_likelihood`.
    """
    given = _sigmas(sigmas)
    means = _log_likelihood(*_matching(samples, valid, "valid"), given).mean(0)
    best = given[int(means.argmax())]
    if len(given) > 1 and best in (min(given), max(given)):
        grid = f"{min(given):.3g} to {max(given):.3g}"
        warnings.warn(
            f"best sigma {best:.3g} lies at the edge of the grid, {grid}: beyond it the score may be higher",
            stacklevel=2,
        )
    return best


def score(samples: Array, valid: Array, test: Array, sigmas: Sequence[float] | Array = SIGMAS) -> Score:
    """Mean log-likelihood of the test set, sigma chosen on the validation set (section 5, Table 1), in nats.

    samples is (n, d), valid and test have d columns too; for MNIST the authors took 10,000 samples and 1,000
    validation images. The standard error, std / sqrt(m), speaks of the test set alone, not of other samples
    or other trainings. Errors as in `log_likelihood`.
    """
    samples, test = _matching(samples, test, "test")
    sigma = select_sigma(samples, valid, sigmas)
    values = _log_likelihood(samples, test, [sigma])[:, 0]
    standard_error = values.std(correction=0).item() / math.sqrt(len(values))
    return Score(values.mean().item(), standard_error, sigma, values)


def redraw_error(
    samples: Float[Tensor, "n d"], x: Float[Tensor, "m d"], sigma: float, blocks: int = 10
) -> float:
    """How far other samples of the same model would move the mean log-density of x: standard error, nats.

    By the jackknife: each of so many blocks of neighbouring samples is left out in turn. Samples that hang
    together, such as those of one chain, must be neighbours. On average the estimate is too high (Efron and
    Stein, 1981), the more so the fewer points x there are.
    """
    parts = samples.chunk(blocks)
    sums = [log_likelihood(part, x, sigma) + math.log(len(part)) for part in parts]
    left = torch.stack(
        [
            torch.stack(sums[:b] + sums[b + 1 :]).logsumexp(0).mean() - math.log(len(samples) - len(part))
            for b, part in enumerate(parts)
        ]
    )
    return math.sqrt((len(parts) - 1) * left.var(correction=0).item())


# How it is computed. With the samples' mean as origin,
#
#     |x - s|^2 / 2 = |x|^2 / 2 - affinity,      affinity = x.s - |s|^2 / 2,
#
# so one float32 matrix product gives all distances, and the largest affinity belongs to the nearest sample.
# The sum is off by at most `slack`, a bound proven in `_products`, and log p by at most slack / sigma^2.
#
# - Where that is under TOLERANCE, the exponentials are summed as they are: `_log_sum_exp`.
# - Where sigma is smaller, few samples count. Those with an affinity within `reach` of the largest are
#   measured again in float64, coordinate by coordinate, and the others dropped: `_near_log_sums`. As reach
#   is sigma^2 (log n + NEGLIGIBLE) plus twice the slack, a dropped sample is truly more than the former below
#   the nearest; all together weigh less than n exp(-log n - NEGLIGIBLE) = exp(-NEGLIGIBLE) of that one.
# - Should, in a piece of the table, over one pair in a hundred be near, a float64 product is quicker:
#   `_float64_log_sums`. Where sigma is minute beside the distances its own slack is too large, and the pairs
#   are measured all the same.


class _Window(NamedTuple):
    """The samples, and what every block of x needs to know of them."""

    samples: Float[Tensor, "n d"]
    centre: Float[Tensor, " d"]
    moved: Float32[Tensor, "n d"]
    half_squares: Float64[Tensor, " n"]


def _log_likelihood(
    samples: Float[Tensor, "n d"], x: Float[Tensor, "m d"], sigmas: list[float]
) -> Float64[Tensor, "m s"]:
    """The public formula, for input that has been checked."""
    n, d = samples.shape
    rows = max(1, BLOCK // max(n, d))
    rows -= rows % min(rows, 96)  # products are fastest at a height that their inner tiles divide
    with torch.inference_mode(False), _true_float32():  # other threads know of no such mode
        # First what stays: it must not lie between what comes and goes, or the heap grows with every block.
        sums = torch.empty(len(x), len(sigmas), dtype=torch.float64, device=x.device)
        window = _window(samples, torch.promote_types(x.dtype, torch.float32))
        blocks = [slice(start, start + rows) for start in range(0, len(x), rows)]
        _in_parallel(lambda b: sums[b].copy_(_log_sums(window, x[b], sigmas)), blocks, x.device.type)
    sigma = torch.tensor(sigmas, dtype=torch.float64, device=x.device)
    return sums - math.log(n) - d * torch.log(sigma * math.sqrt(2 * math.pi))


def _in_parallel(work: Callable[[slice], object], blocks: list[slice], device: str) -> None:
    """Each block on a core of its own: quicker than all cores on each, for none waits for the others."""
    threads = torch.get_num_threads()
    workers = min(threads, len(blocks), WORKERS) if device == "cpu" else 1
    if workers == 1:
        for block in blocks:
            work(block)
        return
    try:
        with ThreadPoolExecutor(workers, "parzen", torch.set_num_threads, (threads // workers,)) as pool:
            list(pool.map(work, blocks))
    finally:
        torch.set_num_threads(threads)  # what a worker sets for itself is the default of later threads too


@torch.no_grad()
def _window(samples: Float[Tensor, "n d"], dtype: torch.dtype) -> _Window:
    """Move the origin to the samples' mean: far from it, squares would drown the distances."""
    n, d = samples.shape
    rows = max(1, PIECE // d)
    mean = sum(part.sum(0, dtype=torch.float64) for part in samples.split(rows)) / n
    centre = mean.to(torch.promote_types(samples.dtype, dtype))
    moved = torch.empty(n, d, dtype=torch.float32, device=samples.device)
    half_squares = torch.empty(n, dtype=torch.float64, device=samples.device)
    for part, target, half in zip(*(t.split(rows) for t in (samples, moved, half_squares)), strict=True):
        target.copy_(part - centre)
        half.copy_(_half_squares(target))
    return _Window(samples, centre, moved, half_squares)


@torch.no_grad()
def _log_sums(window: _Window, x: Float[Tensor, "b d"], sigmas: list[float]) -> Float64[Tensor, "b s"]:
    """log sum_j exp(-|x - s_j|^2 / 2 sigma^2), for one block of x and every sigma."""
    n = len(window.samples)
    products, half_x, slack, slack64 = _products(window, x)
    exact = slack64 < TOLERANCE * min(sigmas) ** 2  # a float64 product is
    if slack == math.inf:
        if exact:
            return _float64_log_sums(window, x, sigmas)
        sums = []
        for part in x.split(max(1, PIECE // n)):
            row, column = torch.ones(len(part), n, device=x.device).nonzero(as_tuple=True)
            sums.append(_near_log_sums(window, part, row, column, sigmas))
        return torch.cat(sums)
    wide = [k for k, sigma in enumerate(sigmas) if slack < TOLERANCE * sigma**2]
    narrow = [k for k in range(len(sigmas)) if k not in wide]
    reach = max((sigmas[k] ** 2 for k in narrow), default=0.0) * (math.log(n) + NEGLIGIBLE) + 2 * slack

    found = torch.empty(len(x), len(sigmas), dtype=torch.float64, device=x.device)
    narrow_sigmas, many, half_s = [sigmas[k] for k in narrow], [], window.half_squares.float()
    rows = max(1, (PIECE if x.device.type == "cpu" else BLOCK) // n)
    for start in range(0, len(x), rows):
        piece = slice(start, start + rows)
        gaps = products[piece].sub_(half_s)  # now they are affinities,
        top = gaps.amax(1, keepdim=True)
        gaps -= top  # and now their distances from the row's largest
        for k in wide:
            nearest = half_x[piece] - top[:, 0]
            found[piece, k] = _log_sum_exp(gaps, sigmas[k]) - nearest / sigmas[k] ** 2
        if narrow:
            row, column = _where_at_least(gaps, -reach)
            if 100 * len(row) < gaps.numel() or not exact:
                found[piece, narrow] = _near_log_sums(window, x[piece], row, column, narrow_sigmas)
            else:
                many.append(torch.arange(len(x), device=x.device)[piece])
    if many:
        rows_of = torch.cat(many)
        found[rows_of[:, None], narrow] = _float64_log_sums(window, x[rows_of], narrow_sigmas)
    return found


def _products(
    window: _Window, x: Float[Tensor, "b d"]
) -> tuple[Float32[Tensor, "b n"], Float64[Tensor, " b"], float, float]:
    """x.s in float32, |x|^2 / 2, and the slack: a bound on the error of |x|^2 / 2 + |s|^2 / 2 - x.s.

    Last, the slack that this sum would have in float64.

    With u = 2^-24, rounding x and s costs at most 2u|x||s| + u|x|^2 + u|s|^2; summing p products, pu|x||s|
    (panel by panel: Cauchy-Schwarz adds them up); adding q panels, (q - 1)u|x||s|; rounding and subtracting
    |s|^2 / 2, u|s|^2 + u|x||s|. All this is at most u|x|^2 + (p + q + 4) u |s| max(|x|, |s|). A trifle is
    added for each of the d products, should it be too small for float32. If any may be too large, the slack
    is infinite. In float64 u is 2^-53, and there is one panel of all d products.
    """
    n, d = window.samples.shape
    moved = (x - window.centre).float()
    half_x = _half_squares(moved)
    products = torch.empty(len(x), n, dtype=torch.float32, device=x.device)
    panels = list(zip(moved.split(PANEL, 1), window.moved.split(PANEL, 1), strict=True))
    for i, (left, right) in enumerate(panels):
        products.addmm_(left, right.T, beta=min(i, 1))

    longest_s, longest_x = (math.sqrt(2 * half.max().item()) for half in (window.half_squares, half_x))
    largest, limits = longest_s * max(longest_x, longest_s), torch.finfo(torch.float32)
    slack = 2**-24 * (longest_x**2 + (min(PANEL, d) + len(panels) + 4) * largest) + d * limits.tiny
    slack64 = 2**-53 * (longest_x**2 + (d + 5) * largest)
    return products, half_x, slack if max(largest, slack) < limits.max else math.inf, slack64


def _half_squares(vectors: Float[Tensor, "r d"]) -> Float64[Tensor, " r"]:
    return torch.linalg.vector_norm(vectors, dim=1, dtype=torch.float64).square() / 2


def _log_sum_exp(gaps: Float[Tensor, "b n"], sigma: float) -> Float[Tensor, " b"]:
    """log sum_j exp(gap_j / sigma^2), where the largest gap of every row is 0.

    A term under e^-80 counts as e^-80. Beside the 1 that changes nothing, and it spares a CPU the numbers
    next to zero, "subnormal" in float32, over which it takes forty times as long.
    """
    return torch.mul(gaps, 1 / sigma**2).clamp_(min=-80).exp_().sum(1).log()


def _where_at_least(
    gaps: Float32[Tensor, "b n"], level: float
) -> tuple[Int64[Tensor, " p"], Int64[Tensor, " p"]]:
    """Rows and columns of the gaps that reach the level."""
    if gaps.device.type != "cpu":
        rows, columns = (gaps >= level).nonzero(as_tuple=True)
        return rows, columns
    found = torch.from_numpy(np.flatnonzero(gaps.numpy() >= level))  # NumPy is quicker when they are rare
    return found // gaps.shape[1], found % gaps.shape[1]


def _near_log_sums(
    window: _Window,
    x: Float[Tensor, "b d"],
    row: Int64[Tensor, " p"],
    column: Int64[Tensor, " p"],
    sigmas: list[float],
) -> Float64[Tensor, "b s"]:
    """As `_log_sums`, over the pairs (x[row], samples[column]) alone, by differences: nothing cancels."""
    pairs, halves = max(1, PIECE // x.shape[1]), []
    for i, j in zip(row.split(pairs), column.split(pairs), strict=True):
        differences = x.index_select(0, i).double() - window.samples.index_select(0, j).double()
        halves.append(_half_squares(differences))
    half = torch.cat(halves)
    nearest = half.new_full((len(x),), math.inf).scatter_reduce_(0, row, half, "amin")
    gaps = nearest[row] - half
    sums = []
    for sigma in sigmas:
        total = torch.zeros_like(nearest).index_add_(0, row, torch.exp(gaps / sigma**2))
        sums.append(total.log() - nearest / sigma**2)
    return torch.stack(sums, 1)


def _float64_log_sums(
    window: _Window, x: Float[Tensor, "b d"], sigmas: list[float]
) -> Float64[Tensor, "b s"]:
    """As `_log_sums`, from a float64 product, over some samples at a time."""
    centre = window.centre.double()
    moved_x = x.double() - centre
    half_x = _half_squares(moved_x)
    parts = []
    for part in window.samples.split(max(1, BLOCK // (4 * max(x.shape)))):
        moved_s = part.double() - centre
        gaps = torch.addmm(_half_squares(moved_s), moved_x, moved_s.T, beta=-1)
        top = gaps.amax(1, keepdim=True)
        gaps -= top
        nearest = half_x - top[:, 0]
        parts.append(torch.stack([_log_sum_exp(gaps, sigma) - nearest / sigma**2 for sigma in sigmas], 1))
    return torch.stack(parts).logsumexp(0)


@contextmanager
def _true_float32() -> Iterator[None]:
    """Inside, float32 products are just that: no TF32, no bfloat16, whatever the caller has switched on."""
    backends: Any = torch.backends  # torch does not declare all of its switches
    switches = (backends.cuda.matmul, backends.mkldnn.matmul)
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "ieee"
        yield
    finally:
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision


def _matching(samples: Array, x: Array, name: str) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """Both as tensors, or one line that says what does not fit."""
    samples, x = _points(samples, "samples"), _points(x, name)
    if samples.shape[1] != x.shape[1]:
        shapes = f"{tuple(samples.shape)} and {tuple(x.shape)}"
        raise ValueError(f"samples and {name} must be as wide, got shapes {shapes}: give both d columns")
    if samples.device != x.device:
        devices = f"{samples.device} and {x.device}"
        raise ValueError(f"samples and {name} must be on one device, got {devices}: move one with .to()")
    return samples, x


def _points(points: Array, name: str) -> Float[Tensor, "n d"]:
    """Points as a tensor, or one line that says what is wrong with them."""
    if not isinstance(points, np.ndarray | Tensor):
        raise ValueError(
            f"{name} must be an array or a tensor, got {type(points).__name__}: numpy.asarray makes one"
        )
    if not (points.dtype.kind == "f" if isinstance(points, np.ndarray) else points.is_floating_point()):
        raise ValueError(
            f"{name} must be floating point, got {points.dtype}: convert it (divide pixels by 255)"
        )
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(
            f"{name} must have shape (points, coordinates), one or more of each, got {tuple(points.shape)}: "
            "reshape images with .reshape(len(images), -1), one image with .reshape(1, -1), plain numbers"
            " with .reshape(-1, 1)"
        )
    if isinstance(points, np.ndarray):  # in this machine's byte order, and writable, or torch complains
        points = torch.from_numpy(np.require(points, f"f{min(points.itemsize, 8)}", ["C", "W"]))
    size = torch.stack(points.aminmax()).abs().max()
    if not size.isfinite():
        row = int((~points.isfinite()).any(1).nonzero()[0])
        raise ValueError(f"{name} must be finite, got nan or infinity in row {row}: leave such rows out")
    if size > LARGEST:
        raise ValueError(f"{name} must lie within ±1e150, got {size:g}: rescale them")
    return points


def _sigmas(sigma: float | Sequence[float] | Array) -> list[float]:
    """One sigma or several as a list, or one line that says what is wrong with them."""
    try:
        values = torch.as_tensor(sigma, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"sigma must be one number or a list of them, got {sigma!r}") from None
    if values.ndim > 1 or len(values.reshape(-1)) == 0:
        raise ValueError(f"sigma must be one number or a list of them, got shape {tuple(values.shape)}")
    for value in values.reshape(-1).tolist():
        if not 0 < value < math.inf:
            raise ValueError(f"sigma must be positive and finite, got {value:g}")
        if not 1 / LARGEST <= value <= LARGEST:
            raise ValueError(f"sigma must lie in [1e-150, 1e150], got {value:g}: rescale it and the data")
    return values.reshape(-1).tolist()
