"""The update of the recipe `mnist` as people write it in JAX, to be timed beside ours; not for training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, relu
from torch import Tensor, nn

from gansrc.gan import GANRecipe
from gansrc.streams import batch_indices

Layer = tuple[jax.Array, jax.Array]


def layers_of(net: nn.Module) -> list[Layer]:
    """The weights and biases of a net's affine layers, from input to output."""
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    return [tuple(jnp.asarray(p.detach().cpu().numpy()) for p in (x.weight, x.bias)) for x in layers]


def generate(g: list[Layer], z: jax.Array) -> jax.Array:
    """Samples: layers of rectifiers, at the end sigmoids."""
    for w, b in g[:-1]:
        z = relu(z @ w.T + b)
    w, b = g[-1]
    return jax.nn.sigmoid(z @ w.T + b)


def discriminate(d: list[Layer], x: jax.Array, masks: list[jax.Array], pieces: int) -> jax.Array:
    """Logits: layers of maxout, before each a mask of dropout."""
    for (w, b), mask in zip(d[:-1], masks, strict=False):
        x = ((x * mask) @ w.T + b).reshape(len(x), pieces, -1).max(1)
    w, b = d[-1]
    return ((x * masks[-1]) @ w.T + b)[:, 0]


def costs(
    g: list[Layer], d: list[Layer], x: jax.Array, z: jax.Array, masks: list[jax.Array], recipe: GANRecipe
) -> tuple[jax.Array, jax.Array]:
    """D's cost and G's, of one set of samples."""
    both = jnp.concatenate([x, generate(g, z)])
    real, fake = jnp.split(discriminate(d, both, masks, recipe.d_pieces), 2)
    value = log_sigmoid(real).mean() + log_sigmoid(-fake).mean()
    return -recipe.rules.d_cost * value, -log_sigmoid(fake).mean()


def gradients(
    g: list[Layer], d: list[Layer], x: jax.Array, z: jax.Array, masks: list[jax.Array], recipe: GANRecipe
) -> tuple[list[Layer], list[Layer]]:
    """G's gradient of its cost and D's of its own, by one way forward and two back."""
    _, back = jax.vjp(lambda g, d: costs(g, d, x, z, masks, recipe), g, d)
    return back((0.0, 1.0))[0], back((1.0, 0.0))[1]


def contender(
    recipe: GANRecipe, generator: nn.Module, discriminator: nn.Module, train: Tensor
) -> Callable[[int], None]:
    """Plays so many updates of the authors' rules, from the weights of two nets."""
    rules, edge = recipe.rules, math.sqrt(3)
    nets = layers_of(generator), layers_of(discriminator)
    keeps = [recipe.keep_input, *[recipe.keep_hidden] * len(recipe.d_hidden)]
    widths = [train.shape[1], *recipe.d_hidden]
    data, indices = (
        jnp.asarray(train.numpy()),
        batch_indices(len(train), rules.batch_size, 0, 0, train.device),
    )

    @jax.jit
    def step(nets: Any, speeds: Any, key: Any, chosen: jax.Array, rate: float, momentum: float) -> Any:
        key, *keys = jax.random.split(key, 2 + len(keeps))
        z = jax.random.uniform(keys[0], (rules.batch_size, recipe.z_dim), minval=-edge, maxval=edge)
        masks = [
            jax.random.bernoulli(k, keep, (2 * rules.batch_size, n)) / keep
            for k, keep, n in zip(keys[1:], keeps, widths, strict=True)
        ]
        slopes = gradients(*nets, data[chosen], z, masks, recipe)
        speeds = jax.tree.map(lambda v, slope: momentum * v - rate * slope, speeds, slopes)
        return jax.tree.map(jnp.add, nets, speeds), speeds, key

    state = nets, jax.tree.map(jnp.zeros_like, nets), jax.random.key(0)
    done = 0

    def play(updates: int) -> None:
        nonlocal state, done
        for _ in range(updates):
            rate = max(rules.learning_rate / rules.decay**done, rules.min_learning_rate)
            state = step(*state, next(indices).numpy(), rate, rules.momentum[0])
            done += 1
        jax.block_until_ready(state)

    return play
