"""The command sample."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import Bar, console, counted, listed, say, say_next
from .options import Compute, Every, How, Model, Quiet, Trajectory, command, own

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..gallery import Film
    from ..sampling.plan import Plan
    from ..sampling.samplers import Denoiser, State


@command(
    "dae-sampler sample mnist",
    "dae-sampler sample mnist -n 10000 --out digits.npy",
    "dae-sampler sample mnist --sampler ancestral --trajectory way.gif",
)
def sample(
    model: Model,
    how: How,
    compute: Compute,
    n: Annotated[int, typer.Option("-n", min=1, max=10**8, help="How many images.")] = 64,
    size: Annotated[str | None, typer.Option(help="For a model of any size: SIDE or WIDTHxHEIGHT, in pixels.")] = None,
    out: Annotated[Path, typer.Option(help="A grid (.png), an array (.npy), or a folder.")] = Path("samples.png"),
    trajectory: Trajectory = None,
    every: Every = 1,
    quiet: Quiet = False,
) -> None:
    """Generate images from noise."""
    from .. import distributed
    from ..device import pick_device
    from ..gallery import Film, Writer
    from ..sampling import tasks
    from ..sampling.plan import resolve
    from ..spec import parse_size

    with distributed.joined(pick_device(compute.device)):
        first_process = distributed.get_rank() == 0
        console.quiet = quiet or not first_process
        film = Film(trajectory, every) if trajectory and first_process else None
        with Writer(out, n) if first_process else nullcontext() as writer:
            dae = compute.load(model)
            plan = resolve("sample", dae, how.sampler, how.steps)
            with Watched(dae, plan, n, how.batch, film) as watched:
                options = {"seed": compute.seed, "batch": how.batch, "on_step": watched.step}
                for made in tasks.sample(dae, n, plan, size=parse_size(size) if size else None, **options):
                    if writer:
                        writer.add(made)
                    if film and not film.saved:
                        film.save(made[: max(1, len(distributed.share(len(made))))])
    say(f"wrote {listed(out, trajectory)}: {counted(n, 'image')} by {plan}, {counted(plan.steps, 'step')}")
    again = own(compute.corruption, compute.net)
    say_next("dae-sampler", "sample", model, "-n", 1000, "--out", "more/", "--seed", compute.seed + 1, *again)


@dataclass
class Watched:
    """A bar over all steps of all batches, and the film of the first batch; a context manager.

    Attributes:
        dae, plan: what is applied, and how.
        n: images in all.
        batch: images computed together, None for the usual number.
        film: where the first batch is shown, if anywhere.
    """

    dae: Denoiser
    plan: Plan
    n: int
    batch: int | None
    film: Film | None = None

    def __post_init__(self) -> None:
        from ..distributed import get_world_size
        from ..sampling.tasks import batch_size

        usual = batch_size(self.dae.shape) if self.dae.shape[1] else 1
        size = (self.batch or usual) * get_world_size()
        total = self.plan.steps * max(1, -(-self.n // size))
        self.bar = Bar(self.plan.sampler.name, total, "images", self.n / total)

    def __enter__(self) -> Watched:
        self.bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.rich.stop()

    @property
    def step(self) -> Callable[[State], None]:
        """What a task calls after each step."""

        def watch(state: State) -> None:
            self.bar.advance()
            if self.film and self.bar.done <= self.plan.steps:  # it shows the first batch
                self.film.add(self.dae.corruption.preview(state.x, state.level))

        return watch
