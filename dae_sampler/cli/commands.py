"""How a function becomes a command, and a group of options a part of it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.models import ArgumentInfo

from .options import as_options

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
OF_RESULTS = ("out", "compare", "trajectory", "every", "error", "resume", "quiet")
"""Options that say where results go, or how they are shown."""


@dataclass
class Running:
    """A command as it was given."""

    name: str = ""
    parameters: Sequence[inspect.Parameter] = ()
    values: Mapping[str, Any] = field(default_factory=dict)

    def again(self, **changes: object) -> list[object]:
        """The words that give the same with other results, but for what ``changes``."""
        words: list[object] = ["dae-sampler", self.name]
        for parameter in self.parameters:
            name, kept = parameter.name, parameter.name not in OF_RESULTS
            value = changes.get(name, self.values[name] if kept else None)
            if value is None or value is False or value == parameter.default:
                continue
            option = as_options(f"`{name}`")
            if isinstance(parameter.annotation.__metadata__[0], ArgumentInfo):
                words.append(value)
            elif isinstance(value, list):
                words += [word for each in value for word in (option, each)]
            else:
                words += [option] if value is True else [option, value]
        return words


running = Running()
"""The command that runs."""


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
        running.name, running.parameters, running.values = function.__name__, parameters, values
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
