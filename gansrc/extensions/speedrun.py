"""The speed run: seconds of training until the paper's nets draw digits of so many nats, and who holds the
record."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

HEIGHTS = (140, 160, 200)
"""Nats of validation images that trainings are timed to."""
GOAL = 160
"""Of the table of records."""
SEEDS = 3
"""As many are needed for a new line."""


@dataclass(frozen=True)
class Entry:
    """One line of results/speedrun.jsonl: a recipe's trainings, and what an update took.

    change: in words, against the line that `beside` names. recipe, weights: what was trained, and which of
    G's weights were scored. given: all that a change must leave alone (nets, data, how samples are scored).
    seeds: for each, updates so far and mean log-likelihood of 1,000 validation images by 10,000 samples,
    nats. milliseconds: of an update of this recipe, milliseconds_beside: of that of the line before, both
    measured in turn, in one process, on `machine`.
    """

    date: str
    commit: str
    machine: str
    threads: int
    change: str
    recipe: str
    weights: str
    beside: str
    given: Mapping[str, Any]
    seeds: Mapping[str, Sequence[Sequence[float | int]]]
    milliseconds: float
    milliseconds_beside: float

    def updates_to(self, nats: int) -> np.ndarray:
        """By seed: updates after which validation images first had that log-likelihood, inf if they never
        had."""
        firsts = (
            next((updates for updates, score in curve if score >= nats), math.inf)
            for curve in self.seeds.values()
        )
        return np.array([*firsts], float)

    def seconds_to(self, nats: int) -> np.ndarray:
        """By seed: seconds of training until then, on this entry's machine."""
        return self.updates_to(nats) * self.milliseconds / 1000


def faults(new: Entry, before: Entry) -> list[str]:
    """Why `new` is no record after `before`: empty if it is one.

    The rule: at least three seeds, every one of them faster to 160 nats than every seed of the line before,
    whose updates are timed anew, beside the new ones; the nets, data and scoring are the same.
    """
    found = []
    if len(new.seeds) < SEEDS:
        found.append(f"{len(new.seeds)} seeds, {SEEDS} are needed")
    if new.beside != before.recipe:
        found.append(f"timed beside {new.beside or 'nothing'}, not beside {before.recipe}")
    found += [
        f"{name} is {new.given.get(name)}, not {value}"
        for name, value in before.given.items()
        if new.given.get(name) != value
    ]
    slowest = new.seconds_to(GOAL).max(initial=0)
    fastest = before.updates_to(GOAL).min(initial=math.inf) * new.milliseconds_beside / 1000
    if math.isinf(slowest):
        found.append(f"a seed did not come to {GOAL} nats")
    elif not 0 < slowest < fastest:
        found.append(
            f"its slowest seed takes {slowest:.0f} s, the fastest of the line before {fastest:.0f} s"
        )
    return found


def records(proposed: Sequence[Entry]) -> list[Entry]:
    """The lines of the table: the first entry, then each that beats the last line."""
    held = [*proposed[:1]]
    for entry in proposed[1:]:
        if not faults(entry, held[-1]):
            held.append(entry)
    return held


def of(line: Mapping[str, Any]) -> Entry:
    """The entry that a line of results holds."""
    return Entry(**{field.name: line[field.name] for field in fields(Entry)})


def entries(folder: Path) -> list[Entry]:
    """Those that are kept in a folder of results, in their order."""
    file = folder / "speedrun.jsonl"
    return [of(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
