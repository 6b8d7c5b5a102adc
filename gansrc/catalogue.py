"""All recipes by name: the GAN's, and those of the other models."""

from __future__ import annotations

import difflib

from gansrc.extensions.conditional import CONDITIONAL_MNIST
from gansrc.extensions.conditionals import CONDITIONALS_MNIST, CONDITIONALS_WINK, INPAINTING_CIFAR10
from gansrc.extensions.coordination import KNOBS, LADDER
from gansrc.extensions.inference import BIGAN_MNIST, INFERENCE_ADVERSARIAL, INFERENCE_REGRESSION
from gansrc.extensions.semisupervised import (
    SEMISUPERVISED_MNIST_20,
    SEMISUPERVISED_MNIST_50,
    SEMISUPERVISED_MNIST_100,
    SEMISUPERVISED_MNIST_1000,
)
from gansrc.model import Recipe
from gansrc.models.ae import AE_WINK
from gansrc.models.cae import CAE_FACES, CAE_MNIST
from gansrc.models.dbm import DBM_WINK
from gansrc.models.dbn import DBN_FACES, DBN_MNIST, DBN_WINK, RBM_WINK
from gansrc.models.diffusion import DIFFUSION_FACES, DIFFUSION_MNIST
from gansrc.models.energy import DENOISING_WINK, NCE_WINK, SCORE_WINK
from gansrc.models.gmmn import GMMN_AE_FACES, GMMN_AE_MNIST, GMMN_FACES, GMMN_MNIST
from gansrc.models.gsn import GSN_FACES, GSN_MNIST, GSN_WINK
from gansrc.models.pm import PM_WINK
from gansrc.models.vae import VAE_FACES, VAE_MNIST, VAE_WINK
from gansrc.recipes import GANS

MODELS = (
    DBN_MNIST, CAE_MNIST, GSN_MNIST, VAE_MNIST, GMMN_MNIST, GMMN_AE_MNIST, DIFFUSION_MNIST,
    DBN_FACES, CAE_FACES, GSN_FACES, VAE_FACES, GMMN_FACES, GMMN_AE_FACES, DIFFUSION_FACES,
    AE_WINK, VAE_WINK, RBM_WINK, DBN_WINK, DBM_WINK, SCORE_WINK, DENOISING_WINK, NCE_WINK, GSN_WINK, PM_WINK,
)  # fmt: skip
"""Of the models beside the GAN. LFW has a fifth as many images as MNIST: an epoch may be several passes."""
EXTENSIONS: tuple[Recipe, ...] = (
    CONDITIONAL_MNIST, INFERENCE_REGRESSION, INFERENCE_ADVERSARIAL, BIGAN_MNIST,
    CONDITIONALS_MNIST, CONDITIONALS_WINK, INPAINTING_CIFAR10,
    SEMISUPERVISED_MNIST_20, SEMISUPERVISED_MNIST_50, SEMISUPERVISED_MNIST_100, SEMISUPERVISED_MNIST_1000,
    *LADDER, *KNOBS,
)  # fmt: skip
"""Of section 7."""
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*GANS, *MODELS, *EXTENSIONS)}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises ValueError for an unknown one."""
    if name not in RECIPES:
        close = difflib.get_close_matches(name.lower(), RECIPES, cutoff=0.5)
        meant = f"did you mean {', '.join(close)}? " if close else ""
        raise ValueError(f"unknown recipe {name!r}: {meant}'gansrc recipes' lists all")
    return RECIPES[name]
