"""The tables of docs/results/quality.md (samplers, speed, widths) and docs/dev/log.md (the others).

    python benchmarks/quality.py samplers --data-root DATA     # the shipped model by each sampler: 20 minutes
    python benchmarks/quality.py speed --data-root DATA        # the default training, with labels and without
    python benchmarks/quality.py widths --data-root DATA       # wider networks in equal time: 48 minutes
    python benchmarks/quality.py networks --data-root DATA     # networks and batches in equal time: 25 minutes
    python benchmarks/quality.py search --data-root DATA       # optimisers, rates, losses and more: 46 minutes
    python benchmarks/quality.py longer --data-root DATA       # the best of those in more time: 55 minutes
    python benchmarks/quality.py small --data-root DATA --photos FOLDER     # augmentation of small data sets

benchmarks/peers.py makes the table of other libraries and losses.
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

from dae_sampler import DenoisingAutoencoder, Recipe, fit, load, sample
from dae_sampler.corruption import DEFAULT, parse
from dae_sampler.data import named as data
from dae_sampler.device import pick_device, pick_precision
from dae_sampler.evaluation import metrics
from dae_sampler.evaluation.features import embed
from dae_sampler.nets.layers import ResidualBlock
from dae_sampler.pixels import AUGMENT
from dae_sampler.training.validation import validate

TABLES = dict.fromkeys(("samplers", "speed", "widths"), DOCS / "results" / "quality.md")
TABLES |= dict.fromkeys(("networks", "search", "longer", "small"), DOCS / "dev" / "log.md")
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
"""What the cases of CASES and FINALISTS have in common."""
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
"""Keys of the changes that no option makes."""
FINALISTS = ({}, {"seed": 1}, {"power": 0.5}, {"power": 0.5, "seed": 1}, {"net": "unet(48, 96)"})
"""The best of CASES, and what they are compared with."""
QUICK = (
    ("the defaults", None, {}),
    ("`--labels auto`", "auto", {}),
    ("`--labels auto --batch 128 --lr 0.002`", "auto", SMALLER),
)
"""Options of `dae-sampler train mnist`, labels, and the recipe."""
WIDTHS = ({}, *({"net": f"unet({stages})"} for stages in ("32, 128, 256", "64, 128, 256", "32, 192, 256")))
"""The default network, and wider ones, which come nearer to the peak of a processor with AMX."""
DataRoot = Annotated[str, typer.Option(envvar="DAE_SAMPLER_DATA", help="The folder that holds MNIST.")]
app = typer.Typer(add_completion=False)


@app.command()
def samplers(data_root: DataRoot, model: str = "mnist", n: int = 10_000) -> None:
    """Scores of one model's samples by each sampler, and of real images."""
    judge, dae = Judge(data_root), load(model)
    real = metrics.baseline(judge.real, embed(judge.classifier.features, judge.train), n)
    rows = [["real training images", "", *cells(real, real)]]
    for sampler, steps in SAMPLERS:
        found = judge.scores(sample(dae, n, sampler=sampler, steps=steps))
        evaluations = 2 * steps - 1 if sampler == "heun" else steps
        rows.append([f"`{sampler}`, {steps}", evaluations, *cells(found, real)])
        print(rows[-1], flush=True)
    header = ["sampler, steps", "NFE", "Fréchet", "ratio", "precision", "recall", "density", "coverage"]
    fill(TABLES, "samplers", header, rows)


def cells(found: metrics.Scores, real: metrics.Scores) -> list[str]:
    """The distance, its ratio to that of real images, and the other scores."""
    distance, *others = found
    return [f"{distance:.1f}", f"{distance / real.frechet:.2f}", *(f"{value:.3f}" for value in others)]


@app.command()
def speed(data_root: DataRoot, minutes: float = 10, n: int = 2000) -> None:
    """The default training, with labels, and with labels in smaller batches: distances in 20 evaluations."""
    began, judge, rows = time.monotonic(), Judge(data_root), []
    for words, labels, options in QUICK:
        dataset = data.load("mnist", root=Path(data_root), labels=labels)
        dae = DenoisingAutoencoder(shape=SHAPE, labels=dataset.labels.names if labels else ())
        dae.precision = pick_precision("auto", pick_device("cpu"))
        trained = train_ours(dae, dataset, Recipe(**options), 60 * minutes)
        made = sample(trained.model, n, sampler="dpm(eta=1)", steps=20)
        sure = f"{judge.sure(made):.3f}"
        rows.append([words, f"{trained.seconds / 60:.1f}", trained.images, f"{judge.frechet(made):.0f}", sure])
        print(rows[-1], flush=True)
    header = ["`dae-sampler train mnist ...`", "minutes", "images", "distance", "surer than 0.99"]
    fill(TABLES, "speed", header, rows, time.monotonic() - began)


@app.command()
def networks(data_root: DataRoot) -> None:
    """Networks and batches, two minutes each."""
    compare(Judge(data_root), NETWORKS, 2, 20, "networks")


@app.command()
def search(data_root: DataRoot) -> None:
    """Optimisers, rates, losses and other details, two minutes each."""
    compare(Judge(data_root), tuple(WIDE | case for case in CASES), 2, 20, "search")


@app.command()
def longer(data_root: DataRoot) -> None:
    """The best of them, ten minutes each."""
    compare(Judge(data_root), tuple(WIDE | case for case in FINALISTS), 10, 50, "longer")


@app.command()
def widths(data_root: DataRoot) -> None:
    """The default network and wider ones, ten minutes each."""
    compare(Judge(data_root), WIDTHS, 10, 50, "widths", 10_000)


def compare(
    judge: Judge, cases: tuple[dict[str, Any], ...], minutes: float, evaluations: int, table: str, samples: int = 2000
) -> None:
    """Train each case for the same time; write its held-out excess and the distance of its samples."""
    began, rows = time.monotonic(), []
    held_out = torch.arange(len(judge.train)) % 30 == 0
    for case in cases:
        dae, recipe, shown = attempt(case)
        dae, seen, seconds = train_ours(dae, judge.train[~held_out], recipe, 60 * minutes)
        dae.__class__, dae.corruption = DenoisingAutoencoder, parse(DEFAULT)  # to compare by one measure
        checked = validate(dae, judge.train[held_out])
        distance = judge.frechet(sample(dae, samples, sampler="dpm(eta=1)", steps=evaluations))
        low, excess = checked.by_level[0]
        figures = [f"{checked.excess:.4f}", f"{excess:.4f}", f"{distance:.0f}"]
        rows.append([shown, f"{seconds / 60:.1f}", f"{seen / seconds:.0f}", *figures])
        print(rows[-1], flush=True)
    header = ["`dae-sampler train mnist ...`", "minutes", "images/s", "excess", f"at σ = {low:.1g}", "distance"]
    fill(TABLES, table, header, rows, time.monotonic() - began)


def attempt(case: dict[str, Any], shape: tuple[int, int, int] = SHAPE) -> tuple[DenoisingAutoencoder, Recipe, str]:
    """The model and the recipe of a case, and the case in words."""
    options = {"net": "unet", "corruption": DEFAULT, "power": 0, "change": None, "recipe": Recipe} | case
    net, corruption, power, change, kind = (options.pop(key) for key in ("net", "corruption", *NOT_OPTIONS))
    recipe = kind(**options)
    dae = weighted(DenoisingAutoencoder, power)(net, corruption, shape, seed=recipe.seed)
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
    """What augmentation does for small data sets: the excess on 2,000 images that training never saw."""
    began, rows = time.monotonic(), []
    for name, source, size in (("digits of MNIST", "mnist", None), ("photographs of 32×32", photos, 32)):
        x = data.load(source, root=Path(data_root), size=size).plain_images()
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
    fill(TABLES, "small", header, rows, time.monotonic() - began)


if __name__ == "__main__":
    app()
