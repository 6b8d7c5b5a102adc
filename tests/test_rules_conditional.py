"""The rules of Z1 are handed nets that do not listen, that mix classes up, or that know a single answer."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansrc import claims, plane
from gansrc.extensions.conditional import marks
from gansrc.measures import birthday

pytest.importorskip("yaml")
ROWS = {row.id: row for row in claims.read_claims(Path(__file__).parents[1] / "book/claims.yml")}
N, CLASSES, D = 1000, 10, 20
MEANS = 3 * torch.randn(CLASSES, D, generator=torch.Generator().manual_seed(0))
ASKED = torch.arange(N) % CLASSES


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(classes: Tensor, seed: int = 1, width: float = 1.0) -> Tensor:
    """Made-up images: one of each class given, around its mean."""
    return MEANS[classes] + width * torch.randn(len(classes), D, generator=rng(seed))


def read(x: Tensor) -> Tensor:
    return torch.cdist(x, MEANS).argmin(1)


def points(bell: Tensor, seed: int = 2) -> Tensor:
    noise = torch.randn(len(bell), 2, generator=rng(seed))
    return torch.stack([b.bent(noise) for b in plane.BELLS])[bell, torch.arange(len(bell))]


def by_bayes(x: Tensor) -> Tensor:
    return torch.stack([b.log_density(x) + math.log(b.weight) for b in plane.BELLS]).argmax(0)


SHARES = torch.tensor([b.weight for b in plane.BELLS])
BELL, ASKED_3 = torch.multinomial(SHARES, N, True, generator=rng(4)), torch.arange(N) % 3
DEALT = ASKED[torch.randperm(N, generator=rng(6))]


def figures(
    samples: Tensor,
    in_plane: Tensor | None = None,
    deaf: Tensor | None = None,
    deaf_plane: Tensor | None = None,
    single: Tensor | None = None,
) -> dict[str, claims.Value]:
    """What the page hands over for these samples, its own impostors among them where none are given."""
    real = blobs(ASKED, 3)
    right, variance = marks(read(samples), samples, ASKED, real, ASKED)
    x = points(ASKED_3) if in_plane is None else in_plane
    told = marks(by_bayes(x), x, ASKED_3, points(BELL, 5), BELL)
    y = points(BELL) if deaf_plane is None else deaf_plane
    dealt = blobs(DEALT) if deaf is None else deaf
    one = MEANS[ASKED] if single is None else single
    lone = marks(read(one), one, ASKED, real, ASKED)
    return {
        "length": 200, "full": 200, "right": right.mean().item(), "worst": right.min().item(),
        "real": (read(real) == ASKED).float().mean().item(), "variance": variance.min().item(),
        "draws": min(birthday(samples, 0.5), float(N)),
        "deaf": (read(dealt) == ASKED).float().mean().item(), "single": lone[1].max().item(),
        "plane": told[0].min().item(), "plane_variance": told[1].min().item(),
        "plane_deaf": (by_bayes(y) == ASKED_3).float().mean().item(),
    }  # fmt: skip


def judged(samples: Tensor, **impostors: Tensor) -> bool:
    values = figures(samples, **impostors)
    assert claims.evaluate(ROWS["Z1"].needs, values)  # a whole run: there is no excuse
    return claims.evaluate(ROWS["Z1"].rule, values)


def test_Z1_a_net_that_listens_and_varies_passes() -> None:
    assert judged(blobs(ASKED))


def test_Z1_a_net_that_does_not_listen() -> None:
    deaf = blobs(DEALT)
    assert 0.05 < figures(deaf)["right"] < 0.15 and figures(deaf)["variance"] > 0.5
    assert not judged(deaf)
    assert not judged(blobs(ASKED), in_plane=points(BELL))


def test_Z1_a_net_that_takes_one_class_for_another() -> None:
    assert not judged(blobs((ASKED + 1) % CLASSES))
    swapped = ASKED.where(ASKED != 3, 8)
    assert figures(blobs(swapped))["right"] > 0.85
    assert not judged(blobs(swapped))  # all threes are eights
    assert not judged(blobs(ASKED), in_plane=points(ASKED_3.where(ASKED_3 != 1, 2)))


def test_Z1_a_net_with_one_answer_or_a_few_for_each_class() -> None:
    assert figures(MEANS[ASKED])["right"] == 1
    assert not judged(MEANS[ASKED])
    assert not judged(blobs(ASKED, width=0.3))  # nearly one
    few = blobs(ASKED)[: 4 * CLASSES].repeat(N // (4 * CLASSES), 1)
    assert figures(few)["right"] > 0.9 and figures(few)["variance"] > 0.5
    assert not judged(few)  # four of each class, which come again
    lone = blobs(ASKED)
    lone[ASKED == 4] = MEANS[4]
    assert not judged(lone)  # one class alone
    assert not judged(blobs(ASKED), in_plane=torch.tensor([b.centre for b in plane.BELLS])[ASKED_3])


def test_Z1_measures_that_an_impostor_passes_are_no_measures() -> None:
    assert not judged(blobs(ASKED), deaf=blobs(ASKED))
    assert not judged(blobs(ASKED), deaf_plane=points(ASKED_3))
    assert not judged(blobs(ASKED), single=blobs(ASKED))


def test_Z1_a_short_run_is_excused_and_one_that_is_there_early_needs_no_excuse() -> None:
    row, deaf, good = ROWS["Z1"], figures(blobs(DEALT)), figures(blobs(ASKED))
    assert not claims.evaluate(row.needs, deaf | {"length": 20})
    assert claims.evaluate(row.needs, good | {"length": 20}) and claims.evaluate(row.rule, good)
    assert claims.evaluate(row.needs, deaf)


def test_Z1_score_of_a_short_run_of_a_poor_one_and_of_one_as_published() -> None:
    row = ROWS["Z1-score"]

    def kind(mean: float, error: float = 2.0, length: int = 200) -> tuple[bool, bool]:
        values: dict[str, claims.Value] = {"mean": mean, "error": error, "length": length, "full": 200}
        return claims.evaluate(row.needs, values), claims.evaluate(row.rule, values)

    assert kind(132.0) == kind(180.0) == kind(127.0) == (True, True)
    assert kind(126.0) == kind(40.0) == (True, False)
    assert kind(40.0, length=20)[0] is kind(180.0, length=20)[0] is False
