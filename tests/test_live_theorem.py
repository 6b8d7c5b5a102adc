"""Theorem 1 to play with, in Chromium and from disk: its figures for any p_g, mouse, pen, keyboard."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import norm

from gansrc import theory

Open = Callable[..., Any]
PIECE = "theorem-1"
HEIGHTS = [0] * 10 + [150, 700, 300, 0, 20, 900, 40] + [5] * 16
HAND = "".join(np.base_repr(height, 36).lower().zfill(2) for height in HEIGHTS)
STATES = {
    "": [(1.0, -1.8, 0.6), (0.0, 2.4, 0.6)],
    "mean=-0.7&width=0.5&weight=0.4&mean2=1&width2=0.4": [(0.6, -0.7, 0.5), (0.4, 1.0, 0.4)],
    "mean=3&width=0.36&weight=0": [(1.0, 3.0, 0.36)],
    "mean=-0.04&width=1.5&weight=0.73&mean2=-3&width2=1.5": [(0.27, -0.04, 1.5), (0.73, -3.0, 1.5)],
    f"drawn={HAND}": [(height, i / 4 - 4, 0.2) for i, height in enumerate(HEIGHTS)],
}


def density(bells: list[tuple[float, float, float]], x: Any) -> Any:
    """A mix of bell curves, whose shares need not sum to one, at x."""
    heights = (share / width * np.exp(-(((x - mean) / width) ** 2) / 2) for share, mean, width in bells)
    return sum(heights) / math.sqrt(2 * math.pi) / sum(share for share, _, _ in bells)


def coins(x: Any) -> Any:
    """Chapter 1's data, as its text has them."""
    return density([(0.6, -0.7, 0.5), (0.4, 1.0, 0.4)], x)


def criterion(p_g: Callable[[float], float]) -> float:
    """C(G) by adaptive integration of eq. (4), in nats."""

    def point(x: float) -> float:
        p, q = coins(x), p_g(x)
        return sum(a * math.log(a / (p + q)) for a in (p, q) if a)

    return sum(quad(point, a, a + 0.5, epsabs=1e-10)[0] for a in np.arange(-12, 12, 0.5))


def now(tab: Any) -> dict[str, Any]:
    """What the piece shows: arrays and figures."""
    found = tab.evaluate(
        "Object.fromEntries(Object.entries(document.querySelector('.live-stage').now)"
        ".map(([k, v]) => [k, typeof v == 'number' ? v : Array.from(v)]))"
    )
    return {k: np.array(v) if isinstance(v, list) else v for k, v in found.items()}


def reached(tab: Any) -> bool:
    return tab.locator(".live-goal.reached").count() == 1


@pytest.mark.parametrize("state", STATES)
def test_its_figures_are_those_of_the_package(open_piece: Open, state: str) -> None:
    tab, bells = open_piece(PIECE, f"{PIECE}:{state}"), STATES[state]
    shown = now(tab)
    x: NDArray[np.float64] = shown["x"]
    dx, p, q = x[1] - x[0], coins(x), density(bells, x)
    np.testing.assert_allclose(shown["pData"], p, atol=1e-9)
    np.testing.assert_allclose(shown["pG"], q, atol=1e-9)
    best = theory.optimal_discriminator(p, q).numpy()
    np.testing.assert_allclose(shown["d"], best, atol=1e-6)
    c, jsd = theory.virtual_criterion(p, q, dx).item(), theory.jsd(p, q, dx).item()
    assert abs(shown["c"] - c) < 1e-6 and abs(shown["jsd"] - jsd) < 1e-6
    assert abs(shown["c"] - (-math.log(4) + 2 * shown["jsd"])) < 1e-6
    # The drawing of the theorem: the gap between the two curves is twice the divergence, at each point.
    gap = shown["cPoint"] + math.log(4) * (p + q) / 2
    np.testing.assert_allclose(gap, 2 * shown["jsdPoint"], atol=1e-6)
    assert abs(shown["c"] - criterion(lambda at: float(density(bells, at)))) < 1e-6
    text = tab.locator(".live-figures").inner_text().replace("−", "-")
    assert re.findall(r"-?\d\.\d{4}", text)[0] == f"{c:.4f}"
    assert reached(tab) == (c < -1.3)


def test_by_keyboard_alone(open_piece: Open) -> None:
    tab = open_piece(PIECE)
    assert not reached(tab)
    tab.keyboard.press("Tab")
    assert "first bump" in tab.evaluate("document.activeElement.getAttribute('aria-label')")
    for _ in range(18):
        tab.keyboard.press("ArrowRight")
    for _ in range(7):
        tab.keyboard.press("ArrowDown")
    assert reached(tab)
    tab.wait_for_function("location.hash == '#theorem-1:mean=0&width=0.95'")
    for _ in range(2):
        tab.keyboard.press("Tab")
    tab.keyboard.press("ArrowUp")
    assert "weight 0.10" in tab.evaluate("document.activeElement.getAttribute('aria-valuetext')")
    while tab.evaluate("document.activeElement.parentElement.querySelector('span')?.textContent") != "mean":
        tab.keyboard.press("Tab")
    tab.keyboard.press("End")
    tab.wait_for_function("location.hash.includes('mean=3&')")


def test_dragged_and_drawn(open_piece: Open) -> None:
    tab = open_piece(PIECE, viewport={"width": 390, "height": 900}, color_scheme="dark")
    box = tab.locator(".live-knob").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 100, y)
    tab.mouse.up()
    moved = now(tab)
    assert 0 < moved["x"][moved["pG"].argmax()] < 1.2
    tab.get_by_role("button", name="Draw it by hand").click()
    drawn = now(tab)
    assert abs(drawn["x"][drawn["pG"].argmax()] - moved["x"][moved["pG"].argmax()]) < 0.1
    plot = tab.locator(".live-plot").first.bounding_box()
    tab.mouse.move(plot["x"] + 20, plot["y"] + 100)
    tab.mouse.down()
    tab.mouse.move(plot["x"] + 120, plot["y"] + 100, steps=5)
    tab.mouse.up()
    after = now(tab)
    assert after["pG"][(after["x"] > -3) & (after["x"] < -2)].min() > 0.1
    assert abs(after["pG"].sum() * 0.01 - 1) < 1e-9
    tab.locator(".live-knob:visible").press("ArrowUp")
    assert not np.allclose(now(tab)["pG"], after["pG"])
    tab.get_by_role("button", name="Let G copy the data").click()
    end = now(tab)
    assert abs(end["c"] + math.log(4)) < 1e-12 and "bottom" in tab.locator(".live-goal").inner_text()


def test_without_scripts_there_is_the_still_picture(open_piece: Open) -> None:
    tab = open_piece(PIECE, java_script_enabled=False)
    assert tab.locator(".live-still").is_visible() and not tab.locator(".live-stage").is_visible()


def test_one_bump_gets_hardly_below_the_goal() -> None:
    """What the piece says once the goal is reached."""
    x = np.linspace(-12, 12, 2401)
    best = minimize(
        lambda bell: theory.virtual_criterion(coins(x), norm.pdf(x, *bell), 0.01).item(),
        [0, 1],
        method="Nelder-Mead",
    )
    assert best.success and -1.32 < best.fun < -1.3


def test_an_older_state_is_not_written_over_the_address_that_came_after_it(open_piece):
    tab = open_piece("theorem-1")
    tab.evaluate("() => { window.setTimeout = act => { window.late = act; }; }")
    tab.get_by_role("slider").first.press("ArrowRight")
    tab.evaluate(
        """() => new Promise(done => {
          addEventListener("hashchange", () => { window.late(); done(); }, { once: true });
          location.hash = "#theorem-1:width=1";
        })"""
    )
    assert tab.evaluate("location.hash") == "#theorem-1:width=1"
