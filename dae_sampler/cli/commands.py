"""How a function becomes a command, and a group of options a part of it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from .options import as_options

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
running: set[str] = set()
"""Names of the options of the command that runs, so that an error can tell which of them would help."""


def command(*examples: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command of the app, its examples one a line under its help.

    A parameter whose type is a dataclass stands for the options that its fields are.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        run = _expanded(function)
        app.command(name=function.__name__, epilog="\n\n".join(["Examples:", *examples]))(run)
        return run

    return register


def _expanded(function: Callable[..., None]) -> Callable[..., None]:
    hints = get_type_hints(function, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in groups:
            parameters += _parameters(groups[parameter.name])
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name], kind=parameter.KEYWORD_ONLY))

    def run(**values: Any) -> None:
        running.clear()
        running.update(values)
        values = {name: _at_home(value) for name, value in values.items()}
        for name, kind in groups.items():
            own = {known.name: values.pop(known.name) for known in fields(kind) if known.name in values}
            values[name] = kind(**own)
        function(**values)

    run.__doc__ = function.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {}
    return run


def _at_home(value: Any) -> Any:
    """``~`` as the shell leaves it in ``--out=~/x.png`` and in environment variables."""
    if isinstance(value, Path):
        return Path(os.path.expanduser(value))
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~") else value


def _parameters(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    shown = [known for known in fields(kind) if "help" not in known.metadata or known.metadata["help"]]
    arguments_first = sorted(shown, key=lambda known: not known.metadata.get("argument"))
    return [_parameter(known, hints[known.name]) for known in arguments_first]


def _parameter(known: Field[Any], hint: Any) -> inspect.Parameter:
    about = known.metadata
    if about:  # described without typer, as training's options are
        more = {key: about[key] for key in ("min", "max", "envvar") if about.get(key) is not None}
        name, text = f"--{(about['name'] or known.name).replace('_', '-')}", as_options(about["help"])
        made = typer.Argument(help=text) if about.get("argument") else typer.Option(name, help=text, **more)
        hint = Annotated[hint, made]
    default = known.default if known.default is not MISSING else ...
    return inspect.Parameter(known.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
