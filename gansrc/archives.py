"""Files of arrays from anywhere: read without running anything in them, or refused with the reason."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
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
            if stream.read(2) == b"PK":
                raise Unreadable("it is an .npz, which holds several arrays")
            stream.seek(0)
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
    """The arrays of plain numbers in a MAT file of level 5, those of these names that it has.

    Read by ourselves: a damaged file can bring SciPy's reader down, and Python with it. Raises Unreadable.
    """
    try:
        content = file.read_bytes()
        order = {b"IM": "<", b"MI": ">"}[content[126:128]]
        found = dict(
            _matrix(part, order, names) for kind, part in _elements(content[128:], order) if kind == MATRIX
        )
    except Exception as error:
        raise Unreadable(_reason(error)) from error
    return {name: array for name, array in found.items() if array is not None}


MATRIX, COMPRESSED = 14, 15
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Of a MAT file: kinds of its elements, types in which numbers are stored, and those that they stand for."""


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """The kind and the content of the elements of a MAT file that stand one after the other, unpacked."""
    at = 0
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}2I", content, at)
        if kind >> 16:  # a small one, in the place of its size
            yield kind & 0xFFFF, content[at + 4 : at + 4 + (kind >> 16)]
            at += 8
            continue
        part = content[at + 8 : at + 8 + size]
        if len(part) < size:
            raise Unreadable(f"it is cut short, {size - len(part):,} bytes are missing")
        at += 8 + size
        if kind == COMPRESSED:
            yield from _elements(zlib.decompressobj().decompress(part, 2**32), order)
            continue
        yield kind, part
        at += -at % 8


def _matrix(content: bytes, order: str, names: Collection[str]) -> tuple[str, np.ndarray | None]:
    """The name of a matrix and, if it is asked for, its numbers."""
    (_, flags), (_, sizes), (_, letters), *values = _elements(content, order)
    name = letters.decode("latin1")
    if name not in names:
        return name, None
    kind, shape = flags[0 if order == "<" else 3], np.frombuffer(sizes, f"{order}i4")
    if kind not in CLASSES or not values or values[0][0] not in STORED:
        raise Unreadable(f"{name} is no array of plain numbers")
    numbers = np.frombuffer(values[0][1], order + STORED[values[0][0]])
    if shape.min() < 0 or math.prod(shape.tolist()) != numbers.size:
        raise Unreadable(f"{name} has {numbers.size:,} numbers, of shape {tuple(shape.tolist())}")
    return name, numbers.astype(CLASSES[kind]).reshape(shape, order="F")


def _reason(error: Exception) -> str:
    """An error of another library in one short line."""
    if isinstance(error, MemoryError):
        return f"more than the memory holds, {error}".removesuffix(", ")
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) < 100 else words[:97] + "..."
