"""The command line: gansrc train | sample | evaluate | runs | recipes | data."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

# Before torch: threads that wait by spinning starve a shared machine; those that never do are slow to wake.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import gansrc  # noqa: E402


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0, 2 for bad input (one line on stderr), 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    try:
        code = arguments.run(arguments)
        sys.stdout.flush()
        return code or 0
    except BrokenPipeError:  # the reader, `head` say, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"gansrc: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gansrc", description="Generative Adversarial Nets (2014), executed."
    )
    parser.add_argument("--version", action="version", version=f"gansrc {gansrc.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a recipe; the same command again resumes")
    train.add_argument(
        "recipe", help="mnist (the authors' code), mnist-algorithm-1 (the paper's text); gansrc recipes: all"
    )
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="run folder, made if absent")
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
        "--pretrained", type=Path, metavar="DIR", help="of faces-stage-2: the run of faces below"
    )
    train.set_defaults(run=_train)

    sample = commands.add_parser("sample", help="draw samples of a run: DIR/samples.npy and a picture of 100")
    sample.add_argument("run_folder", type=Path, metavar="DIR")
    sample.add_argument("-n", type=int, default=10_000, help="how many (10,000)")
    sample.add_argument("--seed", type=int, default=0)
    sample.set_defaults(run=_sample)

    evaluate = commands.add_parser(
        "evaluate", help="Parzen log-likelihood of a run, or of anybody's samples.npy"
    )
    evaluate.add_argument(
        "what", type=Path, metavar="DIR|SAMPLES.npy", help="a run, or (n, 784) samples in [0, 1]"
    )
    evaluate.add_argument(
        "--keep",
        type=int,
        help="leave so many samples in the record; by default 10,000, if its model is large",
    )
    evaluate.set_defaults(run=_evaluate)

    listing = commands.add_parser("runs", help="list recorded runs")
    listing.add_argument("root", type=Path, nargs="?", default=Path("book/runs"), help="book/runs by default")
    listing.set_defaults(run=_runs)

    recipes = commands.add_parser("recipes", help="list what can be trained, or describe one of them")
    recipes.add_argument("recipe", nargs="?", help="with its values, and where each comes from")
    recipes.set_defaults(run=_recipes)

    data = commands.add_parser("data", help="fetch and check the data sets; say where they lie")
    data.set_defaults(run=_data)
    return parser


def _train(arguments: argparse.Namespace) -> None:
    from gansrc import catalogue, runs

    recipe, out, first = catalogue.recipe(arguments.recipe), arguments.out, arguments.seed
    folders = {first: out}
    if arguments.seeds is not None:
        if arguments.seeds < 1:
            raise ValueError(f"--seeds must be at least 1, got {arguments.seeds}")
        seeds = range(first, first + arguments.seeds)
        folders = {seed: out.with_name(f"{out.name}-seed-{seed}") for seed in seeds}
    options = {key: getattr(arguments, key) for key in ("epochs", "device", "data", "pretrained")}
    for run in runs.train_seeds(recipe, folders, **options):
        print(f"{run.folder}: {run.record.epochs} epochs, {run.record.seconds:.0f} s")


def _sample(arguments: argparse.Namespace) -> None:
    import numpy as np

    from gansrc import mosaics, runs
    from gansrc.runs.files import write

    if arguments.n < 1:
        raise ValueError(f"-n must be at least 1, got {arguments.n}")
    run = runs.Run(arguments.run_folder)
    samples = run.samples(arguments.n, arguments.seed)
    shape, content = run.record.data.image_shape, BytesIO()
    np.save(content, samples.reshape(-1, *shape).numpy())
    write(run.folder / "samples.npy", content.getvalue())
    if picture := mosaics.grid(run.recipe.pixels(samples[:100]), shape):
        write(run.folder / "samples.png", picture)
    print(
        f"{run.folder / 'samples.npy'}: {arguments.n} samples, seed {arguments.seed};"
        " the first 100 in samples.png"
    )


def _evaluate(arguments: argparse.Namespace) -> None:
    from gansrc import runs

    what = arguments.what
    if arguments.keep is not None and arguments.keep < 1:
        raise ValueError(f"--keep must be at least 1, got {arguments.keep}")
    result = runs.evaluate_samples(what) if what.is_file() else runs.evaluate(what, arguments.keep)
    for scores, of in ((result, ""), (result.average, " of the running mean of the weights")):
        for grid in ("original", "fine") if scores else ():
            score = getattr(scores, grid)
            sigmas = score.sigma if isinstance(score.sigma, tuple) else (score.sigma,)
            print(
                f"test log-likelihood{of}, {grid} sigma grid:"
                f" {score.mean:.1f} ± {score.standard_error:.1f} nats"
                f" (sigma {', '.join(f'{sigma:.3f}' for sigma in sigmas)}, {result.samples} samples)"
            )


def _runs(arguments: argparse.Namespace) -> int:
    from gansrc import runs

    if not arguments.root.is_dir():
        raise FileNotFoundError(f"no folder {arguments.root}: give the folder that holds the runs")
    code = 0
    for run in runs.recorded(arguments.root):
        try:
            record = run.record
        except (ValueError, OSError) as error:
            print(f"gansrc: {error}", file=sys.stderr)
            code = 2
            continue
        score = record.evaluation and record.evaluation.original
        figure = f"{score.mean:8.1f} ± {score.standard_error:.1f} nats" if score else "not evaluated"
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


def _data(arguments: argparse.Namespace) -> None:
    from gansrc import datasets

    print(f"data folder: {datasets.root()}")
    for name in ("mnist", "faces", "cifar10"):
        if data := datasets.at_hand(name):
            sizes = f"{len(data.train)} / {len(data.valid)} / {len(data.test)} train / valid / test"
            print(f"{data.name}: {sizes}, from {data.source}")
