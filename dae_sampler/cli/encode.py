"""The command encode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..spec import parse_number
from .commands import command
from .console import Bar, console, counted, listed, say, say_notes
from .options import Compute, Model, Over, Quiet, Source, Strict


@command(
    "dae-sampler encode mnist digits --out features.npz",
    "dae-sampler encode runs/photos photos/ --stage down2 --level 0.2 --out features.csv",
)
def encode(
    model: Model,
    source: Source,
    compute: Compute,
    out: Annotated[Path, typer.Option(help="The table to write: .npz, .csv or .parquet.")] = Path("features.npz"),
    level: Annotated[
        str | None, typer.Option(help="Level that the network is told; default: the model's plan.")
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(help="code of a bottleneck; of a U-Net down1, down2, ..., up2, up1; default: the model's plan."),
    ] = None,
    pool: Annotated[
        int | None,
        typer.Option(min=0, max=64, help="Average maps over POOL x POOL parts; 0: keep maps; default: the model's."),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, max=65536, help="Images computed together.")] = None,
    over: Over = "black",
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Write features of pictures, a row each: what the network makes of them, for a classifier or a search."""
    console.quiet = quiet
    import numpy as np

    from .. import files
    from ..data import tables
    from ..data.inputs import open_inputs
    from ..encoder import Encoder, resolve
    from ..errors import InputError
    from ..sampling.tasks import batch_size

    tables.check(out)
    dae = compute.load(model)
    encoding = resolve(dae, None if level is None else parse_number(level, "level"), stage, pool)
    inputs = open_inputs(source, dae.shape, span=dae.card.range, over=over, strict=strict)
    files.check_apart(inputs.files, [out])
    encoder, rows, names = Encoder(dae, encoding), [], []
    with Bar("encoding", inputs.count, "images") as bar:
        for x, some in inputs.batches(batch or (batch_size(dae.shape) if dae.shape[1] else 1)):
            rows.append(encoder(x).cpu().numpy())
            names += some
            bar.advance(len(x))
    say_notes(inputs.notes, inputs.skipped)
    if len({row.shape[1:] for row in rows}) > 1:
        raise InputError("the pictures differ in size, and so do their maps: give `pool` of 1 or more, or one size")
    features = np.concatenate(rows)
    tables.write_features(out, [inputs.file_of(name) for name in names], features)
    shape = "x".join(map(str, features.shape[1:]))
    say(f"wrote {listed(out)}: {counted(len(features), 'image')}, {shape} features each, {encoding}")
