"""The tables of docs/quality.md.

    python benchmarks/quality.py samplers --data-root DATA     # the model that ships, by sampler: 20 minutes
    python benchmarks/quality.py search --data-root DATA       # what trains best in equal time: 46 minutes

The third, of other libraries and losses, is made by benchmarks/peers.py.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import torch
import typer
from judge import Judge
from page import DOCS, fill
from peers import train_ours
from torch import Tensor, nn

from dae_sampler import DenoisingAutoencoder, Recipe, load, metrics, sampling
from dae_sampler.cli import DEFAULT_CORRUPTION
from dae_sampler.corruption import parse
from dae_sampler.device import pick_device, pick_precision
from dae_sampler.nets.layers import ResidualBlock
from dae_sampler.training import validate

PAGE = DOCS / "quality.md"
SAMPLERS = (
    ("dpm", 10),
    ("dpm(eta=0.6)", 10),
    ("heun", 10),
    ("dpm", 20),
    ("dpm(eta=1)", 20),
    ("ancestral", 50),
    ("dpm", 50),
    ("dpm(eta=1)", 50),
)


class Weighted(DenoisingAutoencoder):
    """More of the loss at low noise."""

    def loss(self, x: Tensor, level: Tensor, *arguments: Any, **options: Any) -> Tensor:
        return super().loss(x, level, *arguments, **options) * level**-0.5


def without_attention(dae: DenoisingAutoencoder) -> None:
    """Without attention."""
    dae.net.attention = nn.Identity()


def group_norm(dae: DenoisingAutoencoder) -> None:
    """GroupNorm of 8 groups instead of LayerNorm."""
    for block in dae.net.modules():
        if isinstance(block, ResidualBlock):
            block.norm = nn.GroupNorm(8, block.conv1.in_channels)


def weighted(dae: DenoisingAutoencoder) -> None:
    """Loss times σ^-1/2."""
    dae.__class__ = Weighted


CASES = (
    {},
    {"seed": 1},
    {"optimizer": "adamw"},
    {"lr": 4e-3},
    {"weight_decay": 0.1},
    {"batch": 64},
    {"batch": 256},
    {"ema": 6.0},
    {"ema": 40.0},
    {"net": "unet(width=48)"},
    {"net": "unet(width=96)"},
    {"net": "unet(width=64, blocks=2)"},
    {"net": "unet(width=128, patch=4)"},
    {"net": "unet(width=128, blocks=2, patch=4)"},
    {"corruption": "gaussian(0.02..20, lognormal(-0.8, 1.2))"},
    {"corruption": "gaussian(0.02..20, lognormal(-0.2, 1.2))"},
    {"corruption": "gaussian(0.02..20, lognormal(-0.5, 1.6))"},
    {"change": without_attention},
    {"change": group_norm},
    {"change": weighted},
)
"""Options of `dae-sampler train mnist` that differ from the defaults, or changes that no option makes."""
DataRoot = Annotated[str, typer.Option(envvar="DAE_SAMPLER_DATA", help="Where MNIST lies.")]
app = typer.Typer(add_completion=False)


@app.command()
def samplers(data_root: DataRoot, model: str = "mnist", n: int = 10_000) -> None:
    """Scores of one model's samples by each sampler, beside those of real images."""
    judge, dae = Judge(data_root), load(model)
    floor = metrics.floor(judge.real, metrics.embed(judge.classifier.features, judge.train), n)
    rows = [["real training images", "", *cells(floor, floor)]]
    for sampler, steps in SAMPLERS:
        found = judge.scores(sampling.sample(dae, n, sampler=sampler, steps=steps))
        evaluations = 2 * steps - 1 if sampler == "heun" else steps
        rows.append([f"`{sampler}`, {steps}", evaluations, *cells(found, floor)])
        print(rows[-1], flush=True)
    header = ["sampler, steps", "NFE", "Fréchet", "ratio", "precision", "recall", "density", "coverage"]
    fill(PAGE, "samplers", header, rows)


def cells(found: metrics.Scores, floor: metrics.Scores) -> list[str]:
    """Distance, ratio, and the others."""
    distance, *others = found
    return [f"{distance:.1f}", f"{distance / floor.frechet:.2f}", *(f"{value:.3f}" for value in others)]


@app.command()
def search(data_root: DataRoot, minutes: float = 2, n: int = 2000) -> None:
    """Trainings of equal time that differ in one thing: held-out excess, and distance of samples."""
    began, judge, rows = time.monotonic(), Judge(data_root), []
    held_out = torch.arange(len(judge.train)) % 30 == 0
    for case in CASES:
        options = {"net": "unet", "corruption": DEFAULT_CORRUPTION, "change": None} | case
        net, corruption, change = options.pop("net"), options.pop("corruption"), options.pop("change")
        recipe = Recipe(**options)
        torch.manual_seed(recipe.seed)
        dae = DenoisingAutoencoder(net, corruption, judge.train.shape[1:])
        dae.precision = pick_precision("auto", pick_device("cpu"))
        if change:
            change(dae)
        dae, seen, seconds = train_ours(dae, judge.train[~held_out], 60 * minutes, recipe)
        dae.__class__, dae.corruption = DenoisingAutoencoder, parse(DEFAULT_CORRUPTION)  # to compare by one measure
        checked = validate(dae, judge.train[held_out])
        distance = judge.frechet(sampling.sample(dae, n, sampler="dpm(eta=1)", steps=20))
        low, excess = checked.by_level[0]
        figures = [f"{checked.excess:.4f}", f"{excess:.4f}", f"{distance:.0f}"]
        words = " ".join(f"--{name.replace('_', '-')} {value!r}" for name, value in case.items())
        shown = change.__doc__.rstrip(".") if change else f"`{words}`" if words else "the defaults"
        rows.append([shown, f"{seconds / 60:.1f}", f"{seen / seconds:.0f}", *figures])
        print(rows[-1], flush=True)
    header = ["`dae-sampler train mnist ...`", "minutes", "images/s", "excess", f"at σ = {low:.1g}", "distance"]
    fill(PAGE, "search", header, rows, time.monotonic() - began)


if __name__ == "__main__":
    app()
