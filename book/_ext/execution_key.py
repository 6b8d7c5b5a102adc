"""Execute a chapter again when what it runs on has changed, and only then.

The cache of executed notebooks looks at a chapter's cells, and not at the package that they call. So the
cache lies in a folder named after the contents of `gansrc`, of the recorded runs and of the pinned
versions, and after which data sets are at hand, as pages leave things out without them. Where these change,
the folder is a new one and the chapters run again. Where they do not, nothing runs.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

from gansrc import datasets

DATA = (
    "MNIST/raw",
    "TFD_48x48.mat",
    "lfw.npz",
    "lfw_home/lfw_funneled",
    "cifar10.npz",
    "cifar-10-batches-py",
)
"""Where data sets lie in the data folder."""


def inputs(root: Path) -> Iterator[Path]:
    """The files, other than its cells, that a chapter's output depends on, in a fixed order."""
    yield from sorted((root / "gansrc").rglob("*.py"))
    recorded = (path for path in (root / "book" / "runs").rglob("*") if path.is_file())
    yield from sorted(path for path in recorded if "checkpoint" not in str(path.relative_to(root)))
    if (pins := root / "constraints.txt").exists():
        yield pins


def key(root: Path) -> str:
    """A name for the state of all inputs: 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for path in inputs(root):
        digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    digest.update(str([(datasets.root() / name).exists() for name in DATA]).encode())
    return digest.hexdigest()


def choose_cache(app: Sphinx, config: Config) -> None:
    """Point the notebook cache at the folder of this state, and remove those of other states."""
    folder = Path(app.outdir).resolve().parent
    cache = folder / f".jupyter_cache-{key(Path(app.srcdir))}"
    config["nb_execution_cache_path"] = str(cache)
    for stale in folder.glob(".jupyter_cache-*"):
        if stale != cache:
            shutil.rmtree(stale)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", choose_cache)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
