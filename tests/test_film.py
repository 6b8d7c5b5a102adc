"""The film of Figure 1: all in one piece of HTML, drawn where it should be, at rest until asked."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from gansrc.film import BASE, WIDTH, X_LINE, Z_LINE, Film, Frame, hand_over

GRID = np.linspace(-4.0, 4.0, 81)
BELL = np.exp(-(GRID**2) / 2) / np.sqrt(2 * np.pi)


def frame(label: str, shift: float) -> Frame:
    codes = (np.arange(20) + 0.5) / 20
    return Frame(label, GRID + shift, BELL, np.full(81, 0.5), 8 * codes - 4 + shift)


def film(*frames: Frame) -> Film:
    return Film(list(frames), GRID, BELL, 'A bell "moves"')


class Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def payload(page: str) -> list[list[str]]:
    return json.loads(re.search(r"frames = (\[.*\]);", page)[1])


def test_a_film_needs_no_other_file_and_no_other_host() -> None:
    page = film(frame("start", 0.0), frame("end", 1.0))._repr_html_()
    assert not re.search(r"//|url\(|@import|\bsrc=|\bhref=", page)


def test_the_drawing_says_in_words_what_one_sees() -> None:
    (svg,) = Page(film(frame("start", 0.0))._repr_html_()).all("svg")
    assert svg["role"] == "img" and svg["aria-label"] == 'A bell "moves"'


def test_without_script_it_is_its_first_frame_and_shows_no_dead_controls() -> None:
    page = film(frame("start", 0.0), frame("end", 1.0))._repr_html_()
    still = [path["d"] for path in Page(page).all("path") if "moving" in (path.get("class") or "")]
    label, p_g, d, arrows = payload(page)[0]
    assert label == "start" and still == [arrows, p_g, d]
    assert "hidden" in Page(page).all("div")[0]


def test_curves_lie_where_the_figures_say() -> None:
    (_, p_g, d, arrows), (_, moved, *_) = payload(film(frame("start", 0.0), frame("end", 1.0))._repr_html_())
    points = np.array([pair.split() for pair in p_g[1:].split("L")], dtype=float)
    assert np.allclose(points[:, 0], np.linspace(0, WIDTH, 81), atol=0.06)
    assert np.allclose((BASE - points[:, 1]) / (BASE - 20), BELL, atol=3e-4)
    assert points[40, 0] + WIDTH / 8 == pytest.approx(float(moved[1:].split("L")[40].split()[0]), abs=0.11)
    assert all(pair.split()[1] == f"{BASE - 0.5 * (BASE - 20):.1f}" for pair in d[1:].split("L"))
    ends = re.findall(rf"M(\d+) {Z_LINE}L([\d.]+) {X_LINE}m", arrows)  # the game is the identity from z to x
    assert len(ends) == 20 and np.allclose(
        np.array(ends, float).T, (np.arange(20) + 0.5) / 20 * WIDTH, atol=0.5
    )


def test_two_films_on_a_page_move_each_by_itself_from_first_to_last_frame() -> None:
    pages = [film(*map(frame, names, (0.0, 1.0)))._repr_html_() for names in (("a", "b"), ("c", "d"))]
    names = [Page(page).all("figure")[0]["id"] for page in pages]
    assert len(set(names)) == 2
    for name, page in zip(names, pages, strict=True):
        assert f'getElementById("{name}")' in page
        (slider,) = Page(page).all("input")
        assert (slider["min"], slider["max"], slider["value"]) == ("0", "1", "0")


def test_a_label_cannot_end_the_script() -> None:
    page = film(frame("</script><b>", 0.0))._repr_html_()
    assert page.count("</script>") == 1 and payload(page)[0][0] == "</script><b>"


def test_where_html_cannot_be_shown_there_are_words() -> None:
    assert repr(film(frame("start", 0.0), frame("end", 1.0))) == 'Film of 2 frames: A bell "moves"'


def test_a_film_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="a film needs at least one frame, got none"):
        film()


def test_values_far_away_stay_short_and_finite() -> None:
    far = Frame("far", GRID * 1e9, BELL * 1e9, np.full(81, 0.5), GRID[:20] * 1e9)
    page = film(far)._repr_html_()
    numbers = re.findall(r"[^ LM]+", payload(page)[0][1])
    assert np.isfinite(np.array(numbers, dtype=float)).all() and max(map(len, numbers)) <= 6


def test_what_a_cell_hands_over_is_read_back_whatever_is_in_it():
    html = hand_over("game", words="</script><b>", numbers=[1, 0.5]).data
    start, end = '<script type="application/json" id="live-data-game">', "</script>"
    assert html.startswith(start) and html.endswith(end) and html.count("<") == 2
    assert json.loads(html[len(start) : -len(end)]) == {"words": "</script><b>", "numbers": [1, 0.5]}
