"""The command likelihood."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ..errors import InputError
from .commands import command
from .console import Bar, console, counted, print_json, say, say_next
from .evaluate import check_one_size, real, trained_on
from .options import Compute, DataRoot, Json, Model, Quiet

if TYPE_CHECKING:
    from torch import Tensor

    from ..dae import DenoisingAutoencoder
    from ..evaluation.likelihood import Estimate


@command("dae-sampler likelihood mnist-erasure", "dae-sampler likelihood runs/mine --orders 16 -n 1000")
def likelihood(
    model: Model,
    compute: Compute,
    data: Annotated[
        str | None, typer.Option(help="A named set (its test half), a folder or an array; default: the card's.")
    ] = None,
    n: Annotated[int | None, typer.Option("-n", min=2, help="How many images, evenly spread; default: all.")] = None,
    draws: Annotated[int, typer.Option(min=1, max=10_000, help="Erased sets (or trace probes) an image.")] = 4,
    orders: Annotated[
        int, typer.Option(min=0, max=10_000, help="Also average over this many whole orders of 16 of the images: slow.")
    ] = 0,
    data_root: DataRoot = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bound how probable a model finds test images: -log p(x) at most, in nats and bits per dimension.

    Binary images under a model of erasure(0..1); 8-bit images under one of Gaussian noise from 1/512 on.
    """
    console.quiet = quiet or as_json
    import torch

    dae = compute.load(model)
    check_one_size(dae)
    if orders and not dae.corruption.extra:
        raise InputError("`orders` are orders of erased pixels: leave it out, or train with 'erasure(0..1)'")
    data = data or trained_on(dae.card)
    test = real(data, data_root, False, dae).plain_images()
    x = test[torch.linspace(0, len(test) - 1, min(n or len(test), len(test))).long()]
    found = _estimate(dae, x, draws, orders, compute.seed)
    per_dimension = math.prod(dae.shape) * math.log(2)
    rows = {
        key: {"nats": e.mean, "standard_error": e.standard_error, "bits_per_dimension": e.mean / per_dimension}
        for key, e in found.items()
    }
    if as_json:
        first = {**next(iter(rows.values())), "n": len(x), "draws": draws, "seed": compute.seed}
        print_json({**first, "binarise": dae.card.binarise, "estimates": rows})
        return
    table = Table("-log p(x) at most", "nats", "standard error", "bits/dim", box=None, padding=(0, 2, 0, 0))
    for key, row in rows.items():
        table.add_row(key, *(f"{row[k]:.3f}" for k in ("nats", "standard_error", "bits_per_dimension")))
    console.print(table)
    say(f"{counted(len(x), 'image')} of {data}")
    say_next("dae-sampler", "sample", model)


def _estimate(dae: DenoisingAutoencoder, x: Tensor, draws: int, orders: int, seed: int) -> dict[str, Estimate]:
    """The estimates by name, the one that is always made first."""
    import torch

    from ..evaluation import likelihood as likelihoods

    found = {}
    name = "bound" if dae.corruption.extra else "flow"
    with Bar(name, len(x), "images") as bar:
        if dae.corruption.extra:
            found["bound"] = likelihoods.bound(dae, x, draws=draws, seed=seed, on_images=bar.advance)
        else:
            found["flow"] = likelihoods.flow(dae, x, probes=draws, seed=seed, on_images=bar.advance)
    if orders:
        few = x[torch.linspace(0, len(x) - 1, min(16, len(x))).long()]
        with Bar("orders", len(few), "images") as bar:
            both = likelihoods.ensemble(dae, few, orders=orders, seed=seed, on_images=bar.advance)
        found |= {f"{orders} orders, of {len(few)}": both[0], f"one order, of {len(few)}": both[1]}
    return found
