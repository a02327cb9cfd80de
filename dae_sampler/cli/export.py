"""The command export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .commands import command
from .console import console, print_json, say, say_which
from .options import Json, Model, OwnCorruption, OwnNet, Quiet, import_own


@command("dae-sampler export mnist mnist.onnx", "dae-sampler export runs/photos photos.onnx --json")
def export(
    model: Model,
    out: Annotated[Path, typer.Argument(help="The graph to write: .onnx.")],
    corruption: OwnCorruption = "",
    net: OwnNet = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a model as an ONNX graph, check it against the model, and time both."""
    console.quiet = quiet or as_json
    from .. import checkpoint
    from ..export import check, to_onnx

    check(out)
    import_own(corruption, net)
    say_which(model)
    dae = checkpoint.load(model)
    say("exporting takes half a minute or more")
    made = to_onnx(dae, out)
    if as_json:
        print_json(made.to_json())
        return
    for name, shape in [*made.inputs.items(), ("x_hat", made.output)]:
        say(f"{'output' if name == 'x_hat' else 'input '}  {name:<5}  ({', '.join(map(str, shape))})")
    images = "x".join(map(str, made.timed))
    times = ", ".join(f"{1000 * seconds:.1f} ms by {name}" for name, seconds in made.seconds.items())
    say(f"largest difference from the model: {made.difference:.1e}\n{images} take {times}")
    say(f"wrote {out} ({made.size / 1e6:.1f} MB)")
