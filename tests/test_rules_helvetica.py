"""The rule of D1 is handed generators that do not collapse, or stay so, and a measure that is fooled."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansrc import claims
from gansrc.measures import birthday
from gansrc.modes import Modes, covered, ring

pytest.importorskip("yaml")
ROWS = claims.read_claims(Path(__file__).parents[1] / "book/claims.yml")
(RULE,) = (row.rule for row in ROWS if row.id == "D1")
GAMES, N = 10, 2500
RING = ring()


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def perfect() -> Tensor:
    """Ten generators that draw the data."""
    return RING.draw(GAMES * N, rng(0)).view(GAMES, N, 2)


def collapsed() -> Tensor:
    """Ten generators, each in a mode of its own."""
    return torch.stack(
        [RING.means[game % 8] + 0.01 * torch.randn(N, 2, generator=rng(game)) for game in range(GAMES)]
    )


def noise() -> Tensor:
    """Ten generators of noise on the square that the ring lies in."""
    return 3 * torch.rand(GAMES, N, 2, generator=rng(7)) - 1.5


@cache
def images(different: int) -> float:
    """Draws until a pair, of a generator of so many images; 2,000 at most."""
    x = torch.rand(different, 9, generator=rng(1))
    return min(birthday(x[torch.randint(different, (2000,), generator=rng(2))], 1e-4), 2000)


def figures(in_step: Tensor, provoked: Tensor, cured: Tensor, modes: Modes = RING) -> dict[str, claims.Value]:
    """What the page hands over for these samples, digits aside."""
    parts = [torch.stack([modes.counts(x) for x in part]) for part in (in_step, provoked, cured)]
    numbers = [covered(part).double().mean().item() for part in parts]
    width = [part.var(1).sum(-1).sqrt().mean().item() for part in (in_step, provoked, cured)]
    return {
        "games": len(in_step), "in_step": numbers[0], "provoked": numbers[1], "cured": numbers[2],
        "ahead": numbers[1], "quality": (parts[0].sum() / (GAMES * N)).item(),
        "cured_quality": (parts[2].sum() / (GAMES * N)).item(),
        "noise_quality": modes.counts(noise()[0]).sum().item() / N,
        "slowly": numbers[2], "narrow": width[1], "width": width[2],
        "kinds": 3, "kinds_cured": 10, "draws": images(4), "seeds": 5, "draws_cured": images(300_000),
    }  # fmt: skip


def judged(*parts: Tensor, modes: Modes = RING, **wrong: claims.Value) -> bool:
    return claims.evaluate(RULE, figures(*parts, modes=modes) | wrong)


def test_D1_collapse_and_cure_pass() -> None:
    assert judged(perfect(), collapsed(), perfect())


def test_D1_a_generator_that_covers_all_modes_though_it_is_ahead() -> None:
    assert not judged(perfect(), perfect(), perfect())
    assert not judged(perfect(), collapsed(), perfect(), ahead=8.0)  # from the start
    spread = collapsed()
    spread[:, ::2] = perfect()[:, ::2]  # half of the samples
    assert not judged(perfect(), spread, perfect())


def test_D1_a_generator_that_is_off_all_modes_but_wide_has_not_collapsed() -> None:
    assert not judged(perfect(), 1.3 * perfect(), perfect())


def test_D1_one_that_is_not_cured() -> None:
    assert not judged(perfect(), collapsed(), collapsed())
    assert not judged(perfect(), collapsed(), noise())
    assert not judged(perfect(), collapsed(), noise(), cured=8.0, slowly=8.0)  # noise that hits each mode
    half = perfect()
    half[..., 1] = half[..., 1].abs()  # the upper half of the ring
    assert not judged(perfect(), collapsed(), half)
    assert not judged(perfect(), collapsed(), perfect(), slowly=2.0)


def test_D1_one_that_never_was_in_step() -> None:
    assert not judged(noise(), collapsed(), perfect())
    assert not judged(noise(), collapsed(), perfect(), in_step=8.0)  # of more samples, which hit each mode
    assert not judged(collapsed(), collapsed(), perfect())


def test_D1_noise_covers_modes_by_the_published_count_but_not_by_the_rule() -> None:
    assert figures(noise(), collapsed(), noise())["in_step"] > 4
    assert not judged(noise(), collapsed(), noise())


def test_D1_a_measure_that_counts_noise_as_modes() -> None:
    blind = dataclasses.replace(RING, sigma=0.12)
    assert covered(blind.counts(noise()[0])) == 8
    assert not judged(perfect(), collapsed(), perfect(), modes=blind)


def test_D1_digits_that_do_not_collapse_or_are_not_cured() -> None:
    few, many = images(4), images(300_000)
    for wrong in (
        {"kinds_cured": 5},
        {"draws": 60.0, "draws_cured": 2000.0},
        {"draws": many},
        {"seeds": 1},
        {"draws_cured": few},
        {"games": 3},
    ):
        assert not judged(perfect(), collapsed(), perfect(), **wrong)
