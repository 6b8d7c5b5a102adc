"""Files of a run folder: whole or not there, ours or somebody's, one process at a time."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

MARK = ".gansrc"
"""An empty file in every folder that is ours to write to, and to delete."""


def sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    _replace(file, lambda part: part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))


def write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of the same keys as a CSV file, whole or not at all."""

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    _replace(file, write)


def write_npz(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an .npz file, whole or not at all."""

    def write(part: Path) -> None:
        with part.open("wb") as stream:
            savez: Callable[..., None] = np.savez
            savez(stream, **arrays)

    _replace(file, write)


def _replace(file: Path, write: Callable[[Path], object]) -> None:
    """Write beside the file, then put it in its place in one step."""
    part = file.with_name(file.name + ".part")
    write(part)
    os.replace(part, file)


def check_ours(out: Path) -> None:
    """Raise ValueError, with nothing touched, if a run must not be written to `out`.

    It may be a folder that is not there, an empty one, one with a run in it, or one that a run has marked
    before it was killed.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: choose another --out")
    if not out.exists() or (out / "run.json").exists() or (out / MARK).exists():
        return
    if [path for path in out.iterdir() if path.name != ".lock" and not is_checkpoint(path)]:
        raise ValueError(f"{out} is not empty and holds no run: choose another --out")


def make(out: Path) -> None:
    """Make a run's folder, unless it is there, and mark it; ValueError if one cannot write to it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
        if not (out / "run.json").exists():
            (out / MARK).touch()
    except OSError as error:
        raise ValueError(f"cannot write to {out} ({error.strerror}): choose another --out") from None


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Nobody else trains or scores the run in `out` within the block; ValueError if somebody does already."""
    lock = FileLock(out / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(f"{out} is in use, it is trained or scored right now: wait for the end") from None
    except NotImplementedError:  # a file system without locks
        pass
    try:
        yield
    finally:
        lock.release()


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint that we may delete: a marked one, or one that a kill left empty."""
    if not re.fullmatch(r"checkpoint-\d+", folder.name) or not folder.is_dir():
        return False
    return (folder / MARK).exists() or not any(folder.iterdir())


def drop_checkpoints(out: Path, kept: str, last: str | None = None) -> None:
    """Delete checkpoints that are ours, by their mark or as the `last` one, but for the `kept` one."""
    for folder in out.glob("checkpoint-*"):
        if (is_checkpoint(folder) or folder.name == last) and folder.name != kept:
            shutil.rmtree(folder, ignore_errors=True)
