"""Where a piece of work was done, and by what: code version, packages, device, date."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from gansrc import __version__


@dataclass(frozen=True)
class Provenance:
    """Code version, package versions, device and date (UTC) of a piece of work.

    commit: of the repository that holds the code; empty if there is none. source_sha256: of all modules'
    bytes. products: how matrices are multiplied, "float32" or "TF32".
    """

    started: str
    gansrc: str
    commit: str
    source_sha256: str
    python: str
    packages: dict[str, str]
    device: str
    device_name: str
    threads: int
    cores: int
    products: str = "float32"


def provenance(device: torch.device) -> Provenance:
    """That of work which begins now on a device."""
    here = Path(__file__).parents[1]
    source = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(here.rglob("*.py"))))
    packages = {}
    for name in ("torch", "torchvision", "numpy", "scipy", "safetensors"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "absent"
    return Provenance(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        gansrc=__version__,
        commit=_commit(here),
        source_sha256=source.hexdigest(),
        python=platform.python_version(),
        packages=packages,
        device=str(device),
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name(),
        threads=torch.get_num_threads(),
        cores=os.cpu_count() or 0,
        products="TF32" if device.type == "cuda" else "float32",
    )


def _commit(here: Path) -> str:
    """The commit of the repository that the package is a part of; not one that it is installed inside of."""
    try:
        known = ["git", "-C", str(here), "ls-files", "--error-unmatch", "__init__.py"]
        if subprocess.run(known, capture_output=True, check=False).returncode:
            return ""
        head = ["git", "-C", str(here), "rev-parse", "HEAD"]
        return subprocess.run(head, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # there is no git
        return ""


def _cpu_name() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
