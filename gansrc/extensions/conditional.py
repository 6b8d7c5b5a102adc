"""A conditional generative adversarial net, p(x | c): the class c is an input of both nets (section 7, 1)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.distributions import Distribution, Uniform
from torch.nn.functional import one_hot

from gansrc import parzen
from gansrc.datasets import Dataset
from gansrc.game import Game, Rules
from gansrc.gan import GAN, GameRecipe
from gansrc.model import OURS, Sampler, Source, sources
from gansrc.networks import Dropout, Linear, Maxout, init_uniform_, set_output_bias_
from gansrc.streams import draw, drawing_from


class Branches(nn.Module):
    """The parts of a row, so many numbers each, through a net each; what comes out side by side."""

    def __init__(self, sizes: Sequence[int], nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.sizes, self.nets = list(sizes), nn.ModuleList(nets)

    def forward(self, row: Float[Tensor, "n parts"]) -> Float[Tensor, "n units"]:
        """All parts' units."""
        return torch.cat([net(x) for net, x in zip(self.nets, row.split(self.sizes, 1), strict=True)], 1)


class HandingOn(nn.Module):
    """A generator of pairs: (z, c) to (G(z, c), c). `net` sees both; c, of `classes` numbers, goes on."""

    def __init__(self, net: nn.Sequential, classes: int) -> None:
        super().__init__()
        self.net, self.classes = net, classes

    def forward(self, codes: Float[Tensor, "n zc"]) -> Float[Tensor, "n xc"]:
        """A sample for every code, and the class that it was asked for."""
        return torch.cat([self.net(codes), codes[:, -self.classes :]], 1)


class WithClass(Distribution):
    """Codes (z, c): z from p_z, c of the classes' shares, as one 1 among 0s.

    Only rows are drawn, `sample((n,))`, from torch's default generator.
    """

    def __init__(self, p_z: Distribution, shares: Float[Tensor, " classes"]) -> None:
        super().__init__(validate_args=False)
        self.p_z, self.edges = p_z, shares.cumsum(0)[:-1].contiguous()
        self.ones = torch.eye(len(shares), device=shares.device)

    def sample(self, sample_shape: Sequence[int] = ()) -> Float[Tensor, "n zc"]:
        """n codes."""
        (n,) = sample_shape
        z = draw(self.p_z, n)
        # no multinomial: on a card it would ask for a value, which a replayed update must not
        chance = torch.rand(n, device=self.edges.device)
        return torch.cat([z, self.ones[torch.searchsorted(self.edges, chance, right=True)]], 1)


@torch.no_grad()
def in_turn(net: HandingOn, p_z: Distribution, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
    """n samples, number i of class i mod K: a code z is drawn for K of them, and serves every class once.

    So n K samples, K to a row, are a table: a row to a code, a column to a class.
    """
    with drawing_from(rng):
        z = draw(p_z, math.ceil(n / net.classes))
    each = torch.eye(net.classes, device=z.device).repeat(len(z), 1)
    codes = torch.cat([z.repeat_interleave(net.classes, 0), each], 1)[:n]
    training = net.training
    net.eval()
    samples = torch.cat([net(part)[:, : -net.classes] for part in codes.split(1000)])
    net.train(training)
    return samples


@torch.no_grad()
def walks(net: HandingOn, p_z: Distribution, steps: int = 12, seed: int = 3) -> Float[Tensor, "5 steps d"]:
    """Five straight lines of samples: three on which z goes from one code to another, c being fixed, and two
    on which c goes from one class to another, z being fixed. Half-way is a c that no net was trained on."""
    classes = net.classes
    with drawing_from(torch.Generator().manual_seed(seed)):
        z = draw(p_z, 8)
    first, last = torch.cat([z[:3], z[6:]]), torch.cat([z[3:6], z[6:]])
    fixed = [1, classes // 3, classes - 3]
    from_class = torch.tensor([*fixed, 0, classes // 2 - 1]) % classes
    to_class = torch.tensor([*fixed, classes // 2, classes - 1]) % classes
    ones, t = torch.eye(classes), torch.linspace(0, 1, steps)[None, :, None]
    start = torch.cat([first, ones[from_class]], 1)[:, None]
    end = torch.cat([last, ones[to_class]], 1)[:, None]
    return net(((1 - t) * start + t * end).flatten(0, 1))[:, :-classes].unflatten(0, (5, steps))


@dataclass(frozen=True, kw_only=True)
class ConditionalRecipe(GameRecipe):
    """A conditional game: both nets see the class beside their own input.

    z_dim: numbers of a code, uniform on [-sqrt(3), sqrt(3)]. g_z, g_c: rectifiers that z and the class go
    through, each for itself; g_joint: those that both meet in, below the sigmoid output. d_x, d_c, d_joint:
    likewise in D, maxout layers of (units, pieces), x being the image. g_range, d_range: weights start
    uniform in ±range, biases at 0, but for the output's, which start at the pixels' means. keep: dropout in
    training, a hidden unit of either net is kept with that probability.
    """

    z_dim: int
    g_z: int
    g_c: int
    g_joint: int
    g_range: float
    d_x: tuple[int, int]
    d_c: tuple[int, int]
    d_joint: tuple[int, int]
    d_range: float
    keep: float

    leaves_samples = True

    def prepare(self, dataset: Dataset) -> Dataset:
        """Images with their classes: rows (x, c). Raises ValueError for labels that lack or do not fit."""
        train = pairs(dataset.train, dataset.labelled("train"))
        classes = train.shape[1] - dataset.train.shape[1]
        valid, test = (
            pairs(x, dataset.labelled(part), classes)
            for part, x in (("valid", dataset.valid), ("test", dataset.test))
        )
        return dataclasses.replace(dataset, train=train, valid=valid, test=test)

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> ConditionalGAN:
        """The game at its start on a prepared data set; classes come as often as in training."""
        init, d = torch.Generator().manual_seed(seed), math.prod(dataset.image_shape)
        images, classes = dataset.train[:, :d], dataset.train[:, d:]
        generator = self.generator(d, classes.shape[1], init)
        set_output_bias_(generator.net, images)
        discriminator = self.discriminator(d, classes.shape[1], init)
        noise = WithClass(self.p_z(device), classes.mean(0).to(device))
        rng = torch.Generator(device).manual_seed(seed)
        nets = generator.to(device), discriminator.to(device)
        return ConditionalGAN(Game(*nets, noise, self.rules, rng, self.average), noise.p_z)

    def generator(self, d: int, classes: int, rng: torch.Generator) -> HandingOn:
        """G before training, (z, c) to (x, c); the output bias is still zero."""
        both = Branches(
            (self.z_dim, classes),
            [nn.Sequential(Linear(size, units), nn.ReLU())
             for size, units in ((self.z_dim, self.g_z), (classes, self.g_c))],
        )  # fmt: skip
        net = nn.Sequential(
            both, Dropout(self.keep), Linear(self.g_z + self.g_c, self.g_joint), nn.ReLU(),
            Dropout(self.keep), Linear(self.g_joint, d), nn.Sigmoid(),
        )  # fmt: skip
        return HandingOn(init_uniform_(net, self.g_range, rng), classes)

    def discriminator(self, d: int, classes: int, rng: torch.Generator) -> nn.Sequential:
        """D before training, (x, c) to logits (n,)."""
        both = Branches((d, classes), [Maxout(d, *self.d_x), Maxout(classes, *self.d_c)])
        net = nn.Sequential(
            both, Dropout(self.keep), Maxout(self.d_x[0] + self.d_c[0], *self.d_joint),
            Dropout(self.keep), Linear(self.d_joint[0], 1), nn.Flatten(-2),
        )  # fmt: skip
        return init_uniform_(net, self.d_range, rng)

    def p_z(self, device: torch.device | str = "cpu") -> Distribution:
        """The noise prior over codes (z_dim,)."""
        edge = torch.full((self.z_dim,), math.sqrt(3.0), device=device)
        return Uniform(-edge, edge, validate_args=False)

    def validate(self, samples: Float[Tensor, "n d"], valid: Float[Tensor, "v dc"]) -> dict[str, float]:
        """As for any model, of images without their classes."""
        return super().validate(samples, valid[:, : samples.shape[1]])

    def score(self, samples: Float[Tensor, "n d"], dataset: Dataset) -> dict[str, list[parzen.Score]]:
        """As for any model, of images without their classes."""
        return super().score(samples, dataset.mapped(lambda x: x[:, : samples.shape[1]]))

    def sampler(self, image_shape: Sequence[int]) -> TrainedConditional:
        """G, whose weights are still to be loaded: they say how many classes there are."""
        return TrainedConditional(self, math.prod(image_shape))


class ConditionalGAN(GAN):
    """A conditional game under the contract of `Model`: it samples every class in turn."""

    def __init__(self, game: Game, p_z: Distribution) -> None:
        super().__init__(game)
        self.p_z = p_z

    def samples(self, n: int, rng: torch.Generator, weights: str = "last") -> Float[Tensor, "n d"]:
        """n images, number i of class i mod K, with G's last weights or their running mean."""
        net = self.game.generator if weights == "last" else self.game.averaged()
        assert isinstance(net, HandingOn)
        return in_turn(net, self.p_z, n, rng)


class TrainedConditional:
    """A trained generator, which draws images of the classes in turn."""

    net: HandingOn

    def __init__(self, recipe: ConditionalRecipe, d: int) -> None:
        self.recipe, self.d, self.p_z = recipe, d, recipe.p_z()

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over G's weights, whatever file they were kept in."""
        own = {key.partition(".")[2]: tensor for key, tensor in weights.items()}
        classes = own["net.0.nets.1.0.weight"].shape[1]
        self.net = self.recipe.generator(self.d, classes, torch.Generator()).eval()
        self.net.load_state_dict(own)

    def samples(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """n images, number i of class i mod K."""
        return in_turn(self.net, self.p_z, n, rng)

    def pictures(self, rng: torch.Generator) -> dict[str, Float[Tensor, "_ d"]]:
        """Walks on which the code or the class moves; they have a stream of their own, for all runs one."""
        return {"walk": walks(self.net, self.p_z).flatten(0, 1)}


def pairs(x: Float[Tensor, "n d"], labels: Int64[Tensor, " _"], classes: int = 0) -> Float[Tensor, "n dc"]:
    """Rows (x, c): beside each image its class, as one 1 among 0s.

    classes: how many there are, where it is known; else the labels say it. Raises ValueError for labels that
    are not one an image, have no training image, are all the same, or leave a class out.
    """
    if labels.shape != (len(x),):
        raise ValueError(f"{len(x)} images need as many labels, got {len(labels)}: give one for each")
    if len(labels) and labels.min() < 0:
        raise ValueError(f"labels must be whole numbers from 0, got {labels.min()}: renumber them")
    if classes:
        if len(x) and labels.max() >= classes:
            raise ValueError(f"label {labels.max()} has no training image: leave its images out")
        return torch.cat([x, one_hot(labels, classes).to(x)], 1)
    counts = labels.bincount()
    if not counts.all() or len(counts) < 2:
        present = counts.nonzero()[:, 0].tolist()
        raise ValueError(f"a condition needs classes 0, 1, ..., two or more, got {present}: renumber them")
    return torch.cat([x, one_hot(labels).to(x)], 1)


def marks(
    read: Int64[Tensor, " n"],
    x: Float[Tensor, "n d"],
    asked: Int64[Tensor, " n"],
    real: Float[Tensor, "r d"],
    label: Int64[Tensor, " r"],
) -> tuple[Float[Tensor, " classes"], Float[Tensor, " classes"]]:
    """How samples fare, class by class: the share that is read as the class that was asked for, and their
    total variance as a share of that of real images of the class.

    The first finds a net that does not listen, the second one that has a single answer for each class.
    """
    classes = range(int(label.max()) + 1)
    right = torch.stack([(read[asked == c] == c).float().mean() for c in classes])
    varied = [x[asked == c].var(0).sum() / real[label == c].var(0).sum() for c in classes]
    return right, torch.stack(varied)


PAPER = "Mirza and Osindero (2014)"
SILENT = Source("ours", f"{PAPER} do not say")
CONDITIONAL_MNIST = ConditionalRecipe(
    name="conditional-mnist",
    data="mnist",
    z_dim=100,
    g_z=200,
    g_c=1000,
    g_joint=1200,
    g_range=0.05,
    d_x=(240, 5),
    d_c=(50, 5),
    d_joint=(240, 4),
    d_range=0.005,
    keep=0.5,
    rules=Rules(
        batch_size=100,
        learning_rate=0.1,
        decay=1.00004,
        min_learning_rate=1e-6,
        momentum=(0.5, 0.7),
        momentum_epochs=250,
    ),
    epochs=200,
    sources=sources(
        PAPER,
        "g_z g_c g_joint d_x d_c d_joint batch_size learning_rate min_learning_rate momentum",
        z_dim=Source(
            PAPER, "theirs from the unit hypercube; ours of mean 0 and variance 1, as in mnist.yaml"
        ),
        decay=Source(PAPER, "ten times what mnist.yaml of the GAN has"),
        keep=Source(PAPER, "of both nets; where it sits is ours: on hidden units, not on z, pixels, classes"),
        data=Source("as for the GAN", "they say MNIST; the first 50,000 training images in [0, 1]"),
        g_range=Source("mnist.yaml", "of the GAN's authors; theirs do not say"),
        d_range=Source("mnist.yaml", "of the GAN's authors; theirs do not say"),
        momentum_epochs=Source("mnist.yaml", "of the GAN's authors; theirs do not say"),
        rules=Source("below", "each of its fields"),
        order=Source("Algorithm 1 of the paper", "D moves first; theirs do not say"),
        k=SILENT,
        g_steps=SILENT,
        d_cost=SILENT,
        fresh_masks=SILENT,
        max_column_norm=SILENT,
        saturating=Source("section 3 of the paper", "theirs do not say"),
        epochs=Source(
            "ours", "theirs: the best by validation; here the rate has fallen to a fiftieth by then"
        ),
        epoch_updates=Source("ours", "one shuffled pass"),
        average=Source("ours", "as for the GAN"),
        preview=Source("ours", "as many as in the final score"),
        rows_per_epoch=OURS,
        name=OURS,
    ),
)
"""Digits on request, after the follow-up of 2014."""
