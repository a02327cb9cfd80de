"""The command restore: guided by what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..spec import parse_number
from .console import console, counted, listed, say, say_next, say_notes
from .flow import Places, Reading, Shown, beside_of, destination, guard, is_array
from .generate import Watched
from .loading import load_for_pictures
from .options import Compute, How, Model, Source, command, own
from .restoring import restore_all
from .simulation import Simulation

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.whole import Page
    from ..sampling.linear import Operator
    from ..sampling.plan import Plan
    from ..sampling.samplers import Denoiser, State

MEAN, DIFFER = "-mean", "-differ"
"""Behind the names of the mean of several restorations, and of the map of where they differ."""


@command(
    "dae-sampler restore mnist small.png --operator 'downsample(2)'",
    "dae-sampler restore mnist digits/ --operator 'blur(1.5)' --noise 0.02 --simulate --compare",
    "dae-sampler restore photo scan.png --operator 'blur(1)+downsample(2)' --samples 8 --out large/",
)
def restore(
    model: Model,
    source: Source,
    how: How,
    places: Places,
    compute: Compute,
    operator: Annotated[
        str,
        typer.Option(
            help="What became of the pictures: blur(SIGMA), motion(LENGTH, ANGLE), downsample(FACTOR), grey, "
            "mask('hole.png') (white is filled; or 'left', 'right', 'top', 'bottom'), or a chain of these with +."
        ),
    ],
    noise: Annotated[
        str, typer.Option(help="Standard deviation of the noise in the pictures: 0.01 or a fraction.")
    ] = "1/255",
    simulate: Annotated[
        bool, typer.Option("--simulate", help="The pictures are clean: damage them first, and report the PSNR.")
    ] = False,
    samples: Annotated[
        int, typer.Option(min=1, max=1000, help="Restorations of each, with their mean and a map of where they differ.")
    ] = 1,
) -> None:
    """Restore pictures whose damage is known: blurred, too small, grey, or with holes.

    The model is held to the pictures between its steps, to within their noise.
    """
    console.quiet = places.quiet
    from ..data.pictures import load_mask
    from ..sampling.operators import parse
    from ..sampling.plan import resolve

    out = destination("restored", source, places.out)
    beside = beside_of(out) if places.compare else None
    dae, pair = load_for_pictures(compute, model)
    sampler = "dpm(eta=1)" if samples > 1 and how.sampler is None and not how.steps else how.sampler
    plan = resolve("restore", dae, sampler, how.steps)
    a, sigma = parse(operator, load_mask), parse_number(noise, "noise")
    simulation = Simulation(a, sigma, samples, compute.seed) if simulate else None
    job = _Job(dae, plan, a, sigma, samples, compute.seed, simulation)
    shown = Shown(samples)
    also = [path for path in (beside, places.trajectory) if path]
    if dae.shape[1] or simulate or is_array(source) or is_array(out):
        count = job.images(source, out, also, how, places, shown)
    else:
        count = job.files(source, out, also, places, shown)
    if beside:
        shown.save(beside)
    done = f"{counted(count, 'image')} by {plan}, {counted(plan.steps, 'step')}"
    say(f"wrote {listed(out, beside, places.trajectory)}: {done}")
    job.report()
    if pair:
        say(f"grey pictures by {pair[0]}, those in colour by {pair[1]}")
    if samples == 1:
        asked = ["--operator", operator, "--noise", noise, *(["--simulate"] if simulate else [])]
        again = own(compute.corruption, compute.net)
        say_next("dae-sampler", "restore", model, source, *asked, "--samples", 8, "--compare", *again)


@dataclass
class _Job:
    """What is done to each measurement, and what is to be reported of all."""

    dae: Denoiser
    plan: Plan
    operator: Operator
    noise: float
    samples: int
    seed: int
    simulation: Simulation | None
    most: list[float] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        """What is written of each picture."""
        return [""] if self.samples == 1 else [*(f"-{i + 1}" for i in range(self.samples)), MEAN, DIFFER]

    def restored(self, y: Iterator[Tensor], step: Callable[[State], None], first: int = 0) -> Iterator[Tensor]:
        """All restorations, those of a measurement one after the other."""
        from ..sampling.tasks import restore

        options = {"noise": self.noise, "samples": self.samples, "seed": self.seed, "first": first, "on_step": step}
        return restore(self.dae, y, self.plan, self.operator, **options)

    def versions(self, made: Tensor) -> dict[str, Tensor]:
        """Of restorations (B * samples,C,H,W) what is written, (B,C,H,W) each. White in a map is its largest value."""
        if self.samples == 1:
            return {"": made}
        each = made.unflatten(0, (-1, self.samples))
        differ = each.std(1)
        most = differ.amax((1, 2, 3), keepdim=True)
        self.most += most.flatten().tolist()
        return dict(zip(self.kinds, [*each.unbind(1), each.mean(1), differ / most.clamp(min=1e-6)], strict=True))

    def files(self, source: Path, out: Path, also: list[Path], places: Places, shown: Shown) -> int:
        """Picture files, each as it was but for its pixels and size; how many."""
        from ..data.whole import open_files

        film = places.film()

        def apply(page: Page) -> dict[str, Tensor]:
            def watch(state: State) -> None:
                if film and not film.saved:
                    film.add(self.dae.corruption.preview(state.x, state.level))

            made = next(self.restored(iter([page.x]), watch, page.number * self.samples))
            if film and not film.saved:
                film.save(made)
            shown.add(_as_large(page.x, made), made)
            return self.versions(made)

        todo = open_files(source, out, strict=places.strict)
        todo.check_apart(also, self.kinds)
        count, notes, skipped = restore_all(todo, apply)
        say_notes(dict.fromkeys(notes), skipped)
        return count

    def images(self, source: Path, out: Path, also: list[Path], how: How, places: Places, shown: Shown) -> int:
        """Images in batches, into a folder, a grid, or an array, which has the restorations alone; how many."""
        import torch

        from ..data.inputs import open_inputs
        from ..gallery import Writer
        from ..sampling.tasks import batch_size

        fixed = self.dae.shape if self.dae.shape[1] else None
        shape, beyond = (fixed, 0.0) if self.simulation else (None, 6 * self.noise)
        inputs = open_inputs(source, shape, beyond=beyond, over=places.over, strict=places.strict, without=[out])
        kinds = [kind for kind in self.kinds if not is_array(out) or kind not in (MEAN, DIFFER)]
        writer, film = Writer(out, inputs.count * len(kinds)), places.film()
        guard(inputs, source, writer, *also)
        with writer, Watched(self.dae, self.plan, inputs.count, how.batch, film) as watched:
            size = how.batch or (batch_size(fixed) if fixed else 1)
            reading = Reading(inputs, max(1, size // self.samples))
            batches = self.simulation.measured(reading.images()) if self.simulation else reading.images()
            for made in self.restored(batches, watched.step):
                y, names = reading.waiting.popleft()
                versions = self.versions(made)
                together = torch.stack([versions[kind] for kind in kinds], 1).flatten(0, 1)
                writer.add(together, [name + kind for name in names for kind in kinds])
                if film and not film.saved:
                    film.save(made)
                if self.simulation:
                    y = self.simulation.judge(made)
                shown.add(_as_large(y, made), made)
        say_notes(inputs.notes, inputs.skipped)
        return writer.done // len(kinds)

    def report(self) -> None:
        """Say what was measured."""
        if self.simulation:
            self.simulation.report()
        if self.most:
            ends = sorted({f"{most:.3g}" for most in (min(self.most), max(self.most))}, key=float)
            say(f"white in the maps of where they differ: a standard deviation of {' to '.join(ends)}")


def _as_large(y: Tensor, made: Tensor) -> Tensor:
    """A measurement as large and as colourful as what was made of it, to be shown beside it."""
    from ..pixels import to_float

    factor = made.shape[2] // y.shape[2]
    return to_float(y).repeat_interleave(factor, 2).repeat_interleave(factor, 3).expand(-1, made.shape[1], -1, -1)
