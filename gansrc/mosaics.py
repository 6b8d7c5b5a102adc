"""Images as bytes, and as picture files: lossless ones in which a record keeps samples; a grid to look at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

SIDE = 50
"""A file holds a square of so many by so many images, or fewer."""
LARGEST = 16_383
"""Pixels that a WebP file may be high or wide."""
MOST = 2**26
"""Pixels of a file at most: a reader may take many more for an attack on its memory."""


def webp(images: UInt8[Tensor, "n d"], image_shape: Sequence[int]) -> Iterator[bytes]:
    """The contents of WebP files that hold images, each a row: 2,500 a file, of large ones fewer."""
    shape = _colour(image_shape)
    _, height, width = shape
    side = max(1, min(SIDE, LARGEST // max(height, width), math.isqrt(MOST // (height * width))))
    for part in images.split(side**2):
        picture = tiled(part.reshape(-1, *shape), side)
        content = BytesIO()
        Image.fromarray(picture.numpy()).save(content, "webp", lossless=True, quality=50, method=2)
        yield content.getvalue()


def read(file: Path, image_shape: Sequence[int]) -> UInt8[Tensor, "n d"]:
    """The images of a file as rows, with black ones that fill its last line."""
    channels, height, width = _colour(image_shape)
    with _of_any_size(), Image.open(file) as picture:
        pixels = torch.from_numpy(np.array(picture.convert("RGB")))[..., :channels]
    grid = pixels.unflatten(0, (-1, height)).unflatten(2, (-1, width))
    return grid.permute(0, 2, 4, 1, 3).reshape(-1, channels * height * width)


@contextmanager
def _of_any_size() -> Iterator[None]:
    """Within the block pictures may be large: those of a record are known by their checksums."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _colour(image_shape: Sequence[int]) -> tuple[int, int, int]:
    """(channels, height, width) of grey images (h, w) and of colour ones (3, h, w); of others one line, or
    as few as a file holds."""
    if not why_none(image_shape):
        channels, height, width = (1, *image_shape)[-3:]
        return channels, height, width
    size = math.prod(image_shape)
    lines = next(n for n in range(1, size + 1) if size % n == 0 and size // n <= LARGEST)
    return 1, lines, size // lines


def to_bytes(x: Float[Tensor, "n d"], low: float, high: float) -> UInt8[Tensor, "n d"]:
    """Numbers from `low` to `high` as bytes from 0 to 255, rounded."""
    return ((x.clamp(low, high) - low) * (255 / (high - low))).round().to(torch.uint8)


def from_bytes(x: UInt8[Tensor, "n d"], low: float, high: float) -> Float[Tensor, "n d"]:
    """Back from `to_bytes`, to half a 255th of the range."""
    return x.float() * ((high - low) / 255) + low


def why_none(image_shape: Sequence[int]) -> str:
    """Why rows of that shape are no pictures; empty for grey images (h, w) and colour ones (3, h, w)."""
    if len(image_shape) == 2 or len(image_shape) == 3 and image_shape[0] == 3:
        return ""
    return f"no picture, rows of shape {' x '.join(map(str, image_shape))} are none, grey or in colour"


def grid(images: Float[Tensor, "n d"], image_shape: tuple[int, ...]) -> bytes | None:
    """A PNG file of images in [0, 1], grey or colour, in 10 columns; None for other data."""
    if why_none(image_shape):
        return None
    pictures = to_bytes(images.cpu(), 0.0, 1.0).reshape(-1, *image_shape)
    pictures = pictures if len(image_shape) == 3 else pictures[:, None]
    content = BytesIO()
    Image.fromarray(tiled(pictures, 10, 2, 128.0).numpy()).save(content, "png")
    return content.getvalue()


def tiled(images: Tensor, columns: int, padding: int = 0, value: float = 0.0) -> Tensor:
    """Images (n, channels, h, w) row by row in a picture (height, width, 3), those of one channel grey.

    `padding` pixels of `value` between them and around, and in places that are left over: as
    `torchvision.utils.make_grid`, whose import takes longer than all of ours.
    """
    columns = min(columns, len(images))
    images = pad(images.expand(-1, 3, -1, -1), (padding, 0, padding, 0), value=value)
    left_over = -len(images) % columns
    images = pad(images, (0, 0, 0, 0, 0, 0, 0, left_over), value=value)
    rows = images.unflatten(0, (-1, columns)).permute(0, 3, 1, 4, 2)
    picture = rows.flatten(2, 3).flatten(0, 1)
    return pad(picture, (0, 0, 0, padding, 0, padding), value=value)
