"""Under test, every annotated shape and type of `gansrc` is checked at run time."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

if find_spec("beartype"):
    install_import_hook("gansrc", "beartype.beartype")

settings.register_profile("same", derandomize=True)  # other inputs: pytest --hypothesis-profile default
settings.load_profile("same")


@pytest.fixture
def images(tmp_path) -> str:
    """A file of small images, to train on."""
    rng, file = np.random.default_rng(0), tmp_path / "images.npz"
    parts = {"x_train": 200, "x_valid": 30, "x_test": 40}
    np.savez(file, **{name: rng.random((n, 4, 4)) for name, n in parts.items()})
    return str(file)


@pytest.fixture
def levels(tmp_path) -> str:
    """Every part of another grey; and after the 1,000 validation images that count, some white ones."""
    rng, file = np.random.default_rng(1), tmp_path / "levels.npz"
    parts = {
        name: np.clip(grey + 0.1 * rng.standard_normal((n, 4, 4)) + np.linspace(0, 0.1, 4), 0, 1)
        for name, grey, n in (("x_train", 0.3, 200), ("x_valid", 0.5, 1200), ("x_test", 0.7, 40))
    }
    parts["x_valid"][1000:] = rng.random((200, 4, 4)) > 0.1
    np.savez(file, **parts)
    return str(file)
