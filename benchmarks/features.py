"""The tables of docs/results/features.md: linear probes, nearest neighbours, and classifiers from few labels.

    python benchmarks/features.py probe MODEL --data-root DATA          # MNIST
    python benchmarks/features.py probe MODEL --folders cifar10         # with train/ and test/, a folder for each kind
    python benchmarks/features.py labels MODEL --data-root DATA [--draws 10] [--steps 400]
    python benchmarks/features.py codes MODEL ... --data-root DATA      # of bottleneck networks, by --l1

``probe`` fits scikit-learn's logistic regression to standardised features. Stage, level, grid and the strength of the
penalty are chosen on a tenth of the training half that is kept out; the test half is used once, for what was chosen,
beside the pixels, their principal components and the same network untrained. ``labels`` trains a classifier on few
labels, the same for all: fine-tuned from the model, on its frozen features, and from scratch. --images N uses N images
of each half, to try it.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from page import DOCS, fill
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import dae_sampler
from dae_sampler import DenoisingAutoencoder
from dae_sampler.data import named
from dae_sampler.data.pictures import bring_to
from dae_sampler.noise import StepNoise, batch_indices
from dae_sampler.pixels import augment, to_float

TABLES = dict.fromkeys(
    ("probe", "levels", "probe-colour", "levels-colour", "labels", "codes"), DOCS / "results" / "features.md"
)
PENALTIES = (0.001, 0.01, 0.1)
LEVELS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
POOLS = (1, 2, 4)
LABELS = (10, 100, 1000)
BATCH, RATE = 64, 1e-3
Halves = tuple[Tensor, Tensor, Tensor, Tensor]
DataRoot = Annotated[Path | None, typer.Option(envvar="DAE_SAMPLER_DATA", help="The folder that holds MNIST.")]
Images = Annotated[int, typer.Option(help="At most so many of each half, to try it.")]
app = typer.Typer(add_completion=False)


def load(shape: tuple[int, int, int], images: int, root: Path | None, folders: Path | None = None) -> Halves:
    """Images (N,C,H,W), uint8, and labels (N,), of the training and of the test half, in random order."""
    from torchvision.datasets import MNIST, ImageFolder

    if folders:
        halves = [
            ImageFolder(folders / half, lambda p: torch.from_numpy(bring_to(np.asarray(p), shape)))
            for half in ("train", "test")
        ]
        parts = [(torch.stack([x for x, _ in half]), torch.tensor(half.targets)) for half in halves]
    else:
        halves = [MNIST(root or named.default_root(), train=half, download=True) for half in (True, False)]
        parts = [(half.data[:, None], half.targets) for half in halves]
    mixed = []
    for x, y in parts:
        rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:images]
        mixed += [x[rows], y[rows]]
    return tuple(mixed)


def encoded(dae: DenoisingAutoencoder, x: Tensor, pools: tuple[int, ...], **how: object) -> dict[int, np.ndarray]:
    """Features of all images by the grid that maps are averaged over, (N,F) each; a code has none."""
    parts: dict[int, list[Tensor]] = {pool: [] for pool in pools}
    for some in x.split(250):
        maps = dae.encode(some, pool=0, **how)
        for pool, of_pool in parts.items():
            of_pool.append(maps if maps.ndim == 2 else F.adaptive_avg_pool2d(maps, pool).flatten(1))
    return {pool: torch.cat(of_pool).numpy() for pool, of_pool in parts.items()}


def fitted(x: np.ndarray, y: Tensor, penalty: float) -> LogisticRegression:
    """A linear probe."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=200))
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return probe.fit(x, y)


def chosen(x: np.ndarray, y: Tensor) -> tuple[float, float]:
    """The best accuracy on a tenth of the images that was not fitted, and the penalty that it takes."""
    n = len(x) // 10
    return max((fitted(x[n:], y[n:], penalty).score(x[:n], y[:n]), penalty) for penalty in PENALTIES)


@app.command()
def probe(
    model: str,
    data_root: DataRoot = None,
    folders: Annotated[Path | None, typer.Option(help="With train/ and test/, each a folder for each kind.")] = None,
    images: Images = 60_000,
    choose: Annotated[int, typer.Option(help="Training images that stage and level are chosen on.")] = 5000,
) -> None:
    """Accuracy by stage, level and grid on images kept out, and of what was chosen on the test half."""
    dae = dae_sampler.load(model)
    x, y, test_x, test_y = load(dae.shape, images, data_root, folders)
    colour = "-colour" if folders else ""
    q, stages = dae.corruption, dae.net.stages
    levels = [level for level in LEVELS if q.low <= level <= q.high] if q.told else [None]
    few, rows = slice(0, choose), {}
    for stage in stages:
        for level in levels:
            how = {"stage": stage, "level": level}
            features = encoded(dae, x[few], POOLS if stage != "code" else (1,), **how)
            found = {json.dumps({**how, "pool": pool}): chosen(some, y[few]) for pool, some in features.items()}
            rows |= found
            print(how, *(f"{100 * share:.2f} %" for share, _ in found.values()), flush=True)
    how = json.loads(max(rows, key=rows.__getitem__))
    fill(TABLES, f"levels{colour}", ["stage", *map(str, levels)], by_level(rows, stages, levels))
    untrained = DenoisingAutoencoder(dae.card.net, dae.card.corruption, dae.shape).eval().requires_grad_(False)
    pixels, test_pixels = (to_float(some).flatten(1).numpy() for some in (x, test_x))
    pca = PCA(min(100, len(pixels))).fit(pixels)
    ours = "the model, `{stage}` at level {level}, means over a grid of {pool}x{pool}".format(**how)
    pool = how.pop("pool")
    spaces = {
        ours: tuple(encoded(dae, some, (pool,), **how)[pool] for some in (x, test_x)),
        "the same network untrained": tuple(encoded(untrained, some, (pool,), **how)[pool] for some in (x, test_x)),
        "pixels": (pixels, test_pixels),
        "100 principal components": (pca.transform(pixels), pca.transform(test_pixels)),
    }
    table = []
    for name, (a, b) in spaces.items():
        linear = fitted(a, y, chosen(a[:choose], y[:choose])[1]).score(b, test_y)
        near = KNeighborsClassifier(5).fit(a, y).score(b, test_y)
        table.append([name, f"{100 * linear:.2f} %", f"{100 * near:.2f} %"])
        print(table[-1], flush=True)
    fill(TABLES, f"probe{colour}", ["features", "linear probe", "k-NN, k = 5"], table)


def by_level(rows: dict[str, tuple[float, float]], stages: list[str], levels: list[float | None]) -> list[list[str]]:
    """The best accuracy of each stage and level, whatever the grid, in percent."""
    found: dict[tuple[str, float | None], float] = {}
    for how, (share, _) in rows.items():
        where = json.loads(how)
        key = (where["stage"], where["level"])
        found[key] = max(found.get(key, 0.0), share)
    return [[stage, *(f"{100 * found[stage, level]:.1f}" for level in levels)] for stage in stages]


@app.command()
def labels(model: str, data_root: DataRoot = None, images: Images = 60_000, draws: int = 10, steps: int = 400) -> None:
    """Accuracy of classifiers from few labels of MNIST: mean and standard deviation over balanced draws."""
    dae = dae_sampler.load(model)
    x, y, test_x, test_y = load(dae.shape, images, data_root)
    fresh = DenoisingAutoencoder(dae.card.net, dae.card.corruption, dae.shape)
    table = []
    for count in LABELS:
        cells = []
        for source, frozen in ((dae, False), (dae, True), (fresh, False)):
            found = []
            for draw in range(draws):
                rows = balanced(y, count, draw)
                found.append(accuracy(source, frozen, x[rows], y[rows], test_x, test_y, steps, draw))
            spread = f" ± {np.std(found, ddof=1):.2f}" if len(found) > 1 else ""
            cells.append(f"{np.mean(found):.2f}{spread}")
        table.append([count, *cells])
        print(table[-1], flush=True)
    fill(TABLES, "labels", ["labels", "fine-tuned", "frozen", "from scratch"], table)


@app.command()
def codes(models: list[str], data_root: DataRoot = None, images: Images = 20_000) -> None:
    """How sparse the codes of bottleneck networks are, and the accuracy of a linear probe on them, of MNIST."""
    rows = []
    for model in models:
        dae = dae_sampler.load(model)
        x, y, test_x, test_y = load(dae.shape, images, data_root)
        a, b = (encoded(dae, some, (1,))[1] for some in (x, test_x))
        right = fitted(a, y, PENALTIES[-1]).score(b, test_y)
        rows.append([f"`{Path(model).name}`", f"{100 * (b == 0).mean():.0f} %", f"{100 * right:.2f} %"])
    fill(TABLES, "codes", ["run", "entries that are 0", "linear probe"], rows)


def balanced(y: Tensor, count: int, seed: int) -> Tensor:
    """Rows of ``count`` images, of each kind as many."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    kinds = y.unique()
    return torch.cat([order[y[order] == kind][: count // len(kinds)] for kind in kinds])


def accuracy(
    dae: DenoisingAutoencoder, frozen: bool, x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor, steps: int, seed: int
) -> float:
    """Of a linear classifier on the features, trained together with them or alone, in percent."""
    torch.manual_seed(seed)
    encoder = dae.encoder().train()
    features = encoder(x[:1]).shape[1]
    head = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, int(test_y.max()) + 1))
    optimizer = torch.optim.AdamW([*head.parameters(), *([] if frozen else encoder.parameters())], RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(steps):
        rows = batch_indices(seed, step, min(BATCH, len(x)), len(x))
        images = augment(x[rows], "shift", StepNoise(seed, step))
        with torch.set_grad_enabled(not frozen):
            found = encoder(images)
        F.cross_entropy(head(found), y[rows]).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    encoder.eval()
    with torch.inference_mode():
        right = torch.cat([head(encoder(some)).argmax(1) for some in test_x.split(250)]) == test_y
    return 100 * right.double().mean().item()


if __name__ == "__main__":
    app()
