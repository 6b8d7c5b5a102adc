"""Results as dated lines, one file a benchmark: a new measurement is a new line, none is overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from gansrc.runs.provenance import provenance

RESULTS = Path(__file__).parent / "results"
Line = dict[str, Any]


def line(device: torch.device, **figures: object) -> Line:
    """A measurement that begins now: date, commit, machine and versions, then its figures."""
    where = provenance(device)
    return {
        "date": where.started, "commit": where.commit, "device": device.type, "machine": where.device_name,
        "cores": where.cores, "threads": where.threads, "python": where.python,
        "torch": where.packages["torch"], **figures,
    }  # fmt: skip


def add(name: str, new: Line, folder: Path = RESULTS) -> None:
    """Append a line to the file of a benchmark."""
    with (folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(new) + "\n")


def latest(name: str, folder: Path = RESULTS) -> list[Line]:
    """The last line of each machine and number of threads, by date, the newest first."""
    by_machine: dict[tuple[str, int], Line] = {}
    for text in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        found = json.loads(text)
        key = found["machine"], found["threads"]
        if key not in by_machine or found["date"] >= by_machine[key]["date"]:
            by_machine[key] = found
    return sorted(by_machine.values(), key=lambda one: one["date"], reverse=True)


def heading(one: Line) -> str:
    """A line's machine, versions and date, in words."""
    threads = "1 thread" if one["threads"] == 1 else f"{one['threads']} threads"
    where = f"{one['machine']}, {one['cores']} cores, {threads}, torch {one['torch']}"
    return f"{where}, {one['date'][:10]}, commit {one['commit'][:7]}"
