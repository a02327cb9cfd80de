"""The benchmark scripts fit the package, and the pages that they write to have a place for each of their tables."""

import ast
import importlib
from pathlib import Path

import pytest
import torch

from dae_sampler import DenoisingAutoencoder, Recipe

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the benchmarks are not part of the source distribution")


@pytest.fixture
def script(monkeypatch):
    """Import a script by name, as Python does that runs it, or skip where a package of others is missing."""
    monkeypatch.syspath_prepend(BENCHMARKS)

    def load(name):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name.partition(".")[0] in {"dae_sampler", *SCRIPTS}:
                raise
            pytest.skip(f"{name} needs {missing.name}")

    return load


def nodes(name, kind):
    return (node for node in ast.walk(ast.parse((BENCHMARKS / f"{name}.py").read_text())) if isinstance(node, kind))


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_imports(script, name):
    assert script(name).__doc__


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_it_takes_from_the_package_is_there(name):
    for node in nodes(name, ast.ImportFrom):
        if node.module.partition(".")[0] == "dae_sampler":
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("name", SCRIPTS)
def test_its_tables_have_a_place_in_their_pages(script, name):
    fills = [node for node in nodes(name, ast.Call) if isinstance(node.func, ast.Name) and node.func.id == "fill"]
    if not fills:
        return
    module, page = script(name), script("page")
    for table, path in module.TABLES.items():
        before, found, rest = path.read_text().partition(page.mark(table))
        assert found, f"{path} has no place for {table}"
        assert page.mark("end").strip() in rest
        assert page.mark(table) not in before + rest
    named = {node.args[1].value for node in fills if isinstance(node.args[1], ast.Constant)}
    assert named <= set(module.TABLES)


@pytest.mark.parametrize(("name", "power"), [("ours", 0), ("ours", 1), ("edm", 0)])
def test_a_method_that_is_compared_is_trained_by_its_own_loss(script, name, power):
    peers, x = script("peers"), torch.rand(4, 1, 4, 4)
    kind, loss = peers.OURS[name]
    usual = DenoisingAutoencoder("dense(8)", "gaussian(0.1..1)", (1, 4, 4), loss)
    model = peers.weighted(kind, power)("dense(8)", "gaussian(0.1..1)", (1, 4, 4), loss)
    losses = [peers.start(dae, x, Recipe(batch=4)).advance(torch.arange(4)).item() for dae in (usual, model)]
    assert (losses[0] == losses[1]) == (name == "ours" and not power)


def test_the_table_of_libraries_has_the_rows_of_one_processor(script, monkeypatch, tmp_path):
    peers, written = script("peers"), {}
    found = {"net": "`unet`, batches of 384", "levels": "`lognormal(-0.5, 1.2)`", "precision": "bfloat16", "seed": 0}
    found |= dict.fromkeys((*peers.MEANS, *(f"distance at {e}" for e in peers.EVALUATIONS)), 8.0)
    lines = [
        found | {"processor": "here", "name": "ours", "minutes": 1, "took": 1.0, "distance at 50": 90.0},
        found | {"processor": "here", "name": "ours", "minutes": 4, "took": 4.0, "distance at 50": 22.5},
        found | {"processor": "here", "name": "azula", "net": "", "minutes": 9, "distance at 50": 45.0},
        found | {"processor": "there", "name": "ours", "minutes": 1},
    ]
    monkeypatch.setattr(peers, "RESULTS", tmp_path / "peers.jsonl")
    monkeypatch.setattr(peers, "fill", lambda tables, name, header, rows: written.update(header=header, rows=rows))
    peers.RESULTS.write_text("\n".join(map(peers.json.dumps, lines)))
    peers.table("here")
    at = written["header"].index("minutes of dae-sampler")
    assert [(row[0], row[1].split()[0], row[at]) for row in written["rows"]] == [
        ("here", "dae-sampler", "1.0"),
        ("here", "dae-sampler", "4.0"),
        ("here", "azula", "2.0"),
    ]
    with pytest.raises(SystemExit, match="there"):
        peers.table("nowhere")
