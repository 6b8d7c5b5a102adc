"""Section 5's networks: sizes, maxout, convolutions, dropout, starting weights, column norms."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from gansrc import catalogue, networks
from gansrc.catalogue import recipe
from gansrc.datasets import of
from gansrc.gan import GANRecipe, TrainedGenerator, square
from gansrc.recipes import (
    CIFAR10_CONV,
    CIFAR10_FC,
    FACES,
    FACES_STAGE_2,
    GANS,
    MNIST,
    MNIST_ALGORITHM_1,
    differences,
)
from gansrc.seeds import Games
from gansrc.streams import drawing_from

SHAPES = {784: (28, 28), 2304: (48, 48), 3072: (3, 32, 32)}


def noise_images(n: int, d: int) -> torch.Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("original", "d", "of_generator", "of_discriminator"),
    [
        pytest.param(MNIST, 784, 2_503_984, 1_231_441, id="E1"),
        pytest.param(FACES, 2304, 83_250_304, 21_037_201, id="E2"),
        pytest.param(FACES_STAGE_2, 2304, 84_858_404, 21_037_201, id="E2-stage-2"),
        pytest.param(CIFAR10_FC, 3072, 89_395_072, 37_393_601, id="E3"),
        pytest.param(CIFAR10_CONV, 3072, 64_825_072, 12_454_073, id="E4"),
    ],
)
def test_the_nets_of_the_original_and_an_update_of_them(original, d, of_generator, of_discriminator):
    data = original.prepare(of(noise_images(128, d), SHAPES[d]))
    game = original.start(data, seed=0).game
    assert networks.count_weights(game.generator) == of_generator
    assert networks.count_weights(game.discriminator) == of_discriminator
    report = game.play(data.train, 1)
    assert np.isfinite(list(report.values())).all()
    assert report["d_real"] == pytest.approx(0.5, abs=0.1)  # D's weights start within ±.005


def shrunken(original: GANRecipe) -> GANRecipe:
    """The same kinds of layers, fewer units."""
    g_hidden = (20, 8) if not original.pretrained else (9, 6, 20, 8)
    changes = {"g_hidden": g_hidden, "g_output_sparse": 3 if original.g_output_sparse else 0, "z_dim": 6}
    return dataclasses.replace(original, d_hidden=(7,), **changes)


def test_E4_the_discriminators_maps_have_the_original_sizes():
    D = CIFAR10_CONV.start(of(noise_images(10, 3072), (3, 32, 32)), seed=0).game.discriminator
    x, sizes = torch.zeros(2, 3072), []
    for layer in D:
        x = layer(x)
        if isinstance(layer, networks.MaxoutConv):
            sizes.append(tuple(x.shape[1:]))
    assert sizes == [(32, 16, 16), (32, 7, 7), (192, 5, 5)]


@pytest.mark.parametrize("convolutions", [(), CIFAR10_CONV.d_convolutions])
def test_dropout_of_inputs_and_of_all_hidden_layers(convolutions):
    rng = torch.Generator().manual_seed(0)
    D = networks.discriminator(3072, (7, 6), 2, 0.9, 0.3, 0.005, rng, convolutions, (3, 32, 32))
    shares = []
    for layer in D:
        if isinstance(layer, networks.Dropout):
            with drawing_from(rng):
                shares.append((layer(torch.ones(10_000)) > 0).float().mean().item())
    np.testing.assert_allclose(shares, [0.9, *[0.3] * (len(convolutions) + 2)], atol=0.02)


def test_E4_maxout_convolution_by_brute_force():
    rng = np.random.default_rng(0)
    layer = networks.MaxoutConv(2, channels=3, pieces=2, kernel=3, padding=1, pool=3, stride=2)
    x = rng.normal(size=(2, 2, 6, 6)).astype(np.float32)
    w, b = (p.detach().double().numpy() for p in layer.conv.parameters())
    padded = np.pad(x.astype(float), ((0, 0), (0, 0), (1, 1), (1, 1)))
    maps = np.empty((2, 6, 6, 6))
    for i, j in np.ndindex(6, 6):
        maps[:, :, i, j] = np.einsum("nchw,ochw->no", padded[:, :, i : i + 3, j : j + 3], w) + b
    largest = maps.reshape(2, 2, 3, 6, 6).max(1)
    expected = np.empty((2, 3, 3, 3))  # windows at 0, 2, 4: the last reaches over the edge
    for i, j in np.ndindex(3, 3):
        expected[:, :, i, j] = largest[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((2, 3))
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach().numpy(), expected, atol=1e-5)


def test_E4_the_generator_lays_its_last_sigmoids_down_as_overlapping_stamps():
    small = dataclasses.replace(CIFAR10_CONV, g_hidden=(5, 200), g_deconvolution=(2, 5, 3), z_dim=4)
    G = small.generator((3, 32, 32), torch.Generator().manual_seed(1))
    z = noise_images(2, 4)
    sigmoids = G[:4](z).detach().double().numpy().reshape(2, 2, 10, 10)
    assert isinstance(G[3], torch.nn.Sigmoid)
    (kernel,) = (p.detach().double().numpy() for n, p in G.named_parameters() if p.dim() == 4)
    with torch.no_grad():
        G[-1].bias.copy_(torch.linspace(-1, 1, 3072))
    expected = np.zeros((2, 3, 32, 32))
    for i, j in np.ndindex(10, 10):
        stamp = np.einsum("nc,cohw->nohw", sigmoids[:, :, i, j], kernel)
        expected[:, :, 3 * i : 3 * i + 5, 3 * j : 3 * j + 5] += stamp
    expected = expected.reshape(2, 3072) + np.linspace(-1, 1, 3072)
    np.testing.assert_allclose(G(z).detach().numpy(), expected, atol=1e-5)


@pytest.mark.slow
def test_E4_takes_square_images_of_its_size_alone():
    assert square((48, 48)) == (1, 48, 48) and square((3, 32, 32)) == (3, 32, 32)
    for shape in ((48, 64), (3, 16, 64), (16, 64), (30, 34), (4, 32, 32), (3072,)):  # some have 3 * 32 * 32
        given = " x ".join(map(str, shape))
        with pytest.raises(ValueError, match=f"needs square images, grey or colour, got {given}: crop them"):
            CIFAR10_CONV.start(of(noise_images(128, math.prod(shape)), shape), seed=0)
    with pytest.raises(
        ValueError, match="draws images of 32 x 32 pixels, grey or colour, got 48 x 48: resize"
    ):
        CIFAR10_CONV.generator((48, 48), torch.Generator())


def test_E2_start_sparse_output_low_sigmoids_and_the_pixel_means():
    images = noise_images(50, 2304) ** 3
    start = (
        dataclasses.replace(FACES, g_hidden=(30, 400), d_hidden=(7, 7))
        .start(of(images), seed=0)
        .game.generator
    )
    output, below = start[4], start[2]
    assert ((output.weight != 0).sum(1) == 100).all()
    assert len((output.weight != 0).unique(dim=0)) == 2304  # every unit has inputs of its own
    drawn = output.weight[output.weight != 0].detach()
    assert drawn.std().item() == pytest.approx(1, abs=0.01) and drawn.mean().item() == pytest.approx(
        0, abs=0.01
    )
    assert (below.bias == -2).all() and (start[0].bias == 0).all()
    np.testing.assert_allclose(output.bias.detach().sigmoid(), images.mean(0), atol=1e-5)


def test_E3_start_the_output_has_a_range_of_its_own():
    start = shrunken(CIFAR10_FC).generator((3, 32, 32), torch.Generator().manual_seed(0))
    assert isinstance(start[5], torch.nn.Identity) and (start[2].bias == 0).all()
    assert 0.49 < start[4].weight.abs().max() <= 0.5 and start[2].weight.abs().max() <= 0.05


def test_E2_the_second_stage_carries_the_first():
    images = noise_images(100, 2304)
    first = shrunken(FACES).start(of(images), seed=0).game
    first.play(images, 2)
    below = TrainedGenerator(first.generator, first.noise)
    second = shrunken(FACES_STAGE_2).start(of(images), seed=1, below=below).game
    z, bottom = noise_images(3, 6), second.generator[:4]
    assert torch.equal(second.generator(z), first.generator(bottom(z)))
    assert isinstance(bottom[3], torch.nn.Sigmoid) and (bottom[2].bias == -2).all()
    assert not torch.equal(second.discriminator[1].linear.weight, first.discriminator[1].linear.weight)
    before = [p.detach().clone() for p in first.generator.parameters()]
    second.play(images, 1)
    assert all(v.abs().max() > 0 for v in second.velocity[second.generator])  # all of it is trained
    assert all(map(torch.equal, before, first.generator.parameters()))


@pytest.mark.parametrize("together", [False, True])
def test_E2_no_unit_exceeds_the_largest_column_norm(together):
    limited = dataclasses.replace(shrunken(FACES), g_range=2.0, d_range=0.4)
    images = noise_images(100, 2304)
    games = [limited.start(of(images), seed).game for seed in (0, 1)]
    norms = [m.weight.norm(dim=1) for m in games[0].generator.modules() if isinstance(m, torch.nn.Linear)]
    assert max(n.max() for n in norms) > 3
    (Games(games) if together else games[0]).play(images, 2)
    for net in (games[0].generator, games[0].discriminator):
        for name, weight in net.named_parameters():
            if "weight" in name:
                assert weight.norm(dim=1).max() <= 1.9366
    alone = limited.start(of(images), 0).game
    alone.play(images, 2)
    for one, other in zip(alone.generator.parameters(), games[0].generator.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    free = dataclasses.replace(limited, rules=dataclasses.replace(limited.rules, max_column_norm=0.0))
    unlimited = free.start(of(images), 0).game
    unlimited.play(images, 2)
    assert unlimited.generator[0].weight.norm(dim=1).max() > 3


def test_column_norms_below_the_limit_and_directions_stay():
    layer = networks.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 0.0, 4.0], [0.3, 0.0, 0.4]]))
    networks.limit_column_norms_(layer, 2.0)
    expected = torch.tensor([[1.2, 0.0, 1.6], [0.3, 0.0, 0.4]])
    np.testing.assert_allclose(layer.weight.detach(), expected, atol=1e-6)


def test_maxout_is_the_largest_piece_of_each_unit():
    rng = np.random.default_rng(0)
    layer = networks.Maxout(4, units=3, pieces=5)
    x = rng.normal(size=(7, 4)).astype(np.float32)
    w, b = (p.detach().numpy() for p in layer.linear.parameters())
    expected = np.empty((7, 3))
    for i in range(7):
        for unit in range(3):
            pieces = [w[piece * 3 + unit] @ x[i] + b[piece * 3 + unit] for piece in range(5)]
            expected[i, unit] = max(pieces)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach().numpy(), expected, atol=1e-6)


def test_E1_start_is_uniform_with_zero_biases_and_the_pixel_means_at_the_output():
    images = torch.rand(200, 784, generator=torch.Generator().manual_seed(0)) ** 3
    images[:, 0], images[:, 1] = 0, 1
    game = MNIST.start(of(images), seed=0).game
    linear = [m for m in game.generator if isinstance(m, torch.nn.Linear)]
    for layer in linear:
        assert layer.weight.abs().max() <= 0.05 and layer.weight.abs().max() > 0.0499
        assert layer.weight.std().item() == pytest.approx(0.1 / np.sqrt(12), rel=0.01)
    assert all(layer.bias.abs().max() == 0 for layer in linear[:-1])
    p = np.clip(images.double().mean(0).numpy(), 1e-7, 1 - 1e-7)
    np.testing.assert_allclose(linear[-1].bias.detach().numpy()[2:], np.log(p / (1 - p))[2:], rtol=1e-4)
    assert linear[-1].bias[:2].tolist() == pytest.approx([-16.1, 16.1], abs=0.3)  # logits of 1e-7, 1 - 1e-7
    widest = max(p.abs().max().item() for n, p in game.discriminator.named_parameters() if "weight" in n)
    assert 0.0049 < widest <= 0.005


def test_dropout_keeps_the_stated_share_and_rescales_it():
    D = networks.discriminator(1000, (10,), 2, 0.8, 0.5, 0.005, torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = D[0](torch.ones(200, 1000))
    assert (dropped > 0).float().mean().item() == pytest.approx(0.8, abs=0.005)
    assert dropped.max().item() == pytest.approx(1 / 0.8)
    assert D[2].keep == 0.5
    D.eval()
    x = torch.rand(3, 1000)
    assert torch.equal(D(x), D(x)) and D(x).shape == (3,)


def test_noise_has_unit_variance_and_the_right_support():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        z = MNIST.p_z().sample((5000,))
    assert z.shape == (5000, 100) and z.abs().max() <= 3**0.5
    assert z.var().item() == pytest.approx(1, abs=0.01)


def test_the_two_mnist_recipes_differ_in_the_update_alone():
    one, two = MNIST.values(), MNIST_ALGORITHM_1.values()
    assert {key for key in one if one[key] != two[key]} == {"name", "rules"}
    assert {key for key in one["rules"] if one["rules"][key] != two["rules"][key]} == {"order", "d_cost"}
    assert (two["rules"]["order"], two["rules"]["d_cost"], two["rules"]["k"]) == ("alternating", 1.0, 1)


def test_differences_of_recipes_name_each_changed_value():
    assert differences(MNIST, MNIST_ALGORITHM_1) == [
        ("order", "simultaneous", "alternating"),
        ("d_cost", 0.5, 1.0),
    ]
    changed = dataclasses.replace(
        MNIST, z_dim=7, rules=dataclasses.replace(MNIST.rules, k=2, order="alternating")
    )
    assert [field for field, *_ in differences(MNIST, changed)] == ["z_dim", "order", "k"]


@pytest.mark.parametrize("original", GANS, ids=lambda original: original.name)
def test_every_value_has_a_source(original):
    values, sources, name = original.values(), original.sources, original.name
    assert sources.keys() | {"model"} == values.keys() | values["rules"].keys()
    files = {"mnist": "mnist.yaml", "faces": "tfd_pretrain/", "cifar10-fc": "cifar10_fully_connected.yaml"}
    files |= {"cifar10-conv": "cifar10_convolutional.yaml", "gan-wink": "mnist.yaml"}
    (own,) = {file for start, file in files.items() if name.startswith(start)}
    for field, source in sources.items():
        taken = field in ("g_output", "output_bias") and name == "faces-stage-2"  # with the first stage's net
        assert ".yaml" not in str(source) or own in source.where or taken, (field, source)
    if "sigmoid" in values["g_activations"]:
        assert not [s for s in sources.values() if "two RectifiedLinear" in s.note]
        assert sources["g_sigmoid_bias"].where != "not used"


def test_same_seed_same_nets_another_seed_others():
    images = torch.rand(100, 784, generator=torch.Generator().manual_seed(0))
    nets = [MNIST.start(of(images), seed).game.generator[0].weight for seed in (0, 0, 1)]
    assert torch.equal(nets[0], nets[1]) and not torch.equal(nets[0], nets[2])


def test_unknown_recipe():
    with pytest.raises(ValueError, match="^unknown recipe 'mnits': did you mean mnist, .* lists all$"):
        recipe("mnits")
    assert recipe("mnist") is catalogue.RECIPES["mnist"]
