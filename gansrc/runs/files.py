"""Files of a run folder: whole or not there, ours or somebody's, one process at a time."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO, StringIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from gansrc.runs.signals import say

MARK = ".gansrc"
"""A file in every folder that is ours to write to, and to delete; of a run it lists what we have put there
under names that a file of the user's may have, each with its SHA-256."""
LOCK = ".lock"
"""A file that whoever trains or scores a run holds."""


def sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write(file: Path, content: bytes) -> None:
    """Write a file, whole or not at all, even should the power fail. Raises OSError, one line that names it,
    where that is impossible."""
    part = file.with_name(file.name + ".part")
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, file)
        keep_names(file.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise OSError(f"cannot write {file} ({error.strerror}): mend that, and go on") from None


def keep_names(folder: Path) -> None:
    """Have a folder's list of names on the disk, where a system can be asked for that."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    write(file, json_of(content))


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: after a kill `settle` has all of them new, or all as they were."""
    for file, content in contents.items():
        write(_next(file), content)
    for file in contents:
        os.replace(_next(file), file)
        keep_names(file.parent)


def settle(files: Sequence[Path]) -> None:
    """Finish what a kill has cut short in `write_together`, if all was written by then; else undo it."""
    if files and _next(files[-1]).exists():  # the last one is written last
        for file in files:
            with suppress(FileNotFoundError):  # it is in its place
                os.replace(_next(file), file)
                keep_names(file.parent)
    for file in files:
        _next(file).unlink(missing_ok=True)


def _next(file: Path) -> Path:
    """Where the new content of a file lies until it takes its place."""
    return file.with_name(file.name + ".next")


def json_of(content: Mapping[str, Any]) -> bytes:
    """The content of a JSON file."""
    return (json.dumps(content, indent=1) + "\n").encode()


def csv_of(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The content of a CSV file of rows of the same keys."""
    text = StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of an .npz file that holds arrays by name; the same arrays give the same bytes."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            part = BytesIO()
            np.save(part, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), part.getvalue())  # of no date
    return content.getvalue()


def check_ours(out: Path) -> None:
    """Raise ValueError, with nothing touched, if a run must not be written to `out`.

    It may be a folder that is not there, an empty one, one with a run in it, or one that a run has marked
    before it was killed.
    """
    real = Path(os.path.realpath(out))
    for folder in (real, *real.parents):
        if is_checkpoint(folder) and (folder.parent / "run.json").exists():
            raise ValueError(f"{out} lies in a checkpoint, which its run will delete: choose another --out")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: choose another --out")
    if not out.exists() or (out / "run.json").exists() or (out / MARK).exists():
        return
    if [path for path in out.iterdir() if path.name != LOCK and not is_checkpoint(path)]:
        raise ValueError(f"{out} is not empty and holds no run: choose another --out")


@contextmanager
def made(out: Path) -> Iterator[None]:
    """Make a run's folder, unless it is there, mark it, and hold it within the block. What the block has
    written nothing into is left as it was before.

    Raises ValueError if one cannot write to it, or somebody else holds it.
    """
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    before = _names(out)
    try:
        try:
            out.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=out):
                pass
            if not (out / "run.json").exists():
                (out / MARK).touch()
        except OSError as error:
            raise ValueError(f"cannot write to {out} ({error.strerror}): choose another --out") from None
        with held(out):
            try:
                yield
            finally:  # still held: nobody else has begun here
                if (added := _names(out) - before) <= {MARK, LOCK}:
                    for name in added:
                        with suppress(OSError):  # some systems let go of a lock's file only afterwards
                            (out / name).unlink()
    finally:
        for folder in missing:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def _names(folder: Path) -> set[str]:
    """What lies in a folder; nothing if there is none."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Nobody else trains or scores the run in `out` within the block; ValueError if somebody does already."""
    lock = FileLock(out / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(f"{out} is in use, it is trained or scored right now: wait for the end") from None
    except NotImplementedError:  # a file system without locks
        pass
    except OSError as error:
        raise OSError(f"cannot write {out / LOCK} ({error.strerror}): mend that, and go on") from None
    try:
        yield
    finally:
        lock.release()


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint that we may delete: a marked one, or one that a kill left empty."""
    if not re.fullmatch(r"checkpoint-\d+", folder.name) or not folder.is_dir():
        return False
    return (folder / MARK).exists() or not any(folder.iterdir())


def drop_checkpoints(out: Path, kept: str, last: str = "") -> None:
    """Delete checkpoints that are ours, by their mark or as the `last` one, but for the `kept` one."""
    for folder in out.glob("checkpoint-*"):
        if (is_checkpoint(folder) or folder.name == last) and folder.name != kept:
            drop_checkpoint(folder)


def drop_checkpoint(folder: Path) -> None:
    """Delete a checkpoint, its mark last: what a kill leaves of it is known as ours, and deleted later."""
    with suppress(OSError):
        (folder / MARK).touch()
        for path in list(folder.iterdir()):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != MARK:
                path.unlink()
        shutil.rmtree(folder)


def listed(out: Path) -> dict[str, list[str]]:
    """What a run's mark lists: by name, the checksums of what we have put there last."""
    found = dict[str, list[str]]()
    with suppress(OSError):
        for line in (out / MARK).read_text(encoding="utf-8", errors="replace").splitlines():
            checksum, _, name = line.partition("  ")
            found.setdefault(name, []).append(checksum)
    return found


def write_own(file: Path, content: bytes, known: Collection[str] = ()) -> None:
    """As `write`, where somebody may have a file of that name: if there is one that is none of ours, it is
    kept under another name, and a line says so.

    known: checksums by which a record knows it for ours; the folder's mark lists others.
    """
    marks, now = listed(file.parent), hashlib.sha256(content).hexdigest()
    before = sha256(file) if file.is_file() else ""
    if file.exists() and before not in (now, *known, *marks.get(file.name, ())):
        kept, number = file.with_name(f"{file.stem}.kept{file.suffix}"), 1
        while kept.exists():
            number += 1
            kept = file.with_name(f"{file.stem}.kept-{number}{file.suffix}")
        file.rename(kept)
        say(f"gansrc: {file} is none of ours: it is called {kept.name} now")
    marks[file.name] = [
        *{before, now} - {""}
    ]  # before the file is there: a kill leaves none that is nobody's
    lines = (f"{checksum}  {name}\n" for name, sums in marks.items() for checksum in sums)
    write(file.with_name(MARK), "".join(lines).encode())
    write(file, content)


def drop_images(out: Path, kept: Collection[str], known: Mapping[str, str]) -> None:
    """Delete the image files that we have put there, but for those `kept`.

    known: those of a record, by name, with their checksums; the folder's mark lists others, of which a kill
    may have left some that no record names.
    """
    sums = listed(out)
    for name, checksum in known.items():
        sums.setdefault(name, []).append(checksum)
    for name in sums.keys() - {*kept}:
        file = out / name
        if file.suffix == ".webp" and file.is_file() and sha256(file) in sums[name]:
            file.unlink()
