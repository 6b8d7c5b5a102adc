"""Signals that ask a training to stop: it ends its update, saves, and says by which of them it ended. And
those that cannot be heard: what makes it pause."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
"""Ctrl-C, a polite kill, a terminal that is closed, a scheduler whose time is nearly up."""
TICK, LEAST_PAUSE = 0.5, 5.0
"""Seconds from look to look at the clock, and those without a look that are a pause; a busy machine may
be late, too."""


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


@contextmanager
def pauses() -> Iterator[Callable[[], float]]:
    """Within the block the returned function says for how many seconds the process has stood still so far:
    stopped by Ctrl-Z or SIGSTOP, or asleep with its machine."""
    state, ended = (0.0, time.perf_counter()), Event()

    def paused() -> float:
        total, seen = state
        gap = time.perf_counter() - seen  # the watcher may be the later one to wake up
        return total + (gap - TICK if gap > LEAST_PAUSE else 0.0)

    def watch() -> None:
        nonlocal state
        while not ended.wait(TICK):
            state = paused(), time.perf_counter()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield paused
    finally:
        ended.set()
        watcher.join()


def say(words: str) -> None:
    """A line on stderr, if there still is one: its terminal may be closed."""
    with suppress(OSError):
        print(words, file=sys.stderr)
