"""Sprites of 64x64 pixels after equal times of training, by dae-sampler and two other libraries.

    python benchmarks/peers_sprites.py runs/sprites ours azula lucidrains --minutes 10   # see sprites.py, peers.py

The libraries are those of peers.py, trained by a recipe like dae-sampler's (AdamW at 2e-3 with warm-up and cosine
decay, averaged weights), all in batches of 32. The table goes to docs/results/generation.md.
"""

from __future__ import annotations

import time
from typing import Annotated

import torch
import typer
from page import DOCS, fill
from peers import PEERS, draw, train_ours, train_peer
from sprites import Folder, Judge

from dae_sampler import DenoisingAutoencoder, Recipe
from dae_sampler.device import pick_device, pick_precision
from dae_sampler.gallery import grid, save_picture

TABLES = {"peers-sprites": DOCS / "results" / "generation.md"}
PICTURE = DOCS / "results" / "generation" / "peers-sprites.png"
BATCH, RATE, EVALUATIONS = 32, 0.0014, 20
"""Images in a step, dae-sampler's learning rate, network evaluations for a sample."""


def main(
    folder: Folder,
    names: Annotated[list[str], typer.Argument(help=f"ours, or {', '.join(PEERS)}.")],
    minutes: float = 10,
    n: Annotated[int, typer.Option("-n", help="Samples of each.")] = 500,
) -> None:
    """Train each for so many minutes, sample, and let the five classifiers judge."""
    by, rows, shown = Judge(folder), [], []
    shape = tuple(by.images.shape[1:])
    precision = pick_precision("auto", pick_device("cpu"))
    for name in names:
        torch.manual_seed(0)
        if name == "ours":
            model = DenoisingAutoencoder(shape=shape)
            model.precision = precision
            trained = train_ours(model, by.images, Recipe(batch=BATCH, lr=RATE), 60 * minutes)
        else:
            model = PEERS[name](shape)
            trained = train_peer(model, by.images, 60 * minutes, precision == "bfloat16", True, BATCH)
        began = time.monotonic()
        x = torch.cat(list(draw(trained.model, n, EVALUATIONS, precision == "bfloat16")))
        drawn = len(x) * EVALUATIONS / (time.monotonic() - began)
        shown.append(x[:12])
        size, rate = sum(p.numel() for p in model.parameters()) / 1e6, trained.images / trained.seconds
        valid = f"{by.told(x)[1].double().mean():.1%}"
        rows.append(
            [{"ours": "dae-sampler"}.get(name, name), f"{size:.2f} M", by.distance(x), valid, round(rate), round(drawn)]
        )
        print(rows[-1], flush=True)
    header = ["library", "parameters", "distance", "valid", "training images/s", "evaluations/s"]
    save_picture(grid(torch.cat(shown), columns=12), PICTURE)
    fill(TABLES, "peers-sprites", header, rows)


if __name__ == "__main__":
    typer.run(main)
