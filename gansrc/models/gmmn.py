"""Generative moment matching networks, on pixels and on the codes of an auto-encoder (Li et al., 2015)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, dropout

from gansrc.datasets import Dataset
from gansrc.model import UNUSED, Sampler, Source, sources
from gansrc.models.base import MNIST_SOURCES, MinibatchModel, MinibatchRecipe, on_faces, rectifiers
from gansrc.streams import drawing_from


@dataclass(frozen=True, kw_only=True)
class GMMNRecipe(MinibatchRecipe):
    """Hyper-parameters of a moment matching network (Li et al., 2015).

    z_dim: numbers of a code, uniform on [-1, 1]. hidden: rectifiers of each layer. widths: bandwidths
    (sigma^2) of the kernels, which are added. rates, late_rates: learning rate and momentum before the net's
    update number `late_update` and from it on. code_layers: sizes of the encoder's layers, from the first
    hidden one to the code; none for a network that draws pixels. The auto-encoder comes first:
    `layer_updates` for each of its layers by `layer_rates`, then `tune_updates` for all of it, with
    `tune_momentum` from given updates on, all of this on the first `code_batch` images of a minibatch;
    gradients are cut to the norm `largest_gradient`. drop: share of each encoder layer's inputs that is
    dropped while all of it is tuned.
    """

    z_dim: int
    hidden: tuple[int, ...]
    widths: tuple[float, ...]
    rates: tuple[float, float]
    late_update: int
    late_rates: tuple[float, float]
    code_layers: tuple[int, ...] = ()
    layer_updates: int = 0
    layer_rates: tuple[float, float] = (0.1, 0.5)
    tune_updates: int = 0
    tune_rate: float = 0.1
    tune_momentum: tuple[tuple[int, float], ...] = ((0, 0.0), (50, 0.5), (200, 0.9))
    code_batch: int = 100
    drop: tuple[float, ...] = ()
    largest_gradient: float = 10.0

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> MomentMatching:
        """The network at its start."""
        return MomentMatching(self, dataset.train.shape[1], seed, device)


def squared_mmd(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], bandwidths: tuple[float, ...]
) -> Float[Tensor, ""]:
    r"""Squared maximum mean discrepancy of two samples, $k(a, b) = \sum_\sigma \exp(-|a - b|^2 / 2\sigma^2)$.

    The biased estimate, $\frac1{n^2} \sum k(x, x') - \frac2{nm} \sum k(x, y) + \frac1{m^2} \sum k(y, y')$
    (Gretton et al., 2012, eq. 5, squared). bandwidths: $\sigma^2$ of each kernel, in squared units of x.
    """

    def mean_kernel(a: Tensor, b: Tensor) -> Tensor:
        half = (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp(min=0) / 2
        return sum(((-half / bandwidth).exp().mean() for bandwidth in bandwidths), half.new_zeros(()))

    return mean_kernel(x, x) - 2 * mean_kernel(x, y) + mean_kernel(y, y)


class MomentMatching(MinibatchModel):
    """Samples of a net are moved until their moments match the data's, in pixels or in codes.

    Its weights start as He et al. (2015) have it: samples that start all but equal move as one, into a
    corner where the sigmoids are saturated.
    """

    recipe: GMMNRecipe

    def __init__(self, recipe: GMMNRecipe, d: int, seed: int, device: torch.device | str) -> None:
        super().__init__(recipe, seed, device)
        sizes = [d, *recipe.code_layers]
        with drawing_from(torch.Generator().manual_seed(seed)):
            layers = rectifiers([recipe.z_dim, *recipe.hidden, sizes[-1]])
            self.net = nn.Sequential(layers, nn.Sigmoid())
            pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
            self.encoder = nn.ModuleList(nn.Linear(below, above) for below, above in pairs)
            self.decoder = nn.ModuleList(nn.Linear(above, below) for below, above in pairs)
            for layer in [layer for layer in layers if isinstance(layer, nn.Linear)]:
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
        self.to(device)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=recipe.rates[0], momentum=recipe.rates[1])

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Codes in [0, 1]; an image itself where there is no auto-encoder."""
        for layer in self.encoder:
            x = layer(x).sigmoid()
        return x

    def decode(self, code: Float[Tensor, "n c"], down_to: int = 0) -> Float[Tensor, "n d"]:
        """Images of codes, in [0, 1], or what lies `down_to` layers above them."""
        for layer in reversed(self.decoder[down_to:]):
            code = layer(code).sigmoid()
        return code

    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """A step of the auto-encoder while it is its turn, then of the net on the root of the squared MMD.

        Returned: the cost of either, the auto-encoder's in nats an image.
        """
        recipe, below = self.recipe, len(self.encoder) * self.recipe.layer_updates
        tuning, matching = self.updates - below, self.updates - below - recipe.tune_updates
        if not self.encoder:
            matching = self.updates
        if matching < 0:
            return self.update_autoencoder(x[: recipe.code_batch], tuning)
        late = matching >= recipe.late_update
        self.set_rates(*(recipe.late_rates if late else recipe.rates))
        with torch.no_grad():
            codes = self.encode(x)
        drawn = self.net(self.noise(len(x)))
        cost = (squared_mmd(codes, drawn, recipe.widths).clamp(min=0) + 1e-20).sqrt()
        self.descend(cost)
        return cost

    def update_autoencoder(self, x: Float[Tensor, "m d"], tuning: int) -> Float[Tensor, ""]:
        """Train one layer, or, from tuning = 0 on, all of them together; cross-entropy, nats an image."""
        recipe = self.recipe
        if tuning < 0:
            self.set_rates(*recipe.layer_rates)
            number = self.updates // recipe.layer_updates
            with torch.no_grad():
                for layer in self.encoder[:number]:
                    x = layer(x).sigmoid()
            logits = self.decoder[number](self.encoder[number](x).sigmoid())
        else:
            momentum = [m for start, m in recipe.tune_momentum if start <= tuning][-1]
            self.set_rates(recipe.tune_rate, momentum)
            code = x
            for layer, share in zip(self.encoder, recipe.drop, strict=True):
                code = layer(dropout(code, share)).sigmoid()
            logits = self.decoder[0](self.decode(code, down_to=1))
        cost = binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1).mean()
        self.optimizer.zero_grad(set_to_none=True)
        cost.backward()
        nn.utils.clip_grad_norm_(self.parameters(), recipe.largest_gradient)
        self.optimizer.step()
        return cost

    def noise(self, n: int) -> Float[Tensor, "n z"]:
        """n codes, uniform on [-1, 1]."""
        return 2 * torch.rand(n, self.recipe.z_dim, device=self.device) - 1

    def draw(self, n: int) -> Float[Tensor, "n d"]:
        """The net's outputs for random codes, decoded."""
        return self.decode(self.net(self.noise(n)))


TRAIN = "train.py of github.com/yujiali/gmmn (the authors', 2015)"
AUTOENCODER = (
    "code_layers layer_updates layer_rates tune_updates tune_rate tune_momentum"
    " code_batch drop largest_gradient"
)
"""The fields that are about the auto-encoder."""

GMMN_MNIST = GMMNRecipe(
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
    sources=MNIST_SOURCES
    | sources(
        TRAIN,
        "epochs batch_size z_dim hidden widths late_update",
        rates=Source("ours", "there a learning rate of 2, by which our net gets stuck"),
        late_rates=Source("ours", "there a learning rate of .2"),
    )
    | dict.fromkeys(AUTOENCODER.split(), UNUSED),
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
    sources={**GMMN_MNIST.sources, **sources(TRAIN, f"{AUTOENCODER} rates late_rates")},
)

GMMN_FACES = on_faces(
    GMMN_MNIST,
    Source(TRAIN),
    "epochs widths batch_size z_dim hidden late_update",
    epochs=96,
    widths=(5.0, 10.0, 20.0, 40.0, 80.0, 160.0),
)

# theirs: 15,000 updates for each layer, too, and a momentum of .5 from update 50 to 200 of the tuning
GMMN_AE_FACES = on_faces(
    GMMN_AE_MNIST,
    Source(TRAIN),
    "widths rates batch_size z_dim hidden late_update late_rates code_layers layer_rates tune_updates"
    " tune_rate code_batch drop largest_gradient",
    epochs=144,
    widths=(1.0, 2.0, 5.0, 10.0, 20.0, 40.0),
    rates=(0.1, 0.9),
    late_rates=(0.01, 0.99),
    code_layers=(512, 512, 128),
    tune_updates=15_000,
    tune_momentum=((0, 0.0),),
    drop=(0.1, 0.1, 0.1),
)
