"""The package's own order: imports point down, no file is long, `import gansrc` gives a stranger's names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gansrc

HOME = Path(gansrc.__file__).parent
MODEL_PARTS = {"models.base", "models.boltzmann"}
LAYERS = (
    {"streams", "archives", "terminal", "limits", "exercises", "runs.signals"},
    {"theory", "parzen", "measures", "mosaics", "networks", "devices", "cost", "strokes", "labels"}
    | {"yours", "downloads"},
    {"claims", "figures", "plane", "arcs"},
    {"datasets"},
    {"game", "film", "model"},
    {"seeds", "parallel"} | MODEL_PARTS,
    {"gan", "modes"} | {f"models.{path.stem}" for path in HOME.glob("models/[!_]*.py")} - MODEL_PARTS,
    {"recipes", "runs.provenance", "runs.files", "runs.progress"},
    {f"extensions.{path.stem}" for path in HOME.glob("extensions/[!_]*.py")},
    {"catalogue", "runs.record"},
    {"runs.run"},
    {"runs.training", "runs.evaluation"},
    {"runs.jobs"},
    {"runs"},
    {"cli"},
)  # fmt: skip
"""From the bottom: each knows those below."""
ALLOWED = {("runs.provenance", "")}
"""An arrow to the package itself, for its version."""


def modules() -> dict[str, Path]:
    names = {
        path: path.relative_to(HOME).with_suffix("").as_posix().replace("/", ".")
        for path in HOME.rglob("*.py")
    }
    return {name.removesuffix("__init__").removesuffix("."): path for path, name in names.items()}


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "gansrc":
            base = node.module.removeprefix("gansrc").removeprefix(".")
            below = {f"{base}.{alias.name}".removeprefix(".") for alias in node.names} & modules().keys()
            found |= below or {base}
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("gansrc").removeprefix(".") for alias in node.names
                      if alias.name.split(".")[0] == "gansrc"}  # fmt: skip
    return found


def wrong_arrows(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The imports that do not point to a lower layer."""
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    return [
        (name, other) for name, others in sorted(graph.items()) for other in sorted(others)
        if (name, other) not in ALLOWED and not level.get(name, 99) > level.get(other, 99)
    ]  # fmt: skip


def test_every_import_points_to_a_lower_layer():
    graph = {
        name: imported(path) for name, path in modules().items() if name not in ("", "models", "extensions")
    }
    graph["cli"].discard("")  # for its version
    assert wrong_arrows(graph) == []
    assert graph.keys() == set().union(*LAYERS)
    assert wrong_arrows(graph | {"parzen": {"runs.run"}, "game": {"gan"}}) == [
        ("game", "gan"),
        ("parzen", "runs.run"),
    ]


def test_no_file_is_long():
    assert {
        name: n for name, path in modules().items() if (n := len(path.read_text().splitlines())) > 400
    } == {}


@pytest.mark.parametrize("name", gansrc.__all__)
def test_the_names_of_a_stranger_are_there(name):
    assert callable(getattr(gansrc, name))


def test_the_package_is_light_until_it_is_used():
    code = (
        "import sys, gansrc; assert 'torch' not in sys.modules; gansrc.parzen; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'unheard_of'"):
        _ = gansrc.unheard_of


def test_records_stay_within_their_limits():
    files = [path for path in (HOME.parent / "book" / "runs").rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) <= 16 * 2**20
    assert sum(path.stat().st_size for path in files) <= 120 * 2**20
