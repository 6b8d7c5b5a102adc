"""Files of arrays from anywhere: read without running anything in them, or refused with the reason."""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np


class Unreadable(ValueError):
    """Why a file cannot be read, in a few words."""


def memory() -> float:
    """Bytes of memory that this machine has; infinite if it does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return math.inf


def npz(file: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an .npz, however it was packed: all or, of these names, those that it has. Raises
    Unreadable."""
    try:
        found = {}
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if names is None or name in names:
                    with archive.open(member) as stream:
                        found[name] = _array(stream, member.file_size)
        return found
    except Exception as error:  # of a zip's many methods, each has errors of its own
        raise Unreadable(_reason(error)) from error


def npy(file: Path) -> np.ndarray:
    """The array of an .npy. Raises Unreadable."""
    try:
        with file.open("rb") as stream:
            return _array(stream, os.fstat(stream.fileno()).st_size)
    except Exception as error:
        raise Unreadable(_reason(error)) from error


def _array(stream: Any, size: int) -> np.ndarray:
    """The array in an .npy of so many bytes, once its header has been found to speak of just as many."""
    layout = np.lib.format
    header = (
        layout.read_array_header_1_0 if layout.read_magic(stream)[0] == 1 else layout.read_array_header_2_0
    )
    shape, _, kind = header(stream)
    if kind.kind not in "biufSU":
        raise Unreadable(f"an array of {kind}, no plain numbers" if kind.kind != "O" else "Python objects")
    claimed, held = math.prod(shape) * kind.itemsize, size - stream.tell()
    if claimed != held or min(shape, default=0) < 0:
        raise Unreadable(f"its header speaks of {claimed:,} bytes, it has {held:,}")
    if claimed > memory():
        raise MemoryError(f"{claimed:,} bytes")
    stream.seek(0)
    return layout.read_array(stream, allow_pickle=False)


def idx(content: bytes) -> np.ndarray:
    """The bytes of an idx file, MNIST's format, as an array of their shape. Raises Unreadable.

    A head of four bytes: two zeros, 8 for bytes, the number of axes; each axis's length in four more.
    """
    axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    if not 1 <= axes <= 3 or len(content) < 4 + 4 * axes:
        raise Unreadable("no idx file of bytes")
    shape = struct.unpack_from(f">{axes}I", content, 4)
    pixels = np.frombuffer(content, np.uint8, offset=4 + 4 * axes).copy()  # what is read may be written to
    if math.prod(shape) != pixels.size:
        raise Unreadable(f"its head speaks of {math.prod(shape):,} bytes, it has {pixels.size:,}")
    return pixels.reshape(shape)


def mat(file: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of a MAT file, those of these names that it has. Raises Unreadable."""
    from scipy.io import loadmat

    try:
        content = loadmat(file, variable_names=[*names])
    except Exception as error:
        raise Unreadable(_reason(error)) from error
    for name in names:
        if not isinstance(content.get(name, np.zeros(0)), np.ndarray):
            raise Unreadable(f"{name} is {type(content[name]).__name__}, no array")
    return {name: content[name] for name in names if name in content}


def _reason(error: Exception) -> str:
    """An error of another library in one short line."""
    if isinstance(error, MemoryError):
        return f"more than the memory holds, {error}".removesuffix(", ")
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) < 100 else words[:97] + "..."
