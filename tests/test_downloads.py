"""Downloads through whatever answers: whole and checked, or a reason in a line, with nothing left behind."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gansrc import datasets, downloads

CONTENT = np.random.default_rng(0).bytes(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
PAGE = b"<!DOCTYPE html><html>Please log in</html>"


def answer(status: str, body: bytes, length: int | None = None) -> Callable[[socket.socket], None]:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return lambda client: client.sendall(head.encode() + body)


HOSTS = {
    "page": (answer("200 OK", PAGE), "is not the file, by its checksum"),
    "403": (answer("403 Forbidden", b""), "403|Forbidden"),
    "500": (answer("500 Oh", b""), "500|Oh"),
    "407": (answer("407 Proxy Authentication Required", b""), "407|Authentication"),
    "short": (answer("200 OK", CONTENT[:1000], len(CONTENT)), "checksum|IncompleteRead|more expected"),
    "empty": (answer("200 OK", b""), "checksum"),
    "ssh": (lambda client: client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), "SSH-2.0"),
    "silent": (lambda client: time.sleep(1.5), "timed out"),
    "closed": (lambda client: None, "closed|reset"),
    "loop": (
        lambda client: client.sendall(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
        "redirect|302|infinite",
    ),
}  # fmt: skip
"""What a host does, and the reason that is to be told."""


@contextmanager
def host(act: Callable[[socket.socket], None]) -> Iterator[str]:
    """A host that reads a request, does that and hangs up; its address."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                try:
                    client.recv(65536)
                    act(client)
                    client.shutdown(socket.SHUT_WR)
                except OSError:
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture(autouse=True)
def _impatient_and_without_a_proxy(monkeypatch) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT", 0.5)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def _a_stand_in_at_once(monkeypatch) -> None:
    """The true one takes seconds to be read."""
    x = torch.zeros(10, 784)
    data = datasets.Dataset("mnist", "a stand-in", x, x, x, (28, 28), False, "mnist")
    monkeypatch.setattr(datasets, "_mnist_stand_in", lambda: data)


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.parametrize("before", [None, b"3 MB of it, say"])
def test_a_host_that_does_not_send_the_file_leaves_all_as_it_was(tmp_path, kind, before):
    act, reason = HOSTS[kind]
    file = tmp_path / "sets" / "x.gz"
    if before:
        file.parent.mkdir()
        file.write_bytes(before)
    with host(act) as url, pytest.raises(ConnectionError, match=reason) as told:
        downloads.fetch(file, [url], MD5)
    assert str(told.value).startswith("127.0.0.1: ") and "\n" not in str(told.value)
    assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == (
        [before] if before else []
    )


def test_the_next_host_is_asked_and_every_reason_told(tmp_path):
    file, good = tmp_path / "x.gz", answer("200 OK", CONTENT)
    with host(HOSTS["page"][0]) as page, host(HOSTS["403"][0]) as refuses, host(good) as sends:
        with pytest.raises(ConnectionError, match="checksum; 127.0.0.1: "):
            downloads.fetch(file, [page, refuses], MD5)
        file.write_bytes(CONTENT[:3000])  # what a download of before has left
        downloads.fetch(file, [page, refuses, sends], MD5)
    assert file.read_bytes() == CONTENT and list(tmp_path.iterdir()) == [file]
    downloads.fetch(file, [], MD5)  # it is there, and nobody is asked
    downloads.fetch(file, [], hashlib.sha256(CONTENT).hexdigest())


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        ("http://proxy.example:port", "nonnumeric port"), ("http://127.0.0.1:99999999", ""),
        ("nonsense://", ""), ("http://127.0.0.1:1", "refused"), ("http://[::1", ""), ("http://a b:1", ""),
    ],
)  # fmt: skip
def test_a_proxy_that_is_wrong_is_told_and_the_stand_in_taken(tmp_path, monkeypatch, capsys, proxy, reason):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("https_proxy", proxy)
    data = datasets.mnist()
    said = capsys.readouterr().err
    assert (
        not data.complete and said.count("\n") == 1 and reason in said and "could not be downloaded (" in said
    )
    for name in ("faces", "cifar10"):
        assert datasets.at_hand(name) is None
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and reason in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", ["page", "ssh", "silent"])
def test_our_own_failed_download_does_not_bar_the_stand_in(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    with host(HOSTS[kind][0]) as url:
        monkeypatch.setattr(downloads, "MNIST_MIRRORS", (url,))
        for _ in range(2):
            assert not datasets.mnist().complete
            assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConnectionError, match="Permission denied"):
        downloads.fetch(tmp_path / "sets" / "x", ["http://127.0.0.1:1"], MD5)


def test_a_file_where_a_folder_should_be_is_told(tmp_path):
    (tmp_path / "sets").write_text("mine")
    with pytest.raises(ConnectionError, match="File exists|Not a directory|exists"):
        downloads.fetch(tmp_path / "sets" / "x", ["http://127.0.0.1:1"], MD5)
    assert (tmp_path / "sets").read_text() == "mine"


def test_two_at_once_fetch_it_once(tmp_path):
    asked = []

    def slow(client: socket.socket) -> None:
        asked.append(1)
        time.sleep(0.2)
        answer("200 OK", CONTENT)(client)

    with host(slow) as url:
        threads = [
            threading.Thread(target=downloads.fetch, args=(tmp_path / "x", [url], MD5)) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(asked) == 1 and (tmp_path / "x").read_bytes() == CONTENT and len(list(tmp_path.iterdir())) == 1


def faces(folder: Path, monkeypatch) -> None:
    """An archive of three people, some of whose files are no pictures of theirs."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, grey in (
            ("lfw_funneled/A_B/A_B_0001.jpg", 10), ("lfw_funneled/A_B/A_B_0002.jpg", 60),
            ("lfw_funneled/C/C_0001.jpg", 200), ("lfw_funneled/pairs_01.txt", None),
            ("../../lfw_funneled/D/D_0001.jpg", 5), ("joblib/output.pkl", None),
        ):  # fmt: skip
            picture = io.BytesIO(b"cos\nsystem\n(S'touch fallen'\ntR.")
            if grey is not None:
                Image.new("RGB", (250, 250), (grey,) * 3).save(picture, "jpeg")
            member = tarfile.TarInfo(name)
            member.size = len(picture.getvalue())
            archive.addfile(member, io.BytesIO(picture.getvalue()))
    file = folder / downloads.LFW
    file.parent.mkdir(parents=True)
    file.write_bytes(content.getvalue())
    monkeypatch.setattr(downloads, "LFW_SHA256", hashlib.sha256(content.getvalue()).hexdigest())


def test_E2_faces_are_read_out_of_their_archive_and_nothing_else_of_it(tmp_path, monkeypatch):
    faces(tmp_path, monkeypatch)
    images, names = downloads.lfw(tmp_path)
    assert images.shape == (3, 48, 48) and images.dtype == np.uint8
    assert {(name, int(image.mean().round())) for name, image in zip(names, images, strict=True)} == {
        ("A B", 10), ("A B", 60), ("C", 200)
    }  # fmt: skip
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lfw-funneled.tgz"]


def test_E2_an_archive_of_faces_that_is_another_is_not_opened(tmp_path, monkeypatch):
    faces(tmp_path, monkeypatch)
    monkeypatch.setattr(downloads, "LFW_SHA256", "0" * 64)
    monkeypatch.setattr(downloads, "LFW_URL", "http://127.0.0.1:1/")
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    with pytest.raises(ConnectionError, match=r"could not be downloaded \(127.0.0.1: "):
        datasets.load("lfw")


def test_E2_a_cache_that_would_run_code_is_not_opened(tmp_path, monkeypatch):
    """A stranger's folder: as scikit-learn's joblib keeps its results, pickled."""
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "LFW_URL", "http://127.0.0.1:1/")
    for place in (
        "lfw_home/joblib/sklearn/datasets/_lfw/_fetch_lfw_people/0/output.pkl",
        "MNIST/processed/training.pt",
    ):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_bytes(
            b"cos\nsystem\n(S'touch " + str(tmp_path / "fallen").encode() + b"'\ntR."
        )
    (tmp_path / "lfw_home" / "lfw_funneled" / "A").mkdir(parents=True)
    monkeypatch.setattr(downloads, "MNIST_MIRRORS", ("http://127.0.0.1:1/",))
    assert datasets.at_hand("lfw") is None and not datasets.mnist().complete
    assert not (tmp_path / "fallen").exists()
