"""The command line: what it prints, whom it listens to, and every bad input as one line."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from test_runs import (
    KINDS,
    SMALL,
    VARIED,
    Killed,
    everything,
    record_of,
    room_for,
    shown,
    to_look_at,
)  # fmt: skip

import gansrc
from gansrc import catalogue, datasets, parzen, runs
from gansrc.cli import main
from gansrc.game import Game
from gansrc.recipes import REPOSITORY
from gansrc.runs import training


@pytest.fixture
def small(monkeypatch) -> None:
    """Small nets, and few samples to score them by."""
    monkeypatch.setattr(catalogue, "RECIPES", {"small": SMALL})
    monkeypatch.setattr(parzen, "N_SAMPLES", 100)


def run_cli(capsys, *arguments: str) -> tuple[int, str]:
    code = main(list(arguments))
    return code, capsys.readouterr().err.strip()


@pytest.mark.filterwarnings("ignore:best sigma")  # noise images: the grid is MNIST's
def test_the_command_line_from_training_to_samples(tmp_path, levels, small, capsys):
    out = tmp_path / "all" / "run"
    train = ["train", "small", "--out", str(out), "--epochs", "1", "--data", levels]
    assert main(train) == 0
    assert main(["runs", str(out.parent)]) == 0
    listed = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"run +seed 0 +20 updates  not evaluated", listed)
    assert main(["evaluate", str(out)]) == 0
    scores, said = record_of(runs.Run(out))["evaluation"], capsys.readouterr().out
    assert len({f"{scores[grid]['mean']:.1f}" for grid in ("original", "fine")}) == 2
    assert said.splitlines() == [
        f"test log-likelihood, {grid} sigma grid: {scores[grid]['mean']:.1f} ±"
        f" {scores[grid]['standard_error']:.1f} nats (sigma {scores[grid]['sigma']:.3f}, 100 samples)"
        for grid in ("original", "fine")
    ]
    assert main(["runs", str(out.parent)]) == 0
    assert f" {scores['original']['mean']:.1f} ± " in capsys.readouterr().out
    assert main(["sample", str(out), "-n", "30", "--seed", "6"]) == 0
    drawn = np.load(out / "samples.npy")
    assert np.array_equal(drawn, runs.Run(out).samples(30, seed=6).numpy().reshape(30, 4, 4))
    before = record_of(runs.Run(out))
    assert main(train) == 0 and record_of(runs.Run(out)) == before  # nothing left to do
    shutil.rmtree(out / before["checkpoint"]["folder"])
    code, said = run_cli(capsys, "sample", str(out))
    assert code == 2 and "this record keeps no such weights" in said


def test_seeds_begin_at_the_seed_that_is_given(tmp_path, images, small):
    options = ["--out", str(tmp_path / "run"), "--epochs", "1", "--data", images]
    assert main(["train", "small", "--seed", "5", "--seeds", "2", *options]) == 0
    assert sorted(tmp_path.glob("run*")) == [tmp_path / "run-seed-5", tmp_path / "run-seed-6"]
    assert [record_of(run)["seed"] for run in runs.recorded(tmp_path)] == [5, 6]
    assert main(["train", "small", "--seed", "5", *options]) == 0
    one, other = (runs.Run(tmp_path / name) for name in ("run", "run-seed-5"))
    assert record_of(one)["seed"] == 5
    assert (everything(one) - everything(other)).abs().max() < 1e-5


def test_runs_of_the_book_and_of_the_reader_are_listed(tmp_path, images, small, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 0
    assert capsys.readouterr() == ("", f"no runs in {tmp_path}\n")
    for folder in ("book/runs/theirs", "mine"):
        runs.train(SMALL, tmp_path / folder, epochs=1, data=images)
    assert main(["runs"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["theirs", "mine"]
    assert main(["runs", "book/runs"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["theirs"]


@pytest.mark.filterwarnings("ignore:best sigma")
def test_a_score_stands_beside_published_ones_of_the_same_data(tmp_path, levels, capsys, monkeypatch):
    whole = dataclasses.replace(datasets.load(levels), name="mnist", complete=True)
    np.save(tmp_path / "samples.npy", np.full((20, 4, 4), 0.5))
    command = ["evaluate", str(tmp_path / "samples.npy")]
    for complete in (True, False):
        data = dataclasses.replace(whole, complete=complete)
        monkeypatch.setattr(datasets, "load", lambda name, data=data: data)
        assert main(command) == 0
        assert ("adversarial nets 225 ± 2" in capsys.readouterr().out) == complete


def test_ctrl_c_is_no_success(tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.jobs, "train_seeds", stopped)
    assert main(["train", "mnist", "--out", str(tmp_path / "run")]) == 130


def test_a_recipe_is_described_value_by_value_with_its_rules(capsys):
    assert main(["recipes"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*catalogue.RECIPES]
    assert main(["recipes", "mnist"]) == 0
    *lines, files = capsys.readouterr().out.splitlines()
    assert files == f"files: of {REPOSITORY}"
    said = {line.split()[0]: line.split(maxsplit=2)[1:] for line in lines}
    assert said.keys() == catalogue.recipe("mnist").sources.keys() - {"rules"}
    assert said["z_dim"] == ["100", "mnist.yaml"]
    assert said["d_cost"] == ["0.5", "__init__.py: D's cost is half of the sum of its two cross-entropies"]


def test_data_sets_are_told_with_the_sizes_of_their_parts(images, capsys, monkeypatch):
    real, told = datasets.load, ConnectionError("not here")

    def load(name):
        if name == "faces":
            return real(images)
        raise told

    monkeypatch.setattr(datasets, "load", load)
    for error, code, words in (
        (told, 0, "not here"),
        (PermissionError(errno.EACCES, "No", "/a"), 2, "/a: No: give a place that you may read and write,"),
    ):
        told = error
        assert main(["data"]) == code
        out, err = capsys.readouterr()
        assert out.splitlines() == [
            f"data folder: {datasets.root()}", f"images: 200 / 30 / 40 train / valid / test, from {images}"
        ]  # fmt: skip
        assert [line.startswith(f"gansrc: {words}") for line in err.splitlines()] == [True, True]


@pytest.mark.filterwarnings("ignore:best sigma")
def test_scores_of_last_and_of_averaged_weights_are_told_apart(tmp_path, levels, small, capsys):
    run = runs.train(KINDS["averaged"], tmp_path / "run", epochs=1, data=levels)
    assert main(["evaluate", str(run.folder)]) == 0
    said = [line.split(" grid:")[0] for line in capsys.readouterr().out.splitlines()]
    of_mean = "test log-likelihood of the running mean of the weights"
    assert said == [
        "test log-likelihood, original sigma", "test log-likelihood, fine sigma",
        f"{of_mean}, original sigma", f"{of_mean}, fine sigma",
    ]  # fmt: skip


def test_what_the_system_refuses_gets_a_cure(tmp_path, capsys, monkeypatch):
    long = str(tmp_path / ("a" * 300))
    for arguments in (["train", "mnist", "--out", long], ["evaluate", long], ["sample", long], ["runs", long],
                      ["train", long, "--out", str(tmp_path / "b")],
                      ["train", "mnist", "--data", f"{long}.npz", "--out", str(tmp_path / "b")]):  # fmt: skip
        code, said = run_cli(capsys, *arguments)
        assert code == 2 and long in said and "\n" not in said and "Errno" not in said
    monkeypatch.setenv("GANSRC_DATA", long)
    code, said = run_cli(capsys, "data")
    lines = said.splitlines()
    assert code == 2 and len(lines) == 3
    assert all(line.endswith(": File name too long: give a shorter name") for line in lines)

    for number, cure in (
        (errno.EACCES, "give a place that you may read and write, or change its rights"),
        (errno.EROFS, "give a place that can be written"),
        (errno.ENOSPC, "make room there, or give another place"),
        (errno.ENOTDIR, "a part of this path is a file: give another one"),
        (errno.EIO, "mend that, and try again"),
    ):
        for place, files in (("/a/b", ("/a/b",)), ("/b", ("/a.next", None, "/b")),
                             ("standard output, or a file", ())):  # fmt: skip

            def refused(folder, number=number, files=files):
                raise OSError(number, os.strerror(number), *files)

            monkeypatch.setattr(runs, "recorded", refused)
            code, said = run_cli(capsys, "runs", str(tmp_path))
            assert code == 2 and said == f"gansrc: {place}: {os.strerror(number)}: {cure}"


@pytest.mark.parametrize("kind", ["plain", "contrast"])
def test_a_picture_of_samples_shows_normalised_contrast_around_grey(tmp_path, levels, small, kind):
    run = runs.train(KINDS[kind], tmp_path / "run", epochs=1, data=levels)
    assert main(["sample", str(run.folder), "-n", "20", "--seed", "1"]) == 0
    np.testing.assert_allclose(shown(run, 20), to_look_at(run.samples(20, seed=1), kind), atol=0.51 / 255)


def test_every_bad_input_is_one_line_and_exit_code_2(tmp_path, images, capsys):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("years of work")
    cases = [
        (["train", "mnits", "--out", str(tmp_path / "a")], "unknown recipe 'mnits': did you mean mnist, "),
        (["train", "mnist", "--out", str(taken)], "is not empty and holds no run: choose another --out"),
        (["train", "mnist", "--out", images], "is a file: choose another --out"),
        (["train", "mnist", "--out", "/proc/none"], "cannot write to /proc/none"),
        (["train", "mnist", "--out", str(tmp_path / "a"), "--device", "tpux"], "unknown device 'tpux'"),
        (
            ["train", "mnist", "--out", str(tmp_path / "a"), "--data", "absent.npz"],
            "absent.npz: give",
        ),
        (
            ["train", "mnist", "--out", str(tmp_path / "a"), "--seeds", "0"],
            "--seeds must lie between 1 and 200, got 0",
        ),
        (["evaluate", str(taken)], "holds no run.json: give the folder of a run, or an .npy of samples"),
        (["evaluate", images], "cannot be read as a plain .npy array: save it anew"),
        (["evaluate", str(tmp_path / "absent")], "absent: give a run's folder, or an .npy of samples"),
        (["sample", str(taken)], "holds no run.json"),
        (["sample", str(taken), "-n", "0"], "-n must be at least 1, got 0"),
        (["runs", str(tmp_path / "absent")], "no folder"),
    ]
    if not torch.cuda.is_available():
        cases += [
            (["train", "mnist", "--out", str(tmp_path / "a"), "--device", "cuda"], "'cuda' is not available")
        ]
    for arguments, message in cases:
        code, said = run_cli(capsys, *arguments)
        assert code == 2 and message in said and "\n" not in said, (arguments, said)
    assert (taken / "thesis.txt").read_text() == "years of work"
    for content, message in (
        (np.zeros((3, 784)), "n >= 10"),
        (np.full((20, 784), 3.0), "must lie in [0, 1]"),
    ):
        np.save(tmp_path / "samples.npy", content)
        code, said = run_cli(capsys, "evaluate", str(tmp_path / "samples.npy"))
        assert code == 2 and message in said and "\n" not in said
    (tmp_path / "samples.npy").write_bytes(b"no array")
    code, said = run_cli(capsys, "evaluate", str(tmp_path / "samples.npy"))
    assert code == 2 and "cannot be read as a plain .npy" in said and "\n" not in said


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train mnist --out x --seeds 1000000", "--seeds must lie between 1 and 200, got 1000000: "),
        ("train mnist --out x --seed -1", "--seed must lie between 0 and 9223372036854775807, 2^63"),
        ("train mnist --out x --seeds 2 --seed 9223372036854775807", "the last of --seeds must lie between"),
        ("train mnist --out x --epochs 0", "--epochs must be at least 1, got 0"),
        ("train mnist --out x --device tpux", "unknown device 'tpux': give cpu, cuda or mps"),
        ("train mnist --out x --device cuda:128", "unknown device 'cuda:128': give cpu, cuda or mps"),
        ("train mnist --out x --budget soon", "--budget must be a time like 90s, 14m or 2h, got 'soon'"),
        ("train mnist --out .", "--out is empty, or the folder one is in: give a new folder"),
        ("sample nowhere", "nowhere holds no run.json: give the folder of a run"),
        ("sample nowhere -n 0", "-n must be at least 1, got 0"),
        ("sample nowhere --seed -1", "--seed must lie between 0 and"),
        ("evaluate nowhere", "no file or folder nowhere: give a run's folder, or an .npy of samples"),
        ("evaluate nowhere --keep 0", "--keep must be at least 1, got 0"),
        ("runs nowhere", "no folder nowhere: give the folder that holds the runs"),
    ],
)
def test_what_needs_no_torch_is_refused_before_it_is_imported(
    tmp_path, capsys, monkeypatch, command, message
):
    monkeypatch.chdir(tmp_path)
    for name in ("runs", "parallel"):  # as in a new process: to import one is to import torch
        monkeypatch.delattr(gansrc, name, raising=False)
        monkeypatch.setitem(sys.modules, f"gansrc.{name}", None)
    code, said = run_cli(capsys, *command.split())
    assert code == 2 and said.startswith(f"gansrc: {message}") and "\n" not in said
    assert not list(tmp_path.iterdir())


def test_a_log_has_a_word_before_torch_is_imported(tmp_path):
    code = """
import sys
sys.modules["torch"] = None
from gansrc.cli import main
main(["train", "mnist", "--out", "mine"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "mine: starting\n" and "import of torch halted" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: {}, "run.json is no record of a run"),
        (lambda record: [], "run.json is no record of a run"),
        (lambda record: record | {"recipe": record["recipe"] | {"wings": 2}}, "of another version of gansrc"),
        (lambda record: record | {"recipe": {"model": "Oracle"}}, "of another version of gansrc"),
    ],
)
def test_a_record_that_cannot_be_understood_is_told(tmp_path, images, small, capsys, change, message):
    run = runs.train(SMALL, tmp_path / "runs" / "run", epochs=1, data=images)
    file = run.folder / "run.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    for command in (
        ["train", "small", "--out", str(run.folder), "--data", images],
        ["evaluate", str(run.folder)],
        ["sample", str(run.folder)],
    ):
        code, said = run_cli(capsys, *command)
        assert code == 2 and message in said and len(said.strip().splitlines()) == 1, said


def test_an_archive_is_no_array_of_samples(tmp_path, images, capsys):
    shutil.copy(images, tmp_path / "images.npy")
    for file in (images, str(tmp_path / "images.npy")):
        code, said = run_cli(capsys, "evaluate", file)
        cure = "save it anew with numpy.save (it is an .npz, which holds several arrays)"
        assert code == 2 and said == f"gansrc: {file} cannot be read as a plain .npy array: {cure}"


def test_a_device_without_enough_memory_is_told_in_one_line(tmp_path, images, small, capsys, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(Game, "reports", full)
    monkeypatch.setattr(training, "usable_device", lambda name: torch.device("cpu"))
    command = ["train", "small", "--out", str(tmp_path / "run"), "--data", images, "--device", "cuda"]
    code, said = run_cli(capsys, *command)
    assert (
        code == 2 and "the memory of cuda does not suffice: train into a new folder on --device cpu" in said
    )
    code, said = run_cli(capsys, *command, "--seeds", "3")
    assert code == 2 and said.splitlines()[-1].endswith("does not suffice: lower --seeds, 3 now")

    def full_of_data(*_):
        raise RuntimeError("MPS backend out of memory (MPS allocated: 18.13 GB)")

    monkeypatch.setattr(training.Material, "load", full_of_data)
    code, said = run_cli(capsys, *command)
    assert code == 2 and "the memory of cuda does not suffice" in said


def test_a_run_is_not_trained_or_scored_twice_at_once(tmp_path, images, small, capsys):
    out = str(tmp_path / "run")
    train = ["train", "small", "--out", out, "--data", images, "--epochs", "1"]
    assert run_cli(capsys, *train)[0] == 0
    with FileLock(tmp_path / "run" / ".lock"):
        for command in (train, ["evaluate", out]):
            code, said = run_cli(capsys, *command)
            assert code == 2 and f"{out} is in use, it is trained or scored right now" in said
    assert run_cli(capsys, "evaluate", out)[0] == 0


def test_a_full_disk_is_told_and_costs_nothing(tmp_path, images, small, capsys):
    run = runs.train(SMALL, tmp_path / "run", epochs=1, data=images)
    with room_for(300):
        command = ["train", "small", "--out", str(run.folder), "--data", images, "--epochs", "2"]
        code, said = run_cli(capsys, *command)
    said = said.splitlines()[-1]
    assert (
        code == 2
        and "gansrc: cannot write " in said
        and said.endswith(".safetensors (File too large): mend that, and go on")
    )
    assert torch.equal(everything(runs.Run(run.folder)), everything(run))
    assert record_of(runs.train(SMALL, run.folder, epochs=2, data=images))["updates"] == 40


def test_samples_are_written_whole_or_not_at_all(tmp_path, images, small, capsys, monkeypatch):
    def killed(source, target):
        if Path(target).name == name:
            raise Killed
        return move(source, target)

    run, move = runs.train(VARIED, tmp_path / "run", epochs=1, data=images), os.replace
    command = ["sample", str(run.folder), "-n", "100", "--seed"]
    assert run_cli(capsys, *command, "0")[0] == 0
    before = tree(run.folder)
    with room_for(2000):
        code, said = run_cli(capsys, *command, "1")
    assert code == 2 and f"cannot write {run.folder / 'samples.npy'} (" in said and "\n" not in said
    assert tree(run.folder) | {".gansrc": b""} == before | {".gansrc": b""}  # which may list it already
    for name in ("samples.npy", "samples.png"):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(os, "replace", killed)
            main([*command, "1"])
        assert (run.folder / name).read_bytes() == before[name]
    assert run_cli(capsys, *command, "1")[0] == 0
    assert all((run.folder / name).read_bytes() != before[name] for name in ("samples.npy", "samples.png"))


def tree(folder: Path) -> dict[str, bytes | None]:
    """All that lies in a folder: files with their bytes, folders with None."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    "files",
    [
        ["thesis.txt", ".writable"], ["history.csv"], ["samples.png"], ["run.json.part"],
        ["checkpoint-20/thesis.txt"], [".lock", "x.part"],
    ],
)  # fmt: skip
def test_a_folder_of_somebody_elses_stays_as_it_is(tmp_path, images, small, capsys, files):
    out = tmp_path / "out"
    for file in files:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).write_text("years of work")
    before = tree(out)
    code, said = run_cli(capsys, "train", "small", "--out", str(out), "--epochs", "1", "--data", images)
    assert code == 2 and said == f"gansrc: {out} is not empty and holds no run: choose another --out"
    assert tree(out) == before


def test_a_record_of_another_programs_stays_alone(tmp_path, images, small, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("{}")
    command = ["train", "small", "--out", str(tmp_path / "out"), "--epochs", "1", "--data", images]
    assert run_cli(capsys, *command)[0] == 2
    assert tree(tmp_path / "out") == {"run.json": b"{}"}


@pytest.mark.parametrize(
    ("recipe", "more", "message"),
    [
        ("small", ["--data", "nowhere.npz"], "nowhere.npz: give the path"),
        ("small", ["--data", "nowhere.npz", "--seeds", "200"], "nowhere.npz: give the path"),
        ("abacus", [], "unknown recipe 'abacus'"),
        ("small", ["--seeds", "1000000"], "--seeds must lie between 1 and 200, got 1000000: train more by a"),
        ("small", ["--device", "abacus"], "unknown device 'abacus'"),
        ("small", ["--epochs", "0"], "epochs must be at least 1"),
        ("small", ["--pretrained", "nowhere"], "starts from nothing: leave --pretrained"),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_a_refused_training_makes_no_folder(tmp_path, images, small, capsys, recipe, more, message, exists):
    out = tmp_path / "home" / "runs" / "out"
    if exists:
        out.mkdir(parents=True)
    before = tree(tmp_path)
    code, said = run_cli(capsys, "train", recipe, "--out", str(out), "--data", images, *more)
    assert code == 2 and message in said and "\n" not in said
    assert tree(tmp_path) == before


def test_where_one_of_several_seeds_is_in_use_no_other_begins(tmp_path, images, small, capsys):
    (tmp_path / "run-seed-1").mkdir()
    before = tree(tmp_path)
    with FileLock(tmp_path / "run-seed-1" / ".lock"):
        code, said = run_cli(
            capsys, "train", "small", "--out", str(tmp_path / "run"), "--seeds", "3", "--data", images
        )
    assert code == 2 and f"{tmp_path / 'run-seed-1'} is in use" in said
    assert tree(tmp_path).keys() - before.keys() <= {"run-seed-1/.lock", "run-seed-1/.gansrc"}


@pytest.mark.parametrize("bad", ["{", "[]", "{}", "mean", "no text", "folder"])
def test_a_list_has_all_runs_beside_a_record_that_cannot_be_read(tmp_path, capsys, bad):
    good = (Path(__file__).parents[1] / "book" / "runs" / "vae-mnist" / "run.json").read_bytes()
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_bytes(good)
    file = tmp_path / "b" / "run.json"
    if bad == "folder":
        file.unlink()
        file.mkdir()
    elif bad == "no text":
        file.write_bytes(b"\xff\xfe\x00")
    else:
        file.write_bytes(
            good.replace(b'"mean": 3', b'"mean": true, "was": 3') if bad == "mean" else bad.encode()
        )
    assert main(["runs", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()] == ["a", "c"]
    assert str(file) in said.err and len(said.err.splitlines()) == 1
    assert bad != "mean" or "evaluation.original.mean must be float, got True" in said.err


def test_a_list_whose_reader_has_gone_ends_quietly(capsys, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as gone:  # to close it writes what is left: into the void, by then
        monkeypatch.setattr(sys, "stdout", gone)
        assert main(["runs", str(Path(__file__).parents[1] / "book" / "runs")]) == 0
    assert capsys.readouterr().err == ""
