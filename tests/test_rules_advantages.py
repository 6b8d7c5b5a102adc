"""The rules of section 6 in book/claims.yml (D2, D4, X2) are handed wrong models and tables, and fail."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gansrc import arcs, claims, measures
from gansrc.claims import Value
from gansrc.strokes import NUMBERS, Strokes

ROOT = Path(__file__).parents[1]
CLAIMS = {c.id: c for c in claims.read_claims(ROOT / "book" / "claims.yml")}

RIGHT: dict[str, dict[str, Value]] = {
    "D2": {
        "gradient": 1e-9, "score": 140.0, "start": -90.0, "mean": 20.0, "valid_low": 109.0,
        "valid_high": 141.0, "pens": 5, "plain_low": 60.0, "plain_high": 70.0, "sure": 0.7,
        "sure_real": 0.95, "sure_start": 0.4, "commonest": 0.15,
        "updates": 5000, "numbers": 30,
    },
    "D4": {
        "distance": 0.024, "median": 0.006, "astray": 0.06, "uneven": 0.06, "blurred": 0.08, "wide": 0.32,
        "slope": 0.122, "law": 0.125, "fast": 35.0, "slow": 8e6, "error": 0.09,
    },
    "X2": {
        "cells": 20, "encoder": 1, "hidden": 3, "steps": 1, "narrow_time": 1594.0, "narrow_error": 0.18,
        "wide_time": 11.3,
        "wide_error": 0.49, "in_step": 0.08, "out_of_step": 0.95, "vae_gap": 0.016, "blind_gap": 1.0,
        "dbm_gap": 1.4, "gsn_time": 68.0, "dbn_time": 59.0, "explained": 0.99, "decoder": 1, "generator": 1,
        "vae_error": 0.02, "z_error": 0.009, "parzen_off": 0.02, "through": 0.0, "exact": -3,
        "integrates": 0.13, "pen": 0.39, "first": 57.0, "last": 150.0,
    },
}  # fmt: skip
"""Figures as the pages find them, rounded."""


def holds(claim: str, **changes: Value) -> bool:
    return claims.evaluate(CLAIMS[claim].rule, RIGHT[claim] | changes)


@pytest.mark.parametrize("claim", RIGHT)
def test_right_figures_pass(claim: str) -> None:
    assert holds(claim)
    assert claims.verdict(CLAIMS[claim], RIGHT[claim]).shown


def of_gan(samples: Tensor) -> dict[str, Value]:
    """The figures of D4 that are samples'."""
    away = arcs.distance(samples)
    return {"distance": away.mean().item(), "median": away.median().item(),
            "astray": (away > 0.1).float().mean().item(), "uneven": arcs.unevenness(samples)}  # fmt: skip


def data() -> Tensor:
    return arcs.draw(5000, torch.Generator().manual_seed(0))


def test_D4_the_data_themselves_pass() -> None:
    assert holds("D4", **of_gan(data()))


WRONG: dict[str, Tensor] = {
    "blurred as a chain's": data() + 0.1 * torch.randn(5000, 2, generator=torch.Generator().manual_seed(1)),
    "collapsed": data()[:1].expand(5000, 2),
    "one arc": torch.stack([data()[:, 0].abs(), data()[:, 1]], 1),
    "a bridge as wide as an arc": torch.cat([data()[:3500], torch.linspace(-0.4, 0.4, 1500)[:, None] * 1.0
                                             @ torch.tensor([[1.0, 0.0]])]),
    "noise": torch.randn(5000, 2, generator=torch.Generator().manual_seed(2)),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_D4_a_gan_that_blurs_or_leaves_out_data_fails(kind: str) -> None:
    assert not holds("D4", **of_gan(WRONG[kind]))


def test_D4_a_chain_that_does_not_move_or_does_not_pay_fails() -> None:
    still = torch.ones(100, 50, 1).double()
    assert measures.autocorrelation_time(still) == float("inf")  # evidence refuses it as it stands
    apart = torch.cat([still[:50], -still[:50]])  # half of the chains on either side, for ever
    counted, solved = measures.autocorrelation_time(apart), 35.0
    assert not holds("D4", error=abs(counted / solved - 1))
    assert not holds("D4", slow=RIGHT["D4"]["fast"])  # as fast when narrow
    assert not holds("D4", slope=0.0)
    assert not holds("D4", slope=0.25)  # another law


def test_D2_a_pen_that_learns_nothing_or_draws_one_digit_fails() -> None:
    assert not holds("D2", score=-90.0, valid_low=-90.0)  # its gradient is cut off
    assert not holds("D2", score=10.0)  # the mean digit does as well
    assert not holds("D2", pens=1)
    assert not holds("D2", valid_low=0.0)  # far behind the plain generator
    assert not holds("D2", commonest=0.9)
    assert not holds("D2", sure=0.4)  # scrawls
    assert not holds("D2", sure_start=0.8)  # read better before it learnt
    assert not holds("D2", gradient=0.1)


CELLS: dict[str, dict[str, Value]] = {
    "training, directed": {"encoder": 0},
    "training, undirected: no chain": {"steps": 0},
    "training, undirected: no inference": {"hidden": 0},
    "training, auto-encoders: mixes as well": {"narrow_time": 20.0},
    "training, auto-encoders: repairs as well": {"wide_error": 0.18},
    "training, adversarial: no collapse": {"out_of_step": 0.1},
    "training, adversarial: never in step": {"in_step": 0.95},
    "inference, directed: exact": {"vae_gap": 0.0},
    "inference, directed: an encoder of noise": {"vae_gap": 2.0},
    "inference, undirected: exact": {"dbm_gap": 0.0},
    "inference, auto-encoders: no chain": {"gsn_time": 1.0},
    "inference, adversarial: codes cannot be learnt": {"explained": 0.0},
    "sampling, directed: a chain": {"decoder": 100},
    "sampling, undirected: a pass": {"dbn_time": 1.0},
    "sampling, adversarial: a chain": {"generator": 100},
    "p(x), directed: not even nearly": {"vae_error": 3.0},
    "p(x), undirected: not even nearly": {"z_error": 3.0},
    "p(x), by a window: exact": {"parzen_off": 0.0},
    "design, directed: a gradient": {"through": -3.0},
    "design, undirected: all integrate": {"integrates": 1.0},
    "design, auto-encoders: learns nothing": {"pen": 1.0},
    "design, adversarial: learns nothing": {"last": 57.0},
    "a cell short": {"cells": 19},
}


@pytest.mark.parametrize("cell", CELLS)
def test_X2_a_table_with_a_wrong_cell_fails(cell: str) -> None:
    assert not holds("X2", **CELLS[cell])


PAGE = (ROOT / "book" / "06-advantages.md").read_text(encoding="utf-8")


@pytest.fixture
def page() -> dict[str, Any]:
    """The names of the page's first cell."""
    pytest.importorskip("mlxtend")
    names: dict[str, Any] = {}
    exec(cell_with("from unittest.mock import patch"), names)
    return names


def cell_with(words: str) -> str:
    """The code of the page's cell in which these words stand."""
    cells = re.findall(r"```{code-cell} ipython3\n(?::[^\n]*\n+)*(.*?)```", PAGE, re.DOTALL)
    (found,) = (code for code in cells if words in code)
    return found


def changed(code: str, words: str, others: str) -> str:
    assert words in code
    return code.replace(words, others)


def test_X2_the_page_with_one_step_of_annealing_fails(page) -> None:
    code = cell_with("machine = RBM")
    for scales, right in (("linspace(0, 1, 301)", True), ("linspace(0, 1, 2)", False)):
        page["rng"].manual_seed(0)
        exec(changed(code, "linspace(0, 1, 301)", scales), page)
        assert holds("X2", z_error=page["z_error"]) is right


def test_X2_the_page_with_an_encoder_of_noise_fails(page) -> None:
    code = cell_with("vae.fit(tiny.train, 600)")
    noise = "vae.encoder = nn.Linear(16, 2)\nnn.init.normal_(vae.encoder.weight, 0, 1, rng)\nwith"
    exec(changed(code, "with", noise), page)
    assert not holds("X2", vae_gap=page["vae_gap"], blind_gap=page["blind_gap"])


def test_X2_the_page_with_units_that_do_not_hang_together_fails(page) -> None:
    exec(changed(cell_with("w0, w1 ="), "2 * torch.randn(5, 4", "0 * torch.randn(5, 4"), page)
    assert not holds("X2", dbm_gap=page["dbm_gap"])  # independent units are guessed exactly


def test_X2_the_page_with_no_damage_fails(page) -> None:
    exec(cell_with("def damage_and_repair"), page)
    time, error = page["narrow"]
    assert not holds("X2", narrow_time=time, narrow_error=error, wide_time=time, wide_error=error)


def test_D2_a_pen_that_rounds_its_points_fails() -> None:
    def rounding(numbers: Tensor) -> Tensor:
        return Strokes((14, 14)).double()((4 * numbers).round() / 4)

    numbers = torch.randn(1, NUMBERS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    numbers.requires_grad_()
    (found,) = torch.autograd.grad(rounding(numbers).sum(), numbers)
    step = 0.25  # as far as a move that is seen at all
    moves = step * torch.eye(NUMBERS, dtype=torch.float64)
    with torch.no_grad():
        seen = (rounding(numbers + moves).sum(1) - rounding(numbers - moves).sum(1)) / (2 * step)
    error = (seen - found[0]).abs().max() / seen.abs().max()
    assert found.abs().max() == 0 and not holds("D2", gradient=error.item())
