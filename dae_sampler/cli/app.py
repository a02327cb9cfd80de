"""The command line as a whole: the commands, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import sys
from importlib import import_module
from typing import Annotated

import typer
from rich.console import Console

from .. import __version__
from ..errors import InputError
from .commands import app, running
from .console import go_on_unheard
from .options import as_options

COMMANDS = (
    *("train", "distil", "generate", "restore", "denoise", "guided", "inpaint", "corrupt", "encode", "anomaly"),
    *("evaluate", "likelihood", "verify", "models", "report", "export", "push", "web"),
)
"""The modules, which enter their commands, in the order that --help has them."""
for _name in COMMANDS:
    import_module(f".{_name}", __package__)


def main() -> None:
    """Run the command line; bad input ends in one sentence and exit code 2."""
    _prepare_streams()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        code = fail(error.format_message())
    except InputError as error:
        code = fail(str(error))
    except OSError as error:
        code = fail(f"{error.filename or 'the system'}: {error.strerror or error}; check the path and the disk")
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("out of memory|allocate memory", str(error)):
            raise
        code = fail(f"out of memory: {_cure_of_memory()}")
    sys.exit(code or 0)


def _prepare_streams() -> None:
    Console.on_broken_pipe = go_on_unheard  # rich would end the process as if it had failed
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process runs
        else:
            stream.reconfigure(errors="backslashreplace")  # file names need not be text


def _cure_of_memory() -> str:
    """What helps of the options that the command has."""
    cures = {
        "batch": "lower `batch`",
        "samples": "ask for fewer `samples`",
        "optimizer": "choose a narrower `net`",
        "size": "choose a smaller `size`",
    }
    fitting = [cure for option, cure in cures.items() if option in running.values]
    return as_options(", or ".join(fitting) or "close other programs or use a machine with more memory")


def fail(message: str) -> int:
    """Say what is wrong."""
    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
    console.print(f"error: {as_options(message)}")
    return 2


def _version(value: bool) -> None:
    if value:
        typer.echo(f"dae-sampler {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Denoising autoencoders that generate, restore and score images."""
