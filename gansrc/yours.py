"""Your own data: arrays of an .npz file, checked, and taken apart where parts are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from gansrc import archives

ROUNDING = 1e-5
"""So far beyond 0 or 1 a number may lie by rounding alone; it counts as 0 or 1."""
PARTS = "train", "valid", "test"


def read(path: Path) -> tuple[dict[str, Float[Tensor, "n *shape"]], dict[str, Int64[Tensor, " n"]]]:
    """The images and, where there are any, the labels of an .npz, by part: "train", "valid", "test".

    `x_train` (n, ...), uint8, bool or in [0, 1]; if you like `x_valid` and `x_test`, and for every part that
    is there labels `y_train` (n,), whole numbers from 0. Colour images are (n, h, w, 3) or (n, 3, h, w):
    their rows go colour by colour; grey ones may be (n, h, w, 1) or (n, 1, h, w). Without the other two parts
    a fixed tenth of `x_train` each is set apart. Raises ValueError or FileNotFoundError.
    """
    if not path.is_file():
        told = f"{path} is no file" if path.exists() else f"no data file {path}"
        raise FileNotFoundError(f"{told}: give the path of an .npz that holds x_train")
    try:
        given = archives.npz(path, [f"{kind}_{part}" for kind in "xy" for part in PARTS])
    except archives.Unreadable as error:
        raise ValueError(
            f"{path} cannot be read as an .npz of plain arrays: save it anew with numpy.savez ({error})"
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
    if spare := [part for part in PARTS if f"y_{part}" in given and part not in images]:
        raise ValueError(f"{path} has y_{spare[0]}, but no x_{spare[0]}: give both, or neither")
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
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"{what} must be whole numbers from 0, got {y.dtype}: numpy.unique numbers kinds")
    if wrong := y[(y < 0) | (y >= n)].tolist():
        raise ValueError(f"{what} must go from 0, with fewer kinds than its {n} images, got {wrong[0]}")
    return torch.from_numpy(y.astype(np.int64))


def pixels(x: np.ndarray, what: str) -> Float[Tensor, "n *shape"]:
    """Images (n, ...) as float32 in [0, 1]: uint8 is divided by 255. ValueErrors call them `what`."""
    if x.ndim < 2 or len(x) < 10 or not x.size:
        raise ValueError(f"{what} must have shape (n, ...) with n >= 10, got {x.shape}")
    if x.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(x)).float() / 255
    if x.dtype == bool:
        return torch.from_numpy(x.astype(np.float32))
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"{what} must be uint8, or floats in [0, 1], got {x.dtype}: convert it")
    low, high = float(x.min()), float(x.max())
    if not np.isfinite([low, high]).all():
        bad = ~np.isfinite(x).reshape(len(x), -1).all(1)
        raise ValueError(
            f"{what} must lie in [0, 1], got nan or infinity in {bad.sum():,} of {len(x):,} images, the first"
            f" of them number {bad.argmax()}: leave them out"
        )
    if low < -ROUNDING or high > 1 + ROUNDING:
        cure = "divide by 255" if low >= 0 and 2 < high <= 255 else "rescale it"
        raise ValueError(f"{what} must lie in [0, 1], got values from {low} to {high}: {cure}")
    return torch.from_numpy(x.astype(np.float32)).clamp_(0, 1)


def upright(x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape_"]:
    """Colour images (n, h, w, 3) as (n, 3, h, w); grey ones with an axis of one colour as (n, h, w)."""
    if x.dim() == 4 and x.shape[-1] == 3:
        return x.movedim(-1, 1)
    if x.dim() == 4 and 1 in (x.shape[-1], x.shape[1]):
        return x.squeeze(-1 if x.shape[-1] == 1 else 1)
    return x
