"""Recorded runs: training, exact resume after every kind of stop, evaluation, and bad folders."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors import SafetensorError
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from gansrc import datasets, parzen, recipes, runs
from gansrc.cli import main
from gansrc.game import sample

RULES = dataclasses.replace(recipes.MNIST.rules, batch_size=10)
SMALL = dataclasses.replace(recipes.MNIST, name="small", g_hidden=(8,), d_hidden=(6,), z_dim=3, rules=RULES)


@pytest.fixture
def images(tmp_path) -> str:
    rng = np.random.default_rng(0)
    file = tmp_path / "images.npz"
    np.savez(
        file, x_train=rng.random((200, 4, 4)), x_valid=rng.random((30, 4, 4)), x_test=rng.random((40, 4, 4))
    )
    return str(file)


def flat(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.flatten() for p in net.parameters()])


def everything(run: runs.Run) -> torch.Tensor:
    state = run.state()
    return torch.cat([state[key].double().flatten() for key in sorted(state)])


def test_a_record_holds_what_a_sceptic_needs(tmp_path, images):
    run = runs.train(SMALL, tmp_path / "run", epochs=5, seed=3, data=images)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["recipe"]["rules"]["learning_rate"] == 0.1 and record["seed"] == 3
    assert (record["epochs"], record["updates"]) == (5, 100)
    assert record["data"]["sha256"] == datasets.load(images).sha256 and record["data"]["train"] == 200
    leg = record["legs"][0]
    assert {"commit", "source_sha256", "packages", "device_name", "threads", "started"} <= leg.keys()
    assert leg["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert run.history["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert np.isfinite(run.history["valid_original"]).tolist() == [True, False, False, False, True]
    assert run.recipe == dataclasses.replace(SMALL, sources={})
    assert not list(run.folder.rglob("*.pt")) and (run.folder / "samples.png").stat().st_size > 100


def test_prolonging_a_run_equals_one_long_run_bit_for_bit(tmp_path, images):
    whole = runs.train(SMALL, tmp_path / "whole", epochs=4, data=images)
    runs.train(SMALL, tmp_path / "parts", epochs=1, data=images)
    parts = runs.train(SMALL, tmp_path / "parts", epochs=4, data=images)
    assert torch.equal(everything(whole), everything(parts))
    for key in ("value", "g_cost", "valid_original"):
        np.testing.assert_array_equal(whole.history[key], parts.history[key])
    assert [leg["from_update"] for leg in parts.record["legs"]] == [0, 20]


def test_a_stop_within_an_epoch_leaves_no_trace_in_the_history(tmp_path, images, monkeypatch):
    @contextmanager
    def stop_at_once() -> Iterator[Callable[[], bool]]:
        asked = iter([False, True, True])
        yield lambda: next(asked)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "_stop_requested", stop_at_once)
        for _ in range(3):  # 10 updates each, half an epoch
            with pytest.raises(KeyboardInterrupt):
                runs.train(SMALL, tmp_path / "parts", epochs=2, data=images)
    parts = runs.train(SMALL, tmp_path / "parts", epochs=2, data=images)
    whole = runs.train(SMALL, tmp_path / "whole", epochs=2, data=images)
    assert torch.equal(everything(parts), everything(whole))
    for key in ("epoch", "value", "g_cost", "d_real", "d_fake", "valid_fine"):
        np.testing.assert_array_equal(parts.history[key], whole.history[key])
    assert "epoch_so_far" not in parts.record


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path({tests!r})))
from test_runs import SMALL
from gansrc import runs
ticks = iter(range(0, 10**9, 30))
runs.time.monotonic = lambda: next(ticks)  # a fast clock: a checkpoint every epoch or two
try:
    runs.train(SMALL, Path({out!r}), epochs=300, data={data!r})
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_resumes_to_the_same_end(tmp_path, images, how):
    out = tmp_path / "run"
    script = SCRIPT.format(tests=str(Path(__file__).parent), out=str(out), data=images)
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    while not (out / "run.json").exists() and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, how)
    _, said = process.communicate(timeout=60)
    stopped = runs.Run(out)
    updates = stopped.record["updates"]
    assert 0 < updates < 6000
    if how != signal.SIGKILL:
        assert process.returncode == 130 and "the same command goes on from there" in said
    epochs = updates // 20 + 2
    resumed = runs.train(SMALL, out, epochs=epochs, data=images)
    whole = runs.train(SMALL, tmp_path / "whole", epochs=epochs, data=images)
    assert torch.equal(everything(resumed), everything(whole))
    assert resumed.history["epoch"].tolist() == list(range(1, epochs + 1))
    assert len(list(out.glob("checkpoint-*"))) == 1


def test_seeds_trained_at_once_have_the_records_they_would_have_alone(tmp_path, images):
    folders = {seed: tmp_path / f"together-seed-{seed}" for seed in (3, 4, 5)}
    together = runs.train_seeds(SMALL, folders, epochs=6, data=images)
    for seed, run in zip(folders, together, strict=True):
        alone = runs.train(SMALL, tmp_path / f"alone-{seed}", epochs=6, seed=seed, data=images)
        assert (everything(run) - everything(alone)).abs().max() < 1e-5
        assert run.record["seed"] == seed and run.record["legs"][0]["together"] == 3
        for key in ("value", "g_cost", "d_real", "valid_original"):
            np.testing.assert_allclose(run.history[key], alone.history[key], atol=1e-3)
        assert (run.folder / "samples.png").read_bytes() == (alone.folder / "samples.png").read_bytes()
    assert (everything(together[0]) - everything(together[1])).abs().max() > 1e-2


def test_seeds_that_are_behind_are_brought_up_to_the_others(tmp_path, images):
    folders = {seed: tmp_path / f"run-seed-{seed}" for seed in (0, 1, 2)}
    runs.train(SMALL, folders[1], epochs=3, seed=1, data=images)
    runs.train(SMALL, folders[2], epochs=5, seed=2, data=images)
    before = runs.Run(folders[1]).record
    (folders[1] / "run.json").write_text(json.dumps(before | {"seconds": 5000.0}))
    done = runs.train_seeds(SMALL, folders, epochs=5, data=images)
    assert [run.record["epochs"] for run in done] == [5, 5, 5]
    assert done[0].record["seconds"] < 1000 < 5000 <= done[1].record["seconds"]
    assert [[leg["together"] for leg in run.record["legs"]] for run in done] == [[1, 2], [1, 2], [1]]
    for seed, run in enumerate(done):
        alone = runs.train(SMALL, tmp_path / f"alone-{seed}", epochs=5, seed=seed, data=images)
        assert (everything(run) - everything(alone)).abs().max() < 1e-5
        assert run.history["epoch"].tolist() == [1, 2, 3, 4, 5]


def test_seeds_stopped_within_an_epoch_resume_bit_for_bit(tmp_path, images, monkeypatch):
    @contextmanager
    def stop_at_once() -> Iterator[Callable[[], bool]]:
        asked = iter([False, True, True])
        yield lambda: next(asked)

    parts, wholes = ({seed: tmp_path / f"{name}-{seed}" for seed in (0, 1)} for name in ("part", "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(runs, "_stop_requested", stop_at_once)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                runs.train_seeds(SMALL, parts, epochs=2, data=images)
    resumed = runs.train_seeds(SMALL, parts, epochs=2, data=images)
    for one, other in zip(resumed, runs.train_seeds(SMALL, wholes, epochs=2, data=images), strict=True):
        assert torch.equal(everything(one), everything(other))
        np.testing.assert_array_equal(one.history["value"], other.history["value"])


def test_a_seed_that_stopped_within_an_epoch_is_met_there(tmp_path, images, monkeypatch):
    @contextmanager
    def stop_after_three() -> Iterator[Callable[[], bool]]:
        asked = iter([False, False, False, True, True])
        yield lambda: next(asked)

    folders = {seed: tmp_path / f"run-seed-{seed}" for seed in (0, 1)}
    with monkeypatch.context() as patch:
        patch.setattr(runs, "_stop_requested", stop_after_three)
        with pytest.raises(KeyboardInterrupt):
            runs.train(SMALL, folders[1], epochs=4, seed=1, data=images)
    assert 0 < runs.Run(folders[1]).record["updates"] < 20  # an epoch
    for seed, run in enumerate(runs.train_seeds(SMALL, folders, epochs=4, data=images)):
        alone = runs.train(SMALL, tmp_path / f"alone-{seed}", epochs=4, seed=seed, data=images)
        np.testing.assert_allclose(run.history["value"], alone.history["value"], atol=1e-5)
        assert (everything(run) - everything(alone)).abs().max() < 1e-5


def test_a_state_of_another_kind_of_device_is_told(tmp_path, images):
    run = runs.train(SMALL, tmp_path / "run", epochs=1, data=images)
    match = run.game(datasets.load(images).train)
    with pytest.raises(ValueError, match="of another kind of device: go on with that one"):
        match.load_state(run.state() | {"rng": torch.zeros(16, dtype=torch.uint8)}, 20)


@pytest.mark.filterwarnings("ignore:best sigma")
def test_a_running_mean_of_the_generator_is_judged_beside_the_last_one(tmp_path, images, monkeypatch):
    monkeypatch.setattr(runs, "N_SAMPLES", 300)
    fast = dataclasses.replace(RULES, learning_rate=0.5)
    averaging = dataclasses.replace(
        SMALL, name="averaging", g_range=0.5, d_range=0.5, rules=fast, average=0.9
    )
    run = runs.train(averaging, tmp_path / "run", epochs=5, data=images)
    plain = runs.train(dataclasses.replace(averaging, average=0.0), tmp_path / "plain", epochs=5, data=images)
    game = run.game(datasets.load(images).train)
    assert torch.equal(torch.cat([p.flatten() for p in game.average]), flat(run.generator("average")))
    assert torch.equal(flat(run.generator()), flat(plain.generator()))
    assert not torch.equal(flat(run.generator()), flat(run.generator("average")))
    assert run.history["valid_original"][-1] == plain.history["valid_original"][-1]
    assert run.history["average_valid_original"][-1] != run.history["valid_original"][-1]
    assert "average_valid_original" not in plain.history
    result = runs.evaluate(run.folder)
    of_mean = parzen.score(
        sample(run.generator("average"), run.recipe.p_z(), 300, torch.Generator().manual_seed(2014)),
        datasets.load(images).valid[:1000], datasets.load(images).test,
    )  # fmt: skip
    assert result["average"]["original"]["mean"] == pytest.approx(of_mean.mean, abs=1e-3)
    scored = runs.Run(run.folder)
    assert scored.score(weights="average")[0] == pytest.approx(of_mean.mean, abs=1e-3)
    assert scored.score()[0] == pytest.approx(result["original"]["mean"], abs=1e-3)
    resumed = runs.train(averaging, tmp_path / "run", epochs=7, data=images)
    assert resumed.record["earlier"] == [result]
    whole = runs.train(averaging, tmp_path / "whole", epochs=7, data=images)
    assert torch.equal(everything(resumed), everything(whole))


def test_a_device_without_enough_memory_is_told_in_one_line(tmp_path, images, capsys, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(recipes, "RECIPES", {"small": SMALL})
    monkeypatch.setattr(runs.Game, "_play", full)
    monkeypatch.setattr(runs, "_device", lambda name: torch.device("cpu"))
    command = ["train", "small", "--out", str(tmp_path / "run"), "--data", images, "--device", "cuda"]
    code, said = run_cli(capsys, *command)
    assert (
        code == 2 and "the memory of cuda does not suffice: train into a new folder on --device cpu" in said
    )
    code, said = run_cli(capsys, *command, "--seeds", "3")
    assert code == 2 and said.splitlines()[-1].endswith("does not suffice: lower --seeds, 3 now")

    def full_of_data(*_):
        raise RuntimeError("MPS backend out of memory (MPS allocated: 18.13 GB)")

    monkeypatch.setattr(runs._Material, "load", full_of_data)
    code, said = run_cli(capsys, *command)
    assert code == 2 and "the memory of cuda does not suffice" in said


def test_a_run_is_not_trained_or_scored_twice_at_once(tmp_path, images, capsys, monkeypatch):
    monkeypatch.setattr(recipes, "RECIPES", {"small": SMALL})
    out = str(tmp_path / "run")
    train = ["train", "small", "--out", out, "--data", images, "--epochs", "1"]
    assert run_cli(capsys, *train)[0] == 0
    with FileLock(tmp_path / "run" / ".lock"):
        for command in (train, ["evaluate", out]):
            code, said = run_cli(capsys, *command)
            assert code == 2 and f"{out} is in use, it is trained or scored right now" in said
    assert run_cli(capsys, "evaluate", out)[0] == 0


def test_folders_that_are_not_ours_stay(tmp_path, images):
    out, foreign = tmp_path / "run", tmp_path / "run" / "checkpoint-500" / "model.safetensors"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("dear")
    with pytest.raises(ValueError, match="is not empty and holds no run: choose another --out"):
        runs.train(SMALL, out, epochs=1, data=images)
    foreign.parent.rename(tmp_path / "checkpoint-40")
    (out / "checkpoint-20").mkdir()  # as a kill may leave it
    run = runs.train(SMALL, out, epochs=1, data=images)
    shutil.copytree(out / "checkpoint-20", out / "checkpoint-20-keep")
    (tmp_path / "checkpoint-40").rename(out / "checkpoint-40")
    with pytest.raises(ValueError, match="checkpoint-40 is none of this run's checkpoints: move it away"):
        runs.train(SMALL, out, epochs=2, data=images)
    assert torch.equal(everything(runs.Run(out)), everything(run))
    (out / "checkpoint-40").rename(out / "checkpoint-9000")
    assert runs.train(SMALL, out, epochs=2, data=images).record["updates"] == 40
    left = sorted(folder.name for folder in out.glob("checkpoint-*"))
    assert left == ["checkpoint-20-keep", "checkpoint-40", "checkpoint-9000"]
    assert (out / "checkpoint-9000" / "model.safetensors").read_text() == "dear"


def test_a_missing_checkpoint_costs_no_other(tmp_path, images):
    run = runs.train(SMALL, tmp_path / "run", epochs=1, data=images)
    shutil.copytree(run.folder / "checkpoint-20", run.folder / "checkpoint-40")
    shutil.rmtree(run.folder / "checkpoint-20")
    with pytest.raises(FileNotFoundError, match="is missing: restore it"):
        runs.train(SMALL, run.folder, epochs=2, data=images)
    assert (run.folder / "checkpoint-40").exists()


def test_a_score_ends_with_the_training_it_was_of(tmp_path, images):
    run = runs.train(SMALL, tmp_path / "run", epochs=1, data=images)
    runs.evaluate(run.folder)
    assert runs.Run(run.folder).score()
    with pytest.raises(ValueError, match="has no score: run gansrc evaluate"):
        runs.train(SMALL, run.folder, epochs=2, data=images).score()


def test_training_needs_no_git(tmp_path, images, monkeypatch):
    monkeypatch.setenv("PATH", "")
    run = runs.train(SMALL, tmp_path / "run", epochs=1, data=images)
    assert run.record["legs"][0]["commit"] == ""


def test_a_full_disk_is_told_and_costs_nothing(tmp_path, images, capsys, monkeypatch):
    monkeypatch.setattr(recipes, "RECIPES", {"small": SMALL})
    run = runs.train(SMALL, tmp_path / "run", epochs=1, data=images)

    def full(*_):
        raise SafetensorError("I/O error: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(runs, "save_file", full)
        command = ["train", "small", "--out", str(run.folder), "--data", images, "--epochs", "2"]
        code, said = run_cli(capsys, *command)
    assert code == 2 and "No space left on device): make room, and go on" in said.splitlines()[-1]
    assert torch.equal(everything(runs.Run(run.folder)), everything(run))
    assert runs.train(SMALL, run.folder, epochs=2, data=images).record["updates"] == 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: {}, "run.json is no record of a run"),
        (lambda record: [], "run.json is no record of a run"),
        (lambda record: record | {"recipe": record["recipe"] | {"wings": 2}}, "of another version of gansrc"),
        (lambda record: record | {"recipe": {"model": "Oracle"}}, "of another version of gansrc"),
    ],
)
def test_a_record_that_cannot_be_understood_is_told(tmp_path, images, capsys, monkeypatch, change, message):
    monkeypatch.setattr(recipes, "RECIPES", {"small": SMALL})
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
    code, said = run_cli(capsys, "evaluate", images)
    assert code == 2 and "cannot be read as a plain .npy array: save it anew with numpy.save" in said


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_kill_before_or_within_any_write_leaves_a_run_that_goes_on(tmp_path, images, monkeypatch, seeds):
    class Killed(BaseException):
        pass

    def survives(n: int) -> bool:  # killed at the nth file that is written; did it get that far?
        writes = iter(range(n))

        def write(*arguments, **options):
            if next(writes, None) is None:
                raise Killed
            return save(*arguments, **options)

        def replace(*arguments):
            if next(writes, None) is None:
                raise Killed
            return move(*arguments)

        save, move = runs.save_file, os.replace
        folders = {seed: tmp_path / f"{n}-seed-{seed}" for seed in range(seeds)}
        with monkeypatch.context() as patch:
            patch.setattr(runs, "save_file", write)
            patch.setattr(runs.os, "replace", replace)
            patch.setattr(runs.time, "monotonic", itertools.count(0, 30).__next__)
            try:
                runs.train_seeds(SMALL, folders, epochs=3, data=images)
            except Killed:
                pass
            else:
                return False
        for one, other in zip(runs.train_seeds(SMALL, folders, epochs=3, data=images), wholes, strict=True):
            assert (everything(one) - everything(other)).abs().max() < (1e-5 if seeds > 1 else 1e-30)
            assert len(list(one.folder.glob("checkpoint-*"))) == 1
            np.testing.assert_allclose(one.history["value"], other.history["value"], atol=1e-5)
        return True

    folders = {seed: tmp_path / f"whole-seed-{seed}" for seed in range(seeds)}
    wholes = runs.train_seeds(SMALL, folders, epochs=3, data=images)
    survived = 0
    while survives(survived):
        survived += 1
    assert survived >= 10 * seeds


def test_a_record_of_before_a_rule_was_known_goes_on(tmp_path, images):
    plain = dataclasses.replace(SMALL, average=0.0)
    run = runs.train(plain, tmp_path / "run", epochs=1, data=images)
    record = json.loads((run.folder / "run.json").read_text())
    del record["recipe"]["average"], record["recipe"]["rules"]["fresh_masks"]
    (run.folder / "run.json").write_text(json.dumps(record))
    assert runs.train(plain, tmp_path / "run", epochs=2, data=images).record["epochs"] == 2
    record["recipe"]["rules"]["average"] = 0.9  # where it once stood
    (run.folder / "run.json").write_text(json.dumps(record))
    assert runs.Run(run.folder).recipe.average == 0.9


@pytest.mark.filterwarnings("ignore:best sigma")  # noise images: the grid is MNIST's
def test_evaluation_is_the_parzen_estimate_of_the_runs_own_samples(tmp_path, images, monkeypatch):
    monkeypatch.setattr(runs, "N_SAMPLES", 300)
    run = runs.train(SMALL, tmp_path / "run", epochs=1, data=images)
    result = runs.evaluate(run.folder)
    data = datasets.load(images)
    samples = runs.Run(run.folder).samples(300).double().numpy()

    def mean(x: torch.Tensor, sigma: float) -> np.ndarray:
        exponent = -cdist(x.double().numpy(), samples, "sqeuclidean") / (2 * sigma**2)
        return logsumexp(exponent, axis=1) - np.log(300) - 16 * np.log(sigma * np.sqrt(2 * np.pi))

    sigmas = np.logspace(-1, 0, 10)
    best = max(sigmas, key=lambda sigma: mean(data.valid, sigma).mean())
    points = mean(data.test, best)
    assert result["original"]["sigma"] == pytest.approx(best)
    assert result["original"]["mean"] == pytest.approx(points.mean(), abs=1e-3)
    assert result["original"]["standard_error"] == pytest.approx(points.std() / np.sqrt(40), rel=0.02)
    kept = runs.Run(run.folder)
    assert kept.score() == pytest.approx((points.mean(), points.std() / np.sqrt(40)), rel=1e-3)
    np.testing.assert_allclose(kept.log_likelihood["original"], points, atol=1e-2)
    assert kept.record["evaluation"]["samples"] == 300


def test_bad_folders_and_options_change_nothing(tmp_path, images):
    out = tmp_path / "run"
    run = runs.train(SMALL, out, epochs=1, data=images)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match="holds a run of recipe 'small' with seed 0.*choose another --out"):
        runs.train(SMALL, out, epochs=2, seed=1, data=images)
    with pytest.raises(ValueError, match="holds a run of recipe 'small'.*not 'mnist'.*choose another --out"):
        runs.train(recipes.MNIST, out, epochs=2, data=images)
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        runs.train(SMALL, out, epochs=0, data=images)
    other = tmp_path / "other.npz"
    np.savez(other, x_train=np.random.default_rng(1).random((200, 4, 4)))
    with pytest.raises(ValueError, match="was trained on other data .*images.npz.*choose another --out"):
        runs.train(SMALL, out, epochs=2, data=str(other))
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before

    file = out / run.record["checkpoint"]["folder"] / "momentum.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="momentum.safetensors is corrupt .*restore it, or train anew"):
        runs.train(SMALL, out, epochs=2, data=images)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="momentum.safetensors is missing"):
        runs.train(SMALL, out, epochs=2, data=images)
    (out / "run.json").write_text("{")
    with pytest.raises(ValueError, match="run.json cannot be read"):
        runs.train(SMALL, out, epochs=2, data=images)


def run_cli(capsys, *arguments: str) -> tuple[int, str]:
    code = main(list(arguments))
    return code, capsys.readouterr().err.strip()


def test_every_bad_input_is_one_line_and_exit_code_2(tmp_path, images, capsys, monkeypatch):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("years of work")
    cases = [
        (["train", "mnits", "--out", str(tmp_path / "a")], "unknown recipe 'mnits'"),
        (["train", "mnist", "--out", str(taken)], "is not empty and holds no run: choose another --out"),
        (["train", "mnist", "--out", images], "is a file: choose another --out"),
        (["train", "mnist", "--out", "/proc/none"], "cannot write to /proc/none"),
        (["train", "mnist", "--out", str(tmp_path / "a"), "--device", "tpux"], "unknown device 'tpux'"),
        (["train", "mnist", "--out", str(tmp_path / "a"), "--data", "absent.npz"], "no data file absent.npz"),
        (
            ["train", "mnist", "--out", str(tmp_path / "a"), "--seeds", "0"],
            "--seeds must be at least 1, got 0",
        ),
        (["evaluate", str(taken)], "holds no run.json: give the folder of a run"),
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


def test_a_list_whose_reader_has_gone_ends_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", "from gansrc.cli import main; raise SystemExit(main(['runs']))"]
    root = Path(__file__).parents[1]
    ended = subprocess.run(command, cwd=root, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.filterwarnings("ignore:best sigma")  # noise images: the grid is MNIST's
def test_the_command_line_from_training_to_samples(tmp_path, images, capsys, monkeypatch):
    monkeypatch.setattr(recipes, "RECIPES", {"small": SMALL})
    monkeypatch.setattr(runs, "N_SAMPLES", 100)
    out = str(tmp_path / "all" / "run")
    assert main(["train", "small", "--out", out, "--epochs", "1", "--data", images]) == 0
    assert main(["evaluate", out]) == 0
    assert main(["sample", out, "-n", "30"]) == 0
    assert np.load(Path(out) / "samples.npy").shape == (30, 4, 4)
    assert main(["runs", str(tmp_path / "all")]) == 0
    said = capsys.readouterr().out
    assert "test log-likelihood, original sigma grid" in said and "nats" in said
    assert (
        main(["train", "small", "--out", out, "--epochs", "1", "--data", images]) == 0
    )  # nothing left to do
    shutil.rmtree(Path(out) / runs.Run(Path(out)).record["checkpoint"]["folder"])
    code, said = run_cli(capsys, "sample", out)
    assert code == 2 and "this record keeps no generator" in said


def test_version(capsys):
    import gansrc

    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out.strip() == f"gansrc {gansrc.__version__}"
