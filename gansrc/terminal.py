"""What a command says, whatever its standard streams are: closed, an old terminal, a full disk."""

from __future__ import annotations

import argparse
import codecs
import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

SPELT_OUT = {"±": "+-", "×": "x", "–": "-", "…": "..."}
"""Characters that a terminal may lack, in those that every one has."""


SYSTEM_CURES = {
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EACCES: "give a place that you may read and write, or change its rights",
    errno.EPERM: "give a place that you may read and write, or change its rights",
    errno.EROFS: "give a place that can be written",
    errno.ENOSPC: "make room there, or give another place",
    errno.EDQUOT: "make room there, or give another place",
    errno.ENOTDIR: "a part of this path is a file: give another one",
    errno.ELOOP: "its links lead in a circle: give another one",
}
"""What helps where the system refuses something."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where help is; exit with code 2."""
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help says more)\n")


def in_words(error: Exception) -> str:
    """What an error says, in one line; what the system alone has refused gets its place and a cure."""
    told = str(error)
    if isinstance(error, OSError) and error.strerror:
        place = error.filename2 or error.filename or "standard output, or a file"
        cure = SYSTEM_CURES.get(error.errno or 0, "mend that, and try again")
        told = f"{place}: {error.strerror}: {cure}"
    return " ".join(told.split())


@contextmanager
def ready() -> Iterator[None]:
    """Within the block the standard streams can be written to, and a warning is one line."""
    codecs.register_error("spelt-out", _spelt_out)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed: the next file that is opened must not take its place
            with suppress(OSError):
                os.fstat(number)
                continue
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if callable(change := getattr(stream, "reconfigure", None)):
            change(errors="spelt-out")
    with warnings.catch_warnings():
        warnings.showwarning = _one_line
        yield


def silence() -> None:
    """Have the rest of standard output go nowhere: its reader has gone, or its disk is full."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _spelt_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    given = error.object[error.start : error.end]
    return "".join(SPELT_OUT.get(character, "?") for character in given), error.end


def _one_line(message: Warning | str, *_: Any, **__: Any) -> None:
    with suppress(OSError):
        print("gansrc:", " ".join(str(message).split()), file=sys.stderr)
