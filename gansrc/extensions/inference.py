"""Learned approximate inference: an encoder that guesses the code of an image, for a generator that is fixed
or learns beside it (section 7, item 2; Donahue et al., 2017; Dumoulin et al., 2017)."""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.distributions import Uniform

from gansrc import measures, networks
from gansrc.datasets import Dataset
from gansrc.game import generator_cost, minibatch_value
from gansrc.gan import GANRecipe, TrainedGenerator
from gansrc.model import OURS, UNUSED, Recipe, Sampler, Source, sources
from gansrc.models.base import MNIST_SOURCES, MinibatchModel, MinibatchRecipe
from gansrc.streams import draw, drawing_from

EDGE = math.sqrt(3.0)
"""Codes are uniform between -EDGE and EDGE, of variance 1."""
KEPT = 200
"""So many test images lie beside the weights, to be encoded and drawn again where there are no data."""
TESTED = 2000
"""Test images that distances are measured on while training: every fifth of MNIST's."""
MEASURED_EVERY = 5
"""Epochs between two looks at test images."""
SLOPE = 0.2
"""Of leaky rectifiers, below 0."""


@dataclass(frozen=True, kw_only=True)
class InferenceRecipe(MinibatchRecipe):
    """Hyper-parameters of an encoder, and of the generator if that is not given.

    objective: "regression" of z from G(z), or "adversarial": D tells pairs (x, E(x)) from (G(z), z).
    pretrained: the recipe whose trained G is fixed; empty for a G that learns with the encoder. z_dim:
    numbers of a code. g_hidden, e_hidden, d_hidden: units of each layer. learning_rate, beta, weight_decay:
    of Adam; after `steady_epochs` the rate falls to a hundredth within `falling_epochs`, exponentially.
    """

    objective: Literal["regression", "adversarial"]
    pretrained: str
    z_dim: int
    g_hidden: tuple[int, ...]
    e_hidden: tuple[int, ...]
    d_hidden: tuple[int, ...]
    learning_rate: float
    beta: float
    weight_decay: float
    steady_epochs: int
    falling_epochs: int

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> Inference:
        """All nets at their start, but for a copy of the generator of `below`. Raises ValueError for a
        regression without a generator that is given: then all would be guessed best from equal images."""
        if self.objective == "regression" and not self.pretrained:
            raise ValueError("regression needs a fixed generator, got pretrained = '': name a recipe there")
        return Inference(self, dataset, seed, device, cast(TrainedGenerator, below).net if below else None)

    def builds_on(self) -> str:
        """The recipe whose generator is fixed."""
        return self.pretrained

    def check_below(self, below: Recipe) -> None:
        """Raise ValueError if the generator of `below` is not one of rectifiers, with uniform codes, of this
        size."""
        given = cast(GANRecipe, below)
        plain = not (given.g_deconvolution or given.g_strokes or given.g_activations)
        found = (given.noise, plain, given.z_dim, *given.g_hidden)
        if found != ("uniform", True, self.z_dim, *self.g_hidden):
            sizes = " -> ".join(map(str, (self.z_dim, *self.g_hidden)))
            raise ValueError(
                f"{self.name} needs a generator of rectifiers, {sizes} units, with uniform codes, got a run"
                f" of {given.name}: give --pretrained a run of {self.pretrained}"
            )

    def prepare(self, dataset: Dataset) -> Dataset:
        """With every fifth test image, if G is fixed: the samples of that are scored by its own run."""
        if not self.pretrained:
            return dataset
        labels = {part: kind[::5] if part == "test" else kind for part, kind in dataset.labels.items()}
        return dataclasses.replace(dataset, test=dataset.test[::5], labels=labels)


class Inference(MinibatchModel):
    """A generator and its encoder. E's codes lie, as z does, between -EDGE and EDGE."""

    recipe: InferenceRecipe
    digits: Tensor

    def __init__(
        self,
        recipe: InferenceRecipe,
        dataset: Dataset,
        seed: int,
        device: torch.device | str,
        generator: nn.Sequential | None,
    ) -> None:
        super().__init__(recipe, seed, device)
        rng, d, z = torch.Generator().manual_seed(seed), dataset.train.shape[1], recipe.z_dim
        self.dataset, self.every = dataset, max(len(dataset.test) // TESTED, 1)
        test = dataset.test[:: self.every]
        with drawing_from(rng):
            self.encoder = normalised([d, *recipe.e_hidden, z])
            self.discriminator = normalised([d + z, *recipe.d_hidden, 1])
            if recipe.pretrained:
                fixed = networks.generator(z, recipe.g_hidden, d, 0.05, rng)
                self.generator = (copy.deepcopy(generator) if generator else fixed).requires_grad_(False)
            else:
                self.generator = normalised([z, *recipe.g_hidden, d], slope=0.0, first=True).append(
                    nn.Sigmoid()
                )
        shown = test[torch.arange(KEPT) % len(test)] if len(test) else torch.zeros(KEPT, d)
        self.register_buffer("digits", shown)
        self.to(device)
        edge = torch.full((z,), EDGE, device=device)
        self.noise = Uniform(-edge, edge, validate_args=False)
        coder = [*self.encoder.parameters()]
        coder += [] if recipe.pretrained else [*self.generator.parameters()]
        self.optimizer = torch.optim.Adam(
            [{"params": coder}, {"params": [*self.discriminator.parameters()]}],
            recipe.learning_rate, (recipe.beta, 0.999), weight_decay=recipe.weight_decay,
        )  # fmt: skip

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n z"]:
        """The code that E guesses for each image."""
        return EDGE * self.encoder(x).tanh()

    def tells(self, x: Float[Tensor, "n d"], z: Float[Tensor, "n z"]) -> Float[Tensor, " n"]:
        """D's logits for pairs of an image and a code: large where it takes the image for real."""
        return self.discriminator(torch.cat([x, z], 1))[:, 0]

    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """One step of E, with D and a G that learns, all at once; E's cost.

        Regression: E |z - E(G(z))|^2, data unused. Adversarial: D ascends V of the two kinds of pairs, E (and
        G) descend -log D(G(z), z) - log(1 - D(x, E(x))), nats: each wants its pairs taken for the others.
        """
        recipe, z = self.recipe, draw(self.noise, len(x))
        coder, judge = (group["params"] for group in self.optimizer.param_groups)
        fall = max(self.epoch + 1 - recipe.steady_epochs, 0) / recipe.falling_epochs
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * 0.01 ** min(fall, 1)
        made = self.generator(z)
        if recipe.objective == "regression":
            cost = (z - self.encode(made)).square().sum(1).mean()
            self.descend(cost)
            return cost
        real, fake = self.tells(x, self.encode(x)), self.tells(made, z)
        cost = generator_cost(fake, saturating=False) + generator_cost(-real, saturating=False)
        down = torch.autograd.grad(-minibatch_value(real, fake), judge, retain_graph=True)
        for p, gradient in zip((*coder, *judge), (*torch.autograd.grad(cost, coder), *down), strict=True):
            p.grad = gradient
        self.optimizer.step()
        return cost

    def draw(self, n: int) -> Float[Tensor, "n d"]:
        """G of random codes."""
        return torch.cat([self.generator(z) for z in draw(self.noise, n).split(1000)])

    def rates(self) -> dict[str, float]:
        """The learning rate and, after the first and every fifth epoch, what is seen on test images; else
        nan."""
        seen = self.epoch % MEASURED_EVERY == 0 or self.epoch == 1
        return super().rates() | (self.measured() if seen else dict.fromkeys(COLUMNS, math.nan))

    @torch.no_grad()
    def measured(self) -> dict[str, float]:
        """Mean distances on test images and on as many samples, and how well codes tell kinds.

        error: |x - G(E(x))|, other: the same to another image's. sample_error, sample_other: of x = G(z).
        code_error: |z - E(G(z))|, code_other: from another sample's z. code_spread, sample_spread: the root
        mean square of a number of E(x), and of E(G(z)), about its mean; 1 for z itself. nearest_code,
        nearest_hidden: the share of test images whose kind is that of the training image next to them, in
        E(x) and in E's last hidden layer. nan where there are no test images or labels.
        """
        x = self.dataset.test[:: self.every].to(self.device)
        if not len(x):
            return dict.fromkeys(COLUMNS, math.nan)
        self.eval()
        z = draw(self.noise, len(x), torch.Generator(self.device).manual_seed(0))
        made = self.generator(z)
        codes, back = self.encode(x), self.encode(made)
        drawn, drawn_back = self.generator(codes), self.generator(back)
        values = (
            apart(x, drawn), apart(x.roll(1, 0), drawn), apart(made, drawn_back),
            apart(made.roll(1, 0), drawn_back), apart(z, back), apart(z.roll(1, 0), back),
            spread(codes), spread(back), *self.nearest(x),
        )  # fmt: skip
        return dict(zip(COLUMNS, values, strict=True))

    def nearest(self, x: Float[Tensor, "t d"]) -> tuple[float, float]:
        """nearest_code and nearest_hidden, of test images."""
        if not {"train", "test"} <= self.dataset.labels.keys():
            return math.nan, math.nan
        labels, truth = (self.dataset.labelled(part).to(self.device) for part in ("train", "test"))
        truth = truth[:: self.every]
        known = torch.cat(
            [self.encoder[:-1](part.to(self.device)) for part in self.dataset.train.split(5000)]
        )
        seen = self.encoder[:-1](x)
        last = self.encoder[-1]
        pairs = (EDGE * last(known).tanh(), EDGE * last(seen).tanh()), (known, seen)
        code, hidden = (neighbour_accuracy(of, labels, at, truth) for of, at in pairs)
        return code, hidden

    def pictures(self, rng: torch.Generator) -> dict[str, Float[Tensor, "_ d"]]:
        """Test images drawn again from their codes; and five walks from one code to another, each between the
        two images themselves."""
        self.eval()
        with torch.no_grad():
            codes = self.encode(self.digits)
            t = torch.linspace(0, 1, 10)[:, None]
            lines = [
                torch.cat([x[:1], self.generator((1 - t) * a + t * b), x[1:]])
                for x, (a, b) in zip(self.digits[:10].split(2), codes[:10].split(2), strict=True)
            ]
            return {"walk": torch.cat(lines), "reconstructions": self.generator(codes)}


COLUMNS = (
    "error", "other", "sample_error", "sample_other", "code_error", "code_other", "code_spread",
    "sample_spread", "nearest_code", "nearest_hidden",
)  # fmt: skip
"""What `Inference.measured` gives, in its order."""


def normalised(sizes: list[int], slope: float = SLOPE, first: bool = False) -> nn.Sequential:
    """Affine layers with leaky rectifiers between them, batch normalisation before these; before the `first`
    one only if asked for."""
    layers: list[nn.Module] = []
    for number, (below, above) in enumerate(zip(sizes[:-1], sizes[1:], strict=True), 1):
        layers.append(nn.Linear(below, above))
        if number < len(sizes) - 1:
            layers += [nn.BatchNorm1d(above, affine=False)] if number > 1 or first else []
            layers.append(nn.LeakyReLU(slope))
    return nn.Sequential(*layers)


def apart(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> float:
    """The mean distance of two rows of the same number."""
    return (a - b).norm(dim=1).mean().item()


def spread(codes: Float[Tensor, "n z"]) -> float:
    """The root mean square of a number of a code about its mean over codes."""
    return codes.var(0, correction=0).mean().sqrt().item()


def neighbour_accuracy(
    known: Float[Tensor, "n d"],
    labels: Int64[Tensor, " n"],
    x: Float[Tensor, "m d"],
    truth: Int64[Tensor, " m"],
) -> float:
    """The share of rows x whose label is that of the nearest of the known rows."""
    _, nearest = measures.nearest(x, known)
    return (labels[nearest[:, 0]] == truth).float().mean().item()


def by_hand(
    generator: nn.Module, x: Float[Tensor, "n d"], z: Float[Tensor, "n z"], steps: int, rate: float = 0.1
) -> Float[Tensor, "n z"]:
    """Codes whose images are nearer to x than those of z: so many steps of Adam on |x - G(z)|^2, per image.

    No net guesses here; it shows what the generator could do. Codes are kept between -EDGE and EDGE.
    """
    z = z.detach().clone().requires_grad_()
    adam = torch.optim.Adam([z], rate)
    for _ in range(steps):
        (z.grad,) = torch.autograd.grad((x - generator(z)).square().sum(), z)
        adam.step()
        with torch.no_grad():
            z.clamp_(-EDGE, EDGE)
    return z.detach()


SCRIPT = "train_mnist.sh of github.com/jeffdonahue/bigan (the authors', 2016)"
SMALLER = Source("ours", "half of their 1,024, for the time of a CPU")

BIGAN_MNIST = InferenceRecipe(
    name="bigan-mnist",
    data="mnist",
    epochs=400,
    batch_size=128,
    objective="adversarial",
    pretrained="",
    z_dim=50,
    g_hidden=(512, 512),
    e_hidden=(512, 512),
    d_hidden=(512, 512),
    learning_rate=2e-4,
    beta=0.5,
    weight_decay=2.5e-5,
    steady_epochs=200,
    falling_epochs=200,
    sources=MNIST_SOURCES
    | sources(
        SCRIPT,
        "epochs batch_size z_dim learning_rate beta weight_decay steady_epochs falling_epochs",
        objective=Source(SCRIPT, "its first objective"),
        pretrained=UNUSED,
        **dict.fromkeys(("g_hidden", "e_hidden", "d_hidden"), SMALLER),
    ),
)
"""Generator and encoder learn together, against a D that sees pairs (Donahue et al., 2017)."""

FIXED = "Goodfellow et al. (2014), section 7"

INFERENCE_ADVERSARIAL = dataclasses.replace(
    BIGAN_MNIST,
    name="inference-mnist-adversarial",
    epochs=30,
    preview=1000,
    pretrained="mnist",
    z_dim=100,
    g_hidden=(1200, 1200),
    sources={
        **BIGAN_MNIST.sources,
        "epochs": OURS,
        "objective": Source("Dumoulin et al. (2017)", "learned inference after G is trained"),
        **sources("mnist.yaml", "z_dim g_hidden"),
        "pretrained": Source(FIXED, "a fixed generator net, after it has finished training"),
    },
)
"""The paper's own generator stays as it is; its encoder plays against a D that sees pairs."""

INFERENCE_REGRESSION = dataclasses.replace(
    INFERENCE_ADVERSARIAL,
    name="inference-mnist-regression",
    objective="regression",
    d_hidden=(),
    sources={
        **INFERENCE_ADVERSARIAL.sources,
        "objective": Source(FIXED, "a net that predicts z given x"),
        "d_hidden": UNUSED,
    },
)
"""The paper's own generator stays as it is; its encoder learns z from G(z), and sees no digit."""
