"""The commands refine and denoise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..spec import parse_number
from .console import console, counted, listed, say, say_next, say_notes
from .flow import Places, Reading, Shown, beside_of, destination, guard, is_array, range_of
from .generate import Watched
from .options import Compute, Damage, How, Level, Model, Noise, Source, command, own
from .whole import restore_whole

if TYPE_CHECKING:
    from torch import Tensor

    from ..gallery import Film
    from ..pixels import Range
    from ..sampling.plan import Plan
    from ..sampling.samplers import Denoiser


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

    _restore("refined", dae, source, plan, how, places, apply)
    higher = min(1.5 * (plan.level or 0), dae.corruption.high)
    if higher > (plan.level or 0):
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
    noise: Noise = None,
    strength: Annotated[
        float, typer.Option(min=0.01, max=100, help="Multiply the estimated level, for noise that is not white.")
    ] = 1.0,
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
    known = None if noise is None else parse_number(noise, "noise")
    plan = resolve("denoise", dae, how.sampler, how.steps, given, known)
    if plan.estimated:
        how = replace(how, batch=1)  # each image has a level of its own
    levels: list[float] = []
    cut_off: list[float] = []

    def level_of(image: Tensor) -> float:
        cut_off.append(((image <= 0) | (image >= 1)).float().mean().item())
        levels.append(min(max(strength * estimate_level(dae, image), dae.corruption.low), dae.corruption.high))
        return levels[-1]

    def apply(batches: Iterator[Tensor], **options: Any) -> Iterator[Tensor]:
        estimating = level_of if plan.estimated else None
        return tasks.denoise(dae, batches, plan, level_of=estimating, seed=compute.seed, **options)

    _restore("denoised", dae, source, plan, how, places, apply)
    if levels:
        say(f"estimated level: {_spread(levels)}")
        if (share := sum(cut_off) / len(cut_off)) > CUT_OFF:
            say(
                f"note: {share:.0%} of the pixels are black or white, where noise is cut off: the true level may be "
                "higher; give it by --level if you know it"
            )
    if not places.compare:
        asked = [word for name, text in (("--level", level), ("--noise", noise)) if text for word in (name, text)]
        again = own(compute.corruption, compute.net)
        say_next("dae-sampler", "denoise", model, source, *asked, "--compare", *again)


def _spread(levels: list[float]) -> str:
    middle = f"{sorted(levels)[len(levels) // 2]:.3g}"
    return middle if len(levels) == 1 else f"{middle} (median), from {min(levels):.3g} to {max(levels):.3g}"


def _restore(
    name: str,
    dae: Denoiser,
    source: Path,
    plan: Plan,
    how: How,
    places: Places,
    apply: Callable[..., Iterator[Tensor]],
) -> None:
    """Read, apply, write: what refine and denoise have in common."""
    out = destination(name, source, places.out)
    beside = beside_of(out) if places.compare else None
    span = range_of(dae)
    film, shown = places.film(), Shown()
    also = [path for path in (beside, places.trajectory) if path]
    if dae.shape[1] or is_array(source) or is_array(out):
        count = _restore_images(dae, source, out, also, plan, how, places, film, shown, apply, span)
    else:
        count = restore_whole(dae, source, out, also, places.strict, film, shown, apply, span)
    if beside:
        shown.save(beside)
    start = "" if plan.level is None else f" from level {plan.level:g}"
    done = f"{counted(count, 'image')} by {plan}{start}, {counted(plan.steps, 'step')}"
    say(f"wrote {listed(out, beside, places.trajectory)}: {done}")


def _restore_images(
    dae: Denoiser,
    source: Path,
    out: Path,
    also: list[Path],
    plan: Plan,
    how: How,
    places: Places,
    film: Film | None,
    shown: Shown,
    apply: Callable[..., Iterator[Tensor]],
    span: Range | None,
) -> int:
    """Images in batches, into a folder, a grid or an array, with ``also`` beside it; how many were written."""
    from ..data.inputs import open_inputs
    from ..gallery import Writer
    from ..sampling.tasks import batch_size

    beyond = dae.corruption.overshoot(plan.level or dae.corruption.high)  # an estimated level may be any
    shape = dae.shape if dae.shape[1] else None  # pictures of any size keep theirs
    inputs = open_inputs(source, shape, beyond=beyond, span=span, over=places.over, strict=places.strict, without=[out])
    writer = Writer(out, inputs.count)
    guard(inputs, source, writer, *also)
    with writer, Watched(dae, plan, inputs.count, how.batch, film) as watched:
        reading = Reading(inputs, how.batch or (batch_size(shape) if shape else 1))
        for made in apply(reading.images(), on_step=watched.step):
            before, names = reading.waiting.popleft()
            writer.add(made, names)
            if film and not film.saved:
                film.save(made)
            shown.add(before, made)
    say_notes(inputs.notes, inputs.skipped)
    return writer.done
