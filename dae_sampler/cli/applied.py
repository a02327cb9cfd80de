"""A task applied to what a command was given: what refine and denoise have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .console import counted, listed, say, say_notes
from .flow import Places, Reading, Shown, beside_of, destination, guard, is_array
from .generate import Watched
from .options import How
from .whole import restore_whole

if TYPE_CHECKING:
    from torch import Tensor

    from ..gallery import Film
    from ..sampling.plan import Plan
    from ..sampling.samplers import Denoiser


@dataclass
class ErrorMaps:
    """Maps of how far the posterior mean is expected to be off, for images whose level ``level`` tells."""

    dae: Denoiser
    level: Callable[[], float]
    largest: list[float] = field(default_factory=list)

    def of(self, x: Tensor) -> Tensor:
        """The maps of noisy images (B,C,H,W), which have the level told now."""
        from ..pixels import to_float
        from ..sampling.estimate import expected_error

        made = expected_error(self.dae, to_float(x), self.level())
        self.largest += made.amax((1, 2, 3)).tolist()
        return made

    def shown(self, x: Tensor) -> Tensor:
        """The same for a picture: white is the largest value in each map."""
        made = self.of(x)
        return made / made.amax((1, 2, 3), keepdim=True).clamp(min=1e-6)

    def report(self) -> None:
        """Say what white is."""
        ends = sorted({f"{most:.3g}" for most in (min(self.largest), max(self.largest))}, key=float)
        say(f"largest error expected in a map, which is white in pictures: {' to '.join(ends)}")


def apply_task(
    name: str,
    dae: Denoiser,
    source: Path,
    plan: Plan,
    how: How,
    places: Places,
    apply: Callable[..., Iterator[Tensor]],
    errors: ErrorMaps | None = None,
) -> None:
    """Read, apply, write: what refine and denoise have in common. ``errors`` are written beside the images."""
    out = destination(name, source, places.out)
    beside = beside_of(out) if places.compare else None
    film, shown = places.film(), Shown()
    also = [path for path in (beside, places.trajectory) if path]
    if dae.shape[1] or is_array(source) or is_array(out):
        count = _images(dae, source, out, also, plan, how, places, film, shown, apply, errors)
    else:
        count = restore_whole(
            dae, source, out, also, places.strict, film, shown, apply, errors.shown if errors else None
        )
    if beside:
        shown.save(beside)
    start = "" if plan.level is None else f" from level {plan.level:g}"
    done = f"{counted(count, 'image')} by {plan}{start}, {counted(plan.steps, 'step')}"
    say(f"wrote {listed(out, beside, places.trajectory)}: {done}")
    if errors:
        errors.report()


def _images(
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
    errors: ErrorMaps | None,
) -> int:
    """Images in batches, into a folder, a grid or an array, with ``also`` beside it; how many were written."""
    from ..data.inputs import open_inputs
    from ..gallery import Writer
    from ..sampling.tasks import batch_size

    most = plan.level or dae.corruption.high  # an estimated level may be any of the model's
    shape = dae.shape if dae.shape[1] else None  # pictures of any size keep theirs
    inputs = open_inputs(
        source, shape, beyond=dae.corruption.overshoot(most), over=places.over, strict=places.strict, without=[out]
    )
    writer = Writer(out, inputs.count)
    maps = Writer(out.with_name(f"{out.stem}-error{out.suffix}"), inputs.count) if errors else None
    guard(inputs, source, writer, *also, *([maps.out] if maps else []))
    with writer, maps or nullcontext(), Watched(dae, plan, inputs.count, how.batch, film) as watched:
        reading = Reading(inputs, how.batch or (batch_size(shape) if shape else 1))
        for made in apply(reading.images(), on_step=watched.step):
            before, names = reading.waiting.popleft()
            writer.add(made, names)
            if errors and maps:
                maps.add(errors.of(before) if maps.is_array else errors.shown(before), names)
            if film and not film.saved:
                film.save(made)
            shown.add(before, made)
    say_notes(inputs.notes, inputs.skipped)
    return writer.done
