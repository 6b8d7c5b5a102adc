"""Several trainings by one command: what is trained where, a budget of time, a kill, and what a log says."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_cli import run_cli
from test_runs import VARIED, everything, record_of, set_clock

from gansrc import catalogue, parzen, runs
from gansrc.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:best sigma")


@pytest.fixture
def book(tmp_path, images, monkeypatch) -> Path:
    """Records of three seeds, and recipes of small nets on small images."""
    small = dataclasses.replace(VARIED, name="small", data=images, epochs=3)
    monkeypatch.setattr(catalogue, "RECIPES", {"small": small, "other": dataclasses.replace(small, z_dim=4)})
    monkeypatch.setattr(parzen, "N_SAMPLES", 100)
    for seed, epochs in ((3, 2), (4, 2), (5, 1)):
        runs.train(small, tmp_path / "book" / f"small-seed-{seed}", epochs=epochs, seed=seed)
    return tmp_path / "book"


def scored_at(folder: Path) -> int:
    """The update that a run was scored at."""
    return record_of(runs.Run(folder))["evaluation"]["updates"]


def test_recipes_and_recorded_runs_are_trained_again_each_to_its_length(tmp_path, book, capsys, monkeypatch):
    out = tmp_path / "again"
    words = [f"{book}/small-seed-{seed}" for seed in (3, 4, 5)] + ["other:1", "small"]
    command = ["train", *words, "--seed", "7", "--out", str(out), "--evaluate"]
    assert main(command) == 0
    assert {run.folder.name: (run.record.epochs, run.record.seed) for run in runs.recorded(out)} == {
        "small-seed-3": (2, 3), "small-seed-4": (2, 4), "small-seed-5": (1, 5),
        "other": (1, 7), "small": (3, 7),
    }  # fmt: skip
    for seed, together in ((3, 2), (4, 2), (5, 1)):
        again, before = (runs.Run(folder / f"small-seed-{seed}") for folder in (out, book))
        assert (everything(again) - everything(before)).abs().max() < 1e-5
        assert record_of(again)["legs"][0]["together"] == together  # those of one length, at once
        assert scored_at(again.folder) == record_of(before)["updates"]
        assert "evaluation" not in record_of(before)
    begun, *said = capsys.readouterr().out.splitlines()
    assert begun == f"{out}: starting"
    names = [Path(word.split(":")[0]).name for word in words]
    assert [line.split(":")[0] for line in said[::3]] == [str(out / name) for name in names]
    assert said[1].startswith("test log-likelihood, original sigma grid: ")
    before = [record_of(run) for run in runs.recorded(out)]
    monkeypatch.setattr(runs, "evaluate", None)  # nothing is left to do
    assert main(command) == 0 and [record_of(run) for run in runs.recorded(out)] == before
    assert capsys.readouterr().out.splitlines() == [begun, *said]


def test_at_the_end_of_its_time_training_stops_with_all_saved_and_scored(tmp_path, book, capsys, monkeypatch):
    out = tmp_path / "again"
    command = ["train", "small:9", "other:20", "--out", str(out), "--evaluate", "--budget", "1m"]
    reached = [0]
    while reached[-1] < 180:
        with monkeypatch.context() as patch:
            set_clock(patch, itertools.repeat(1.0))  # a second from look to look
            code, said = run_cli(capsys, *command)
        reached.append(record_of(runs.Run(out / "small"))["updates"])
        assert code == 0 and "small, until " in said and scored_at(out / "small") == reached[-1]
        if reached[-1] < 180:
            assert f"small: stopped after {reached[-1]} of 180 updates, the same command goes on" in said
            assert 10 < reached[-1] - reached[-2] < 20  # half of the minute: a score may last as long
    assert len(record_of(runs.Run(out / "small"))["earlier"]) == len(reached) - 2
    whole = runs.train(catalogue.recipe("small"), tmp_path / "whole", epochs=9)
    assert torch.equal(everything(whole), everything(runs.Run(out / "small")))
    # what the first one left was the second one's
    assert 0 < scored_at(out / "other") == record_of(runs.Run(out / "other"))["updates"] < 400


def test_what_comes_after_the_end_of_the_time_is_not_begun(tmp_path, book, capsys, monkeypatch):
    out = tmp_path / "again"
    with monkeypatch.context() as patch:
        set_clock(patch, itertools.repeat(1.0))
        code, said = run_cli(capsys, "train", "small", "other", "--out", str(out), "--budget", "4s")
    assert code == 0 and said.splitlines()[-1] == f"{out / 'other'}: not begun, the time is up"
    assert 0 < record_of(runs.Run(out / "small"))["updates"] < 5 and not (out / "other").exists()


@pytest.mark.slow
def test_after_a_kill_the_same_command_goes_on_where_it_was(tmp_path, book):
    words = [f"{book}/small-seed-3:2", f"{book}/small-seed-5:3000"]
    command = [sys.executable, "-m", "gansrc.cli", "train", *words, "--out", str(tmp_path / "again")]
    home = str(Path(runs.__file__).parents[2])
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": home}, stderr=subprocess.DEVNULL)
    first, second = (tmp_path / "again" / f"small-seed-{seed}" for seed in (3, 5))
    while not (second / ".gansrc").exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(1)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = record_of(runs.Run(first))
    assert before["updates"] == 40
    words[1] = words[1].replace("3000", "4")
    assert main(["train", *words, "--out", str(tmp_path / "again")]) == 0
    assert record_of(runs.Run(first)) == before
    whole = runs.train(runs.Run(second).recipe, tmp_path / "whole", epochs=4, seed=5)
    assert torch.equal(everything(runs.Run(second)), everything(whole))


def test_what_cannot_be_trained_does_not_keep_the_others_from_it(tmp_path, book, capsys):
    out = tmp_path / "again"
    (out / "small").mkdir(parents=True)
    (out / "small" / "thesis.txt").write_text("years of work")
    code, said = run_cli(capsys, "train", "small", "other:1", "--out", str(out))
    assert code == 2 and said.splitlines()[0].endswith("is not empty and holds no run: choose another --out")
    assert runs.Run(out / "other").record.epochs == 1
    file = book / "small-seed-3" / "run.json"
    file.write_text(file.read_text().replace('"sha256": "', '"sha256": "0'))
    code, said = run_cli(capsys, "train", str(book / "small-seed-3"), "--out", str(tmp_path / "new"))
    assert code == 2 and "small-seed-3 was trained on" in said and "\n" not in said
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["small", "--budget", "14"], "--budget must be a time like 90s, 14m or 2h, got '14'"),
        (["small", "--budget", "0m"], "--budget must be a time like 90s, 14m or 2h, got '0m'"),
        (["small", "--budget", "nan"], "--budget must be a time like 90s, 14m or 2h, got 'nan'"),
        (["small", "other", "--seeds", "2"], "--seeds goes with one recipe, got 2"),
        (["small", "small:7"], "two runs would go into"),
        (["small", "abacus"], "unknown recipe 'abacus'"),
        (["small:0"], "epochs must be at least 1, got 0"),
        (["BOOK/small-seed-3", "--seeds", "2"], "--seeds go with a recipe's name"),
        (["BOOK/small-seed-3", "--data", "mine.npz"], "mine.npz: give the path"),
        (["BOOK"], "holds no run.json"),
    ],
)
def test_words_that_do_not_go_together_are_told_in_one_line(tmp_path, book, capsys, more, message):
    words = [word.replace("BOOK", str(book)) for word in more]
    code, said = run_cli(capsys, "train", *words, "--out", str(tmp_path / "again"))
    assert code == 2 and message in said and "\n" not in said
    assert not (tmp_path / "again").exists()


def test_a_recipe_is_meant_though_a_run_of_its_name_lies_here(tmp_path, book, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "small:1", "--seed", "1", "--out", "small"]) == 0
    assert main(["train", "small", "other:1", "--seed", "2", "--out", "again"]) == 0
    assert main(["train", "./small", "other:1", "--seed", "2", "--out", "third"]) == 0
    records = [runs.Run(tmp_path / name / "small").record for name in ("again", "third")]
    assert [(record.seed, record.epochs) for record in records] == [(2, 3), (1, 1)]


def test_only_other_seeds_of_one_length_are_trained_at_once_and_a_word_has_the_last_say(tmp_path, book):
    shutil.copytree(book / "small-seed-3", book / "twin")
    words = [f"{book}/small-seed-3", f"{book}/twin", f"{book}/small-seed-4", f"{book}/small-seed-5:7"]
    for epochs, first in ((None, 2), (5, 5)):
        jobs = runs.plan(words, tmp_path, epochs=epochs)
        folders = [{seed: folder.name for seed, folder in job.folders.items()} for job in jobs]
        assert folders == [{3: "small-seed-3", 4: "small-seed-4"}, {3: "twin"}, {5: "small-seed-5"}]
        assert [job.epochs for job in jobs] == [first, first, 7]


def test_a_run_that_builds_on_another_finds_it_beside_its_own(tmp_path, book, monkeypatch):
    given = []

    def train_seeds(*_, pretrained: Path | None, **__) -> list[runs.Run]:
        given.append(pretrained)
        return []

    monkeypatch.setattr(runs.jobs, "train_seeds", train_seeds)
    upper = dataclasses.replace(catalogue.recipe("small"), pretrained="small")
    monkeypatch.setitem(catalogue.RECIPES, "upper", upper)
    out, mine = tmp_path / "again", book / "small-seed-3"
    assert main(["train", "small", "upper", "--out", str(out)]) == 0
    assert main(["train", "small", "upper", "--pretrained", str(mine), "--out", str(out)]) == 0
    assert given == [None, out / "small", None, mine]


def test_a_log_has_a_line_at_the_start_at_each_row_and_each_minute_without_one(
    tmp_path, book, capsys, monkeypatch
):
    with monkeypatch.context() as patch:
        set_clock(patch, itertools.repeat(4.0))  # two looks an update: an epoch takes 160 s
        said = run_cli(capsys, "train", "small:11", "--out", str(tmp_path / "run"))[1].splitlines()
    history = runs.Run(tmp_path / "run").history
    assert said[0] == "run: epoch 0 of 11, 0 of 220 updates"
    counts = [int(line.split("updates")[0].split(", ")[1].split()[0]) for line in said]
    rows = {int(n) for n in history["updates"]}
    assert (
        len(rows) == 11
        and rows < set(counts)
        and all(7 <= b - a <= 9 or b in rows for a, b in itertools.pairwise(counts))
    )
    for line, count in zip(said, counts, strict=True):
        scored = (history["updates"] <= count) & (history["valid_original"] == history["valid_original"])
        last = f", validation {history['valid_original'][scored][-1]:.1f} nats" if scored.any() else ""
        assert line.endswith(last) and ("validation" in line) == bool(last)
    assert said[-1].startswith("run: epoch 11 of 11, 220 of 220 updates, 0:00:00 left")


def test_on_a_terminal_there_is_a_bar_with_epochs_and_no_line(tmp_path, book, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    code, said = run_cli(capsys, "train", "small:2", "--out", str(tmp_path / "run"))
    assert code == 0 and "run: epoch" not in said
    assert said.startswith("starting\r") and "run: 100%" in said and "/40 " in said
    assert "epoch=2 of 2, value=" in said


def test_the_last_line_names_score_picture_and_next_command(tmp_path, book, capsys):
    out = tmp_path / "run"
    assert main(["train", "small:6", "--out", str(out)]) == 0
    run = runs.Run(out)
    score = run.history["valid_original"][4]  # the last of epochs 1 and 5
    assert capsys.readouterr().out == (
        f"{out}: starting\n"
        f"{out}: 6 epochs, {run.record.seconds:.0f} s, validation {score:.1f} nats at epoch 5,"
        f" samples in {out}/samples.png; next: gansrc evaluate {out}\n"
    )
    assert main(["train", "small:6", "--out", str(out), "--evaluate"]) == 0
    assert "next:" not in capsys.readouterr().out
    assert main(["train", "small:6", "--out", str(out)]) == 0  # scored already
    assert "next:" not in capsys.readouterr().out


def test_a_program_that_trains_says_nothing(tmp_path, book, capsys):
    runs.train(catalogue.recipe("small"), tmp_path / "run", epochs=1)
    assert capsys.readouterr() == ("", "")
