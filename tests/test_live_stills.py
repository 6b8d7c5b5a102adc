"""The pictures that stand in for the pieces, on paper and without scripts, show what the pieces show."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
STILLS = {  # the page of a piece, and the state in which the picture was taken
    "theorem-1": ("04-theory/global-optimality", ""),
    "algorithm-1": ("04-theory/index", "round=40"),
    "turns": ("03-adversarial-nets/in-turns", "k=1&update=200"),
    "parzen": ("05-experiments/parzen", "sigma=0.45"),
}
SHAPES = """svg => [...svg.querySelectorAll('path, circle, rect')].map(shape => [shape.tagName,
    ...{path: ['d'], circle: ['cx', 'cy', 'r'], rect: ['x', 'y', 'width', 'height', 'opacity']}[shape.tagName]
      .map(name => shape.getAttribute(name) ?? '')])"""


def numbers(shapes):
    """Each shape's name and its numbers, in drawing order."""
    return [
        (name, [float(x) for x in re.findall(r"-?[\d.]+(?:e-\d+)?", " ".join(rest))])
        for name, *rest in shapes
    ]


def dots(shapes):
    """Where the data and the samples lie; these are the smaller dots."""
    circles = np.array([found for kind, found in shapes if kind == "circle"])
    return circles[circles[:, 2] == 2.6, :2], circles[circles[:, 2] == 2.2, :2]


@pytest.mark.parametrize("piece", STILLS)
def test_a_still_is_what_its_piece_draws(chromium, piece):
    name, state = STILLS[piece]
    page = ROOT / "_build/html/book" / f"{name}.html"
    if not page.exists():
        pytest.skip("no built book: run make book first")
    tab = chromium.new_page(viewport={"width": 1280, "height": 900})
    tab.goto((ROOT / f"book/_static/live/{piece}.svg").as_uri())
    still = numbers(tab.evaluate(f"({SHAPES})(document.documentElement)"))
    tab.goto(page.as_uri() + (f"#{piece}:{state}" if state else ""))
    # As wide as when the pictures were taken.
    tab.evaluate(f"document.querySelector('[data-live={piece}] .live-stage').style.width = '586px'")
    tab.wait_for_function(f"document.querySelector('[data-live={piece}] svg[width=\"586\"]')")
    drawn = numbers(tab.evaluate(f"({SHAPES})(document.querySelector('[data-live={piece}] .live-stage'))"))
    tab.close()
    assert 5 < len(still) <= len(drawn)  # the first drawings of the piece, if not all of them
    if piece == "turns":  # trained while the book is built, and another processor rounds otherwise
        (data, samples), (own, others) = dots(still), dots(drawn)
        assert min(len(data), len(samples), len(others)) > 20
        np.testing.assert_allclose(data, own, atol=0.11)
        np.testing.assert_allclose(samples.mean(axis=0), others.mean(axis=0), atol=10)  # of 360 pixels
        np.testing.assert_allclose(samples.std(axis=0), others.std(axis=0), atol=10)
        return
    for (kind, ours), (shape, theirs) in zip(still, drawn, strict=False):
        assert kind == shape
        np.testing.assert_allclose(ours, theirs, atol=0.11)  # pixels: the pictures are rounded to a tenth
