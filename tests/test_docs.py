"""What the documentation shows is what the program does."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from dae_sampler.cli.commands import app
from dae_sampler.cli.options import as_options
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


@pytest.mark.parametrize("page", ["README.md", "docs/reference/python.md"])
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text() if PAGES else "", re.DOTALL):
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def options_page():
    """The page of training's options, from where they are defined."""
    rows = ["| option | default | what it does | may change on `--resume` |", "|---|---|---|---|"]
    for name, known in Job.__dataclass_fields__.items():
        if text := known.metadata["help"]:
            option = "DATA" if known.metadata.get("argument") else f"`{as_options(f'`{name}`')}`"
            default = (
                "" if known.default is None or known.default is False or known.default == "" else f"`{known.default}`"
            )
            changes = "yes" if known.metadata["may_change"] else ""
            rows.append(f"| {option} | {default} | {as_options(text).replace('|', ' or ')} | {changes} |")
    table = "\n".join(rows)
    return f"""# Options of training

`dae-sampler train` takes these options, and `config.json` holds them under the same names. `dae_sampler.Recipe` takes
those from `--steps` to `--augment`. The page is made from the program: `python tests/test_docs.py`.

{table}
"""


def test_the_page_of_options_is_that_of_the_program():
    page = ROOT / "docs" / "reference" / "training.md"
    assert not PAGES or page.read_text() == options_page()


def commands_page():
    """The page of all commands, from the program."""
    parts = ["# Commands\n\nThe page is made from the program: `python tests/test_docs.py`.\n"]
    for name, command in PROGRAM.commands.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        words = " ".join(p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments)
        parts.append(f"## {name}\n\n    dae-sampler {name} {words} ...\n\n{command.help}\n")
        if name == "train":
            parts.append("Its options have [a page of their own](training.md).\n")
        else:
            rows = [_row(p) for p in command.params]
            parts.append("\n".join(["| | default | |", "|---|---|---|", *rows]) + "\n")
        examples = [line for line in command.epilog.split("\n\n") if line.startswith("dae-sampler")]
        parts.append("Examples:\n\n" + "\n".join(f"    {line}" for line in examples) + "\n")
    return "\n".join(parts)


def _row(known):
    is_argument = known.param_type_name == "argument"
    name = f"`{known.name.upper()}`" if is_argument else " ".join(f"`{name}`" for name in known.opts)
    plain = not (is_argument or known.default is None or known.default is False or known.default == "")
    return f"| {name} | {f'`{known.default}`' if plain else ''} | {(known.help or '').replace('|', ' or ')} |"


def test_the_page_of_commands_is_that_of_the_program():
    page = ROOT / "docs" / "reference" / "commands.md"
    assert not PAGES or page.read_text() == commands_page()


def test_options_of_train_are_those_of_the_job():
    options = {o.name: o for o in PROGRAM.commands["train"].params}
    for name, known in Job.__dataclass_fields__.items():
        if known.metadata["help"]:
            assert options[name].default == known.default or known.default is None


if __name__ == "__main__":
    (ROOT / "docs" / "reference" / "training.md").write_text(options_page())
    (ROOT / "docs" / "reference" / "commands.md").write_text(commands_page())
