"""The counter of passes (`gansrc.cost`) against counts by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from gansrc.cost import Cost, counted
from gansrc.datasets import of
from gansrc.models.dbn import DBN_MNIST
from gansrc.models.vae import VAE_MNIST
from gansrc.recipes import MNIST_ALGORITHM_1

M = 13
NET = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
W = 5 * 7 + 7 * 3


def test_a_pass_forward_and_one_back() -> None:
    x = torch.rand(M, 5)
    assert counted(NET, M, lambda: NET(x)) == Cost(1.0, 0.0, 0)
    cost = counted(NET, M, lambda: NET(x).square().sum().backward())
    assert cost.forward == 1
    assert cost.back == pytest.approx((W + 7 * 3) / W)  # to each weight, and past the upper layer alone
    through = counted(NET, M, lambda: torch.autograd.grad(NET(x.requires_grad_()).sum(), x))
    assert through.back == pytest.approx(1)  # to the input, and to no weight


def test_a_net_that_is_used_in_part_or_twice() -> None:
    x = torch.rand(M, 5)
    assert counted(NET, M, lambda: NET[0](x)).forward == pytest.approx(5 * 7 / W)
    assert counted(NET, M, lambda: (NET(x), NET(x))).forward == 2
    assert counted(NET, 2 * M, lambda: NET(x)).forward == 0.5


def test_gradients_by_hand_are_told_by_their_shape() -> None:
    layer = nn.Linear(5, 7, bias=False)
    x, h = torch.rand(M, 5), torch.rand(M, 7)
    assert counted(layer, M, lambda: h.T @ x) == Cost(0.0, 1.0, 0)


def test_draws_are_counted() -> None:
    def drawing() -> None:
        h = torch.rand(M, 7).bernoulli()
        torch.randn_like(h)
        nn.functional.dropout(h, 0.5, training=True)
        torch.multinomial(h[0] + 1, 3, replacement=True)

    assert counted(NET, M, drawing).draws >= 5
    assert counted(NET, M, lambda: torch.arange(5)).draws == 0


def test_updates_of_models_as_by_hand() -> None:
    x = torch.rand(101, 30)
    vae = dataclasses.replace(VAE_MNIST, hidden=(8,), z_dim=2, batch_size=101).start(of(x), 0)
    cost, weights = counted(vae, 101, lambda: vae.update(x)), 2 * 30 * 8 + 8 * 4 + 2 * 8
    assert (cost.forward, cost.draws) == (1, 1)
    assert cost.back == pytest.approx((2 * weights - 30 * 8) / weights)
    rbm = dataclasses.replace(DBN_MNIST, hidden=(8,), batch_size=101).start(of(x), 0)
    up_and_down = 1.0 + 2 + 2  # the data, a step of the chain, the reconstruction that is reported
    assert counted(rbm, 101, lambda: rbm.update(x)) == Cost(up_and_down, 2.0, 2)


def test_an_update_of_the_game_as_by_hand() -> None:
    x = torch.rand(101, 30)
    rules = dataclasses.replace(MNIST_ALGORITHM_1.rules, batch_size=101)
    sizes = {"g_hidden": (8, 8), "d_hidden": (4,), "d_pieces": 2, "z_dim": 6}
    game = dataclasses.replace(MNIST_ALGORITHM_1, rules=rules, **sizes).start(of(x), 0).game
    both = nn.ModuleList([game.generator, game.discriminator])
    g, d = 6 * 8 + 8 * 8 + 8 * 30, 30 * 8 + 4
    cost = counted(both, 101, lambda: game.play(x, 1))
    assert cost.forward == pytest.approx((2 * g + 3 * d) / (g + d))
    of_d = 2 * (2 * d - 30 * 8)  # of data and fakes, but not past its first layer
    of_g = d + 2 * g - 6 * 8  # past D, whose weights need none
    assert cost.back == pytest.approx((of_d + of_g) / (g + d))


def test_a_model_without_weights() -> None:
    with pytest.raises(ValueError, match="the model has none: give one with matrices"):
        counted(nn.ReLU(), 5, lambda: None)
