"""Every command killed at random instants, and given again after each kill: what is left at the end is, bit
for bit, what a command leaves that nobody kills.

.venv/bin/python tests/kill_at_random.py --kills 100 --seed 0
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import gzip
import hashlib
import http.server
import io
import itertools
import json
import os
import pickle
import random
import shutil
import signal
import struct
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from test_models import small as small_model
from test_runs import KINDS
from torchvision.datasets import CIFAR10

from gansrc import catalogue, cli, datasets, downloads, parzen, runs
from gansrc.models import base

HOST = "http://127.0.0.1:{}/"
CLOCK = 30.0
"""Seconds that a training's clock goes on from one look to the next: some twenty updates are followed by a
checkpoint, so that many kills fall into one."""
PIECE, PAUSE = 4096, 0.002
"""Bytes that the host of the data sets sends at a time, and its seconds of rest in between."""


@dataclass(frozen=True)
class Story:
    """Commands, one after the other, in a folder; what they leave there is read by `left`."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    left: Callable[[Path], dict[str, Any]]
    kills: int = 4  # of a command, at most


def of_a_run(file: Path) -> Any:
    """The content of a run's file without what time has put there; and the parts of a run.json checked."""
    if file.name == "run.json":
        record = json.loads(file.read_text())
        run = runs.Run(file.parent)
        assert run.state() and (run.record.evaluation is None or len(run.log_likelihood["fine"]))
        for timed in ("seconds", "legs", "history_sha256"):
            record.pop(timed, None)
        return record
    if file.name == "history.csv":
        rows = list(csv.DictReader(io.StringIO(file.read_text())))
        return [{key: number for key, number in row.items() if key != "seconds"} for row in rows]
    return hashlib.sha256(file.read_bytes()).hexdigest()


def of_runs(folder: Path) -> dict[str, Any]:
    """All that lies in a folder of runs, by name."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): of_a_run(path) for path in files if path.name != ".gansrc"}


def of_data(folder: Path) -> dict[str, Any]:
    """All that lies in a folder of data sets, by name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def stories(images: Path) -> list[Story]:
    """One GAN, two baselines, three seeds at once, and the data sets."""

    def of(kind: str, *more: str, epochs: tuple[int, int] = (10, 25), runs_of: str = "run") -> Story:
        train = ("train", kind, "--data", str(images), "--out", "run", *more, "--epochs")
        scored = ("evaluate", runs_of), ("sample", runs_of, "-n", "30", "--seed", "5")
        return Story(
            " ".join((kind, *more)),
            ((*train, str(epochs[0])), *scored, (*train, str(epochs[1])), *scored), of_runs,
        )  # fmt: skip

    data = Story("data", (("data",),), of_data, 12)
    return [
        of("gan"),
        of("vae-mnist"),
        of("dbn-mnist"),
        of("gan", "--seeds", "3", runs_of="run-seed-1"),
        data,
    ]


def prepare(folder: Path) -> tuple[list[Story], dict[str, bytes]]:
    """Small nets, images and data sets in the place of the true ones; the stories, and what the host has."""
    torch.set_num_threads(1)
    rng, images = np.random.default_rng(0), folder / "images.npz"
    parts = {"x_train": 120, "x_valid": 30, "x_test": 40}
    np.savez(images, **{name: rng.random((n, 4, 4)) for name, n in parts.items()})
    gan = dataclasses.replace(KINDS["averaged"], name="gan", preview=50)
    vae, dbn = small_model("vae"), small_model("dbn", layer_epochs=13)
    catalogue.RECIPES = {recipe.name: recipe for recipe in (gan, vae, dbn)}
    parzen.N_SAMPLES, base.FILM_STEPS = 100, 9
    return stories(images), small_sets(rng)


def small_sets(rng: np.random.Generator) -> dict[str, bytes]:
    """Files of small data sets, by address, which the package takes for the true ones from now on."""
    served = dict[str, bytes]()
    for part, (name, _) in downloads.MNIST.items():
        shape = (40,) if "labels" in part else (40, 28, 28)
        x = rng.integers(0, 10 if "labels" in part else 256, shape, dtype=np.uint8)
        head = bytes([0, 0, 8, x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape)
        served[name] = gzip.compress(head + x.tobytes(), mtime=0)
        downloads.MNIST[part] = name, hashlib.md5(served[name]).hexdigest()
        of = datasets.MNIST_LABELS_SHA256 if "labels" in part else datasets.MNIST_SHA256
        of[part] = hashlib.sha256(x.tobytes()).hexdigest()
    faces = {}
    for person in range(20):
        content = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (250, 250, 3), dtype=np.uint8)).save(content, "jpeg")
        faces[f"lfw_funneled/P_{person}/P_{person}_0001.jpg"] = content.getvalue()
    served["lfw"] = packed(faces)
    downloads.LFW_SHA256 = hashlib.sha256(served["lfw"]).hexdigest()
    datasets.LFW_IMAGES = len(faces)
    pictures = rng.integers(0, 256, (6, 10, 3072), dtype=np.uint8)
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    batches = {
        name: pickle.dumps({"data": x, "labels": [0] * len(x)})
        for name, x in zip(names, pictures, strict=True)
    }
    batches["batches.meta"] = pickle.dumps({"label_names": ["thing"]})
    served["cifar"] = packed({f"{CIFAR10.base_folder}/{name}": content for name, content in batches.items()})
    CIFAR10.tgz_md5 = hashlib.md5(served["cifar"]).hexdigest()
    sums = [[name, hashlib.md5(batches[name]).hexdigest()] for name in names]
    CIFAR10.train_list, CIFAR10.test_list = sums[:5], sums[5:]
    CIFAR10.meta = CIFAR10.meta | {"md5": hashlib.md5(batches["batches.meta"]).hexdigest()}
    rows = pictures.reshape(6, -1, 3, 32, 32).transpose(0, 1, 3, 4, 2)
    for part, x in (("x_train", rows[:5]), ("x_test", rows[5:])):
        datasets.CIFAR10_SHA256[part] = hashlib.sha256(x.tobytes()).hexdigest()
    return served


def packed(files: dict[str, bytes]) -> bytes:
    """A .tar.gz of these files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


class Host(http.server.BaseHTTPRequestHandler):
    """Sends the files of the data sets, slowly."""

    files: dict[str, bytes]

    def do_GET(self) -> None:
        content = self.files[self.path.strip("/")]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            for start in range(0, len(content), PIECE):
                self.wfile.write(content[start : start + PIECE])
                time.sleep(PAUSE)
        except OSError:  # the one who asked was killed
            pass

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def served(files: dict[str, bytes]) -> int:
    """A host, in a process of its own, to which all addresses point from now on; the process."""
    Host.files = files
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    here = HOST.format(server.server_port)
    downloads.MNIST_MIRRORS, downloads.LFW_URL, CIFAR10.url = (here,), f"{here}lfw", f"{here}cifar"
    if not (process := os.fork()):
        server.serve_forever()
    server.socket.close()
    return process


def begun(command: tuple[str, ...], folder: Path, said: Path) -> int:
    """A process that runs a command in a folder: a copy of this one, in which all is imported already."""
    sys.stdout.flush()
    if process := os.fork():
        return process
    code = 99
    try:
        os.chdir(folder)
        number = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(number, 1)
        os.dup2(number, 2)
        os.environ["GANSRC_DATA"] = str(folder)
        time.monotonic = itertools.count(0, CLOCK).__next__ if command[0] == "train" else time.monotonic
        code = cli.main(command)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(process: int, within: float | None, command: tuple[str, ...], said: Path) -> bool:
    """Kill a process after so many seconds; whether it had ended by then. SystemExit if it ended badly."""
    end = time.monotonic() + (600 if within is None else within)
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            if status:
                raise SystemExit(f"{' '.join(command)}: status {status}\n{said.read_text()}")
            return True
        time.sleep(0.0005)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if within is None:
        raise SystemExit(f"{' '.join(command)} does not end\n{said.read_text()}")
    return status == 0


def differences(whole: Any, found: Any, where: str = "") -> list[str]:
    """Where two contents differ."""
    if isinstance(whole, dict) and isinstance(found, dict):
        keys = sorted({*whole, *found})
        parts = (differences(whole.get(key), found.get(key), f"{where} {key}") for key in keys)
        return [line for part in parts for line in part]
    return [] if whole == found else [f"{where}: {whole!r:.200} uninterrupted, {found!r:.200} after kills"]


def tell(
    story: Story, folder: Path, lasts: list[float], chance: random.Random, most: int
) -> tuple[int, list[str]]:
    """The commands of a story in a new folder, each killed some times, `most` in all, and then run to its
    end; the kills, and what is wrong with what is read after each."""
    folder.mkdir()
    said, kills, wrong = folder.with_suffix(".log"), 0, list[str]()
    for command, last in zip(story.commands, lasts, strict=True):
        for _ in range(chance.randint(1, story.kills)):
            if kills >= most:
                break
            if ended(begun(command, folder, said), chance.uniform(0, last), command, said):
                break  # it was quicker than usual, or had little left to do
            kills += 1
            try:
                for run in sorted(folder.glob("*/run.json")):
                    of_a_run(run)
            except Exception as error:  # whatever it is, this kill did it
                wrong.append(f"after kill {kills}, in {' '.join(command)}: {type(error).__name__}: {error}")
        ended(begun(command, folder, said), None, command, said)
    return kills, wrong


def main(kills: int, seed: int, folder: Path) -> int:
    """So many kills; 1 and what differs where anything does."""
    told, files = prepare(folder)
    chance, host, count, wrong = random.Random(seed), served(files), dict[str, int](), list[str]()
    try:
        wholes = {}
        for story in told:
            home, lasts = folder / f"whole {story.name}", list[float]()
            home.mkdir()
            for command in story.commands:
                start = time.monotonic()
                ended(begun(command, home, home.with_suffix(".log")), None, command, home.with_suffix(".log"))
                lasts.append(time.monotonic() - start)
            wholes[story.name] = story.left(home), lasts
            print(f"{story.name}: {', '.join(f'{last:.2f}' for last in lasts)} s uninterrupted", flush=True)
        for number in itertools.count():
            if (left := kills - sum(count.values())) <= 0:
                break
            story = told[number % len(told)]
            whole, lasts = wholes[story.name]
            home = folder / f"{number} {story.name}"
            here, faults = tell(story, home, lasts, chance, left)
            faults += differences(whole, story.left(home))
            wrong += [f"{number} {story.name}: {fault}" for fault in faults]
            count[story.name] = count.get(story.name, 0) + here
            shutil.rmtree(home)
    finally:
        os.kill(host, signal.SIGKILL)
        os.waitpid(host, 0)
    print(f"{sum(count.values())} kills: {', '.join(f'{name} {n}' for name, n in count.items())}")
    print(*wrong or ["all as uninterrupted"], sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sys.exit(main(given.kills, given.seed, Path(name)))
