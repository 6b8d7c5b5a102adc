"""Under test, every annotated shape and type of `gansrc` is checked at run time."""

from __future__ import annotations

from importlib.util import find_spec

from jaxtyping import install_import_hook

if find_spec("beartype"):
    install_import_hook("gansrc", "beartype.beartype")
