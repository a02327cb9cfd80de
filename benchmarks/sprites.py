"""Sprites of combined parts: are samples valid, and do they combine what training never combined?

    python benchmarks/sprites.py split sprites64.npz runs/sprites
    dae-sampler train runs/sprites/train.npz --batch 128 --steps 2700 --out runs/sprites/model
    python benchmarks/sprites.py classifiers runs/sprites
    python benchmarks/sprites.py judge runs/sprites runs/sprites/model

The array holds ``images`` (N,64,64,3) and ``names`` such as ``front/0123``: the pose, then a digit each for body,
bottom, top and hair. One in ten combinations of these four is held out of training, in all poses. A sample is *valid*
if the classifiers are surer than 0.9 of all five, and *new* if that combination was held out.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from page import DOCS, fill
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dae_sampler import load, sample
from dae_sampler.data.dataset import every_kth
from dae_sampler.evaluation import metrics
from dae_sampler.evaluation.features import Classifier, embed
from dae_sampler.gallery import grid, save_picture
from dae_sampler.noise import batch_indices
from dae_sampler.pixels import to_float

TABLES = {"sprites": DOCS / "results" / "generation.md"}
PICTURE = DOCS / "results" / "generation" / "sprites.png"
POSES = ("front", "left", "right")
KINDS = {"pose": 3, "body": 7, "bottom": 7, "top": 7, "hair": 10}
SURE, BATCH = 0.9, 128
Folder = Annotated[Path, typer.Argument(help="Where split wrote its halves.")]
app = typer.Typer(add_completion=False)


class Classifiers(Classifier):
    """One body, whose last layer sees where things are, for sprites are aligned; and five heads in one layer."""

    def __init__(self) -> None:
        super().__init__(channels=3)
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 32, 4, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(64 * 16**2, 128)),
        )
        self.head = nn.Linear(128, sum(KINDS.values()))

    def each(self, images: Tensor) -> list[Tensor]:
        """Logits of the five, (B, classes) each."""
        return list(self(images).split(list(KINDS.values()), 1))


def attributes(names: np.ndarray) -> Tensor:
    """Names as numbers of pose, body, bottom, top and hair, int64 (N,5)."""
    parts = (name.split("/") for name in names.tolist())
    return torch.tensor([[POSES.index(pose), *map(int, digits)] for pose, digits in parts])


def combination(known: Tensor) -> Tensor:
    """One number for body, bottom, top and hair: (N,5) -> (N,)."""
    return known[:, 1:] @ torch.tensor([1000, 100, 10, 1])


def read(path: Path) -> tuple[Tensor, Tensor]:
    """Images (N,3,64,64), uint8, and their attributes."""
    with np.load(path) as found:
        return torch.from_numpy(found["images"]).permute(0, 3, 1, 2).contiguous(), attributes(found["names"])


@app.command()
def split(source: Path, folder: Path, seed: int = 0) -> None:
    """Hold out one in ten combinations, in all poses."""
    with np.load(source) as found:
        images, names = found["images"], found["names"]
    made = combination(attributes(names))
    distinct = made.unique()
    order = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(seed))
    out = torch.isin(made, distinct[order][every_kth(len(distinct), len(distinct) // 10)]).numpy()
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", ~out), ("held-out", out)):
        np.savez(folder / f"{name}.npz", images=images[rows], names=names[rows])
        print(f"{name}: {rows.sum()} images of {len(made[torch.from_numpy(rows)].unique())} combinations")


@app.command()
def classifiers(folder: Folder, epochs: int = 6, seed: int = 0) -> None:
    """Train the five classifiers, and print how often each is right on held-out sprites."""
    (x, known), (test, held) = read(folder / "train.npz"), read(folder / "held-out.npz")
    torch.manual_seed(seed)
    net = Classifiers()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    steps = max(10, epochs * len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        rows = batch_indices(seed, step, BATCH, len(x))
        each = net.each(to_float(x[rows]))
        torch.stack([F.cross_entropy(z, known[rows, i]) for i, z in enumerate(each)]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    save_file(net.state_dict(), folder / "classifiers.safetensors")
    found, _ = told(net.eval(), test)
    right = (found == held).double().mean(0).tolist()
    print(", ".join(f"{name} {share:.2%}" for name, share in zip(KINDS, right, strict=True)))


@torch.no_grad()
def told(net: Classifiers, images: Tensor) -> tuple[Tensor, Tensor]:
    """The attributes of images (N,5), and how sure the classifiers are of the least sure one (N,)."""
    numbers, sure = [], []
    for some in images.split(500):
        top = [z.softmax(1).max(1) for z in net.each(to_float(some))]
        numbers.append(torch.stack([t.indices for t in top], 1))
        sure.append(torch.stack([t.values for t in top], 1).amin(1))
    return torch.cat(numbers), torch.cat(sure)


class Judge:
    """The classifiers that lie in ``folder``, and the training sprites, to which distances are taken."""

    def __init__(self, folder: Path) -> None:
        self.net = Classifiers()
        self.net.load_state_dict(load_file(folder / "classifiers.safetensors"))
        self.net.eval().requires_grad_(False)
        self.images, self.known = read(folder / "train.npz")
        self.real = embed(self.net.features, self.images)

    def told(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The attributes of images (N,5), and whether they are valid (N,)."""
        found, sure = told(self.net, images)
        return found, sure > SURE

    def distance(self, images: Tensor) -> str:
        """The Fréchet distance in the classifiers' features."""
        return f"{metrics.frechet(self.real, embed(self.net.features, images)):.1f}"


@app.command()
def judge(folder: Folder, model: str, n: Annotated[int, typer.Option("-n")] = 2000, steps: int | None = None) -> None:
    """The shares of valid samples and of new ones among them, and the distance beside its floor."""
    began, by = time.monotonic(), Judge(folder)
    test, held = read(folder / "held-out.npz")
    new = combination(held).unique()
    share = len(new) / len(torch.cat([combination(by.known), combination(held)]).unique())

    def row(name: str, images: Tensor) -> list[Any]:
        found, valid = by.told(images)
        fresh = torch.isin(combination(found), new)[valid].double().mean().item() if valid.any() else 0.0
        return [name, len(images), f"{valid.double().mean():.1%}", f"{fresh:.1%}", by.distance(images)]

    made = sample(load(model), n, steps=steps)
    save_picture(grid(made[:36], columns=12), PICTURE)
    rows = [row("real, held out", test), row(f"samples; held out are {share:.1%}", made)]
    fill(TABLES, "sprites", ["", "images", "valid", "new among them", "distance"], rows, time.monotonic() - began)


if __name__ == "__main__":
    app()
