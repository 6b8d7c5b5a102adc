"""The rule for a new line of the table of records is handed lines that are none."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gansrc.extensions.speedrun import Entry, entries, faults, of, records

HOME = Path(__file__).parents[1]
GIVEN = {"data": "mnist", "g_hidden": [1200, 1200], "preview": 10_000}


def entry(name: str, beside: str, updates: list[int], ms: float = 50.0, ms_beside: float = 50.0) -> Entry:
    """An entry whose seeds come to 160 nats after so many updates."""
    seeds = {str(s): [[n // 2, 120.0], [n, 161.0], [2 * n, 150.0]] for s, n in enumerate(updates)}
    return Entry("2026-01-01", "abc", "a", 1, "words", name, "average", beside, GIVEN, seeds, ms, ms_beside)


BEFORE = entry("old", "", [1000, 1200, 1400])
BETTER = entry("new", "old", [500, 600, 700])


def test_updates_and_seconds_to_a_height():
    assert BETTER.updates_to(160).tolist() == [500, 600, 700]
    assert BETTER.updates_to(110).tolist() == [250, 300, 350]
    assert np.isinf(BETTER.updates_to(200)).all()
    assert BETTER.seconds_to(160).tolist() == [25, 30, 35]


def test_a_line_all_of_whose_seeds_are_ahead_is_a_record():
    assert faults(BETTER, BEFORE) == []
    assert records([BEFORE, BETTER]) == [BEFORE, BETTER]
    assert records([BEFORE, BETTER, BETTER]) == [BEFORE, BETTER]  # nobody is ahead of himself


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (dataclasses.replace(BEFORE, recipe="renamed", beside="old"), "its slowest seed takes 70 s"),
        (entry("new", "old", [500, 600, 1000]), "its slowest seed takes 50 s, the fastest .* 50 s"),
        (entry("new", "old", [500, 600, 700], ms=90.0), "its slowest seed takes 63 s"),  # dearer updates
        (entry("new", "old", [500, 600, 700], ms_beside=30.0), "the fastest of the line before 30 s"),
        (entry("new", "old", [500, 600]), "2 seeds, 3 are needed"),
        (entry("new", "old", []), "0 seeds, 3 are needed"),
        (entry("new", "other", [500, 600, 700]), "timed beside other, not beside old"),
        (entry("new", "", [500, 600, 700]), "timed beside nothing"),
        (
            dataclasses.replace(BETTER, given=GIVEN | {"g_hidden": [100]}),
            r"g_hidden is \[100\], not \[1200, 1200\]",
        ),
        (dataclasses.replace(BETTER, given=GIVEN | {"preview": 50_000}), "preview is 50000, not 10000"),
        (
            dataclasses.replace(BETTER, seeds={**BETTER.seeds, "3": [[500, 159.9]]}),
            "a seed did not come to 160 nats",
        ),
    ],
)
def test_lines_that_are_no_records(wrong, words):
    found = faults(wrong, BEFORE)
    assert any(re.search(words, fault) for fault in found), found
    assert records([BEFORE, wrong]) == [BEFORE]


def test_a_record_is_judged_by_the_last_record_and_not_by_the_last_line():
    tried = entry("worse", "new", [900, 900, 900])
    third = entry("third", "new", [100, 100, 100])
    assert records([BEFORE, BETTER, tried, third]) == [BEFORE, BETTER, third]


def test_the_lines_that_are_kept_can_be_read():
    kept = entries(HOME / "benchmarks" / "results")
    assert records(kept)[0] is kept[0]
    for one in kept:
        assert one.milliseconds > 0 and one.seeds and one.given["g_hidden"] == [1200, 1200]


def test_a_proposal_is_read_off_runs_and_timed(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(HOME / "benchmarks"))
    for name in ("lines", "products", "speedrun"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import speedrun

    monkeypatch.setattr(speedrun, "milliseconds", lambda recipes: [7.0, 9.0][: len(recipes)])
    from gansrc.runs import Run

    home = HOME / "book" / "runs"
    runs = [Run(home / f"mnist-algorithm-1-seed-{seed}") for seed in (11, 12)]
    before = of({**dataclasses.asdict(BEFORE), "recipe": "ladder-mean"})
    line = speedrun.proposal("words", runs, "last", before)
    one = of(json.loads(json.dumps(line)))
    assert (one.recipe, one.beside, one.milliseconds, one.milliseconds_beside) == (
        "mnist-algorithm-1", "ladder-mean", 7.0, 9.0,
    )  # fmt: skip
    first = next(i for i, nats in enumerate(runs[0].history["valid_original"]) if nats >= 140)
    assert one.updates_to(140)[0] == runs[0].history["updates"][first]
    assert list(one.seeds) == ["11", "12"] and one.given["z_dim"] == 100
    with pytest.raises(ValueError, match="2 runs of 1 seeds"):
        speedrun.proposal("words", [runs[0], runs[0]], "last", None)
    other = Run(home / "mnist-algorithm-1-k-2")
    with pytest.raises(ValueError, match="give runs of one recipe"):
        speedrun.proposal("words", [runs[0], other], "last", None)
