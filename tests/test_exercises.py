"""Exercises that check themselves: what is said of an answer, our answers, and their places on the pages."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.special import logit
from scipy.stats import binom, energy_distance, norm, poisson
from torch.distributions import Normal, kl_divergence

from gansrc import exercises as given
from gansrc import theory
from gansrc.exercises import EXERCISES, SHIFTS, Exercise, P, Q, check
from gansrc.game import Game, Rules

BOOK = Path(__file__).parents[1] / "book"


# --- What is said ---------------------------------------------------------------------------------------


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three exercises: numbers, a function of one argument, one number."""
    monkeypatch.setitem(EXERCISES, "numbers", Exercise(lambda: [1.0, 2.0, -3.0]))
    monkeypatch.setitem(EXERCISES, "function", Exercise(lambda x: x**2, (torch.tensor([1.0, 2.0, 3.0]),)))
    monkeypatch.setitem(EXERCISES, "one", Exercise(lambda: math.log(2), tolerance=0.01))


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("numbers", [1, 2, -3], "right"),
        ("numbers", np.array([1, 2, -3.002]), "right"),
        ("numbers", torch.tensor([1.0, 2.0, -3.0], requires_grad=True), "right"),
        ("numbers", [1, 2, -3.1], "2 of 3 are right; number 3 is too small"),
        ("numbers", [1.5, 2, 7], "1 of 3 are right; number 1 is too large"),
        ("numbers", None, "not answered yet"),
        ("numbers", [[1, 2, -3]], "the shape is (1, 3), and should be (3,)"),
        ("numbers", 1, "the shape is that of one number, and should be (3,)"),
        ("numbers", [-1, -2, 3], "the sign is the other one"),
        ("numbers", [2, 4, -6], "it is twice as large as it should be"),
        ("numbers", [0.5, 1, -1.5], "it is half as large as it should be"),
        ("numbers", [7, 14, -21], "right but for a factor, the same for all"),
        ("numbers", [0, 0, 0], "0 of 3 are right; number 1 is too small"),
        ("numbers", [3, 4, -1], "right but for a constant that is added"),
        ("numbers", [math.nan, 2, -3], "1 of 3 are no finite numbers"),
        ("numbers", "1, 2, -3", "a number is asked for, or several, got str"),
        ("function", lambda x: x * x, "right"),
        ("function", lambda x: None, "not answered yet"),
        ("function", lambda x: 2 * x, "1 of 3 are right; number 1 is too large"),
        ("function", lambda x: x.sum(), "the shape is that of one number, and should be (3,)"),
        ("one", math.log(2), "right"),
        ("one", 0.69, "right"),
        ("one", 1, "this is in bits, not in nats"),
        ("one", 0.68, "too small"),
        ("one", 3.0, "too large"),
        ("one", math.inf, "1 of 1 are no finite numbers"),
    ],
)
def test_an_answer_is_right_or_is_told_what_is_off(name: str, answer: object, words: str) -> None:
    finding = check(name, answer)
    assert repr(finding) == words and bool(finding) == (words == "right")


def test_an_unknown_exercise_is_named() -> None:
    with pytest.raises(ValueError, match=r"^no exercise is called 'ex-none': take one of \['ex-"):
        check("ex-none", 1)


# --- Ours, worked out in another way --------------------------------------------------------------------


def best_of(share: float) -> list[float]:
    """By a search at each point: the best D where that share of the points is real."""

    def cost(y: float, p: float, q: float) -> float:
        return -(share * p * math.log(y) + (1 - share) * q * math.log1p(-y))

    exact = {"method": "bounded", "bounds": (1e-9, 1 - 1e-9), "options": {"xatol": 1e-10}}
    return [minimize_scalar(cost, args=pair, **exact).x for pair in zip(P.tolist(), Q.tolist(), strict=True)]


def best_accuracies() -> list[float]:
    """Half the integral of the larger density."""
    x = np.linspace(-10, 15, 20_001)
    densities = [np.maximum(norm.pdf(x), norm.pdf(x, m)) for m in SHIFTS.tolist()]
    return [density.sum() * (x[1] - x[0]) / 2 for density in densities]


def values_of_constants() -> list[float]:
    """On two arbitrary mass functions."""
    p, q = np.array([0.2, 0.5, 0.3]), np.array([0.6, 0.3, 0.1])
    return [theory.value(np.full(3, c), p, q).item() for c in P.tolist()]


def steepest() -> list[float]:
    """By a search for the w with the highest value of the game."""
    x = torch.linspace(-15, 20, 7001, dtype=torch.float64)
    p, dx = torch.from_numpy(norm.pdf(x, 0, 1.5)), (x[1] - x[0]).item()

    def cost(w: float, theta: float) -> float:
        d = torch.sigmoid(-w * (x - theta / 2))
        return -theory.value(d, p, torch.from_numpy(norm.pdf(x, theta, 1.5)), dx).item()

    exact = {"method": "bounded", "bounds": (0, 2), "options": {"xatol": 1e-8}}
    return [minimize_scalar(cost, args=(theta,), **exact).x for theta in SHIFTS.tolist()]


def folded() -> list[float]:
    """The slope of P(z^2 < x), which is the share of (-1, 1) between the two roots."""
    below = [[(2 * math.sqrt(at)) / 2 for at in (x - 1e-6, x + 1e-6)] for x in P.tolist()]
    return [(right - left) / 2e-6 for left, right in below]


def minibatches() -> list[int]:
    """Counted in a game: what passes through D, which sees data and samples of its own step together."""
    counts = []
    for k in (1, 2, 7):
        seen: list[int] = []
        D = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Flatten(0))
        D.register_forward_hook(lambda net, x, out, seen=seen: seen.append(len(x[0]) // 5))
        noise = torch.distributions.Normal(torch.zeros(1), torch.ones(1))
        game = Game(torch.nn.Linear(1, 1), D, noise, Rules(k=k, batch_size=5), torch.Generator())
        game.play(torch.zeros(20, 1), 1)
        counts.append(sum(seen))
    return counts


def energies() -> list[float]:
    """Of many points in two places, by SciPy's measure squared."""
    return [energy_distance([0.0] * 3, [theta] * 3) ** 2 for theta in (SHIFTS - 2).tolist()]


def pulls_of_squares() -> list[float]:
    """By differences of the cost in the logit."""
    logits = torch.logit(P)
    sides = [(torch.sigmoid(logits + step) - 1) ** 2 for step in (1e-6, -1e-6)]
    return ((sides[1] - sides[0]) / 2e-6).tolist()


def shifted_uniforms() -> list[float]:
    """C on a grid."""
    x = np.arange(0.0005, 2, 0.001)
    pairs = [(x < 1, (x > s) & (x < 1 + s)) for s in P.tolist()]
    return [theory.virtual_criterion(p, q, 0.001).item() for p, q in pairs]


def at_once() -> list[float]:
    """The size of the eigenvalues of one update of both numbers."""
    return [abs(np.linalg.eigvals([[1, h], [-h, 1]])[0]) for h in SHIFTS.tolist()]


def lagging() -> list[float]:
    """A step of mirror descent from next to the data."""
    q, wobble = np.array([0.5, 0.3, 0.2]), 1e-5 * np.array([1, -1, -1])
    p = q * (1 + wobble)
    new = [p * (p / (p + q)) ** -eta for eta in SHIFTS.tolist()]
    return [((p / p.sum() / q - 1) / wobble).mean() for p in new]


def strips() -> list[float]:
    """JSD of two uniform densities on a grid."""
    x = np.arange(0.0005, 7, 0.001)
    pairs = [((x < 2) / 2.0, ((x > theta) & (x < theta + 2)) / 2.0) for theta in SHIFTS.tolist()]
    return [theory.jsd(p, q, 0.001).item() for p, q in pairs]


def all_hidden_states() -> float:
    """Summed one by one."""
    a = (SHIFTS - 2).tolist()
    return math.log(sum(math.exp(sum(np.multiply(h, a))) for h in product((0, 1), repeat=len(a))))


def costs_of_codes() -> list[float]:
    """KL of two bells, integrated."""
    found = []
    for m, s in zip(SHIFTS.tolist(), P.tolist(), strict=True):
        x = np.linspace(m - 12 * s, m + 12 * s, 20_001)
        log_ratio = norm.logpdf(x, m, s) - norm.logpdf(x)
        found.append((norm.pdf(x, m, s) * log_ratio).sum() * (x[1] - x[0]))
    return found


def scores() -> list[float]:
    """By differences of the log-density."""
    sides = [norm.logpdf(SHIFTS + step, 1.2, 0.8) for step in (1e-5, -1e-5)]
    return ((sides[0] - sides[1]) / 2e-5).tolist()


def shares_in_mouth() -> list[float]:
    """A thousand steps of the chain, as a matrix."""
    chains = [np.array([[1 - p, p], [q, 1 - q]]) for p, q in zip(P.tolist(), Q.tolist(), strict=True)]
    return [np.linalg.matrix_power(chain, 1000)[0, 0] for chain in chains]


def variances() -> list[float]:
    """Of a fine grid of v, given u."""
    edges = [1 - abs(u) for u in (P - 0.5).tolist()]
    return [np.var((np.arange(10_000) + 0.5) / 5000 * edge - edge) for edge in edges]


def blurred_slopes() -> list[float]:
    """By differences of the mean over the noise, integrated."""
    z = np.linspace(-8, 8, 40_001)
    weights = norm.pdf(z) * (z[1] - z[0])

    def mean(x: float) -> float:
        return (np.maximum(0, x + 0.4 * z) * weights).sum()

    return [(mean(x + 1e-3) - mean(x - 1e-3)) / 2e-3 for x in (P - 0.3).tolist()]


def stretched_windows() -> list[float]:
    """A bump on one point, before and after pixels go from [0, 1] to [-1, 1]."""
    change = norm.logpdf(2 * 0.7 - 1, 2 * 0.4 - 1, 2 * 0.2) - norm.logpdf(0.7, 0.4, 0.2)
    return [n * change for n in given.SIZES.tolist()]


def two_normalisers() -> list[float]:
    return [
        100 * (math.log(s * math.sqrt(2 * math.pi)) - math.log(math.sqrt(2 * math.pi * s)))
        for s in given.WIDTHS.tolist()
    ]


def windows_without_a_class() -> list[float]:
    """A hundred samples, some of them so far off that they say nothing of the point."""
    found = []
    for share in given.PARTS.tolist():
        far = round(100 * share)
        near = norm.pdf(np.linspace(-1, 1, 100 - far))
        found.append(math.log(near.mean()) - math.log((near.sum() + far * norm.pdf(500)) / 100))
    return found


def cut_rows() -> list[np.ndarray]:
    rows = 2 * given.WEIGHTS.numpy() - 0.8
    return [row * 1.9365 / max(1.9365, math.hypot(*row)) for row in rows]


def stamped_lengths() -> list[int]:
    kernel = torch.ones(1, 1, 4)
    return [
        torch.nn.functional.conv_transpose1d(torch.ones(1, 1, int(n)), kernel, stride=2).shape[-1]
        for n in given.SIZES
    ]


def best_bump() -> list[float]:
    """By a search over its width."""

    def cost(sigma: float) -> float:
        return -300 * norm.logpdf(20 / math.sqrt(300), 0, sigma)

    found = minimize_scalar(cost, method="bounded", bounds=(0.1, 5), options={"xatol": 1e-10})
    return [found.x, -found.fun]


def error_of_a_difference() -> list[float]:
    found = []
    for a, rho in zip(given.SIZES.tolist(), given.PARTS.tolist(), strict=True):
        covariance = np.array([[a * a, rho * a * 9], [rho * a * 9, 81]])
        found.append(math.sqrt(np.array([1, -1]) @ covariance @ np.array([1, -1]) / 400))
    return found


def hidden_units_summed_out() -> list[float]:
    hidden = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    weight, c = given.WEIGHTS.numpy(), given.HIDDEN.numpy()
    return [
        math.log(sum(math.exp(v @ given.VISIBLE.numpy() + h @ c + h @ weight @ v) for h in hidden))
        for v in given.STATES.numpy()
    ]


def slopes_of_a_code() -> np.ndarray:
    bias = torch.from_numpy(logit(given.PARTS[:2].numpy()))
    zero = torch.zeros(3, dtype=torch.float64)
    slopes = torch.autograd.functional.jacobian(lambda x: (given.WEIGHTS @ x + bias).sigmoid(), zero)
    return (slopes @ slopes.T).numpy()


def turns_watched() -> float:
    """How fast the walks of both damages come nearer to the data, far on."""
    data, rates = np.array([0.4, 0.3, 0.05, 0.05, 0.2]), []
    for move in (0.02, 0.5):
        damage = np.array([[{0: 1 - move, 1: move / 2, 4: move / 2}.get((i - j) % 5, 0) for j in range(5)]
                           for i in range(5)])  # fmt: skip
        state, away = np.array([0, 0, 1.0, 0, 0]), []
        for _ in range(800 if move < 0.1 else 25):
            damaged = state @ damage
            state = (damage * data[:, None]) @ (damaged / (data @ damage))
            away.append(np.abs(state - data).sum())
        rates.append(math.log(away[-2] / away[-1]))
    return rates[1] / rates[0]


def divergences() -> list[float]:
    pairs = zip(given.NUMBERS.tolist(), given.WIDTHS.tolist(), strict=True)
    standard = Normal(torch.tensor(0.0).double(), torch.tensor(1.0).double())
    return [kl_divergence(Normal(*torch.tensor(pair).double()), standard).item() for pair in pairs]


def two_points() -> list[float]:
    def alike(a: float, b: float) -> float:
        return norm.pdf(a, b, 0.7) / norm.pdf(0, 0, 0.7)

    return [alike(0, 0) - 2 * alike(0, a) + alike(a, a) for a in given.NUMBERS.tolist()]


def guess_by_bayes() -> list[float]:
    def weight(x: float, at: int) -> float:
        return norm.pdf(x, at * math.sqrt(0.3), math.sqrt(0.7))

    return [(weight(x, 1) - weight(x, -1)) / (weight(x, 1) + weight(x, -1)) for x in given.NUMBERS.tolist()]


def carried_mass() -> list[float]:
    """On a line the cheapest way to carry mass keeps its order."""

    def cost(m: float, s: float) -> float:
        return quad(lambda u: (norm.ppf(u, m, s) - norm.ppf(u, 0.5, 0.8)) ** 2, 0, 1)[0]

    return [cost(*pair) for pair in zip(given.NUMBERS.tolist(), given.WIDTHS.tolist(), strict=True)]


def walk_on_a_grid() -> np.ndarray:
    """Correlation of a step and error of the repair, by matrices on 601 points of a line."""
    x = np.linspace(-6, 6, 601)
    data, found = norm.pdf(x) / norm.pdf(x).sum(), []
    for width in given.WIDTHS.tolist():
        damaged = np.linspace(-12, 12, 1201)
        damage = norm.pdf(damaged[None], x[:, None], width) * 0.02
        repair = (data[:, None] * damage).T / (data @ damage)[:, None].clip(1e-300)
        after = damage @ (repair @ x)  # the mean place after a step from each place
        error = (data[:, None] * damage * (x[:, None] - (repair @ x)[None]) ** 2).sum()
        found.append((data @ (x * after), error))
    return np.array(found).T


def pairs_of_draws() -> float:
    p = (given.PARTS / given.PARTS.sum()).tolist()
    return 1 / sum(a * b for i, a in enumerate(p) for j, b in enumerate(p) if i == j)


def pulls_by_differences() -> list[float]:
    def pixel(x: float, u: float) -> float:
        return 1 - math.exp(-1.5 * math.exp(-((x - u) ** 2) / (2 * 0.8**2)))

    return [(pixel(x, 0.6 + 1e-6) - pixel(x, 0.6 - 1e-6)) / 2e-6 for x in given.NUMBERS.tolist()]


def rarer_crossings() -> list[float]:
    """How much less likely the middle is than the place of a bump, at both widths."""
    half_ways = [gap / 2 for gap in (given.SIZES / 20).tolist()]
    rare = [[norm.pdf(x, 0, w) / norm.pdf(0, 0, w) for x in half_ways] for w in (0.5, 0.3)]
    return [wide / narrow for wide, narrow in zip(*rare, strict=True)]


def games_with_the_deaf() -> list[float]:
    """Of tables of image by request: real pairs on the diagonal, fakes everywhere."""
    kinds = given.SIZES.int().tolist()
    tables = [(np.eye(n).ravel() / n, np.full(n * n, 1 / n**2)) for n in kinds]
    return [theory.virtual_criterion(real, fake).item() for real, fake in tables]


def gaps_of_each_size() -> list[int]:
    return [sum(math.comb(d, size) for size in range(1, d + 1)) for d in given.SIZES.int().tolist()]


def best_of_pairs() -> list[float]:
    exact = {"method": "bounded", "bounds": (1e-9, 1 - 1e-9), "options": {"xatol": 1e-10}}
    return [
        minimize_scalar(lambda y, a=0.3 * p, b=0.1 * q: -a * math.log(y) - b * math.log1p(-y), **exact).x
        for p, q in zip(P.tolist(), Q.tolist(), strict=True)
    ]


def codes_given_their_sum() -> list[float]:
    """By the covariance of z1, z2 and their sum."""
    with_x, of_x = np.array([1.0, 1.0]), 2.0
    left = np.eye(2) - np.outer(with_x, with_x) / of_x
    return [*(2 * with_x / of_x), np.trace(left), 2.0]


def weights_by_least_squares() -> np.ndarray:
    a = given.NUMBERS.numpy()
    return np.linalg.solve(np.outer(a, a) + 0.25 * np.eye(4), a)


def errors_of_means() -> list[float]:
    """Of n coins that show plus or minus the root of v, against one coin more."""
    found = []
    for v, n in zip(given.PARTS.tolist(), given.SIZES.int().tolist(), strict=True):
        heads = np.arange(n + 1)
        mean = math.sqrt(v) * (2 * heads - n) / n
        chance = binom.pmf(heads, n, 0.5)
        found.append(sum(chance @ (mean - side * math.sqrt(v)) ** 2 for side in (-1, 1)) / 2)
    return found


def shares_of_real() -> list[float]:
    sums = [sum(math.exp(score) for score in row) for row in given.WEIGHTS.tolist()]
    return [z / (z + 1) for z in sums]


def largest_rates() -> list[float]:
    """Where the larger of two real eigenvalues takes over from a pair on the circle."""

    def beyond(h: float, k: float) -> float:
        values = np.linalg.eigvals([[1 - k * h * h / 4, h / 2], [-k * h / 2, 1]])
        return abs(values).max() - 1 - 1e-7

    return [brentq(beyond, 0.1, 4, args=(k,), xtol=1e-9) for k in given.SIZES.tolist()]


def what_is_left() -> list[float]:
    found = []
    for part, n in zip(given.PARTS.tolist(), given.SIZES.int().tolist(), strict=True):
        left = 1.0
        for _ in range(n):
            left -= part / 10 * left
        found.append(left)
    return found


OTHERWISE: dict[str, Callable[[], object]] = {
    "ex-best-accuracy": best_accuracies,
    "ex-wink-empty": lambda: poisson.pmf(0, SHIFTS),
    "ex-ae-kl": costs_of_codes,
    "ex-boltzmann-sum": all_hidden_states,
    "ex-score-bell": scores,
    "ex-nce-share": lambda: best_of(1 / 11),
    "ex-gsn-two": shares_in_mouth,
    "ex-pm-spread": variances,
    "ex-remarks-kink": blurred_slopes,
    "ex-constant-d": values_of_constants,
    "ex-steepness": steepest,
    "ex-fold": folded,
    "ex-passes": minibatches,
    "ex-energy": energies,
    "ex-least-squares": pulls_of_squares,
    "ex-circles": at_once,
    "ex-share": lambda: best_of(0.8),
    "ex-logit": lambda: [math.log(d / (1 - d)) for d in best_of(0.5)],
    "ex-uniform": shifted_uniforms,
    "ex-lag": lagging,
    "ex-strips": strips,
    "ex-mnist-range": stretched_windows,
    "ex-parzen-normaliser": two_normalisers,
    "ex-parzen-missing": windows_without_a_class,
    "ex-faces-norm": cut_rows,
    "ex-cifar10-size": stamped_lengths,
    "ex-cifar10-grey": best_bump,
    "ex-figures-fair": lambda: [binom(50, 0.75).mean() / 50, binom(50, 0.75).std() / 50],
    "ex-table-1-paired": error_of_a_difference,
    "ex-dbn-units": hidden_units_summed_out,
    "ex-cae-walk": slopes_of_a_code,
    "ex-gsn-damage": turns_watched,
    "ex-vae-kl": divergences,
    "ex-gmmn-two-points": two_points,
    "ex-diffusion-two": guess_by_bayes,
    "ex-rulers-frechet": carried_mass,
    "ex-trade-off": walk_on_a_grid,
    "ex-helvetica-birthday": pairs_of_draws,
    "ex-pen-pull": pulls_by_differences,
    "ex-arcs-time": rarer_crossings,
    "ex-hopes-deaf": games_with_the_deaf,
    "ex-hopes-gaps": gaps_of_each_size,
    "ex-conditional-best": best_of_pairs,
    "ex-inference-mean": codes_given_their_sum,
    "ex-inference-noise": weights_by_least_squares,
    "ex-conditionals-twice": errors_of_means,
    "ex-semi-logit": shares_of_real,
    "ex-dirac-rates": largest_rates,
    "ex-coordination-memory": what_is_left,
}


@pytest.mark.parametrize("name", EXERCISES)
def test_our_answer_comes_out_in_another_way(name: str) -> None:
    ours = torch.as_tensor(EXERCISES[name].ours(*EXERCISES[name].given))
    others = np.asarray(OTHERWISE[name](), dtype=float)
    near = EXERCISES[name].tolerance * ours.abs().max().item()
    np.testing.assert_allclose(ours, others, rtol=0, atol=near / 2)


# --- On the pages ---------------------------------------------------------------------------------------


def checks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Every cell that calls `check`: the exercise, the solution that it stands in ("" outside), its code."""
    import jupytext

    inside = ""
    for cell in jupytext.read(page).cells:
        if cell.cell_type == "code":
            for name in re.findall(r'\bcheck\("([\w-]+)"', cell.source):
                yield name, inside, cell.source
        else:
            marks = re.findall(r"\{solution-(?:start\} ([\w-]+)|end\})", cell.source)
            inside = marks[-1] if marks else inside


def test_each_exercise_is_asked_on_one_page_and_answered_in_its_own_solution() -> None:
    pytest.importorskip("jupytext")
    asked, solved = [], []
    for page in sorted(BOOK.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if "format_name: myst" not in text[:300]:
            continue
        for name, inside, code in checks(page):
            assert f":label: {name}\n" in text, f"{page}: no exercise has the label {name}"
            if inside:
                assert inside == name and f'assert check("{name}"' in code, f"{page}: {name}"
                solved.append(name)
            else:
                assert re.search(r"\bNone\b", code), f"{page}: the cell of {name} holds no placeholder"
                asked.append(name)
    assert sorted(asked) == sorted(solved) == sorted(EXERCISES)


def test_a_quiz_is_three_to_five_questions_with_an_answer_under_each() -> None:
    question = r"\*\*(\d)\.\*\* (.+?)\n\n:::\{admonition\} Answer\n:class: dropdown quiz\n(\*\*.+?)\n:::\n\n"
    for page in BOOK.rglob("*.md"):
        parts = re.split(r"^## Quiz\n\n", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
        for part in parts:
            quiz = part[: part.index(":::{admonition} Take-away")]
            questions = re.findall(question, quiz)
            assert [int(number) for number, _, _ in questions] == list(range(1, len(questions) + 1)), page
            assert 3 <= len(questions) <= 5 and quiz.count("Answer\n") == len(questions), page
            for _, asked, answered in questions:
                choice = (
                    r"\*\*(Right|Wrong)[.]?\*\*" if "*Right or wrong?*" in asked else r"\*\*\([abc]\)\*\*"
                )
                assert re.match(choice, answered), f"{page}: {answered[:60]}"
