"""Signals that ask a training to stop: it ends its update, saves, and says by which of them it ended."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
"""Ctrl-C, a polite kill, a terminal that is closed, a scheduler whose time is nearly up."""


class Stopped(KeyboardInterrupt):
    """A training was asked to stop by the signal of this number, and has saved."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def stop_requested() -> Iterator[Callable[[], int]]:
    """Within the block these signals only set a flag, which the returned function reads: the number of the
    one that came, or 0. One that is ignored, as nohup has SIGHUP, stays so."""
    asked = 0

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        asked = asked or number

    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    try:
        old = {number: signal.signal(number, ask) for number in heeded}
    except ValueError:  # not in the main thread: no signals to catch
        old = {}
    try:
        yield lambda: asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def say(words: str) -> None:
    """A line on stderr, if there still is one: its terminal may be closed."""
    with suppress(OSError):
        print(words, file=sys.stderr)
