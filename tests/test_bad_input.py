"""Whatever images and labels every recipe is given: it trains on them, or says in one line why not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from test_cli import run_cli, tree
from test_models import SMALL, name_of, small

from gansrc import catalogue, datasets, labels
from gansrc.datasets import Dataset
from gansrc.extensions import conditional, conditionals
from gansrc.model import Density, Recipe

N = 60
SHAPES = {
    "grey": (6, 6), "colour": (3, 6, 6), "not square": (6, 4), "RGBA": (6, 6, 4), "flat": (36,),
    "five axes": (2, 3, 2, 3), "one line": (1, 12), "one column": (12, 1), "one pixel": (1, 1),
    "numbers": (2,), "one number": (1,),
}  # fmt: skip
CONTENTS = {
    "black": lambda x: 0 * x, "white": lambda x: 0 * x + 1, "all alike": lambda x: x[:1] + 0 * x,
    "on or off": lambda x: x.round(),
}  # fmt: skip
LABELS = {
    "none": None, "all alike": np.zeros(N, int), "one left out": 2 * (np.arange(N) % 5),
    "from 1": 1 + np.arange(N) % 9, "more than ten": np.arange(N) % 12, "two": np.arange(N) % 2,
    "one of a kind": np.minimum(np.arange(N), 9),
}  # fmt: skip


def tiny() -> dict[str, Recipe]:
    """Every recipe of section 7 and every model, their nets cut small; of the other GANs those that see the
    shape of an image."""
    found: dict[str, Recipe] = {name_of(kind): small(kind) for kind in SMALL}
    for name, recipe in catalogue.RECIPES.items():
        few = {
            "rules": lambda r: dataclasses.replace(r.rules, batch_size=15, epoch_updates=0),
            "batch_size": lambda _: 20, "epoch_updates": lambda _: 2, "preview": lambda _: 20,
            "g_hidden": lambda r: (9,) * len(r.g_hidden), "d_hidden": lambda r: (8,) * len(r.d_hidden),
            "e_hidden": lambda _: (9,), "labels": lambda _: 20, "g_joint": lambda _: 9, "g_c": lambda _: 9,
        }  # fmt: skip
        wanted = recipe in catalogue.EXTENSIONS or getattr(recipe, "g_strokes", 0) or name == "cifar10-conv"
        if wanted and name not in found and not recipe.builds_on():
            has = {key: to(recipe) for key, to in few.items() if hasattr(recipe, key)}
            found[name] = dataclasses.replace(recipe, **has)
    return found


RECIPES = tiny()


def tried(recipe: Recipe, dataset: Dataset) -> str:
    """Two updates and ten samples; the line that was told instead, or nothing."""
    try:
        prepared = recipe.prepare(dataset)
        if len(prepared.train) < recipe.examples_per_update():
            return "too few"
        model = recipe.start(prepared, 0)
        model.fit(prepared.train, 2)
        model.rates()
        samples = model.samples(10, torch.Generator().manual_seed(0))
        assert samples.shape == (10, dataset.train.shape[1]) and samples.isfinite().all()
    except ValueError as error:
        assert "\n" not in str(error), error
        return str(error)
    return ""


def given(
    folder: Path, shape: tuple[int, ...], content: str = "", kinds: np.ndarray | None = None
) -> Dataset:
    x = np.random.default_rng(0).random((N, *shape))
    y = {} if kinds is None else {f"y_{part}": kinds for part in ("train", "valid", "test")}
    x = CONTENTS[content](x) if content else x
    np.savez(folder / "x.npz", x_train=x, x_valid=x[::-1], x_test=x, **y)
    return datasets.load(str(folder / "x.npz"))


@pytest.mark.parametrize("name", RECIPES)
def test_images_of_any_shape_are_played_or_refused_in_a_line(tmp_path, name):
    told = {
        kind: tried(RECIPES[name], given(tmp_path, shape, kinds=np.arange(N) % 10))
        for kind, shape in SHAPES.items()
    }
    refuses = {kind for kind, words in told.items() if words}
    if name in ("conditionals-mnist", "inpainting-cifar10"):
        flat = {"flat", "numbers", "one number", "RGBA", "five axes", "one line", "one column", "one pixel"}
        assert refuses == flat, told
    elif name == "conditionals-wink":
        assert refuses == {"RGBA", "five axes"}, told
    elif getattr(RECIPES[name], "g_strokes", 0):
        assert refuses == SHAPES.keys() - {"grey", "one pixel"}, told
    elif name == "cifar10-conv":
        assert SHAPES.keys() - {"grey", "colour", "one pixel"} <= refuses, told
    else:
        assert not refuses, told


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - {"cifar10-conv"}))
def test_images_without_contrast_are_played(tmp_path, name):
    for content in CONTENTS:
        assert tried(RECIPES[name], given(tmp_path, (6, 6), content, np.arange(N) % 10)) == ""


BY_LABEL = {
    "conditional-mnist": {"none", "all alike", "one left out", "from 1"},
    "semisupervised-mnist-20": {"none", "more than ten", "from 1", "one of a kind"},
    "semisupervised-mnist-1000": LABELS.keys(),
}


@pytest.mark.parametrize("kinds", LABELS)
@pytest.mark.parametrize("name", [*BY_LABEL, "bigan-mnist", "conditionals-mnist", "ladder-r1"])
def test_labels_that_do_not_fit_are_told_where_they_are_needed(tmp_path, name, kinds):
    recipe = RECIPES[name]
    if name == "semisupervised-mnist-1000":
        recipe = dataclasses.replace(recipe, labels=1000)
    told = tried(recipe, given(tmp_path, (6, 6), kinds=LABELS[kinds]))
    assert bool(told) == (kinds in BY_LABEL.get(name, ())), told


@pytest.mark.parametrize("name", ["conditional-mnist", "semisupervised-mnist-20"])
def test_labels_of_no_training_image_are_told(tmp_path, name):
    data = given(tmp_path, (6, 6), kinds=np.arange(N) % 10)
    for part in ("valid", "test"):
        other = dataclasses.replace(data, labels={**data.labels, part: data.labels[part] + 1})
        assert "10" in tried(RECIPES[name], other)
    for wrong in ({"train": data.labels["train"] - 1}, {"train": data.labels["train"][:0]}):
        assert tried(RECIPES[name], dataclasses.replace(data, labels={**data.labels, **wrong}))


@pytest.mark.parametrize("name", ["conditional-mnist", "semisupervised-mnist-20", "conditionals-mnist"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x_train": np.where(np.arange(N) == 7, np.nan, np.zeros((6, 6, N))).T}, "number 7"),
        ({"x_train": np.zeros((0, 6, 6))}, "must have shape (n, ...) with n >= 10, got (0, 6, 6)"),
        ({"x_test": np.zeros((0, 6, 6))}, "must have shape (n, ...) with n >= 10, got (0, 6, 6)"),
        ({"x_test": np.zeros((20, 5, 6))}, "differ in shape"),
        ({"y_train": np.arange(N - 1)}, "must have shape (60,), a label for each image, got (59,)"),
        ({"y_train": np.array(["cat"] * N)}, "must be whole numbers from 0, got <U3"),
        ({"y_train": np.full(N, -3)}, "got -3"), ({"y_train": np.full(N, 2**40)}, f"got {2**40}"),
        ({"x_train": np.zeros((12, 6, 6)), "y_train": np.arange(12) % 2}, "an update takes"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_line_and_leaves_nothing(tmp_path, capsys, monkeypatch, name, content, message):
    monkeypatch.setattr(catalogue, "RECIPES", RECIPES)
    file, out = tmp_path / "x.npz", tmp_path / "run"
    good = {"x_train": np.zeros((N, 6, 6)), "x_test": np.zeros((20, 6, 6)), "x_valid": np.zeros((20, 6, 6))}
    np.savez(file, **good | {"y_valid": np.zeros(20, int), "y_test": np.zeros(20, int)}
             | {"y_train": np.arange(N) % 10} | content)  # fmt: skip
    before = tree(tmp_path)
    code, said = run_cli(capsys, "train", name, "--data", str(file), "--out", str(out), "--epochs", "1")
    assert code == 2 and message in said and "\n" not in said
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["conditional-mnist", "semisupervised-mnist-20"])
def test_without_labels_the_command_says_so(tmp_path, capsys, monkeypatch, name):
    monkeypatch.setattr(catalogue, "RECIPES", RECIPES)
    np.savez(tmp_path / "x.npz", x_train=np.zeros((N, 6, 6)))
    words = ["--data", str(tmp_path / "x.npz"), "--out", str(tmp_path / "run")]
    code, said = run_cli(capsys, "train", name, *words)
    assert code == 2 and "has no labels: take mnist, or an .npz with y_train" in said and "\n" not in said
    assert not (tmp_path / "run").exists()


# In Python


def filler() -> tuple[conditionals.Filler, torch.distributions.Distribution]:
    recipe = RECIPES["conditionals-mnist"]
    return recipe.generator((2, 3), torch.Generator().manual_seed(0)).eval(), recipe.nothing_known(6)


X, MISSING = torch.rand(4, 6), torch.tensor([[0.0, 0, 0, 1, 1, 1]] * 4)


@pytest.mark.parametrize(
    ("x", "missing", "n", "message"),
    [
        (X, MISSING[:, :5], 1, r"gaps of shape \(4, 6\) are wanted, got \(4, 5\)"),
        (X, MISSING[:3], 1, r"gaps of shape \(4, 6\) are wanted, got \(3, 6\)"),
        (X, 2 * MISSING, 1, "gaps must be 1 where .* got 2"),
        (X, MISSING / 0, 1, "gaps must be 1 where .* got nan"),
        (X, 0 * MISSING, 1, "nothing is missing of image 0"),
        (X, MISSING, 0, "once or more, got n = 0"),
        (torch.cat([X, X], 1), torch.cat([MISSING, MISSING], 1), 1, "images of 6 numbers .*, got 12"),
        (X[:, :3], MISSING[:, 3:], 1, "images of 6 numbers .*, got 3"),
        (torch.where(MISSING > 0, X, torch.nan), MISSING, 1, "known pixels must be finite, .* in image 0"),
    ],
)  # fmt: skip
def test_Z3_bad_gaps_are_told(x, missing, n, message):
    with pytest.raises(ValueError, match=message):
        conditionals.fill(*filler(), x, missing, n, torch.Generator())


def test_Z3_what_is_missing_may_be_no_number():
    net, noise = filler()
    shown, hidden = (
        conditionals.fill(net, noise, x, MISSING, 2, torch.Generator().manual_seed(0))
        for x in (X, torch.where(MISSING > 0, torch.nan, X))
    )
    assert torch.equal(shown, hidden) and shown.isfinite().all()


@pytest.mark.parametrize("n", [0, 5])
def test_Z3_as_many_neighbours_as_there_are(n):
    with pytest.raises(ValueError, match=f"from 1 to the 4 training images, got {n}"):
        conditionals.from_neighbours(X, MISSING, X, n)


def test_too_few_labels_are_told():
    with pytest.raises(ValueError, match="no labels to draw from"):
        labels.few(torch.zeros(0, dtype=torch.int64), 10, 0)


@pytest.mark.parametrize("wrong", [torch.tensor([0, 1, 1, -1]), torch.tensor([0, 1])])
def test_Z1_labels_are_one_for_each_image_and_not_negative(wrong):
    for classes in (0, 2):
        with pytest.raises(ValueError, match="got -1|got 2"):
            conditional.pairs(X, wrong, classes)


@pytest.mark.parametrize(
    "kind", sorted(kind for kind in SMALL if kind.endswith("-wink") or kind in ("dbm", "dbn"))
)
@pytest.mark.parametrize("shape", [(5, 3), (5, 1)])
def test_a_density_is_asked_at_points_of_its_own_space(kind, shape):
    recipe = small(kind)
    if hasattr(recipe, "width"):
        recipe = dataclasses.replace(recipe, width=0.25)
    model = recipe.start(datasets.of(torch.rand(N, 2)), 0)
    if isinstance(model, Density):
        with pytest.raises(ValueError, match=r"points must be of shape \(n, 2\), got \(5, "):
            model.log_density(torch.zeros(shape))
