"""The other rows of Table 1, and later models: one file a model, all of them fitted and sampled alike.

The published scores of the deep belief net, the stacked contractive auto-encoder and the deep GSN come from
papers that do not give all of their settings; what could not be found is marked as ours.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from gansrc.baselines.cae import CAE
from gansrc.baselines.dbn import DBN
from gansrc.baselines.diffusion import Diffusion
from gansrc.baselines.gmmn import GMMN
from gansrc.baselines.gsn import GSN
from gansrc.baselines.model import Baseline, ChainBaseline, ChainModel, Model, autocorrelation_time
from gansrc.baselines.vae import VAE

__all__ = ["BASELINES", "KINDS", "Baseline", "ChainBaseline", "ChainModel", "Model", "autocorrelation_time"]

OURS = "ours"
SCIENCE = "code of Hinton & Salakhutdinov (2006), Science"
TUTORIAL = "DBN.py of the tutorials at deeplearning.net"
CAE_CODE = "github.com/ynd/cae.py (Dauphin & Rifai, 2012)"
GSN_CODE = "github.com/yaoli/GSN, run_gsn.py (the authors', 2014)"
GSN_CHAIN = GSN_CODE.replace("run_gsn.py", "model.py")
GMMN_CODE = "github.com/yujiali/gmmn, train.py (the authors', 2015)"
EVAE = "Yeung et al. (2017), whose grid of VAEs has its best score there"
DDPM = "Ho et al. (2020)"
SPLIT = "the first 50,000 training images of MNIST in [0, 1], as for the GAN"
FACES = "the unlabeled part of TFD in [0, 1], or else Labeled Faces in the Wild, as for the GAN"


def _sources(source: str, fields: str, **special: str) -> dict[str, str]:
    """One source for the fields named, beside those given one by one; the name and the like are ours."""
    common = {"name": OURS, "data": SPLIT, "epochs": OURS, "epoch_updates": OURS, "preview": OURS}
    return common | dict.fromkeys(fields.split(), source) | special


AUTOENCODER = (
    "code_layers layer_updates layer_rates tune_updates tune_rate tune_momentum"
    " code_batch drop largest_gradient"
)
"""The fields of `GMMN` that are about its auto-encoder."""

DBN_MNIST = DBN(
    name="dbn-mnist",
    data="mnist",
    epochs=40,
    batch_size=100,
    preview=500,
    hidden=(1000, 1000),
    layer_epochs=20,
    learning_rate=0.1,
    top_rate=0.05,
    top_momentum=0.5,
    weight_std=0.1,
    weight_cost=2e-4,
    momentum=(0.5, 0.9),
    momentum_epoch=5,
    steps=1,
    chains=1000,
    burn_in=1000,
    thin=100,
    sources=_sources(
        SCIENCE,
        "learning_rate weight_std weight_cost momentum momentum_epoch steps batch_size",
        hidden=TUTORIAL + ", of whose three layers we take two",
        top_rate=OURS,
        top_momentum=OURS,
        layer_epochs=OURS + "; there 50",
        chains=OURS, burn_in=OURS, thin=OURS,
    ),
)  # fmt: skip
"""Two layers, as in Table 1."""

CAE_MNIST = CAE(
    name="cae-mnist",
    data="mnist",
    epochs=40,
    batch_size=20,
    preview=1000,
    hidden=(1000, 1000),
    layer_epochs=20,
    learning_rate=0.05,
    contraction=(3.0, 0.3),
    sampling_std=0.5,
    chains=100,
    burn_in=100,
    thin=10,
    sources=_sources(
        CAE_CODE,
        "batch_size layer_epochs",
        hidden=OURS,
        learning_rate=OURS + "; there .1",
        contraction=OURS + "; there .1, by which the chain leaves the digits",
        sampling_std=OURS + "; there 1, likewise",
        chains=OURS, burn_in=OURS, thin=OURS,
    ),
)  # fmt: skip

GSN_MNIST = GSN(
    name="gsn-mnist",
    data="mnist",
    epochs=1000,
    batch_size=100,
    preview=1000,
    hidden=(1500, 1500),
    walkbacks=4,
    salt_and_pepper=0.4,
    noise_std=2.0,
    resample=True,
    learning_rate=0.25,
    decay=0.995,
    momentum=0.5,
    sources=_sources(
        GSN_CODE,
        "epochs batch_size hidden walkbacks salt_and_pepper noise_std resample learning_rate decay momentum",
        chains=GSN_CHAIN,
        thin=GSN_CHAIN,
        burn_in=OURS,
    ),
    burn_in=100,
)

VAE_MNIST = VAE(
    name="vae-mnist",
    data="mnist",
    epochs=200,
    batch_size=100,
    hidden=(500, 500, 500),
    z_dim=8,
    learning_rate=1e-3,
    sources=_sources(EVAE, "epochs hidden z_dim learning_rate", batch_size=OURS),
)

GMMN_MNIST = GMMN(
    name="gmmn-mnist",
    data="mnist",
    epochs=80,
    batch_size=1000,
    epoch_updates=500,
    z_dim=10,
    hidden=(64, 256, 256, 1024),
    widths=(2.0, 5.0, 10.0, 20.0, 40.0, 80.0),
    rates=(0.2, 0.9),
    late_update=10_000,
    late_rates=(0.02, 0.99),
    sources=_sources(
        GMMN_CODE,
        "epochs batch_size z_dim hidden widths late_update",
        rates=OURS + "; there a learning rate of 2, by which our net gets stuck",
        late_rates=OURS + "; there a learning rate of .2",
        **dict.fromkeys(AUTOENCODER.split(), "no auto-encoder"),
    ),
)

GMMN_AE_MNIST = dataclasses.replace(
    GMMN_MNIST,
    name="gmmn-ae-mnist",
    epochs=98,
    widths=(1.0,),
    rates=(2.0, 0.9),
    late_rates=(0.2, 0.99),
    code_layers=(1024, 32),
    layer_updates=3000,
    tune_updates=3000,
    drop=(0.2, 0.5),
    sources={**GMMN_MNIST.sources, **dict.fromkeys([*AUTOENCODER.split(), "rates", "late_rates"], GMMN_CODE)},
)

DIFFUSION_MNIST = Diffusion(
    name="diffusion-mnist",
    data="mnist",
    epochs=100,
    batch_size=128,
    preview=500,
    hidden=1000,
    blocks=3,
    steps=250,
    betas=(4e-4, 0.08),
    learning_rate=2e-4,
    average=0.999,
    sources=_sources(
        OURS,
        "hidden blocks steps average",
        batch_size=DDPM,
        betas=DDPM + ", times 4 for a quarter of the steps",
        learning_rate=DDPM,
    ),
)


def _on_faces(recipe: Baseline, source: str, fields: str = "", **changes: Any) -> Baseline:
    """The recipe for faces: `fields` by `source`, which speaks of faces; other changes are ours."""
    mnist = {key: text if text.startswith((OURS, "no ")) else f"{text}, for MNIST"
             for key, text in recipe.sources.items()}  # fmt: skip
    sources = {
        **mnist,
        "data": FACES,
        **dict.fromkeys(changes, OURS),
        **dict.fromkeys(fields.split(), source),
    }
    name = recipe.name.replace("mnist", "faces")
    return dataclasses.replace(recipe, name=name, data="faces", sources=sources, **changes)


ON_FACES = (
    _on_faces(DBN_MNIST, OURS, epoch_updates=500),
    _on_faces(CAE_MNIST, CAE_CODE, "batch_size", epochs=16, epoch_updates=2500, layer_epochs=8),
    _on_faces(GSN_MNIST, OURS, epoch_updates=500, salt_and_pepper=0.2, resample=False, learning_rate=1.0),
    _on_faces(VAE_MNIST, EVAE, "epochs z_dim hidden learning_rate", epochs=250, z_dim=15),
    _on_faces(
        GMMN_MNIST, GMMN_CODE, "epochs widths batch_size z_dim hidden late_update",
        epochs=96, widths=(5.0, 10.0, 20.0, 40.0, 80.0, 160.0),
    ),
    _on_faces(
        GMMN_AE_MNIST, GMMN_CODE,
        "widths rates batch_size z_dim hidden late_update late_rates code_layers layer_rates tune_updates"
        " tune_rate code_batch drop largest_gradient",
        epochs=144, widths=(1.0, 2.0, 5.0, 10.0, 20.0, 40.0), rates=(0.1, 0.9), late_rates=(0.01, 0.99),
        code_layers=(512, 512, 128), tune_updates=15_000, tune_momentum=((0, 0.0),), drop=(0.1, 0.1, 0.1),
    ),  # theirs: 15,000 updates for each layer too, hence 216 epochs; a momentum of .5 from tuning 50 to 200
    _on_faces(DIFFUSION_MNIST, OURS, epoch_updates=390),
)  # fmt: skip
"""The same models on faces. LFW has a fifth as many images as MNIST: an epoch may count several passes."""

BASELINES: dict[str, Baseline] = {
    recipe.name: recipe
    for recipe in (
        DBN_MNIST,
        CAE_MNIST,
        GSN_MNIST,
        VAE_MNIST,
        GMMN_MNIST,
        GMMN_AE_MNIST,
        DIFFUSION_MNIST,
        *ON_FACES,
    )
}
"""All of them, by name."""

KINDS = {type(recipe).__name__: type(recipe) for recipe in BASELINES.values()}
"""The classes of recipes, by name."""
