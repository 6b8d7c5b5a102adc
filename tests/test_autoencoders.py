"""The auto-encoder, and VAE and GSN of points in the plane, against closed forms, quadrature and sampling."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.distributions import MultivariateNormal

from gansrc import plane
from gansrc.datasets import of
from gansrc.measures import autocorrelation_time
from gansrc.models.ae import AE_WINK
from gansrc.models.gsn import GSN_WINK, DeepGSN
from gansrc.models.vae import VAE_MNIST, VAE_WINK, VariationalAutoencoder

POINTS = of(torch.randn(20, 2, generator=torch.Generator().manual_seed(0)))


@torch.no_grad()
def test_R1_decoded_codes_of_a_linear_decoder_are_a_known_gaussian():
    model = dataclasses.replace(AE_WINK, hidden=()).start(POINTS, 1)
    weight, bias = (p.double() for p in model.decoder.parameters())
    samples = model.samples(200_000, torch.Generator().manual_seed(0)).double()
    np.testing.assert_allclose(samples.mean(0), bias, atol=0.01)
    np.testing.assert_allclose(samples.T.cov(), weight @ weight.T, atol=0.01)
    assert torch.equal(model.restored(POINTS.train), model.decoder(model.encoder(POINTS.train)))


def linear_vae(z_dim: int) -> tuple[VariationalAutoencoder, MultivariateNormal]:
    """A decoder without hidden layers and with variances that no code changes, and what it draws."""
    model = dataclasses.replace(VAE_WINK, hidden=(), z_dim=z_dim).start(POINTS, 1)
    with torch.no_grad():
        model.decoder[0].weight[2:] = 0
        weight, bias = (p.double() for p in model.decoder.parameters())
        covariance = weight[:2] @ weight[:2].T + bias[2:].exp().diag()
    return model, MultivariateNormal(bias[:2], covariance)


@pytest.mark.parametrize("z_dim", [1, 2])
def test_R2_density_and_draws_of_a_linear_decoder_are_a_known_gaussian(z_dim):
    model, expected = linear_vae(z_dim)
    x = torch.randn(150, 2, generator=torch.Generator().manual_seed(2))
    np.testing.assert_allclose(model.log_density(x), expected.log_prob(x.double()), atol=1e-4)
    mass, integral = plane.masses(model.log_density(plane.points()))
    assert integral == pytest.approx(expected.log_prob(plane.points()).exp().sum().item() / 32**2, abs=1e-4)
    shares = plane.shares(model.samples(400_000, torch.Generator().manual_seed(0)))
    by_chance = plane.shares(expected.sample((400_000,)).float())
    apart, usual = ((shares_ - mass).abs().sum().item() for shares_ in (shares, by_chance))
    assert apart < 1.1 * usual


def test_R2_density_of_a_bent_decoder_by_a_double_sum_by_hand():
    model = dataclasses.replace(VAE_WINK, hidden=(5,)).start(POINTS, 1)
    W1, b1, W2, b2 = (p.detach().double().numpy() for p in model.decoder.parameters())
    line = np.linspace(-6, 6, 601)
    a, b = np.meshgrid(line, line)
    z = np.stack([a.ravel(), b.ravel()], 1)
    hidden = z @ W1.T + b1
    out = (hidden * (hidden > 0)) @ W2.T + b2
    x = np.array([0.3, -0.4])
    joint = norm.pdf(z).prod(1) * norm.pdf(x, out[:, :2], np.exp(out[:, 2:] / 2)).prod(1)
    expected = math.log(joint.sum() * 0.02**2)
    assert model.log_density(torch.tensor(x[None])).item() == pytest.approx(expected, abs=1e-5)


def test_R2_the_bound_of_points_stays_below_the_likelihood_and_meets_it_at_the_exact_guess():
    model, expected = linear_vae(1)
    x = POINTS.train[:1]
    noise = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))
    exact = expected.log_prob(x.double()).item()
    with torch.no_grad():
        assert model.bound(x.expand(200_000, 2), noise).mean().item() < exact - 0.01
        weight, bias = (p.double() for p in model.decoder.parameters())
        a, precision = weight[:2, 0], (-bias[2:]).exp()
        variance = 1 / (1 + (a * a * precision).sum())  # of the code, given x
        model.encoder[0].weight.copy_(torch.stack([variance * a * precision, torch.zeros(2).double()]))
        model.encoder[0].bias.copy_(
            torch.stack([-variance * (a * precision * bias[:2]).sum(), variance.log()])
        )
        bounds = model.bound(x.expand(200_000, 2), noise)
    assert bounds.mean().item() == pytest.approx(exact, abs=4 * bounds.std().item() / 200_000**0.5)


@pytest.mark.parametrize("recipe", [VAE_MNIST, dataclasses.replace(VAE_WINK, z_dim=3)])
def test_a_density_that_cannot_be_summed_up_is_told(recipe):
    model = dataclasses.replace(recipe, hidden=(3,)).start(POINTS, 0)
    with pytest.raises(ValueError, match=f"one or two numbers, of points, got z_dim {recipe.z_dim} and"):
        model.log_density(POINTS.train)


def repairing(variance: float, std: float) -> DeepGSN:
    """A network of linear units that is the exact repair of N(0, variance I), damaged by `std`."""
    recipe = dataclasses.replace(GSN_WINK, hidden=(2,), corruption_std=std, chains=4000, burn_in=60, thin=5)
    model = recipe.start(POINTS, 0)
    model.activate = lambda total, i: total
    share = variance / (variance + std**2)
    with torch.no_grad():
        model.weights[0].copy_(math.sqrt(share) * torch.eye(2))
        model.log_variance.bias.fill_(math.log(share * std**2))
    return model


@pytest.mark.parametrize("std", [0.5, 1.5])
def test_R7_the_chain_of_the_exact_repair_of_a_gaussian_draws_it(std):
    samples = repairing(0.64, std).samples(40_000, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(samples.mean(0), [0, 0], atol=0.02)
    np.testing.assert_allclose(samples.T.cov(), 0.64 * np.eye(2), atol=0.02)


def test_R7_damage_to_points_is_a_bell_of_the_stated_width():
    moved = repairing(1.0, 0.3).corrupt(torch.ones(100_000, 2)) - 1
    np.testing.assert_allclose(moved.mean(0), [0, 0], atol=0.005)
    np.testing.assert_allclose(moved.T.cov(), 0.09 * np.eye(2), atol=0.002)


def test_R7_without_resampling_a_step_gives_the_mean():
    model = repairing(1.0, 0.5)
    x = torch.ones(3, 2)
    model.recipe = dataclasses.replace(model.recipe, resample=False)
    _, given, drawn = model.step([x, torch.zeros(3, 2)])
    np.testing.assert_allclose(drawn.detach(), given.detach()[:, :2])
    np.testing.assert_allclose(drawn.detach(), 0.8 * x, rtol=1e-6)


@pytest.mark.parametrize("states", [torch.zeros(3, 0, 2), torch.full((3, 5, 2), math.nan)])
def test_R7_a_chain_without_steps_or_of_no_numbers(states):
    with pytest.raises(ValueError, match="steps that are numbers are wanted, got .3, ., 2.: run the chain"):
        autocorrelation_time(states)
