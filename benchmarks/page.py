"""Write benchmarks/results/README.md: the last line of each machine as tables, and what the records took.

`python benchmarks/page.py` does so when a run in book/runs has changed; a benchmark does so to `--record`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lines
import numpy as np

from gansrc.runs import Run, recorded

RUNS = Path(__file__).parents[1] / "book" / "runs"
HEIGHTS = (140, 160)
"""Nats that a training is timed to."""


def write() -> None:
    """Write the page anew."""
    (lines.RESULTS / "README.md").write_text(text(), encoding="utf-8")


def tell(part: Callable[[lines.Line], str], new: lines.Line, record: bool) -> None:
    """Print a measurement as this part of the page; to `--record` keep it, and write the page anew."""
    print(part(new))
    if record:
        lines.add(part.__name__, new)
        write()


def text() -> str:
    """The page."""
    parts = [
        "# Results",
        "The last line of each machine; all lines are in the `.jsonl` files beside this page.",
    ]
    parts += ["## How fast is a product?", *map(products, lines.latest("products"))]
    parts += ["## What does an update cost?", *map(training, lines.latest("training"))]
    parts += ["## What do several processes gain?", *map(parallel, lines.latest("parallel"))]
    parts += ["## How long does a training take?", records(RUNS)]
    parts += ["## What does a log-likelihood cost?", *map(parzen, lines.latest("parzen"))]
    return "\n\n".join(parts) + "\n"


def table(head: str, rows: list[list[str]]) -> str:
    """A table in Markdown; the head's columns that end in a colon are figures."""
    names = head.split(" | ")
    rule = ["--:" if name.endswith(":") else "---" for name in names]
    body = [[name.removesuffix(":") for name in names], rule, *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in body)


def products(line: lines.Line) -> str:
    """A measurement of `products.py`."""
    libraries = list(next(iter(line["gflops"].values())))
    rows = [[size, *(f"{found[name]:.0f}" for name in libraries)] for size, found in line["gflops"].items()]
    head = " | ".join(["rows x inner x columns, GFLOP/s", *(f"{name}:" for name in libraries)])
    return f"**{lines.heading(line)}**\n\n{table(head, rows)}"


def unit(line: lines.Line) -> str:
    """What the unit of a line is."""
    if "unit" not in line:
        return ""
    others = ", ".join(f"{library} {gflops:.0f}" for library, gflops in line["unit"]["all"].items())
    return f"The machine's fastest product: {line['unit']['library']} (GFLOP/s: {others})."


def training(line: lines.Line) -> str:
    """A measurement of `training.py`."""
    rows = []
    for recipe, contenders in line["results"].items():
        for name, row in contenders.items():
            low, high = row["range"]
            ratio = f"{row['idiom_over_this']:.2f} ({low:.2f} to {high:.2f})"
            bare = f"{row['products']:.2f}" if "products" in row else "–"
            rows.append([recipe, name, f"{row['milliseconds']:.3g}", bare, ratio])
    head = "recipe |  | ms an update: | x its products: | idiom / this, median (range):"
    parts = [f"**{lines.heading(line)}**", unit(line), table(head, rows)]
    for name, took in line.get("whole_run_seconds", {}).items():
        parts.append(f"125,000 updates of {name} with the Parzen score: {took:.0f} s.")
    return "\n\n".join(filter(None, parts))


def parallel(line: lines.Line) -> str:
    """A measurement of `parallel.py`."""
    rows = []
    for name, row in line["results"].items():
        faster = ["{:.2f} ({:.2f} to {:.2f})".format(*row[f"{kind}_faster"]) for kind in ("shared", "each")]
        milliseconds = [f"{row[kind]:,.0f}" for kind in ("alone", "shared", "each")]
        rows.append([name, f"{row['weights'] / 1e6:.1f}", *milliseconds, *faster])
    head = (
        "recipe | million weights: | ms an update, alone: | one game shared: | a game each: |"
        " shared, times as fast (range): | a game each:"
    )
    return f"**{lines.heading(line)}, {line['processes']} processes**\n\n{table(head, rows)}"


def parzen(line: lines.Line) -> str:
    """A measurement of `parzen.py`."""
    rows = []
    for row in line["rows"]:
        spread = " ({} to {})".format(*map(figure, row["spread"])) if row["spread"] else ""
        whole = row["points"] == line["rows"][0]["points"]
        points = f"{row['points']:,}" + ("" if whole else ", scaled")
        errors = ["" if row[key] is None else f"{row[key]:.0e}" for key in ("worst_error", "mean_error")]
        sigmas = str(row["sigmas"] or "")
        ratio = figure(row["ratio"]) + spread
        rows.append([row["name"], sigmas, figure(row["seconds"]), ratio, points, *errors])
    head = " | sigmas: | seconds: | x product, median (range): | points timed: | worst error, nats: | mean's:"
    return "\n\n".join(filter(None, [f"**{lines.heading(line)}**", unit(line), table(head, rows)]))


def figure(value: float) -> str:
    """Three digits, or all of a large number."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def seconds_to(run: Run, nats: float, column: str = "valid_original") -> float:
    """Seconds of training, by the history, after which validation images first had that log-likelihood; nan
    if they never had."""
    history = run.history
    there = np.flatnonzero(history[column] >= nats) if column in history else []
    return float(history["seconds"][there[0]]) if len(there) else np.nan


def records(root: Path) -> str:
    """Recorded trainings of the GAN on MNIST: the cost of an update and the seconds to a score. Seeds that
    were trained at once share a row, which has their medians."""
    shared: dict[tuple[str, ...], list[Run]] = {}
    for run in recorded(root):
        if run.recipe.name not in ("mnist", "mnist-algorithm-1"):
            continue
        machines = " / ".join(dict.fromkeys(leg.device_name for leg in run.record.legs))
        together = max(leg.together for leg in run.record.legs)
        name = run.folder.name if together == 1 else f"{run.recipe.name}, {together} seeds at once"
        shared.setdefault((name, machines), []).append(run)
    rows = []
    for key, runs in shared.items():
        update = float(np.median([1000 * run.record.seconds / run.record.updates for run in runs]))
        several = len({leg.device_name for run in runs for leg in run.record.legs}) > 1
        taken = [
            float(np.median([seconds_to(run, nats, column) for run in runs]))
            for column in ("valid_original", "average_valid_original")
            for nats in HEIGHTS
        ]
        rows.append([*key, "–" if several else f"{update:.3g}", *map(duration, taken)])
    heights = " | ".join(f"s to {n} nats{of}:" for of in ("", ", averaged") for n in HEIGHTS)
    words = (
        "Recorded trainings: seconds until 1,000 validation images had that mean log-likelihood by 10,000"
        " samples, of G as it was and of its averaged weights. They were scored every fifth epoch; that time,"
        " and what else the machine did, is counted in."
    )
    return f"{words}\n\n" + table(f"run | machine | ms an update: | {heights}", rows)


def duration(seconds: float) -> str:
    """Seconds, or a dash where there are none."""
    return "–" if np.isnan(seconds) else f"{seconds:,.0f}"


if __name__ == "__main__":
    write()
