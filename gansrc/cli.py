"""The command line: gansrc train | sample | evaluate | runs | recipes | data."""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

# Before torch: threads that wait by spinning starve a shared machine; those that never do are slow to wake.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import gansrc  # noqa: E402
from gansrc import limits, terminal  # noqa: E402

if TYPE_CHECKING:
    from gansrc.datasets import Dataset
    from gansrc.runs import Run
    from gansrc.runs.record import Data, Evaluation

YEAR = 366 * 24 * 3600.0
FIRST_SCORE = 30.0
"""Seconds that a score is taken to last, until one has been timed."""
MEMORY_CURES = {
    "train": "take smaller images, or a recipe of smaller nets",
    "sample": "lower -n",
    "evaluate": "give fewer samples",
}
"""What helps where a command takes more memory than there is."""
BESIDE = {
    "mnist": "published for MNIST (Table 1): adversarial nets 225 ± 2, deep GSN 214 ± 1.1, DBN 138 ± 2,"
    " stacked CAE 121 ± 1.6; real digits as samples: about 243 (Theis et al., 2016)",
    "tfd": "published for TFD (Table 1): adversarial nets 2057 ± 26, stacked CAE 2110 ± 50, DBN 1909 ± 66,"
    " deep GSN 1890 ± 29",
}
"""By data set: what to read a score beside, by the original grid."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0, 2 for bad input (one line on stderr), 130 after Ctrl-C, 143
    after SIGTERM, and so on."""
    with terminal.ready():
        arguments = _parser().parse_args(argv)
        try:
            code = arguments.run(arguments)
            sys.stdout.flush()
            return code or 0
        except BrokenPipeError:  # the reader, `head` say, has had enough
            terminal.silence()
            return 0
        except (ValueError, OSError) as error:
            told = error
        except (MemoryError, RuntimeError) as error:
            from gansrc.devices import is_out_of_memory

            if not is_out_of_memory(error):
                raise
            cure = MEMORY_CURES[arguments.command]
            told = ValueError(f"the memory does not suffice for {arguments.command}: {cure}")
        except KeyboardInterrupt as stop:
            return 128 + getattr(stop, "number", signal.SIGINT)
        _complain(told)
        try:
            sys.stdout.flush()
        except OSError:
            terminal.silence()
        return 2


def _complain(error: Exception) -> None:
    """One line on stderr."""
    print("gansrc:", terminal.in_words(error), file=sys.stderr)


def _path(text: str) -> Path:
    """A path, from the home folder if it begins with ~: shells leave that in --out=~/runs as it is."""
    return Path(os.path.expanduser(text))


def _parser() -> argparse.ArgumentParser:
    parser = terminal.Parser(prog="gansrc", description="Generative Adversarial Nets (2014), executed.")
    parser.add_argument("--version", action="version", version=f"gansrc {gansrc.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    train = commands.add_parser(
        "train", help="train recipes, or recorded runs again; the same command again resumes"
    )
    train.add_argument(
        "what",
        nargs="+",
        metavar="RECIPE|RUN",
        help="mnist (the authors' code), mnist-algorithm-1 (the paper's text); gansrc recipes: all."
        " Or a recorded run's folder: its recipe, seed and length. :N after it is its length in epochs",
    )
    train.add_argument(
        "--out",
        type=_path,
        required=True,
        metavar="DIR",
        help="run folder, made if absent; of several runs: the folder of theirs",
    )
    train.add_argument("--evaluate", action="store_true", help="score what was trained, as gansrc evaluate")
    train.add_argument(
        "--budget", metavar="TIME", help="stop and save after so long: 90s, 14m, 2h; scores are reckoned in"
    )
    train.add_argument("--epochs", type=int, help="total length; more than before prolongs a finished run")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="N seeds at once, from --seed on: DIR-seed-0, DIR-seed-1, ...",
    )
    train.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    train.add_argument("--data", metavar="FILE.npz", help="your own images: an .npz with x_train")
    train.add_argument(
        "--pretrained", type=_path, metavar="DIR", help="the run of another recipe that this one starts from"
    )
    train.set_defaults(run=_train)

    sample = commands.add_parser("sample", help="draw samples of a run: DIR/samples.npy and a picture of 100")
    sample.add_argument("run_folder", type=_path, metavar="DIR")
    sample.add_argument("-n", type=int, default=10_000, help="how many (10,000)")
    sample.add_argument("--seed", type=int, default=0)
    sample.set_defaults(run=_sample)

    evaluate = commands.add_parser(
        "evaluate", help="Parzen log-likelihood of a run, or of anybody's samples.npy"
    )
    evaluate.add_argument(
        "what", type=_path, metavar="DIR|SAMPLES.npy", help="a run, or (n, 784) samples in [0, 1]"
    )
    evaluate.add_argument(
        "--data",
        metavar="NAME|FILE.npz",
        help="where a run's data lie now; of samples: what they are samples of, MNIST by default",
    )
    evaluate.add_argument(
        "--keep",
        type=int,
        help="leave so many samples in the record; by default 10,000, if its model is large",
    )
    evaluate.set_defaults(run=_evaluate)

    listing = commands.add_parser("runs", help="list recorded runs")
    listing.add_argument("root", type=_path, nargs="?", help="book/runs and the current folder, by default")
    listing.set_defaults(run=_runs)

    recipes = commands.add_parser("recipes", help="list what can be trained, or describe one of them")
    recipes.add_argument("recipe", nargs="?", help="with its values, and where each comes from")
    recipes.set_defaults(run=_recipes)

    data = commands.add_parser("data", help="fetch and check the data sets; say where they lie")
    data.set_defaults(run=_data)
    return parser


def _train(arguments: argparse.Namespace) -> int:
    end = time.monotonic() + (math.inf if arguments.budget is None else _seconds(arguments.budget))
    if arguments.out == Path() or not str(arguments.out).strip():
        raise ValueError("--out is empty, or the folder one is in: give a new folder, such as my-run")
    limits.check_seed(arguments.seed, "--seed")
    if arguments.seeds is not None:
        limits.check_seeds(arguments.seed, arguments.seeds)
    if arguments.epochs is not None:
        limits.check_epochs(arguments.epochs, "--epochs")
    limits.check_device(arguments.device)
    _word("starting")
    if not sys.stderr.isatty():
        with suppress(OSError):  # who has heard enough may want the run all the same
            print(f"{arguments.out}: starting", flush=True)

    from gansrc import parallel, runs

    options = {key: getattr(arguments, key) for key in ("epochs", "seed", "seeds", "data", "pretrained")}
    place = parallel.Place.here()
    jobs = runs.dealt(runs.plan(arguments.what, arguments.out, **options), place)
    device = place.device(arguments.device)
    if not jobs:
        print(f"rank {place.rank}: there are more processes than runs, none is left", file=sys.stderr)
    code, timed = 0, list[float]()
    for number, job in enumerate(jobs):
        left = end - time.monotonic()
        scoring = len(job.folders) * max(timed, default=FIRST_SCORE) if arguments.evaluate else 0.0
        if number and left <= scoring:
            for folder in job.folders.values():
                print(f"{folder}: not begun, the time is up", file=sys.stderr)
            continue
        try:
            with _told():
                trained = job.train(device, end - min(scoring, left / 2))
            for run in trained:
                print(_ended(run, arguments.evaluate), flush=True)
                if arguments.evaluate and run.record.evaluation is None:
                    begun = time.monotonic()
                    _word("scoring")
                    runs.evaluate(run.folder)
                    timed.append(time.monotonic() - begun)
                record = runs.Run(run.folder).record
                if arguments.evaluate and record.evaluation:
                    _print_scores(record.evaluation, record.data)
        except (ValueError, OSError) as error:
            if len(jobs) == 1 and (place.size == 1 or job.shared):
                raise
            _complain(error)
            code = 2
    if place.size > 1 and not any(job.shared for job in jobs):
        parallel.meet()
    return code


def _word(word: str) -> None:
    """A sign of life on a terminal, while torch is imported, say; what comes next writes over it."""
    if sys.stderr.isatty():
        print(word, end="\r", file=sys.stderr, flush=True)


def _ended(run: Run, scored: bool) -> str:
    """What a training came to, where to look, and what to type next unless it has, or gets, its score."""
    epochs = f"{run.record.epochs} epoch{'s' if run.record.epochs != 1 else ''}"
    told = [f"{run.folder}: {epochs}, {run.record.seconds:.0f} s"]
    rows = [row for row in run.rows() if row.get("valid_original")]
    if rows:
        told.append(f"validation {float(rows[-1]['valid_original']):.1f} nats at epoch {rows[-1]['epoch']}")
    if (run.folder / "samples.png").exists():
        told.append(f"samples in {run.folder / 'samples.png'}")
    done = scored or run.record.evaluation
    return ", ".join(told) + ("" if done else f"; next: gansrc evaluate {run.folder}")


def _seconds(text: str) -> float:
    """A time such as 90s, 14m or 2h, in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not match or not float(match[1]):
        raise ValueError(f"--budget must be a time like 90s, 14m or 2h, got {text!r}")
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
    if seconds > YEAR:
        raise ValueError(f"--budget must be at most a year, got {text!r}")
    return seconds


@contextmanager
def _told() -> Iterator[None]:
    """Within the block what a training says goes to stderr."""
    logger, handler = logging.getLogger("gansrc"), logging.StreamHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _sample(arguments: argparse.Namespace) -> None:
    limits.check_count(arguments.n, "-n")
    limits.check_seed(arguments.seed, "--seed")
    if not (arguments.run_folder / "run.json").exists():
        raise FileNotFoundError(f"{arguments.run_folder} holds no run.json: give the folder of a run")

    import numpy as np

    from gansrc import mosaics, runs
    from gansrc.runs.files import write_own

    run = runs.Run(arguments.run_folder)
    samples = run.samples(arguments.n, arguments.seed)
    shape, content = run.record.data.image_shape, BytesIO()
    np.save(content, samples.reshape(-1, *shape).numpy())
    write_own(run.folder / "samples.npy", content.getvalue())
    told = mosaics.why_none(shape)
    if picture := mosaics.grid(run.recipe.pixels(samples[:100]), shape):
        write_own(run.folder / "samples.png", picture)
        told = "the first 100 in samples.png" if arguments.n > 100 else "all of them in samples.png"
    print(f"{run.folder / 'samples.npy'}: {arguments.n} samples, seed {arguments.seed}; {told}")


def _evaluate(arguments: argparse.Namespace) -> None:
    what = arguments.what
    if arguments.keep is not None:
        limits.check_count(arguments.keep, "--keep")
    if not what.exists():
        raise FileNotFoundError(f"no file or folder {what}: give a run's folder, or an .npy of samples")
    if what.is_dir() and not (what / "run.json").exists():
        raise FileNotFoundError(f"{what} holds no run.json: give the folder of a run, or an .npy of samples")
    if not what.is_dir() and not what.is_file():
        raise ValueError(f"{what} is no file that can be read again: save the samples with numpy.save")
    _word("scoring")

    from gansrc import datasets, runs

    if what.is_dir():
        result = runs.evaluate(what, arguments.keep, arguments.data)
        _print_scores(result, runs.Run(what).record.data)
        return
    if arguments.keep is not None:
        raise ValueError(f"--keep goes with a run, got {what}: leave it out")
    data = datasets.load("mnist" if arguments.data is None else arguments.data)
    _print_scores(runs.evaluate_samples(what, data), data)


def _print_scores(result: Evaluation, data: Data | Dataset) -> None:
    note = "" if data.complete else f"; NOT COMPARABLE with published figures, by {data.source}"
    for scores, of in ((result, ""), (result.average, " of the running mean of the weights")):
        for grid in ("original", "fine") if scores else ():
            score = getattr(scores, grid)
            sigmas = score.sigma if isinstance(score.sigma, tuple) else (score.sigma,)
            print(
                f"test log-likelihood{of}, {grid} sigma grid:"
                f" {score.mean:.1f} ± {score.standard_error:.1f} nats"
                f" (sigma {', '.join(f'{sigma:.3f}' for sigma in sigmas)}, {result.samples} samples){note}"
            )
    if data.complete and data.name in BESIDE:
        print(BESIDE[data.name])


def _runs(arguments: argparse.Namespace) -> int:
    roots = [arguments.root] if arguments.root else [p for p in (Path("book/runs"), Path()) if p.is_dir()]
    if not roots[0].is_dir():
        raise FileNotFoundError(f"no folder {roots[0]}: give the folder that holds the runs")

    from gansrc import runs

    code, found = 0, [run for root in roots for run in runs.recorded(root)]
    if not found:
        print(f"no runs in {' or '.join(str(root.resolve()) for root in roots)}", file=sys.stderr)
    for run in found:
        try:
            record = run.record
        except (ValueError, OSError) as error:
            _complain(error)
            code = 2
            continue
        score = record.evaluation and record.evaluation.original
        figure = f"{score.mean:8.1f} ± {score.standard_error:.1f} nats" if score else "not evaluated"
        figure += "" if record.data.complete else f", on {record.data.name}"
        print(f"{run.folder.name:32} seed {record.seed:<3} {record.updates:7,} updates  {figure}")
    return code


def _recipes(arguments: argparse.Namespace) -> None:
    from gansrc import catalogue
    from gansrc.recipes import REPOSITORY

    if not arguments.recipe:
        for recipe in catalogue.RECIPES.values():
            model = type(recipe).__name__.removesuffix("Recipe")
            print(f"{recipe.name:38} {model:10} {recipe.data:8} {recipe.epochs:5,} epochs")
        return
    recipe = catalogue.recipe(arguments.recipe)
    values = recipe.values()
    values |= values.pop("rules", {})
    for name, source in recipe.sources.items():
        if name in values:
            print(f"{name:18} {values[name]!s:24} {source}")
    if any(source.where.endswith(".yaml") for source in recipe.sources.values()):
        print(f"files: of {REPOSITORY}")


def _data(arguments: argparse.Namespace) -> int:
    from gansrc import datasets

    code = 0
    print(f"data folder: {datasets.root()}", flush=True)
    for name in ("mnist", "faces", "cifar10"):
        try:
            data = datasets.load(name)
        except (ValueError, OSError) as error:  # altered, refused, or neither here nor to be fetched: the
            _complain(error)  # other sets may be well
            if isinstance(error, ValueError) or error.strerror:
                code = 2
            continue
        sizes = f"{len(data.train)} / {len(data.valid)} / {len(data.test)} train / valid / test"
        print(f"{data.name}: {sizes}, from {data.source}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
