"""The experiments of section 5 beside MNIST, from the command line to the record: small nets, few updates."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import sem
from test_datasets import write_lfw
from test_networks import shrunken

from gansrc import catalogue, datasets, mosaics, parzen, runs
from gansrc.cli import main
from gansrc.gan import GANRecipe
from gansrc.recipes import CIFAR10_CONV, CIFAR10_FC, FACES, FACES_STAGE_2
from gansrc.runs import evaluation

pytestmark = pytest.mark.filterwarnings("ignore:best sigma")  # noise images: the grid is for real ones


def small(original: GANRecipe) -> GANRecipe:
    """Small nets and batches, and an epoch of 8 updates."""
    net = shrunken(original)
    if original.g_deconvolution:
        net = dataclasses.replace(net, g_hidden=(20, 200), g_deconvolution=(2, 5, 3))
    return dataclasses.replace(
        net, rules=dataclasses.replace(net.rules, batch_size=10, epoch_updates=8), rows_per_epoch=4
    )


@pytest.fixture
def at_home(tmp_path, monkeypatch) -> Path:
    """A data folder with small sets, small recipes, and records that keep samples even of small nets."""
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    write_lfw(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "colour.npz", x_train=pixels)
    everything = {r.name: small(r) for r in (FACES, FACES_STAGE_2, CIFAR10_FC, CIFAR10_CONV)}
    monkeypatch.setattr(catalogue, "RECIPES", everything)
    monkeypatch.setattr(evaluation, "LARGEST_FILE", 100)
    monkeypatch.setattr(parzen, "N_SAMPLES", 120)
    return tmp_path


def train(home: Path, name: str, *more: str, epochs: int = 1) -> runs.Run:
    out = home / "runs" / name
    assert main(["train", name, "--out", str(out), "--epochs", str(epochs), *more]) == 0
    return runs.Run(out)


def colour(home: Path) -> list[str]:
    return ["--data", str(home / "colour.npz")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["faces", "cifar10-fc", "cifar10-conv"])
def test_an_experiment_runs_resumes_and_leaves_samples_in_place_of_the_generator(at_home, name, capsys):
    data = [] if name == "faces" else colour(at_home)
    run = train(at_home, name, *data)
    assert (run.record.updates, run.record.epochs) == (8, 1)
    assert run.history["updates"].tolist() == [2, 4, 6, 8]
    assert run.history["epoch"].tolist() == [0.25, 0.5, 0.75, 1]
    run = train(at_home, name, *data, epochs=2)
    assert np.isfinite(run.history["valid_fine"]).tolist() == [True, *[False] * 3, True, *[False] * 3]

    drawn, path = run.samples(120), run.walk()  # of the generator
    assert main(["evaluate", str(run.folder)]) == 0
    assert "test log-likelihood, fine sigma grid" in capsys.readouterr().out
    shutil.rmtree(run.folder / run.record.checkpoint.folder)
    kept = runs.Run(run.folder)
    low, high = kept.record.samples.range
    assert (low, high) == ((0, 1) if name == "faces" else (drawn.min(), drawn.max()))
    step = (high - low) / 255
    assert (kept.samples(120) - drawn).abs().max() <= 0.5001 * step
    assert torch.equal(kept.samples(50), kept.samples(120)[:50])
    inside = (path >= low) & (path <= high)
    assert kept.walk().shape == path.shape and ((kept.walk() - path).abs() <= 0.5001 * step)[inside].all()
    assert main(["sample", str(run.folder)]) == 2
    said = capsys.readouterr().err.strip()
    assert "keeps 120 samples of seed 2014, not 10000 of seed 0" in said and "\n" not in said


def test_a_record_may_keep_a_few_samples_and_the_score_of_all(at_home, capsys):
    run = train(at_home, "faces")
    everything = runs.evaluate(run.folder)
    assert main(["evaluate", str(run.folder), "--keep", "7"]) == 0
    kept = runs.Run(run.folder)
    assert kept.record.evaluation == everything
    assert kept.samples(7).shape == (7, 2304)
    assert sorted(file.name for file in run.folder.glob("*.webp")) == [
        "average-samples-0.webp",
        "samples-0.webp",
        "walk-0.webp",
    ]
    assert kept.samples(8).shape == (8, 2304)  # the generator is there
    shutil.rmtree(run.folder / run.record.checkpoint.folder)
    with pytest.raises(ValueError, match="keeps 7 samples of seed 2014, not 8"):
        kept.samples(8)
    assert main(["evaluate", str(run.folder), "--keep", "0"]) == 2
    assert "--keep must be at least 1, got 0" in capsys.readouterr().err


def test_E2_scores_are_means_over_folds_with_a_sigma_each(at_home):
    run = train(at_home, "faces")
    result = runs.evaluate(run.folder).original
    samples, means = runs.Run(run.folder).samples(120).double().numpy(), []
    for number, (valid, test) in enumerate(datasets.lfw().folds):

        def values(x: torch.Tensor, sigma: float) -> np.ndarray:
            exponent = -cdist(x.double().numpy(), samples, "sqeuclidean") / (2 * sigma**2)
            return logsumexp(exponent, axis=1) - np.log(120) - 2304 * np.log(sigma * np.sqrt(2 * np.pi))

        sigma = max(np.logspace(-1, 0, 10), key=lambda sigma: values(valid, sigma).mean())  # noqa: B023
        assert result.sigma[number] == pytest.approx(sigma)
        points = values(test, sigma)
        kept = runs.Run(run.folder).log_likelihood[f"original-{number + 1}"]
        np.testing.assert_allclose(kept, points, rtol=1e-4, atol=0.02)
        means.append(points.mean())
    assert result.mean == pytest.approx(np.mean(means), abs=0.02)
    assert result.standard_error == pytest.approx(np.std(means, ddof=1) / np.sqrt(5), rel=1e-3)
    assert runs.Run(run.folder).score() == pytest.approx((np.mean(means), sem(means)), rel=1e-3)


def test_E3_scores_are_taken_in_the_normalised_space(at_home):
    run = train(at_home, "cifar10-fc", *colour(at_home))
    result = runs.evaluate(run.folder).fine
    data = datasets.load(str(at_home / "colour.npz"))
    samples = runs.Run(run.folder).samples(120).double().numpy()
    x = data.test.double().numpy()
    x = x - x.mean(1, keepdims=True)
    x *= 55 / np.linalg.norm(x, axis=1, keepdims=True)
    sigma = result.sigma
    exponent = -cdist(x, samples, "sqeuclidean") / (2 * sigma**2)
    points = logsumexp(exponent, axis=1) - np.log(120) - 3072 * np.log(sigma * np.sqrt(2 * np.pi))
    assert result.mean == pytest.approx(points.mean(), rel=1e-5)
    assert sigma in parzen.CONTRAST_SIGMAS


@pytest.mark.slow
def test_E2_the_second_stage_starts_from_a_run_of_the_first(at_home, capsys, monkeypatch):
    first = train(at_home, "faces")
    second = train(at_home, "faces-stage-2", "--pretrained", str(first.folder))
    assert second.record.pretrained.updates == 8
    assert second.record.pretrained.checkpoint == first.record.checkpoint
    assert second.history["learning_rate"][0] > first.history["learning_rate"][-1]  # schedules start afresh
    shutil.rmtree(first.folder)
    assert train(at_home, "faces-stage-2", epochs=2).record.updates == 16  # goes on by itself
    capsys.readouterr()

    narrow = dataclasses.replace(small(FACES), name="faces-narrow", g_hidden=(20, 7))
    monkeypatch.setitem(catalogue.RECIPES, "faces-narrow", narrow)
    narrow = train(at_home, "faces-narrow")
    elsewhere = train(at_home, "faces", *colour(at_home))
    other = train(at_home, "cifar10-fc", *colour(at_home))
    for more, message in (
        ([], "faces-stage-2 starts from a trained run of faces: give --pretrained DIR"),
        (
            ["--pretrained", str(other.folder)],
            "is a run of cifar10-fc on .*: give --pretrained a run of",
        ),
        (
            ["--pretrained", str(elsewhere.folder)],
            "is a run of faces on .*colour.npz: give --pretrained a run of faces on Labeled Faces",
        ),
        (
            ["--pretrained", str(narrow.folder)],
            "has a generator of 6 -> 20 -> 7 units, faces-stage-2 needs 6 -> 20 -> 8",
        ),
        (["--pretrained", str(at_home / "none")], "none holds no run.json: give the folder of a run"),
    ):
        code = main(["train", "faces-stage-2", "--out", str(at_home / "new"), *more])
        said = capsys.readouterr().err.strip().splitlines()[-1:]
        assert code == 2 and re.search(message, said[0]), said
    assert main(["train", "faces", "--out", str(at_home / "new"), "--pretrained", str(other.folder)]) == 2
    assert "recipe 'faces' starts from nothing: leave --pretrained" in capsys.readouterr().err


def written(contents: Iterable[bytes], folder: Path) -> list[Path]:
    files = []
    for number, content in enumerate(contents):
        files.append(folder / f"{number}.webp")
        files[-1].write_bytes(content)
    return files


@pytest.mark.parametrize("shape", [(12, 12, 1), (4, 5, 2), (30,), (1, 400)])
def test_images_of_any_shape_are_kept_as_they_are(tmp_path, shape, monkeypatch):
    images = torch.randint(0, 256, (90, int(np.prod(shape))), dtype=torch.uint8)
    monkeypatch.setattr(mosaics, "LARGEST", 2400)
    files = written(mosaics.webp(images, shape), tmp_path)
    assert torch.equal(torch.cat([mosaics.read(file, shape) for file in files])[:90], images)
    assert len(files) == (3 if shape == (1, 400) else 1)


def test_your_own_images_grey_or_colour_train_faces(at_home, capsys):
    for name, shape in (("grey", (50, 12, 12)), ("rgb", (50, 12, 12, 3))):
        file = at_home / f"{name}.npz"
        np.savez(file, x_train=np.random.default_rng(0).random(shape))
        out = at_home / "runs" / name
        assert main(["train", "faces", "--out", str(out), "--data", str(file), "--epochs", "1"]) == 0
        assert main(["evaluate", str(out)]) == 0
        assert (out / "samples.png").exists()
    code = main(["train", "cifar10-conv", "--out", str(at_home / "x"), "--data", str(at_home / "grey.npz")])
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and "draws images of 32 x 32 pixels, grey or colour, got 12 x 12: resize them" in said


@pytest.mark.parametrize("shape", [(300, 48, 64), (300, 16, 64, 3), (300, 16, 64)])
def test_E4_a_convolution_of_images_that_are_not_square_is_refused_and_leaves_nothing(at_home, capsys, shape):
    file, out = at_home / "wide.npz", at_home / "runs" / "wide"
    np.savez(file, x_train=np.random.default_rng(0).random(shape, dtype=np.float32))
    before = sorted(at_home.rglob("*"))
    code = main(["train", "cifar10-conv", "--out", str(out), "--data", str(file), "--epochs", "1"])
    said = capsys.readouterr().err.strip()
    given = " x ".join(map(str, (3, *shape[1:3]) if len(shape) == 4 else shape[1:]))
    assert code == 2 and "\n" not in said
    assert said == f"gansrc: a convolution needs square images, grey or colour, got {given}: crop them"
    assert sorted(at_home.rglob("*")) == before


def test_a_game_that_diverges_is_told_and_its_last_checkpoint_stays(at_home, capsys, monkeypatch):
    run = train(at_home, "faces")
    before = {file: file.read_bytes() for file in run.folder.rglob("*.safetensors")}
    fast = dataclasses.replace(catalogue.RECIPES["faces"].rules, learning_rate=1e30)
    broken = dataclasses.replace(catalogue.RECIPES["faces"], rules=fast)
    monkeypatch.setattr(catalogue, "RECIPES", {"faces": broken})
    record = json.loads((run.folder / "run.json").read_text())
    record["recipe"]["rules"]["learning_rate"] = 1e30
    (run.folder / "run.json").write_text(json.dumps(record))
    assert main(["train", "faces", "--out", str(run.folder), "--epochs", "9"]) == 2
    *progress, said = capsys.readouterr().err.strip().splitlines()
    assert "the game diverged before update" in said and "the last checkpoint is of update 8" in said
    assert said.startswith("gansrc: ") and all(line.startswith("faces: epoch ") for line in progress)
    after = runs.Run(run.folder)
    assert after.record.updates == 8 and after.record.diverged > 8
    assert {file: file.read_bytes() for file in run.folder.rglob("*.safetensors")} == before


@pytest.mark.parametrize("shape", [(7, 5), (3, 7, 5)])
def test_mosaics_give_back_every_byte(tmp_path, shape):
    images = torch.randint(0, 256, (2600, int(np.prod(shape))), dtype=torch.uint8)
    files = written(mosaics.webp(images, shape), tmp_path)
    assert len(files) == 2
    read = torch.cat([mosaics.read(file, shape) for file in files])
    assert torch.equal(read[:2600], images)
    (few,) = written(mosaics.webp(images[:3], shape), tmp_path)
    assert torch.equal(mosaics.read(few, shape), images[:3])


def test_numbers_beyond_the_range_are_black_or_white():
    x = torch.tensor([[-9.0, -1.0, 0.0, 1.0, 2.0, 3.0, 40.0]])
    assert mosaics.to_bytes(x, -1.0, 2.0).tolist() == [[0, 0, 85, 170, 255, 255, 255]]


@pytest.mark.parametrize("shape", [(2, 3), (3, 2, 3)])
def test_a_grid_to_look_at_has_ten_columns(shape):
    images = np.random.default_rng(0).random((25, *shape), dtype=np.float32)
    file = BytesIO(mosaics.grid(torch.from_numpy(images).flatten(1), shape))
    drawn = np.asarray(Image.open(file)) / 255
    assert drawn.shape == (3 * 4 + 2, 10 * 5 + 2, 3)
    for i, image in enumerate(images):
        top, left = 4 * (i // 10) + 2, 5 * (i % 10) + 2
        tile = drawn[top : top + 2, left : left + 3].transpose(2, 0, 1)
        np.testing.assert_allclose(tile, np.broadcast_to(image, (3, 2, 3)), atol=0.51 / 255)


def test_a_damaged_mosaic_is_named(at_home):
    run = train(at_home, "faces")
    runs.evaluate(run.folder)
    (run.folder / "samples-0.webp").write_bytes(b"something else")
    with pytest.raises(ValueError, match="samples-0.webp is missing or corrupt: restore it, or train anew"):
        runs.Run(run.folder).samples(10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["faces", "cifar10-fc", "cifar10-conv"])
def test_an_experiment_on_cuda_goes_on_from_its_graph(at_home, name):
    data = [] if name == "faces" else colour(at_home)
    before = train(at_home, name, *data, "--device", "cuda", epochs=1).state()
    run = train(at_home, name, *data, "--device", "cuda", epochs=2)
    assert [leg.products for leg in run.record.legs] == ["TF32", "TF32"]
    assert np.isfinite(run.history["value"]).all() and len(run.history["value"]) == 8
    moved = {key.split(".")[0] for key, x in run.state().items() if not torch.equal(before[key], x)}
    assert moved >= {"generator", "discriminator"}
    assert main(["evaluate", str(run.folder)]) == 0
