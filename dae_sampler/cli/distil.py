"""The command distil."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from ..training.recipe import Job
from .commands import command
from .options import DataRoot, Model, OwnCorruption, OwnNet, Quiet, Seed, import_own
from .train import given_options, run_job

if TYPE_CHECKING:
    from ..card import Card

Steps = Annotated[int, typer.Option(min=1, max=10**9, help="Training steps.")]
Rate = Annotated[float, typer.Option(min=1e-9, help="Peak learning rate.")]
Batch = Annotated[int, typer.Option(min=1, max=65536, help="Images per step.")]


@command("dae-sampler distil mnist", "dae-sampler distil runs/sprites --data sprites/ --steps 2000")
def distil(
    context: typer.Context,
    model: Model,
    data: Annotated[
        str | None, typer.Option(help="Images like those it was trained on; default: those on its card.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="For a model with labels: auto or a CSV, as in train; default: auto.")
    ] = None,
    crop: Annotated[
        int | None, typer.Option(min=8, help="For a model of any size: side of the crops; default: 64.")
    ] = None,
    steps: Steps = 600,
    batch: Batch = 32,
    lr: Rate = 5e-4,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: a new one in runs/.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    every: Annotated[int, typer.Option(min=1, help="Steps between validations, sample grids and saves.")] = 500,
    seed: Seed = 0,
    data_root: DataRoot = None,
    corruption: OwnCorruption = "",
    net: OwnNet = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, float32 or bfloat16; auto: bfloat16 where the hardware has it.")
    ] = "auto",
    quiet: Quiet = False,
) -> None:
    """Tune a model into a consistency model, which samples in 1, 2 or 4 network calls; to one run folder."""
    from .. import checkpoint, hub
    from .evaluate import trained_on

    import_own(corruption, net)
    card, _ = checkpoint.read_card(hub.resolve(model))
    _check(card, crop, labels)
    size = "{1}x{0}".format(*card.size) if card.size else None
    job = Job(
        data=data or ("" if resume else trained_on(card)),  # a run knows its own
        corruption=card.corruption,
        net=card.net,
        loss=card.loss,
        start=model,
        size=size,
        crop=crop if card.size else crop or 64,
        channels=card.channels,
        labels=(labels or "auto") if card.labels else None,
        binarise=card.binarise,
        objective="consistency",
        steps=steps,
        batch=batch,
        lr=lr,
        every=every,
        seed=seed,
        data_root=data_root,
        device=device,
        precision=precision,
    )
    given = given_options(context)
    raise typer.Exit(run_job(job, given, out, resume, quiet))


def _check(card: Card, crop: int | None, labels: str | None) -> None:
    if crop and card.size:
        raise InputError("`crop` is for a model of any size, and this one has its own: leave it out")
    if labels and not card.labels:
        raise InputError("this model knows no classes: leave out `labels`")
