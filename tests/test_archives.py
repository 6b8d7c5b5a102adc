"""Files of arrays from anywhere: however packed they are read, however damaged they are refused in a line."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import fuzz_readers
import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat
from scipy.sparse import csr_matrix

from gansrc import archives, datasets, yours

X = np.random.default_rng(0).integers(0, 256, (20, 6, 5), dtype=np.uint8)


def npy(array: np.ndarray = X, header: bytes | None = None) -> bytes:
    """The content of an .npy, with another header if one is given."""
    content = io.BytesIO()
    np.save(content, array)
    if header is None:
        return content.getvalue()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + array.tobytes()


def packed(content: bytes, method: int = zipfile.ZIP_STORED, name: str = "x_train.npy") -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as file:
        file.writestr(name, content)
    return archive.getvalue()


def with_method(number: int) -> bytes:
    """An archive whose headers speak of another compression method."""
    content = bytearray(packed(npy()))
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = content.index(mark) + at
        content[place : place + 2] = struct.pack("<H", number)
    return bytes(content)


def with_password() -> bytes:
    content = bytearray(packed(npy()))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + at] |= 1
    return bytes(content)


def cut_lzma() -> bytes:
    content = bytearray(packed(npy(), zipfile.ZIP_LZMA))
    content[60:100] = bytes(40)
    return bytes(content)


def claims(shape: str, kind: str = "|u1") -> bytes:
    return npy(header=f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode())


BAD = {
    "deflate64": with_method(9), "method 99": with_method(99), "method 12 that it is not": with_method(12),
    "password": with_password(), "lzma cut": cut_lzma(), "no zip": b"PK" + bytes(50), "empty": b"",
    "no array": packed(b"some words"), "nothing": packed(b""), "html": b"<!DOCTYPE html><html></html>",
    "1e15 rows": packed(claims("(1000000000000000, 6)")),
    "1e25 rows": packed(claims("(10000000000000000000000000,)")),
    "fewer rows": packed(claims("(3, 6, 5)")), "below zero": packed(claims("(-20, -6, 5)")),
    "8,000 minus signs": packed(npy(header=b"-" * 8000)), "9,000 brackets": packed(npy(header=b"(" * 9000)),
    "no header": packed(npy(header=b"{}")), "pickle": packed(npy(np.array([{}] * 3))),
    "bare pickle": packed(pickle.dumps([1])), "records": packed(npy(np.zeros(20, "u1,f4"))),
    "dates": packed(npy(np.zeros((20, 3), "M8[s]"))), "complex": packed(npy(np.zeros((20, 3), complex))),
}  # fmt: skip


@pytest.mark.parametrize("content", BAD.values(), ids=[name.replace(" ", "-") for name in BAD])
def test_a_bad_archive_is_told_in_one_line_with_its_name(tmp_path, content):
    file = tmp_path / "mine.npz"
    file.write_bytes(content)
    with pytest.raises(
        ValueError, match="mine.npz cannot be read as an .npz of plain arrays: save it anew"
    ) as told:
        datasets.load(str(file))
    assert "\n" not in str(told.value) and len(str(told.value)) < 350


@pytest.mark.parametrize("name", ["1e15 rows", "8,000 minus signs", "pickle", "records"])
def test_a_bad_array_alone_is_told_as_well(tmp_path, name):
    (tmp_path / "x.npy").write_bytes(zipfile.ZipFile(io.BytesIO(BAD[name])).read("x_train.npy"))
    with pytest.raises(archives.Unreadable):
        archives.npy(tmp_path / "x.npy")


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_repacked_by_another_program_it_is_the_same(tmp_path, method):
    (tmp_path / "mine.npz").write_bytes(packed(npy(), method))
    np.testing.assert_array_equal(archives.npz(tmp_path / "mine.npz")["x_train"], X)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read_in_either_order_and_byte_order(tmp_path, version):
    for array in (X, np.asfortranarray(X), X.astype(">f8"), X[:, :, 0] > 100, np.array(["é", "ab"])):
        with (tmp_path / "x.npy").open("wb") as file:
            np.lib.format.write_array(file, array, version)
        np.testing.assert_array_equal(archives.npy(tmp_path / "x.npy"), array)


def test_an_array_beyond_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "mine.npz").write_bytes(packed(npy()))
    monkeypatch.setattr(archives, "memory", lambda: X.nbytes - 1)
    with pytest.raises(ValueError, match="more than the memory holds, 600 bytes"):
        datasets.load(str(tmp_path / "mine.npz"))


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\x08", b"\0\0\x08\x01", b"\0\0\x0d\x01" + bytes(8),
     b"\0\0\x08\x03" + struct.pack(">III", 2, 2, 2),
     b"\0\0\x08\x01" + struct.pack(">I", 2**32 - 1) + bytes(9), b"\0\0\x08\xff" + bytes(2000), b"<html>" * 9],
)  # fmt: skip
def test_a_file_that_is_no_idx_is_refused(content):
    with pytest.raises(archives.Unreadable):
        archives.idx(content)


def test_an_idx_file_is_read_by_its_own_shape():
    content = b"\0\0\x08\x03" + struct.pack(">III", *X.shape) + X.tobytes()
    np.testing.assert_array_equal(archives.idx(content), X)


@pytest.mark.parametrize(
    "content", [b"MATLAB" + bytes(44), bytes(50), bytes(200), b"MATLAB 5.0" + b"\xff" * 300, "sparse"]
)
def test_a_mat_file_without_plain_arrays_is_told(tmp_path, monkeypatch, content):
    file = tmp_path / "TFD_48x48.mat"
    if content == "sparse":
        savemat(file, {"images": np.zeros((4, 48, 48), np.uint8), "folds": csr_matrix(np.eye(4, 5))})
    else:
        file.write_bytes(content)
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    with pytest.raises(
        ValueError, match="TFD_48x48.mat cannot be read as a MAT file with images and folds"
    ) as told:
        datasets.load("tfd")
    assert "\n" not in str(told.value)


def test_a_mat_file_that_is_cut_short_says_by_how_much(tmp_path):
    file = tmp_path / "x.mat"
    savemat(file, {"images": np.ones((50, 4))})
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(archives.Unreadable, match="it is cut short, 100 bytes are missing"):
        archives.mat(file, ("images",))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i2", "f4", "f8", ">f8", "u4", "i8"])
def test_a_mat_file_is_read_as_scipy_reads_it(tmp_path, kind, packed):
    rng, file = np.random.default_rng(0), tmp_path / "x.mat"
    given = {"images": rng.integers(0, 99, (5, 4, 3)), "folds": rng.integers(0, 4, (5, 1)), "note": "words"}
    savemat(
        file, {key: x if key == "note" else x.astype(kind) for key, x in given.items()}, do_compression=packed
    )
    found = archives.mat(file, ("images", "folds", "absent"))
    assert found.keys() == {"images", "folds"}
    for name, x in found.items():
        np.testing.assert_array_equal(x, loadmat(file)[name])
        assert x.dtype == np.dtype(kind).newbyteorder("=")


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((20, 1, 12, 12), (12, 12)), ((20, 12, 12, 1), (12, 12)), ((20, 3, 12, 10), (3, 12, 10)),
        ((20, 12, 10, 3), (3, 12, 10)), ((20, 1, 12, 1), (1, 12)), ((20, 12, 12, 4), (12, 12, 4)),
        ((20, 144), (144,)), ((20, 48, 64), (48, 64)), ((20, 1, 5, 9), (5, 9)),
    ],
)  # fmt: skip
def test_images_are_of_the_shape_that_one_would_see(tmp_path, shape, image):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", x_train=x, x_valid=x, x_test=x)
    data = datasets.load(str(tmp_path / "mine.npz"))
    assert data.image_shape == image
    colours_last = np.moveaxis(x, -1, 1) if shape[-1] == 3 else x
    np.testing.assert_allclose(data.train.numpy() * 255, colours_last.reshape(20, -1), atol=1e-4)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((20, 0, 6)), r"must have shape \(n, ...\) with n >= 10, got \(20, 0, 6\)"),
        (np.where(np.arange(60).reshape(20, 3) > 20, np.nan, 0), "infinity in 13 of 20 images, .* number 7"),
        (np.full((20, 3), np.inf), "got nan or infinity in 20 of 20 images, the first of them number 0"),
        (np.linspace(0, 255, 60).reshape(20, 3), "got values from 0.0 to 255.0: divide by 255"),
        (np.full((20, 3), 1.001), "got values from 1.001 to 1.001: rescale it"),
        (np.full((20, 3), 1 + 0j), "cannot be read"),
    ],
)  # fmt: skip
def test_numbers_that_are_no_pixels_are_told_with_where_they_stand(tmp_path, x, message):
    np.savez(tmp_path / "mine.npz", x_train=x)
    with pytest.raises(ValueError, match=message) as told:
        datasets.load(str(tmp_path / "mine.npz"))
    assert "mine.npz" in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("beyond", [1.0000001, 1 + 9e-6, -1e-7])
def test_what_lies_beyond_by_rounding_counts_as_the_end(beyond):
    x = yours.pixels(np.full((20, 3), beyond), "x")
    assert x.min() == x.max() == round(beyond)


def test_binary_images_are_black_and_white():
    assert yours.pixels(np.eye(12, dtype=bool), "x").sum() == 12


def test_photographs_stand_upright_whatever_their_ending(tmp_path, monkeypatch):
    page = (Path(__file__).parents[1] / "book" / "data.md").read_text(encoding="utf-8")
    recipe = next(part.split("```")[0] for part in page.split("```python")[1:] if "photos" in part)
    (tmp_path / "photos").mkdir()
    portrait = np.zeros((90, 60, 3), np.uint8)  # of its middle square the upper half is white
    portrait[15:45] = 255
    lying = Image.fromarray(np.rot90(portrait))  # as a telephone keeps it, with a word on how it was held
    held = Image.Exif()
    held[0x0112] = 6
    for name in ("a.jpg", "b.JPG", "c.jpeg"):
        lying.save(tmp_path / "photos" / name, "jpeg", exif=held, quality=95)
    Image.fromarray(portrait).save(tmp_path / "photos" / "d.png")
    (tmp_path / "photos" / "notes.txt").write_text("of the sea")
    monkeypatch.chdir(tmp_path)
    exec(recipe, {})
    images = np.load("mine.npz")["x_train"]
    assert images.shape == (4, 48, 48)
    assert (images[:, :20] > 200).all() and (images[:, 28:] < 55).all()


def test_no_damage_brings_a_reader_down(tmp_path):
    fuzz_readers.fuzz(tmp_path, seed=1, seconds=6.0)


def test_the_fuzzer_finds_a_reader_that_falls(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "idx", lambda content: content[-len(content) - 1])
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with pytest.raises(SystemExit):
        fuzz_readers.fuzz(tmp_path, seed=1, seconds=6.0)
