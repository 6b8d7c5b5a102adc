"""Your own data: arrays of an .npz file, checked, and taken apart where parts are missing."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

UNREADABLE = (
    ValueError, TypeError, OSError, EOFError, SyntaxError, TokenError, zipfile.BadZipFile, zlib.error
)  # fmt: skip
"""What NumPy and SciPy raise for files that are none, or are damaged."""
PARTS = "train", "valid", "test"


def read(path: Path) -> tuple[dict[str, Float[Tensor, "n *shape"]], dict[str, Int64[Tensor, " n"]]]:
    """The images and, where there are any, the labels of an .npz, by part: "train", "valid", "test".

    `x_train` (n, ...), uint8 or in [0, 1]; if you like `x_valid` and `x_test`, and for every part that is
    there labels `y_train` (n,), whole numbers from 0. Colour images are (n, h, w, 3): their rows go colour by
    colour; grey ones may be (n, h, w, 1). Without the other two parts a fixed tenth of `x_train` each is set
    apart. Raises ValueError or FileNotFoundError.
    """
    if not path.exists():
        raise FileNotFoundError(f"no data file {path}: give the path of an .npz that holds x_train")
    try:
        with np.load(path, allow_pickle=False) as file:
            given = {
                key: file[key] for key in (f"{kind}_{part}" for kind in "xy" for part in PARTS) if key in file
            }
    except UNREADABLE as error:
        raise ValueError(
            f"{path} cannot be read as an .npz of plain arrays: save it anew with numpy.savez"
        ) from error
    if "x_train" not in given:
        raise ValueError(f"{path} holds no x_train: save your images under that name with numpy.savez")
    images = {
        part: pixels(given[f"x_{part}"], f"x_{part} of {path}") for part in PARTS if f"x_{part}" in given
    }
    if len({x.shape[1:] for x in images.values()}) > 1:
        shapes = ", ".join(f"x_{part} {tuple(x.shape)}" for part, x in images.items())
        raise ValueError(f"the arrays of {path} differ in shape: {shapes}; give images of one shape")
    labels = {
        part: kinds(given[f"y_{part}"], len(x), f"y_{part} of {path}")
        for part, x in images.items()
        if f"y_{part}" in given
    }
    if labels and labels.keys() != images.keys():
        lacking = min(images.keys() - labels.keys())
        raise ValueError(f"{path} has labels, but no y_{lacking}: give one for each image, or none")
    if len(images) < len(PARTS):
        order = torch.randperm(len(images["train"]), generator=torch.Generator().manual_seed(0))
        tenth = max(len(order) // 10, 1)
        for parts in filter(None, (images, labels)):
            rest = parts["train"][order]
            for part in PARTS[1:]:
                if part not in parts:
                    rest, parts[part] = rest[tenth:], rest[:tenth]
            parts["train"] = rest
    return images, labels


def kinds(y: np.ndarray, n: int, what: str) -> Int64[Tensor, " n"]:
    """Labels of n images, whole numbers from 0. ValueErrors call them `what`."""
    if y.shape != (n,):
        raise ValueError(f"{what} must have shape ({n},), a label for each image, got {y.shape}")
    if not np.issubdtype(y.dtype, np.integer) or not ((y >= 0) & (y < n)).all():
        raise ValueError(
            f"{what} must be whole numbers from 0, fewer kinds than images, got {y.dtype}: renumber"
        )
    return torch.from_numpy(y.astype(np.int64))


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
