"""Rules R1, R2-discrete and R7-mixing of `book/claims.yml` are handed models that are wrong: they fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, MultivariateNormal

from gansrc import claims, datasets, plane
from gansrc.measures import autocorrelation_time
from gansrc.models.ae import Autoencoder
from gansrc.runs import Run
from gansrc.streams import drawing_from

pytest.importorskip("yaml")
BOOK = Path(__file__).parents[1] / "book"
RULES = {row.id: row.rule for row in claims.read_claims(BOOK / "claims.yml")}
WINK = datasets.wink()


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def distance(samples: Tensor) -> float:
    return plane.distances(plane.shares(samples.detach()))[0]


# Decoding random codes


@pytest.fixture
def net() -> Autoencoder:
    return Run(BOOK / "runs/ae-wink-seed-0").sampler()


def restoring_and_drawing(net: Autoencoder, samples: Tensor) -> dict[str, claims.Value]:
    """The figures of R1 for one net and what is taken for its samples, 0.21 for the variational one's."""
    error = (net.restored(WINK.test) - WINK.test).square().sum()
    lost = error / (WINK.test - WINK.test.mean(0)).square().sum()
    codes = net.encoder(WINK.train)
    rows = torch.randint(len(codes), (2, 100_000), generator=rng())
    fitted = distance(net.decoder(codes.T.gather(1, rows).T))
    return {"seeds": 5, "lost": lost.item(), "decoded": distance(samples), "fitted": fitted, "vae": 0.21}


def test_R1_the_recorded_net_passes(net):
    assert claims.evaluate(RULES["R1"], restoring_and_drawing(net, net.samples(100_000, rng())))


class Noise(torch.nn.Module):
    """Codes that have nothing to do with their points."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=rng())


def test_R1_an_encoder_of_noise(net):
    net.encoder = Noise()
    figures = restoring_and_drawing(net, net.samples(100_000, rng()))
    assert figures["lost"] > 0.5 and not claims.evaluate(RULES["R1"], figures)


def test_R1_a_model_that_does_draw_the_data(net):
    assert not claims.evaluate(RULES["R1"], restoring_and_drawing(net, plane.draw(100_000, rng())))


def test_R1_codes_that_are_right(net):
    figures = restoring_and_drawing(net, net.samples(100_000, rng()))
    pairs = net.encoder(plane.draw(100_000, rng()))  # numbers of a code as they occur together
    assert not claims.evaluate(RULES["R1"], figures | {"fitted": distance(net.decoder(pairs))})


# Codes of yes and no


def slopes(
    draw: Callable[[Tensor], Tensor],
    given: Callable[[Tensor], Tensor] = lambda z: -(z - 0.7).square().sum(-1),
    score: Callable[[Tensor, Tensor], Tensor] = lambda z, p: z - p,
) -> dict[str, claims.Value]:
    """The figures of R2-discrete for two coins: a way to draw, a cost, a score function."""
    a = torch.tensor([0.4, -0.6], requires_grad=True)
    codes = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 2)
    expected = (Bernoulli(logits=a).log_prob(codes).sum(1).exp() * given(codes)).sum()
    (slope,) = torch.autograd.grad(expected, a, allow_unused=True, retain_graph=True)
    p = a.sigmoid().expand(100_000, 2)
    with drawing_from(rng()):
        (through,) = torch.autograd.grad(given(draw(p)).mean(), a, allow_unused=True)
        z = p.detach().bernoulli()
    estimates = given(z)[:, None] * score(z, p.detach())
    errors = (estimates.mean(0) - slope).abs() / (estimates.std(0) / 100_000**0.5 + 1e-12)
    return {"through": 0.0 if through is None else through.abs().max().item(), "ratio": 20.0,
            "slope": slope.norm().item(), "error": errors.max().item()}  # fmt: skip


def test_R2_discrete_coins_pass():
    assert claims.evaluate(RULES["R2-discrete"], slopes(torch.bernoulli))


def test_R2_discrete_codes_with_a_slope():
    soft = slopes(lambda p: p + 0.1 * torch.randn_like(p))
    assert soft["through"] > 0.1 and not claims.evaluate(RULES["R2-discrete"], soft)


def test_R2_discrete_a_cost_that_no_code_changes():
    flat = slopes(torch.bernoulli, given=lambda z: 0 * z.sum(-1))
    assert flat["slope"] == 0 and not claims.evaluate(RULES["R2-discrete"], flat)


def test_R2_discrete_a_score_of_another_distribution():
    biased = slopes(torch.bernoulli, score=lambda z, p: z - 0.5)
    assert biased["error"] > 10 and not claims.evaluate(RULES["R2-discrete"], biased)


def test_R2_discrete_a_way_around_that_costs_nothing():
    assert not claims.evaluate(RULES["R2-discrete"], slopes(torch.bernoulli) | {"ratio": 1.0})


# Walks

BELL = MultivariateNormal(WINK.train.mean(0), torch.cov(WINK.train.T))
RIGHT = {
    "seeds": 5, "off": 1e-15, "distance": 0.32, "bell": distance(BELL.sample((1_000_000,))), "steps": 130.0,
    "crossings": 14.0, "slow": 600.0, "quick": 3.0, "blurred": 0.7,
}  # fmt: skip


def walking(steps: Tensor) -> dict[str, claims.Value]:
    """The figures of R7-mixing for states (steps, chains, 2), the others as they are on the page."""
    x, y = steps.unbind(-1)
    parts = torch.where(y < 0.2, 0, torch.where(x < 0, 1, 2))
    time = autocorrelation_time(steps.movedim(0, 1))
    crossings = 1000 * (parts[1:] != parts[:-1]).double().mean().item()
    return RIGHT | {"distance": distance(steps.flatten(0, 1)), "steps": time, "crossings": crossings}


def test_R7_mixing_the_recorded_walk_passes():
    net = Run(BOOK / "runs/gsn-wink-seed-0").sampler()
    with torch.no_grad(), drawing_from(rng()):
        chain = net.eval().chain(300)
        steps = torch.stack([next(chain) for _ in range(2000)])[500:]
    assert claims.evaluate(RULES["R7-mixing"], walking(steps))


def test_R7_mixing_a_chain_that_does_not_move():
    still = plane.draw(1000, rng()).expand(500, 1000, 2)
    assert not claims.evaluate(RULES["R7-mixing"], walking(still))


def test_R7_mixing_draws_that_owe_each_other_nothing():
    free = plane.draw(500_000, rng()).unflatten(0, (500, 1000))
    figures = walking(free)
    assert figures["distance"] < 0.05 and not claims.evaluate(RULES["R7-mixing"], figures)


def test_R7_mixing_a_walk_to_somewhere_else():
    with drawing_from(rng()):
        steps, x = [], torch.zeros(1000, 2)
        for _ in range(500):  # slow enough, and about a bell
            x = BELL.mean + 0.98 * (x - BELL.mean) + (1 - 0.98**2) ** 0.5 * (BELL.sample((1000,)) - BELL.mean)
            steps.append(x)
    figures = walking(torch.stack(steps[100:]))
    assert figures["steps"] > 10 and figures["crossings"] > 1
    assert not claims.evaluate(RULES["R7-mixing"], figures)


@pytest.mark.parametrize(
    "wrong",
    [{"off": 0.2}, {"slow": 130.0}, {"quick": 130.0}, {"blurred": 0.32}, {"seeds": 1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_R7_mixing_no_bargain(wrong):
    assert claims.evaluate(RULES["R7-mixing"], RIGHT)
    assert not claims.evaluate(RULES["R7-mixing"], RIGHT | wrong)
