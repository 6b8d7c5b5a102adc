"""Execute a chapter again when what it runs on has changed, and only then.

The cache of executed notebooks looks at a chapter's cells, and at nothing that they call or read. So with
each chapter it keeps the key of that (`chapter_inputs`): where the key has changed the chapter leaves the
cache, is read again and runs again.

Pages are read one after the other. So that chapters do not run one after the other as well, those that are
not in the cache run before, two at a time, each on half of the cores. Pages are written two at a time, too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path

import warm_kernels
from chapter_inputs import Repository
from docutils import nodes
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution
from myst_nb.core.read import is_myst_markdown_notebook, myst_nb_reader_plugin
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util.display import status_iterator

from gansrc import datasets

KEY = "execution_key"


def prepare(app: Sphinx, config: Config) -> None:
    """Let kernels, which run in the chapters' folders, find this environment's Python and the data folder."""
    os.environ["GANSRC_DATA"] = str(datasets.root())
    folders = [str(Path(sys.prefix, "share", "jupyter")), os.environ.get("JUPYTER_PATH", "")]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, folders))


def outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Find the key of every chapter; return those that were last read with another one."""
    repository = Repository(Path(app.srcdir))
    env.execution_keys = {}
    for docname in env.found_docs:
        if notebook := chapter(env, docname):
            cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
            with suppress(SyntaxError):  # which is reported where the cell runs
                env.execution_keys[docname] = repository.key(repository.inputs(cells))
    return [name for name, key in env.execution_keys.items() if env.metadata[name].get(KEY) != key]


def note_key(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the key that a page was read with."""
    if key := app.env.execution_keys.get(app.env.docname):
        app.env.metadata[app.env.docname][KEY] = key


def chapter(env: BuildEnvironment, docname: str) -> NotebookNode | None:
    """The notebook of that name, None for a page without cells."""
    path = Path(env.doc2path(docname))
    return myst_nb_reader_plugin(str(path)) if is_myst_markdown_notebook(path.read_text("utf-8")) else None


def drop_stale(cache: JupyterCacheAbstract, env: BuildEnvironment) -> Iterator[str]:
    """Remove from the cache what no chapter needs as it is now; yield the chapters that are not there."""
    kept = set()
    for docname, key in env.execution_keys.items():
        try:
            record = cache.match_cache_notebook(chapter(env, docname))
        except KeyError:
            record = None
        if record and record.data.get(KEY) == key:
            kept.add(record.pk)
        else:
            yield docname
    for record in cache.list_cache_records():
        if record.pk not in kept:
            cache.remove_cache(record.pk)


def run(notebook: NotebookNode, folder: Path, timeout: int) -> ExecutionResult:
    """Run a chapter in its folder."""
    return single_nb_execution(notebook, cwd=str(folder), timeout=timeout, allow_errors=False)


def run_ahead(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Run chapters that are to be read and not in the cache, and put them there.

    One that fails is left out: it runs again when it is read, which is where its error is reported.
    """
    cache = get_cache(env.mystnb_config.execution_cache_path)
    names = [name for name in drop_stale(cache, env) if name in docnames]
    if not names:
        return
    warm_kernels.offer()
    names.sort(key=lambda name: -Path(env.doc2path(name)).stat().st_size)  # no core waits for a long one
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    given = os.environ.get("OMP_NUM_THREADS")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // 2)))  # what the kernels inherit
    pool = ThreadPoolExecutor(2)
    try:
        timeout, folder = app.config.nb_execution_timeout, Path(app.srcdir)
        jobs = {pool.submit(run, chapter(env, name), (folder / name).parent, timeout): name for name in names}
        for job in status_iterator(
            as_completed(jobs), "running chapters... ", length=len(jobs), stringify_func=jobs.get
        ):
            if (result := job.result()).err is None:
                uri = str(env.doc2path(jobs[job]))
                data = {"execution_seconds": result.time, KEY: env.execution_keys[jobs[job]]}
                cache.cache_notebook_bundle(
                    CacheBundleIn(result.nb, uri, data=data), check_validity=False, overwrite=True
                )
    finally:
        pool.shutdown(cancel_futures=True)
        if given is None:
            del os.environ["OMP_NUM_THREADS"]


def write_in_parallel(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Let Sphinx write pages by two processes; a third, its own, resolves them meanwhile."""
    app.parallel = 3
    return []


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the steps in Sphinx's order: at the start, before pages are read, after each, after all."""
    app.connect("config-inited", prepare)
    app.connect("env-get-outdated", outdated)
    app.connect("env-before-read-docs", run_ahead)
    app.connect("doctree-read", note_key)
    app.connect("env-updated", write_in_parallel)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
