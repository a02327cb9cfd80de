"""The commands refine and denoise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..spec import parse_number
from .applied import ErrorMaps, apply_task
from .console import console, say, say_next
from .flow import Places
from .options import Compute, Damage, How, Level, Model, Source, command, own

if TYPE_CHECKING:
    from torch import Tensor


CUT_OFF = 0.1
"""Share of pixels at the ends of the range above which an estimated level is likely too low."""


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
    added: Annotated[
        float | None,
        typer.Option(help="Level of the noise that is added; below --level, an image's own faults count as noise too."),
    ] = None,
) -> None:
    """Add noise to images up to a level and sample down: they move to where the data are dense.

    With --sampler iterate, the paper's refinement: plain iteration, no noise added.
    """
    console.quiet = places.quiet
    from ..sampling import tasks
    from ..sampling.plan import resolve
    from ..tiles import for_pictures

    dae = for_pictures(compute.load(model))
    start = None if level is None else parse_number(level, "level")
    plan = resolve("refine", dae, how.sampler, how.steps, start)
    added = tasks.check_added(dae, plan, added)

    def apply(batches: Iterator[Tensor], **options: Any) -> Iterator[Tensor]:
        return tasks.refine(dae, batches, plan, added=added, seed=compute.seed, **options)

    apply_task("refined", dae, source, plan, how, places, apply)
    higher = min(1.5 * (plan.level or 0), dae.corruption.high)
    if plan.level is not None and higher > plan.level:
        say("to invent more:")
        say_next(
            "dae-sampler", "refine", model, source, "--level", f"{higher:g}", *own(compute.corruption, compute.net)
        )


@command(
    "dae-sampler denoise mnist scans/ --level 0.5 --compare",
    "dae-sampler denoise mnist noisy.npy --level 0.8 --steps 1",
)
def denoise(
    model: Model,
    source: Source,
    how: How,
    places: Places,
    compute: Compute,
    level: Damage = None,
    strength: Annotated[
        float, typer.Option(min=0.01, max=100, help="Multiply the estimated level, for noise that is not white.")
    ] = 1.0,
    error: Annotated[
        bool, typer.Option("--error", help="Also write a map of the error to expect at each pixel with --steps 1.")
    ] = False,
) -> None:
    """Restore images that are already damaged, adding nothing.

    Without --level, a model of Gaussian noise estimates it for each image. --steps 1 gives the posterior mean, which
    has the least squared error.
    """
    console.quiet = places.quiet
    from ..sampling import tasks
    from ..sampling.estimate import estimate_level
    from ..sampling.plan import resolve
    from ..tiles import for_pictures

    dae = for_pictures(compute.load(model))
    given = None if level in (None, "auto") else parse_number(str(level), "level")
    plan = resolve("denoise", dae, how.sampler, how.steps, given)
    if plan.level is None:
        how = replace(how, batch=1)  # each image has a level of its own
    levels: list[float] = []
    cut_off: list[float] = []

    def level_of(image: Tensor) -> float:
        cut_off.append(((image <= 0) | (image >= 1)).float().mean().item())
        levels.append(min(max(strength * estimate_level(dae, image), dae.corruption.low), dae.corruption.high))
        return levels[-1]

    def apply(batches: Iterator[Tensor], **options: Any) -> Iterator[Tensor]:
        estimating = level_of if plan.level is None else None
        return tasks.denoise(dae, batches, plan, level_of=estimating, seed=compute.seed, **options)

    maps = ErrorMaps(dae, lambda: levels[-1] if plan.level is None else plan.level) if error else None
    apply_task("denoised", dae, source, plan, how, places, apply, maps)
    if levels:
        say(f"estimated level: {_spread(levels)}")
        if (share := sum(cut_off) / len(cut_off)) > CUT_OFF:
            say(
                f"note: {share:.0%} of the pixels are black or white, where noise is cut off: the true level may be "
                "higher; give it by --level if you know it"
            )
    if not places.compare:
        asked = [] if level is None else ["--level", level]
        again = own(compute.corruption, compute.net)
        say_next("dae-sampler", "denoise", model, source, *asked, "--compare", *again)


def _spread(levels: list[float]) -> str:
    middle = f"{sorted(levels)[len(levels) // 2]:.3g}"
    return middle if len(levels) == 1 else f"{middle} (median), from {min(levels):.3g} to {max(levels):.3g}"
