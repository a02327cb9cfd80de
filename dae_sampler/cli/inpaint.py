"""The command inpaint."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .commands import command, running
from .console import say_next
from .flow import Now, Places
from .loading import joined, load_for_pictures
from .options import Compute, Guidance, How, Label, Large, Model, Resize, Source
from .restoring import Job
from .versions import Versions

if TYPE_CHECKING:
    from torch import Tensor


@command(
    "dae-sampler inpaint mnist digit.png --mask right -n 8",
    "dae-sampler inpaint photo scan.png --mask scratches.png --out filled/",
)
def inpaint(
    model: Model,
    source: Source,
    how: How,
    places: Places,
    compute: Compute,
    mask: Annotated[
        str, typer.Option(help="What to fill: left, right, top, bottom, or a picture that is white there.")
    ],
    label: Label = None,
    guidance: Guidance = 1.0,
    n: Annotated[int, typer.Option("-n", min=1, max=10_000, help="Completions of each image.")] = 1,
    resize: Resize = False,
    large: Large = False,
) -> None:
    """Fill the hidden part of images with what goes with the rest.

    A model whose noise is too weak to begin from, such as photo, starts from a smooth fill: it mends scratches and
    writing, and cannot invent what a large hole hides.
    """
    from ..data.masks import load_mask
    from ..sampling import tasks
    from ..sampling.plan import resolve

    with joined(compute, places.quiet):
        dae, pair = load_for_pictures(compute, model, lambda tiles: job.on_tile(tiles), label, guidance)
        plan = resolve("inpaint", dae, how.sampler, how.steps)
        keep_of = lru_cache(maxsize=4)(partial(load_mask, mask))
        if dae.shape[1]:
            keep_of(dae.shape)  # what is wrong with it is said before anything is read

        def apply(batches: Iterator[Tensor], now: Now, first: int = 0, **options: Any) -> Iterator[Tensor]:
            pairs = ((x.repeat_interleave(n, 0), keep_of(x.shape[1:])) for x in batches)
            return tasks.inpaint(dae, pairs, plan, seed=compute.seed, first=first * n, **options)

        def as_shown(x: Tensor, made: Tensor) -> Tensor:
            return x.masked_fill(~keep_of(x.shape[1:]), 0.5)

        kept: dict[str, Any] = {"beyond": 0, "reads": (Path(mask),), "versions": Versions(n), "as_shown": as_shown}
        job = Job("inpainted", dae, plan, apply, source, places, how.batch, pair, resize, large, **kept)
        job.run()
    if n == 1:
        say_next(*running.again(n=8, compare=True))
