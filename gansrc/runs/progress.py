"""What a training says while it lasts: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

from tqdm import tqdm

LINE_EVERY = 60.0
"""Seconds without a row of the history after which a log gets a line all the same."""


class Progress:
    """A training's way from its `updates` to `target`: a bar with the time left or, where stderr is no
    terminal, messages to the logger "gansrc": at the start, at each row of the history, or after a minute
    without one.

    now, until: when it begins, and when it is to stop at the latest, by `time.monotonic`.
    """

    def __init__(
        self, name: str, updates: int, target: int, per_epoch: int, now: float, until: float
    ) -> None:
        self.name, self.updates, self.target, self.per_epoch = name, updates, target, per_epoch
        self.begun, self.told, self.first, self.score = now, now, updates, ""
        if math.isfinite(until):
            end = datetime.now() + timedelta(seconds=until - now)
            self.name += f", until {end:%H:%M:%S}"
        self.bar = tqdm(
            total=target, initial=updates, desc=self.name, unit="update", smoothing=0.05, disable=None
        )

    def __enter__(self) -> Progress:
        self._line(self.begun)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self.bar.close()

    def step(self, n: int, means: Mapping[str, float], row: Mapping[str, Any] | None, now: float) -> None:
        """Told of n more updates with these means, and of the row of the history that they have ended."""
        self.updates += n
        with suppress(OSError):  # its terminal may be closed
            self.bar.update(n)
            shown = {"epoch": self._epoch()} | {key: f"{mean:.3f}" for key, mean in [*means.items()][:2]}
            self.bar.set_postfix(shown, refresh=False)
        if row and (score := row.get("valid_original")):
            self.score = f", validation {float(score):.1f} nats"
        if row or now - self.told > LINE_EVERY:
            self._line(now)

    def _epoch(self) -> str:
        return f"{self.updates / self.per_epoch:.4g} of {self.target / self.per_epoch:.4g}"

    def _line(self, now: float) -> None:
        """A line in the log: how far it has come, and how long the rest will take."""
        self.told = now
        if not self.bar.disable:
            return
        left = ""
        if self.updates > self.first:
            rest = (now - self.begun) / (self.updates - self.first) * (self.target - self.updates)
            left = f", {timedelta(seconds=round(rest))} left"
        counts = f"epoch {self._epoch()}, {self.updates:,} of {self.target:,} updates"
        logging.getLogger("gansrc").info("%s: %s%s%s", self.name, counts, left, self.score)
