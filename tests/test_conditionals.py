"""Gaps and how they are filled: by brute force, by closed forms, and one update of the game by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor
from torch.nn.functional import softplus

from gansrc import parzen, runs
from gansrc.catalogue import EXTENSIONS, recipe
from gansrc.cli import main
from gansrc.datasets import of
from gansrc.extensions.conditionals import (
    PARTS,
    ConditionalsRecipe,
    Filler,
    FillingGAN,
    asked,
    fill,
    from_neighbours,
    gaps,
    quality,
    window,
)
from gansrc.streams import drawing_from

pytestmark = pytest.mark.filterwarnings("ignore:best sigma")  # noise images: the grid is for real ones

OURS = [each for each in EXTENSIONS if isinstance(each, ConditionalsRecipe)]
SHAPE = (4, 6)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(kinds: tuple[str, ...], n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    with drawing_from(rng(seed)):
        return gaps(kinds, n, shape)


def small(**changes: object) -> ConditionalsRecipe:
    original = recipe("conditionals-mnist")
    return dataclasses.replace(
        original, **({"z_dim": 3, "g_hidden": (9,), "d_hidden": (7,), "d_pieces": 2, "preview": 30,
        "g_range": 0.5, "d_range": 0.5,
        "rules": dataclasses.replace(original.rules, batch_size=10)} | changes)
    )  # fmt: skip


def images(n: int = 60) -> Tensor:
    return torch.rand(n, 24, generator=rng())


def started(**changes: object) -> FillingGAN:
    return small(**changes).start(of(images(), SHAPE), 3)


@pytest.mark.parametrize("each", OURS, ids=lambda each: each.name)
def test_every_value_has_a_source(each):
    rules = {field.name for field in dataclasses.fields(each.rules)}
    assert {"model", *each.sources} == set(each.values()) | rules


def test_halves_are_halves():
    left, right, top, bottom = (drawn((part,), 1, (4, 7))[0].view(4, 7) for part in PARTS)
    assert left[:, :3].all() and not left[:, 3:].any() and top[:2].all() and not top[2:].any()
    assert (left + right == 1).all() and (top + bottom == 1).all()
    found = {tuple(row.tolist()) for row in drawn(("half",), 100, (4, 7))}
    assert found == {tuple(half.flatten().tolist()) for half in (left, right, top, bottom)}


def test_boxes_are_rectangles_of_a_quarter_or_more_anywhere():
    boxes = drawn(("box",), 4000, (8, 8)).view(-1, 8, 8)
    sides = set()
    for box in boxes:
        rows, columns = box.any(1), box.any(0)
        assert torch.equal(box, (rows[:, None] & columns).float())
        for line in (rows, columns):
            places = line.nonzero().flatten()
            assert places[-1] - places[0] + 1 == len(places) >= 2
        sides.add((rows.sum().item(), columns.sum().item()))
    assert sides == {(a, b) for a in range(2, 9) for b in range(2, 9)}
    corners = boxes[(boxes.sum((1, 2)) == 4)].flatten(1).argmax(1).unique()
    assert len(corners) > 30  # of 49 places


def test_single_pixels_are_missing_by_a_share_that_is_uniform_and_some_always_are():
    shares = drawn(("bernoulli",), 2000, (40, 40)).mean(1)
    assert kstest(shares.numpy(), "uniform").pvalue > 1e-3
    two = drawn(("bernoulli",), 9000, (2,))
    assert (two.sum(1) > 0).all() and {tuple(row) for row in two.int().tolist()} == {(0, 1), (1, 0), (1, 1)}
    # none of two with probability 1/3 becomes both, which have 1/3 themselves; one of them 1/6 each
    assert (two.sum(1) == 1).float().mean().item() == pytest.approx(1 / 3, abs=0.02)


def test_kinds_are_as_likely_as_each_other_and_colours_share_their_gaps():
    mixed = drawn(("all", "left"), 4000, (3, 6, 6))
    assert torch.equal(mixed[:, :36], mixed[:, 36:72]) and torch.equal(mixed[:, :36], mixed[:, 72:])
    assert mixed.all(1).float().mean().item() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(
    ("kinds", "shape", "words"),
    [
        (("hole",), (4, 4), "got hole: choose"),
        ((), (4, 4), "got nothing: choose"),
        (("bernoulli", "box"), (16,), "'box' is cut out of images, got rows of 16 numbers"),
    ],
)
def test_gaps_that_cannot_be(kinds, shape, words):
    with pytest.raises(ValueError, match=words):
        gaps(kinds, 3, shape)


def test_known_pixels_stay_bit_for_bit_and_hidden_ones_are_not_seen():
    model, x = started(), images(20)
    net, noise = model.game.generator, model.game.noise
    missing = drawn(("bernoulli", "box"), 20, SHAPE)
    fills = fill(net, noise, x, missing, 5, rng(1))
    assert torch.equal(fills * (1 - missing), (x * (1 - missing)).expand(5, -1, -1))
    other = torch.where(missing > 0, torch.rand(20, 24, generator=rng(9)), x)
    assert torch.equal(fill(net, noise, other, missing, 5, rng(1)), fills)
    # but the noise and the known pixels count
    assert (fills.var(0)[missing > 0] > 0).all()
    whiter = torch.where(missing > 0, x, 1 - x)
    changed = fill(net, noise, whiter, missing, 5, rng(1)) - fills
    partly = (missing.sum(1) < 24).nonzero().flatten()
    assert (changed[:, partly] * missing[partly]).abs().amax((0, 2)).min() > 0


def test_with_nothing_known_it_draws_samples():
    model = started()
    net, noise = model.game.generator, model.game.noise
    x, all_of_it = torch.zeros(25, 24), torch.ones(25, 24)
    assert torch.equal(fill(net, noise, x, all_of_it, 1, rng(4))[0], model.samples(25, rng(4)))
    for kind in ("uniform", "gaussian"):
        code = small(noise=kind).nothing_known(4).sample((1000,))
        assert (code[:, 3:7] == 0).all() and torch.equal(code[:, 7:], torch.full((1000, 4), 1 / 3))
        assert code[:, :3].std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (torch.ones(5, 23), r"\(5, 24\) are wanted, got \(5, 23\)"),
        (torch.ones(1, 24), r"\(5, 24\) are wanted, got \(1, 24\)"),
        (torch.full((5, 24), 0.5), "known, got 0.5"),
        (torch.ones(5, 24).index_fill(0, torch.tensor([3]), 0), "nothing is missing of image 3"),
    ],
)
def test_gaps_that_do_not_fit(missing, words):
    model = started()
    with pytest.raises(ValueError, match=words):
        fill(model.game.generator, model.game.noise, images(5), missing, 2, rng())


def test_quality_by_loops():
    x, missing = images(6), drawn(("bernoulli", "half"), 6, SHAPE)
    fills = torch.rand(4, 6, 24, generator=rng(2))
    fills[:, :5] = torch.where(missing[:5] > 0, fills[:, :5], x[:5])
    found = quality(fills, x, missing)
    for i in range(6):
        at = missing[i].bool()
        errors = [((one[i] - x[i])[at] ** 2).mean().item() for one in fills]
        of_mean = ((sum(one[i] for one in fills) / 4 - x[i])[at] ** 2).mean().item()
        spread = np.var(fills[:, i, at].numpy(), axis=0, ddof=1).mean()
        expected = {"one": errors[0], "mean": of_mean, "best": min(errors), "spread": spread}
        for key, value in expected.items():
            assert found[key][i].item() == pytest.approx(value, rel=1e-4)
        # error of one = error of the mean + variance, over the fillings at hand
        assert np.mean(errors) == pytest.approx(of_mean + spread * 3 / 4, rel=1e-4)
    assert (found["altered"][:5] == 0).all() and found["altered"][5] > 0.1


def test_quality_of_true_draws_is_what_theory_says():
    """x2 | x1 ~ N(x1, 1): n draws, whose mean errs by (1 + 1/n) and one by 2 of the variance."""
    n, m = 5, 40_000
    first = torch.randn(m, 1, generator=rng(1))
    x = torch.cat([first, first + torch.randn(m, 1, generator=rng(2))], 1)
    missing = torch.tensor([[0.0, 1.0]]).expand(m, 2)
    fills = torch.stack([first.expand(n, m, 1)[..., 0],
                         first[:, 0] + torch.randn(n, m, generator=rng(3))], -1)  # fmt: skip
    found = {key: value.mean().item() for key, value in quality(fills, x, missing).items()}
    assert found["spread"] == pytest.approx(1, rel=0.02) and found["one"] == pytest.approx(2, rel=0.03)
    assert found["mean"] == pytest.approx(1 + 1 / n, rel=0.03) and found["altered"] == 0


def test_the_window_is_that_of_section_5_on_the_missing_pixels():
    x, missing = images(5), drawn(("half", "bernoulli"), 5, SHAPE)
    fills = torch.where(missing > 0, torch.rand(7, 5, 24, generator=rng(1)), x)
    sigmas = (0.1, 0.3)
    found = window(fills, x, missing, sigmas)
    for i in range(5):
        at = missing[i].bool()
        expected = parzen.log_likelihood(fills[:, i, at], x[i : i + 1, at], sigmas)
        np.testing.assert_allclose(found[:, i], expected[0], rtol=1e-4)


def test_neighbours_by_brute_force():
    train, x, missing = images(40), torch.rand(7, 24, generator=rng(5)), drawn(("half",), 7, SHAPE)
    found = from_neighbours(x, missing, train, 3)
    for i in range(7):
        known = missing[i] == 0
        order = ((train - x[i])[:, known] ** 2).sum(1).argsort()[:3]
        expected = torch.where(missing[i] > 0, train[order], x[i])
        assert torch.equal(found[:, i], expected)


def test_an_update_by_hand():
    """Algorithm 1 on pairs: D's step on (x, gaps) and (x filled, gaps), then G's against the new D."""
    torch.set_default_dtype(torch.float64)
    try:
        one = small(keep_input=1.0, keep_hidden=1.0, gaps=("half",), noise="gaussian")
        data = images().double()
        model = one.start(of(data, SHAPE), 3)
        G, D = (
            [p.detach().clone().requires_grad_() for p in net.parameters()]
            for net in (model.game.generator, model.game.discriminator)
        )
        stream, chosen = torch.Generator(), torch.arange(10)
        stream.set_state(model.game.rng.get_state())

        def gan(code: Tensor) -> Tensor:
            out = (torch.relu(code @ G[0].T + G[1]) @ G[2].T + G[3]).sigmoid()
            known, missing = code[:, 3:27], (code[:, 27:] > 0).double()
            return torch.cat([known * (1 - missing) + out * missing, code[:, 27:]], 1)

        def judge(pair: Tensor) -> Tensor:
            both = pair @ D[0].T + D[1]
            return torch.maximum(both[:, :7], both[:, 7:]) @ D[2][0] + D[3]

        def codes() -> Tensor:
            z = torch.randn(10, 51)[:, :3]
            x = data[torch.randint(60, (10,))]
            missing = gaps(("half",), 10, SHAPE).double()
            return torch.cat([z, x * (1 - missing), missing / 3], 1)

        with drawing_from(stream):
            real = torch.cat([data[chosen], 1 / 3 * gaps(("half",), 10, SHAPE)], 1)
            value = (-softplus(-judge(real)) - softplus(judge(gan(codes()).detach()))).mean()
            steps = torch.autograd.grad(value, D)
            with torch.no_grad():
                for p, step in zip(D, steps, strict=True):
                    p += 0.1 * step
            cost = softplus(-judge(gan(codes()))).mean()
            moves = torch.autograd.grad(cost, G)
        game = model.game
        game.learning_rate, game.momentum = torch.tensor(0.1), torch.tensor(0.5)
        with drawing_from(game.rng):
            report = game.update(data, chosen[None])
        assert report[0].item() == pytest.approx(value.item(), rel=1e-12)
        assert report[1].item() == pytest.approx(cost.item(), rel=1e-12)
        for p, hand, move in zip(game.generator.parameters(), G, moves, strict=True):
            np.testing.assert_allclose(p.detach(), hand.detach() - 0.1 * move, rtol=0, atol=1e-13)
        for p, hand in zip(game.discriminator.parameters(), D, strict=True):
            np.testing.assert_allclose(p.detach(), hand.detach(), rtol=0, atol=1e-13)
    finally:
        torch.set_default_dtype(torch.float32)


def test_fitted_by_parts_as_at_once_and_from_its_state():
    data = images()
    whole, parts, again = started(), started(), started()
    whole.fit(data, 9)
    parts.fit(data, 4)
    again.load_state({k: t for part in parts.state().values() for k, t in part.items()}, 4)
    again.fit(data, 5)
    for one, two in zip(whole.state().values(), again.state().values(), strict=True):
        assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_what_d_sees_of_known_pixels_and_gaps_is_distributed_alike():
    """A D that looks at known pixels and gaps alone can learn nothing: it has to look at the filling."""
    model, seen = started(gaps=("half",)), []
    game, data = model.game, (torch.rand(60, 24, generator=rng()) > 0.5).float()
    original = game.alternating_update
    game.alternating_update = lambda batches: seen.append(x := next(batches)) or original(iter([x]))
    game.play(data, 200)
    real = torch.cat(seen)
    with drawing_from(game.rng):
        fake = torch.cat([game.codes()[:, -48:] for _ in range(200)])
    hidden = real[:, :24] * (real[:, 24:] == 0)
    for one, two in ((hidden, fake[:, :24]), (real[:, 24:], fake[:, 24:])):
        assert (one.mean(0) - two.mean(0)).abs().max() < 0.08  # 5 standard errors of 2,000


def test_it_trains_resumes_is_scored_and_fills_from_the_record(tmp_path, images):
    folder = str(tmp_path / "run")
    assert main(["train", "conditionals-mnist", "--data", images, "--out", folder, "--epochs", "1"]) == 0
    assert main(["train", "conditionals-mnist", "--data", images, "--out", folder, "--epochs", "2"]) == 0
    assert main(["evaluate", folder, "--keep", "20"]) == 0
    run = runs.Run(tmp_path / "run")
    assert isinstance(run.recipe, ConditionalsRecipe) and run.recipe == recipe("conditionals-mnist")
    filler = run.sampler("average")
    x, missing = run.dataset().test, gaps(("left",), 40, (4, 4))
    fills = filler.fill(x, missing, 3, rng())
    assert torch.equal((fills * (1 - missing))[0], x * (1 - missing))
    assert run.samples(20).shape == (20, 16)


def test_data_without_halves_are_one_line_and_exit_2(tmp_path, capsys):
    assert main(["train", "conditionals-mnist", "--data", "wink", "--out", str(tmp_path / "run")]) == 2
    assert "cut out of images, got rows of 2 numbers" in capsys.readouterr().err


def test_asked_hides_what_is_missing():
    codes = asked(
        torch.cat([torch.zeros(2, 7), torch.full((2, 4), 1 / 3)], 1),
        torch.full((2, 4), 0.7),
        torch.tensor([[1.0, 0, 0, 1]] * 2),
    )
    assert codes[0].tolist() == pytest.approx([0, 0, 0, 0, 0.7, 0.7, 0, 1 / 3, 0, 0, 1 / 3])


def test_a_filler_is_a_generator_with_the_layers_of_the_recipe():
    net = recipe("inpainting-cifar10").generator((3, 32, 32), rng())
    assert isinstance(net, Filler) and net[0].in_features == 1536 + 2 * 3072 and net[-2].out_features == 3072
