"""All conditionals p(x_S | x_not-S) by one generator (section 7, item 3): it is given what is known of an
image and what is missing, and draws the rest. The game is the plain one, on pairs of an image and its gap."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.distributions import Distribution, Normal, Uniform

from gansrc import networks
from gansrc.datasets import Dataset
from gansrc.game import Game, Rules
from gansrc.gan import GAN, GANRecipe, TrainedGenerator
from gansrc.model import OURS, UNUSED, Sampler, Source, sources
from gansrc.recipes import WINK
from gansrc.streams import draw, drawing_from

PARTS = {"left": (-1, 0), "right": (-1, 1), "top": (-2, 0), "bottom": (-2, 1)}
"""Halves of an image: the axis that is cut, and which piece is missing."""
KINDS = ("all", "bernoulli", "box", "half", *PARTS)
"""Of gaps: see `gaps`."""


def gaps(
    kinds: Sequence[str], n: int, image_shape: Sequence[int], device: torch.device | str = "cpu"
) -> Float[Tensor, "n d"]:
    """What is missing of n images, 1, and what is known, 0; by torch's default generator.

    Each image's gap is of one of the `kinds`, all as likely. "all": nothing is known. "bernoulli": each pixel
    (in all its colours) with a probability of that image's own, uniform in [0, 1]; if that leaves none, all.
    "box": a rectangle of a quarter of the height or width, or more. "left", "right", "top", "bottom": that
    half; "half": any of them. Raises ValueError for an unknown kind, for numbers or lines of pixels that have
    no such halves or boxes, and for images neither grey nor in colour.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS] or ["nothing"] * (not kinds):
        raise ValueError(f"gaps must be of the kinds {', '.join(KINDS)}, got {unknown[0]}: choose of these")
    if len(image_shape) < 2 and (flat := set(kinds) - {"all", "bernoulli"}):
        given = " x ".join(map(str, image_shape))
        raise ValueError(f"a gap of the kind {min(flat)!r} is cut out of images, got rows of {given} numbers")
    if len(image_shape) > 3 or len(image_shape) == 3 and image_shape[0] != 3:
        given = " x ".join(map(str, image_shape))
        raise ValueError(f"gaps are cut out of grey or colour images, got {given}: give (h, w) or (3, h, w)")
    if len(image_shape) > 1 and 1 in image_shape[-2:] and {"half", *PARTS} & {*kinds}:
        given = " x ".join(map(str, image_shape[-2:]))
        raise ValueError(f"halves are cut out of images of two lines or more, got {given} pixels")
    drawn = torch.stack([_gaps_of(kind, n, image_shape[-2:], device) for kind in kinds])
    chosen = drawn[torch.randint(len(kinds), (n,), device=device), torch.arange(n, device=device)]
    colours = image_shape[0] if len(image_shape) == 3 else 1
    return chosen.flatten(1).repeat(1, colours)


def _gaps_of(kind: str, n: int, size: Sequence[int], device: torch.device | str) -> Float[Tensor, "n *size"]:
    """Gaps of one kind, of height and width, or of numbers."""
    if kind == "all":
        return torch.ones(n, *size, device=device)
    if kind == "bernoulli":
        missing = torch.rand(n, *size, device=device) < torch.rand(n, *[1] * len(size), device=device)
        none = ~missing.flatten(1).any(1).view(n, *[1] * len(size))
        return (missing | none).float()
    if kind == "half":
        return torch.stack([_gaps_of(part, n, size, device) for part in PARTS])[
            torch.randint(len(PARTS), (n,), device=device), torch.arange(n, device=device)
        ]
    if kind == "box":
        rows, columns = (_stretch(n, length, device) for length in size)
        return rows[:, :, None] * columns[:, None]
    axis, piece = PARTS[kind]
    place = torch.arange(size[axis], device=device) >= size[axis] // 2
    half = (place == bool(piece)).float()
    return (half[:, None] if axis == -2 else half).expand(n, *size)


def _stretch(n: int, length: int, device: torch.device | str) -> Float[Tensor, "n length"]:
    """n stretches of a line, 1 within: each a quarter to all of it, its length and then its place uniform."""
    least = math.ceil(length / 4)
    long = least + (torch.rand(n, 1, device=device) * (length - least + 1)).floor()
    first = (torch.rand(n, 1, device=device) * (length - long + 1)).floor()
    place = torch.arange(length, device=device)
    return ((place >= first) & (place < first + long)).float()


class Filler(nn.Sequential):
    """A generator that fills gaps: codes (z, x where it is known and else 0, gaps) to rows (x filled, gaps).

    Gaps are told by a positive number and 0. Its layers see all of a code and draw every pixel; known ones
    are put back as they were.
    """

    def forward(self, codes: Float[Tensor, "n code"]) -> Float[Tensor, "n pair"]:
        """The images with their gaps filled, beside the gaps."""
        drawn = super().forward(codes)
        known, missing = codes[:, -2 * drawn.shape[1] :].chunk(2, 1)
        return torch.cat([torch.where(missing > 0, drawn, known), missing], 1)


class GapGame(Game):
    """The plain game on pairs of an image and gaps: D is to tell (x, gaps) from (x filled, gaps).

    Every minibatch has gaps of its own. Those that G fills are in other images, drawn from the data too: the
    pair of what is known and what is missing is distributed alike on both sides.
    """

    kinds: tuple[str, ...]
    image_shape: tuple[int, ...]
    told: float

    def update(self, data: Float[Tensor, "n d"], chosen: Int64[Tensor, "k m"]) -> Float[Tensor, "4"]:
        """One update on k minibatches of images, each image with a gap."""
        self.images = data
        x = data[chosen.flatten()]
        pairs = torch.cat([x, self.told * gaps(self.kinds, len(x), self.image_shape, x.device)], 1)
        return super().update(pairs, torch.arange(len(x), device=x.device).view_as(chosen))

    def codes(self) -> Float[Tensor, "m code"]:
        """A minibatch of noise, of what is known of as many images, and of their gaps."""
        z, m = super().codes(), self.rules.batch_size
        x = self.images[torch.randint(len(self.images), (m,), device=self.images.device)]
        return asked(z, x, gaps(self.kinds, m, self.image_shape, x.device))


def asked(
    codes: Float[Tensor, "m code"], x: Float[Tensor, "m d"], missing: Float[Tensor, "m d"]
) -> Float[Tensor, "m code"]:
    """Codes where nothing is known, turned into those for images with gaps (1: missing); noise is kept."""
    z, d = codes[:, : codes.shape[1] - 2 * x.shape[1]], x.shape[1]
    return torch.cat([z, torch.where(missing > 0, 0, x), codes[:, -d:] * missing], 1)


@torch.no_grad()
def fill(
    filler: Filler,
    noise: Distribution,
    x: Float[Tensor, "m d"],
    missing: Float[Tensor, "_ _"],
    n: int,
    rng: torch.Generator,
) -> Float[Tensor, "n m d"]:
    """n draws from p(x_S | x_not-S) for every image, S its gap: 1 where a pixel is missing, 0 where known.

    noise: codes as of `ConditionalsRecipe.nothing_known`. Where all is missing these are draws from p(x).
    Raises ValueError for gaps of another shape than x, other numbers than 0 and 1, an image without any or
    with known pixels that are no numbers, images of another size than the filler's, and n < 1.
    """
    if n < 1:
        raise ValueError(f"every gap is filled once or more, got n = {n}")
    if missing.shape != x.shape:
        raise ValueError(f"gaps of shape {tuple(x.shape)} are wanted, got {tuple(missing.shape)}: give each"
                         " image one number a pixel")  # fmt: skip
    if not ((missing == 0) | (missing == 1)).all():
        wrong = missing[(missing != 0) & (missing != 1)][0].item()
        raise ValueError(f"gaps must be 1 where a pixel is missing and 0 where it is known, got {wrong:g}")
    if len(whole := (missing.sum(1) == 0).nonzero()):
        raise ValueError(f"nothing is missing of image {whole[0].item()}, counted from 0: leave it out")
    if not (known := x.isfinite() | (missing > 0)).all():
        row = int((~known).any(1).nonzero()[0])
        raise ValueError(f"known pixels must be finite, got nan or infinity in image {row}: count it missing")
    with drawing_from(rng):
        rows = [filler(asked(draw(noise, len(x)), x, missing)) for _ in range(n)]
    if (d := rows[0].shape[1] // 2) != x.shape[1]:
        raise ValueError(f"images of {d} numbers are filled here, got {x.shape[1]}: take the data set's size")
    return torch.stack(rows)[..., :d]


def quality(
    fills: Float[Tensor, "n m d"], x: Float[Tensor, "m d"], missing: Float[Tensor, "m d"]
) -> dict[str, Float[Tensor, " m"]]:
    """How n fillings of each image lie about the truth, squared errors per missing pixel, image by image.

    "one": of the first filling. "mean": of the mean of all. "best": of the nearest to the truth. "spread":
    their variance, sum over n - 1. "altered": the most by which a known pixel has been changed. Draws from
    the true conditional have E mean = (1 + 1/n) E spread and E one = 2 E spread.
    """
    count = missing.sum(1)
    errors = ((fills - x).square() * missing).sum(-1) / count
    return {
        "one": errors[0],
        "mean": ((fills.mean(0) - x).square() * missing).sum(-1) / count,
        "best": errors.amin(0),
        "spread": (fills.var(0) * missing).sum(-1) / count,
        "altered": ((fills - x).abs() * (1 - missing)).amax((0, 2)),
    }


def window(
    fills: Float[Tensor, "n m d"],
    x: Float[Tensor, "m d"],
    missing: Float[Tensor, "m d"],
    sigmas: Sequence[float],
) -> Float[Tensor, "sigmas m"]:
    """log p(x_S | x_not-S) by a Gaussian Parzen window on n fillings, nats, for every width and image.

    As section 5 scores samples, but each image has fillings of its own, and only missing pixels count. A
    filler that repeats one answer has a single bell.
    """
    squares = ((fills - x).square() * missing).sum(-1).double()
    widths = squares.new_tensor(sigmas)[:, None]
    bells = (-squares[:, None] / (2 * widths.square())).logsumexp(0) - math.log(len(fills))
    return (bells - missing.sum(1) * (widths * math.sqrt(2 * math.pi)).log()).float()


@torch.no_grad()
def from_neighbours(
    x: Float[Tensor, "m d"], missing: Float[Tensor, "m d"], train: Float[Tensor, "t d"], n: int
) -> Float[Tensor, "n m d"]:
    """Gaps filled from the n training images that are nearest in the known pixels, nearest first.

    Raises ValueError for fewer images than n.
    """
    if not 1 <= n <= len(train):
        raise ValueError(f"n must be from 1 to the {len(train)} training images, got {n}")
    known = 1 - missing
    gap = torch.addmm((known @ train.square().T), known * x, train.T, alpha=-2)  # less what x alone gives
    found = train[gap.topk(n, 1, largest=False).indices].movedim(1, 0)
    return torch.where(missing > 0, found, x)


@dataclass(frozen=True, kw_only=True)
class ConditionalsRecipe(GANRecipe):
    """Settings of a pair of nets for all conditionals: those of a GAN, and what may be missing.

    gaps: the kinds of gaps, each as likely: see `gansrc.extensions.conditionals.gaps`. G gets, beside z_dim
    numbers of noise, as many numbers as two images have; so does D. told: the number by which a missing pixel
    is told to the nets; a known one is 0. Samples are drawn with nothing known.
    """

    gaps: tuple[str, ...]
    told: float = 1 / 3

    together = False
    leaves_samples = True

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> FillingGAN:
        """The game at its start. Raises ValueError for gaps that such images cannot have."""
        shape, d = dataset.image_shape, dataset.train.shape[1]
        gaps(self.gaps, 1, shape)
        init = torch.Generator().manual_seed(seed)
        generator = self.generator(shape, init)
        if self.output_bias == "marginals":
            networks.set_output_bias_(generator, dataset.train)
        discriminator = networks.discriminator(
            2 * d, self.d_hidden, self.d_pieces, self.keep_input, self.keep_hidden, self.d_range, init
        )
        game = GapGame(
            generator.to(device), discriminator.to(device), self.nothing_known(d, device), self.rules,
            torch.Generator(device).manual_seed(seed), self.average,
        )  # fmt: skip
        game.kinds, game.image_shape, game.told = self.gaps, shape, self.told
        return FillingGAN(game)

    def generator(self, image_shape: Sequence[int], rng: torch.Generator) -> Filler:
        """G before training; the output bias is still zero."""
        d = math.prod(image_shape)
        return Filler(*networks.generator(
            self.z_dim + 2 * d, self.g_hidden, d, self.g_range, rng, self.g_activations, self.g_output
        ))  # fmt: skip

    def nothing_known(self, d: int, device: torch.device | str = "cpu") -> Distribution:
        """Codes where all d numbers of an image are missing: p_z, zeros, and `told` d times."""
        noise, zero = self.p_z(device), torch.zeros(d, device=device)
        empty = torch.full_like(zero, self.told)
        if isinstance(noise, Uniform):
            low, high = (torch.cat([edge, zero, empty]) for edge in (noise.low, noise.high))
            return Uniform(low, high, validate_args=False)
        assert isinstance(noise, Normal)
        scale = torch.cat([noise.scale, zero, zero])
        return Normal(torch.cat([noise.loc, zero, empty]), scale, validate_args=False)

    def sampler(self, image_shape: Sequence[int]) -> TrainedFiller:
        """G, whose weights are still to be loaded."""
        net = self.generator(image_shape, torch.Generator()).eval()
        return TrainedFiller(net, self.nothing_known(math.prod(image_shape)))


class FillingGAN(GAN):
    """A game of gaps under the contract of `Model`."""

    def samples(self, n: int, rng: torch.Generator, weights: str = "last") -> Float[Tensor, "n d"]:
        """n samples with nothing known."""
        return super().samples(n, rng, weights).chunk(2, 1)[0]


@dataclass(frozen=True)
class TrainedFiller(TrainedGenerator):
    """A trained net that fills gaps, and its codes where nothing is known."""

    net: Filler

    def samples(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """n samples with nothing known."""
        return super().samples(n, rng).chunk(2, 1)[0]

    def pictures(self, rng: torch.Generator) -> dict[str, Float[Tensor, "_ d"]]:
        """None."""
        return {}

    def fill(
        self, x: Float[Tensor, "m d"], missing: Float[Tensor, "_ _"], n: int, rng: torch.Generator
    ) -> Float[Tensor, "n m d"]:
        """n draws for every image's gap: see `fill`."""
        return fill(self.net, self.noise, x, missing, n, rng)


PAPER = "mnist.yaml, and Algorithm 1 of the paper"
CODE = "__init__.py of github.com/goodfeli/adversarial, inpainting_sample_and_noise"

CONDITIONALS_MNIST = ConditionalsRecipe(
    name="conditionals-mnist",
    data="mnist",
    gaps=("all", "bernoulli", "box", "half"),
    noise="uniform",
    z_dim=100,
    g_hidden=(600, 600),
    g_range=0.05,
    output_bias="marginals",
    d_hidden=(120, 120),
    d_pieces=5,
    d_range=0.02,
    keep_input=0.8,
    keep_hidden=0.5,
    rules=Rules(),
    epochs=250,
    sources=sources(
        PAPER,
        "data noise z_dim g_range output_bias d_pieces keep_input keep_hidden rules order k d_cost"
        " saturating batch_size learning_rate decay min_learning_rate momentum momentum_epochs fresh_masks"
        " g_activations g_output g_output_range g_steps epoch_updates",
        **dict.fromkeys(("name", "preview", "rows_per_epoch", "average", "epochs"), OURS),
        gaps=Source("ours", "the paper names no kinds; nothing known, so that p(x) is among them"),
        **dict.fromkeys(("g_hidden", "d_hidden"), Source("ours", "half as wide as theirs")),
        told=Source("ours", "784 of them, an empty image, then weigh about as much as a digit"),
        d_range=Source("ours", "four times theirs: D is undecided for hundreds of updates less"),
        **dict.fromkeys(
            ("g_sigmoid_bias", "g_output_sparse", "g_deconvolution", "g_strokes", "d_convolutions",
             "contrast", "pretrained", "max_column_norm"),
            UNUSED,
        ),
    ),
)  # fmt: skip
"""Digits with any part missing, by the paper's own recipe for MNIST."""

INPAINTING_CIFAR10 = dataclasses.replace(
    CONDITIONALS_MNIST,
    name="inpainting-cifar10",
    data="cifar10",
    gaps=("right",),
    noise="gaussian",
    z_dim=3 * 32 * 16,
    g_hidden=(500, 500),
    d_hidden=(100, 100),
    rules=Rules(learning_rate=0.025),
    epochs=50,
    sources={
        **CONDITIONALS_MNIST.sources,
        **sources("ours", "data g_range learning_rate g_hidden d_hidden output_bias"),
        "gaps": Source(CODE, "the right half"),
        "noise": Source(CODE, "normal, in the place of the missing pixels"),
        "z_dim": Source(CODE, "as many numbers as are missing"),
    },
)
"""The case that the authors' own code has, the right half of CIFAR-10, with small nets."""

AS_WINK = (
    "noise z_dim g_hidden g_range g_output output_bias d_hidden d_pieces d_range keep_input keep_hidden rules"
    " epochs preview average"
)
"""What the game on points takes over from the GAN's."""
CONDITIONALS_WINK = dataclasses.replace(
    CONDITIONALS_MNIST,
    name="conditionals-wink",
    data="wink",
    gaps=("bernoulli",),
    told=1.0,
    **{name: getattr(WINK, name) for name in AS_WINK.split()},
    sources={
        **CONDITIONALS_MNIST.sources,
        **sources(
            "ours",
            "data gaps told g_activations g_hidden d_hidden epochs preview average",
        ),
        **sources(
            "gan-wink",
            "noise z_dim g_range g_output output_bias d_pieces d_range keep_input keep_hidden batch_size"
            " learning_rate decay momentum epoch_updates",
        ),
        **dict.fromkeys(("g_output_range", "momentum_epochs"), UNUSED),
    },
)
"""Two numbers, either or both of them missing, whose conditionals are known in closed form."""
