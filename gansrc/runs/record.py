"""What a record says: run.json as typed values that do not change."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PureWindowsPath
from typing import Any, Literal, cast

from gansrc.datasets import Dataset
from gansrc.limits import check_seed
from gansrc.runs.provenance import Provenance

hints_of = functools.cache(typing.get_type_hints)
"""The types of a class's fields; a record has many of one class."""


@dataclass(frozen=True)
class Data:
    """The data set of a run: `Dataset`'s own words, the number of images of each part, checksums.

    held_out_sha256: of the parts that scores rest on; the first records have none.
    """

    name: str
    load: str
    source: str
    complete: bool
    train: int
    valid: int
    test: int
    dimension: int
    image_shape: tuple[int, ...]
    sha256: str
    pixels_sha256: dict[str, str] = field(default_factory=dict)
    held_out_sha256: str = ""

    @classmethod
    def of(cls, dataset: Dataset) -> Data:
        """That of a data set at hand."""
        return cls(
            dataset.name, dataset.load, dataset.source, dataset.complete, len(dataset.train),
            len(dataset.valid), len(dataset.test), dataset.train.shape[1], dataset.image_shape,
            dataset.sha256, dict(dataset.pixels_sha256), dataset.held_out_sha256,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Leg(Provenance):
    """A stretch of a training: the update it began at, how many seeds were trained at once, how many
    processes shared each minibatch, and where."""

    from_update: int
    together: int = 1
    processes: int = 1


@dataclass(frozen=True)
class Checkpoint:
    """The folder of the weights, and the checksum of each of its files."""

    folder: str
    sha256: dict[str, str]


@dataclass(frozen=True)
class Pretrained:
    """The run that this one started from."""

    seed: int
    updates: int
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Score:
    """Mean test log-likelihood, its standard error (nats) and sigma: by fold, where a data set has folds."""

    mean: float
    standard_error: float
    sigma: float | tuple[float, ...]
    folds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Scores:
    """The scores by both sigma grids."""

    original: Score
    fine: Score


@dataclass(frozen=True)
class Average(Scores):
    """The scores of samples by the running mean of the weights.

    samples, decay: how many, and the mean's decay, in the first records alone.
    """

    samples: int | None = None
    decay: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation(Scores):
    """The scores of so many samples: of a run, those that `seed` draws after so many updates by its last
    weights, and those by their running mean. sha256: of log_likelihood.npz; the first records have none."""

    samples: int
    updates: int = 0
    seed: int = 0
    average: Average | None = None
    sha256: str = ""


@dataclass(frozen=True)
class Images:
    """Images that a record keeps: how many, by which seed, the numbers that the bytes 0 and 255 stand for,
    and the checksum of each file."""

    n: int
    seed: int
    range: tuple[float, float]
    sha256: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of a run.

    recipe: `Recipe.values`. seconds: of training, without pauses. epoch_so_far: sums of the reports of a row
    of the history that is not complete. history_sha256: of history.csv as far as `updates`; the first
    records have none. diverged: the update before which the costs ceased to be finite. earlier: evaluations
    of fewer updates. samples, average_samples, walk, film, reconstructions: images in place of weights.
    """

    recipe: dict[str, Any]
    seed: int
    data: Data
    epochs: int
    updates: int
    seconds: float
    legs: tuple[Leg, ...]
    checkpoint: Checkpoint
    pretrained: Pretrained | None = None
    epoch_so_far: dict[str, float] | None = None
    history_sha256: str = ""
    diverged: int | None = None
    evaluation: Evaluation | None = None
    earlier: tuple[Evaluation, ...] = ()
    samples: Images | None = None
    average_samples: Images | None = None
    walk: Images | None = None
    film: Images | None = None
    reconstructions: Images | None = None

    @classmethod
    def from_json(cls, content: Any) -> Record:
        """The record in the content of a run.json. Raises ValueError that names the value at fault."""
        record = read(cls, content, "")
        check_seed(record.seed, "seed")
        for name in (record.checkpoint.folder, *record.checkpoint.sha256, *record.image_files()):
            if PureWindowsPath(name).name != name or name in ("", ".."):  # of every system's separators
                raise ValueError(f"{name!r} is no name of a file in the run's own folder")
        shape, d = record.data.image_shape, record.data.dimension
        if min(shape, default=0) < 1 or math.prod(shape) != d:
            raise ValueError(f"data.image_shape must be of {d} pixels, the dimension, got {shape}")
        if record.checkpoint.folder != (whole := f"checkpoint-{record.updates}"):
            raise ValueError(
                f"checkpoint.folder must be {whole}, by updates, got {record.checkpoint.folder!r}"
            )
        for name, number in (("epochs", record.epochs), ("seconds", record.seconds)):
            if not 0 <= number < math.inf:
                raise ValueError(f"{name} must be finite and not negative, got {number}")
        return record

    def to_json(self) -> dict[str, Any]:
        """The content of run.json; what is not there is left out."""
        return _plain(self)

    def images(self) -> dict[str, Images]:
        """The images that are kept, by name."""
        names = ("samples", "average_samples", "walk", "film", "reconstructions")
        return {name: images for name in names if (images := getattr(self, name)) is not None}

    def image_files(self) -> dict[str, str]:
        """The names of the files that keep them, each with its checksum."""
        return {
            name: checksum for images in self.images().values() for name, checksum in images.sha256.items()
        }


def read(kind: Any, value: Any, where: str) -> Any:
    """JSON as a value of an annotated type, all the way down; `where` it stands in the content. Raises
    ValueError."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where or 'the content'} must be an object, got {value!r:.60}")
        types_of, given = hints_of(cast(Any, kind)), {}
        for part in dataclasses.fields(kind):
            there = f"{where}.{part.name}".removeprefix(".")
            if part.name in value:
                given[part.name] = read(types_of[part.name], value[part.name], there)
            elif part.default is dataclasses.MISSING and part.default_factory is dataclasses.MISSING:
                raise ValueError(f"{there} is missing")
        return cast(Any, kind)(**given)
    if origin is Literal and value in arguments:
        return value
    if origin in (typing.Union, types.UnionType):
        errors: list[ValueError] = []
        for one in arguments:
            try:
                return read(one, value, where)
            except ValueError as error:
                errors.append(error)
        raise errors[0]
    if origin is tuple and isinstance(value, list):
        if arguments[-1] is not ...:
            if len(value) == len(arguments):
                return tuple(read(one, part, where) for one, part in zip(arguments, value, strict=True))
        else:
            return tuple(read(arguments[0], part, where) for part in value)
    elif origin is dict and isinstance(value, Mapping):
        return {key: read(arguments[1], part, f"{where}[{key!r}]") for key, part in value.items()}
    elif kind in (int, float, str, bool, types.NoneType) and type(value) is kind:
        return value
    elif kind is float and type(value) is int and abs(value) < 2**1023:
        return float(value)
    name = getattr(kind, "__name__", str(kind)) if origin is None else str(kind)
    raise ValueError(f"{where} must be {name}, got {value!r:.60}")


def _plain(value: Any) -> Any:
    """A value as JSON has it; fields that hold nothing, as they do by default, are left out."""
    if dataclasses.is_dataclass(value):
        parts = [(part, getattr(value, part.name)) for part in dataclasses.fields(value)]
        empty = (None, (), "")
        return {p.name: _plain(x) for p, x in parts if x not in empty or x != p.default}
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
