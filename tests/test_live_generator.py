"""The generator in the browser: its pixels and D's verdicts against the package's, its size, its keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gansrc import datasets, mosaics
from gansrc.runs import Run

ROOT = Path(__file__).parents[1]
RUN = Run(ROOT / "book" / "runs" / "mnist")
STILL = ROOT / "book" / "_static" / "live" / "generator.webp"
OPEN = "document.querySelector('.live-stage').net"


def first_ten() -> torch.Tensor:
    """The digits of the piece's first ten codes, a row each, by the recorded generator."""
    seed, codes = 2014, []
    for _ in range(1000):  # "mulberry32", whole numbers of 32 bits
        seed = (seed + 0x6D2B79F5) % 2**32
        t = (seed ^ seed >> 15) * (seed | 1) % 2**32
        t ^= (t + (t ^ t >> 7) * (t | 61)) % 2**32
        codes.append(3**0.5 * (2 * (t ^ t >> 14) / 2**32 - 1))
    with torch.no_grad():
        return RUN.sampler("average").net(torch.tensor(codes).unflatten(0, (10, 100)))


@pytest.fixture
def folder() -> Path:
    """The scripts, and the weights beside them, as the book's build wrote them."""
    folder = ROOT / "_build" / "html" / "_static" / "live"
    if not (folder / "generator-weights.js").exists():
        pytest.skip("no built book: run make book first")
    return folder


def opened(open_piece, folder, state="", **options):
    tab = open_piece("generator", state, folder=folder, **options)
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.wait_for_function(f"{OPEN} != null")
    return tab


@pytest.mark.slow
def test_pixels_and_verdicts_are_those_of_the_recorded_nets(open_piece, folder):
    assert (folder / "generator-weights.js").stat().st_size <= 3_000_000
    assert (folder / "generator.js").stat().st_size <= 100_000
    tab = opened(open_piece, folder)
    rng = np.random.default_rng(11)
    z = rng.uniform(-(3**0.5), 3**0.5, (60, 100))
    x, d = tab.evaluate(
        f"""codes => {{
          const x = codes.map(z => {OPEN}.generate(z));
          return [x.map(one => [...one]), x.map(one => {OPEN}.judge(one))];
        }}""",
        z.tolist(),
    )
    with torch.no_grad():
        images = RUN.sampler("average").net(torch.tensor(z, dtype=torch.float32))
        judge = RUN.model(datasets.mnist()).game.discriminator.eval()
        believed = judge(images).sigmoid()
    np.testing.assert_allclose(np.array(x), images.numpy(), atol=0.01)
    np.testing.assert_allclose(d, believed.numpy(), atol=0.01)


@pytest.mark.slow
def test_the_still_picture_is_what_a_click_draws(open_piece, folder):
    silent = open_piece("generator", folder=folder, java_script_enabled=False)
    assert silent.locator(".live-still").is_visible() and not silent.locator(".live-stage").is_visible()
    tab = opened(open_piece, folder)
    drawn = tab.evaluate(
        """() => [...document.querySelectorAll(".live-digits canvas")].map(
          one => [...one.getContext("2d").getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 == 0))"""
    )
    still = mosaics.read(STILL, (28, 28))
    assert still.shape == (10, 784)
    np.testing.assert_allclose(np.array(drawn), still.numpy(), atol=4)  # of 255


@pytest.mark.slow
def test_the_keyboard_alone_draws_walks_and_turns(open_piece, folder):
    tab = opened(open_piece, folder)
    digits = tab.locator(".live-digits button")
    assert digits.count() == 10
    first = digits.first.get_attribute("aria-label")
    tab.get_by_role("button", name="Draw ten others").press("Enter")
    assert digits.first.get_attribute("aria-label") != first
    believed = "document.querySelector('.live-now canvas').dataset.believed"
    before = tab.evaluate(believed)
    tab.get_by_role("slider", name="direction 1").press("ArrowRight")
    assert tab.evaluate(believed) != before
    digits.nth(3).press("Enter")
    assert digits.nth(3).get_attribute("aria-pressed") == "true"
    tab.get_by_role("slider", name="walk").press("ArrowRight")
    tab.wait_for_function("location.hash == '#generator:seed=2015&at=3.05'")
    tab.get_by_role("button", name="Walk").press("Enter")
    tab.wait_for_function("location.hash.includes('at=3.3')")


@pytest.mark.slow
def test_the_goal_can_be_reached_and_an_address_brings_back_what_was_seen(open_piece, folder):
    tab = opened(open_piece, folder, "generator:seed=7&at=2&a=1.5", reduced_motion="reduce")
    believed = float(tab.evaluate("document.querySelector('.live-now canvas').dataset.believed"))
    again = opened(open_piece, folder, "generator:seed=7&at=2&a=1.5")
    assert float(again.evaluate("document.querySelector('.live-now canvas').dataset.believed")) == believed
    tab.get_by_role("button", name="Step").press("Enter")  # less motion: one step a press
    tab.wait_for_function("location.hash.includes('at=2.05')")
    for name in ("direction 1", "direction 2", "direction 3", "direction 4"):  # up the slope, one by one
        slider = tab.get_by_role("slider", name=name)
        tab.evaluate(
            """slider => {
              const now = document.querySelector('.live-now canvas').dataset;
              const move = v => {
                slider.value = v;
                slider.dispatchEvent(new Event('input'));
                return Number(now.believed);
              };
              const values = Array.from({ length: 49 }, (_, i) => -6 + i / 4);
              const tried = values.map(move);
              move(values[tried.indexOf(Math.max(...tried))]);
            }""",
            slider.element_handle(),
        )
    assert float(tab.evaluate("document.querySelector('.live-now canvas').dataset.believed")) > believed


def test_without_weights_it_says_what_to_do(open_piece):
    tab = open_piece("generator")
    assert tab.get_by_text("still picture").is_visible()
    tab.get_by_role("button").press("Enter")
    tab.get_by_text("build the book").wait_for()
    assert tab.get_by_role("button").is_enabled() and tab.get_by_text("still picture").is_visible()


if __name__ == "__main__":  # draws the still picture anew, for another record
    STILL.write_bytes(next(mosaics.webp(mosaics.to_bytes(first_ten(), 0.0, 1.0), (28, 28))))
