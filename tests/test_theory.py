"""Section 4.1: each equation against an independent answer (scipy, closed forms, brute force, mpmath)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import hypothesis.extra.numpy as hnp
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr
from scipy.stats import cauchy, norm
from scipy.stats import t as student_t

from gansrc.theory import jsd, kl, optimal_discriminator, value, virtual_criterion

Pair = tuple[np.ndarray, np.ndarray]
RNG = np.random.default_rng(2014)


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """Two mass functions on 1 to 40 points, zeros and 15 orders of magnitude included."""
    n = draw(st.integers(1, 40))
    masses = st.one_of(st.just(0.0), st.floats(1e-15, 1.0))
    drawn = hnp.arrays(np.float64, n, elements=masses).filter(lambda x: x.sum() > 0)
    p, q = draw(drawn), draw(drawn)
    return p / p.sum(), q / q.sum()


def gaussians(distance: float, scale: float = 1.0, reach: float = 40.0) -> tuple[*Pair, float]:
    """N(0, 1) and N(distance, scale²) on a grid so wide and fine that its sums are the integrals."""
    x = np.linspace(-reach, reach, 8001)
    return norm.pdf(x), norm.pdf(x, distance, scale), x[1] - x[0]


# --- Proposition 1 --------------------------------------------------------------------------------------


def test_proposition_1_best_d_by_brute_force_at_each_point() -> None:
    p_data, p_g = RNG.dirichlet(np.ones(30), size=2)
    found = [
        minimize_scalar(lambda y, a=a, b=b: -(a * math.log(y) + b * math.log1p(-y)),
                        bounds=(1e-9, 1 - 1e-9), method="bounded", options={"xatol": 1e-10}).x
        for a, b in zip(p_data, p_g, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(optimal_discriminator(p_data, p_g), found, atol=1e-6)


@settings(deadline=None)
@given(pairs(), st.randoms(use_true_random=False))
def test_proposition_1_no_d_has_a_higher_value(pair: Pair, random) -> None:
    other = np.array([random.random() for _ in pair[0]])
    assert value(other, *pair) <= virtual_criterion(*pair) + 1e-12


def test_proposition_1_edges_of_the_supports() -> None:
    d = optimal_discriminator(np.array([0.5, 0.5, 0.0, 0.0]), np.array([0.5, 0.0, 0.5, 0.0]))
    assert d[:3].tolist() == [0.5, 1.0, 0.0]
    assert d[3].isnan()


def test_eq_3_by_hand() -> None:
    v = value(np.array([0.8, 0.4]), np.array([0.5, 0.5]), np.array([0.25, 0.75]))
    expected = 0.5 * math.log(0.8) + 0.5 * math.log(0.4) + 0.25 * math.log(0.2) + 0.75 * math.log(0.6)
    assert v.item() == pytest.approx(expected, abs=1e-15)


def test_eq_3_is_minus_infinity_for_a_d_that_rules_out_what_happens() -> None:
    half = np.array([0.5, 0.5])
    assert value(np.array([0.0, 0.5]), half, half).item() == -math.inf
    assert value(np.array([1.0, 0.5]), half, half).item() == -math.inf
    assert value(np.array([1.0, 0.0]), np.array([1, 0]), np.array([0, 1])).item() == 0


def test_eq_3_points_without_mass_count_nothing() -> None:
    p_data, p_g = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.75, 0.0])
    values = [value(np.array([0.6, 0.3, d]), p_data, p_g).item() for d in (math.nan, 0.0, 1.0)]
    assert len(set(values)) == 1
    weights = np.array([1.0, 1.0, 0.0])  # a point of weight 0 has no mass, whatever the density there
    assert value(np.array([0.6, 0.3, 0.0]), p_data + [0, 0, 9], p_g, weights).item() == values[0]


# --- T2: eq. (4) ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(pairs())
def test_T2_criterion_is_the_value_at_the_best_d(pair: Pair) -> None:
    d = optimal_discriminator(*pair)
    assume(not ((d == 1) & (torch.from_numpy(pair[1]) > 0)).any())  # D* rounded to 1: its value is -inf
    assert virtual_criterion(*pair).item() == pytest.approx(value(d, *pair).item(), abs=1e-12)


def test_T2_equal_densities_give_one_half_and_minus_log_4_on_the_support() -> None:
    p = np.array([0.2, 0.8, 0.0])
    assert optimal_discriminator(p, p)[:2].tolist() == [0.5, 0.5]
    assert optimal_discriminator(p, p)[2].isnan()
    assert virtual_criterion(p, p).item() == pytest.approx(-math.log(4), abs=1e-15)


def test_T2_finite_where_d_star_rounds_to_one() -> None:
    p_data, p_g, dx = gaussians(distance=12.0, reach=30.0)
    assert (optimal_discriminator(p_data, p_g) == 1).any()
    m = (p_data + p_g) / 2
    expected = (rel_entr(p_data, m) + rel_entr(p_g, m)).sum() * dx - math.log(4)
    assert virtual_criterion(p_data, p_g, dx).item() == pytest.approx(expected, abs=1e-12)


# --- T3: eq. (5) and (6) --------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(pairs())
def test_T3_equations_5_and_6_and_scipy(pair: Pair) -> None:
    p_data, p_g = pair
    np.testing.assert_allclose(kl(p_data, p_g), rel_entr(p_data, p_g).sum(), rtol=1e-12, atol=1e-12)
    with np.errstate(invalid="ignore"):  # scipy's rounding may go below 0, and its square root be nan
        expected = np.nan_to_num(jensenshannon(p_data, p_g)) ** 2
    np.testing.assert_allclose(jsd(p_data, p_g), expected, rtol=1e-12, atol=1e-12)
    mixture = (p_data + p_g) / 2
    c = virtual_criterion(p_data, p_g).item()
    assert c == pytest.approx(-math.log(4) + kl(p_data, mixture).item() + kl(p_g, mixture).item(), abs=1e-12)
    assert c == pytest.approx(-math.log(4) + 2 * jsd(p_data, p_g).item(), abs=1e-12)


@settings(deadline=None)
@given(pairs())
def test_T3_jsd_is_symmetric_bounded_and_zero_on_equal_densities(pair: Pair) -> None:
    p, q = pair
    assert jsd(p, q).item() == jsd(q, p).item()
    assert 0 <= jsd(p, q).item() <= math.log(2)
    assert jsd(p, p).item() == 0
    assert kl(p, p).item() == 0


@pytest.mark.parametrize(("distance", "scale"), [(0.0, 1.0), (1.0, 1.0), (3.0, 1.0), (-0.5, 2.0), (2.0, 0.3)])
def test_T3_kl_of_gaussians_is_the_closed_form(distance: float, scale: float) -> None:
    p, q, dx = gaussians(distance, scale)
    q = np.maximum(q, 5e-324)  # the narrow one's tail is smaller than any float: not an honest zero
    expected = math.log(scale) + (1 + distance**2) / (2 * scale**2) - 0.5
    assert kl(p, q, dx).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_T3_heavy_tails_need_weights() -> None:
    theta = (np.arange(2000) + 0.5) * math.pi / 2000 - math.pi / 2  # x = tan θ: no tail cut off
    x, dx = np.tan(theta), math.pi / 2000 / np.cos(theta) ** 2
    p, q = cauchy.pdf(x), cauchy.pdf(x, loc=1, scale=2)
    closed_form = math.log(((1 + 2) ** 2 + 1**2) / (4 * 1 * 2))  # Chyzak & Nielsen 2019
    assert kl(p, q, dx).item() == pytest.approx(closed_form, abs=1e-12)
    assert kl(q, p, dx).item() == pytest.approx(closed_form, abs=1e-12)
    p, q = cauchy.pdf(x), student_t.pdf(x, df=3)
    c, js = virtual_criterion(p, q, dx).item(), jsd(p, q, dx).item()
    assert c == pytest.approx(-math.log(4) + 2 * js, abs=1e-12)


def test_T3_disjoint_supports() -> None:
    p_data, p_g = np.array([0.25, 0.75, 0.0, 0.0]), np.array([0.0, 0.0, 0.5, 0.5])
    assert virtual_criterion(p_data, p_g).item() == 0
    assert jsd(p_data, p_g).item() == pytest.approx(math.log(2), abs=1e-15)
    assert kl(p_data, p_g).item() == math.inf


def test_T3_kl_by_hand_where_the_quotient_would_overflow() -> None:
    p, q = np.array([0.5, 0.5]), np.array([1.0, 5e-324])
    assert kl(p, q).item() == pytest.approx(math.log(0.5) - 0.5 * math.log(5e-324), rel=1e-14)


@pytest.mark.parametrize("apart", [1e-3, 1e-6, 1e-9, 1e-12, 1e-15])
def test_T3_jsd_of_nearly_equal_densities_keeps_its_digits(apart: float) -> None:
    p = RNG.dirichlet(np.ones(50))
    q = p * (1 + apart * RNG.standard_normal(50))
    q /= q.sum()
    with mpmath.workdps(60):
        exact = mpmath.fsum(
            a * mpmath.log(2 * a / (a + b)) + b * mpmath.log(2 * b / (a + b))
            for a, b in zip(map(mpmath.mpf, p), map(mpmath.mpf, q), strict=True)
        ) / 2  # fmt: skip
    assert 0 < jsd(p, q).item() == pytest.approx(float(exact), rel=1e-14 + 1e-15 / apart)


# --- T4: Theorem 1 --------------------------------------------------------------------------------------


@settings(deadline=None)
@given(pairs())
def test_T4_criterion_exceeds_minus_log_4_by_the_squared_distance(pair: Pair) -> None:
    """Pinsker: C + log 4 >= TV². So -log 4 is the least value, and only equal densities have it."""
    p_data, p_g = pair
    distance = np.abs(p_data - p_g).sum() / 2
    assert virtual_criterion(p_data, p_g).item() + math.log(4) >= distance**2 - 1e-14


def test_T4_descent_from_random_starts_reaches_minus_log_4() -> None:
    p_data = torch.from_numpy(RNG.dirichlet(np.ones(8)))
    logits = torch.from_numpy(RNG.normal(size=(20, 8))).requires_grad_()
    for _ in range(1500):
        (slope,) = torch.autograd.grad(virtual_criterion(p_data, logits.softmax(-1)).sum(), logits)
        logits = (logits - 4 * slope).detach().requires_grad_()
    assert (virtual_criterion(p_data, logits.softmax(-1)) + math.log(4)).abs().max() < 1e-9
    assert (logits.softmax(-1) - p_data).abs().max() < 1e-4


def test_T4_gradient_of_the_criterion_is_log_of_one_minus_d_star() -> None:
    p_data = torch.tensor([0.5, 0.0, 0.2, 0.3, 0.0], dtype=torch.float64)
    p_g = torch.tensor([0.25, 0.25, 0.5, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    virtual_criterion(p_data, p_g).backward()
    expected = torch.log(1 - optimal_discriminator(p_data, p_g.detach()))
    torch.testing.assert_close(p_g.grad[:3], expected[:3])
    assert p_g.grad[3:].isfinite().all()  # on the edge, p_g = 0, the true slope is -inf or undefined


@pytest.mark.parametrize("divergence", [kl, jsd])
def test_T4_gradients_of_the_divergences_are_finite_where_densities_vanish(divergence: Callable) -> None:
    p = torch.tensor([0.5, 0.0, 0.5, 0.0], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([0.25, 0.5, 0.25, 0.0], dtype=torch.float64, requires_grad=True)
    divergence(p, q).backward()
    assert p.grad.isfinite().all() and q.grad.isfinite().all()


# --- What goes in, what comes out -----------------------------------------------------------------------

FUNCTIONS = {
    "value": lambda p, q, dx=1.0: value(np.full(p.shape[-1:], 0.3), p, q, dx),
    "virtual_criterion": virtual_criterion, "kl": kl, "jsd": jsd,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_batch_equals_loop(name: str) -> None:
    p, q = RNG.dirichlet(np.ones(6), size=(4, 1)), RNG.dirichlet(np.ones(6), size=(1, 3))
    batch = FUNCTIONS[name](p, q)
    assert batch.shape == (4, 3)
    for i in range(4):
        for j in range(3):
            assert batch[i, j].item() == FUNCTIONS[name](p[i, 0], q[0, j]).item()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_weights_equal_masses(name: str) -> None:
    p, q, weights = (*RNG.dirichlet(np.ones(6), size=2), RNG.uniform(0.5, 2, size=6))
    torch.testing.assert_close(FUNCTIONS[name](p / weights, q / weights, weights), FUNCTIONS[name](p, q))


def test_any_number_type_goes_in_and_float64_comes_out() -> None:
    whole, half = np.array([1, 0]), np.array([0.5, 0.5], dtype=np.float32)
    tensors = [torch.tensor(p) for p in ([1, 0], [True, False], [1.0, 0.0])]
    for p in (whole, whole.astype(bool), *tensors):
        for result in (jsd(p, half), virtual_criterion(half, p, 1), optimal_discriminator(p, half)):
            assert result.dtype == torch.float64
    reversed_view = np.array([0.25, 0.75])[::-1]
    assert kl(reversed_view, np.broadcast_to(reversed_view, (3, 2))).tolist() == [0, 0, 0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_results_stay_on_the_device_of_the_tensor_given() -> None:
    p, q = torch.tensor([0.5, 0.5], device="cuda"), np.array([0.25, 0.75])
    assert jsd(p, q).device == virtual_criterion(q, p).device == p.device


HALF = np.array([0.5, 0.5])
BAD: dict[str, tuple[Callable[[], object], str]] = {
    "d above 1": (lambda: value(HALF + 0.7, HALF, HALF), "d must lie in [0, 1], got 1.2 at index [0]"),
    "d below 0": (lambda: value(HALF - 1.0, HALF, HALF), "d must lie in [0, 1], got -0.5 at index [0]"),
    "d nan": (lambda: value(HALF * math.nan, HALF, HALF), "wherever a density is positive, got nan at"),
    "negative": (lambda: kl(np.array([2.0, -1.0]), HALF), "p must be finite and not negative, got -1 at"),
    "negative D*": (lambda: optimal_discriminator(HALF, -HALF), "p_g must be finite and not negative, got"),
    "nan": (lambda: jsd(HALF, np.array([math.nan, 1])), "q must be finite and not negative, got nan at"),
    "infinite": (lambda: virtual_criterion(HALF * math.inf, HALF), "p_data must be finite and not negative"),
    "unnormalised": (lambda: virtual_criterion(HALF, HALF * 1.00001), "the sum of p_g * dx must be 1 ("),
    "dx forgotten": (lambda: kl(HALF * 10, HALF), "the sum of p * dx must be 1 (divide by it), got 10"),
    "a bad row": (lambda: jsd(np.stack([HALF, HALF / 2]), HALF), "(divide by it), got 0.5 at index [1]"),
    "dx negative": (lambda: kl(HALF, HALF, np.array([3.0, -1.0])), "dx must be finite and not negative, got"),
    "dx nan": (lambda: kl(HALF, HALF, math.nan), "dx must be finite and not negative, got nan"),
    "shapes": (lambda: jsd(HALF, np.ones(3)), "shapes must broadcast, got p (2,), q (3,), dx (): give all"),
    "empty": (lambda: kl(np.ones(0), np.ones(0)), "one point on their last axis, got p (0,), q (0,), dx ()"),
    "scalar": (lambda: kl(np.ones(()), np.ones(())), "one point on their last axis, got p (), q (), dx ()"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_in_one_line(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_densities_off_one_by_less_than_a_millionth_count_as_what_they_are_over_their_sum(name: str) -> None:
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.4, 0.2])
    off = FUNCTIONS[name](p * (1 + 9e-7), q * (1 - 9e-7)).item()
    assert off == pytest.approx(FUNCTIONS[name](p, q).item(), abs=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("outcomes", "scale"), [(3, 1.0), (1000, 3.0), (50_257, 5.0), (200_000, 1.0)])
def test_T3_probabilities_of_lower_precision_are_taken_as_they_were_meant(
    dtype: torch.dtype, outcomes: int, scale: float
) -> None:
    logits = scale * torch.randn(2, outcomes, generator=torch.Generator().manual_seed(0))
    p, q = logits.to(dtype).softmax(-1)
    exact_p, exact_q = (x.double().numpy() / x.double().sum().item() for x in (p, q))
    m = (exact_p + exact_q) / 2
    expected = (rel_entr(exact_p, m) + rel_entr(exact_q, m)).sum() / 2
    assert jsd(p, q).item() == pytest.approx(expected, rel=1e-12)
    assert virtual_criterion(p, q.numpy() if dtype == torch.float32 else q).item() == pytest.approx(
        2 * expected - math.log(4), abs=1e-12
    )
    assert jsd(p, p).item() == 0 and kl(p, p).item() == 0 and kl(p, q + p * 0).item() > 0


@settings(deadline=None)
@given(pairs())
def test_T3_jsd_stays_in_its_range_in_single_precision(pair: Pair) -> None:
    p, q = (torch.from_numpy(x).float() for x in pair)
    for a, b in ((p, q), (p, p), (torch.cat([p, 0 * q]), torch.cat([0 * p, q]))):
        assert 0 <= jsd(a, b).item() <= math.log(2)
    assert jsd(torch.cat([p, 0 * q]), torch.cat([0 * p, q])).item() == pytest.approx(math.log(2), abs=1e-15)


def test_T3_the_bound_of_jsd_lets_gradients_through() -> None:
    """Of disjoint densities the sum may round to more than log 2; its slope is log(2) / 2 all the same."""
    rng = torch.Generator().manual_seed(0)
    for n in range(2, 60):
        p = torch.cat([torch.rand(n, generator=rng, dtype=torch.float64), torch.zeros(n)])
        p = (p / p.sum()).requires_grad_()
        (slope,) = torch.autograd.grad(jsd(p, p.detach().flip(0)), p)
        np.testing.assert_allclose(slope[:n], math.log(2) / 2, rtol=1e-9)
