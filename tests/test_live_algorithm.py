"""Algorithm 1 in slow motion, in Chromium and from disk: updates, draws, score, keyboard."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn
from torch.nn.functional import logsigmoid

from gansrc import theory

Open = Callable[..., Any]
PIECE = "algorithm-1"
GAME = "document.querySelector('.live-stage').game"


def coins_below(x: Any) -> Any:
    """Distribution function of chapter 1's coins, as its text has them."""
    return 0.6 * norm.cdf(x, -0.7, 0.5) + 0.4 * norm.cdf(x, 1, 0.4)


def net(tab: Any, name: str) -> nn.Sequential:
    """The page's net, with its weights, as torch's."""
    read = "l => [l.inputs, l.outputs, ...l.parameters.map(p => Array.from(p))]"
    layers = tab.evaluate(f"{GAME}.{name}.map({read})")
    modules: list[nn.Module] = []
    for inputs, outputs, weights, biases in layers:
        linear = nn.Linear(inputs, outputs, dtype=torch.float64)
        linear.weight.data.copy_(torch.tensor(weights, dtype=torch.float64).reshape(outputs, inputs))
        linear.bias.data.copy_(torch.tensor(biases, dtype=torch.float64))
        modules += [linear, nn.Tanh()]
    return nn.Sequential(*modules[:-1])


def drawn(tab: Any, name: str) -> torch.Tensor:
    return torch.tensor(tab.evaluate(f"Array.from({GAME}.{name})"), dtype=torch.float64)[:, None]


def differ(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def line(tab: Any) -> int:
    tab.get_by_role("button", name="Next line").click()
    return tab.evaluate(f"{GAME}.line")


@pytest.mark.parametrize("cost", ["minimax", "non-saturating"])
def test_two_rounds_are_torchs(open_piece: Open, cost: str) -> None:
    tab = open_piece(PIECE, f"{PIECE}:seed=3&k=2&cost={cost}")
    G, D = net(tab, "G"), net(tab, "D")
    first = net(tab, "G")
    learn_D = torch.optim.Adam(D.parameters(), lr=0.01, betas=(0.5, 0.99))
    learn_G = torch.optim.Adam(G.parameters(), lr=0.001, betas=(0.5, 0.99))
    for _ in range(2):
        for _ in range(2):
            assert [line(tab), line(tab)] == [3, 4]
            z, x = drawn(tab, "z"), drawn(tab, "x")
            learn_D.zero_grad()
            (-(logsigmoid(D(x)) + logsigmoid(-D(G(z).detach()))).mean()).backward()
            learn_D.step()
            assert line(tab) == 5
            assert differ(D, net(tab, "D")) < 1e-6
        assert line(tab) == 7
        learn_G.zero_grad()
        logits = D(G(drawn(tab, "z")))
        (logsigmoid(-logits) if cost == "minimax" else -logsigmoid(logits)).mean().backward()
        learn_G.step()
        assert line(tab) == 8
        assert differ(G, net(tab, "G")) < 1e-6 < differ(G, first)
    assert tab.locator("[aria-current]").inner_text().startswith("8")


def test_noise_and_coins_are_what_they_are_called(open_piece: Open) -> None:
    tab = open_piece(PIECE)
    z, x = tab.evaluate(f"""() => {{
        const z = [], x = [], game = {GAME};
        while (game.round < 80) {{
          game.lines.next();
          if (game.line === 4) {{ z.push(...game.z); x.push(...game.x); }}
        }}
        return [z, x];
    }}""")
    assert len(x) == 80 * 64 and min(z) >= -1 and max(z) < 1
    at = np.array([-0.7, 0.2, 1])
    for sample, below in [(z, (at.clip(-1, 1) + 1) / 2), (x, coins_below(at))]:
        found = (np.array(sample)[:, None] < at).mean(0)
        assert np.abs(found - below).max() < 4 * 0.5 / math.sqrt(len(sample))


def test_the_goal_and_the_divergence(open_piece: Open) -> None:
    """By either cost the game is won, not where G is too fast; a seed gives the same game again."""
    shown = "document.querySelector('.live-stage').now"
    tab = open_piece(PIECE, f"{PIECE}:round=300")
    now = tab.evaluate(f"({{...{shown}, bins: Array.from({shown}.bins)}})")
    edges = np.linspace(-4, 4, 81)
    mass = np.diff(coins_below(edges))
    even = (2 * torch.arange(1000, dtype=torch.float64) + 1) / 1000 - 1
    made = net(tab, "G")(even[:, None]).detach().flatten()
    bins = np.histogram(made.clamp(-3.999999, 3.999999), edges)[0] / 1000
    assert np.abs(bins - now["bins"]).max() < 1e-9
    jsd = theory.jsd(mass / mass.sum(), np.array(now["bins"])).item()
    assert abs(jsd - now["jsd"]) < 1e-3
    assert f"JSD {now['jsd']:.3f}" in tab.locator(".live-figures").inner_text()
    again = open_piece(PIECE, f"{PIECE}:round=300").evaluate(f"{shown}.jsd")
    assert again == now["jsd"]
    best = {
        state: open_piece(PIECE, f"{PIECE}:round=400&{state}").evaluate(f"Math.min(...{shown}.history)")
        for state in ("", "cost=minimax", "pace=triple")
    }
    assert best[""] < 0.05 and best["cost=minimax"] < 0.05 < 0.1 < best["pace=triple"]


def test_by_keyboard_alone(open_piece: Open) -> None:
    tab = open_piece(PIECE)
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")  # Play
    tab.wait_for_function(f"{GAME}.round >= 3")
    tab.keyboard.press("Enter")
    rounds = tab.evaluate(f"{GAME}.round")
    tab.wait_for_function(f"location.hash == '#{PIECE}:round={rounds}'")
    while tab.evaluate("document.activeElement.name?.slice(0, 7)") != "live-k-":
        tab.keyboard.press("Tab")
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function(f"location.hash == '#{PIECE}:k=2' && {GAME}.round == 0")


def test_it_keeps_still_where_less_motion_is_asked_for(open_piece: Open) -> None:
    tab = open_piece(PIECE, reduced_motion="reduce", viewport={"width": 390, "height": 900})
    tab.get_by_role("button", name="Step", exact=True).click()
    assert tab.evaluate(f"{GAME}.round") == 1
    tab.wait_for_timeout(200)
    assert tab.evaluate(f"{GAME}.round") == 1


def test_without_scripts_there_is_the_still_picture(open_piece: Open) -> None:
    tab = open_piece(PIECE, java_script_enabled=False)
    assert tab.locator(".live-still").is_visible() and not tab.locator(".live-stage").is_visible()
