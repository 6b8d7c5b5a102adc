"""Data sets from the network: fetched whole, checked and then put in their place, or the reason why not."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, build_opener

import numpy as np
from filelock import FileLock

from gansrc import archives

TIMEOUT = 15.0
"""Seconds that a server may be silent."""
MNIST = {
    "train images": ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "test images": ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
    "train labels": ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
    "test labels": ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
}
"""Its files, with the MD5 of each."""
MNIST_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
LFW = "lfw_home/lfw-funneled.tgz"
LFW_URL = "https://ndownloader.figshare.com/files/5976015"
LFW_SHA256 = "b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a"
LFW_BOX = (69, 76, 181, 188)
"""The part of a picture that is taken, 112 x 112 pixels: left, top, right, bottom."""


def fetch(file: Path, urls: Sequence[str], checksum: str) -> None:
    """Have a file there that has this checksum, MD5 or SHA-256: as it is, or else from one of the addresses.

    What comes takes the place of what was there once it is whole and has been checked. Raises
    ConnectionError, with a reason for each host; then all is as before.
    """
    part, reasons = file.with_name(file.name + ".part"), []
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(part):
            if is_whole(file, checksum):
                return
            for url in urls:
                try:
                    _download(url, part)
                    if not is_whole(part, checksum):
                        raise OSError("what it sends is not the file, by its checksum")
                    os.replace(part, file)
                    return
                except (OSError, HTTPException, ValueError) as error:
                    cause = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
                    words = " ".join(str(cause).split()) or type(error).__name__
                    reasons.append(f"{urlsplit(url).hostname}: {words:.80}")
                finally:
                    part.unlink(missing_ok=True)
    except OSError as error:
        reasons.append(f"{file}: {error.strerror}")
    raise ConnectionError("; ".join(reasons))


def _download(url: str, part: Path) -> None:
    request = Request(url, headers={"User-Agent": "gansrc"})
    with build_opener().open(request, timeout=TIMEOUT) as answer, part.open("wb") as file:
        while block := answer.read(2**20):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Within the block no other process fetches the same file."""
    lock = FileLock(part.with_name(part.name + ".lock"))
    with suppress(NotImplementedError):  # a file system without locks
        lock.acquire()
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def is_whole(file: Path, checksum: str) -> bool:
    """Whether a file is there, and has this checksum: MD5 or, if it is longer, SHA-256."""
    if not file.is_file():
        return False
    with file.open("rb") as content:
        return (
            hashlib.file_digest(content, "md5" if len(checksum) == 32 else "sha256").hexdigest() == checksum
        )


def mnist(root: Path) -> dict[str, np.ndarray]:
    """The arrays of MNIST's four files in root/MNIST/raw, which are fetched there, and unpacked, if need be.

    Raises ConnectionError, or ValueError if a file is there and cannot be read.
    """
    folder, arrays = root / "MNIST" / "raw", {}
    for part, (name, md5) in MNIST.items():
        packed = folder / name
        plain = packed.with_suffix("")
        if not plain.exists():
            fetch(packed, [mirror + name for mirror in MNIST_MIRRORS], md5)
            unpacked = plain.with_name(plain.name + ".part")
            try:
                with _alone(unpacked):
                    try:
                        unpacked.write_bytes(gzip.decompress(packed.read_bytes()))
                        os.replace(unpacked, plain)
                    finally:
                        unpacked.unlink(missing_ok=True)
            except OSError as error:
                raise ConnectionError(f"{plain}: {error.strerror}") from error
        arrays[part] = archives.idx(plain.read_bytes())
    return arrays


def cifar10(root: Path) -> dict[str, np.ndarray]:
    """x_train and x_test, images (n, 32, 32, 3), from the archive that torchvision reads, fetched if need be.

    Raises ConnectionError, or ValueError if what lies in its folder cannot be read.
    """
    from torchvision.datasets import CIFAR10

    try:  # it looks at every file's checksum before it reads one
        parts = [CIFAR10(str(root), train=train).data for train in (True, False)]
    except RuntimeError:
        fetch(root / CIFAR10.filename, [CIFAR10.url], CIFAR10.tgz_md5)
        try:
            parts = [CIFAR10(str(root), train=train, download=True).data for train in (True, False)]
        except (RuntimeError, EOFError) as error:
            raise ValueError(" ".join(str(error).split())) from error
    return dict(zip(("x_train", "x_test"), parts, strict=True))


def lfw(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of Labeled Faces in the Wild, funneled: (n, 48, 48) grey, and whom each shows.

    Read from the archive root/lfw_home/lfw-funneled.tgz, which is fetched if need be, and checked. In
    scikit-learn's order, so that the same seed draws the same pictures. Raises ConnectionError.
    """
    fetch(root / LFW, [LFW_URL], LFW_SHA256)
    pictures = {}
    with tarfile.open(root / LFW, "r:gz") as archive:
        for member in archive:
            if match := re.fullmatch(r"(?:\./)?lfw_funneled/([^/]+)/([^/]+\.jpg)", member.name):
                content = archive.extractfile(member)
                if content:
                    pictures[match[1], match[2]] = _face(content.read())
    order = np.arange(len(pictures))
    np.random.RandomState(42).shuffle(order)  # noqa: NPY002, as scikit-learn does
    names = np.array([person.replace("_", " ") for person, _ in sorted(pictures)])
    return np.stack([pictures[key] for key in sorted(pictures)])[order], names[order]


def _face(content: bytes) -> np.ndarray:
    """The middle of a colour picture, grey, 48 x 48 bytes."""
    from PIL import Image

    with Image.open(BytesIO(content)) as picture:
        colours = np.asarray(picture.convert("RGB").crop(LFW_BOX).resize((48, 48)), np.float32) / 255
    return (colours.mean(2) * 255).round().astype(np.uint8)
