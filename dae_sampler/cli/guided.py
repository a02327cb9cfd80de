"""The command restore: guided by what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..spec import parse as parse_parts
from ..spec import parse_number
from .commands import command, running
from .console import say_next
from .flow import Now, Places
from .loading import joined, load_for_pictures
from .options import Compute, How, Large, Model, Source
from .restoring import Job
from .simulation import Simulation
from .versions import Versions

if TYPE_CHECKING:
    from torch import Tensor


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
    large: Large = False,
) -> None:
    """Restore pictures whose damage is known: blurred, too small, grey, or with holes.

    The model is held to the pictures between its steps, to within their noise.
    """
    from ..data.masks import load_mask
    from ..sampling import tasks
    from ..sampling.operators import parse
    from ..sampling.plan import resolve

    with joined(compute, places.quiet):
        dae, pair = load_for_pictures(compute, model, lambda tiles: job.on_tile(tiles))
        plan = resolve("restore", dae, how.sampler, how.steps, samples=samples)
        a, sigma = parse(operator, load_mask), parse_number(noise, "noise")
        simulation = Simulation(a, sigma, samples, compute.seed) if simulate else None

        def apply(batches: Iterator[Tensor], now: Now, first: int = 0, **options: Any) -> Iterator[Tensor]:
            y = simulation.measured(batches) if simulation else batches
            options |= {"noise": sigma, "samples": samples, "seed": compute.seed, "first": first * samples}
            for made in tasks.restore(dae, y, plan, a, **options):
                if simulation:
                    simulation.judge(made)
                yield made

        def as_shown(given: Tensor, made: Tensor) -> Tensor:
            return _as_large(simulation.judged if simulation else given, made)

        versions, plain = Versions(samples, maps=True), not simulate
        kept: dict[str, Any] = {"versions": versions, "as_shown": as_shown, "reads": _masks(operator), "large": large}
        kept |= {"whole": plain, "any_size": plain, "beyond": 6 * sigma * plain}
        job = Job("restored", dae, plan, apply, source, places, how.batch, pair, **kept)
        job.run()
        if simulation:
            simulation.report()
        versions.report()
    if samples == 1:
        say_next(*running.again(samples=8, compare=True))


def _masks(operator: str) -> tuple[Path, ...]:
    """The pictures that an operator's text names."""
    parts = (part for part in parse_parts(operator, strings=True) if part.name == "mask")
    return tuple(Path(str(value)) for part in parts for value in (*part.args, *part.options.values()))


def _as_large(y: Tensor, made: Tensor) -> Tensor:
    """A measurement as large and as colourful as what was made of it, to be shown beside it."""
    from ..pixels import to_float

    factor = made.shape[2] // y.shape[2]
    return to_float(y).repeat_interleave(factor, 2).repeat_interleave(factor, 3).expand(-1, made.shape[1], -1, -1)
