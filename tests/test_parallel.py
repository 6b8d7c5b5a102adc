"""More than one process: who trains what, one game played by two of them, and what a killed one costs."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from test_runs import VARIED, everything, record_of
from torch import nn

from gansrc import datasets, runs
from gansrc.cli import main
from gansrc.networks import Dropout
from gansrc.parallel import Place, Shared
from gansrc.runs.files import MARK
from gansrc.streams import drawing_from

HOME = Path(__file__).parents[1]
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")


def dealt(words: Sequence[str], size: int, **options: object) -> list[list[Path]]:
    """The folders of each of so many processes."""
    jobs = runs.plan(words, Path("out"), **options)
    return [
        [folder for job in runs.dealt(jobs, Place(rank, size)) for folder in job.folders.values()]
        for rank in range(size)
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 8, 11])
def test_every_run_is_dealt_to_one_process_and_none_has_two_more_than_another(size):
    for words, options, n in ((["mnist"], {"seeds": 8}, 8), (["mnist", "faces", "vae-mnist", "wink"], {}, 4)):
        words = [word.replace("wink", "gan-wink") for word in words]
        shares = dealt(words, size, **options)
        assert shares == dealt(words, size, **options)
        everybodys = [folder for share in shares for folder in share]
        assert len(everybodys) == len(set(everybodys)) == n
        counts = [len(share) for share in shares]
        assert max(counts) - min(counts) <= 1 and sum(counts) == n


def test_what_starts_from_another_run_goes_where_that_went():
    assert dealt(["vae-mnist", "mnist", "faces", "faces-stage-2", "gsn-mnist"], 2) == [
        [Path("out/vae-mnist"), Path("out/faces"), Path("out/faces-stage-2")],
        [Path("out/mnist"), Path("out/gsn-mnist")],
    ]


def test_a_single_run_of_a_plain_game_is_shared_and_no_other():
    def shared(words: Sequence[str], size: int, **options: object) -> list[list[bool]]:
        jobs = runs.plan(words, Path("out"), **options)
        return [[job.shared for job in runs.dealt(jobs, Place(rank, size))] for rank in range(size)]

    assert shared(["mnist"], 2) == [[True], [True]] and shared(["mnist"], 1) == [[False]]
    assert shared(["vae-mnist"], 2) == [[False], []]
    assert shared(["mnist"], 2, seeds=2) == [[False], [False]]


def test_the_place_comes_from_torchruns_variables(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert Place.here() == Place(0, 1, 0) and Place.here().device("cuda") == "cuda"
    for name, number in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, number)
    with pytest.raises(ValueError, match="^WORLD_SIZE=8 without MASTER_ADDR and MASTER_PORT: start"):
        Place.here()
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "29500")
    assert Place.here() == Place(5, 8, 1)
    assert [Place.here().device(name) for name in ("cpu", "cuda", "cuda:3")] == ["cpu", "cuda:1", "cuda:3"]


@pytest.mark.parametrize(("rank", "size"), [("2", "2"), ("-1", "2"), ("x", "2"), ("0", "0"), ("1", "")])
def test_a_place_that_cannot_be_is_told_in_one_line(tmp_path, monkeypatch, capsys, rank, size):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert main(["train", "gan-wink", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.strip()
    assert f"there is no such process: RANK={rank!r}, WORLD_SIZE=" in said and "\n" not in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("last", ["contiguous_format", "channels_last"])
def test_the_masks_of_shares_are_those_of_the_whole(last):
    x = torch.ones(6, 4, 2, 3).contiguous(memory_format=getattr(torch, last))
    layer, rng = Dropout(0.5), torch.Generator()
    with drawing_from(rng.manual_seed(0)):
        whole = layer(x)
    for size in (2, 3):
        for rank in range(size):
            layer.share = rank, size
            own = x[rank::size].clone(memory_format=torch.preserve_format)
            with drawing_from(rng.manual_seed(0)):
                assert torch.equal(layer(own), whole[rank::size])


def test_games_that_cannot_be_shared_are_refused():
    def game(**parts: object):
        found = VARIED.start(datasets.of(torch.rand(20, 16), (4, 4)), 0).game
        for name, part in parts.items():
            setattr(found, name, part)
        return found

    cases = (
        (game(), 3, "a minibatch of 10 cannot be shared evenly by 3 processes: start a number of them"),
        (game(penalty=lambda D, x: x.sum()), 2, "games with costs of their own are played by one process"),
        (game(g_cost=lambda D, x: x.sum()), 2, "games with costs of their own are played by one process"),
        (game(generator=nn.Sequential(nn.BatchNorm1d(16))), 2, "nets with a BatchNorm1d layer"),
        (game(discriminator=nn.Sequential(nn.Dropout(), nn.Linear(16, 1))), 2, "nets with a Dropout layer"),
    )  # fmt: skip
    for refused, size, message in cases:
        with pytest.raises(ValueError, match=f"^{message}"):
            Shared(refused, 0, size)


def command(*words: object, restarts: int = 0) -> list[str]:
    """Two processes by torchrun."""
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        "--monitor_interval", "0.1", "--max_restarts", str(restarts), *map(str, words),
    ]  # fmt: skip


def environment() -> dict[str, str]:
    """What a process of its own needs: this package, and as many threads as torchrun gives."""
    return os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}


@contextmanager
def started(log: Path, *words: object, restarts: int = 0) -> Iterator[subprocess.Popen]:
    """Within the block two processes train by torchrun; what they say goes to a file."""
    train = command("-m", "gansrc.cli", "train", *words, restarts=restarts)
    with (
        log.open("w") as said,
        subprocess.Popen(train, env=environment(), stdout=said, stderr=said) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def workers(process: subprocess.Popen) -> dict[int, int]:
    """The processes that torchrun started, by rank."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    found = {}
    for number in map(int, children.read_text().split()):
        environment = Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
        ranks = [int(word[5:]) for word in environment if word.startswith(b"RANK=")]
        found |= dict.fromkeys(ranks, number)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """A run's files, without what tells the time and the place."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    found = {name: path.read_bytes() for name, path in files.items() if name not in (".lock", MARK)}
    record = json.loads(found["run.json"])
    for name in ("legs", "seconds", "history_sha256"):
        del record[name]
    found["run.json"] = json.dumps(record).encode()
    found["history.csv"] = re.sub(rb"(?m)^([^,]*,[^,]*),[^,]*", rb"\1", found["history.csv"])
    return found


def small(tmp_path: Path, images: str, name: str, seed: int, epochs: int) -> Path:
    """A record of small nets on small images."""
    recipe = dataclasses.replace(VARIED, name=name, data=images, average=0.9)
    runs.train(recipe, tmp_path / "records" / f"{name}-{seed}", epochs=epochs, seed=seed)
    return tmp_path / "records" / f"{name}-{seed}"


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one(tmp_path):
    work = command(HOME / "tests" / "shared_game.py", tmp_path)
    done = subprocess.run(work, env=environment(), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert len(found[0]) == 8
    for one in found:
        for name, errors in one.items():
            limit = 1e-13 if "float64" in name else 1e-6
            assert errors["gradients"] < limit and errors["weights"] < limit and errors["mean"] < limit, name
            assert errors["report"] < limit and errors["streams"] and errors["updates"] == 3
            assert errors["between processes"] == 0


def wait_for(log: Path, words: str, process: subprocess.Popen) -> None:
    """Until something has been said, or the process has ended."""
    end = time.monotonic() + 60
    while words not in log.read_text() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert words in log.read_text(), log.read_text()


@pytest.mark.slow
@needs_proc
def test_two_processes_train_eight_seeds_as_one_does_also_if_one_of_them_is_killed(tmp_path, images):
    records = [small(tmp_path, images, "a", seed, 1) for seed in range(8)]
    for name in ("one", "two"):
        shutil.copytree(tmp_path / "records", tmp_path / name)
    words, log = [f"{record}:60" for record in records], tmp_path / "log"
    assert main(["train", *words, "--out", str(tmp_path / "one")]) == 0
    with started(log, *words, "--out", tmp_path / "two", restarts=1) as process:
        wait_for(log, "rank 1: ", process)
        time.sleep(0.4)
        os.kill(workers(process)[1], signal.SIGKILL)
        assert process.wait(120) == 0, log.read_text()
    runs_of_two = [runs.Run(tmp_path / "two" / record.name) for record in records]
    for two in runs_of_two:
        assert contents(tmp_path / "one" / two.folder.name) == contents(two.folder)
        assert record_of(two)["legs"][-1]["together"] == 4
    said = log.read_text()
    assert "a-0, a-2, ...: epoch 1 of 60" in said
    assert re.search(r"^rank 1: a-1, a-3, ...: epoch 1 of 60", said, re.MULTILINE)
    legs = [len(record_of(two)["legs"]) for two in runs_of_two]
    assert legs == [3, 2] * 4  # the first was told to stop and saved, the second went on from epoch 1


@pytest.mark.slow
@needs_proc
def test_what_one_process_cannot_train_keeps_none_from_the_rest(tmp_path, images):
    words = [
        small(tmp_path, images, name, seed, 2) for name, seed in (("a", 1), ("b", 2), ("a", 3), ("c", 4))
    ]
    (tmp_path / "out" / "b-2").mkdir(parents=True)
    (tmp_path / "out" / "b-2" / "thesis.txt").write_text("years of work")
    log = tmp_path / "log"
    with started(log, *words, "vae-wink:1", "--out", tmp_path / "out") as process:
        assert process.wait(120) == 1
    assert log.read_text().count("b-2 is not empty and holds no run: choose another --out") == 1
    for word in (words[0], words[2], words[3]):
        assert contents(tmp_path / "out" / word.name) == contents(word)
    assert runs.Run(tmp_path / "out" / "vae-wink").record.epochs == 1


@pytest.mark.slow
@needs_proc
def test_one_game_is_played_by_two_processes_also_if_one_of_them_is_killed(tmp_path, images):
    record, logs = small(tmp_path, images, "a", 1, 30), [tmp_path / "log-0", tmp_path / "log-1"]
    for number, restarts in ((0, 0), (1, 1)):
        out = tmp_path / f"out-{number}"
        assert main(["train", f"{record}:1", "--out", str(out)]) == 0
        with started(logs[number], f"{record}:30", "--out", out, restarts=restarts) as process:
            if restarts:
                wait_for(logs[number], "out-1: epoch 1 of 30", process)
                time.sleep(0.3)
                os.kill(workers(process)[1], signal.SIGKILL)
            assert process.wait(120) == 0, logs[number].read_text()
    one, two = (runs.Run(tmp_path / f"out-{number}") for number in (0, 1))
    assert contents(one.folder) == contents(two.folder)
    assert [[leg["processes"] for leg in record_of(run)["legs"]] for run in (one, two)] == [[1, 2], [1, 2]]
    alone = runs.Run(record)
    for column in ("value", "d_real", "d_fake"):  # up to rounding, which the game makes more of later on
        np.testing.assert_allclose(one.history[column][:3], alone.history[column][:3], atol=1e-4)
    assert not torch.equal(everything(one), everything(alone))
    assert [log.read_text().count("gansrc: another process is lost (") for log in logs] == [0, 1]
