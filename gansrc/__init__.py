"""Generative Adversarial Nets (Goodfellow et al., 2014), executed.

`import gansrc` gives the names that most need: `gansrc.Game`, `gansrc.Rules`, `gansrc.Run`, `gansrc.recipe`,
`gansrc.train`, `gansrc.evaluate`, `gansrc.load` (of a data set) and `gansrc.score` (Parzen). Each is imported
when it is first used.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Game": "game", "Rules": "game", "Run": "runs", "recipe": "catalogue", "train": "runs",
    "evaluate": "runs", "load": "datasets", "score": "parzen",
}  # fmt: skip
__all__ = [*_HOMES]


def __getattr__(name: str) -> object:
    """A name of `__all__`, or a module of the package, at its first use."""
    if name in _HOMES:
        return getattr(import_module(f"gansrc.{_HOMES[name]}"), name)
    if name.startswith("_"):
        raise AttributeError(f"module 'gansrc' has no attribute {name!r}")
    try:
        return import_module(f"gansrc.{name}")
    except ModuleNotFoundError:
        raise AttributeError(f"module 'gansrc' has no attribute {name!r}") from None
