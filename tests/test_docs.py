"""What the documentation shows is what the program does."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from dae_sampler.cli.options import app
from dae_sampler.training.recipe import Job

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("*/**/*.md"))] if (ROOT / "docs").is_dir() else []
PAGES = [page for page in PAGES if page.parts[len(ROOT.parts)] in ("README.md", "docs", "checkpoints")]
PROGRAM = typer.main.get_command(app)


def commands(text, page=True):
    """Every line of a block that is a command of ours."""
    fenced = False
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        fenced ^= line.startswith("```")
        shown = fenced or line.startswith(("    ", "$ ")) or not page
        found = shown and re.match(r"(?:    |\$ )*(?:.*-m )?dae[-_]sampler ([a-z]+(?: .*)?)$", line)
        if found:
            yield re.sub(r"\s+#.*", "", found[1])


EXAMPLES = [
    (name, words) for name, command in PROGRAM.commands.items() for words in commands(command.epilog, page=False)
]
SHOWN = [(str(page.relative_to(ROOT)), words) for page in PAGES for words in commands(page.read_text())]


def test_there_are_examples_of_every_command():
    assert {name for name, _ in EXAMPLES} == set(PROGRAM.commands)
    assert len(SHOWN) > 20 or not PAGES


@pytest.mark.parametrize(("where", "words"), [*EXAMPLES, *SHOWN])
def test_every_command_shown_is_one_that_the_program_takes(where, words):
    name, *arguments = shlex.split(words)
    if "..." in arguments:
        return
    PROGRAM.commands[name].make_context(name, arguments)  # parses, and does not run


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def test_options_of_train_are_those_of_the_job():
    options = {o.name: o for o in PROGRAM.commands["train"].params}
    for name, known in Job.__dataclass_fields__.items():
        if known.metadata["help"]:
            assert options[name].default == known.default or known.default is None
