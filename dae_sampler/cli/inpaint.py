"""The command inpaint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .console import console, counted, listed, say, say_next, say_notes
from .flow import Reading, Shown, beside_of, destination, guard
from .generate import Watched
from .options import Compute, Guidance, How, Label, Model, Out, Over, Quiet, Resize, Source, Strict, command, own


@command(
    "dae-sampler inpaint mnist digit.png --mask right -n 8",
    "dae-sampler inpaint mnist-erasure photos/ --mask scratches.png --out filled/",
)
def inpaint(
    model: Model,
    source: Source,
    how: How,
    compute: Compute,
    mask: Annotated[
        str, typer.Option(help="What to fill: left, right, top, bottom, or a picture that is white there.")
    ],
    label: Label = None,
    guidance: Guidance = 1.0,
    n: Annotated[int, typer.Option("-n", min=1, max=10_000, help="Completions of each image.")] = 1,
    out: Out = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also write OUT-compare.png: a row an image, the damaged one first.")
    ] = False,
    resize: Resize = False,
    over: Over = "black",
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Fill the hidden part of images with what goes with the rest."""
    console.quiet = quiet
    from ..data.inputs import open_inputs
    from ..data.pictures import load_mask
    from ..gallery import Writer
    from ..pixels import to_float
    from ..sampling import tasks
    from ..sampling.guidance import told
    from ..sampling.plan import resolve

    out = destination("inpainted", source, out)
    beside = beside_of(out) if compare else None
    dae = told(compute.load(model), label, guidance)
    plan = resolve("inpaint", dae, how.sampler, how.steps)
    if not dae.shape[1]:
        raise InputError(
            "this model takes pictures of any size, which this command cannot fill: use dae_sampler.inpaint"
        )
    keep = load_mask(mask, dae.shape)
    fit = "crop" if resize else None
    inputs = open_inputs(source, dae.shape, fit=fit, over=over, strict=strict, without=[out])
    shown, count = Shown(n), inputs.count * n
    writer = Writer(out, count)
    guard(inputs, source, writer, beside, mask=Path(mask))
    with writer, Watched(dae, plan, count, how.batch) as watched:
        reading = Reading(inputs, max(1, (how.batch or tasks.batch_size(dae.shape)) // n))
        batches = ((x.repeat_interleave(n, 0), keep) for x in reading.images())
        for filled in tasks.inpaint(dae, batches, plan, seed=compute.seed, on_step=watched.step):
            before, names = reading.waiting.popleft()
            writer.add(filled, [name if n == 1 else f"{name}-{i + 1}" for name in names for i in range(n)])
            shown.add(to_float(before).masked_fill(~keep, 0.5), filled)
    say_notes(inputs.notes, inputs.skipped)
    if beside:
        shown.save(beside)
    done = f"{counted(writer.done, 'image')} by {plan}, {counted(plan.steps, 'step')}"
    say(f"wrote {listed(out, beside)}: {done}")
    if n == 1:
        again = own(compute.corruption, compute.net)
        say_next("dae-sampler", "inpaint", model, source, "--mask", mask, "-n", 8, "--compare", *again)
