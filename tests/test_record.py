"""The record: what stands in a run.json is read, or refused by its name; all of the book's are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gansrc.runs import Record, Run

FOLDER = Path(__file__).parents[1] / "book" / "runs"
ALL = sorted(file.parent.name for file in FOLDER.glob("*/run.json"))
KINDS = ["mnist", "vae-mnist", "faces-stage-2", "cifar10-conv", "mnist-algorithm-1-no-dropout"]
"""With average and earlier scores; of samples; of folds and a run below; of colours; diverged."""
CHANGES = {
    "deleted": None, "null": None, "text": "x", "-1": -1, "list": [], "object": {}, "1e400": 1e400,
    "true": True,
}  # fmt: skip
JSON = {dict: "object", list: "list", str: "text", bool: "bool", int: "number", float: "number"}


def content(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / name / "run.json").read_text(encoding="utf-8"))


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """The way to every value within, by keys and numbers."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (key,)
        yield from ((key, *rest) for rest in places(part))


def at(value: Any, way: tuple[Any, ...]) -> Any:
    for key in way:
        value = value[key]
    return value


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", KINDS)
def test_a_record_with_a_bad_value_is_refused_by_its_name(name, change):
    text, new, refused = json.dumps(content(name)), CHANGES[change], 0
    for *above, key in places(content(name)):
        if above and above[0] == "recipe":  # other models have other values there
            continue
        broken = json.loads(text)
        holder = at(broken, above)
        of_its_kind = new is None or JSON[type(new)] == JSON[type(holder[key])]
        if change == "deleted":
            del holder[key]
        else:
            holder[key] = new
        try:
            record = Record.from_json(broken)
        except ValueError as error:
            named = [part for part in (*above, key) if isinstance(part, str)][-1]
            assert named in str(error) and "\n" not in str(error), (above, key)
            refused += 1
        else:
            one_or_many = key == "sigma" and change in ("-1", "list", "1e400")
            assert of_its_kind or one_or_many, (above, key)
            assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record, (above, key)
    assert refused > 10


@pytest.mark.parametrize("bad", [[], 5, None, "x", {"recipe": {}}])
def test_no_record_at_all_is_refused(bad):
    with pytest.raises(ValueError, match="^(the content must be an object, got .*|seed is missing)$"):
        Record.from_json(bad)


def test_a_number_beyond_all_numbers_and_a_key_of_two_lines_are_told_in_one():
    with pytest.raises(ValueError, match="seconds must be float, got 1000000"):
        Record.from_json(content("mnist") | {"seconds": 10**400})
    with pytest.raises(ValueError, match="seed must be int, got True"):
        Record.from_json(content("mnist") | {"seed": True})
    broken = content("mnist")
    broken["checkpoint"]["sha256"]["two\nlines"] = 5
    with pytest.raises(ValueError, match=r"^checkpoint\.sha256\['two.nlines'\] must be str, got 5$"):
        Record.from_json(broken)


@pytest.mark.parametrize("climbing", ["../x", "/x", "a/b", "..", ".", "", "a\\b", "C:x"])
@pytest.mark.parametrize("place", ["folder", "weights", "images"])
def test_a_files_name_does_not_lead_out_of_the_runs_folder(place, climbing):
    def named(name: str) -> dict[str, Any]:
        whole = content("vae-mnist")
        if place == "folder":
            whole["checkpoint"]["folder"] = name
        else:
            (whole["checkpoint"] if place == "weights" else whole["samples"])["sha256"][name] = "0"
        return whole

    if place != "folder":
        Record.from_json(named("x..y"))
    with pytest.raises(ValueError) as raised:
        Record.from_json(named(climbing))
    assert str(raised.value) == f"{climbing!r} is no name of a file in the run's own folder"


def is_kept(old: Any, new: Any) -> bool:
    """Whether all of JSON `old` stands in `new`."""
    if isinstance(old, dict):
        return all(key in new and is_kept(part, new[key]) for key, part in old.items())
    if isinstance(old, list):
        return len(old) == len(new) and all(map(is_kept, old, new))
    return type(old) is type(new) and old == new


@pytest.mark.parametrize("name", ALL)
def test_a_record_of_the_book_is_read_whole(name):
    whole, run = content(name), Run(FOLDER / name)
    assert is_kept(whole, json.loads(json.dumps(run.record.to_json())))
    assert run.recipe.name == whole["recipe"]["name"]
    for weights, scores in (
        ("last", whole.get("evaluation")), ("average", whole.get("evaluation", {}).get("average"))
    ):  # fmt: skip
        for grid in ("original", "fine") if scores else ():
            told = scores[grid]["mean"], scores[grid]["standard_error"]
            assert run.score(grid, weights) == pytest.approx(told, rel=1e-5), (weights, grid)
