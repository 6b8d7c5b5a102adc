"""The games with k steps of D as a player: what a frame says, the keyboard, less motion, out of sight."""

from __future__ import annotations

import base64

import numpy as np
import pytest

KS, EVERY = (1, 10), 10
rng = np.random.default_rng(0)
POINTS = rng.normal(0, 1.5, (50, 2))
BYTES = {k: rng.integers(1, 255, (4, 300 + 24 * 24), dtype=np.uint8) for k in KS}
FRAMES = {k: [base64.b64encode(frame.tobytes()).decode() for frame in frames] for k, frames in BYTES.items()}
DATA = {"turns": {"ks": KS, "every": EVERY, "points": POINTS.tolist(), "frames": FRAMES}}


def off(k, frame):
    """The samples' mean distance from the circle of radius 2."""
    x = 8 * BYTES[k][frame][:300].astype(float).reshape(150, 2) / 255 - 4
    return np.abs(np.linalg.norm(x, axis=1) - 2).mean()


def shown(tab):
    return tab.evaluate("document.querySelector('.live-stage').off()")


def test_a_frame_is_the_one_of_its_k_and_update(open_piece):
    tab = open_piece("turns", "turns:k=10&update=20", DATA)
    assert shown(tab) == pytest.approx(off(10, 2), abs=1e-9)
    assert tab.get_by_role("radio", name="10").is_checked()
    tab.get_by_role("radio", name="10").press("ArrowLeft")  # the keyboard's way to another k
    assert shown(tab) == pytest.approx(off(1, 2), abs=1e-9)
    tab.get_by_role("slider").press("ArrowRight")
    assert shown(tab) == pytest.approx(off(1, 3), abs=1e-9)
    tab.wait_for_function("location.hash == '#turns:update=30'")  # k = 1 is the usual one


def test_the_goal_is_the_nearest_frame_of_all(open_piece):
    tab = open_piece("turns", data=DATA)
    k, frame = min(((k, i) for k in KS for i in range(4)), key=lambda at: off(*at))
    status = tab.locator(".live-goal [role=status]")
    for other in KS:
        for i in range(4):
            tab.evaluate(f"location.hash = '#turns:k={other}&update={EVERY * i}'")
            tab.wait_for_function(
                f"Math.abs(document.querySelector('.live-stage').off() - {off(other, i)}) < 1e-9"
            )
            assert bool(status.inner_text()) == ((other, i) == (k, frame))


def test_the_readers_address_goes_before_an_older_state_and_a_heading_changes_nothing(open_piece):
    tab = open_piece("turns", data=DATA)
    tab.wait_for_timeout(400)
    tab.evaluate("() => { window.setTimeout = act => { window.late = act; }; }")
    tab.get_by_role("slider").press("ArrowRight")  # soon to be in the address: at the worst moment of all
    tab.evaluate("() => { location.hash = '#turns:k=10&update=20'; window.late(); }")
    reached = f"Math.abs(document.querySelector('.live-stage').off() - {off(10, 2)}) < 1e-9"
    tab.wait_for_function(reached, timeout=3000)
    tab.evaluate("window.late()")
    assert tab.evaluate("location.hash") == "#turns:k=10&update=20"
    tab.evaluate("location.hash = '#a-heading'")
    tab.evaluate("new Promise(requestAnimationFrame)")
    assert shown(tab) == pytest.approx(off(10, 2), abs=1e-9)
    assert tab.evaluate("location.hash") == "#a-heading"
    tab.get_by_role("slider").press("ArrowRight")
    tab.evaluate("window.late()")
    assert tab.evaluate("location.hash") == "#turns:k=10&update=30"
    opened = open_piece("turns", "a-heading", DATA)
    opened.wait_for_timeout(400)
    assert opened.evaluate("location.hash") == "#a-heading"


def test_it_plays_when_asked_and_stops_at_the_end(open_piece):
    tab = open_piece("turns", data=DATA)
    assert shown(tab) == pytest.approx(off(1, 0))
    tab.get_by_role("button", name="Play").press("Enter")
    assert tab.get_by_role("button", name="Pause").is_visible()
    tab.get_by_role("button", name="Play").wait_for()
    assert shown(tab) == pytest.approx(off(1, 3))


def test_it_does_not_play_where_less_motion_is_asked_for_or_out_of_sight(open_piece):
    tab = open_piece("turns", data=DATA, reduced_motion="reduce")
    tab.get_by_role("button", name="Step").press("Enter")
    assert shown(tab) == pytest.approx(off(1, 1))
    tab.wait_for_timeout(500)
    assert shown(tab) == pytest.approx(off(1, 1))
    far = open_piece("turns", data=DATA)
    far.evaluate("document.body.style.paddingBottom = '5000px'")
    far.get_by_role("button", name="Play").press("Enter")
    far.evaluate("scrollTo(0, 5000)")
    far.wait_for_function("document.querySelector('.live-play').textContent == 'Play'")
