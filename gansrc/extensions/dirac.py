"""The smallest game: all data are one point, the generator is one number, the discriminator another.

p_data is a point mass at 0, p_g one at theta, and D(x) = sigmoid(psi x) (Mescheder et al., 2018). So the
value of eq. (1) is V = -log 2 - log(1 + exp(psi theta)), and the whole game is a point w = (theta, psi) that
moves in the plane. The one place where neither player is pushed is w = 0.

A `Field` says how either player pushes its own number; a `Play` takes steps along it. Everything is float64,
and takes many states at once. Near w = 0 each of these games is linear: there eigenvalues tell its fate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Complex128, Float64
from torch import Tensor
from torch.func import jacrev

Field: TypeAlias = Callable[[Tensor], Tensor]
"""From states (theta, psi) (*s, 2) to the pushes on them (*s, 2): down the gradient of each player's cost."""
Weight: TypeAlias = float | Float64[Tensor, "*s"]
"""One number, or one for each state."""


def minimax(w: Float64[Tensor, "*s 2"]) -> Float64[Tensor, "*s 2"]:
    """The game of eq. (1), where D climbs V and G descends it: (psi, -theta) sigmoid(psi theta)."""
    theta, psi = w.unbind(-1)
    return torch.stack([psi, -theta], -1) * (psi * theta).sigmoid()[..., None]


def non_saturating(w: Float64[Tensor, "*s 2"]) -> Float64[Tensor, "*s 2"]:
    """Section 3's cost, where G climbs log D(G(z)): (psi sigmoid(-psi theta), -theta sigmoid(psi theta))."""
    theta, psi = w.unbind(-1)
    return torch.stack([psi * (-psi * theta).sigmoid(), -theta * (psi * theta).sigmoid()], -1)


def wasserstein(w: Float64[Tensor, "*s 2"]) -> Float64[Tensor, "*s 2"]:
    """The WGAN (Arjovsky et al., 2017), whose D is no probability but psi x itself: (psi, -theta)."""
    theta, psi = w.unbind(-1)
    return torch.stack([psi, -theta], -1)


def noisy(sigma: Weight) -> Field:
    """The game of eq. (1) with instance noise: D sees data and samples blurred by N(0, sigma^2).

    (Sønderby et al., 2017.) The mean over the noise is a sum over equally spaced points, off by less
    than 1e-10 while |psi| sigma <= 4.
    """
    nodes = torch.linspace(-9, 9, 97).double()
    share = (-nodes.square() / 2).softmax(0)
    blur = torch.as_tensor(sigma, dtype=torch.float64)[..., None] * nodes

    def field(w: Float64[Tensor, "*s 2"]) -> Float64[Tensor, "*s 2"]:
        theta, psi = w.unbind(-1)
        real, fake = blur, theta[..., None] + blur
        # sigmoid(x) is (1 + tanh(x / 2)) / 2; the halves, left out of the sums, leave no rounding at w = 0
        at_real, at_fake = ((psi[..., None] * x / 2).tanh() * share for x in (real, fake))
        on_g = psi * (1 + at_fake.sum(-1))
        on_d = -theta - (real * at_real + fake * at_fake).sum(-1)
        return torch.stack([on_g, on_d], -1) / 2

    return field


def penalised(field: Field, weight: Weight, target: float = 0.0) -> Field:
    """A cost on D's slope in x, weight / 2 (|psi| - target)^2, so that D is pushed by weight less psi.

    With target 0, the slope taken at the data, R1 (Mescheder et al., 2018); with another, on the WGAN, its
    gradient penalty (Gulrajani et al., 2017).
    """

    def with_penalty(w: Float64[Tensor, "*s 2"]) -> Float64[Tensor, "*s 2"]:
        push, psi = field(w), w[..., 1]
        return torch.stack([push[..., 0], push[..., 1] - weight * (psi - target * psi.sign())], -1)

    return with_penalty


def consensus(weight: Weight) -> Field:
    """The game of eq. (1) where both also descend weight / 2 |push|^2: each would rather have neither pushed.

    (Mescheder et al., 2017.) Of half the square, s^2 |w|^2 / 2 with s = sigmoid(psi theta), the gradient is
    s^2 w + s^2 (1 - s) |w|^2 (psi, theta).
    """

    def field(w: Float64[Tensor, "*s 2"]) -> Float64[Tensor, "*s 2"]:
        s = w.prod(-1, keepdim=True).sigmoid()
        unrest = s.square() * (w + (1 - s) * w.square().sum(-1, keepdim=True) * w.flip(-1))
        return minimax(w) - torch.as_tensor(weight, dtype=torch.float64)[..., None] * unrest

    return field


def jacobian(f: Field, at: Float64[Tensor, "*s d"]) -> Float64[Tensor, "*s d d"]:
    """Derivatives of a map's outputs (rows) in its inputs (columns), for each state by itself."""
    summed = jacrev(lambda w: f(w).reshape(-1, at.shape[-1]).sum(0))(at)  # states do not mix, so sums part
    return summed.movedim(0, -2)


@dataclass(frozen=True)
class Play:
    """How the two take steps along a field.

    rate: of both. alternating: D first, then G against the new D (Algorithm 1), else both at once. k: steps
    of D for one of G. momentum: as `gansrc.game` has it, v <- m v + rate push; w <- w + v. clip: after each
    step of D its slope is cut to [-clip, clip], as the first WGAN has it.
    """

    field: Field
    rate: float = 0.1
    alternating: bool = True
    k: int = 1
    momentum: float = 0.0
    clip: float = math.inf

    def __post_init__(self) -> None:
        for name in ("rate", "k", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    def update(self, state: Float64[Tensor, "*s 4"]) -> Float64[Tensor, "*s 4"]:
        """One update of (theta, psi, velocity of theta, velocity of psi)."""
        theta, psi, v_theta, v_psi = state.unbind(-1)
        push = before = self.field(state[..., :2])
        for _ in range(self.k):
            v_psi = self.momentum * v_psi + self.rate * push[..., 1]
            psi = (psi + v_psi).clamp(-self.clip, self.clip)
            push = self.field(torch.stack([theta, psi], -1))
        on_theta = (push if self.alternating else before)[..., 0]
        v_theta = self.momentum * v_theta + self.rate * on_theta
        return torch.stack([theta + v_theta, psi, v_theta, v_psi], -1)

    def path(self, start: Float64[Tensor, "*s 2"], updates: int) -> Float64[Tensor, "n *s 2"]:
        """The states from `start` on, at rest, after 0, 1, ..., `updates` updates."""
        states = [torch.cat([start, torch.zeros_like(start)], -1)]
        for _ in range(updates):
            states.append(self.update(states[-1]))
        return torch.stack(states)[..., :2]

    def modulus(self, *shape: int) -> Float64[Tensor, "*s"]:
        """By how much an update multiplies a small distance from w = 0, in the long run.

        The largest modulus of an eigenvalue of the update at 0: above 1 the game runs away, below it
        arrives, at 1 it does neither, as far as the linear part can tell. shape: that of the field's weights.
        """
        return torch.linalg.eigvals(jacobian(self.update, torch.zeros(*shape, 4).double())).abs().amax(-1)


def flow(field: Field, *shape: int) -> Complex128[Tensor, "*s 2"]:
    """Eigenvalues of a field at w = 0, of states of that shape.

    For steps that are infinitely small: the real part is the rate at which a small distance grows, the
    imaginary one the speed of turning, both per unit of time (rate times updates).
    """
    return torch.linalg.eigvals(jacobian(field, torch.zeros(*shape, 2).double()))


def measured(path: Float64[Tensor, "n *s 2"]) -> Float64[Tensor, "*s"]:
    """By how much an update multiplied the distance from 0: a line through its logarithm, second half.

    Weights that vanish at both ends (Hann) keep what goes up and down within a round out of the slope.
    """
    distance = path[len(path) // 2 :].norm(dim=-1).log()
    time, column = torch.arange(len(distance)).to(distance), (-1, *[1] * (distance.dim() - 1))
    centred, weight = time - time.mean(), torch.hann_window(len(time), periodic=False).to(time)
    return ((weight * centred).reshape(column) * distance).sum(0).div((weight * centred.square()).sum()).exp()
