"""The tables of docs/quality.md.

    python benchmarks/quality.py samplers --data-root DATA     # the model that ships, by sampler: 20 minutes
    python benchmarks/quality.py networks --data-root DATA     # networks and batches in equal time: 25 minutes
    python benchmarks/quality.py search --data-root DATA       # and what else does, for one of them: 46 minutes
    python benchmarks/quality.py longer --data-root DATA       # and of that, in more time
    python benchmarks/quality.py widths --data-root DATA       # wider networks in as much: 48 minutes
    python benchmarks/quality.py small --data-root DATA --photos FOLDER     # augmentation of small data sets

The table of other libraries and losses is made by benchmarks/peers.py.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from judge import Judge
from page import DOCS, fill
from peers import SHAPE, train_ours, weighted
from torch import nn

from dae_sampler import DenoisingAutoencoder, Recipe, fit, load
from dae_sampler.cli.app import DEFAULT_CORRUPTION
from dae_sampler.corruption import parse
from dae_sampler.data import named as data
from dae_sampler.data.pictures import AUGMENT
from dae_sampler.device import pick_device, pick_precision
from dae_sampler.evaluation import metrics
from dae_sampler.nets.layers import ResidualBlock
from dae_sampler.sampling import tasks as sampling
from dae_sampler.training.loop import validate

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


def without_attention(dae: DenoisingAutoencoder) -> None:
    """Without attention."""
    dae.net.attention = nn.Identity()


def group_norm(dae: DenoisingAutoencoder) -> None:
    """GroupNorm of 8 groups instead of LayerNorm."""
    for block in dae.net.modules():
        if isinstance(block, ResidualBlock):
            block.norm = nn.GroupNorm(8, block.conv1.in_channels)


class HalfCosine(Recipe):
    """The learning rate falls by half a cosine."""

    def rate(self, step: int) -> float:
        rate = super().rate(step)
        rising = step < min(self.warmup, self.steps // 10)
        return rate if rising else self.lr * (1 - math.cos(math.pi * rate / self.lr)) / 2


SMALL, SMALLER = {"batch": 256, "lr": 2.8e-3}, {"batch": 128, "lr": 2e-3}
WIDE = {"net": "unet(64, 128)"} | SMALLER
"""What the cases further down have in common."""
NETWORKS = tuple(
    case | seed for case in ({}, {"recipe": HalfCosine}, SMALL, SMALLER, WIDE) for seed in ({}, {"seed": 1})
)
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
    {"net": "unet(48, 96)"},
    {"net": "unet(96, 192)"},
    {"net": "unet(64, 128, blocks=2)"},
    {"net": "unet(128, patch=4)"},
    {"net": "unet(128, blocks=2, patch=4)"},
    {"corruption": "gaussian(0.02..20, lognormal(-0.8, 1.2))"},
    {"corruption": "gaussian(0.02..20, lognormal(-0.2, 1.2))"},
    {"corruption": "gaussian(0.02..20, lognormal(-0.5, 1.6))"},
    {"change": without_attention},
    {"change": group_norm},
    {"power": 0.5},
)
"""Options of `dae-sampler train mnist` that differ from the defaults, or changes that no option makes."""
NOT_OPTIONS = ("power", "change", "recipe")
"""Of those, what no option makes."""
FINALISTS = ({}, {"seed": 1}, {"power": 0.5}, {"power": 0.5, "seed": 1}, {"net": "unet(48, 96)"})
"""Those of CASES that stood out."""
WIDTHS = ({}, *({"net": f"unet({stages})"} for stages in ("32, 128, 256", "64, 128, 256", "32, 192, 256")))
"""The default network, and wider ones that come nearer to the peak of a processor with AMX."""
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
def networks(data_root: DataRoot) -> None:
    """Networks and batches, two minutes each."""
    compare(Judge(data_root), NETWORKS, 2, 20, "networks")


@app.command()
def search(data_root: DataRoot) -> None:
    """Many things, two minutes each."""
    compare(Judge(data_root), tuple(WIDE | case for case in CASES), 2, 20, "search")


@app.command()
def longer(data_root: DataRoot) -> None:
    """What stood out, ten minutes each."""
    compare(Judge(data_root), tuple(WIDE | case for case in FINALISTS), 10, 50, "longer")


@app.command()
def widths(data_root: DataRoot) -> None:
    """The default network and wider ones, ten minutes each."""
    compare(Judge(data_root), WIDTHS, 10, 50, "widths", 10_000)


def compare(
    judge: Judge, cases: tuple[dict[str, Any], ...], minutes: float, evaluations: int, table: str, samples: int = 2000
) -> None:
    """Trainings of equal time that differ in one thing: held-out excess, and distance of samples."""
    began, rows = time.monotonic(), []
    held_out = torch.arange(len(judge.train)) % 30 == 0
    for case in cases:
        dae, recipe, shown = attempt(case)
        dae, seen, seconds = train_ours(dae, judge.train[~held_out], recipe, 60 * minutes)
        dae.__class__, dae.corruption = DenoisingAutoencoder, parse(DEFAULT_CORRUPTION)  # to compare by one measure
        checked = validate(dae, judge.train[held_out])
        distance = judge.frechet(sampling.sample(dae, samples, sampler="dpm(eta=1)", steps=evaluations))
        low, excess = checked.by_level[0]
        figures = [f"{checked.excess:.4f}", f"{excess:.4f}", f"{distance:.0f}"]
        rows.append([shown, f"{seconds / 60:.1f}", f"{seen / seconds:.0f}", *figures])
        print(rows[-1], flush=True)
    header = ["`dae-sampler train mnist ...`", "minutes", "images/s", "excess", f"at σ = {low:.1g}", "distance"]
    fill(PAGE, table, header, rows, time.monotonic() - began)


def attempt(case: dict[str, Any], shape: tuple[int, int, int] = SHAPE) -> tuple[DenoisingAutoencoder, Recipe, str]:
    """The model and the recipe of a case, and its words."""
    options = {"net": "unet", "corruption": DEFAULT_CORRUPTION, "power": 0, "change": None, "recipe": Recipe} | case
    net, corruption, power, change, kind = (options.pop(key) for key in ("net", "corruption", *NOT_OPTIONS))
    recipe = kind(**options)
    torch.manual_seed(recipe.seed)
    dae = weighted(DenoisingAutoencoder, power)(net, corruption, shape)
    dae.precision = pick_precision("auto", pick_device("cpu"))
    given = " ".join(f"--{key.replace('_', '-')} {case[key]!r}" for key in case if key not in NOT_OPTIONS)
    words = [f"`{given}`"] * bool(given) + [f"loss times σ^-{power:g}"] * (power > 0)
    words += [what.__doc__.rstrip(".") for what in (change, case.get("recipe")) if what]
    if change:
        change(dae)
    return dae, recipe, ", ".join(words) or "the defaults"


@app.command()
def small(
    data_root: DataRoot,
    photos: Annotated[Path, typer.Option(help="A folder of pictures, such as CIFAR-10's training half.")],
    images: int = 1000,
    steps: int = 1000,
) -> None:
    """What augmentation does for small data sets, by the excess of 2,000 images that training never saw."""
    began, rows = time.monotonic(), []
    for name, source, size in (("digits of MNIST", "mnist", None), ("photographs of 32×32", photos, 32)):
        x = data.load(source, root=Path(data_root), size=size).images
        x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
        for augment in (None, *AUGMENT):
            dae, recipe, _ = attempt(WIDE | {"steps": steps, "every": steps // 5, "augment": augment}, x.shape[1:])
            excesses = []
            watch = lambda p: p.validation and excesses.append(validate(p.average, x[-2000:]).excess)  # noqa: B023, E731
            fit(dae, x[:images], recipe, on_progress=watch)
            best = f"{validate(dae, x[-2000:]).excess:.4f}"
            rows.append([name, f"`--augment {augment}`" if augment else "", *(f"{e:.4f}" for e in excesses), best])
            print(rows[-1], flush=True)
    header = [f"{images:,}", "", *(f"{steps * k // 5} steps" for k in range(1, 6)), "the model that is kept"]
    fill(PAGE, "small", header, rows, time.monotonic() - began)


if __name__ == "__main__":
    app()
