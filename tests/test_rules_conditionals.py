"""The rules of Z3 are handed fillers that repeat one answer, that do not look, that alter what is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansrc import claims, plane
from gansrc.extensions.conditionals import gaps, quality

pytest.importorskip("yaml")
ROWS = claims.read_claims(Path(__file__).parents[1] / "book/claims.yml")
RULES = {row.id: row for row in ROWS if row.id.startswith("Z3")}
N, POINTS = 10, 20_000


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def exact(x: Tensor, axis: int, seed: int) -> Tensor:
    """Points whose one number is drawn anew, given the other, from the closed form on a fine line."""
    line = torch.linspace(-5, 5, 501)
    given = x[:, 1 - axis]
    near = ((given + 5) * 50).round().long().clamp(0, 500)
    pairs = torch.stack([line.expand(501, -1), line[:, None].expand(-1, 501)][:: 1 if axis == 0 else -1], -1)
    p = plane.log_density(pairs.reshape(-1, 2)).exp().view(501, 501)  # by what is given, then by the other
    found = torch.multinomial(p[near], 1, generator=rng(seed))[:, 0]
    answer = x.clone()
    answer[:, axis] = line[found] + 0.02 * (torch.rand(len(x), generator=rng(seed + 1)) - 0.5)
    return answer


def means(x: Tensor, axis: int) -> Tensor:
    """Points whose one number is the mean given the other."""
    squares, at = plane.truth(), (torch.arange(80) + 0.5) / 8 - 5
    line = squares if axis == 0 else squares.T  # by what is given, then by the other
    mean = (line * at).sum(1) / line.sum(1)
    answer = x.clone()
    answer[:, axis] = mean[((x[:, 1 - axis] + 5) * 8).long().clamp(0, 79)].float()
    return answer


def on_the_plane(first: Tensor, second: Tensor, both: Tensor, altered: float = 0.0) -> bool:
    """The verdict on x1 and x2 filled in, and on pairs drawn with nothing known."""
    x, others = plane.draw(POINTS, rng(1)), plane.draw(POINTS, rng(2))

    def off(pairs: Tensor) -> float:
        return plane.distances(plane.shares(pairs))[0]

    blind = [torch.stack([others[:, 0], x[:, 1]], 1), torch.stack([x[:, 0], others[:, 1]], 1)]
    figures: dict[str, claims.Value] = {
        "far": max(off(first), off(second)), "near": min(off(first), off(second)), "joint": off(both),
        "far_blind": min(map(off, blind)), "far_mean": min(off(means(x, axis)) for axis in (0, 1)),
        "altered": altered,
    }  # fmt: skip
    return claims.evaluate(RULES["Z3"].rule, figures)


def test_Z3_exact_conditionals_pass_and_wrong_ones_do_not():
    x, others, more = (plane.draw(POINTS, rng(seed)) for seed in (1, 3, 4))
    first, second = exact(x, 0, 5), exact(x, 1, 7)
    assert on_the_plane(first, second, more)
    assert not on_the_plane(first, second, more, altered=1e-3)
    for axis in (0, 1):  # either of them wrong
        answers = [first, second]
        for wrong in (means(x, axis), torch.where(torch.arange(2) == axis, others, x),
                      torch.where(torch.arange(2) == axis, torch.zeros(2), x)):  # fmt: skip
            answers[axis] = wrong
            assert not on_the_plane(*answers, more)
    assert not on_the_plane(first, second, torch.zeros(POINTS, 2))
    assert not on_the_plane(first, second, more.flip(1))  # a face that lies on its side


class World:
    """Images of 20 numbers: a thing in common, known to a part from any pixel, and noise of each pixel's."""

    def __init__(self) -> None:
        self.common = torch.randn(400, 1, generator=rng(1))
        self.x = self.common + 0.5 * torch.randn(400, 20, generator=rng(2))
        self.missing = gaps(("right",), 400, (4, 5))

    def posterior(self) -> tuple[Tensor, float]:
        """Mean and variance of what is common, given the known pixels, by Bayes' rule."""
        known = 1 - self.missing
        precision = 1 + known.sum(1, keepdim=True) / 0.25
        return (self.x * known).sum(1, keepdim=True) / 0.25 / precision, (1 / precision[0]).item()

    def filled(self, values: Tensor) -> Tensor:
        return torch.where(self.missing > 0, values, self.x)

    def true(self, n: int = N) -> Tensor:
        mean, variance = self.posterior()
        common = mean + variance**0.5 * torch.randn(n, 400, 1, generator=rng(3))
        return self.filled(common + 0.5 * torch.randn(n, 400, 20, generator=rng(4)))

    def one_answer(self, n: int = N) -> Tensor:
        return self.filled(self.posterior()[0].expand(n, 400, 20))

    def blind(self, n: int = N) -> Tensor:
        common = torch.randn(n, 400, 1, generator=rng(5))
        return self.filled(common + 0.5 * torch.randn(n, 400, 20, generator=rng(6)))


WORLD = World()


def judged(fills: Tensor, **wrong: claims.Value) -> bool:
    """The verdict on fillings of the world's images; "read rightly": by the sign of their sum."""

    def measured(fills: Tensor) -> dict[str, float]:
        found = {name: part.mean().item() for name, part in quality(fills, WORLD.x, WORLD.missing).items()}
        hidden = WORLD.missing[0] > 0
        read = fills[0][:, hidden].sum(1).sign() == WORLD.x[:, hidden].sum(1).sign()
        return found | {"right": read.float().mean().item()}

    own, blind = measured(fills), measured(WORLD.blind())
    spread = (1 + 1 / len(fills)) * own["spread"] / own["mean"]
    figures: dict[str, claims.Value] = {
        "epochs": 250, "planned": 250, "gaps": 12, "altered": own["altered"],
        "least_spread": spread, "most_spread": spread, "worst": own["mean"] / blind["mean"],
        "right": own["right"], "right_blind": blind["right"], "right_neighbours": 0.9,
    }  # fmt: skip
    return claims.evaluate(RULES["Z3-digits"].rule, figures | wrong)


def test_Z3_digits_true_draws_pass():
    assert judged(WORLD.true())


def test_Z3_digits_one_answer_whatever_the_noise():
    assert not judged(WORLD.one_answer())
    same = WORLD.true(1).expand(N, -1, -1)
    assert not judged(same)
    hardly = WORLD.one_answer() + 0.1 * WORLD.missing * torch.randn(N, 400, 20, generator=rng(8))
    assert not judged(hardly)


def test_Z3_digits_variety_that_does_not_look():
    assert not judged(WORLD.blind())
    assert not judged(WORLD.filled(torch.rand(N, 400, 20, generator=rng(9))))


def test_Z3_digits_known_pixels_that_are_altered():
    fills = WORLD.true()
    assert not judged(fills + 1e-3 * (1 - WORLD.missing))


def test_Z3_digits_that_are_right_in_all_but_one_figure():
    for wrong in ({"gaps": 1}, {"least_spread": 0.1}, {"most_spread": 3.0}, {"worst": 1.0},
                  {"right": 0.2, "right_blind": 0.2}):  # fmt: skip
        assert not judged(WORLD.true(), **wrong)


def test_Z3_digits_a_short_run_is_not_compared():
    row = RULES["Z3-digits"]
    assert not claims.evaluate(row.needs, {"epochs": 20, "planned": 250})
    assert claims.evaluate(row.needs, {"epochs": 250, "planned": 250})
