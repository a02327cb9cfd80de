"""The house itself: what fits on a screen, and which way imports run."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dae_sampler

HOUSE = Path(dae_sampler.__file__).parent
MODULES = sorted(HOUSE.rglob("*.py"))
FLOORS = [
    {"errors", "lazy", "spec", "noise", "files", "device", "distributed"},
    {"pixels", "losses", "levels", "card"},
    {"corruption", "nets"},
    {"hub", "dae", "checkpoint"},
    {"sampling", "data", "gallery", "figures", "tiles", "encoder", "anomaly", "export", "sharing"},
    {"training"},
    {"evaluation", "theory"},
    {"web"},
    {"cli"},
]
PILLOW = {"data", "gallery", "figures", "web", "cli"}
FORMATS = {"corruption/jpeg.py"}
"""Mathematics that is a file format."""


def room(path):
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(HOUSE)))
def test_functions_fit_on_a_screen_and_modules_on_a_few(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= (200 if room(path) == "cli" else 300)
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.FunctionDef):
            documented = ast.get_docstring(node, clean=False) or ""
            length = node.end_lineno - node.lineno + 1 - len(documented.splitlines())
            assert length <= 60, f"{node.name} has {length} lines"


def imported(path, everywhere):
    """The rooms that a module imports, at its top or anywhere; not what only type checkers see."""
    tree = ast.parse(path.read_text())
    depth = len(path.relative_to(HOUSE).parts) - 1
    nodes = ast.walk(tree) if everywhere else tree.body
    hidden = {id(n) for top in tree.body if isinstance(top, ast.If) for n in ast.walk(top)}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and id(node) not in hidden and node.level == depth + 1:
            yield from [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(HOUSE)))
def test_imports_run_one_way(path):
    floor = {name: i for i, rooms in enumerate(FLOORS) for name in rooms}
    if room(path) in floor:
        for name in set(imported(path, everywhere=False)) - {room(path), "__version__"}:
            assert floor[name] <= floor[room(path)], f"{path.name} imports {name}"


def test_every_room_has_its_floor():
    known = set().union(*FLOORS) | {"__init__", "__main__"}
    assert {room(path) for path in MODULES} <= known


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(HOUSE)))
def test_mathematics_knows_neither_pillow_nor_options(path):
    text = path.read_text()
    if room(path) not in PILLOW and path.relative_to(HOUSE).as_posix() not in FORMATS:
        assert not re.search(r"^\s*(from|import) PIL", text, re.MULTILINE)
    if room(path) != "cli":
        code = re.sub(r'""".*?"""', "", text, flags=re.DOTALL)
        assert not re.search(r'["\' ]--[a-z]', code), "a library error names parameters, not options"


def test_public_names_are_what_they_were_and_importable():
    before = {"DenoisingAutoencoder", "InputError", "Recipe", "Run", "denoise", "fit", "inpaint", "load", "refine"}
    assert before | {"sample", "save", "Corruption", "Card"} <= set(dae_sampler.__all__)
    assert all(getattr(dae_sampler, name) is not None for name in dae_sampler.__all__)
    assert (HOUSE / "py.typed").is_file()


def test_options_of_training_are_known_without_torch():
    program = "import sys, dae_sampler.training.recipe; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
