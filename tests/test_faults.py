"""What goes wrong outside of us: folders that move, closed terminals, too little memory, bad records."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import stat
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save
from test_cli import run_cli, tree
from test_runs import SMALL, Killed, everything, record_of
from torch import nn
from torch.distributions import Normal

from gansrc import archives, catalogue, datasets, mosaics, parzen, runs
from gansrc.cli import main
from gansrc.game import Game, Rules
from gansrc.model import Recipe
from gansrc.runs import files, training
from gansrc.runs.files import csv_of, npz, sha256
from gansrc.runs.signals import stop_requested

pytestmark = pytest.mark.filterwarnings("ignore:best sigma")
ROOT = Path(__file__).parents[1]


@pytest.fixture
def small(monkeypatch) -> None:
    monkeypatch.setattr(catalogue, "RECIPES", {"small": SMALL})
    monkeypatch.setattr(parzen, "N_SAMPLES", 100)


def trained(folder: Path, images: str, recipe: Recipe = SMALL, epochs: int = 1) -> runs.Run:
    return runs.train(recipe, folder, epochs=epochs, data=images)


def changed(run: runs.Run, **values: object) -> None:
    """The record with other values."""
    (run.folder / "run.json").write_text(json.dumps(record_of(run) | values))


# Where things lie


def test_a_run_is_found_again_from_another_folder_and_after_its_data_have_moved(
    tmp_path, images, small, capsys, monkeypatch
):
    project, data = tmp_path / "project", np.load(images)
    (project / "d").mkdir(parents=True)
    np.savez(project / "mine.npz", **data)
    monkeypatch.chdir(project)
    assert main(["train", "small", "--data", "mine.npz", "--epochs", "1", "--out", "run"]) == 0
    assert record_of(runs.Run(project / "run"))["data"]["load"] == str(project / "mine.npz")
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "project/run"]) == 0
    (project / "mine.npz").rename(project / "d" / "mine.npz")
    capsys.readouterr()
    code, said = run_cli(capsys, "evaluate", "project/run")
    assert code == 2 and "is not there any more: give --data with its file" in said and "\n" not in said
    assert main(["evaluate", "project/run", "--data", "project/d/mine.npz"]) == 0
    again = ["train", "small", "--epochs", "2", "--out", "project/run", "--data"]
    assert main([*again, "project/d/mine.npz"]) == 0
    assert record_of(runs.Run(project / "run"))["data"]["load"] == str(project / "d" / "mine.npz")
    assert main(["evaluate", "project/run"]) == 0
    capsys.readouterr()
    code, said = run_cli(capsys, *again, images)  # the same images, in a third place
    assert code == 0


@pytest.mark.parametrize("place", ["run", ".", "here", "sets"])
def test_data_of_the_same_name_and_images_are_found_beside_the_run(
    tmp_path, images, small, monkeypatch, place
):
    run = trained(tmp_path / "all" / "run", images)
    changed(run, data=record_of(run)["data"] | {"load": "gone/mine.npz"})
    target = {"run": run.folder, ".": run.folder.parent}.get(place, tmp_path / place)
    target.mkdir(exist_ok=True)
    (tmp_path / "here").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path / "sets"))
    other = tmp_path / "all" / "run" / "mine.npz"
    np.savez(other, x_train=np.zeros((20, 4, 4)))  # another set of that name
    np.savez(target / "mine.npz", **np.load(images))
    assert runs.evaluate(run.folder).samples == 100


def test_other_images_to_test_are_not_the_runs(tmp_path, images, small):
    run, parts = trained(tmp_path / "run", images), dict(np.load(images))
    parts["x_test"][0, 0, 0] = 0.123
    np.savez(images, **parts)
    for again in (lambda: runs.evaluate(run.folder), lambda: trained(run.folder, images, epochs=2)):
        with pytest.raises(ValueError, match="has other images or labels to validate or test than when"):
            again()


def test_labels_are_covered_as_images_are(tmp_path):
    x, sums = np.zeros((20, 3)), set()
    for y in (np.zeros(20, int), np.arange(20) % 2, None):
        np.savez(tmp_path / "x.npz", x_train=x, **({} if y is None else {"y_train": y}))
        sums.add(datasets.load(str(tmp_path / "x.npz")).held_out_sha256)
    assert len(sums) == 3


@pytest.mark.parametrize("given", ["", " "])
def test_an_empty_word_is_no_data_set_and_no_folder(tmp_path, small, capsys, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    code, said = run_cli(capsys, "train", "small", "--data", given, "--out", "run")
    assert code == 2 and "unknown data set" in said
    code, said = run_cli(capsys, "train", "small", "--out", given.strip(), "--epochs", "1")
    assert code == 2 and "--out is empty" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["..", "/", "a/.."])
def test_seeds_go_into_folders_with_a_name(tmp_path, images, small, capsys, monkeypatch, out):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    before = tree(tmp_path)
    code, said = run_cli(capsys, "train", "small", "--data", images, "--seeds", "2", "--out", out)
    assert code == 2 and "\n" not in said and tree(tmp_path) == before


@pytest.mark.parametrize("name", ["mine.NPZ", "~/mine.npz", "link.npz"])
def test_a_file_is_found_by_any_of_its_names(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with (tmp_path / Path(name).name).open("wb") as file:
        np.savez(file, x_train=np.zeros((20, 3)))
    if name == "link.npz":
        (tmp_path / name).rename(tmp_path / "far.npz")
        (tmp_path / name).symlink_to(tmp_path / "far.npz")
    assert datasets.load(name).load == str(tmp_path / Path(name).name)


def test_another_kind_of_file_is_told_as_such(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((20, 3)))
    with pytest.raises(ValueError, match="x.npy is no .npz: save its images as x_train"):
        datasets.load(str(tmp_path / "x.npy"))


@pytest.mark.parametrize("file", ["x.npy", "./x", "x/y", "~/x.mat", "~nobody-of-that-name/x", "x.npz"])
@pytest.mark.parametrize("command", ["train small --out new --data", "evaluate samples.npy --data"])
def test_a_data_file_that_is_not_there_is_told_as_such(tmp_path, small, monkeypatch, capsys, command, file):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save("samples.npy", np.zeros((20, 4)))
    code, said = run_cli(capsys, *command.split(), file)
    told = tmp_path / file.removeprefix("~/")
    assert code == 2 and said == f"gansrc: no data file {told}: give the path of an .npz that holds x_train"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "train small --out new --data here",
            "here is a folder: give the path of an .npz",
        ),
        ("train small --out new --data file", "file is no .npz: save its images as x_train of one with"),
        ("train small --out new --data smaller", "unknown data set 'smaller': give mnist, "),
        ("train nowhere/run --out new", "nowhere/run is not there: give the folder of a recorded run"),
        (
            "train ./file small --out new",
            "./file is a file: give the folder of a recorded run",
        ),
        (
            "train file.npz:3 --out new",
            "file.npz is not there: give the folder of a recorded run",
        ),
        ("train small second --out new --pretrained no", "no holds no run.json: give --pretrained a run of"),
        ("train second --out new --pretrained file", "file holds no run.json: give the folder of a run"),
        ("train file --out new", "unknown recipe 'file': 'gansrc recipes' lists all"),
        ("sample file", "file holds no run.json: give the folder of a run"),
        (
            "sample loop",
            "loop holds no run.json: give the folder of a run",
        ),
        ("sample here", "run.json cannot be read ("),
        (
            "evaluate no.npy --data no.npz",
            "no file or folder no.npy: give a run's folder",
        ),
        ("evaluate here", "run.json cannot be read ("),
        ("runs file", "no folder file: give the folder that holds the runs"),
    ],
)
def test_whatever_else_lies_where_a_path_leads_is_told_in_one_line(
    tmp_path, images, small, monkeypatch, capsys, command, message
):
    catalogue.RECIPES["second"] = dataclasses.replace(SMALL, name="second", pretrained="small")
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("text")
    Path("loop").symlink_to("loop")
    Path("here/run.json").mkdir(parents=True)
    before = tree(tmp_path)
    code, said = run_cli(capsys, *command.split())
    assert code == 2 and message in said and "\n" not in said, said
    assert tree(tmp_path) == before


def test_a_tilde_is_the_home_folder_also_where_the_shell_leaves_it(tmp_path, images, small, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert main(["train", "small", "--data", images, "--epochs", "1", "--out=~/run"]) == 0
    assert main(["sample", "~/run", "-n", "10"]) == 0
    assert (tmp_path / "home" / "run" / "samples.npy").exists() and not Path("~").exists()


def test_without_a_home_the_data_folder_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as without HOME and an entry
    for name in ("GANSRC_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OSError, match="no home folder to keep data sets in, .*: set GANSRC_DATA"):
        datasets.root()
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    assert datasets.root() == tmp_path


# Numbers and names


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64, 10**30, -(2**63)])
def test_a_seed_out_of_range_is_refused_before_anything_is_made(tmp_path, images, small, capsys, seed):
    out = tmp_path / "run"
    code, said = run_cli(capsys, "train", "small", "--data", images, "--out", str(out), "--seed", str(seed))
    expected = f"gansrc: --seed must lie between 0 and 9223372036854775807, 2^63 - 1, got {seed}"
    assert code == 2 and said == expected and not out.exists()
    with pytest.raises(ValueError, match="^seed must lie between 0"):
        runs.train(SMALL, out, epochs=1, seed=seed, data=images)
    run = trained(tmp_path / "other", images)
    assert run_cli(capsys, "sample", str(run.folder), "--seed", str(seed)) == (2, expected)
    changed(run, seed=seed)
    code, said = run_cli(capsys, "sample", str(run.folder))
    assert code == 2 and "run.json is no record of a run (seed must lie" in said and "\n" not in said


@pytest.mark.parametrize("seed", [0, 2**32, 2**63 - 1])
def test_a_seed_in_the_range_goes_on_over_epochs(tmp_path, images, small, seed):
    run = runs.train(SMALL, tmp_path / "run", epochs=6, seed=seed, data=images)
    assert run.record.seed == seed and run.samples(5, seed).isfinite().all()


def test_the_last_of_many_seeds_is_looked_at_too(tmp_path, images, small, capsys):
    words = ["--data", images, "--seed", str(2**63 - 2), "--seeds", "3", "--out", str(tmp_path / "run")]
    code, said = run_cli(capsys, "train", "small", *words)
    assert code == 2 and "the last of --seeds must lie between" in said and len(tree(tmp_path)) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "nosuch.npy"], "no file or folder nosuch.npy: give a run's folder, or an .npy"),
        (["evaluate", "nosuch"], "no file or folder nosuch"),
        (["evaluate", "faces.npy", "--data", "IMAGES"], "2304 pixels, images has 16: give --data faces"),
        (["evaluate", "cifar.npy", "--data", "IMAGES"], "3072 pixels, images has 16: give --data cifar10"),
        (["evaluate", "empty.npy", "--data", "IMAGES"], "empty.npy must have shape"),
        (["evaluate", "mine.npy", "--keep", "3"], "--keep goes with a run, got mine.npy: leave it out"),
        (["train", "small", "--seed", "x", "--out", "o"], "argument --seed: invalid int value: 'x'"),
        (["train"], "the following arguments are required"),
        (["nonsense"], "invalid choice: 'nonsense'"),
    ],
)  # fmt: skip
def test_every_complaint_is_one_line_with_the_cure(
    tmp_path, images, small, capsys, monkeypatch, words, message
):
    monkeypatch.chdir(tmp_path)
    for name, shape in (
        ("faces", (20, 48, 48)),
        ("cifar", (20, 3072)),
        ("empty", (20, 0)),
        ("mine", (20, 16)),
    ):
        np.save(f"{name}.npy", np.zeros(shape))
    try:
        code = main([word.replace("IMAGES", images) for word in words])
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr().err
    assert code == 2 and message in said and said.count("\n") == 1


def test_samples_are_scored_by_any_data_set(tmp_path, levels, capsys):
    np.save(tmp_path / "mine.npy", datasets.load(levels).train.numpy())
    assert main(["evaluate", str(tmp_path / "mine.npy"), "--data", levels]) == 0
    assert "200 samples)" in capsys.readouterr().out


def test_a_score_by_a_stand_in_says_so_beside_the_figure(tmp_path, levels, small, capsys, monkeypatch):
    data = dataclasses.replace(datasets.load(levels), complete=False, source="500 other digits")
    monkeypatch.setattr(datasets, "load", lambda name: data)
    np.save(tmp_path / "mine.npy", data.train.numpy())
    run = trained(tmp_path / "all" / "run", levels)
    for what in (tmp_path / "mine.npy", run.folder):
        assert main(["evaluate", str(what)]) == 0
        said = capsys.readouterr().out.splitlines()
        assert len(said) == 2 and all(
            "NOT COMPARABLE with published figures, by 500 other digits" in x for x in said
        )
    assert main(["runs", str(tmp_path / "all")]) == 0
    assert "nats, on levels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [([[0.0]], "samples must be an array or a tensor, got list"), (np.zeros(784), "one image with .reshape"),
     ("x", "got str"), (None, "got NoneType")],
)  # fmt: skip
def test_what_is_no_array_of_points_is_told(given, message):
    log_likelihood = parzen.log_likelihood
    checked = hasattr(log_likelihood, "__wrapped__")  # under test its types are, before it sees them
    with pytest.raises((ValueError, TypeError), match=None if checked else message):
        log_likelihood(given, np.zeros((2, 1)), 0.1)


# What is not ours


OWN = ("samples.png", "samples.npy", "samples-0.webp", "walk-0.webp", "log_likelihood.npz")
"""Names that our files have, and that a file of the user's may have."""


def everybodys(folder: Path, among: str) -> dict[str, bytes]:
    return {name: content for name, content in tree(folder).items() if among in name and content}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_a_file_of_the_users_under_one_of_our_names_is_kept_and_told(
    tmp_path, images, small, capsys, name, kind
):
    run, sea = trained(tmp_path / "run", images), tmp_path / "sea"
    (run.folder / name).unlink(missing_ok=True)
    sea.write_bytes(b"the sea")
    if kind == "folder":
        (run.folder / name).mkdir()
        sea.rename(run.folder / name / "sea")
    elif kind == "link":
        (run.folder / name).symlink_to(sea)
    else:
        sea.rename(run.folder / name)
    commands = (
        ["train", "small", "--data", images, "--epochs", "5", "--out"], ["evaluate", "--keep", "20"],
        ["sample", "-n", "20"], ["evaluate", "--keep", "10"], ["sample", "-n", "10"],
    )  # fmt: skip
    told = []
    for command in commands:
        code, said = run_cli(capsys, *command, str(run.folder))
        assert code == 0, said
        told += [line for line in said.splitlines() if "none of ours" in line]
    kept = Path(name).with_suffix(f".kept{Path(name).suffix}").name
    assert told == [f"gansrc: {run.folder / name} is none of ours: it is called {kept} now"]
    found = run.folder / kept / "sea" if kind == "folder" else run.folder / kept
    assert found.read_bytes() == b"the sea" and (kind != "link" or sea.read_bytes() == b"the sea")
    assert (run.folder / name).is_file() and len([*run.folder.glob("*.kept*")]) == 1
    assert runs.Run(run.folder).samples(10).shape == (10, 16)


def test_a_second_one_has_a_name_of_its_own_and_none_is_deleted(tmp_path, images, small, capsys):
    run = trained(tmp_path / "run", images)
    for number, name in enumerate(["samples.npy", "samples.npy", "samples.npy", "samples-0.webp"]):
        (run.folder / name).write_bytes(b"of day %d" % number)
        assert main(["evaluate", str(run.folder), "--keep", "10"]) == main(["sample", str(run.folder)]) == 0
    (run.folder / "samples-0.webp").write_bytes(b"of day 4")
    assert main(["train", "small", "--data", images, "--epochs", "2", "--out", str(run.folder)]) == 0
    kept = {b"of day 0", b"of day 1", b"of day 2", b"of day 3", b"of day 4"}
    assert kept <= {*everybodys(run.folder, "samples").values()}
    assert not (run.folder / "walk-0.webp").exists()  # ours, of an evaluation that holds no longer


def test_a_file_that_a_record_of_before_knows_is_ours(tmp_path, images, small, capsys):
    run = trained(tmp_path / "run", images)
    assert main(["evaluate", str(run.folder), "--keep", "20"]) == 0
    (run.folder / ".gansrc").unlink()  # it listed nothing once
    record = record_of(run)
    del record["evaluation"]["sha256"]
    (run.folder / "run.json").write_text(json.dumps(record))
    capsys.readouterr()
    assert main(["evaluate", str(run.folder), "--keep", "10"]) == 0
    assert "none of ours" not in capsys.readouterr().err and not [*run.folder.glob("*.kept*")]


@pytest.mark.parametrize("kill_before", [1, 2, 3, 4])
def test_a_kill_while_a_file_of_ours_is_written_leaves_none_that_is_nobodys(
    tmp_path, monkeypatch, capsys, kill_before
):
    writes, write, file = itertools.count(1), files.write, tmp_path / "samples.png"

    def write_or_die(file: Path, content: bytes) -> None:
        if next(writes) == kill_before:
            raise Killed
        write(file, content)

    monkeypatch.setattr(files, "write", write_or_die)
    for content in (b"one", b"two"):
        with suppress(Killed):
            files.write_own(file, content)
    files.write_own(file, b"three")
    assert tree(tmp_path).keys() == {files.MARK, "samples.png"} and file.read_bytes() == b"three"
    assert not capsys.readouterr().err


def test_an_image_is_ours_by_the_mark_or_the_record_and_a_damaged_mark_lists_none(tmp_path):
    (tmp_path / files.MARK).write_bytes(b"\xff\xfe, no list\n")
    files.write_own(tmp_path / "a.webp", b"new")
    (tmp_path / "b.webp").write_bytes(b"of a record")
    (tmp_path / "c.webp").write_bytes(b"somebody's")
    known = {f"{name}.webp": sha256(tmp_path / "b.webp") for name in "abc"}
    files.drop_images(tmp_path, (), known)
    assert tree(tmp_path).keys() == {files.MARK, "c.webp"}


@pytest.mark.parametrize("at", range(9))
def test_what_a_kill_leaves_of_a_checkpoint_is_deleted_later(tmp_path, monkeypatch, at):
    folder = tmp_path / "checkpoint-46"
    folder.mkdir()
    (folder / files.MARK).touch()
    for name in "abcdefg":
        (folder / f"{name}.safetensors").write_text(name)
    unlink, number = os.unlink, itertools.count()

    def killed(*args, **kwargs):
        if next(number) == at:
            raise KeyboardInterrupt
        unlink(*args, **kwargs)

    with monkeypatch.context() as m, suppress(KeyboardInterrupt):
        m.setattr(os, "unlink", killed)
        files.drop_checkpoints(tmp_path, "")
    assert folder.exists() == (at < 8)
    files.drop_checkpoints(tmp_path, "")
    assert not folder.exists()


def test_images_that_a_kill_has_left_are_deleted_later(tmp_path, images, small, monkeypatch):
    run = trained(tmp_path / "run", images)
    runs.evaluate(run.folder, keep=10)
    calls = itertools.count()

    def killed(*_: object) -> None:
        if next(calls):  # the first is at the beginning
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training, "drop_images", killed)
        trained(run.folder, images, epochs=2)
    assert not runs.Run(run.folder).record.images() and (run.folder / "samples-0.webp").exists()
    trained(run.folder, images, epochs=2)
    assert not [*run.folder.glob("*.webp")]


# Pictures, memory, weights


@pytest.mark.parametrize("shape", [(12, 12, 4), (144,)])
def test_where_no_picture_is_drawn_it_is_said(tmp_path, small, capsys, shape):
    file = tmp_path / "mine.npz"
    np.savez(file, x_train=np.random.default_rng(0).random((200, *shape)))
    words = f"no picture, rows of shape {' x '.join(map(str, shape))} are none, grey or in colour"
    out = tmp_path / "run"
    assert main(["train", "small", "--data", str(file), "--epochs", "1", "--out", str(out)]) == 0
    assert capsys.readouterr().err.splitlines()[0] == f"small: {words}"
    assert main(["sample", str(out), "-n", "30"]) == 0
    assert words in capsys.readouterr().out and not (out / "samples.png").exists()


@pytest.mark.parametrize("shape", [(270, 270), (3, 500, 300), (128, 128, 4)])
def test_large_pictures_are_kept_in_files_that_can_be_read_again(tmp_path, shape):
    size = int(np.prod(shape))
    x = torch.arange(3 * size).remainder(251).reshape(3, size).to(torch.uint8)
    read = []
    for content in mosaics.webp(x, shape):
        (tmp_path / "x.webp").write_bytes(content)
        read.append(mosaics.read(tmp_path / "x.webp", shape))
    assert torch.equal(torch.cat(read)[:3], x)


def test_files_of_large_pictures_are_no_bombs():
    shape = (270, 270)
    content = next(mosaics.webp(torch.zeros(950, 270 * 270, dtype=torch.uint8), shape))
    with (
        warnings.catch_warnings(action="error"),
        Image.open(BytesIO(content)) as picture,
    ):
        assert picture.size[0] * picture.size[1] <= 2**26


def test_more_than_the_memory_is_refused_before_it_is_tried(tmp_path, images, small, capsys):
    run = trained(tmp_path / "run", images)
    before = tree(run.folder)
    code, said = run_cli(capsys, "sample", str(run.folder), "-n", "1000000000000")
    assert (
        code == 2
        and "1,000,000,000,000 samples take" in said
        and "ask for fewer" in said
        and "\n" not in said
    )
    assert tree(run.folder) == before


@pytest.mark.parametrize(
    "error",
    [MemoryError("Unable to allocate 23.4 GiB"),
     RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried")],
)  # fmt: skip
@pytest.mark.parametrize("command", ["train", "sample", "evaluate"])
def test_too_little_memory_of_a_cpu_is_one_line(tmp_path, images, small, capsys, monkeypatch, error, command):
    def full(*_: object, **__: object) -> None:
        raise error

    run = trained(tmp_path / "run", images)
    monkeypatch.setattr(runs.Run, "samples", full)
    monkeypatch.setattr(Game, "reports", full)
    words = ["small", "--epochs", "2", "--data", images, "--out"] if command == "train" else []
    code, said = run_cli(capsys, command, *words, str(run.folder))
    assert code == 2 and "does not suffice" in said and len(said.splitlines()) <= 2, said
    assert "Traceback" not in said and torch.equal(everything(runs.Run(run.folder)), everything(run))


def with_weights(run: runs.Run, change) -> None:
    """The run with other tensors in its generator's file, and their checksum in its record."""
    file = run.weights_file()
    tensors = change(run._tensors(file.name))
    file.write_bytes(tensors if isinstance(tensors, bytes) else save(tensors))
    checkpoint = record_of(run)["checkpoint"]
    changed(run, checkpoint=checkpoint | {"sha256": checkpoint["sha256"] | {file.name: sha256(file)}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: {key: x * torch.nan for key, x in state.items()},
            "no numbers, its weights are",
        ),
        (lambda state: {key: x[:1] for key, x in state.items()}, "of another version of gansrc"),
        (lambda state: {f"{key}x": x for key, x in state.items()}, "of another version of gansrc"),
        (lambda state: {}, "of another version of gansrc"),
        (lambda state: b"garbage" * 9, "cannot be read"),
        (lambda state: b"", "cannot be read"),
    ],
)
def test_weights_that_are_none_are_told(tmp_path, images, small, capsys, change, message):
    run = trained(tmp_path / "run", images)
    with_weights(run, change)
    for command in (["sample"], ["evaluate"]):
        code, said = run_cli(capsys, *command, str(run.folder))
        assert code == 2 and message in said and "\n" not in said


# Records


HISTORIES = {
    "renamed": lambda text: text.replace("value", "worth", 1),
    "fewer columns": lambda text: "\n".join(",".join(line.split(",")[:5]) for line in text.split("\n")),
    "semicolons": lambda text: text.replace(",", ";"),
    "another number": lambda text: text.replace("1,20,", "1,19,"),
    "a word": lambda text: text.replace("1,20,", "one,20,"),
    "cut": lambda text: text[: len(text) // 2],
    "header alone": lambda text: text.split("\n")[0],
    "empty": lambda text: "",
    "no text": lambda text: text + "\0",
}


@pytest.mark.parametrize("kind", HISTORIES)
@pytest.mark.parametrize("old", [False, True])
def test_a_damaged_history_is_told_before_any_work(tmp_path, images, small, kind, old):
    run = trained(tmp_path / "run", images, epochs=2)
    if old:  # of before its checksum was in the record
        record = record_of(run)
        del record["history_sha256"]
        (run.folder / "run.json").write_text(json.dumps(record))
    file = run.folder / "history.csv"
    file.write_text(HISTORIES[kind](file.read_text()))
    before = {key: x for key, x in tree(run.folder).items() if key != ".lock"}
    if old and kind in ("another number", "header alone", "empty", "cut"):
        return  # nothing speaks against it
    with pytest.raises(ValueError, match="history.csv (is damaged|has no column)") as told:
        trained(run.folder, images, epochs=3)
    assert "\n" not in str(told.value)
    assert {key: x for key, x in tree(run.folder).items() if key != ".lock"} == before


def test_lines_beyond_the_record_are_a_kills_and_no_damage(tmp_path, images, small):
    one, three = trained(tmp_path / "one", images), trained(tmp_path / "three", images, epochs=3)
    rows = one.rows() + [row | {"seconds": "0.0"} for row in three.rows()[1:]]
    (one.folder / "history.csv").write_bytes(csv_of(rows))
    assert trained(one.folder, images, epochs=3).history["value"].tolist() == three.history["value"].tolist()


@pytest.mark.parametrize("change", [lambda x: x[:-30], lambda x: b"", lambda x: x[:99], None])
def test_altered_values_of_a_score_are_told(tmp_path, images, small, change):
    run = trained(tmp_path / "run", images)
    runs.evaluate(run.folder)
    file = run.folder / "log_likelihood.npz"
    values = archives.npz(file)
    file.write_bytes(
        npz({**values, "original": values["original"] + 1}) if change is None else change(file.read_bytes())
    )
    with pytest.raises(ValueError, match="log_likelihood.npz is missing or altered"):
        runs.Run(run.folder).score()
    record = record_of(run)
    del record["evaluation"]["sha256"]
    (run.folder / "run.json").write_text(json.dumps(record))
    if change:
        with pytest.raises(ValueError, match="log_likelihood.npz cannot be read"):
            runs.Run(run.folder).score()


def test_the_same_scores_are_the_same_bytes(monkeypatch):
    contents = set()
    for now in (1e9, 1.5e9):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        contents.add(npz({"original": np.arange(5.0)}))
    assert len(contents) == 1


def ways(value: object, above: tuple = ()) -> list[tuple]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way for key, part in parts for way in ((*above, key), *ways(part, (*above, key)))]


@pytest.mark.parametrize("name", ["vae-wink-seed-0", "mnist"])
def test_a_recipe_with_any_other_value_is_told_in_one_line(tmp_path, name):
    whole = json.loads((ROOT / "book" / "runs" / name / "run.json").read_text())
    folder, refused = tmp_path / "run", 0
    folder.mkdir()
    for *above, key in ways(whole["recipe"]):
        for new in (None, "x", -1, [], {}, 0.5, True, [[1]]):
            broken = json.loads(json.dumps(whole))
            holder = broken["recipe"]
            for step in above:
                holder = holder[step]
            holder[key] = new
            (folder / "run.json").write_text(json.dumps(broken))
            run = runs.Run(folder)
            try:
                recipe = run.recipe
                if name != "mnist":  # its nets take a while
                    recipe.sampler(run.record.data.image_shape)
            except (ValueError, RuntimeError) as error:
                assert not isinstance(error, RuntimeError) or "negative dimension" in str(error), (
                    above,
                    key,
                    new,
                )
                refused += 1
                assert "\n" not in str(error)
    assert refused > 50


# Terminals


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_runs import SMALL
from gansrc import catalogue, parzen
from gansrc.cli import main
parzen.N_SAMPLES = 100
catalogue.RECIPES = {{"small": SMALL}}
sys.exit(main({words!r}))
"""


def start(words: list[str], **options) -> subprocess.Popen:
    script = SCRIPT.format(tests=str(Path(__file__).parent), words=words)
    return subprocess.Popen([sys.executable, "-c", script], **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1", "SIGTERM"])
def test_a_signal_saves_and_the_code_says_which(tmp_path, images, name):
    out, number = tmp_path / "run", getattr(signal, name)
    words = ["train", "small", "--data", images, "--out", str(out), "--epochs", "100000"]
    heard = partial(signal.signal, number, signal.SIG_DFL)  # under nohup the tests themselves ignore it
    with start(words, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as process:
        assert process.stderr.readline().startswith("run: epoch 0 of")  # now it listens
        process.send_signal(number)
        try:
            _, said = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 128 + number and "the same command goes on from there" in said
    assert runs.Run(out).state()  # whole, be it of the very start


@pytest.mark.slow
def test_what_nohup_ignores_stays_ignored_and_closed_streams_do_no_harm(tmp_path, images):
    out = tmp_path / "run"
    words = ["train", "small", "--data", images, "--out", str(out), "--epochs", "2"]

    def alone() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in range(3):
            os.close(number)

    script = SCRIPT.format(tests=str(Path(__file__).parent), words=words)
    code = subprocess.Popen([sys.executable, "-c", script], preexec_fn=alone).wait(timeout=120)
    assert code == 0 and runs.Run(out).record.epochs == 2
    (out / "history.csv").read_text().startswith("epoch,")


@pytest.mark.parametrize(
    ("encoding", "sign"), [("ascii", "+-"), ("latin-1", "±"), ("cp437", "±"), ("utf-8", "±")]
)
def test_a_score_is_told_in_any_encoding(encoding, sign):
    code = "from gansrc.cli import main; raise SystemExit(main(['runs', 'book/runs']))"
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    if encoding != "ascii":
        pytest.importorskip("encodings." + encoding.replace("-", "_"))
        code = "import sys; from gansrc import terminal\nwith terminal.ready(): print('1 ± 2')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0 and f" {sign} " in done.stdout.decode(encoding) and not done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_a_full_disk_under_standard_output_is_one_line():
    code = "from gansrc.cli import main; raise SystemExit(main(['recipes']))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "No space left" in done.stderr


def test_a_warning_is_one_line_without_a_place_in_the_source(tmp_path, levels, small, capsys):
    run = trained(tmp_path / "run", levels)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["evaluate", str(run.folder)]) == 0
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith("gansrc: best sigma") and line.endswith("beyond it the score may be higher")


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_every_file_of_a_run_has_the_users_permissions(tmp_path, images, small, mask):
    before = os.umask(mask)
    try:
        run = trained(tmp_path / "run", images)
        runs.evaluate(run.folder)
    finally:
        os.umask(before)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in run.folder.rglob("*.*") if path.is_file()
    }
    modes.pop(".lock")
    assert set(modes.values()) == {0o666 & ~mask} and len(modes) > 5


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done, sync, move = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (done.append("sync"), sync(number))[1])
    monkeypatch.setattr(os, "replace", lambda *files: (done.append("move"), move(*files))[1])
    runs.files.write(tmp_path / "x", b"1")
    assert done == ["sync", "move", "sync"] and (tmp_path / "x").read_bytes() == b"1"


@pytest.mark.parametrize("at", range(7))
def test_files_that_belong_together_are_all_new_or_all_as_they_were(tmp_path, monkeypatch, at):
    def move(*names: Path) -> None:
        if next(moves) == at:
            raise Killed
        replace(*names)

    kept, moves, replace = [tmp_path / name for name in "abc"], itertools.count(), os.replace
    for file in kept:
        file.write_bytes(b"old")
    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(os, "replace", move)
        files.write_together(dict.fromkeys(kept, b"new"))
    files.settle(kept)
    assert {file.read_bytes() for file in kept} == {b"old" if at < 3 else b"new"}  # 3 are written, then moved
    assert not list(tmp_path.glob("*.next"))


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
def test_a_signal_that_is_ignored_stays_so_and_others_are_heard():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requested() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop() == 0
            os.kill(os.getpid(), signal.SIGUSR1)
            assert stop() == signal.SIGUSR1
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# What else can be typed, edited or in the way


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--epochs 10000001", "--epochs must be at most 10,000,000, got 10000001"),
        ("--epochs " + 25 * "9", "--epochs must be at most 10,000,000, got 9999"),
        ("--budget 8785h", "--budget must be at most a year, got '8785h'"),
        ("--budget " + 400 * "9" + "h", "--budget must be at most a year, got"),
    ],
)
def test_a_training_that_no_clock_can_count_is_refused(tmp_path, images, small, capsys, option, message):
    words = ["train", "small", "--data", images, "--out", str(tmp_path / "run")]
    code, said = run_cli(capsys, *words, *option.split())
    assert code == 2 and said.startswith(f"gansrc: {message}") and "\n" not in said
    assert not (tmp_path / "run").exists()


def test_a_length_beside_a_name_has_the_same_limits(tmp_path, images, small, capsys):
    words = ["train", f"small:{10**30}", "--data", images, "--out", str(tmp_path / "run")]
    assert run_cli(capsys, *words) == (2, f"gansrc: epochs must be at most 10,000,000, got {10**30}")


def test_an_empty_word_is_no_recipe(tmp_path, images, small, capsys):
    words = ["train", "", "--data", images, "--out", str(tmp_path / "run")]
    assert run_cli(capsys, *words) == (2, "gansrc: unknown recipe '': 'gansrc recipes' lists all")


@pytest.mark.parametrize("inside", ["", "deep", "deep/er"])
@pytest.mark.parametrize("by", ["run", "link"])
def test_no_run_is_put_into_a_checkpoint(tmp_path, images, small, capsys, inside, by):
    run = trained(tmp_path / "run", images)
    (tmp_path / "link").symlink_to(run.folder)
    out, before = tmp_path / by / "checkpoint-20" / inside, tree(run.folder)
    code, said = run_cli(capsys, "train", "small", "--data", images, "--epochs", "1", "--out", str(out))
    told = "lies in a checkpoint, which its run will delete: choose another --out"
    assert (code, said) == (2, f"gansrc: {out} {told}") and tree(run.folder) == before
    again = ["train", "small", "--data", images, "--epochs", "1", "--out", str(tmp_path / "checkpoint-1")]
    assert [main(again), main(again)] == [0, 0]  # a name like any other


@pytest.mark.parametrize(
    "change",
    [
        {"updates": 10**30}, {"updates": -20}, {"updates": 0}, {"updates": 40}, {"epochs": -1},
        {"seconds": float("nan")}, {"seconds": float("inf")}, {"seconds": -5.0},
        {"dimension": 17}, {"image_shape": [4, 5]}, {"image_shape": [-4, -4]}, {"image_shape": []},
        {"image_shape": [10**9, 10**9]},
    ],
)  # fmt: skip
def test_values_of_a_record_that_do_not_agree_are_told_by_every_command(
    tmp_path, images, small, capsys, change
):
    run = trained(tmp_path / "all" / "run", images)
    changed(
        run,
        **change
        if change.keys().isdisjoint(record_of(run)["data"])
        else {"data": record_of(run)["data"] | change},
    )
    before = {key: x for key, x in tree(run.folder).items() if key != ".lock"}
    folder = str(run.folder)
    for command in (
        ["sample", folder, "-n", "20"], ["evaluate", folder], ["runs", str(run.folder.parent)],
        ["train", "small", "--data", images, "--out", folder], ["train", folder, "--out", folder + "-2"],
    ):  # fmt: skip
        code, said = run_cli(capsys, *command)
        assert code == 2 and said.startswith(f"gansrc: {run.folder / 'run.json'} is no record of a run (")
        assert (
            "\n" not in said and {key: x for key, x in tree(run.folder).items() if key != ".lock"} == before
        )


@pytest.mark.parametrize("name", ["history.csv", "checkpoint-20/discriminator.safetensors", ".lock"])
def test_a_folder_in_the_place_of_a_file_is_told_with_its_cure(tmp_path, images, small, capsys, name):
    run = trained(tmp_path / "run", images)
    (run.folder / name).unlink()
    (run.folder / name).mkdir()
    command = ["train", "small", "--data", images, "--epochs", "2", "--out", str(run.folder)]
    code, said = run_cli(capsys, *command)
    assert code == 2 and str(run.folder / name) in said and "\n" not in said
    assert "restore it" in said or "mend that, and go on" in said


def test_a_full_disk_keeps_no_part_of_a_checkpoint(tmp_path, images, small, capsys, monkeypatch):
    def full(file: Path, content: bytes) -> None:
        if file.name == "random.safetensors":
            raise OSError(f"cannot write {file} (No space left on device): mend that, and go on")
        write(file, content)

    run, write = trained(tmp_path / "run", images), training.write
    before = tree(run.folder)
    with monkeypatch.context() as patch:
        patch.setattr(training, "write", full)
        with pytest.raises(OSError, match="cannot write .*checkpoint-40"):
            trained(run.folder, images, epochs=2)
    assert tree(run.folder) == before
    assert trained(run.folder, images, epochs=2).record.updates == 40


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_or_a_folder_is_no_file_of_arrays(tmp_path, small, capsys):
    os.mkfifo(tmp_path / "pipe.npy")
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "folder.npz").mkdir()
    code, said = run_cli(capsys, "evaluate", str(tmp_path / "pipe.npy"))
    assert code == 2 and said.endswith("is no file that can be read again: save the samples with numpy.save")
    for name in ("pipe.npz", "folder.npz"):
        code, said = run_cli(capsys, "train", "small", "--out", "x", "--data", str(tmp_path / name))
        told = f"{tmp_path / name} is no file: give the path of an .npz that holds x_train"
        assert (code, said) == (2, f"gansrc: {told}")


def test_a_data_folder_that_is_a_file_is_told(tmp_path, small, capsys, monkeypatch):
    (tmp_path / "sets").write_text("")
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path / "sets"))
    told = f"gansrc: the data folder {tmp_path / 'sets'} is a file: set GANSRC_DATA to a folder"
    assert run_cli(capsys, "data") == (2, told)
    with pytest.raises(NotADirectoryError, match="set GANSRC_DATA to a folder"):
        datasets.load("mnist")


def test_the_largest_numbers_are_no_infinities(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=np.full((20, 4), 1.7e308))
    with pytest.raises(ValueError, match=r"got values from 1.7e\+308 to 1.7e\+308: rescale it"):
        datasets.load(str(tmp_path / "x.npz"))


# Any pair of modules


def game(generator: nn.Module, discriminator: nn.Module, order: str, norm: float = 0.0) -> Game:
    rules = Rules(order=order, batch_size=5, max_column_norm=norm)
    noise = Normal(torch.zeros(2), torch.ones(2), validate_args=False)
    return Game(generator, discriminator, noise, rules, torch.Generator().manual_seed(0), 0.9)


def nets() -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(0)
    return (nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 3)),
            nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1), nn.Flatten(0)))  # fmt: skip


ORDERS = pytest.mark.parametrize("order", ["alternating", "simultaneous"])


@ORDERS
def test_frozen_layers_stay_and_the_others_move(order):
    generator, discriminator = nets()
    for layer in (generator[0], discriminator[0]):
        layer.requires_grad_(False)
    before = [p.clone() for p in (*generator.parameters(), *discriminator.parameters())]
    means = game(generator, discriminator, order, norm=0.1).play(torch.randn(20, 3), 3)
    after = [*generator.parameters(), *discriminator.parameters()]
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert moved == [False, False, True, True] * 2 and all(map(np.isfinite, means.values()))


@ORDERS
@pytest.mark.parametrize("which", ["G", "D"])
def test_a_net_that_is_wholly_frozen_is_played_against(order, which):
    generator, discriminator = nets()
    still, other = (generator, discriminator) if which == "G" else (discriminator, generator)
    still.requires_grad_(False)
    before = [[p.clone() for p in net.parameters()] for net in (still, other)]
    game(generator, discriminator, order).play(torch.randn(20, 3), 2)
    assert all(torch.equal(a, b) for a, b in zip(before[0], still.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(before[1], other.parameters(), strict=True))


@ORDERS
def test_a_head_that_takes_no_part_changes_nothing(order):
    ends = []
    for head in (False, True):
        generator, discriminator = nets()
        if head:
            discriminator.head = nn.Linear(6, 10)
            discriminator.forward = lambda x, net=discriminator: nn.Sequential(*list(net)[:4])(x)
        game(generator, discriminator, order).play(
            torch.randn(20, 3, generator=torch.Generator().manual_seed(1)), 3
        )
        ends.append(torch.cat([p.flatten() for p in generator.parameters()]))
    assert torch.equal(*ends)


@ORDERS
@pytest.mark.parametrize(
    ("end", "message"),
    [
        (
            nn.Unflatten(0, (-1, 1)),
            r"for each example, \(1?[05],\), got \(1?[05], 1\): end it",
        ),
        (nn.AdaptiveAvgPool1d(3), "one logit for each example"),
    ],
)
def test_the_shape_of_what_d_says_is_looked_at_before_anything_moves(order, end, message):
    generator, discriminator = nets()
    if isinstance(end, nn.AdaptiveAvgPool1d):
        discriminator[2], end = nn.Linear(6, 2), nn.Identity()
    discriminator.append(end)
    before = [p.clone() for p in (*generator.parameters(), *discriminator.parameters())]
    with pytest.raises(ValueError, match=message):
        game(generator, discriminator, order).play(torch.randn(20, 3), 1)
    after = [*generator.parameters(), *discriminator.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@ORDERS
def test_the_shape_of_samples_is_the_datas(order):
    generator, discriminator = nets()
    generator[2] = nn.Linear(6, 4)
    with pytest.raises(ValueError, match=r"G's samples must have the data's shape \(5, 3\), got \(5, 4\)"):
        game(generator, discriminator, order).play(torch.randn(20, 3), 1)


# The project's own files


def test_types_come_with_the_package():
    assert (ROOT / "gansrc" / "py.typed").exists()


def test_actions_are_pinned_by_commit_and_what_may_write_installs_nothing():
    yaml = pytest.importorskip("yaml")
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        content = yaml.safe_load(file.read_text())
        assert content["permissions"] == {"contents": "read"}
        for job in content["jobs"].values():
            uses = [step["uses"] for step in job["steps"] if "uses" in step]
            assert all(len(use.partition("@")[2]) == 40 for use in uses), uses
            assert job["timeout-minutes"] <= 45
            may_write = job.get("permissions", {}).get("contents") == "write"
            words = " ".join(step.get("run", "") for step in job["steps"])
            assert not (may_write and ("pip" in words or "make" in words))
            checkouts = [step for step in job["steps"] if "checkout" in step.get("uses", "")]
            assert may_write or all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_a_notebook_beside_a_chapter_is_left_alone(tmp_path):
    yaml, project = pytest.importorskip("yaml"), pytest.importorskip("sphinx.project")
    (tmp_path / "book").mkdir()
    for name in ("01.md", "01.ipynb"):
        (tmp_path / "book" / name).write_text("{}")
    patterns = yaml.safe_load((ROOT / "_config.yml").read_text())["exclude_patterns"]
    found = project.Project(tmp_path, {".md": "myst", ".ipynb": "myst"})
    assert found.discover(patterns) == {"book/01"} and str(found.doc2path("book/01", False)).endswith("01.md")


def test_nbval_that_compares_all_is_told_to_be_lax():
    pytest.importorskip("nbval")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--nbval",
        "book/01-introduction.md",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode and "use --nbval-lax" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="copies of a process are made")
def test_kills_at_random_instants_leave_what_no_kill_leaves():
    command = [sys.executable, str(ROOT / "tests" / "kill_at_random.py"), "--kills", "12", "--seed", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "\n12 kills: " in done.stdout, done.stdout + done.stderr
