"""The command sample."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .commands import command, running
from .console import Bar, console, counted, listed, say, say_next
from .options import Compute, Every, Guidance, How, Labels, Model, Quiet, Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..dae import DenoisingAutoencoder
    from ..gallery import Film
    from ..sampling.plan import Plan
    from ..sampling.samplers import Denoiser, State


@command(
    "dae-sampler sample mnist",
    "dae-sampler sample mnist -n 10000 --out digits.npy",
    "dae-sampler sample mnist --sampler ancestral --trajectory way.gif",
    "dae-sampler sample runs/animals --label cat --label dog --guidance 1.5",
)
def sample(
    model: Model,
    how: How,
    compute: Compute,
    n: Annotated[
        int | None,
        typer.Option(
            "-n", min=1, max=10**8, help="How many images, of each label; default: 64, or 8 of several labels."
        ),
    ] = None,
    label: Labels = None,
    guidance: Guidance = 1.0,
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

    several = len(label or ()) > 1
    each = n or (8 if several else 64)
    n = each * max(1, len(label or ()))
    with distributed.joined(pick_device(compute.device)):
        first_process = distributed.get_rank() == 0
        console.quiet = quiet or not first_process
        film = Film(trajectory, every) if trajectory and first_process else None
        with Writer(out, n, each if several else 0) if first_process else nullcontext() as writer:
            dae = compute.load(model)
            classes = classes_of(dae, label, guidance, each)
            plan = resolve("sample", dae, how.sampler, how.steps)
            sides = parse_size(size) if size else None
            batch = how.batch or tasks.batch_size(tasks.shape_of_samples(dae, sides))
            with Watched(dae, plan, n, batch, film) as watched:
                options: dict[str, Any] = {"seed": compute.seed, "batch": batch, "on_step": watched.step} | classes
                for made in tasks.sample(dae, n, plan, size=sides, **options):
                    if writer:
                        writer.add(made)
                    if film and not film.saved:
                        film.save(made[: max(1, len(distributed.share(len(made))))])
    say(f"wrote {listed(out, trajectory)}: {counted(n, 'image')} by {plan}, {counted(plan.steps, 'step')}")
    say_next(*running.again(n=1000, out="more/", seed=compute.seed + 1))


def classes_of(dae: DenoisingAutoencoder, label: list[str] | None, guidance: float, each: int) -> dict[str, Any]:
    """What a task is told of the classes, ``each`` images of one after the other."""
    import torch

    from ..sampling.guidance import label_number

    if not label:
        if dae.card.labels:
            say("a class is drawn for each image: choose by --label")
        return {"guidance": guidance}
    numbers = torch.tensor([label_number(dae, name) for name in label])
    return {"label": numbers.repeat_interleave(each), "guidance": guidance}


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
