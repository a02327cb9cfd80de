"""How much the features of a model tell: linear probes, nearest neighbours, and classifiers from few labels.

    python benchmarks/features.py probe MODEL --data-root DATA          # MNIST
    python benchmarks/features.py probe MODEL --folders cifar10         # with train/ and test/, a folder for each kind
    python benchmarks/features.py labels MODEL --data-root DATA [--draws 10] [--steps 400]

``probe`` fits scikit-learn's logistic regression to standardised features. Stage, level, grid and the strength of the
penalty are chosen on a tenth of the training half that is kept out; the test half is used once, for what was chosen,
beside the pixels, their principal components and the same network untrained. ``labels`` trains a classifier on few
labels, the same for all: fine-tuned from the model, on its frozen features, and from scratch. --images N uses N images
of each half, to try it.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
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

PENALTIES = (0.001, 0.01, 0.1)
LEVELS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
POOLS = (1, 2, 4)
LABELS = (10, 100, 1000)
BATCH, RATE = 64, 1e-3
Halves = tuple[Tensor, Tensor, Tensor, Tensor]


def load(arguments: argparse.Namespace, shape: tuple[int, int, int]) -> Halves:
    """Images (N,C,H,W), uint8, and labels (N,), of the training and of the test half, in random order."""
    from torchvision.datasets import MNIST, ImageFolder

    if arguments.folders:
        halves = [
            ImageFolder(arguments.folders / half, lambda p: torch.from_numpy(bring_to(np.asarray(p), shape)))
            for half in ("train", "test")
        ]
        parts = [(torch.stack([x for x, _ in half]), torch.tensor(half.targets)) for half in halves]
    else:
        halves = [MNIST(arguments.data_root, train=half, download=True) for half in (True, False)]
        parts = [(half.data[:, None], half.targets) for half in halves]
    mixed = []
    for x, y in parts:
        rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[: arguments.images]
        mixed += [x[rows], y[rows]]
    return tuple(mixed)


def encoded(dae: DenoisingAutoencoder, x: Tensor, **how: object) -> np.ndarray:
    """Features of all images, (N,F)."""
    return torch.cat([dae.encode(some, **how) for some in x.split(250)]).numpy()


def fitted(x: np.ndarray, y: Tensor, penalty: float) -> LogisticRegression:
    """A linear probe."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=200))
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return probe.fit(x, y)


def chosen(x: np.ndarray, y: Tensor) -> tuple[float, float]:
    """The best accuracy on a tenth of the images that was not fitted, and the penalty that it takes."""
    n = len(x) // 10
    return max((fitted(x[n:], y[n:], penalty).score(x[:n], y[:n]), penalty) for penalty in PENALTIES)


def probe(arguments: argparse.Namespace) -> None:
    """Accuracy by stage, level and grid on images kept out, and of what was chosen on the test half."""
    dae = dae_sampler.load(arguments.model)
    x, y, test_x, test_y = load(arguments, dae.shape)
    q, stages = dae.corruption, dae.net.stages
    levels = [level for level in LEVELS if q.low <= level <= q.high] if q.told else [None]
    rows = {}
    for stage in stages:
        for level in levels:
            for pool in POOLS if stage != "code" else (1,):
                how = {"stage": stage, "level": level, "pool": pool}
                few = slice(0, arguments.choose)
                rows[json.dumps(how)] = chosen(encoded(dae, x[few], **how), y[few])
                print(how, f"{100 * rows[json.dumps(how)][0]:.2f} %", flush=True)
    how = json.loads(max(rows, key=rows.__getitem__))
    untrained = DenoisingAutoencoder(dae.card.net, dae.card.corruption, dae.shape).eval().requires_grad_(False)
    pixels, test_pixels = (to_float(some).flatten(1).numpy() for some in (x, test_x))
    pca = PCA(min(100, len(pixels))).fit(pixels)
    spaces = {
        f"the model, {how}": (encoded(dae, x, **how), encoded(dae, test_x, **how)),
        "the same network untrained": (encoded(untrained, x, **how), encoded(untrained, test_x, **how)),
        "pixels": (pixels, test_pixels),
        "100 principal components": (pca.transform(pixels), pca.transform(test_pixels)),
    }
    print("| features | linear probe | k-NN, k = 5 |\n|---|---|---|")
    for name, (a, b) in spaces.items():
        linear = fitted(a, y, chosen(a[: arguments.choose], y[: arguments.choose])[1]).score(b, test_y)
        near = KNeighborsClassifier(5).fit(a, y).score(b, test_y)
        print(f"| {name} | {100 * linear:.2f} % | {100 * near:.2f} % |", flush=True)


def labels(arguments: argparse.Namespace) -> None:
    """Accuracy of classifiers from few labels: mean and standard deviation over balanced draws."""
    dae = dae_sampler.load(arguments.model)
    x, y, test_x, test_y = load(arguments, dae.shape)
    fresh = DenoisingAutoencoder(dae.card.net, dae.card.corruption, dae.shape)
    print("| labels | fine-tuned | frozen | from scratch |\n|---|---|---|---|")
    for count in LABELS:
        cells = []
        for source, frozen in ((dae, False), (dae, True), (fresh, False)):
            found = []
            for draw in range(arguments.draws):
                rows = balanced(y, count, draw)
                found.append(accuracy(source, frozen, x[rows], y[rows], test_x, test_y, arguments.steps, draw))
            spread = f" ± {np.std(found, ddof=1):.2f}" if len(found) > 1 else ""
            cells.append(f"{np.mean(found):.2f}{spread} %")
        print(f"| {count} | {' | '.join(cells)} |", flush=True)


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


def main() -> None:
    """Parse and run one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["probe", "labels"])
    parser.add_argument("model")
    parser.add_argument("--data-root", type=Path, default=named.default_root(), help="the folder that holds MNIST")
    parser.add_argument("--folders", type=Path, help="a folder with train/ and test/, each with a folder for each kind")
    parser.add_argument("--images", type=int, default=60_000, help="at most so many of each half, to try it")
    parser.add_argument("--choose", type=int, default=5000, help="training images that stage and level are chosen on")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    {"probe": probe, "labels": labels}[arguments.part](arguments)


if __name__ == "__main__":
    main()
