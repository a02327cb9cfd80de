"""The command refine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..spec import parse_number
from .commands import command, running
from .console import say, say_next
from .flow import Now, Places
from .loading import joined, load_for_pictures
from .options import Compute, Guidance, How, Label, Large, Level, Model, Resize, Source
from .restoring import Job

if TYPE_CHECKING:
    from torch import Tensor


@command(
    "dae-sampler refine mnist vae-samples/ --level 0.5 --compare",
    "dae-sampler refine mnist gan.npy --level 0.5 --added 0.4",
    "dae-sampler refine mnist-paper digits.npy --sampler iterate --steps 10",
)
def refine(
    model: Model,
    source: Source,
    how: How,
    places: Places,
    compute: Compute,
    level: Level = None,
    label: Label = None,
    guidance: Guidance = 1.0,
    added: Annotated[
        float | None,
        typer.Option(help="Level of the noise that is added; below --level, an image's own faults count as noise too."),
    ] = None,
    resize: Resize = False,
    large: Large = False,
) -> None:
    """Add noise to images up to a level and sample down: they move to where the data are dense.

    With --sampler iterate, the paper's refinement: plain iteration, no noise added.
    """
    from ..sampling import tasks
    from ..sampling.plan import resolve

    with joined(compute, places.quiet):
        dae, pair = load_for_pictures(compute, model, lambda tiles: job.on_tile(tiles), label, guidance)
        plan = resolve("refine", dae, how.sampler, how.steps, None if level is None else parse_number(level, "level"))
        added = tasks.check_added(dae, plan, added)

        def apply(batches: Iterator[Tensor], now: Now, **options: Any) -> Iterator[Tensor]:
            return tasks.refine(dae, batches, plan, added=added, seed=compute.seed, **options)

        job = Job("refined", dae, plan, apply, source, places, how.batch, pair, resize, large)
        job.run()
    higher = min(1.5 * (plan.level or 0), dae.corruption.high)
    if higher > (plan.level or 0):
        say("to invent more:")
        say_next(*running.again(level=f"{higher:g}"))
