"""Section 5's networks: sizes, maxout, dropout, starting weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gansrc import networks
from gansrc.recipes import MNIST, MNIST_ALGORITHM_1, RECIPES, Recipe, recipe


def test_E1_weights_are_counted_as_in_the_original():
    game = MNIST.game(torch.rand(100, 784, generator=torch.Generator().manual_seed(0)), seed=0)
    assert networks.count_weights(game.generator) == 2_503_984
    assert networks.count_weights(game.discriminator) == 1_231_441


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
    game = MNIST.game(images, seed=0)
    linear = [m for m in game.generator if isinstance(m, torch.nn.Linear)]
    for layer in linear:
        assert layer.weight.abs().max() <= 0.05 and layer.weight.abs().max() > 0.0499
        assert layer.weight.std().item() == pytest.approx(0.1 / np.sqrt(12), rel=0.01)
    assert all(layer.bias.abs().max() == 0 for layer in linear[:-1])
    p = np.clip(images.double().mean(0).numpy(), 1e-7, 1 - 1e-7)
    np.testing.assert_allclose(linear[-1].bias.detach().numpy()[2:], np.log(p / (1 - p))[2:], rtol=1e-4)
    assert torch.isfinite(linear[-1].bias).all()
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


@pytest.mark.parametrize("name", RECIPES)
def test_every_value_has_a_source(name):
    values = RECIPES[name].values()
    assert RECIPES[name].sources.keys() == values.keys() | values["rules"].keys()


def test_same_seed_same_nets_another_seed_others():
    images = torch.rand(100, 784, generator=torch.Generator().manual_seed(0))
    nets = [MNIST.game(images, seed).generator[0].weight for seed in (0, 0, 1)]
    assert torch.equal(nets[0], nets[1]) and not torch.equal(nets[0], nets[2])


def test_unknown_recipe():
    with pytest.raises(ValueError, match="^unknown recipe 'mnits': choose one of mnist, mnist-algorithm-1, "):
        recipe("mnits")
    assert isinstance(recipe("mnist"), Recipe)
