"""The benchmarks' own tools: dated lines, their page, the unit, and the update in JAX."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from test_runs import SMALL

from gansrc import datasets, runs
from gansrc.networks import Linear

HOME = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def tool(monkeypatch):
    """Imports a file of benchmarks/, whose own imports are by its side, and forgets it afterwards."""
    monkeypatch.syspath_prepend(str(HOME))
    before = set(sys.modules)

    def load(name: str) -> ModuleType:
        return import_module(name)

    yield load
    for name in {path.stem for path in HOME.glob("*.py")} & set(sys.modules) - before:
        del sys.modules[name]


def test_a_measurement_is_a_new_line_and_the_last_of_each_machine_is_shown(tool, tmp_path):
    lines = tool("lines")
    new = lines.line(torch.device("cpu"), figure=1)
    assert {"date", "commit", "machine", "threads", "torch"} <= new.keys() and new["device"] == "cpu"
    for figure, (date, machine, threads) in enumerate(
        (("2026-01-02", "a", 1), ("2026-01-03", "b", 1), ("2026-01-01", "a", 2), ("2026-01-05", "a", 1)), 1
    ):
        told = {"date": date, "machine": machine, "threads": threads, "figure": figure}
        lines.add("some", new | told, tmp_path)
    assert [one["figure"] for one in lines.latest("some", tmp_path)] == [4, 2, 3]
    kept = (tmp_path / "some.jsonl").read_text().splitlines()
    assert [json.loads(text)["figure"] for text in kept] == [1, 2, 3, 4]


def test_the_page_of_results_is_made_of_the_lines_and_the_records(tool):
    page = (HOME / "results" / "README.md").read_text(encoding="utf-8")
    assert page == tool("page").text(), "run python benchmarks/page.py"


def test_a_measurement_is_told_and_kept_if_asked_to(tool, monkeypatch, capsys):
    page, kept = tool("page"), []
    monkeypatch.setattr(page.lines, "add", lambda *line: kept.append(line))
    monkeypatch.setattr(page, "write", lambda: kept.append("page"))
    (new, *_) = page.lines.latest("products")
    for record, expected in ((False, []), (True, [("products", new), "page"])):
        page.tell(page.products, new, record)
        assert kept == expected and capsys.readouterr().out == page.products(new) + "\n"


def test_seconds_to_a_score_are_of_the_first_row_that_had_it(tool, tmp_path, images):
    page, run = tool("page"), runs.train(SMALL, tmp_path / "run", epochs=1, data=images)
    (run.folder / "history.csv").write_text(
        "epoch,updates,seconds,valid_original\n1,20,2.5,90\n2,40,5.0,\n5,100,9.5,150.5\n10,200,20,130\n15,300,30,150.6\n"
    )
    record = json.loads((run.folder / "run.json").read_text())
    del record["history_sha256"]  # of the history that was there
    (run.folder / "run.json").write_text(json.dumps(record))
    read = runs.Run(run.folder)
    assert page.seconds_to(read, 90) == 2.5
    assert page.seconds_to(read, 140) == page.seconds_to(read, 150.5) == 9.5
    assert page.seconds_to(read, 150.55) == 30
    assert np.isnan(page.seconds_to(read, 151)) and np.isnan(
        page.seconds_to(read, 90, "average_valid_original")
    )


def test_every_library_does_the_same_product(tool):
    products = tool("products")
    x, w = torch.rand(5, 7), torch.rand(4, 7)
    truth = x.double().numpy() @ w.double().numpy().T
    makers = [products.by_torch, products.by_numpy, products.by_onednn, products.by_onednn_and_back]
    for make in makers + [products.by_jax] * products.has_jax():
        found = make(x, w)()
        dense = found.to_dense() if isinstance(found, torch.Tensor) and found.is_mkldnn else found
        np.testing.assert_allclose(np.asarray(dense), truth, rtol=1e-5)
    unit = products.fastest((5, 7, 4), rounds=1)
    assert unit.gflops == max(unit.all.values()) == unit.all[unit.library] > 0


@pytest.mark.skipif(not find_spec("jax"), reason="JAX is not installed")
def test_the_update_in_jax_has_the_gradients_of_ours(tool):
    import jax.numpy as jnp

    in_jax, rng = tool("in_jax"), np.random.default_rng(0)
    game = SMALL.start(datasets.of(torch.rand(20, 16)), 0).game
    pair = [net.double() for net in (game.generator, game.discriminator)]
    for net in pair:
        for p in net.parameters():
            p.data = torch.from_numpy(rng.normal(size=p.shape))
    x, z = rng.random((10, 16)), rng.normal(size=(10, 3))
    masks = [rng.integers(0, 2, (20, n)) * 2.0 for n in (16, 6)]
    g, d = [[layer for layer in net.modules() if isinstance(layer, Linear)] for net in pair]
    samples = torch.sigmoid(g[1](torch.relu(g[0](torch.from_numpy(z)))))
    hidden = d[0](torch.cat([torch.from_numpy(x), samples]) * torch.from_numpy(masks[0]))
    largest = torch.stack(hidden.chunk(SMALL.d_pieces, 1)).amax(0)
    chance = torch.sigmoid(d[1](largest * torch.from_numpy(masks[1]))[:, 0])
    d_cost = -SMALL.rules.d_cost * (chance[:10].log().mean() + (1 - chance[10:]).log().mean())
    truth = [
        torch.autograd.grad(cost, list(net.parameters()), retain_graph=True)
        for cost, net in ((-chance[10:].log().mean(), pair[0]), (d_cost, pair[1]))
    ]
    nets = [in_jax.layers_of(net) for net in pair]
    found = in_jax.gradients(*nets, jnp.asarray(x), jnp.asarray(z), list(map(jnp.asarray, masks)), SMALL)
    for slopes, true in zip(found, truth, strict=True):
        flat = [part for layer in slopes for part in layer]
        for one, other in zip(flat, true, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-5)
