"""The rules of Z2 are handed encoders of noise, ones that give the same code to all, and untrained ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gansrc import claims
from gansrc.datasets import of
from gansrc.extensions.inference import EDGE, INFERENCE_ADVERSARIAL, apart, by_hand

pytest.importorskip("yaml")
ROWS = {row.id: row for row in claims.read_claims(Path(__file__).parents[1] / "book/claims.yml")}
Encoder = Callable[[Tensor], Tensor]
A = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(0))).Q[:2]
"""G shows two of three numbers in images of 20 pixels."""


class Shown(nn.Module):
    """A generator that pays no heed to its third number."""

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :2] @ A


def codes(n: int, seed: int) -> Tensor:
    return EDGE * (2 * torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) - 1)


def images() -> Tensor:
    """What G can make, and a little beside it."""
    return codes(500, 1)[:, :2] @ A + 0.1 * torch.randn(500, 20, generator=torch.Generator().manual_seed(2))


def kinds(x: Tensor) -> Tensor:
    """Four kinds: the signs of both numbers."""
    return ((x @ A.T > 0) * torch.tensor([1, 2])).sum(1)


def inverse(x: Tensor) -> Tensor:
    """The mean of all codes that fit."""
    return torch.cat([x @ A.T, torch.zeros(len(x), 1)], 1).clamp(-EDGE, EDGE)


def figures(encode: Encoder) -> dict[str, claims.Value]:
    """What the page hands over, of an encoder for this G."""
    x = images()
    recipe = dataclasses.replace(INFERENCE_ADVERSARIAL, z_dim=3, g_hidden=(), e_hidden=(), d_hidden=())
    model = recipe.start(dataclasses.replace(of(torch.zeros(1, 20)), test=x), 0)
    model.generator, model.encode = Shown(), encode
    row = model.measured()
    again, truth = Shown()(encode(x)), kinds(codes(500, 1)[:, :2] @ A)
    found = [apart(x, Shown()(by_hand(Shown(), x, z, 5))) for z in (encode(x), codes(500, 3))]
    return {
        **{name: row[name] for name in ("error", "other", "sample_error", "sample_other", "code_error")},
        "single": apart(x, x.mean(0).expand_as(x)), "kept": (kinds(again) == truth).double().mean().item(),
        "read": (kinds(x) == truth).double().mean().item(), "blind": codes(2000, 4).norm(dim=1).mean().item(),
        "guessed": found[0], "searched": found[1], "linear": 1e-15,
    }  # fmt: skip


def judged(found: dict[str, claims.Value]) -> bool:
    return claims.evaluate(ROWS["Z2"].rule, found)


def noise(x: Tensor) -> Tensor:
    return codes(len(x), 5)


def same(x: Tensor) -> Tensor:
    return torch.tensor([1.0, 0.5, 0.0]).expand(len(x), 3)


def shifted(x: Tensor) -> Tensor:
    """Good codes, each of another image."""
    return inverse(x).roll(7, 0)


def mirrored(x: Tensor) -> Tensor:
    return -inverse(x)


def test_Z2_the_mean_of_all_codes_that_fit_passes() -> None:
    assert judged(figures(inverse))


@pytest.mark.parametrize("encode", [noise, same, torch.zeros_like, shifted, mirrored])
def test_Z2_codes_that_say_nothing_of_the_image_fail(encode: Encoder) -> None:
    wrong = encode if encode is not torch.zeros_like else lambda x: torch.zeros(len(x), 3)
    found, good = figures(wrong), figures(inverse)
    assert not judged(found)
    for part in (("error", "other"), ("sample_error", "sample_other"), ("kept",)):  # each finds it out
        assert not judged(good | {name: found[name] for name in part})


def test_Z2_each_figure_counts() -> None:
    good = figures(inverse)
    for wrong in (
        {"error": good["single"]},  # no nearer than the mean image
        {"kept": 0.25},
        {"read": 0.2, "kept": 0.2},  # a reader who cannot read
        {"code_error": good["blind"]},
        {"guessed": good["searched"], "searched": good["guessed"]},
        {"linear": 0.1},
    ):
        assert not judged(good | wrong)


def test_Z2_an_encoder_that_knows_samples_alone_fails() -> None:
    """What lies beside the samples has to be drawn again, too."""
    good, off = figures(inverse), figures(noise)
    assert not judged(good | {name: off[name] for name in ("error", "other", "kept")})


JOINT: dict[str, claims.Value] = {
    "epochs": 400, "length": 400, "share": 1.0, "units": 1024, "error": 5.95, "other": 9.6, "published": 0.62,
    "hidden": 0.974, "published_hidden": 0.9735, "untrained": 0.964, "pixels": 0.967,
    "published_untrained": 0.9684, "one_error": 0.0036,
}  # fmt: skip


def test_Z2_jointly_a_short_run_is_not_comparable_whatever_it_finds() -> None:
    row = ROWS["Z2-jointly"]
    assert claims.verdict(row, JOINT).kind == "agrees"
    for short in ({"epochs": 25, "share": 25 / 400}, {"units": 512}):
        found = claims.verdict(row, JOINT | short)
        assert found.kind == "not comparable" and "of the published length" in found.lacks
    assert "6% of the published length" in claims.verdict(row, JOINT | {"epochs": 25, "share": 0.0625}).lacks


@pytest.mark.parametrize(
    "wrong",
    [{"error": 9.6}, {"error": 7.07, "other": 9.9}, {"hidden": 0.94}, {"hidden": 0.964, "untrained": 0.97}],
)
def test_Z2_jointly_fails_for_an_untrained_or_blind_encoder(wrong: dict[str, claims.Value]) -> None:
    assert claims.verdict(ROWS["Z2-jointly"], JOINT | wrong).kind == "does not agree"
