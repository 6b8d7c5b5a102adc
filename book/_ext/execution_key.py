"""Execute a chapter again when what it runs on has changed, and only then.

The cache of executed notebooks looks at a chapter's cells, and not at the package that they call. So the
cache lies in a folder named after the contents of `gansrc`, of the recorded runs and of the pinned
versions, and after which data sets are at hand, as pages leave things out without them. Where these change,
the folder is a new one and the chapters run again. Where they do not, nothing runs.

Pages are read one after the other. So that chapters do not run one after the other as well, those that are
not in the cache run before, two at a time, each on half of the cores.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution
from myst_nb.core.read import is_myst_markdown_notebook, myst_nb_reader_plugin
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util.display import status_iterator

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
    recorded = (path for path in (root / "book" / "runs").rglob("[!.]*") if path.is_file())
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


def to_run(cache: JupyterCacheAbstract, paths: Iterator[Path]) -> Iterator[Path]:
    """The chapters among `paths` that the cache does not have."""
    for path in paths:
        if is_myst_markdown_notebook(path.read_text(encoding="utf-8")):
            try:
                cache.match_cache_notebook(myst_nb_reader_plugin(str(path)))
            except KeyError:
                yield path


def run(path: Path, timeout: int) -> ExecutionResult:
    notebook = myst_nb_reader_plugin(str(path))
    return single_nb_execution(notebook, cwd=str(path.parent), timeout=timeout, allow_errors=False)


def run_ahead(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Run chapters that are to be read and not in the cache, and put them there.

    One that fails is left out: it runs again when it is read, which is where its error is reported.
    """
    cache = get_cache(app.config.nb_execution_cache_path)
    paths = list(to_run(cache, (Path(env.doc2path(name)) for name in docnames)))
    if not paths:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    given = os.environ.get("OMP_NUM_THREADS")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // 2)))  # what the kernels inherit
    pool = ThreadPoolExecutor(2)
    try:
        jobs = {pool.submit(run, path, app.config.nb_execution_timeout): path for path in paths}
        names = {job: path.relative_to(app.srcdir).as_posix() for job, path in jobs.items()}
        for job in status_iterator(
            as_completed(jobs), "running chapters... ", length=len(jobs), stringify_func=names.get
        ):
            if (result := job.result()).err is None:
                uri, data = str(jobs[job]), {"execution_seconds": result.time}
                cache.cache_notebook_bundle(
                    CacheBundleIn(result.nb, uri, data=data), check_validity=False, overwrite=True
                )
    finally:
        pool.shutdown(cancel_futures=True)
        if given is None:
            del os.environ["OMP_NUM_THREADS"]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", choose_cache)
    app.connect("env-before-read-docs", run_ahead)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
