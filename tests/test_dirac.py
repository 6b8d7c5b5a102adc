"""The smallest game (claim Z5-dirac): fields against the costs' own gradients, eigenvalues against closed
forms and finite differences, plays against `gansrc.game`, flows against scipy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp
from scipy.special import expit
from torch import Tensor, nn

from gansrc.extensions.dirac import (
    Field,
    Play,
    consensus,
    flow,
    jacobian,
    measured,
    minimax,
    noisy,
    non_saturating,
    penalised,
    wasserstein,
)
from gansrc.game import Game, Rules, generator_cost, minibatch_value

FIELDS: dict[str, Field] = {
    "minimax": minimax,
    "non-saturating": non_saturating,
    "wasserstein": wasserstein,
    "noise": noisy(0.7),
    "r1": penalised(minimax, 0.4),
    "gradient penalty": penalised(wasserstein, 0.4, target=0.5),
    "consensus": consensus(0.8),
}
few = settings(max_examples=5, deadline=None, phases=[Phase.generate])
"""Without a search for the smallest example that fails: a run takes its time."""
rates = st.floats(0.05, 0.5)


def percents(low: int, high: int) -> st.SearchStrategy[float]:
    """Whole percents as fractions: LAPACK's eigenvalues are wrong beside entries of 1e-171 and less."""
    return st.integers(low, high).map(lambda percent: percent / 100)


def states(n: int = 40, reach: float = 2.0) -> Tensor:
    return reach * (2 * torch.rand(n, 2, generator=torch.Generator().manual_seed(n)).double() - 1)


def slope(cost: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(cost.sum(), of, retain_graph=True)[0]


@pytest.mark.parametrize("saturating", [True, False])
def test_fields_are_the_slopes_of_the_costs_that_algorithm_1_has(saturating):
    theta, psi = states().clone().requires_grad_().unbind(-1)
    real, fake = (0 * psi)[:, None], (psi * theta)[:, None]  # D's logits at 0 and at theta
    push = torch.stack(
        [-slope(generator_cost(fake, saturating), theta), slope(minibatch_value(real, fake), psi)], -1
    )
    field = minimax if saturating else non_saturating
    torch.testing.assert_close(field(states()), push, rtol=1e-12, atol=1e-14)


def test_the_wgan_s_field_is_the_slope_of_its_value():
    theta, psi = states().clone().requires_grad_().unbind(-1)
    value = 0 * psi - psi * theta  # mean of D on data less that on samples
    push = torch.stack([-slope(value, theta), slope(value, psi)], -1)
    torch.testing.assert_close(wasserstein(states()), push)


@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_instance_noise_is_a_mean_over_the_noise(sigma):

    def mean(f: Callable[[float], float]) -> float:
        """Over e ~ N(0, 1)."""
        bell = lambda e: f(e) * math.exp(-e * e / 2) / math.sqrt(2 * math.pi)  # noqa: E731
        return quad(bell, -12, 12, epsabs=1e-14, epsrel=1e-12, limit=200)[0]

    for (theta, psi), push in zip(states(6).tolist(), noisy(sigma)(states(6)).tolist(), strict=True):
        on_g = mean(lambda e, t=theta, p=psi: p * expit(p * (t + sigma * e)))
        fake = mean(lambda e, t=theta, p=psi: (t + sigma * e) * expit(p * (t + sigma * e)))
        real = mean(lambda e, p=psi: sigma * e * expit(-p * sigma * e))
        assert push == pytest.approx([on_g, real - fake], abs=1e-12)


def test_penalties_and_consensus_are_slopes():
    theta, psi = states().clone().requires_grad_().unbind(-1)
    cost = 0.4 / 2 * (psi.abs() - 0.5) ** 2
    extra = penalised(wasserstein, 0.4, target=0.5)(states()) - wasserstein(states())
    torch.testing.assert_close(extra, torch.stack([torch.zeros_like(psi), -slope(cost, psi)], -1))
    w = states().clone().requires_grad_()
    unrest = minimax(w).square().sum(-1) / 2
    torch.testing.assert_close(consensus(0.8)(states()) - minimax(states()), -0.8 * slope(unrest, w))


@pytest.mark.parametrize("name", FIELDS)
def test_jacobians_against_finite_differences(name):
    field, w, step = FIELDS[name], states(10), 1e-6
    differences = [(field(w + step * e) - field(w - step * e)) / (2 * step) for e in torch.eye(2).double()]
    torch.testing.assert_close(jacobian(field, w), torch.stack(differences, -1), rtol=1e-7, atol=1e-8)
    play, state = Play(field, k=2, momentum=0.3), torch.cat([w, w.flip(0)], -1)
    differences = [
        (play.update(state + step * e) - play.update(state - step * e)) / (2 * step)
        for e in torch.eye(4).double()
    ]
    torch.testing.assert_close(
        jacobian(play.update, state), torch.stack(differences, -1), rtol=1e-7, atol=1e-8
    )


def pair(trace: float, determinant: float) -> np.ndarray:
    """The eigenvalues of a matrix of 2 x 2."""
    return np.sort_complex(np.roots([1, -trace, determinant]))


@few
@given(strength=percents(0, 400))
def test_flow_of_each_cure_by_closed_form(strength):
    closed = {
        "minimax": (minimax, pair(0, 1 / 4)),
        "non-saturating": (non_saturating, pair(0, 1 / 4)),
        "wasserstein": (wasserstein, pair(0, 1)),
        "r1": (penalised(minimax, strength), pair(-strength, 1 / 4)),
        "noise": (noisy(strength**0.5), pair(-strength / 2, 1 / 4)),  # as R1 of half the variance
        "consensus": (consensus(strength), pair(-strength / 2, strength**2 / 16 + 1 / 4)),
        "wgan, target 0": (penalised(wasserstein, strength), pair(-strength, 1)),
    }
    for name, (field, roots) in closed.items():
        # near a double root eigenvalues are as uncertain as the square root of the rounding
        np.testing.assert_allclose(np.sort_complex(flow(field).numpy()), roots, atol=1e-6, err_msg=name)


@few
@given(h=st.floats(0.01, 3.9), gamma=percents(0, 90))
def test_Z5_dirac_moduli_by_closed_form(h, gamma):
    assert Play(minimax, h).modulus().item() == pytest.approx(1, abs=1e-9)
    assert Play(minimax, h / 2, k=4).modulus().item() == pytest.approx(1, abs=1e-9)  # k h^2 <= 16
    assert Play(minimax, h, alternating=False).modulus().item() == pytest.approx(math.hypot(1, h / 2))
    assert Play(minimax, 4 + h).modulus().item() > 1.01
    for rate in (h / 40, h / 10):
        expected = math.sqrt(1 - rate * gamma)  # the determinant, while the roots are complex
        trace = 2 - rate * gamma - rate**2 / 4
        if trace**2 < 4 * (1 - rate * gamma):
            assert Play(penalised(minimax, gamma), rate).modulus().item() == pytest.approx(expected)
        square = (1 - rate * gamma / 4) ** 2 + rate**2 / 4
        at_once = Play(consensus(gamma), rate, alternating=False)
        assert at_once.modulus().item() == pytest.approx(math.sqrt(square))


@few
@given(h=rates, m=percents(-90, 90), alternating=st.booleans())
def test_moduli_with_momentum_are_roots_of_a_polynomial(h, m, alternating):
    # Velocities put in: (z - 1)^2 (z - m)^2 + (h/2)^2 z^2, and one z more where G sees the new D.
    polynomial = np.polymul(np.poly([1, 1, m, m]), [1])
    polynomial = np.polyadd(polynomial, [h * h / 4, *[0] * (3 if alternating else 2)])
    modulus = Play(minimax, h, alternating, momentum=m).modulus().item()
    assert modulus == pytest.approx(np.abs(np.roots(polynomial)).max(), abs=1e-6)


def test_momentum_drives_out_and_negative_momentum_brings_in():
    for h in (0.05, 0.1, 0.2):
        factors = [Play(minimax, h, momentum=m).modulus().item() for m in (-0.5, 0.0, 0.5, 0.7)]
        assert factors[0] < 1 - 1e-5 < factors[1] < 1 + 1e-9 < factors[2] < factors[3]


@few
@given(h=rates, strength=st.floats(0.2, 0.8), name=st.sampled_from(["r1", "ns", "noise", "consensus"]))
def test_Z5_dirac_a_run_shrinks_as_its_eigenvalues_say(h, strength, name):
    field = {
        "r1": lambda s: penalised(minimax, s),
        "ns": lambda s: penalised(non_saturating, s),
        "noise": lambda s: noisy(s**0.5),
        "consensus": consensus,
    }[name](strength)
    play = Play(field, h)
    found = measured(play.path(torch.tensor([1e-4, 3e-5]).double(), round(100 / h)))  # turns enough
    assert math.log(found) == pytest.approx(math.log(play.modulus()), rel=0.01)


@few
@given(h=rates, m=percents(0, 70), alternating=st.booleans())
def test_Z5_dirac_a_run_grows_as_its_eigenvalues_say(h, m, alternating):
    play = Play(minimax, h, alternating, momentum=m)
    near = torch.tensor([1e-100, 0], dtype=torch.float64)
    assert measured(play.path(near, 600)).item() == pytest.approx(play.modulus().item(), abs=2e-5)


@pytest.mark.parametrize("field", [minimax, non_saturating, penalised(minimax, 0.4)])
def test_small_steps_follow_the_flow(field):
    start, time, errors = torch.tensor([1.2, -0.4]).double(), 4.0, []
    exact = solve_ivp(lambda t, w: field(torch.tensor(w)).numpy(), (0, time), start.numpy(), rtol=1e-10,
                      atol=1e-12).y[:, -1]  # fmt: skip
    for n in (400, 800):
        end = Play(field, time / n).path(start, n)[-1].numpy()
        errors.append(np.abs(end - exact).max())
    assert errors[0] < 0.02 and errors[1] == pytest.approx(errors[0] / 2, rel=0.1)


def test_Z5_dirac_the_flow_of_the_paper_s_game_keeps_its_radius():
    turn = solve_ivp(lambda t, w: [w[1] * expit(w[0] * w[1]), -w[0] * expit(w[0] * w[1])], (0, 60),
                     [1.5, 0.2], rtol=1e-10, atol=1e-12)  # fmt: skip
    radius = np.hypot(*turn.y)
    assert np.ptp(radius) < 1e-7 and turn.y[0].min() < -1.5  # round, and at one distance
    mine = np.array([minimax(torch.tensor(w)).numpy() for w in turn.y.T])
    assert np.abs((mine * turn.y.T).sum(1)).max() < 1e-12  # at right angles to the way home


def test_section_3_s_cost_creeps_in_as_the_law_says():
    def push(t: float, w: np.ndarray) -> list[float]:
        return [w[1] * expit(-w[0] * w[1]), -w[0] * expit(w[0] * w[1])]

    times = np.linspace(200, 400, 50)
    radius = np.hypot(*solve_ivp(push, (0, 400), [1.0, 0.0], rtol=1e-9, atol=1e-11, t_eval=times).y)
    np.testing.assert_allclose(radius, (1 + times / 8) ** -0.5, rtol=0.02)


@pytest.mark.parametrize(("h", "m", "alternating"), [(0.1, 0.0, False), (0.1, 0.3, True)])
def test_section_3_s_cost_settles_on_the_ring_of_the_law(h, m, alternating):
    play = Play(non_saturating, h, alternating, momentum=m)
    ring = 4 * ((play.modulus().item() - 1) * (1 - m) / h) ** 0.5
    start = torch.tensor([[0.6 * ring, 0], [1.6 * ring, 0]]).double()
    radius = play.path(start, 1800)[-600:].norm(dim=-1).square().mean(0).sqrt()
    np.testing.assert_allclose(radius, ring, rtol=0.05)  # from within and from without


class Point(nn.Module):
    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta).double())

    def forward(self, z: Tensor) -> Tensor:
        return self.theta.expand(len(z), 1)


class Slope(nn.Module):
    def __init__(self, psi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(psi).double())

    def forward(self, x: Tensor) -> Tensor:
        return self.psi * x[:, 0]


@pytest.mark.parametrize("saturating", [True, False])
@pytest.mark.parametrize(("order", "k"), [("alternating", 1), ("alternating", 3), ("simultaneous", 1)])
@pytest.mark.parametrize("m", [0.0, 0.5])
def test_Z5_dirac_plays_are_those_of_the_code_that_trains_on_digits(saturating, order, k, m):
    rules = Rules(order, k, saturating, batch_size=2, learning_rate=0.3, decay=1.0, momentum=(m, m))
    noise = torch.distributions.Uniform(-torch.ones(1), torch.ones(1))
    game = Game(Point(1.0), Slope(0.3), noise, rules, torch.Generator())
    game.play(torch.zeros(20, 1).double(), 25)
    play = Play(minimax if saturating else non_saturating, 0.3, order == "alternating", k, m)
    end = play.path(torch.tensor([1.0, 0.3]).double(), 25)[-1]
    np.testing.assert_allclose(end, [game.generator.theta.item(), game.discriminator.psi.item()], rtol=1e-9)


def test_the_wgan_cut_or_drawn_to_a_slope_does_not_arrive():
    start = torch.tensor([1.6, 0.6]).double()
    cut = Play(wasserstein, clip=0.3).path(start, 700)
    assert cut[1:, 1].abs().max() == 0.3 and cut[-200:].norm(dim=-1).min() > 0.2
    drawn = Play(penalised(wasserstein, 0.5, target=0.3)).path(start, 700)
    assert drawn[-200:].norm(dim=-1).min() > 0.2
    assert Play(penalised(wasserstein, 0.5)).path(start, 700)[-1].norm() < 1e-6  # to slope 0 it is R1


def test_many_weights_at_once_are_each_by_itself():
    weights = torch.tensor([0.1, 0.5, 2.0]).double()
    start = torch.tensor([1.0, 0.3]).double()
    for family in (lambda g: penalised(minimax, g), noisy, consensus):
        together = Play(family(weights))
        paths = together.path(start.expand(3, 2), 20)
        for n, weight in enumerate(weights.tolist()):
            alone = Play(family(weight))
            torch.testing.assert_close(paths[:, n], alone.path(start, 20))
            torch.testing.assert_close(together.modulus(3)[n], alone.modulus())


def test_the_mean_of_a_ring_comes_in_as_one_over_n():
    path = Play(minimax, 0.2).path(torch.tensor([0.5, 0.0]).double(), 2000)
    n = torch.arange(1, 2002)
    mean = (path.cumsum(0) / n[:, None]).norm(dim=-1)
    assert (mean <= 1.05 * 4 * path.norm(dim=-1).max() / (0.2 * n)).all()


@pytest.mark.parametrize("factor", [0.97, 1.0, 1.02])
def test_measured_finds_the_factor_of_a_spiral_that_is_no_circle(factor):
    n = torch.arange(801).double()
    spiral = factor ** n[:, None] * torch.stack([3 * (0.1 * n).cos(), (0.1 * n).sin()], -1)
    assert measured(spiral).item() == pytest.approx(factor, abs=2e-5)
    both = torch.stack([spiral, 0.99 ** n[:, None] * spiral], 1)
    np.testing.assert_allclose(measured(both), [factor, 0.99 * factor], atol=2e-5)


@pytest.mark.parametrize("setting", [{"rate": 0.0}, {"k": 0}, {"clip": -1.0}])
def test_settings_that_move_nothing_are_refused(setting):
    ((name, value),) = setting.items()
    with pytest.raises(ValueError, match=f"^{name} must be positive, got {value}$"):
        Play(minimax, **setting)
