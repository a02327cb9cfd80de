"""The command verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ..errors import InputError
from .commands import command
from .console import Bar, console, listed, print_json, say, say_next, say_notes
from .options import DataRoot, Json, Quiet, Seed

if TYPE_CHECKING:
    from ..theory.verify import Verification


@command(
    "dae-sampler verify",
    "dae-sampler verify --density gaussians --sigma 0.05 --sigma 0.2 --json",
    "dae-sampler verify --density mnist --points 200 --sigma 0.2 --sigma 0.5",
)
def verify(
    density: Annotated[
        str, typer.Option(help="boxes or gaussians in the plane, or a data set, folder or array, as a set of points.")
    ] = "boxes",
    sigma: Annotated[
        list[float] | None, typer.Option(help="Levels to verify at; default: 0.5 to 0.05. Give it again for more.")
    ] = None,
    points: Annotated[int, typer.Option(min=2, max=100_000, help="How many points of a data set to take.")] = 200,
    steps: Annotated[int, typer.Option(min=1, max=10**7, help="Training steps of each model.")] = 8000,
    net: Annotated[str, typer.Option(help="The network; default: dense(256, 256, 256).")] = "dense(256, 256, 256)",
    out: Annotated[Path, typer.Option(help="Picture of a density in the plane, with its fields.")] = Path("verify.png"),
    data_root: DataRoot = None,
    as_json: Json = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Hold what a DAE learns by BCE, and by MSE beside it, against densities of which everything is known.

    Does r(x) - x point up the smoothed density, and does iterating it climb?
    """
    console.quiet = quiet or as_json
    from .. import figures
    from ..theory import verify as verification

    sigmas = sorted(sigma or [0.5, 0.3, 0.2, 0.1, 0.07, 0.05], reverse=True)
    if not all(1e-3 <= s <= 100 for s in sigmas):
        raise InputError("`sigma` must be from 0.001 to 100")
    figures.check(out)
    truth, shape, dataset = verification.density(density, points, Path(data_root) if data_root else None)
    if dataset:
        say_notes(dataset.notes, dataset.skipped)
    with Bar("training", 2 * steps, "steps") as bar:
        found = verification.verify(truth, shape, sigmas, net, steps, seed, on_step=bar.advance)
    if truth.dim == 2:
        paths = found.climbs["bce"].paths[:, :60]
        figures.save(figures.fields(truth, found.models["bce"], found.climbed_at, paths), out)
    if as_json:
        print_json({"density": density, "net": net, "steps": steps, "seed": seed} | found.to_json())
        return
    _say(found, sigmas)
    if truth.dim == 2:
        say(f"wrote {listed(out)}")
        say_next("dae-sampler", "verify", "--density", "gaussians")


def _say(found: Verification, sigmas: list[float]) -> None:
    table = Table("sigma", box=None, padding=(0, 2, 0, 0))
    for loss in found.models:
        table.add_column(f"{loss}: relative error")
        table.add_column("cosine")
    for i, s in enumerate(sigmas):
        row = [found.agreements[loss][i] for loss in found.models]
        cells = [(f"{a.relative_error:.3f} ± {a.relative_error_interval:.3f}", f"{a.cosine:.4f}") for a in row]
        table.add_row(f"{s:g}", *(cell for pair in cells for cell in pair))
    console.print(table)
    for name, c in found.climbs.items():
        say(
            f"iterating {name} at sigma {found.climbed_at:g}: log p rises in {c.rising:.2%} of {c.steps} steps, "
            f"by the bound or more in {c.reaching:.2%}"
        )
    if found.limit:
        gaps = ", ".join(f"{gap:.4f} at {s:g}" for s, gap in found.limit)
        say(f"relative distance between grad log p_sigma and grad log p: {gaps}")
