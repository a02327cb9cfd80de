"""The command denoise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .commands import command, running
from .compared import Compared
from .console import counted, say, say_next
from .error_maps import ErrorMaps
from .flow import Now, Places
from .known import Known
from .loading import joined, load_for_pictures
from .options import Compute, Damage, Guidance, How, Label, Large, Model, Noise, Resize, Source
from .restoring import Job

if TYPE_CHECKING:
    from torch import Tensor

    from ..sampling.plan import Plan
    from ..sampling.samplers import Denoiser


CLEAN = 2
"""Times the lowest level of the model, below which a picture has next to no noise."""
LISTED = 20
"""Pictures of which each level is said."""
CUT_OFF = 0.1
"""Share of pixels at the ends of the range above which an estimated level is likely too low."""


@command(
    "dae-sampler denoise mnist scans/ --level 0.5 --compare",
    "dae-sampler denoise photo holiday.jpg",
    "dae-sampler denoise photo noisy/ --level levels.csv --truth clean/",
    "dae-sampler denoise photo cells.tif --noise 'poisson-gaussian(2.1, 8)'",
)
def denoise(
    model: Model,
    source: Source,
    how: How,
    places: Places,
    compute: Compute,
    level: Damage = None,
    label: Label = None,
    guidance: Guidance = 1.0,
    strength: Annotated[
        float, typer.Option(min=0.01, max=100, help="Multiply the estimated level, for noise that is not white.")
    ] = 1.0,
    noise: Noise = None,
    error: Annotated[
        bool, typer.Option("--error", help="Also write a map of the error to expect at each pixel with --steps 1.")
    ] = False,
    truth: Annotated[
        Path | None, typer.Option(help="Clean versions, named alike: tell how near the results are (PSNR, SSIM).")
    ] = None,
    resize: Resize = False,
    large: Large = False,
) -> None:
    """Restore images that are already damaged, adding nothing.

    Without --level, a model of Gaussian noise estimates it for each image. --steps 1 gives the posterior mean, which
    has the least squared error.
    """
    from ..sampling.plan import resolve

    with joined(compute, places.quiet):
        dae, pair = load_for_pictures(compute, model, lambda tiles: job.on_tile(tiles), label, guidance)
        known = Known.read(level, noise, strength)
        if known.sensor and not dae.corruption.is_gaussian:
            raise InputError(f"this model was trained under {dae.corruption}: noise of a sensor is for Gaussian ones")
        at = dae.corruption.usual_level if known.each else known.level
        plan = resolve("denoise", dae, how.sampler, how.steps, at, known.noise)
        if known.each:
            plan = replace(plan, level=None, estimated=True)
        if plan.estimated:
            how = replace(how, batch=1)  # each image has a level of its own
        task = _Task(dae, plan, known, compute.seed)
        compared = Compared(truth, large) if truth else None
        maps = task.maps() if error else None
        reads = tuple(compared.truth.paths) if compared else ()
        also = {"watcher": compared, "errors": maps, "reads": reads}
        job = Job("denoised", dae, plan, task.apply, source, places, how.batch, pair, resize, large, **also)
        job.run()
        if maps:
            maps.report()
        task.say()
        if compared:
            compared.say()
    if not places.compare:
        say_next(*running.again(compare=True))


@dataclass
class _Task:
    """The task denoise, with the levels that it found."""

    dae: Denoiser
    plan: Plan
    known: Known
    seed: int
    levels: list[tuple[float, str]] = field(default_factory=list)
    cut_off: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at = self.plan.level or 0.0

    def apply(self, batches: Iterator[Tensor], now: Now, **options: Any) -> Iterator[Tensor]:
        """Batches restored, each image at its level."""
        from ..pixels import to_float
        from ..sampling import tasks

        sensor, black, white = self.known.sensor, now.black, now.white
        if sensor:
            batches = (sensor.to_unit(to_float(x) * (white - black) + black, white) for x in batches)
        level_of = (lambda image: self._level(image, now)) if self.plan.estimated else None
        made = tasks.denoise(self.dae, batches, self.plan, level_of=level_of, seed=self.seed, **options)
        return ((sensor.to_counts(x, white) - black) / (white - black) for x in made) if sensor else made

    def maps(self) -> ErrorMaps:
        """Maps of the error, at the level of each image."""
        from ..sampling.estimate import check_expects

        check_expects(self.dae)
        if self.known.sensor:
            raise InputError("`error` is for Gaussian noise: leave it out, or give `noise` as sigma")
        return ErrorMaps(self.dae, lambda: self.at)

    def _level(self, image: Tensor, now: Now) -> float:
        from ..sampling.estimate import estimate_level
        from ..sampling.plan import start_level

        known, q = self.known, self.dae.corruption
        if known.each:
            self.at = start_level(self.dae, known.of(now, q.low))
            return self.at
        self.cut_off.append(((image <= 0) | (image >= 1)).float().mean().item())
        self.at = min(max(known.strength * estimate_level(self.dae, image), q.low), q.high)
        self.levels.append((self.at, now.name))
        return self.at

    def say(self) -> None:
        """The levels that were estimated."""
        from .. import distributed

        named, cut_off = map(distributed.gather, (self.levels, self.cut_off))
        if not named:
            return
        levels = sorted(level for level, _ in named)
        spread = "" if len(levels) == 1 else f" (median), from {levels[0]:.3g} to {levels[-1]:.3g}"
        say(f"estimated level: {levels[len(levels) // 2]:.3g}{spread}")
        for level, name in named if 1 < len(named) <= LISTED else ():
            say(f"  {level:.3g}  {name}")
        if clean := sum(level <= CLEAN * self.dae.corruption.low for level in levels):
            say(f"{counted(clean, 'image')} with next to no noise: nearly unchanged")
        if (share := sum(cut_off) / len(cut_off)) > CUT_OFF:
            say(
                f"note: {share:.0%} of the pixels are black or white, where noise is cut off: the true level may be "
                "higher; give it by --level if you know it"
            )
