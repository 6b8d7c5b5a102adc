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
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from torch import nn
from torch.distributions import Uniform

import gansrc
from gansrc import datasets, mosaics, parzen, recipes, runs
from gansrc.gan import TrainedGenerator, walk
from gansrc.models.vae import VAE_MNIST
from gansrc.runs import progress, signals, training
from gansrc.runs.provenance import provenance

RULES = dataclasses.replace(recipes.MNIST.rules, batch_size=10)
SMALL = dataclasses.replace(
    recipes.MNIST, name="small", g_hidden=(8,), d_hidden=(6,), z_dim=3, rules=RULES, preview=300, average=0.0
)


FAST = dataclasses.replace(RULES, learning_rate=1.0)
VARIED = dataclasses.replace(SMALL, g_range=1.0, d_range=0.5, rules=FAST)
"""Its samples differ, from code to code and from update to update."""
KINDS = {
    "plain": VARIED,
    "averaged": dataclasses.replace(VARIED, average=0.99),
    "contrast": dataclasses.replace(VARIED, contrast=3.0, g_output="linear", output_bias="zero"),
}
SAMPLED = dataclasses.replace(VAE_MNIST, hidden=(9, 7), z_dim=2, batch_size=10, preview=30)
"""Its record keeps samples."""


class Killed(BaseException):
    """Nobody catches it, as nobody catches a kill -9."""


@pytest.fixture
def few_samples(monkeypatch) -> None:
    """So that an evaluation, and its check by brute force, takes no time."""
    monkeypatch.setattr(parzen, "N_SAMPLES", 300)


def record_of(run: runs.Run) -> dict[str, Any]:
    """The record as it lies in the folder."""
    return json.loads((run.folder / "run.json").read_text(encoding="utf-8"))


def by_definition(samples: torch.Tensor, x: np.ndarray, sigma: float) -> np.ndarray:
    """Section 5's log-likelihood of each x, by SciPy."""
    (n, d), squares = samples.shape, cdist(x, samples.double().numpy(), "sqeuclidean")
    return logsumexp(-squares / (2 * sigma**2), axis=1) - np.log(n) - d * np.log(sigma * np.sqrt(2 * np.pi))


def as_seen(images: torch.Tensor, contrast: float) -> np.ndarray:
    """Images as a recipe's nets are to see them, in float64."""
    x = images.double().numpy()
    if not contrast:
        return x
    centred = x - x.mean(1, keepdims=True)
    return contrast * centred / np.linalg.norm(centred, axis=1, keepdims=True)


def sigmas_of(contrast: float) -> dict[str, np.ndarray]:
    """The authors' grid, and the finer one for images of that contrast."""
    fine = np.arange(50, 110, 3) if contrast else np.arange(10, 30)
    return {"original": np.logspace(-1, 0, 10), "fine": fine / 100}


def shown(run: runs.Run, n: int) -> np.ndarray:
    """The first n images of samples.png, of 4 x 4 pixels, as rows in [0, 1]."""
    grid = np.asarray(Image.open(run.folder / "samples.png").convert("L")) / 255
    corners = [(6 * (i // 10) + 2, 6 * (i % 10) + 2) for i in range(n)]
    return np.stack([grid[top : top + 4, left : left + 4].ravel() for top, left in corners])


def to_look_at(samples: torch.Tensor, kind: str) -> np.ndarray:
    """Samples in [0, 1]; those of normalised contrast around grey, 1 as a quarter of the range."""
    x = samples.double().numpy()
    return np.clip(0.5 + x / 4, 0, 1) if kind == "contrast" else x


def set_clock(patch: pytest.MonkeyPatch, steps: Iterator[float], interrupt: int = 0) -> None:
    """A clock that goes on by these steps, look by look; at the look of that number comes a Ctrl-C."""
    times, looks = itertools.accumulate(steps), itertools.count(1)

    def monotonic() -> float:
        if next(looks) == interrupt:
            signal.raise_signal(signal.SIGINT)
        return next(times)

    patch.setattr(time, "monotonic", monotonic)


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
    assert record["data"]["sha256"] == datasets.load(images).sha256
    assert [record["data"][part] for part in ("train", "valid", "test")] == [200, 30, 40]
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
    assert [leg["from_update"] for leg in record_of(parts)["legs"]] == [0, 20]


@pytest.mark.parametrize("seeds", [(0,), (1,), (2,), (3,), (4,), (5, 6)])
def test_neither_stops_nor_the_clock_leave_a_trace(tmp_path, images, few_samples, monkeypatch, seeds):
    # A device is asked for more updates at once while it answers quickly, and its reports are added up.
    rng = np.random.default_rng(seeds)
    found = []
    for name, steps, interrupts in (
        ("quick", itertools.repeat(0.0), [0]),
        ("slow", itertools.repeat(1.0), [0]),
        ("stopped", (float(step) for step in iter(lambda: rng.choice([0.0, 1.0]), None)), [4, 9, 15, 12, 0]),
    ):
        folders = {seed: tmp_path / f"{name}-{seed}" for seed in seeds}
        for interrupt in interrupts:
            with monkeypatch.context() as patch:
                set_clock(patch, steps, interrupt)
                with pytest.raises(KeyboardInterrupt) if interrupt else nullcontext():
                    runs.train_seeds(SMALL, folders, epochs=3, data=images)
        ended = [runs.Run(folder) for folder in folders.values()]
        assert not any("epoch_so_far" in record_of(run) for run in ended)
        assert {len(record_of(run)["legs"]) for run in ended} == {len(interrupts)}
        rows = [{key: x for key, x in row.items() if key != "seconds"} for run in ended for row in run.rows()]
        found.append((rows, torch.stack([everything(run) for run in ended])))
    for rows, state in found[1:]:
        assert rows == found[0][0] and torch.equal(state, found[0][1])
    assert len(found[0][0]) == 3 * len(seeds)


@pytest.mark.parametrize("kind", KINDS)
def test_the_history_is_of_the_game_and_of_1000_validation_images(tmp_path, levels, few_samples, kind):
    recipe, data = KINDS[kind], datasets.load(levels)
    run = runs.train(recipe, tmp_path / "run", epochs=1, seed=7, data=levels)
    valid = as_seen(data.valid[:1000], recipe.contrast)
    for weights in recipe.weights:
        samples, prefix = run.samples(300, 2014, weights), "" if weights == "last" else f"{weights}_"
        for grid, sigmas in sigmas_of(recipe.contrast).items():
            means = [by_definition(samples, valid, sigma).mean() for sigma in sigmas]
            told = {kind: run.history[f"{prefix}{kind}_{grid}"][0] for kind in ("valid", "sigma")}
            assert told["valid"] == pytest.approx(max(means), abs=2e-3)
            assert told["sigma"] == pytest.approx(sigmas[np.argmax(means)], abs=1e-4)
    np.testing.assert_allclose(shown(run, 100), to_look_at(run.samples(300)[:100], kind), atol=0.51 / 255)
    train = torch.from_numpy(as_seen(data.train, recipe.contrast)).float()
    game = recipe.start(datasets.of(train), 7).game
    told = [game.play(train, 1) for _ in range(20)]
    for key in ("value", "g_cost", "d_real", "d_fake"):
        assert run.history[key][0] == pytest.approx(np.mean([means[key] for means in told]), rel=1e-4)


SCRIPT = """
import itertools, sys, time
from pathlib import Path
sys.path.insert(0, str(Path({tests!r})))
from test_runs import SMALL
from gansrc import parzen, runs
parzen.N_SAMPLES = 300
time.monotonic = itertools.count(0, 30).__next__  # a fast clock: a checkpoint every epoch or two
try:
    runs.train(SMALL, Path({out!r}), epochs=300, data={data!r})
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_resumes_to_the_same_end(tmp_path, images, few_samples, how):
    out = tmp_path / "run"
    script = SCRIPT.format(tests=str(Path(__file__).parent), out=str(out), data=images)
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    while not (out / "run.json").exists() and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, how)
    _, said = process.communicate(timeout=60)
    stopped = runs.Run(out)
    updates = record_of(stopped)["updates"]
    assert 0 < updates < 6000
    if how != signal.SIGKILL:
        assert process.returncode == 130 and "the same command goes on from there" in said
    epochs = updates // 20 + 2
    resumed = runs.train(SMALL, out, epochs=epochs, data=images)
    whole = runs.train(SMALL, tmp_path / "whole", epochs=epochs, data=images)
    assert torch.equal(everything(resumed), everything(whole))
    assert resumed.history["epoch"].tolist() == list(range(1, epochs + 1))
    assert len(list(out.glob("checkpoint-*"))) == 1


def test_the_first_signal_counts_and_those_who_heard_them_before_do_so_again():
    numbers = [getattr(signal, name) for name in signals.NAMES if hasattr(signal, name)]
    before = list(map(signal.getsignal, numbers))
    with signals.stop_requested() as stop:
        assert stop() == 0
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert stop() == signal.SIGTERM
    assert list(map(signal.getsignal, numbers)) == before


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped here")
def test_a_pause_is_no_time_of_training(tmp_path, images, monkeypatch):
    monkeypatch.setattr(signals, "TICK", 0.05)
    monkeypatch.setattr(signals, "LEAST_PAUSE", 1.0)
    step, pid, rows, paused = progress.Progress.step, os.getpid(), list[float](), list[int]()

    def pause_once(self: progress.Progress, n: int, means: Any, row: Any, now: float) -> None:
        step(self, n, means, row, now)
        rows.extend([now] if row else [])
        if self.updates > 30 and not paused:
            paused.append(self.updates)
            with subprocess.Popen(["sh", "-c", f"sleep 2; kill -CONT {pid}"]):
                os.kill(pid, signal.SIGSTOP)

    monkeypatch.setattr(progress.Progress, "step", pause_once)
    run = runs.train(SMALL, tmp_path / "run", epochs=4, data=images)
    told = run.history["seconds"][-1] - run.history["seconds"][0]
    assert paused and 0 < told < rows[-1] - rows[0] - 1.5
    assert run.record.seconds >= run.history["seconds"][-1]


def test_seeds_trained_at_once_have_the_records_they_would_have_alone(tmp_path, images):
    folders = {seed: tmp_path / f"together-seed-{seed}" for seed in (3, 4, 5)}
    together = runs.train_seeds(SMALL, folders, epochs=6, data=images)
    for seed, run in zip(folders, together, strict=True):
        alone = runs.train(SMALL, tmp_path / f"alone-{seed}", epochs=6, seed=seed, data=images)
        assert (everything(run) - everything(alone)).abs().max() < 1e-5
        assert record_of(run)["seed"] == seed and record_of(run)["legs"][0]["together"] == 3
        for key in ("value", "g_cost", "d_real", "valid_original"):
            np.testing.assert_allclose(run.history[key], alone.history[key], atol=1e-3)
        assert (run.folder / "samples.png").read_bytes() == (alone.folder / "samples.png").read_bytes()
    assert (everything(together[0]) - everything(together[1])).abs().max() > 1e-2


def test_seeds_that_are_behind_are_brought_up_to_the_others(tmp_path, images):
    folders = {seed: tmp_path / f"run-seed-{seed}" for seed in (0, 1, 2)}
    runs.train(SMALL, folders[1], epochs=3, seed=1, data=images)
    runs.train(SMALL, folders[2], epochs=5, seed=2, data=images)
    before = record_of(runs.Run(folders[1]))
    (folders[1] / "run.json").write_text(json.dumps(before | {"seconds": 5000.0}))
    done = runs.train_seeds(SMALL, folders, epochs=5, data=images)
    assert [record_of(run)["epochs"] for run in done] == [5, 5, 5]
    assert record_of(done[0])["seconds"] < 1000 < 5000 <= record_of(done[1])["seconds"]
    assert [[leg["together"] for leg in record_of(run)["legs"]] for run in done] == [[1, 2], [1, 2], [1]]
    for seed, run in enumerate(done):
        alone = runs.train(SMALL, tmp_path / f"alone-{seed}", epochs=5, seed=seed, data=images)
        assert (everything(run) - everything(alone)).abs().max() < 1e-5
        assert run.history["epoch"].tolist() == [1, 2, 3, 4, 5]


def test_a_seed_that_stopped_within_an_epoch_is_met_there(tmp_path, images, monkeypatch):
    folders = {seed: tmp_path / f"run-seed-{seed}" for seed in (0, 1)}
    with monkeypatch.context() as patch:
        set_clock(patch, itertools.repeat(0.0), interrupt=9)
        with pytest.raises(KeyboardInterrupt):
            runs.train(SMALL, folders[1], epochs=4, seed=1, data=images)
    stopped = runs.Run(folders[1]).record
    assert 10 < stopped.updates < 20 and stopped.epochs == 0  # the first is not complete
    for seed, run in enumerate(runs.train_seeds(SMALL, folders, epochs=4, data=images)):
        alone = runs.train(SMALL, tmp_path / f"alone-{seed}", epochs=4, seed=seed, data=images)
        np.testing.assert_allclose(run.history["value"], alone.history["value"], atol=1e-5)
        assert (everything(run) - everything(alone)).abs().max() < 1e-5


def test_a_run_of_another_kind_of_device_goes_on_with_a_stream_of_its_own(tmp_path, images, monkeypatch):
    run = runs.train(SMALL, tmp_path / "run", epochs=1, data=images)
    state = run.state()
    elsewhere = state | {"rng": torch.zeros(16, dtype=torch.uint8)}  # as long as CUDA's
    monkeypatch.setattr(runs.Run, "state", lambda self: elsewhere)
    model = run.model(datasets.load(images))
    now = {key: tensor for part in model.state().values() for key, tensor in part.items()}
    assert all(torch.equal(now[key], state[key]) for key in state if key != "rng") and model.updates == 20
    assert not torch.equal(now["rng"], state["rng"])
    assert model.fit(datasets.load(images).train, 1)["value"] < 0


@pytest.mark.filterwarnings("ignore:best sigma")
def test_a_running_mean_of_the_generator_is_judged_beside_the_last_one(tmp_path, images, monkeypatch):
    monkeypatch.setattr(parzen, "N_SAMPLES", 300)
    fast = dataclasses.replace(RULES, learning_rate=0.5)
    averaging = dataclasses.replace(
        SMALL, name="averaging", g_range=0.5, d_range=0.5, rules=fast, average=0.9
    )
    run = runs.train(averaging, tmp_path / "run", epochs=5, data=images)
    plain = runs.train(dataclasses.replace(averaging, average=0.0), tmp_path / "plain", epochs=5, data=images)
    game = run.model(datasets.load(images)).game
    last, average = (run.sampler(weights).net for weights in ("last", "average"))
    assert torch.equal(torch.cat([p.flatten() for p in game.average]), flat(average))
    assert torch.equal(flat(last), flat(plain.sampler().net)) and not torch.equal(flat(last), flat(average))
    assert run.history["valid_original"][-1] == plain.history["valid_original"][-1]
    assert run.history["average_valid_original"][-1] != run.history["valid_original"][-1]
    assert "average_valid_original" not in plain.history
    result = runs.evaluate(run.folder)
    of_mean = parzen.score(
        TrainedGenerator(average, run.recipe.p_z()).samples(300, torch.Generator().manual_seed(2014)),
        datasets.load(images).valid[:1000], datasets.load(images).test,
    )  # fmt: skip
    assert result.average.original.mean == pytest.approx(of_mean.mean, abs=1e-3)
    scored = runs.Run(run.folder)
    assert scored.score(weights="average")[0] == pytest.approx(of_mean.mean, abs=1e-3)
    assert scored.score()[0] == pytest.approx(result.original.mean, abs=1e-3)
    resumed = runs.train(averaging, tmp_path / "run", epochs=7, data=images)
    assert resumed.record.earlier == (result,)
    whole = runs.train(averaging, tmp_path / "whole", epochs=7, data=images)
    assert torch.equal(everything(resumed), everything(whole))


def test_folders_that_are_not_ours_stay(tmp_path, images):
    out, foreign = tmp_path / "run", tmp_path / "run" / "checkpoint-500" / "model.safetensors"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("dear")
    with pytest.raises(ValueError, match="is not empty and holds no run: choose another --out"):
        runs.train(SMALL, out, epochs=1, data=images)
    foreign.parent.rename(tmp_path / "checkpoint-40")
    (out / "checkpoint-20").mkdir()  # as a kill may leave it
    (out / ".lock").touch()
    run = runs.train(SMALL, out, epochs=1, data=images)
    shutil.copytree(out / "checkpoint-20", out / "checkpoint-20-keep")
    (tmp_path / "checkpoint-40").rename(out / "checkpoint-40")
    with pytest.raises(ValueError, match="checkpoint-40 is none of this run's checkpoints: move it away"):
        runs.train(SMALL, out, epochs=2, data=images)
    assert torch.equal(everything(runs.Run(out)), everything(run))
    (out / "checkpoint-40").rename(out / "checkpoint-9000")
    assert record_of(runs.train(SMALL, out, epochs=2, data=images))["updates"] == 40
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


@pytest.mark.filterwarnings("ignore:best sigma")
def test_a_score_ends_with_the_training_it_was_of_and_is_remembered(tmp_path, images, few_samples):
    scores = []
    for epochs in (1, 2, 3):
        run = runs.train(SMALL, tmp_path / "run", epochs=epochs, data=images)
        with pytest.raises(ValueError, match="has no score: run gansrc evaluate"):
            run.score()
        assert run.record.earlier == tuple(scores)
        scores.append(runs.evaluate(run.folder))
        assert runs.Run(run.folder).score()
    assert [score.updates for score in scores] == [20, 40, 60]


@pytest.mark.filterwarnings("ignore:best sigma")
def test_images_that_are_kept_are_the_weights_own_and_scored_as_such(
    tmp_path, levels, few_samples, monkeypatch
):
    monkeypatch.setattr(mosaics, "SIDE", 2)  # four images a file
    run = runs.train(KINDS["averaged"], tmp_path / "run", epochs=1, data=levels)
    drawn = {weights: run.samples(300, weights=weights) for weights in run.recipe.weights}
    for n in (7, 3):
        result = runs.evaluate(run.folder, keep=n)
        for weights, scores in (("last", result), ("average", result.average)):
            rounded, sigma = (255 * drawn[weights]).round() / 255, scores.fine.sigma
            points = by_definition(rounded, datasets.load(levels).test.numpy(), sigma)
            assert scores.fine.mean == pytest.approx(points.mean(), abs=1e-2)
            kept = runs.Run(run.folder).samples(n, weights=weights)
            torch.testing.assert_close(kept, rounded[:n], atol=1e-6, rtol=0)
        record = runs.Run(run.folder).record
        named = [name for images in record.images().values() for name in images.sha256]
        assert sorted(named) == sorted(file.name for file in run.folder.glob("*.webp"))
        assert record.samples.n == record.average_samples.n == n and record.walk.n == 60
    assert torch.equal(runs.Run(run.folder).samples(3, seed=1), run.samples(3, seed=1))  # drawn, of that seed
    result = runs.evaluate(run.folder, keep=300)
    (run.folder / run.record.checkpoint.folder / "generator.safetensors").unlink()
    assert runs.evaluate(run.folder, keep=300) == result  # of the samples that are there


def test_a_leg_says_by_what_code_when_and_on_what_it_was_trained(tmp_path, monkeypatch):
    home = tmp_path / "gansrc"
    (home / "models").mkdir(parents=True)
    monkeypatch.setattr(sys.modules[provenance.__module__], "__file__", str(home / "runs" / "provenance.py"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 17)
    monkeypatch.setattr(os, "cpu_count", lambda: 23)
    sums = set()
    for name in ("__init__.py", "models/one.py", "models/two.txt"):
        (home / name).write_text("1")
        told = provenance(torch.device("cpu"))
        sums.add(told.source_sha256)
    assert len(sums) == 2 and (told.threads, told.cores) == (17, 23)  # a text is no code
    started = datetime.fromisoformat(told.started)
    assert started.tzinfo == UTC and abs(started - datetime.now(UTC)) < timedelta(minutes=1)


def test_only_devices_that_are_there_are_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert training.usable_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="device 'cuda:2' is not available here: use --device cpu"):
        training.usable_device("cuda:2")


def test_ctrl_c_stops_also_where_a_seed_has_just_met_the_others(tmp_path, images, monkeypatch):
    folders = {seed: tmp_path / f"run-seed-{seed}" for seed in (0, 1)}
    runs.train(SMALL, folders[1], epochs=1, seed=1, data=images)
    with monkeypatch.context() as patch:
        set_clock(patch, itertools.repeat(1.0), interrupt=40)  # within the last of 20 updates
        with pytest.raises(KeyboardInterrupt):
            runs.train_seeds(SMALL, folders, epochs=2, data=images)
    assert [record_of(runs.Run(folder))["updates"] for folder in folders.values()] == [20, 20]


def test_training_needs_no_git(tmp_path, images, monkeypatch):
    monkeypatch.setenv("PATH", "")
    run = runs.train(SMALL, tmp_path / "run", epochs=1, data=images)
    assert record_of(run)["legs"][0]["commit"] == ""


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
def test_a_kill_before_or_within_any_write_leaves_a_run_that_goes_on(
    tmp_path, images, few_samples, monkeypatch, seeds
):
    def survives(n: int) -> bool:  # killed at the nth file that is written; did it get that far?
        writes = iter(range(n))

        def replace(*arguments):
            if next(writes, None) is None:
                raise Killed
            return move(*arguments)

        move = os.replace
        folders = {seed: tmp_path / f"{n}-seed-{seed}" for seed in range(seeds)}
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            set_clock(patch, itertools.repeat(15.0))  # a checkpoint within each epoch, and one at the end
            try:
                runs.train_seeds(large_batches, folders, epochs=2, data=images)
            except Killed:
                pass
            else:
                return False
        for one, other in zip(
            runs.train_seeds(large_batches, folders, epochs=2, data=images), wholes, strict=True
        ):
            assert (everything(one) - everything(other)).abs().max() < (1e-5 if seeds > 1 else 1e-30)
            assert len(list(one.folder.glob("checkpoint-*"))) == 1
            np.testing.assert_allclose(one.history["value"], other.history["value"], atol=1e-5)
        return True

    large_batches = dataclasses.replace(SMALL, rules=dataclasses.replace(RULES, batch_size=25))
    folders = {seed: tmp_path / f"whole-seed-{seed}" for seed in range(seeds)}
    wholes = runs.train_seeds(large_batches, folders, epochs=2, data=images)
    survived = 0
    while survives(survived):
        survived += 1
    assert survived >= 10 * seeds


def test_a_run_killed_before_its_first_record_goes_on(tmp_path, images, few_samples, monkeypatch):
    def killed(*arguments):
        raise Killed

    out = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training, "write_together", killed)
        runs.train(SMALL, out, epochs=1, data=images)
    assert (out / "samples.png").exists() and not (out / "run.json").exists()
    resumed = runs.train(SMALL, out, epochs=1, data=images)
    assert torch.equal(
        everything(resumed), everything(runs.train(SMALL, tmp_path / "whole", epochs=1, data=images))
    )


def keeps_its_word(run: runs.Run) -> bool:
    """Whether all that the record speaks of is there and whole."""
    for images in run.record.images().values():
        assert {file: sha256((run.folder / file).read_bytes()).hexdigest() for file in images.sha256} == (
            images.sha256
        )
    if run.record.evaluation:
        for grid in ("original", "fine"):
            assert run.score(grid)[0] == pytest.approx(getattr(run.record.evaluation, grid).mean, rel=1e-6)
    return run.record.evaluation is not None


@pytest.mark.filterwarnings("ignore:best sigma")  # noise images: the grid is for real ones
@pytest.mark.parametrize("keep", [None, 7])
def test_a_kill_while_a_run_is_scored_anew_leaves_a_record_that_keeps_its_word(
    tmp_path, images, few_samples, monkeypatch, keep
):
    def survives(n: int) -> bool:  # killed at the nth file that is put in its place; did it get that far?
        def replace(*arguments):
            if next(moves, None) is None:
                raise Killed
            return move(*arguments)

        moves, move, folder = iter(range(n)), os.replace, tmp_path / str(n)
        shutil.copytree(tmp_path / "run", folder)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            try:
                runs.evaluate(folder, keep=20)
            except Killed:
                found.append(keeps_its_word(runs.Run(folder)))
            else:
                return False
        assert runs.evaluate(folder, keep=20) == whole.record.evaluation and keeps_its_word(runs.Run(folder))
        assert torch.equal(runs.Run(folder).samples(20), whole.samples(20))
        return True

    runs.train(VARIED, tmp_path / "run", epochs=1, data=images)
    shutil.copytree(tmp_path / "run", tmp_path / "whole")
    runs.evaluate(tmp_path / "whole", keep=20)
    whole, found, killed = runs.Run(tmp_path / "whole"), list[bool](), itertools.count()
    runs.evaluate(tmp_path / "run", keep=keep)
    before = runs.Run(tmp_path / "run").record
    assert (before.evaluation == whole.record.evaluation) == (keep is not None)  # whose samples are rounded
    while survives(next(killed)):
        pass
    assert len(found) >= 4 and found[0]


@contextmanager
def room_for(n: int) -> Iterator[None]:
    """Within the block no file comes to more than n bytes: the next write is refused, as by a full disk."""
    resource = pytest.importorskip("resource")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@pytest.mark.filterwarnings("ignore:best sigma")
@pytest.mark.parametrize(
    ("before", "keep", "room", "file"),
    [
        (False, None, 500, "log_likelihood.npz"),
        (True, 300, 500, "run.json"),
        (True, 300, 4000, "samples-0.webp"),
    ],
)
def test_a_full_disk_tears_no_file_of_a_score_and_is_told_by_the_files_name(
    tmp_path, images, few_samples, before, keep, room, file
):
    run = runs.train(VARIED, tmp_path / "run", epochs=1, data=images)
    if before:
        runs.evaluate(run.folder, keep=3)
    with (
        room_for(room),
        pytest.raises(OSError, match="^cannot write [^\\n]*: mend that, and go on$") as raised,
    ):
        runs.evaluate(run.folder, keep=keep)
    assert str(run.folder / file) in str(raised.value)
    keeps_its_word(runs.Run(run.folder))
    assert not list(run.folder.glob("*.part"))


@pytest.mark.filterwarnings("ignore:best sigma")
def test_scores_delete_images_of_earlier_ones_and_nothing_of_the_users(
    tmp_path, images, few_samples, monkeypatch
):
    def kept() -> set[str]:
        return {file.name for file in run.folder.glob("*.webp")} - theirs

    monkeypatch.setattr(mosaics, "SIDE", 4)
    run, theirs = (
        runs.train(SAMPLED, tmp_path / "run", epochs=1, data=images),
        {"holiday.webp", "samples-77.webp"},
    )
    for name in theirs:
        (run.folder / name).write_bytes(b"the sea")
    runs.evaluate(run.folder)
    assert kept() == {f"samples-{number}.webp" for number in range(19)}
    runs.evaluate(run.folder, keep=20)
    assert kept() == {"samples-0.webp", "samples-1.webp"} and runs.Run(run.folder).samples(20).shape == (
        20,
        16,
    )
    runs.train(SAMPLED, run.folder, epochs=2, data=images)
    assert kept() == set()
    runs.evaluate(run.folder, keep=5)
    assert kept() == {"samples-0.webp"}
    assert {(run.folder / name).read_bytes() for name in theirs} == {b"the sea"}


def test_the_commit_is_of_the_repository_that_the_code_is_a_part_of(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        names = ("-c", "user.name=A", "-c", "user.email=a@b")
        command = ["git", "-C", str(tmp_path), *names, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    installed = tmp_path / "env" / "gansrc"
    shutil.copytree(Path(gansrc.__file__).parent, installed, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "thesis.txt").write_text("years of work")
    git("init", "-q")
    git("add", "thesis.txt")
    git("commit", "-qm", "Theirs")
    file = installed / "runs" / "provenance.py"
    monkeypatch.setattr(sys.modules[provenance.__module__], "__file__", str(file))
    assert provenance(torch.device("cpu")).commit == ""
    git("add", ".")
    git("commit", "-qm", "Ours")
    assert provenance(torch.device("cpu")).commit == git("rev-parse", "HEAD") != ""


def test_a_record_of_before_a_rule_was_known_goes_on(tmp_path, images):
    plain = dataclasses.replace(SMALL, average=0.0)
    run = runs.train(plain, tmp_path / "run", epochs=1, data=images)
    record = json.loads((run.folder / "run.json").read_text())
    del record["recipe"]["model"], record["recipe"]["average"], record["recipe"]["rules"]["fresh_masks"]
    (run.folder / "run.json").write_text(json.dumps(record))
    assert record_of(runs.train(plain, tmp_path / "run", epochs=2, data=images))["epochs"] == 2
    record["recipe"]["rules"]["average"] = 0.9  # where it once stood
    (run.folder / "run.json").write_text(json.dumps(record))
    assert runs.Run(run.folder).recipe.average == 0.9


@pytest.mark.filterwarnings("ignore:best sigma")  # the fine grids are for real images
@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_is_the_parzen_estimate_of_the_runs_own_samples(tmp_path, levels, few_samples, kind):
    recipe, data = KINDS[kind], datasets.load(levels)
    run = runs.train(recipe, tmp_path / "run", epochs=1, data=levels)
    result, kept = runs.evaluate(run.folder), runs.Run(run.folder)
    assert kept.record.evaluation == result and (result.samples, result.seed) == (300, 2014)
    result = record_of(run)["evaluation"]
    samples = kept.samples(300, seed=2014)
    valid, test = as_seen(data.valid[:1000], recipe.contrast), as_seen(data.test, recipe.contrast)
    assert kept.score() == kept.score("original") != kept.score("fine")
    for grid, sigmas in sigmas_of(recipe.contrast).items():
        best = max(sigmas, key=lambda sigma: by_definition(samples, valid, sigma).mean())
        points = by_definition(samples, test, best)
        assert result[grid]["sigma"] == pytest.approx(best)
        expected = points.mean(), points.std() / np.sqrt(40)
        assert (result[grid]["mean"], result[grid]["standard_error"]) == pytest.approx(expected, rel=1e-4)
        assert kept.score(grid) == pytest.approx(expected, rel=1e-4)
        np.testing.assert_allclose(kept.log_likelihood[grid], points, rtol=1e-4, atol=1e-3)


@pytest.mark.filterwarnings("ignore:best sigma")  # noise images: the grid is for real ones
def test_anybodys_samples_are_scored_as_they_are_by_1000_validation_images(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    pattern = 0.5 * rng.random((28, 28))  # no mirror image of itself
    samples, valid, test = (
        np.clip(pattern + 0.25 + spread * rng.standard_normal((n, 28, 28)), 0, 1).astype(np.float32)
        for n, spread in ((12, 0.05), (1200, 0.2), (15, 0.1))
    )
    valid[1000:] = rng.random((200, 28, 28)) > 0.5
    parts = [torch.from_numpy(x).flatten(1) for x in (samples, valid, test)]
    ours = datasets.Dataset("mnist", "ours", *parts, (28, 28), True, "mnist")
    monkeypatch.setattr(datasets, "mnist", lambda: ours)
    np.save(tmp_path / "theirs.npy", samples)
    result = runs.evaluate_samples(tmp_path / "theirs.npy")
    for grid, sigmas in sigmas_of(0.0).items():
        scores = [by_definition(parts[0], parts[1][:1000].numpy(), sigma).mean() for sigma in sigmas]
        best = sigmas[np.argmax(scores)]
        points = by_definition(parts[0], parts[2].numpy(), best)
        score = getattr(result, grid)
        assert score.sigma == pytest.approx(best) and score.mean == pytest.approx(points.mean(), abs=1e-2)
    assert result.samples == 12


def test_a_run_is_not_scored_on_other_data_than_it_was_trained_on(tmp_path, images):
    run = runs.train(SMALL, tmp_path / "run", epochs=1, data=images)
    np.savez(images, x_train=np.random.default_rng(1).random((200, 4, 4)))
    with pytest.raises(ValueError, match=r"was trained on .*images\.npz, found .*images\.npz: give --data"):
        runs.evaluate(run.folder)
    assert "evaluation" not in record_of(run)


@pytest.mark.parametrize("kind", ["plain", "averaged"])
def test_an_altered_generator_draws_nothing(tmp_path, images, kind):
    run = runs.train(KINDS[kind], tmp_path / "run", epochs=1, data=images)
    name = "average.safetensors" if kind == "averaged" else "generator.safetensors"
    file = run.folder / record_of(run)["checkpoint"]["folder"] / name
    content = bytearray(file.read_bytes())
    content[-2] ^= 1  # of a weight
    file.write_bytes(content)
    weights = "average" if kind == "averaged" else "last"
    draws = [lambda: run.sampler(weights), lambda: run.samples(3, weights=weights)]
    for draw in (*draws, lambda: runs.evaluate(run.folder)):
        with pytest.raises(ValueError, match=f"{name} is corrupt .*: restore it, or train anew"):
            draw()


def test_a_walk_goes_in_even_steps_along_straight_lines_between_codes():
    noise = Uniform(torch.ones(3), 2 * torch.ones(3))
    codes = walk(nn.Identity(), noise).double().numpy()  # what a net that changes nothing draws
    assert codes.shape == (5, 12, 3) and codes.min() >= 1 and codes.max() <= 2
    step = (codes[:, -1] - codes[:, 0]) / 11
    np.testing.assert_allclose(np.diff(codes, axis=1), np.repeat(step[:, None], 11, axis=1), atol=1e-6)
    ends = codes[:, [0, -1]].reshape(10, 3)
    assert len(np.unique(ends)) == 30  # each a draw of its own
    run_again = walk(nn.Identity(), noise)
    np.testing.assert_array_equal(run_again, codes)


def test_bad_folders_and_options_change_nothing(tmp_path, images):
    out = tmp_path / "run"
    run = runs.train(SMALL, out, epochs=1, data=images)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match="run of small, seed 0, not of small, seed 1: choose another --out"):
        runs.train(SMALL, out, epochs=2, seed=1, data=images)
    with pytest.raises(ValueError, match="holds a run of small, .*not of mnist, .*choose another --out"):
        runs.train(recipes.MNIST, out, epochs=2, data=images)
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        runs.train(SMALL, out, epochs=0, data=images)
    other = tmp_path / "other.npz"
    np.savez(other, x_train=np.random.default_rng(1).random((200, 4, 4)))
    with pytest.raises(ValueError, match="was trained on other data .*images.npz.*choose another --out"):
        runs.train(SMALL, out, epochs=2, data=str(other))
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before

    file = out / record_of(run)["checkpoint"]["folder"] / "momentum.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="momentum.safetensors is corrupt .*restore it, or train anew"):
        runs.train(SMALL, out, epochs=2, data=images)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="momentum.safetensors is missing"):
        runs.train(SMALL, out, epochs=2, data=images)
    (out / "run.json").write_text("{")
    with pytest.raises(ValueError, match="run.json cannot be read"):
        runs.train(SMALL, out, epochs=2, data=images)
