"""The command corrupt."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import InputError
from .commands import command
from .console import console, counted, listed, say, say_next, say_notes
from .flow import destination, guard
from .options import Out, Over, Quiet, Seed, Source, Strict


@command(
    "dae-sampler corrupt 'gaussian(0.5)' digits/ --out noisy/",
    "dae-sampler corrupt 'salt-pepper(0.2)' digits.npy --out noisy.npy",
)
def corrupt(
    corruption: Annotated[
        str, typer.Argument(help="gaussian, salt-pepper, poisson, jpeg, ... at one level; chains with +.")
    ],
    source: Source,
    out: Out = None,
    over: Over = "black",
    strict: Strict = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Damage images, to try out how they are restored.

    Pictures are clipped to [0,1] and rounded; an array (.npy) is not, nor the pages of a float TIFF (.tif).
    """
    console.quiet = quiet
    import torch

    from .. import corruption as corruptions
    from ..data.inputs import open_inputs
    from ..gallery import Writer
    from ..noise import DAMAGE, ImageNoise
    from ..pixels import to_float

    corruptions.import_own(corruption)
    q = corruptions.parse(corruption)
    if q.ranged:
        raise InputError(f"{q} has a range of levels: give one")
    if not q.has_level:
        raise InputError(f"{q} is a way to learn and damages nothing by itself: give another, such as gaussian(0.1)")
    if q.extra:
        raise InputError(f"{q} tells which pixels are gone, which no picture can: give a mask to inpaint instead")
    out = destination("corrupted", source, out)
    inputs = open_inputs(source, None, over=over, strict=strict, without=[out])
    writer = Writer(out, inputs.count, floats=True)
    guard(inputs, source, writer)
    with writer:
        for x, names in inputs.batches(1):
            noise = ImageNoise(seed, DAMAGE + writer.done, len(x))
            writer.add(q.draw(to_float(x), torch.tensor(q.high), noise).x_tilde, names)
    say_notes(inputs.notes, inputs.skipped)
    say(f"wrote {listed(out)}: {counted(writer.done, 'image')} under {q}")
    say_next("dae-sampler", "denoise", "MODEL", out, "--level", f"{q.high:g}")
