"""What evaluate says of a model of any size: how well it restores pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from ..errors import InputError
from ..spec import parse_number
from .console import Bar, console, counted, print_json, say, say_notes
from .loading import load_for_pictures, say_kinds
from .options import Compute, How

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = ("15/255", "25/255", "50/255")
"""Those of the literature."""


def restoring(
    model: str, how: How, compute: Compute, source: str | None, levels: list[str] | None, as_json: bool
) -> None:
    """Add noise to the pictures in ``source``, restore them, and say how near they come."""
    from .. import distributed
    from ..data.whole import open_files
    from ..evaluation.restoring import evaluate_restoring, means
    from ..sampling.plan import resolve, start_level

    if not source:
        raise InputError("this model takes pictures of any size: name a folder of clean ones by `test`")
    dae, pair = load_for_pictures(compute, model)
    if not dae.corruption.has_level:
        raise InputError(
            f"this model was trained under {dae.corruption}, and no noise can be added as it knows it: denoise damaged "
            "pictures, and compare them with clean ones by `truth`"
        )
    strengths = [start_level(dae, parse_number(text, "level")) for text in levels or LEVELS]
    plan = resolve("denoise", dae, how.sampler, how.steps, strengths[0])
    todo, kinds = open_files(Path(source)), Counter[int]()
    with Bar("restoring", len(todo.found), "pictures") as bar:

        def pages() -> Iterator[tuple[int, str, Tensor]]:
            for page in todo.pages():
                kinds[page.x.shape[1]] += 1
                name = f"{page.name} page {page.index + 1}" if page.index else page.name
                yield page.number, name, page.x.clamp(0, 1)
                bar.advance(distributed.get_world_size() / page.count)

        found = evaluate_restoring(dae, pages(), plan, strengths, seed=compute.seed)
    kinds = sum(distributed.gather([kinds]), Counter[int]())
    if distributed.get_rank():
        return
    say_notes(todo.notes)
    if as_json:
        rows = {"restoring": list(map(asdict, means(found))), "pictures": list(map(asdict, found))}
        print_json(rows | {"sampler": str(plan), "steps": plan.steps})
        return
    table = Table("picture", "level", "PSNR before", "PSNR", "SSIM before", "SSIM", box=None, padding=(0, 2, 0, 0))
    for row in [*found, *means(found)]:
        numbers = (f"{row.level:.4g}", f"{row.psnr_before:.2f}", f"{row.psnr:.2f}")
        table.add_row(row.picture, *numbers, f"{row.ssim_before:.4f}", f"{row.ssim:.4f}")
    console.print(table)
    say(f"noise added to {source}, and removed by {plan}, {counted(plan.steps, 'step')}, seed {compute.seed}")
    if pair:
        say_kinds(kinds, *pair)
