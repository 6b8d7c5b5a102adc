"""What numbers and names of devices may be given: told without torch, which takes a second or two to come."""

from __future__ import annotations

import re

LARGEST_SEED = 2**63 - 1
"""Seeds go from 0 to it: torch's own end at twice that, and an epoch's is larger than the run's."""
MOST_SEEDS = 200
"""Seeds at once: each holds a file open, and some systems allow 256."""

MOST_EPOCHS = 10_000_000


def check_seed(seed: int, what: str) -> None:
    """Raise ValueError for a seed out of range, which it calls `what`."""
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"{what} must lie between 0 and {LARGEST_SEED}, 2^63 - 1, got {seed}")


def check_seeds(first: int, n: int) -> None:
    """Raise ValueError for a number of seeds, from `first` on, that cannot be trained at once."""
    if not 1 <= n <= MOST_SEEDS:
        more = ": train more by a command each, with --seed" if n > 1 else ""
        raise ValueError(f"--seeds must lie between 1 and {MOST_SEEDS}, got {n}{more}")
    check_seed(first + n - 1, "the last of --seeds")


def check_epochs(n: int, what: str) -> None:
    """Raise ValueError for a length of a training, called `what`, that is none, or beyond any clock."""
    check_count(n, what)
    if n > MOST_EPOCHS:
        raise ValueError(f"{what} must be at most {MOST_EPOCHS:,}, got {n}")


def check_count(n: int, what: str) -> None:
    """Raise ValueError for a number of things, called `what`, that is none."""
    if n < 1:
        raise ValueError(f"{what} must be at least 1, got {n}")


def check_device(name: str) -> None:
    """Raise ValueError for what is no device's name; torch takes cuda:128 for another number."""
    if not re.fullmatch(r"(cpu|cuda|mps)(:(0|[1-9][0-9]?))?", name):
        raise ValueError(f"unknown device {name!r}: give cpu, cuda or mps")
