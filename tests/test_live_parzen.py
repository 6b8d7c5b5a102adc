"""Sigma on 15 bumps, in the browser: its scores against scipy's, its goal, the keyboard, paper."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

rng = np.random.default_rng(1)
SAMPLES, HELD = (rng.normal(rng.choice([-1.5, 1.5], n), 0.6) for n in (15, 100))
X = np.linspace(-4, 4, 101)
TRUTH = (norm.pdf(X, -1.5, 0.6) + norm.pdf(X, 1.5, 0.6)) / 2
DATA = {
    "parzen": {
        "samples": SAMPLES.tolist(),
        "held_out": HELD.tolist(),
        "truth": TRUTH.tolist(),
        "window": [-4, 4],
    }
}
STAGE = "document.querySelector('.live-stage')"


def scores(sigma):
    """Mean log density, on the samples and on the points held out."""
    logs = (
        logsumexp(norm.logpdf(points[:, None], SAMPLES, sigma), 1) - np.log(15) for points in (SAMPLES, HELD)
    )
    return [log.mean() for log in logs]


def test_scores_are_those_of_a_parzen_window(open_piece):
    tab = open_piece("parzen", data=DATA)
    for sigma in (0.03, 0.1, 0.45, 2.5):
        assert tab.evaluate(f"{STAGE}.score({sigma})") == pytest.approx(scores(sigma), abs=1e-9)


def test_the_goal_is_reached_by_the_keyboard_at_the_best_width(open_piece):
    tab = open_piece("parzen", "parzen:sigma=2.5", DATA)
    status = tab.locator(".live-goal [role=status]")
    tab.keyboard.press("Tab")
    for _ in range(200):
        if status.inner_text():
            break
        tab.keyboard.press("ArrowLeft")
    said = float(status.inner_text().split()[-1].rstrip("."))
    grid = np.geomspace(0.03, 2.5, 400)
    best = grid[np.argmax([scores(sigma)[1] for sigma in grid])]
    assert scores(best)[1] - scores(said)[1] < 0.01 and abs(np.log(said / best)) < 0.3
    close = "said => Math.abs(parseFloat(location.hash.split('sigma=')[1]) - said) <= 0.006"
    tab.wait_for_function(close, arg=said)
    assert tab.get_by_role("slider").get_attribute("aria-valuetext") == f"{said:.2f}"


def test_a_state_in_the_address_is_taken_over_and_a_bad_one_is_not(open_piece):
    tab = open_piece("parzen", "other:a=1;parzen:sigma=0.5", DATA)
    assert tab.get_by_role("slider").get_attribute("aria-valuetext") == "0.50"
    tab.evaluate("location.hash = '#other:a=1;parzen:sigma=nonsense'")
    tab.wait_for_function("document.querySelector('output').textContent == '1.80'")
    tab.get_by_role("slider").press("ArrowLeft")
    tab.wait_for_function("location.hash.includes('sigma=1')")
    assert "other:a=1" in tab.url


def test_paper_and_a_browser_without_scripts_get_the_still_picture(open_piece):
    tab = open_piece("parzen", data=DATA)
    assert tab.get_by_text("still picture").is_hidden() and tab.locator(".live-plot").first.is_visible()
    tab.emulate_media(media="print")
    assert tab.get_by_text("still picture").is_visible() and tab.locator(".live-plot").first.is_hidden()
    plain = open_piece("parzen", data=DATA, java_script_enabled=False)
    assert plain.get_by_text("still picture").is_visible()


def test_text_on_a_phone_is_not_small(open_piece):
    tab = open_piece("parzen", data=DATA, viewport={"width": 390, "height": 800})
    heights = tab.evaluate(
        "[...document.querySelectorAll('svg text')].map(e => e.getBoundingClientRect().height)"
    )
    assert min(heights) >= 9
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
