"""Z1: the class as one more input of both nets, against nets and updates written out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kstest, uniform
from torch import Tensor, nn
from torch.distributions import Uniform

from gansrc import catalogue, parzen, runs
from gansrc.cli import main
from gansrc.datasets import Dataset, of
from gansrc.extensions.conditional import (
    CONDITIONAL_MNIST,
    PAPER,
    Branches,
    ConditionalGAN,
    ConditionalRecipe,
    HandingOn,
    WithClass,
    in_turn,
    pairs,
    walks,
)
from gansrc.game import Game, Rules
from gansrc.networks import Linear

SMALL = {
    "z_dim": 3, "g_z": 6, "g_c": 5, "g_joint": 7, "d_x": (4, 2), "d_c": (3, 2), "d_joint": (5, 3),
    "g_range": 0.5, "d_range": 0.5, "preview": 30,
}  # fmt: skip
CLASSES = 3


def small(batch_size: int = 10, **changes: object) -> ConditionalRecipe:
    rules = dataclasses.replace(CONDITIONAL_MNIST.rules, batch_size=batch_size)
    return dataclasses.replace(CONDITIONAL_MNIST, **(SMALL | {"rules": rules} | changes))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labelled(n: int = 60, d: int = 9) -> Dataset:
    labels = torch.arange(n) % 4 % CLASSES  # class 0 twice as often
    none = labels[:0]
    data = of(torch.rand(n, d, generator=rng()), (3, 3))
    return dataclasses.replace(data, labels={"train": labels, "valid": none, "test": none})


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_Z1_values_are_those_of_the_follow_up():
    values = CONDITIONAL_MNIST.values() | dataclasses.asdict(CONDITIONAL_MNIST.rules)
    theirs = {  # Mirza and Osindero (2014), section 4.1; (units, pieces)
        "z_dim": 100, "g_z": 200, "g_c": 1000, "g_joint": 1200,
        "d_x": (240, 5), "d_c": (50, 5), "d_joint": (240, 4), "keep": 0.5,
        "batch_size": 100, "learning_rate": 0.1, "decay": 1.00004, "min_learning_rate": 1e-6,
        "momentum": (0.5, 0.7),
    }  # fmt: skip
    assert {field: values[field] for field in theirs} == theirs
    assert {f for f, s in CONDITIONAL_MNIST.sources.items() if s.where == PAPER} == theirs.keys()


def test_Z1_rows_are_images_with_their_class_beside_them():
    data = labelled()
    rows = small().prepare(data).train
    for row, image, label in zip(rows.tolist(), data.train.tolist(), data.labels["train"], strict=True):
        assert row[:9] == image and row[9:] == [float(k == label) for k in range(CLASSES)]


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 1] * 4, 0, "10 images need as many labels, got 8: give one for each"),
        ([0, 1] * 4, 2, "10 images need as many labels, got 8"),
        ([0] * 10, 0, r"a condition needs classes 0, 1, ..., two or more, got \[0\]: renumber them"),
        ([2] * 10, 0, r"two or more, got \[2\]"),
        ([0, 3] * 5, 0, r"two or more, got \[0, 3\]"),
        ([0, 3] * 5, 3, "label 3 has no training image: leave its images out"),
    ],
)
def test_Z1_bad_input_labels_that_do_not_fit(labels, classes, message):
    with pytest.raises(ValueError, match=message):
        pairs(torch.zeros(10, 2), torch.tensor(labels), classes)


def test_Z1_codes_have_classes_as_often_as_in_the_data_and_z_as_the_prior():
    noise = WithClass(Uniform(-torch.ones(2), torch.ones(2)), torch.tensor([0.5, 0.2, 0.3]))
    torch.manual_seed(0)
    codes = noise.sample((40_000,))
    assert codes.shape == (40_000, 5) and (codes[:, 2:].sum(1) == 1).all()
    assert ((codes[:, 2:] == 0) | (codes[:, 2:] == 1)).all()
    np.testing.assert_allclose(codes[:, 2:].mean(0), [0.5, 0.2, 0.3], atol=0.01)  # four standard errors
    assert kstest(codes[:, 0].numpy(), uniform(-1, 2).cdf).pvalue > 0.01
    of_each = [codes[codes[:, 2 + k] == 1, 0].mean().item() for k in range(3)]  # z does not know of c
    assert max(map(abs, of_each)) < 0.03
    game = small().start(small().prepare(labelled()), 0).game
    np.testing.assert_allclose(
        [*game.noise.edges, 1.0], np.cumsum([0.5, 0.25, 0.25]), atol=1e-6
    )  # of the data


def relu(x: Tensor) -> Tensor:
    return x * (x > 0)


def maxout(x: Tensor, weight: Tensor, bias: Tensor, pieces: int) -> Tensor:
    out = (x @ weight.T + bias).reshape(len(x), pieces, -1)
    return torch.stack([out[:, i] for i in range(pieces)]).amax(0)


def by_hand(
    g: list[Tensor], d: list[Tensor], codes: Tensor, masks: list[Tensor], x: Tensor | None = None
) -> Tensor:
    """D's logits of (x, c), or of (G(z, c), c), with the nets written out; masks: of G, if any, then of D."""
    z, c = codes[:, :3], codes[:, 3:]
    if x is None:
        both = torch.cat([relu(z @ g[0].T + g[1]), relu(c @ g[2].T + g[3])], 1) * masks[0]
        joint = relu(both @ g[4].T + g[5]) * masks[1]
        x, masks = 1 / (1 + (-(joint @ g[6].T + g[7])).exp()), masks[2:]
    h = torch.cat([maxout(x, d[0], d[1], 2), maxout(c, d[2], d[3], 2)], 1) * masks[0]
    return (maxout(h, d[4], d[5], 3) * masks[1] @ d[6].T + d[7])[:, 0]


def test_Z1_an_update_is_algorithm_1_on_pairs(float64):
    recipe = small(batch_size=8, keep=0.6)
    data = recipe.prepare(labelled())
    model = recipe.start(data, 2)
    G, D = model.game.generator, model.game.discriminator
    g, d = ([p.detach().clone().requires_grad_() for p in net.parameters()] for net in (G, D))
    stream, shares = rng(2), [0.5, 0.75]

    def codes() -> Tensor:
        z = (2 * torch.rand(8, 3, generator=stream) - 1) * 3**0.5
        chance = torch.rand(8, generator=stream)
        label = sum((chance >= edge).long() for edge in shares)
        return torch.cat([z, torch.eye(3)[label]], 1)

    def masks(n: int, *units: int) -> list[Tensor]:
        return [(torch.rand(n, m, generator=stream) < 0.6) / 0.6 for m in units]

    order = torch.randperm(60, generator=rng(2 + 1_000_003))[:8]  # the first minibatch of the first epoch
    real = data.train[order]
    first, g_masks = codes(), masks(8, 11, 7)
    d_masks = masks(16, 7, 5)
    real_logits = by_hand(
        g, d, torch.cat([torch.zeros(8, 3), real[:, 9:]], 1), [m[:8] for m in d_masks], real[:, :9]
    )
    fake_logits = by_hand(g, d, first, [*g_masks, *(m[8:] for m in d_masks)])
    value = (1 / (1 + (-real_logits).exp())).log().mean() + (1 - 1 / (1 + (-fake_logits).exp())).log().mean()
    moved_d = [p + 0.1 * slope for p, slope in zip(d, torch.autograd.grad(value, d), strict=True)]
    moved_d = [p.detach() for p in moved_d]
    again = by_hand(g, moved_d, codes(), [*masks(8, 11, 7), *masks(8, 7, 5)])
    cost = -(1 / (1 + (-again).exp())).log().mean()
    moved_g = [p - 0.1 * slope for p, slope in zip(g, torch.autograd.grad(cost, g), strict=True)]

    report = model.fit(data.train, 1)
    assert report["value"] == pytest.approx(value.item(), rel=1e-12)
    assert report["g_cost"] == pytest.approx(cost.item(), rel=1e-12)
    for net, expected in ((G, moved_g), (D, moved_d)):
        for p, q in zip(net.parameters(), expected, strict=True):
            np.testing.assert_allclose(p.detach(), q.detach(), rtol=0, atol=1e-12)


def test_Z1_parts_of_a_row_go_through_nets_of_their_own():
    both = Branches((2, 3), [nn.Identity(), nn.Sequential(Linear(3, 1))])
    x = torch.rand(4, 5, generator=rng())
    theirs = x[:, 2:] @ both.nets[1][0].weight.T + both.nets[1][0].bias
    torch.testing.assert_close(both(x), torch.cat([x[:, :2], theirs], 1))


@pytest.fixture
def net() -> HandingOn:
    return small(keep=0.5).generator(9, CLASSES, rng(1))


PRIOR = small().p_z()


def test_Z1_samples_are_a_table_of_codes_and_classes(net):
    net.train()
    x = in_turn(net, PRIOR, 30, rng(4))
    assert net.training  # as it was, and without dropout
    net.eval()
    z = PRIOR.low + (PRIOR.high - PRIOR.low) * torch.rand(10, 3, generator=rng(4))
    for number, row in enumerate(x):
        c = torch.eye(CLASSES)[number % CLASSES]
        code = torch.cat([z[number // CLASSES], c])[None]
        torch.testing.assert_close(row, net(code)[0, :9])
        assert torch.equal(net(code)[0, 9:], c)  # handed on
    assert torch.equal(in_turn(net, PRIOR, 7, rng(4)), x[:7])
    assert not torch.equal(in_turn(net, PRIOR, 30, rng(5)), x)


def test_Z1_on_a_walk_one_of_the_two_moves_and_the_other_stays(net):
    net.eval()
    seen: list[Tensor] = []
    net.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    lines = walks(net, PRIOR, steps=5)
    (codes,) = seen
    codes = codes.unflatten(0, (5, 5))
    assert lines.shape == (5, 5, 9)
    for line, moves in zip(codes, [True] * 3 + [False] * 2, strict=True):
        z, c = line[:, :3], line[:, 3:]
        for part, moving in ((z, moves), (c, not moves)):
            steps = part.diff(dim=0)
            torch.testing.assert_close(steps, steps[:1].expand(4, -1), atol=1e-6, rtol=0)
            assert bool(steps.abs().max() > 0.1) == moving
        assert ((c[[0, -1]] == 0) | (c[[0, -1]] == 1)).all() and torch.allclose(c.sum(1), torch.ones(5))
    ten = HandingOn(small().generator(9, 10, rng()).net, 10)
    seen.clear()
    ten.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    walks(ten, PRIOR)
    ends = seen[0].unflatten(0, (5, 12))[:, [0, -1], 3:].argmax(-1)
    assert ends.tolist() == [[1, 1], [3, 3], [7, 7], [0, 5], [4, 9]]  # what the page calls them


def two_shades(n: int = 400) -> tuple[Tensor, Tensor]:
    """Dark points of class 0 and bright ones of class 1, in two numbers."""
    labels = torch.arange(n) % 2
    return (labels[:, None] - 0.5) + 0.1 * torch.randn(n, 2, generator=rng(3)), labels


@pytest.mark.parametrize("told", [True, False])
def test_Z1_a_game_puts_samples_into_their_class_and_only_if_the_labels_tell(told):
    x, labels = two_shades()
    if not told:
        labels = labels[torch.randperm(len(x), generator=rng(7))]
    torch.manual_seed(0)
    body = nn.Sequential(Linear(2 + 2, 16), nn.ReLU(), Linear(16, 2))
    D = nn.Sequential(Linear(2 + 2, 16), nn.ReLU(), Linear(16, 1), nn.Flatten(-2))
    p_z = Uniform(-torch.ones(2), torch.ones(2))
    noise = WithClass(p_z, torch.tensor([0.5, 0.5]))
    rules = Rules(batch_size=50, learning_rate=0.05, decay=1.001)
    model = ConditionalGAN(Game(HandingOn(body, 2), D, noise, rules, rng()), p_z)
    model.fit(pairs(x, labels), 1500)
    samples = model.samples(400, rng(1))
    right = ((samples.mean(1) > 0) == (torch.arange(400) % 2 == 1)).float().mean().item()
    assert right > 0.9 if told else 0.3 < right < 0.7


@pytest.mark.filterwarnings("ignore:best sigma")  # noise images
def test_Z1_from_the_command_line_to_a_record(tmp_path: Path, monkeypatch, capsys):
    values = np.random.default_rng(0)
    images = {
        f"x_{part}": values.random((n, 4, 4)) for part, n in (("train", 60), ("valid", 12), ("test", 20))
    }
    labels = {f"y_{key[2:]}": np.arange(len(x)) % 3 for key, x in images.items()}
    np.savez(tmp_path / "x.npz", **images, **labels)
    np.savez(tmp_path / "bare.npz", **images)
    monkeypatch.setattr(catalogue, "RECIPES", {"conditional-mnist": small(average=0.9)})
    monkeypatch.setattr(parzen, "N_SAMPLES", 50)
    train = ["train", "conditional-mnist", "--data", str(tmp_path / "x.npz"), "--out"]
    assert main([*train, str(tmp_path / "run"), "--epochs", "2"]) == 0
    assert main([*train, str(tmp_path / "run"), "--epochs", "4"]) == 0
    assert main([*train, str(tmp_path / "whole"), "--epochs", "4"]) == 0
    run, whole = (runs.Run(tmp_path / name) for name in ("run", "whole"))
    assert all(torch.equal(tensor, whole.state()[key]) for key, tensor in run.state().items())
    model = run.model(run.dataset())
    for weights in ("last", "average"):
        assert torch.equal(run.samples(12, 5, weights), model.samples(12, rng(5), weights))
    assert not torch.equal(run.samples(12), run.samples(12, weights="average"))
    drawn, walk = run.samples(50), run.walk()
    assert main(["evaluate", str(tmp_path / "run"), "--keep", "9"]) == 0
    kept = runs.Run(tmp_path / "run")
    assert (kept.samples(9) - drawn[:9]).abs().max() <= 0.501 / 255
    assert (kept.walk() - walk).abs().max() <= 0.501 / 255 and walk.shape == (5, 12, 16)
    assert kept.record.evaluation.average is not None

    capsys.readouterr()
    train[3] = str(tmp_path / "bare.npz")
    assert main([*train, str(tmp_path / "none")]) == 2
    assert "bare.npz has no labels: take mnist, or an .npz with y_train" in capsys.readouterr().err
    np.savez(tmp_path / "one.npz", **images, **{key: 0 * y for key, y in labels.items()})
    train[3] = str(tmp_path / "one.npz")
    assert main([*train, str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.strip().endswith("two or more, got [0]: renumber them")
