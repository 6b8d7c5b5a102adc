"""Gaussian Parzen windows: the log-likelihood estimate of Table 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SIGMAS = tuple(10 ** (-1 + i / 9) for i in range(10))
"""The original grid, logspace(-1, 0, 10)."""


class Score(NamedTuple):
    """Mean log-likelihood, its standard error (nats), sigma, and the value of every point."""

    mean: float
    standard_error: float
    sigma: float
    log_likelihoods: Tensor


def log_likelihood(samples: Tensor, x: Tensor, sigma: Sequence[float] | float) -> Tensor:
    """log p(x) of every point under the Parzen window on `samples`, nats: (m,), or (m, s) for s sigmas."""
    sigmas = torch.as_tensor(sigma, dtype=torch.float64).reshape(-1)
    n, d = samples.shape
    rows = []
    for block in x.split(200):
        distance = torch.cdist(block, samples).double().square_()
        lse = torch.stack([torch.logsumexp(-distance / (2 * s * s), 1) for s in sigmas], 1)
        rows.append(lse - math.log(n) - d * torch.log(sigmas * math.sqrt(2 * math.pi)))
    result = torch.cat(rows)
    return result[:, 0] if isinstance(sigma, float) else result


def score(samples: Tensor, valid: Tensor, test: Tensor, sigmas: Sequence[float] = SIGMAS) -> Score:
    """Sigma by validation, then the mean over the test points with its standard error."""
    sigma = sigmas[int(log_likelihood(samples, valid, sigmas).mean(0).argmax())]
    points = log_likelihood(samples, test, sigma)
    return Score(points.mean().item(), points.std().item() / math.sqrt(len(points)), sigma, points)
