"""What a chapter's output depends on beside its cells: modules, recorded runs, data sets, pinned versions.

All of it is read off the cells and the package's source; nothing is imported or run.

- Modules of `gansrc`: those that the cells import, and those that these import. Of a package only what is
  used counts: a name that its `__init__` hands on stands for the module it comes from. Docstrings and
  comments do not count. What is imported by a computed name is not seen, but for one case: a record brings
  the module that defines its model.
- Records: the folders of `book/runs` that a string in the cells names, as a part of a path; what is put into
  a string may be anything. Cells that list the folder, or speak of it and name none, depend on every record.
- Data sets: whether those that the cells name are at hand, if the cells lead to `gansrc.datasets` at all.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from gansrc import datasets

LISTING = {"recorded", "iterdir", "listdir"}
"""Names of functions that list the folder of runs."""
HOLE = "\0"
"""Stands for what is put into a string."""


@dataclass(frozen=True)
class Inputs:
    """What one chapter depends on, by name."""

    modules: frozenset[str]
    records: frozenset[str]
    data: frozenset[str]


class Repository:
    """The package, the records and the pins below the folder `root`, as they are now."""

    def __init__(self, root: Path) -> None:
        self.root = root
        files = {_module_name(path.relative_to(root)): path for path in (root / "gansrc").rglob("*.py")}
        self.packages = {name for name, path in files.items() if path.name == "__init__.py"}
        self.trees = {name: _parsed(path.read_text(encoding="utf-8")) for name, path in files.items()}
        self.code = {name: ast.dump(tree) for name, tree in self.trees.items()}
        self.names = {name: _defined(tree) for name, tree in self.trees.items()}
        self.imports = {name: self.imported(tree, name) for name, tree in self.trees.items()}
        folders = (root / "book" / "runs").glob("[!.]*")
        self.records = {folder.name: folder for folder in folders if folder.is_dir()}

    def inputs(self, cells: Iterable[str]) -> Inputs:
        """What a chapter of these code cells depends on."""
        transform = TransformerManager().transform_cell  # it knows what lines with % and ! mean
        tree = _parsed("\n".join(map(transform, cells)))
        records = self.named_records(tree)
        modules = self.closure(self.imported(tree).union(*map(self.defining, map(self.model, records))))
        words = re.findall("[a-z0-9]+", ast.unparse(tree).lower())
        data = {name for name in datasets.FILES if name in words} if "gansrc.datasets" in modules else set()
        return Inputs(frozenset(modules), frozenset(records), frozenset(data))

    def key(self, inputs: Inputs) -> str:
        """A name for the state of these inputs: 16 hexadecimal digits."""
        digest = hashlib.blake2b(digest_size=8)
        for name in sorted(inputs.modules):
            digest.update(f"{name}\0{self.code[name]}\0".encode())
        for name in sorted(inputs.records):
            digest.update(name.encode() + self.digests[name])
        for name in sorted(inputs.data):
            there = [(datasets.root() / file).exists() for file in datasets.FILES[name]]
            digest.update(f"{name} {there}\0".encode())
        if (pins := self.root / "constraints.txt").exists():
            digest.update(pins.read_bytes())
        return digest.hexdigest()

    def imported(self, tree: ast.Module, module: str = "") -> set[str]:
        """The modules of the package that a chapter, or the module of that name, imports itself."""
        found: set[str] = set()
        for local, path in self.bound(tree, module):
            uses = _uses(tree, local) if ".".join(path) in self.packages else set()
            found.update(*(self.resolve(path + use) for use in uses or {()}))
        return found

    def bound(self, tree: ast.Module, module: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The names that imports bind, each with the dotted path that it stands for."""
        here = module.split(".") if module in self.packages else module.split(".")[:-1]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    path = tuple(alias.name.split("."))
                    yield (alias.asname, path) if alias.asname else (path[0], path[:1])
            elif isinstance(node, ast.ImportFrom):
                above = here[: len(here) - node.level + 1] if node.level else []
                start = (*above, *(node.module or "").split("."))
                for alias in node.names:
                    yield alias.asname or alias.name, (*filter(None, start), alias.name)

    def resolve(self, path: tuple[str, ...]) -> set[str]:
        """The modules that hold what a path such as gansrc.models.DBN stands for; none if it is not ours."""
        base, rest = path[0], path[1:]
        while rest and f"{base}.{rest[0]}" in self.trees:
            base, rest = f"{base}.{rest[0]}", rest[1:]
        if base not in self.packages:
            return {base} & self.trees.keys()
        below = {name for name in self.trees if f"{name}.".startswith(f"{base}.")}
        if not rest:
            return below
        for local, origin in self.bound(self.trees[base], base):
            if local == rest[0] and origin[0] in self.trees:
                return self.resolve(origin + rest[1:])
        if rest[0] in self.names[base] or rest[0].startswith("__"):  # such as __file__
            return {base}
        return self.defining(rest[0]) & below or below  # a package that imports when it is asked

    def defining(self, name: str) -> set[str]:
        """The modules in which the name is defined."""
        return {module for module, names in self.names.items() if name in names}

    def closure(self, modules: set[str]) -> set[str]:
        """These modules and all that they import, directly or not."""
        found: set[str] = set()
        while new := modules - found:
            found |= new
            modules = set().union(*(self.imports[name] for name in new))
        return found

    def named_records(self, tree: ast.Module) -> set[str]:
        """The records that a chapter reads."""
        functions = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        called = {getattr(node, "attr", getattr(node, "id", "")) for node in functions}
        parts = {part for text in _strings(tree) for part in text.split("/")}
        patterns = [part.replace(HOLE, "*") for part in parts if part == "*" or re.search(r"\w{3}", part)]
        found = {name for name in self.records if any(fnmatchcase(name, p) for p in patterns)}
        return set(self.records) if called & LISTING or ("runs" in parts and not found) else found

    def model(self, record: str) -> str:
        """The class of a record's recipe."""
        file = self.records[record] / "run.json"
        recipe = json.loads(file.read_text(encoding="utf-8"))["recipe"] if file.exists() else {}
        return f"{recipe.get('model', 'GAN')}Recipe"

    @cached_property
    def digests(self) -> dict[str, bytes]:
        """Of the records' files, but for their checkpoints, whose checksums they hold."""
        return {name: _digest(folder) for name, folder in self.records.items()}


def _digest(folder: Path) -> bytes:
    digest = hashlib.blake2b()
    for path in sorted(path for path in folder.rglob("[!.]*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if "checkpoint" not in name:
            digest.update(f"{name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.digest()


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _parsed(source: str) -> ast.Module:
    return _WithoutIdleParts().visit(ast.parse(source))


class _WithoutIdleParts(ast.NodeTransformer):
    """Drops what does nothing: strings that stand for themselves, like docstrings, and imports of types."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def _defined(tree: ast.Module) -> set[str]:
    """The names that a module defines itself."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        else:
            names = (part for part in ast.walk(node) if isinstance(part, ast.Name))
            found |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
    return found


def _uses(tree: ast.Module, local: str) -> set[tuple[str, ...]]:
    """What stands behind a name, `("gmmn", "squared_mmd")` where `models.gmmn.squared_mmd` is used."""
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found: set[tuple[str, ...]] = set()
    for node in (node for node in ast.walk(tree) if id(node) not in inner):
        use: tuple[str, ...] = ()
        while isinstance(node, ast.Attribute):
            use, node = (node.attr, *use), node.value
        if isinstance(node, ast.Name) and node.id == local:
            found.add(use)
    return found


def _strings(node: ast.AST) -> Iterator[str]:
    """The strings of a program, with HOLE for what is put into them."""
    if (text := _text(node)).strip(HOLE):
        yield text
    for child in ast.iter_child_nodes(node):
        if not (text.strip(HOLE) and isinstance(child, ast.Constant)):  # else it is a part of the text
            yield from _strings(child)


def _text(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return re.sub(r"\{.*?\}", HOLE, text)
        case ast.JoinedStr(values=parts):
            return "".join(map(_text, parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
    return HOLE
