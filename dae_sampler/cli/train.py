"""The command train."""

from __future__ import annotations

import math
import shlex
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..training.recipe import Job
from .commands import command
from .console import Bar, console, counted, duration, say, say_next, say_notes
from .known import level_wanted
from .options import Quiet, import_named, own

if TYPE_CHECKING:
    from ..dae import DenoisingAutoencoder
    from ..training.job import Prepared
    from ..training.progress import Progress
    from ..training.validation import Validation


@command(
    "dae-sampler train mnist",
    "dae-sampler train photos/ --size 32 --steps 20000",
    "dae-sampler train mnist --corruption 'gaussian(0.75)' --net 'conv(code=32)'",
    "dae-sampler train clean/ --damaged dirty/ --crop 64",
    "dae-sampler train noisy/ --corruption 'blindspot(1/16)' --crop 64",
    "dae-sampler train --resume --out runs/mnist",
)
def train(
    context: typer.Context,
    job: Job,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: a new one in runs/.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; more --steps extend it.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a denoising autoencoder on images; everything goes to one run folder."""
    import_named(job.corruption, job.net)
    raise typer.Exit(run_job(job, given_options(context), out, resume, quiet))


def given_options(context: typer.Context) -> set[str]:
    """Names of the options of training that were given, not left at their default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}
    return {name for name in given if hasattr(Job, name)}


def run_job(job: Job, given: set[str], out: Path | None, resume: bool, quiet: bool) -> int:
    """Train as ``job`` says, and say how it goes; the exit code."""
    from .. import distributed
    from ..device import pick_device
    from ..training.job import claimed, prepare

    with distributed.joined(pick_device(job.device)):
        console.quiet = quiet or distributed.get_rank() > 0
        with claimed(job, given, out, resume) as (run, job), _stopping() as signals:
            with Bar("reading images", 1, "files") as bar:
                prepared = prepare(job, run, bar.reach)
            say_notes([*prepared.dataset.notes, *filter(None, [prepared.note])], prepared.dataset.skipped)
            _announce(prepared)
            return _train(prepared, signals)


def _announce(prepared: Prepared) -> None:
    dae, recipe, total = prepared.dae, prepared.recipe, len(prepared.dataset)
    weights = sum(p.numel() for p in dae.parameters())
    held_out = recipe.validation_size(total)
    n = total - held_out
    rows = len(prepared.dataset.split(held_out)[0])
    crop = prepared.job.crop
    kind = " as a consistency model" if prepared.job.objective == "consistency" else ""
    size = f"crops of {crop}x{crop}, {dae.shape[0]} channels" if crop else "x".join(map(str, dae.shape))
    say(
        f"{'resuming' if prepared.done else 'training'} {dae.card.net} ({weights / 1e6:.2f} M parameters) "
        f"by {dae.card.loss}{kind} under {dae.corruption}\n"
        f"on {counted(n, 'image')} of {dae.card.data} ({size}; {held_out} held out), {recipe.steps} steps of "
        f"{recipe.batch} = {recipe.steps * recipe.batch / rows:.1f} epochs, {dae.precision} on {dae.device.type}, "
        f"into {prepared.run.folder}"
    )


def _train(prepared: Prepared, signals: list[int]) -> int:
    """Train with a bar; the exit code: 0, or 128 + the number of the signal that stopped it."""
    from ..training.job import train
    from ..training.progress import TrainingInterrupted

    folder, recipe, job = prepared.run.folder, prepared.recipe, prepared.job
    with Bar("training", recipe.steps, "images", recipe.batch, prepared.done) as bar:

        def show(progress: Progress) -> None:
            bar.advance()
            if bar.done - bar.first == 20:
                say(f"about {duration(bar.left())} at {bar.rate():.0f} images/s")
            if progress.validation:
                _say_validation(progress.step, progress.validation, progress.average)

        try:
            train(prepared, show, should_stop=lambda: bool(signals))
        except TrainingInterrupted:
            again = shlex.join(
                ["dae-sampler", "train", "--resume", "--out", str(folder), *own(job.corruption, job.net)]
            )
            say(f"stopped and saved; go on with: {again}")
            return 128 + (signals[0] if signals else signal.SIGTERM)  # another process was asked to stop
    say(f"wrote {folder}/model.safetensors")
    q = prepared.dae.corruption
    restores, wanted = job.crop or not q.has_level, level_wanted(q, prepared.dae.card.objective)
    going_on = ["denoise", folder, "PICTURES", *wanted] if restores else ["sample", folder]
    if labels := prepared.dae.card.labels:
        going_on += ["--label", labels[0]]
    say_next("dae-sampler", *going_on, *own(job.corruption, job.net))
    return 0


def _say_validation(step: int, checked: Validation, model: DenoisingAutoencoder) -> None:
    from ..evaluation.likelihood import has_bound

    excess = f" = {checked.floor:.4f} floor + {checked.excess:.4f} excess" if checked.floor else ""
    nats = f" = {checked.loss * math.prod(model.shape):.2f} nats an image" if has_bound(model) else ""
    say(f"step {step}: held-out {model.card.loss} {checked.loss:.4f}{excess}{nats}")


@contextmanager
def _stopping() -> Generator[list[int]]:
    """A list that holds the number of the signal that asked to stop; a second one stops at once."""
    signals: list[int] = []

    def stop(number: int, frame: Any) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)

    wanted = [s for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) is not signal.SIG_IGN]
    before = {s: signal.signal(s, stop) for s in wanted}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
