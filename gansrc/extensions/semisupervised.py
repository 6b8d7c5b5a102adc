"""Few labels, many images: a discriminator that also names the class, against a generator that matches its
features (Salimans et al., 2016)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gansrc.datasets import Dataset
from gansrc.game import minibatch_value
from gansrc.labels import few
from gansrc.model import Sampler, Source, sources
from gansrc.models.base import MNIST_SOURCES, MinibatchModel, MinibatchRecipe
from gansrc.networks import Bias, Maxout
from gansrc.streams import batch_indices, drawing_from


@torch.no_grad()
def hidden_layers(net: nn.Sequential, x: Float[Tensor, "n d"]) -> list[Float[Tensor, "n _"]]:
    """What the maxout layers of a discriminator say of images, from the bottom up."""
    found = []
    for layer in net:
        x = layer(x)
        if isinstance(layer, Maxout):
            found.append(x)
    return found


class Scaled(nn.Module):
    """Affine layer, (n, i) to (n, o): the weights into a unit have a direction and, apart, a length.

    (Weight normalisation: Salimans and Kingma, 2016.) learnt: whether the lengths are, too.
    """

    def __init__(self, direction: Float[Tensor, "o i"], learnt: bool) -> None:
        super().__init__()
        self.direction = nn.Parameter(direction)
        self.length = nn.Parameter(torch.ones(len(direction)), requires_grad=learnt)
        self.bias = nn.Parameter(torch.zeros(len(direction)))

    def forward(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        """The affine map of x."""
        return linear(x, self.direction * (self.length / self.direction.norm(dim=1))[:, None], self.bias)

    @torch.no_grad()
    def standardise_(self, x: Float[Tensor, "n i"]) -> None:
        """Set lengths and biases so that on x each unit has mean 0 and variance 1."""
        std, mean = torch.std_mean(self(x), 0, correction=0)
        self.length.div_(std.clamp(min=1e-6))
        self.bias.sub_(mean).div_(std.clamp(min=1e-6))


class NoisyClassifier(nn.Module):
    """Rectifiers below one score a class; in training every layer sees its input under Gaussian noise.

    noise: its standard deviation, one for each layer. Noise comes from torch's default generator.
    """

    def __init__(self, sizes: Sequence[int], noise: Sequence[float], std: float) -> None:
        super().__init__()
        self.noise, last = tuple(noise), len(sizes) - 2
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        layers = (Scaled(std * torch.randn(o, i), at == last) for at, (i, o) in enumerate(pairs))
        self.layers = cast(Sequence[Scaled], nn.ModuleList(layers))

    def noisy(self, x: Float[Tensor, "n i"], at: int) -> Float[Tensor, "n i"]:
        """The input of layer number `at`, under noise while training."""
        return x + self.noise[at] * torch.randn_like(x) if self.training else x

    def features(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """The last hidden layer."""
        for at, layer in enumerate(self.layers[:-1]):
            x = layer(self.noisy(x, at)).relu()
        return x

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n classes"]:
        """A score l_k for each class; the fakes' own, the class K + 1, is 0 for good."""
        return self.layers[-1](self.noisy(self.features(x), -1))

    @torch.no_grad()
    def standardise_(self, x: Float[Tensor, "n d"]) -> None:
        """Set lengths and biases, from the bottom up, so that each unit has mean 0 and variance 1 on x."""
        for at, layer in enumerate(self.layers):
            x = self.noisy(x, at)
            layer.standardise_(x)
            x = layer(x).relu()


@dataclass(frozen=True, kw_only=True)
class SemiSupervisedRecipe(MinibatchRecipe):
    """Hyper-parameters of a discriminator of K + 1 classes and its generator (Salimans et al., 2016).

    labels: so many training images have one, as many of each class. classes: K. batch_size: half of it for
    each net; D sees as many labelled images besides. z_dim: numbers of a code, uniform on [0, 1]. g_hidden:
    softplus units of G. d_hidden: rectifiers of D. input_noise, hidden_noise: standard deviation of the noise
    on D's input and on what its other layers see. d_std: of the normal start of D's directions. start_images:
    so many set their lengths. learning_rate, momentum, floor: of Adam, its first beta and its epsilon.
    average: decay, by update, of the running mean of D's weights that classifies.
    """

    labels: int
    classes: int
    z_dim: int
    g_hidden: tuple[int, ...]
    d_hidden: tuple[int, ...]
    input_noise: float
    hidden_noise: float
    d_std: float
    start_images: int
    learning_rate: float
    momentum: float
    floor: float
    average: float

    def prepare(self, dataset: Dataset) -> Dataset:
        """The data set as it is. Raises ValueError where labels are too few, or of too many classes."""
        labels = dataset.labelled("train")
        few(labels, self.labels, 0)
        least, most = (ends(torch.cat([*dataset.labels.values()])).item() for ends in (torch.min, torch.max))
        if least < 0 or most >= self.classes:
            raise ValueError(
                f"{dataset.source} has labels from {least} to {most}, {self.name} has {self.classes} classes:"
                f" number the classes from 0 to {self.classes - 1}"
            )
        return dataset

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> FeatureMatching:
        """Both nets at their start; which images have labels is drawn from `seed`, too."""
        return FeatureMatching(self, dataset, seed, device)


class FeatureMatching(MinibatchModel):
    """D names the class of an image, or calls it a fake; G's samples are to have D's features, on average.

    The few labelled images are part of its state. Without labels in the data set, as when a record is read,
    `load` brings them.
    """

    recipe: SemiSupervisedRecipe
    few: Tensor
    kinds: Tensor

    def __init__(
        self, recipe: SemiSupervisedRecipe, dataset: Dataset, seed: int, device: torch.device | str
    ) -> None:
        super().__init__(recipe, seed, device)
        d, chosen = dataset.train.shape[1], torch.zeros(recipe.labels, dtype=torch.int64)
        if "train" in dataset.labels:
            chosen = few(dataset.labels["train"], recipe.labels, seed)
        self.register_buffer("few", dataset.train[chosen])
        self.register_buffer("kinds", dataset.labels["train"][chosen] if dataset.labels else chosen)
        with drawing_from(torch.Generator().manual_seed(seed)):
            self.generator = softplus_generator([recipe.z_dim, *recipe.g_hidden, d])
            noise = [recipe.input_noise, *[recipe.hidden_noise] * len(recipe.d_hidden)]
            self.discriminator = NoisyClassifier([d, *recipe.d_hidden, recipe.classes], noise, recipe.d_std)
            some = torch.randint(len(dataset.train), (recipe.start_images,))
            self.discriminator.standardise_(dataset.train[some])
        zeros = [nn.Parameter(torch.zeros_like(p), False) for p in learnt(self.discriminator)]
        self.average = nn.ParameterList(zeros)
        self._update_average = get_ema_multi_avg_fn(recipe.average)
        self.to(device)
        self.held_out = dataset.test.to(device), dataset.labels.get("test", chosen[:0]).to(device)
        both = [*learnt(self.discriminator), *learnt(self.generator)]
        self.optimizer = torch.optim.Adam(
            both, recipe.learning_rate, betas=(recipe.momentum, 0.999), eps=recipe.floor
        )

    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """A step of D on half of the images and as many labelled ones, then one of G on the other half.

        Returned: D's cost, nats.
        """
        G, D = self.generator, self.discriminator
        for_d, for_g = x.chunk(2)
        labelled, kinds = self.labelled(len(for_d))
        with torch.no_grad():
            samples = G(self.codes(len(for_d)))
        parts = D(torch.cat([labelled, for_d, samples])).chunk(3)
        cost = classifier_cost(parts[0], kinds, parts[1], parts[2])
        self.move(D, cost)
        self._update_average(list(self.average), learnt(D), torch.tensor(self.updates))
        with torch.no_grad():
            features = D.features(for_g)
        self.move(G, mismatch(features, D.features(G(self.codes(len(for_g))))))
        return cost

    def labelled(self, m: int) -> tuple[Float[Tensor, "m d"], Int64[Tensor, " m"]]:
        """m labelled images and their classes: all in turn, each as often as the others."""
        n, seed = len(self.few), self.rng.initial_seed()
        whole = -(-m // n) * n  # so many places that a minibatch fits in
        chosen = next(batch_indices(whole, m, seed, self.updates, self.device)) % n
        return self.few[chosen], self.kinds[chosen]

    def codes(self, n: int) -> Float[Tensor, "n z"]:
        """n codes, uniform on [0, 1]."""
        return torch.rand(n, self.recipe.z_dim, device=self.device)

    def move(self, net: nn.Module, cost: Float[Tensor, ""]) -> None:
        """One step of Adam down the gradient of a cost, of one net alone."""
        self.optimizer.zero_grad(set_to_none=True)
        weights = learnt(net)
        for weight, gradient in zip(weights, torch.autograd.grad(cost, weights), strict=True):
            weight.grad = gradient
        self.optimizer.step()

    def classifier(self) -> NoisyClassifier:
        """D with the running mean of its weights, and without noise.

        The mean begins at 0; the share of it that this still makes up is taken out.
        """
        net, share = copy.deepcopy(self.discriminator).eval(), 1 - self.recipe.average ** max(self.updates, 1)
        for weight, mean in zip(learnt(net), self.average, strict=True):
            weight.data = mean / share
        return net.requires_grad_(False)

    @torch.no_grad()
    def rates(self) -> dict[str, float]:
        """The learning rate, and the share of test images that D names wrongly, by its last weights and by
        their running mean."""
        columns, (x, y) = super().rates(), self.held_out
        nets = {
            "test_error": copy.deepcopy(self.discriminator).eval(),
            "average_test_error": self.classifier(),
        }
        if not len(y):
            return columns
        return columns | {name: wrong(net(x), y) for name, net in nets.items()}

    def draw(self, n: int) -> Float[Tensor, "n d"]:
        """G's images of random codes."""
        return self.generator(self.codes(n))


def classifier_cost(
    labelled: Float[Tensor, "m classes"],
    kinds: Int64[Tensor, " m"],
    real: Float[Tensor, "m classes"],
    fake: Float[Tensor, "m classes"],
) -> Float[Tensor, ""]:
    r"""What D descends, nats: -log p(y | x) on labelled images, and half of -V on the others and samples.

    An image is real with the odds $Z = \sum_k \exp l_k$ against 1, so that log Z is D's logit in eq. (1) of
    the 2014 paper, and V its value.
    """
    return cross_entropy(labelled, kinds) - minibatch_value(real.logsumexp(1), fake.logsumexp(1)) / 2


def mismatch(real: Float[Tensor, "m f"], fake: Float[Tensor, "m f"]) -> Float[Tensor, ""]:
    """What G descends: by how much the features' means over a minibatch differ, squared; the mean over
    features. (Means first: not the distances of single images.)"""
    return (fake.mean(0) - real.mean(0)).square().mean()


def softplus_generator(sizes: Sequence[int]) -> nn.Sequential:
    """Codes to images in [0, 1]: softplus layers with batch normalisation, by torch's default generator.

    The normalisation has no lengths of its own; of the output layer's weights they are learnt.
    """
    layers: list[nn.Module] = []
    for below, above in zip(sizes[:-2], sizes[1:-1], strict=True):
        hidden = nn.Linear(below, above, bias=False)
        nn.init.xavier_uniform_(hidden.weight)
        normalised = nn.BatchNorm1d(above, eps=1e-6, affine=False)
        layers += [hidden, normalised, Bias(above), nn.Softplus()]
    direction = nn.init.xavier_uniform_(torch.empty(sizes[-1], sizes[-2]))
    return nn.Sequential(*layers, Scaled(direction, learnt=True), nn.Sigmoid())


def learnt(net: nn.Module) -> list[nn.Parameter]:
    """The parameters that a net's steps change."""
    return [p for p in net.parameters() if p.requires_grad]


def wrong(scores: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> float:
    """The share of rows whose largest score is not that of their class."""
    return (scores.argmax(1) != labels).double().mean().item()


THEIRS = "train_mnist_feature_matching.py of github.com/openai/improved-gan (the authors', 2016)"

SEMISUPERVISED_MNIST_100 = SemiSupervisedRecipe(
    name="semisupervised-mnist-100",
    data="mnist",
    epochs=360,
    batch_size=200,
    epoch_updates=500,
    labels=100,
    classes=10,
    z_dim=100,
    g_hidden=(500, 500),
    d_hidden=(1000, 500, 250, 250, 250),
    input_noise=0.3,
    hidden_noise=0.5,
    d_std=0.1,
    start_images=500,
    learning_rate=0.003,
    momentum=0.5,
    floor=1e-4,
    average=0.9999,
    sources=MNIST_SOURCES
    | sources(
        THEIRS,
        "labels classes z_dim g_hidden d_hidden input_noise hidden_noise d_std start_images learning_rate"
        " momentum average",
        epochs=Source(THEIRS, "180,000 updates, there 300 epochs"),
        epoch_updates=Source(THEIRS, "one pass of D; there it has all 60,000 training images, 600 updates"),
        batch_size=Source(THEIRS, "100 for each net"),
        floor=Source(THEIRS, "1e-8, but inside the root"),
    ),
)
"""The published setting: ten labels a class."""


def _of_others(labels: int) -> SemiSupervisedRecipe:
    """The same with another number of labels."""
    return dataclasses.replace(SEMISUPERVISED_MNIST_100, name=f"semisupervised-mnist-{labels}", labels=labels)


SEMISUPERVISED_MNIST_20 = _of_others(20)
SEMISUPERVISED_MNIST_50 = _of_others(50)
SEMISUPERVISED_MNIST_1000 = _of_others(1000)
