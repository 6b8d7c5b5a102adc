"""The three ways to install (make, pip, conda) install the same, and the project's papers are in order."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import gansrc

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
yaml = pytest.importorskip("yaml")
requirements = pytest.importorskip("packaging.requirements")
INSTALL = ["-c constraints.txt", "-e .[book,test]"]


def pins() -> dict[str, str]:
    """The lines of constraints.txt as {canonical name: version}."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonical(name): pin for name, pin in (line.split("==") for line in lines)}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted() -> list[str]:
    return PROJECT["dependencies"] + [r for extra in PROJECT["optional-dependencies"].values() for r in extra]


@pytest.fixture
def conda() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text())


def test_every_conda_spec_parses(conda: dict) -> None:
    rattler = pytest.importorskip("rattler")
    specs = [spec for spec in conda["dependencies"] if isinstance(spec, str)]
    names = {str(rattler.MatchSpec(spec, strict=True).name.normalized) for spec in specs}
    assert names == {"python", "pip", "make"}
    with pytest.raises(Exception, match="unable to parse version spec"):
        rattler.MatchSpec("python >>3.11", strict=True)


def test_conda_offers_only_pythons_that_the_project_allows(conda: dict) -> None:
    rattler = pytest.importorskip("rattler")
    spec = rattler.VersionSpec(str(rattler.MatchSpec(conda["dependencies"][0], strict=True).version))
    allowed = requirements.SpecifierSet(PROJECT["requires-python"])
    offered = [v for v in ("3.10.9", "3.11.2", "3.12.0", "3.13.1") if spec.matches(rattler.Version(v))]
    assert offered == [v for v in ("3.10.9", "3.11.2", "3.12.0", "3.13.1") if v in allowed]


def test_conda_and_make_install_the_same(conda: dict) -> None:
    (pip,) = [part["pip"] for part in conda["dependencies"] if isinstance(part, dict)]
    assert pip == INSTALL
    recipe = (ROOT / "Makefile").read_text().replace("'", "")
    assert f"pip install --disable-pip-version-check {' '.join(INSTALL)}\n" in recipe


@pytest.mark.parametrize("requirement", sorted(set(wanted())))
def test_every_requirement_is_pinned_within_its_bounds(requirement: str) -> None:
    parsed = requirements.Requirement(requirement)
    assert parsed.specifier.contains(pins()[canonical(parsed.name)])


def test_pins_name_no_place_and_no_package_twice() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert len(pins()) == len(lines)


def test_citation_has_the_required_keys() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"] == [{"name": PROJECT["authors"][0]["name"]}]
    assert citation["license"] == PROJECT["license"]
    paper = citation["references"][0]
    assert {"type", "title", "authors"} <= paper.keys()
    assert all({"family-names", "given-names"} <= author.keys() for author in paper["authors"])


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert gansrc.__version__ == citation["version"] == version("gansrc")


@pytest.mark.parametrize("pattern", [".github/**/*.yml", ".pre-commit-config.yaml", "*.yml", "book/*.yml"])
def test_yaml_files_parse(pattern: str) -> None:
    files = list(ROOT.glob(pattern))
    assert files
    assert all(yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)


def test_the_lowest_torch_that_is_tried_is_the_lowest_that_is_allowed() -> None:
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    (tried,) = re.findall(r" torch==(\d+\.\d+)\.\d+ ", workflow)
    assert f"torch>={tried}" in PROJECT["dependencies"]


def test_pre_commit_runs_the_pinned_tools() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    tools = [tool for hook in repo["hooks"] for tool in hook.get("additional_dependencies", [])]
    assert tools == [f"{tool}=={pins()[tool]}" for tool in ("ruff", "ruff", "codespell")]


def test_types_fit() -> None:
    pytest.importorskip("mypy")
    process = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout
