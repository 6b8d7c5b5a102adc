"""A game on a line as a film: Figure 1 of the paper, moving, at the reader's pace."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from jaxtyping import Float

from gansrc import figures

# The drawing: the curves' base line, and below it the two lines of Figure 1, the domains of x and z.
WIDTH, HEIGHT, BASE, X_LINE, Z_LINE = 640, 350, 250, 275, 335


@dataclass(frozen=True)
class Frame:
    """A one-dimensional game at one moment.

    label: when it is. x, p_g (n,): points, rising, and the generator's density there. d (m,): D on the film's
    grid. arrows (a,): G(z) for a codes z evenly spread over (0, 1).
    """

    label: str
    x: Float[np.ndarray, " n"]
    p_g: Float[np.ndarray, " n"]
    d: Float[np.ndarray, " m"]
    arrows: Float[np.ndarray, " a"]


@dataclass(frozen=True, repr=False)
class Film:
    """Frames that a notebook or a page shows with a play button and a slider.

    grid, p_data (m,): points of the window, and the data's density there. alt: what one sees, in words.

    It needs no other file and no other host. It does not move until asked, and then one frame a press for a
    reader whose system asks for reduced motion. Without scripts, and on paper, it is its first frame.
    """

    frames: list[Frame]
    grid: Float[np.ndarray, " m"]
    p_data: Float[np.ndarray, " m"]
    alt: str

    def __post_init__(self) -> None:
        if not self.frames:
            raise ValueError("a film needs at least one frame, got none")

    def __repr__(self) -> str:
        return f"Film of {len(self.frames)} frames: {self.alt}"

    def _repr_html_(self) -> str:
        pictures = [[frame.label, *self._paths(frame)] for frame in self.frames]
        script = json.dumps(pictures, separators=(",", ":")).replace("<", "\\u003c")
        label, p_g, d, arrows = pictures[0]
        return PAGE.format(
            id=f"film-{crc32(script.encode()):08x}", alt=html.escape(self.alt), label=html.escape(label),
            p_data=self._path(self.grid, self.p_data), p_g=p_g, d=d, arrows=arrows, script=script,
            last=len(pictures) - 1, green=figures.P_G["color"], blue=figures.D["color"],
            width=WIDTH, height=HEIGHT, base=BASE, x_line=X_LINE, z_line=Z_LINE,
        )  # fmt: skip

    def _paths(self, frame: Frame) -> tuple[str, str, str]:
        z = (np.arange(len(frame.arrows)) + 0.5) / len(frame.arrows) * WIDTH
        ends = zip(z, self._across(frame.arrows), strict=True)
        arrows = "".join(f"M{start:.0f} {Z_LINE}L{end:.1f} {X_LINE}m-3 6l3-6l3 6" for start, end in ends)
        return self._path(frame.x, frame.p_g), self._path(self.grid, frame.d), arrows

    def _path(self, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> str:
        """Polyline through (x, y), with y = 1 near the top; what lies far out of the window is clipped."""
        down = np.clip(BASE - y * (BASE - 20), -HEIGHT, HEIGHT)
        return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(self._across(x), down, strict=True))

    def _across(self, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        left, right = self.grid[0], self.grid[-1]
        return np.clip((x - left) / (right - left), -1, 2) * WIDTH


def hand_over(name: str, **values: object) -> Any:
    """Give numbers, lists and texts to the page's piece of that name (`{live}`); a notebook shows nothing."""
    from IPython.display import HTML

    text = json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")
    return HTML(f'<script type="application/json" id="live-data-{name}">{text}</script>')


PAGE = """<figure class="film" id="{id}">
<style>
.film {{ margin: 0 auto; max-width: 46rem; }}
.film svg {{ display: block; width: 100%; height: auto; fill: none; stroke: black; stroke-width: 2.5; }}
.film text {{ fill: black; font: 18px sans-serif; stroke: none; }}
.film .arrows, .film .line {{ stroke-width: 1; }}
.film div:not([hidden]) {{ align-items: center; display: flex; flex-wrap: wrap; gap: .3rem .8rem; }}
.film button {{ background: none; border: 1px solid; border-radius: .3rem; color: inherit; min-width: 5rem;
  padding: .2rem .6rem; }}
.film input {{ flex: 1 1 9rem; }}
.film output {{ flex: 0 0 11rem; }}
@media print {{ .film div:not([hidden]) {{ display: none; }} }}
html[data-theme="dark"] .film svg {{ filter: invert() hue-rotate(180deg); }}
html[data-theme="dark"] .bd-content div.cell_output .text_html:has(figure.film) {{
  background: none; color: inherit; }}
</style>
<svg viewBox="0 0 {width} {height}" role="img" aria-label="{alt}">
<path class="line" d="M0 {base}H{width}M0 {x_line}H{width}M0 {z_line}H{width}"/>
<path class="arrows moving" d="{arrows}"/>
<path d="{p_data}" stroke-dasharray="1 5" stroke-linecap="round"/>
<path class="moving" d="{p_g}" stroke="{green}"/>
<path class="moving" d="{d}" stroke="{blue}" stroke-dasharray="9 5"/>
<text x="4" y="{x_line}" dy="-5">x</text><text x="4" y="{z_line}" dy="-5">z</text>
<text x="{width}" y="20" text-anchor="end">data (dotted), <tspan fill="{green}">generator</tspan>,
<tspan fill="{blue}">discriminator (dashed)</tspan></text>
</svg>
<div hidden><button type="button">Play</button>
<input type="range" min="0" max="{last}" value="0" aria-label="moment of the film">
<output>{label}</output></div>
<script>
(() => {{
  const film = document.getElementById("{id}"), frames = {script};
  const [arrows, p_g, d] = film.querySelectorAll(".moving");
  const [bar, button, range, output] = ["div", "button", "input", "output"]
    .map((tag) => film.querySelector(tag));
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const show = (i) => {{
    range.value = i;
    output.textContent = frames[i][0];
    [p_g, d, arrows].forEach((path, k) => path.setAttribute("d", frames[i][k + 1]));
  }};
  const next = () => show((+range.value + 1) % frames.length);
  let timer = null;
  const stop = () => {{ clearInterval(timer); timer = null; button.textContent = calm ? "Next" : "Play"; }};
  range.oninput = () => {{ stop(); show(+range.value); }};
  button.onclick = () => {{
    if (calm) return next();
    if (timer) return stop();
    button.textContent = "Pause";
    timer = setInterval(() => {{ next(); if (+range.value === frames.length - 1) stop(); }}, 150);
  }};
  stop();
  bar.hidden = false;
}})();
</script>
</figure>"""
