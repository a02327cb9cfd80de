"""The tables of docs/results/anomalies.md: anomaly scores beside PCA, isolation forest and k-NN on pixels, by AUROC.

    python benchmarks/anomaly.py split DATA/tiles runs/tiles-split            # whole tiles held out; --random: leaks
    dae-sampler train runs/tiles-split/train --crop 56 --augment turn --corruption 'gaussian(0.02..1)' \
        --batch 48 --steps 3000 --out runs/tiles
    python benchmarks/anomaly.py tiles runs/tiles DATA/tiles runs/tiles-split              # the half to choose by
    python benchmarks/anomaly.py tiles runs/tiles DATA/tiles runs/tiles-split --half report   # once
    python benchmarks/anomaly.py mnist --data-root DATA [--leave-out] [--steps 500] [--digits 10] [--images 10000]
    python benchmarks/anomaly.py plant runs/strangers --data-root DATA --emoji DATA/emoji64
    dae-sampler anomaly mnist runs/strangers --map --out runs/strangers.csv

``tiles`` gives the AUROC of pictures for each kind of defect and over all, and that of pixels over all pictures, the
good ones among them, at the size of the masks. ``mnist`` trains on one digit and takes the nine others as anomalies, or
the other way round. All good pictures that are compared with are those of the training. ``plant`` writes a folder of
990 test digits and ten pictures that do not belong there.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from page import DOCS, fill
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from torch import Tensor

import dae_sampler
from dae_sampler import DenoisingAutoencoder, Recipe, fit
from dae_sampler.anomaly import Aligned, Excess, Neighbours
from dae_sampler.data import named
from dae_sampler.data.pictures import bring_to

TABLES = dict.fromkeys(("tiles", "tiles-random", "one-class", "left-out"), DOCS / "results" / "anomalies.md")
SIDE = 32
"""Of the pictures that the baselines see: all are of one size."""
GOOD = 200
"""Training pictures whose places are in the memory."""
DataRoot = Annotated[Path | None, typer.Option(envvar="DAE_SAMPLER_DATA", help="The folder that holds MNIST.")]
app = typer.Typer(add_completion=False)


def baselines(train: np.ndarray, seed: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """What pictures (N, pixels) score, fitted to those of the training."""
    pca = PCA(0.9, svd_solver="full").fit(train)
    forest = IsolationForest(random_state=seed).fit(train)
    points = torch.from_numpy(train)
    return {
        "PCA, 90 % of the variance": lambda x: np.square(x - pca.inverse_transform(pca.transform(x))).mean(1),
        "isolation forest": lambda x: -forest.score_samples(x),
        "k-NN on pixels, k = 3": lambda x: (
            torch.cdist(torch.from_numpy(x), points).topk(3, largest=False).values.mean(1).numpy()
        ),
    }


def report(table: str, rows: dict[str, dict[str, float]]) -> None:
    """Write a table; what a method does not have is left empty."""
    columns = list(next(iter(rows.values())))
    cells = ([name, *(f"{row[c]:.3f}" if c in row else "" for c in columns)] for name, row in rows.items())
    fill(TABLES, table, ["method", *columns], cells)


@app.command()
def split(data: Path, out: Path, at_random: Annotated[bool, typer.Option("--random")] = False, seed: int = 0) -> None:
    """Copy the pictures of each part of the split to a folder of its name."""
    parts = json.loads((data / "split.json").read_text())
    parts = {name: files for name, files in parts.items() if isinstance(files, list)}
    if at_random:
        free = sorted(file for files in parts.values() for file in files if file.startswith("free/"))
        random.Random(seed).shuffle(free)
        for name in ("choose_good", "report_good", "train"):
            parts[name], free = free[: len(parts[name])], free[len(parts[name]) :]
    for name, files in parts.items():
        for file in files:
            to = out / name / file
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(data / "images" / file, to)
    print(", ".join(f"{name} {len(files)}" for name, files in parts.items()))


def read(folder: Path, most: int = 0) -> dict[str, Tensor]:
    """Pictures of a folder by their path in it, (1,H,W) in [0,1]; at most so many, evenly spread."""
    files = sorted(folder.rglob("*.png"))
    files = files[:: max(1, len(files) // most)][:most] if most else files
    pictures = {str(f.relative_to(folder)): np.asarray(Image.open(f).convert("L")) for f in files}
    return {name: torch.from_numpy(pixels.copy())[None] / 255 for name, pixels in pictures.items()}


def small(pictures: list[Tensor]) -> np.ndarray:
    """(N, SIDE²), as the baselines see them."""
    sized = [bring_to((255 * p).byte().permute(1, 2, 0).numpy(), (1, SIDE, SIDE), "squash") for p in pictures]
    return np.stack(sized).reshape(len(sized), -1).astype(np.float32) / 255


def standardised(pictures: np.ndarray) -> np.ndarray:
    """(N, pixels), each picture with mean 0 and standard deviation 1: how bright it is does not count."""
    return (pictures - pictures.mean(1, keepdims=True)) / pictures.std(1, keepdims=True)


@app.command()
def tiles(
    model: str,
    data: Path,
    parts: Annotated[Path, typer.Argument(help="The folder that split wrote.")],
    half: Annotated[str, typer.Option(help="choose or report.")] = "choose",
    table: Annotated[str, typer.Option(help="tiles, or tiles-random for a split at random.")] = "tiles",
    images: Annotated[int, typer.Option(help="At most so many of a part, to try it.")] = 0,
    seed: int = 0,
) -> None:
    """AUROC on one half of the split, by kind of defect and of pixels."""
    dae = dae_sampler.load(model)
    good, bad = (read(parts / f"{half}_{kind}", images) for kind in ("good", "bad"))
    everything = good | bad
    kinds = Counter(name.split("/")[0] for name in bad)
    masks = [_mask(data / "masks" / name, x) for name, x in everything.items()]
    rows = {}

    def add(name: str, scores: np.ndarray, maps: list[Tensor] | None = None) -> None:
        of = dict(zip(everything, scores, strict=True))
        rows[name] = {"all": _auroc([of[n] for n in good], [of[n] for n in bad])}
        for kind in kinds:
            rows[name][kind] = _auroc([of[n] for n in good], [of[n] for n in bad if n.startswith(kind)])
        if maps:
            truth, found = (torch.cat([m.flatten() for m in some]).numpy() for some in (masks, maps))
            rows[name]["pixels"] = float(roc_auc_score(truth, found))

    pictures = list(everything.values())
    memory = Neighbours(dae, list(read(parts / "train", min(images or GOOD, GOOD)).values()))
    for name, scorer in (("excess", Excess(dae)), ("neighbours", memory)):
        maps = [scorer(x[None])[0] for x in pictures]
        add(name, np.array([scorer.score(m[None]).item() for m in maps]), maps)
    train, shown = small(list(read(parts / "train", images).values())), small(pictures)
    for suffix, seen in (("", lambda x: x), (", standardised", standardised)):
        for name, method in baselines(seen(train), seed).items():
            add(name + suffix, method(seen(shown)))
    if half == "report":
        report(table, rows)
    else:
        print(rows)


def _mask(path: Path, x: Tensor) -> Tensor:
    """Which pixels of a picture are a defect's, (H,W); none of a good one's."""
    if not path.exists():
        return torch.zeros(x.shape[1:], dtype=torch.bool)
    return torch.from_numpy(np.asarray(Image.open(path).convert("L")) > 127)


def _auroc(good: list[float], bad: list[float]) -> float:
    return float(roc_auc_score([0] * len(good) + [1] * len(bad), [*good, *bad]))


@app.command()
def mnist(
    data_root: DataRoot = None,
    leave_out: bool = False,
    steps: int = 500,
    digits: int = 10,
    images: int = 10_000,
    seed: int = 0,
) -> None:
    """Mean AUROC over digits of the test half."""
    from torchvision.datasets import MNIST

    train, test = (MNIST(data_root or named.default_root(), train=half, download=True) for half in (True, False))
    x, kinds = test.data[:images, None], test.targets[:images]
    rows: dict[str, dict[str, float]] = {}
    for digit in range(digits):
        abnormal = (kinds == digit) == leave_out
        mine = train.data[(train.targets == digit) != leave_out][:, None]
        dae = DenoisingAutoencoder("unet(32, 64)", "gaussian(0.02..2)", (1, 28, 28), seed=seed)
        fit(dae, mine, Recipe(steps=steps, batch=128, every=steps, seed=seed))
        shown = list(mine[:: max(1, len(mine) // GOOD)][:GOOD] / 255)
        scorers = {"excess": Excess(dae), "neighbours": Neighbours(dae, shown), "aligned": Aligned(dae, mine)}
        for name, scorer in scorers.items():
            scores = torch.cat([scorer.score(scorer(some / 255)) for some in x.split(256)])
            rows.setdefault(name, {})[str(digit)] = float(roc_auc_score(abnormal, scores))
        flat, points = (some.flatten(1).float().numpy() / 255 for some in (x, mine))
        for name, method in baselines(points, seed).items():
            rows.setdefault(name, {})[str(digit)] = float(roc_auc_score(abnormal, method(flat)))
    means = {name: {"mean": float(np.mean(list(row.values()))), **row} for name, row in rows.items()}
    report("left-out" if leave_out else "one-class", means)


@app.command()
def plant(
    out: Path,
    emoji: Annotated[Path, typer.Option(help="A folder of pictures in colour.")],
    data_root: DataRoot = None,
    seed: int = 0,
) -> None:
    """A folder of digits with ten strangers among them, each named for what it is."""
    from torchvision.datasets import MNIST

    digits = MNIST(data_root or named.default_root(), train=False, download=True).data.numpy()
    made = {f"digit-{i:03}": digits[i] for i in range(990)}
    a, b, c, d = digits[1000:1004]
    noise = np.random.default_rng(seed).integers(0, 256, (28, 28)).astype(np.uint8)
    shuffled = np.random.default_rng(seed).permutation(d.flatten()).reshape(28, 28)
    strangers = {"black": 0 * a, "white": 0 * a + 255, "noise": noise, "inverted": 255 - a, "shuffled": shuffled}
    strangers |= {"two-at-once": np.maximum(a, b), "torn": np.concatenate([c[14:], c[:14]])}
    for path in sorted(emoji.rglob("*.png"))[:: len(list(emoji.rglob("*.png"))) // 3][:3]:
        picture = Image.open(path).convert("RGBA")
        ground = Image.new("RGBA", picture.size, "black")
        small = Image.alpha_composite(ground, picture).convert("L").resize((28, 28))
        strangers[f"emoji-{path.stem}"] = np.asarray(small)
    out.mkdir(parents=True)
    for name, pixels in (made | {f"stranger-{name}": pixels for name, pixels in strangers.items()}).items():
        Image.fromarray(pixels).save(out / f"{name}.png")


if __name__ == "__main__":
    app()
