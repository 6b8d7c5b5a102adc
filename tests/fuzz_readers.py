"""Every reader on damaged files, at random: each is read, or refused with a line; nothing else may come.

.venv/bin/python tests/fuzz_readers.py --seconds 600 --seed 0
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import shutil
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from scipy.io import savemat

from gansrc import archives, datasets, yours
from gansrc.runs import Run, record

RUN = Path(__file__).parents[1] / "book" / "runs" / "vae-wink-seed-0"
WORDS = [None, "", "x", -1, 0, 1e400, True, [], {}, [[]], 10**30, "../x", "nan"]
"""In place of a value of a record."""


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Bytes flipped, cut out, doubled or put in; or cut off."""
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5, 30])):
        at, n = chance.randrange(len(data) + 1), chance.choice([1, 2, 4, 8, 64])
        match chance.randrange(6):
            case 0 | 1 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                data[at : at + n] = chance.choice([bytes(n), b"\xff" * n, chance.randbytes(n)])
            case 3:
                del data[at : at + n]
            case 4:
                data[at:at] = data[at : at + n]
            case _ if chance.random() < 0.2:
                del data[at:]
    return bytes(data)


def with_another_value(content: bytes, chance: random.Random) -> bytes:
    """A record with one value, somewhere within, that is another or gone."""
    whole = value = json.loads(content)
    while True:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        if not keys:
            return json.dumps(whole).encode()
        key = chance.choice(keys)
        if isinstance(value[key], dict | list) and value[key] and chance.random() < 0.8:
            value = value[key]
            continue
        if chance.random() < 0.2:
            del value[key]
        else:
            value[key] = chance.choice(WORDS)
        return json.dumps(whole).encode()


def readers(folder: Path) -> dict[str, tuple[bytes, Callable[[bytes], object]]]:
    """By name: the content of a good file, and what reads a file of that kind."""
    x, files = np.arange(600, dtype=np.uint8).reshape(20, 6, 5), {}
    for name, method in (("plain", 0), ("deflated", 8), ("bzip2", 12), ("lzma", 14)):
        part, archive = io.BytesIO(), io.BytesIO()
        np.save(part, x)
        with zipfile.ZipFile(archive, "w", method) as file:
            file.writestr("x_train.npy", part.getvalue())
        files[f"npz {name}"] = archive.getvalue(), lambda content: datasets.load(put("mine.npz", content))
    savemat(folder / "good.mat", {"images": np.zeros((9, 4, 4), np.uint8), "folds": np.zeros((9, 5))})

    def put(name: str, content: bytes) -> str:
        (folder / name).write_bytes(content)
        return str(folder / name)

    def run_with(name: str, content: bytes) -> Run:
        target = folder / "run"
        if not target.exists():
            shutil.copytree(RUN, target)
        before = (target / name).read_bytes()
        try:
            (target / name).write_bytes(content)
            found = Run(target)
            if name == "run.json":
                _ = found.record, found.recipe
                if found.can_draw():
                    found.samples(3)
            elif name == "history.csv":
                _ = found.history
            else:
                _ = found.log_likelihood
        finally:
            (target / name).write_bytes(before)
        return found

    def tensors(content: bytes) -> object:
        (folder / "checkpoint").mkdir(exist_ok=True)
        put("checkpoint/model.safetensors", content)
        run = Run(folder)
        sums = record.Checkpoint("checkpoint", {"model.safetensors": hashlib.sha256(content).hexdigest()})
        run.__dict__["record"] = argparse.Namespace(checkpoint=sums)
        return run._tensors("model.safetensors")

    def npy_of(content: bytes) -> object:
        return yours.pixels(archives.npy(Path(put("x.npy", content))), "x.npy")

    return files | {
        "npy": (part.getvalue(), npy_of),
        "idx": (b"\0\0\x08\x03" + struct.pack(">III", *x.shape) + x.tobytes(),
                lambda content: archives.idx(content)),
        "mat": ((folder / "good.mat").read_bytes(),
                lambda content: archives.mat(Path(put("x.mat", content)), ("images", "folds"))),
        "run.json": ((RUN / "run.json").read_bytes(), lambda content: run_with("run.json", content)),
        "history.csv": ((RUN / "history.csv").read_bytes(), lambda content: run_with("history.csv", content)),
        "log_likelihood.npz": ((RUN / "log_likelihood.npz").read_bytes(),
                               lambda content: run_with("log_likelihood.npz", content)),
        "safetensors": (save({"a": np.zeros((3, 4), np.float32), "b": np.arange(5)}), tensors),
    }  # fmt: skip


def fuzz(folder: Path, seed: int, seconds: float) -> dict[str, int]:
    """So many seconds of it; how many files of each kind were read or refused. SystemExit at what falls."""
    chance, counts = random.Random(seed), dict[str, int]()
    kinds, end = list(readers(folder).items()), time.monotonic() + seconds
    warnings.simplefilter("ignore")
    while time.monotonic() < end:
        for name, (good, read) in kinds:
            by_value = name == "run.json" and chance.random() < 0.7
            content = (with_another_value if by_value else damaged)(good, chance)
            try:
                read(content)
            except (ValueError, OSError) as error:
                if "\n" in str(error):
                    fall(folder, name, content, error)
            except Exception as error:
                fall(folder, name, content, error)
            counts[name] = counts.get(name, 0) + 1
    return counts


def fall(folder: Path, name: str, content: bytes, error: Exception) -> None:
    """Keep what a reader fell over, and end."""
    kept = Path(tempfile.gettempdir()) / f"fallen-{name.replace(' ', '-')}"
    kept.write_bytes(content)
    traceback.print_exception(error, file=sys.stderr)
    raise SystemExit(f"{name}: {type(error).__name__}: {error}; the file is {kept}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(fuzz(Path(name), given.seed, given.seconds))
