"""P1: the Parzen window against scikit-learn, SciPy, closed forms and brute force in float64."""

from __future__ import annotations

import importlib.util
import itertools
import math
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import trapezoid
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.datasets import load_digits
from sklearn.neighbors import KernelDensity

from gansrc import parzen

GRID = np.logspace(-1, 0, 10)


def brute_force(samples, x, sigmas) -> np.ndarray:
    """The definition in float64, every distance by differences: (m, s)."""
    samples, x = (np.asarray(a, dtype=np.float64) for a in (samples, x))
    squares = cdist(x, samples, "sqeuclidean")
    n, d = samples.shape
    columns = [
        logsumexp(-squares / (2 * s * s), axis=1) - math.log(n) - d * math.log(s * math.sqrt(2 * math.pi))
        for s in sigmas
    ]
    return np.stack(columns, 1)


def errors(samples, x, sigmas) -> np.ndarray:
    """Signed errors in nats; beyond 1,000 nats, in thousandths of the value."""
    truth = brute_force(samples, x, sigmas)
    return (parzen.log_likelihood(samples, x, sigmas).numpy() - truth) / np.maximum(1, abs(truth) / 1000)


def images(kind: str, d: int, n: int = 1500, m: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples (n, d) and points (m, d) in [0, 1], of a kind that is hard in one way or another."""
    g = torch.Generator().manual_seed(d)
    samples, x = torch.rand(n, d, generator=g), torch.rand(m, d, generator=g)
    if kind == "binary":
        return samples.round(), x.round()
    if kind == "points among the samples":
        return samples, samples[:m].clone()
    if kind == "points near the samples":
        return samples, (samples[:m] + 0.02 * torch.randn(m, d, generator=g)).clamp(0, 1)
    if kind == "a few modes":
        modes = torch.rand(10, d, generator=g)
        samples = modes.repeat(n // 10, 1) + 0.001 * torch.randn(n, d, generator=g)
        return samples.clamp(0, 1), (modes[:m] + 0.01 * torch.randn(10, d, generator=g)).clamp(0, 1)
    if kind == "two greys, constant":  # rounding errors all point the same way
        return torch.tensor([0.5335608, 0.8908406]).repeat(n // 2)[:, None].repeat(1, d), torch.full(
            (m, d), 0.72316
        )
    if kind == "collapsed":
        return (0.5 + 0.001 * torch.randn(n, d, generator=g)).clamp(0, 1), x
    return samples, x


KINDS = [
    "uniform", "binary", "points among the samples", "points near the samples", "a few modes",
    "two greys, constant", "collapsed",
]  # fmt: skip


@pytest.mark.parametrize("d", [1, 2, 784, 3072])
@pytest.mark.parametrize("kind", KINDS)
def test_error_bounds_on_the_unit_cube(kind, d):
    """Each point within 1e-2 nats, the mean within 1e-3, for every sigma in [.1, 1]."""
    samples, x = images(kind, d)
    error = errors(samples, x, np.linspace(0.1, 1, 19))
    assert abs(error).max() < 1e-2
    assert abs(error.mean(0)).max() < 1e-3


def test_error_bounds_on_real_digits():
    digits = (load_digits().data / 16).astype(np.float32)
    error = errors(digits[:1500], digits[1500:], GRID)
    assert abs(error).max() < 1e-2
    assert abs(error.mean(0)).max() < 1e-3


@pytest.mark.parametrize(
    ("scale", "shift"), [(255, 0), (1, 1e6), (1, -300), (1e-3, 0), (1e25, 0), (1e-25, 0), (1e36, 0)]
)
@pytest.mark.parametrize("d", [1, 784])
def test_any_scale_and_any_origin(scale, shift, d):
    samples, x = (scale * a.double() + shift for a in images("uniform", d))
    assert abs(errors(samples, x, scale * GRID)).max() < 1e-2


def test_contrast_normalised_images_of_norm_55():
    g = torch.Generator().manual_seed(0)
    samples, x = (
        55 * torch.nn.functional.normalize(torch.randn(k, 3072, generator=g), dim=1) for k in (1000, 40)
    )
    assert abs(errors(samples, x, [0.5, 1.0, 2.0, 5.0, 10.0])).max() < 1e-2


def test_clusters_and_outliers_far_apart():
    samples, x = images("uniform", 20)
    samples[::2] += 1e4
    samples[7], x[3], x[::2] = 1e5, -1e6, x[::2] + 1e4
    assert abs(errors(samples, x, GRID)).max() < 1e-2


@pytest.mark.parametrize("n", [1, 2, 3, 50, 99, 101, 2000])
@pytest.mark.parametrize("d", [1, 3, 40])
def test_a_sigma_that_is_minute_beside_samples_far_apart(n, d):
    rng = np.random.default_rng(n)
    for spread in (1.0, 1e6, 1e30):
        for sigma in spread * 10.0 ** np.array([-13, -10, -7, -3]):
            samples = spread * rng.standard_normal((n, d))
            x = np.concatenate([samples[:7] + sigma * rng.standard_normal((min(n, 7), d)), -samples[:3]])
            assert abs(errors(samples, x, [sigma])).max() < 1e-2
            assert abs(errors(samples, x, [sigma, spread])).max() < 1e-2
            highest = -d * math.log(sigma * math.sqrt(2 * math.pi))
            assert parzen.log_likelihood(samples, x, sigma).max() <= highest + 1e-9
    clusters = np.repeat(1e6 * rng.standard_normal((3, d)), n, axis=0)
    samples = clusters + 1e-4 * rng.standard_normal((3 * n, d))  # more than one pair in a hundred is near
    assert abs(errors(samples, samples[::n] + 1e-4, [1e-4])).max() < 1e-2


def test_two_samples_far_apart_are_two_gaussians():
    samples, x = np.array([[0.0], [1e6]]), np.array([[0.0], [0.0003], [1e6]])
    truth = stats.norm(0, 1e-4).logpdf([0.0, 0.0003, 0.0]) - math.log(2)
    np.testing.assert_allclose(parzen.log_likelihood(samples, x, 1e-4), truth, rtol=1e-12)


@pytest.mark.parametrize("d", [1, 3, 40])
@pytest.mark.parametrize("sigma", [0.05, 0.3, 2.0])
def test_agrees_with_scikit_learn(d, sigma):
    """With its tree cut to a single leaf: with more, it errs by hundreds of nats."""
    samples, x = images("uniform", d, n=700)
    truth = KernelDensity(bandwidth=sigma, leaf_size=700).fit(samples.double()).score_samples(x.double())
    np.testing.assert_allclose(parzen.log_likelihood(samples, x, sigma), truth, rtol=1e-6, atol=1e-3)


def test_one_sample_is_a_gaussian():
    rng = np.random.default_rng(0)
    sample, x = rng.normal(size=(1, 5)), rng.normal(size=(30, 5))
    truth = stats.multivariate_normal(sample[0], 0.09 * np.eye(5)).logpdf(x)
    np.testing.assert_allclose(parzen.log_likelihood(sample, x, 0.3), truth, rtol=1e-6)


def test_one_dimension_is_a_density():
    samples = np.random.default_rng(0).normal(size=(200, 1))
    x = np.linspace(-8, 8, 4001)[:, None]
    for sigma in (0.02, 0.2, 1.0):
        density = parzen.log_likelihood(samples, x, sigma).exp().numpy()
        assert trapezoid(density, x[:, 0]) == pytest.approx(1, abs=1e-6)


def test_far_points_do_not_underflow():
    for samples in (torch.zeros(4, 1), torch.tensor([[0.01], [-0.01]])):
        for far in (1e3, -1e9, 1e30):
            truth = stats.norm(0, 0.1).logpdf(abs(far) - 0.01 * (len(samples) == 2))
            result = parzen.log_likelihood(samples, torch.tensor([[0.0], [far]]), 0.1)
            assert result[1].item() == pytest.approx(truth, rel=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    d=st.sampled_from([1, 2, 17, 300]), n=st.integers(1, 40), m=st.integers(1, 9), seed=st.integers(0, 10**6),
    sigma=st.floats(0.03, 30), repeats=st.integers(2, 5), shift=st.floats(-1e3, 1e3),
)  # fmt: skip
def test_what_must_not_matter(d, n, m, seed, sigma, repeats, shift):
    """The order of the samples, a common number of copies, and the origin."""
    g = torch.Generator().manual_seed(seed)
    samples, x = (torch.randn(k, d, generator=g, dtype=torch.float64) for k in (n, m))
    truth = brute_force(samples, x, [sigma])[:, 0]
    close = {"rtol": 1e-6, "atol": 1e-3}
    np.testing.assert_allclose(parzen.log_likelihood(samples, x, sigma), truth, **close)
    shuffled = samples[torch.randperm(n, generator=g)]
    np.testing.assert_allclose(parzen.log_likelihood(shuffled, x, sigma), truth, **close)
    np.testing.assert_allclose(parzen.log_likelihood(samples.repeat(repeats, 1), x, sigma), truth, **close)
    np.testing.assert_allclose(parzen.log_likelihood(samples + shift, x + shift, sigma), truth, **close)


def test_many_blocks_make_one_result(monkeypatch):
    samples, x = images("points near the samples", 30, n=301, m=77)
    samples[:20] = samples[20]
    whole = parzen.log_likelihood(samples, x, GRID)
    monkeypatch.setattr(parzen, "BLOCK", 5000)
    monkeypatch.setattr(parzen, "PIECE", 1100)
    monkeypatch.setattr(parzen, "PANEL", 7)
    np.testing.assert_allclose(parzen.log_likelihood(samples, x, GRID), whole, rtol=1e-6, atol=1e-3)


def test_the_error_bound_holds():
    """The slack is what the algorithm rests on: no float32 affinity may be further off."""
    for kind in KINDS:
        for d in (3, 784):
            samples, x = images(kind, d)
            window = parzen._window(samples, torch.float32)
            products, half_x, slack, slack64 = parzen._products(window, x)
            affinity = (products - window.half_squares.float()).double()
            truth = half_x[:, None] - torch.from_numpy(cdist(x.double(), samples.double(), "sqeuclidean")) / 2
            assert (affinity - truth).abs().max() < slack, (kind, d)
            left, right = (t[:10].double() - window.centre.double() for t in (x, samples))
            of_float64 = left @ right.T - (left**2).sum(1)[:, None] / 2 - (right**2).sum(1) / 2
            left, right = (np.asarray(t, np.longdouble) for t in (x[:10], samples[:10]))
            exact = -((left[:, None] - right) ** 2).sum(-1) / 2
            assert abs(of_float64.numpy() - exact).max() < slack64, (kind, d)


@pytest.mark.parametrize("distance", [0.97, 1.03])
def test_dropped_terms_are_negligible(distance):
    """The worst case: all samples but one lie just within reach, or just beyond and are dropped."""
    n, d, sigma = 2000, 784, 0.1
    edge = sigma**2 * (math.log(2 * n) + 7)
    ring = math.sqrt(2 * edge * distance) * torch.eye(d).repeat(3, 1)[:n]
    ring[0] = 0
    samples = torch.cat([ring, torch.full((n, d), 0.5)])  # these, far away, make float32 too coarse
    missing = -errors(samples, torch.zeros(1, d), [sigma])[0, 0]
    assert 1e-4 < missing < 1e-3 if distance > 1 else abs(missing) < 1e-6


def test_products_that_are_off_by_all_of_the_slack_cost_nothing(monkeypatch):
    n, sigma, slack = 500, 0.1, 0.2
    ring = math.sqrt(sigma**2 * math.log(n)) * torch.eye(
        n
    )  # each weighs n ** -0.5 of the nearest: none may be left out
    ring[0] = 0
    products_of = parzen._products

    def off_by_the_slack(window, x):
        products, half_x, *_ = products_of(window, x)
        products[:, 0] += 2 * slack  # one is off by that to this side, all others to that side
        return products - slack, half_x, slack, math.inf

    monkeypatch.setattr(parzen, "_products", off_by_the_slack)
    assert abs(errors(ring, torch.zeros(1, n), [sigma])).max() < 1e-4


@pytest.mark.parametrize(
    ("kind", "route"),
    [("uniform", "_near_log_sums"), ("a few modes", "_float64_log_sums"), ("collapsed", "_log_sum_exp")],
)
def test_each_route_is_taken(kind, route, monkeypatch):
    taken = []
    for name in ("_near_log_sums", "_float64_log_sums", "_log_sum_exp"):
        function = getattr(parzen, name)
        monkeypatch.setattr(parzen, name, lambda *args, f=function, name=name: taken.append(name) or f(*args))
    parzen.log_likelihood(*images(kind, 784), 0.1)
    assert taken[0] == route


def test_input_of_every_kind():
    samples, x = images("uniform", 6, n=40, m=8)
    truth = brute_force(samples, x, [0.5, 0.2])
    read_only, fortran = samples.numpy().copy(), np.asfortranarray(x.numpy())
    read_only.flags.writeable = False
    close = {"rtol": 1e-6, "atol": 1e-5}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(parzen.log_likelihood(read_only, fortran, [0.5, 0.2]), truth, **close)
    np.testing.assert_allclose(
        parzen.log_likelihood(samples, x.numpy().astype(">f8"), 0.5), truth[:, 0], **close
    )
    np.testing.assert_allclose(parzen.log_likelihood(samples.requires_grad_(), x, 0.5), truth[:, 0], **close)
    for sigma in (
        [0.5, 0.2],
        (0.5, 0.2),
        np.array([0.5, 0.2]),
        torch.tensor([0.5, 0.2], dtype=torch.float64),
    ):
        result = parzen.log_likelihood(samples, x, sigma)
        assert result.shape == (8, 2)
        assert result.dtype == torch.float64
        assert not result.requires_grad
        np.testing.assert_allclose(result, truth, **close)
    assert parzen.log_likelihood(samples, x, 0.5).shape == (8,)
    assert parzen.log_likelihood(samples, x, torch.tensor(0.5)).shape == (8,)
    for half in (torch.float16, torch.bfloat16):
        rough, points = samples.detach().to(half), x.to(half)
        truth = brute_force(rough.float(), points.float(), [0.2])[:, 0]
        np.testing.assert_allclose(parzen.log_likelihood(rough, points, 0.2), truth, **close)


def test_what_is_the_callers_is_left_alone():
    """The data, and the number of threads, in this thread and in new ones."""
    samples, x = images("uniform", 30, m=9000)
    before, threads = (samples.clone(), x.clone()), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        parzen.log_likelihood(samples, x, GRID)
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(samples, before[0])
    assert torch.equal(x, before[1])


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_any_number_of_threads(threads, monkeypatch):
    samples, x = images("points near the samples", 30, n=301, m=77)
    truth = brute_force(samples, x, GRID)
    monkeypatch.setattr(parzen, "BLOCK", 3000)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            result = parzen.log_likelihood(samples, x, GRID)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(result, truth, rtol=1e-6, atol=1e-3)


def test_reduced_precision_does_not_reach_the_distances(monkeypatch):
    """TF32 and bfloat16 would cost nats; the switch that allows them is found as it was left."""
    samples, x = images("uniform", 784)
    truth = parzen.log_likelihood(samples, x, GRID)
    multiply, seen = torch.Tensor.addmm_, []

    def addmm_(*arguments, **options):  # whether a CPU makes use of the switch is another matter
        seen.append([b.matmul.fp32_precision for b in (torch.backends.cuda, torch.backends.mkldnn)])
        return multiply(*arguments, **options)

    monkeypatch.setattr(torch.Tensor, "addmm_", addmm_)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            result = parzen.log_likelihood(samples, x, GRID)
        assert torch.get_float32_matmul_precision() == "medium"
        with pytest.raises(ValueError, match="finite"):
            parzen.log_likelihood(samples * math.nan, x, GRID)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(result, truth)
    assert seen and all(precisions == ["ieee", "ieee"] for precisions in seen)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_stays_on_the_gpu(kind):
    samples, x = images(kind, 784)
    truth = brute_force(samples, x, GRID)
    torch.set_float32_matmul_precision("high")
    try:
        result = parzen.log_likelihood(samples.cuda(), x.cuda(), GRID)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert result.is_cuda
    error = (result.cpu().numpy() - truth) / np.maximum(1, abs(truth) / 1000)
    assert abs(error).max() < 1e-2
    assert abs(error.mean(0)).max() < 1e-3
    with pytest.raises(ValueError, match="samples and x must be on one device, got cuda:0 and cpu"):
        parzen.log_likelihood(samples.cuda(), x, 0.2)


def test_the_default_grid_is_the_authors():
    np.testing.assert_allclose(parzen.SIGMAS, np.logspace(-1, 0, 10), rtol=1e-15)


def test_select_sigma_finds_the_best_on_the_grid():
    samples, valid = images("uniform", 10)
    best = brute_force(samples, valid, GRID).mean(0).argmax()
    assert 0 < best < 9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parzen.select_sigma(samples, valid) == pytest.approx(GRID[best])
        assert parzen.select_sigma(samples, valid, sigmas=[5.0]) == 5.0  # no choice, no edge


@pytest.mark.parametrize("sigmas", [[0.5, 1.0, 2.0], [2.0, 1.0, 0.5], [0.01, 0.02]])
def test_select_sigma_warns_at_the_edge(sigmas):
    samples, valid = images("uniform", 3, n=500)
    best = min(sigmas, key=lambda sigma: abs(math.log(sigma / 0.12)))
    with pytest.warns(UserWarning, match=f"best sigma {best} lies at the edge of the grid"):
        assert parzen.select_sigma(samples, valid, sigmas) == best


def test_score_is_a_line_of_table_1():
    samples, points = images("uniform", 3, n=500, m=90)
    valid, test = points[:30], points[30:]
    sigmas = [0.05, 0.1, 0.2, 0.4]
    chosen = sigmas[brute_force(samples, valid, sigmas).mean(0).argmax()]
    values = brute_force(samples, test, [chosen])[:, 0]
    result = parzen.score(samples, valid, test, sigmas=sigmas)
    assert result.sigma == chosen
    np.testing.assert_allclose(result.log_likelihoods, values, atol=1e-4)
    assert result.mean == pytest.approx(values.mean(), abs=1e-4)
    assert result.standard_error == pytest.approx(values.std() / math.sqrt(60), abs=1e-4)


GOOD = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
HOLED = GOOD.clone()
HOLED[2, 1] = math.nan
ENDLESS = GOOD.clone()
ENDLESS[3, 0] = -math.inf


@pytest.mark.parametrize(
    ("samples", "x", "sigma", "message"),
    [
        ((GOOD * 255).byte(), GOOD, 0.2, r"samples must be floating point, got torch.uint8: .* 255"),
        (GOOD, (GOOD * 255).byte().numpy(), 0.2, r"x must be floating point, got uint8: .* 255"),
        (GOOD, GOOD.long(), 0.2, r"x must be floating point, got torch.int64"),
        (GOOD[0], GOOD, 0.2, r"samples must have shape .*, got \(3,\): .*reshape"),
        (GOOD, GOOD.reshape(4, 1, 3, 1), 0.2, r"x must have shape .*, got \(4, 1, 3, 1\): .*reshape"),
        (GOOD[:0], GOOD, 0.2, r"samples must have shape .* one or more .* got \(0, 3\)"),
        (GOOD, GOOD[:, :0], 0.2, r"x must have shape .* one or more .* got \(4, 0\)"),
        (GOOD, GOOD[:, :2], 0.2, r"samples and x .* shapes \(4, 3\) and \(4, 2\)"),
        (HOLED, GOOD, 0.2, r"samples must be finite, got nan or infinity in row 2"),
        (GOOD, ENDLESS, 0.2, r"x must be finite, got nan or infinity in row 3"),
        (GOOD, GOOD, -0.2, r"sigma must be positive and finite, got -0.2"),
        (GOOD, GOOD, [0.1, 0.0], r"sigma must be positive and finite, got 0"),
        (GOOD, GOOD, math.nan, r"sigma must be positive and finite, got nan"),
        (GOOD, GOOD, math.inf, r"sigma must be positive and finite, got inf"),
        (GOOD, GOOD, 1e160, r"sigma must lie in \[1e-150, 1e150\], got 1e\+160: rescale"),
        (GOOD, GOOD, [0.1, 1e-170], r"sigma must lie in \[1e-150, 1e150\], got 1e-170: rescale"),
        (GOOD.double() * 1e200, GOOD, 0.2, r"samples must lie within ±1e150, got .*e\+199: rescale"),
        (GOOD, GOOD, [], r"sigma must be one number or a list of them, got shape \(0,\)"),
        (GOOD, GOOD, np.ones((2, 2)), r"sigma must be one number or a list of them, got shape \(2, 2\)"),
    ],
)
def test_bad_input_is_one_line(samples, x, sigma, message):
    with pytest.raises(ValueError, match=message) as error:
        parzen.log_likelihood(samples, x, sigma)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sigma", ["scott", None, ["a", 0.1], [0.1, None], [[0.1], [0.2, 0.3]], 1j])
def test_a_sigma_that_is_no_number_is_shown(sigma):
    spec = importlib.util.spec_from_file_location("as_callers_have_it", parzen.__file__)
    module = importlib.util.module_from_spec(spec)  # without the types that are checked in tests alone
    spec.loader.exec_module(module)
    with pytest.raises(ValueError, match="^sigma must be one number or a list of them, got ") as error:
        module.log_likelihood(GOOD, GOOD, sigma)
    assert str(error.value).endswith(repr(sigma))


def test_bad_input_is_called_by_its_name():
    with pytest.raises(ValueError, match="valid must be finite"):
        parzen.select_sigma(GOOD, HOLED)
    with pytest.raises(ValueError, match="samples and test must be as wide"):
        parzen.score(GOOD, GOOD, GOOD[:, :1])


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([1, 2, 5, 99, 101]), st.sampled_from([1, 3, 50]), st.floats(-6, 6), st.floats(-10, 1),
    st.floats(-8, 1), st.sampled_from([0.0, 1.0, 1000.0]), st.sampled_from([np.float32, np.float64]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_few_samples_and_widths_of_any_size(n, d, size, width, away, origin, dtype, seed):
    """log p is what float64 makes of the very numbers that are given, be they of float32."""
    rng, spread = np.random.default_rng(seed), 10.0**size
    samples = (spread * (origin + rng.standard_normal((n, d)))).astype(dtype)
    x = (samples[rng.integers(0, n, 7)] + spread * 10.0**away * rng.standard_normal((7, d))).astype(dtype)
    sigma = spread * 10.0**width
    found, expected = parzen.log_likelihood(samples, x, sigma), brute_force(samples, x, [sigma])[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=0.004)
    assert (found.numpy() <= -d * np.log(sigma * np.sqrt(2 * np.pi)) + 0.004).all()


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m", "d"), [(40_000, 4_000, 24), (50_000, 1_000, 784)])
def test_memory_stays_at_a_copy_and_a_block_of_distances(n, m, d):
    """40,000 x 4,000 distances are 640 MB in float32; a process of its own measures the peak."""
    program = """if True:
        import resource, sys, torch
        from gansrc import parzen
        unit = 2**10 if sys.platform == "linux" else 2**20
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        n, m, d = map(int, sys.argv[1:])
        samples, x = torch.rand(n, d), torch.rand(m, d)
        parzen.log_likelihood(samples[:99], x[:99], [0.02, 0.2, 1.0])
        before = peak()
        parzen.log_likelihood(samples, x, [0.02, 0.2, 1.0])
        print(peak() - before)"""
    command = [sys.executable, "-c", program, *map(str, (n, m, d))]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 4 * n * d / 2**20 + 150


def test_X1_the_error_of_a_redraw_by_its_definition():
    rng = np.random.default_rng(0)
    samples, x = rng.random((95, 3)), rng.random((40, 3))
    edges = [*range(0, 95, 10), 95]
    left = [
        brute_force(np.delete(samples, np.s_[a:b], 0), x, [0.3]).mean() for a, b in itertools.pairwise(edges)
    ]
    error = parzen.redraw_error(torch.from_numpy(samples), torch.from_numpy(x), 0.3)
    assert error == pytest.approx(math.sqrt(9 * np.var(left)), rel=1e-3)


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_X1_the_error_of_a_redraw_is_that_of_true_redraws_or_above(memory):
    rng = torch.Generator().manual_seed(0)
    draws = torch.randn(100, 1000, 2, generator=rng)
    for t in range(1, 1000):
        draws[:, t] = memory * draws[:, t - 1] + math.sqrt(1 - memory**2) * draws[:, t]
    x = torch.randn(100, 2, generator=rng)
    scores = [parzen.log_likelihood(samples, x, 0.5).mean().item() for samples in draws]
    errors = [parzen.redraw_error(samples, x, 0.5) for samples in draws[:30]]
    assert 0.85 < np.mean(errors) / np.std(scores, ddof=1) < 1.35
