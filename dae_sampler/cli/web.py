"""The command web."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .commands import command
from .console import console, say
from .options import Compute, Quiet

LOOPBACK = ("127.0.0.1", "localhost", "::1")
FIRST = "mnist"
"""The model that the page opens with: it does all that the page shows."""


@command("dae-sampler web", "dae-sampler web mnist-erasure --port 9000", "dae-sampler web runs/faces --no-open")
def web(
    compute: Compute,
    model: Annotated[
        str | None,
        typer.Argument(help="A shipped model's name, a .safetensors file, or a run folder; default: all that ship."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in, without a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 8765,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    quiet: Quiet = False,
) -> None:
    """Draw, damage, restore, fill in and generate in a browser, on this machine alone."""
    console.quiet = quiet
    try:
        from ..web.server import listen, server_of
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise InputError("the web page needs the extra: pip install 'dae-sampler[web]'") from None
    from .. import hub
    from ..web.exhibit import Exhibit

    names = [model] if model else sorted(hub.shipped(), key=lambda name: (name != FIRST, name))
    exhibits = [Exhibit(Path(name).resolve().name.removesuffix(".safetensors"), compute.load(name)) for name in names]
    with listen(host, port) as place:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{place.getsockname()[1]}/"
        say(f"{', '.join(exhibit.name for exhibit in exhibits)} at {address} until Ctrl-C")
        if host not in LOOPBACK:
            say("note: whoever reaches this address can use the page, for it has no password")
        if open_browser:
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()  # some wait for the page
        server_of(exhibits, host, compute.seed).run(sockets=[place])
