"""The tables of docs/background/paper-colour.md: the paper in colour, on sprites.

    python benchmarks/sprites.py split sprites64.npz runs/sprites          # then train a model and the classifiers,
    python benchmarks/sprites.py classifiers runs/sprites                  # see sprites.py
    python benchmarks/generators.py --data runs/sprites/train.npz --out runs/sprites/generators --code 64 -n 2000 \
        --vae-steps 3000 --gan-steps 2400 --r1
    python benchmarks/paper_sprites.py iterate runs/sprites runs/sprites/longer
    python benchmarks/paper_sprites.py refine runs/sprites runs/sprites/longer --of vae      # and gan
    python benchmarks/paper_sprites.py chains runs/sprites runs/sprites/longer

Distances are to the training sprites, in the features of the five classifiers; *valid* images are those of which all
five are surer than 0.9.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from generators import VAE
from page import DOCS, fill
from paper import states_of, strip
from safetensors.torch import load_file
from sprites import Folder, Judge
from torch import Tensor

import dae_sampler
from dae_sampler import DenoisingAutoencoder, Recipe, fit, load
from dae_sampler.gallery import grid, save_picture
from dae_sampler.noise import ImageNoise

PAGE = DOCS / "background" / "paper-colour.md"
PICTURES = DOCS / "background" / "paper"
TABLES = dict.fromkeys(("iterate-colour", "refine-vae-colour", "refine-gan-colour", "chains"), PAGE)
NET, BLIND, PLAIN = "conv(code=64)", "gaussian(0.75)", "gaussian(0.001)"
"""The network of both, the corruption of the blind DAE, and noise far below one grey value: a plain autoencoder."""
AT = (1, 2, 5, 10, 20, 50)
CHAIN = (0, 1, 2, 5, 10, 20)
LEVELS = (0.1, 0.2, 0.3, 0.5, 0.8)
Model = Annotated[str, typer.Argument(help="A model of sprites that is told the level.")]
Count = Annotated[int, typer.Option("-n", help="Images in each row.")]
app = typer.Typer(add_completion=False)


def cells(judge: Judge, images: Tensor) -> list[str]:
    """The distance, and the share of valid images."""
    images = images.clamp(0, 1)
    return [judge.distance(images), f"{judge.told(images)[1].double().mean():.1%}"]


def report(table: str, judge: Judge, ways: dict[str, dict[int, Tensor]], at: tuple[int, ...], began: float) -> None:
    """A table of the states of each way, a row for each number of steps."""
    header = ["steps", *(f"{cell}: {name}" for name in ways for cell in ("distance", "valid"))]
    rows = [[k, *(cell for states in ways.values() for cell in cells(judge, states[k]))] for k in at]
    fill(TABLES, table, header, rows, time.monotonic() - began)


def trained(folder: Path, judge: Judge, corruption: str, steps: int = 1000) -> DenoisingAutoencoder:
    """A bottleneck network of one level, kept in ``folder``."""
    path = folder / f"{corruption}.safetensors"
    if not path.is_file():
        dae = DenoisingAutoencoder(NET, corruption, tuple(judge.images.shape[1:]))
        recipe = Recipe(batch=128, lr=2e-3, steps=steps, every=steps, optimizer="adamw")
        dae_sampler.save(fit(dae, judge.images, recipe), path)
    return load(path)


@app.command()
def iterate(folder: Folder, model: Model, n: Count = 2000) -> None:
    """From noise: a DAE of one level and a plain autoencoder, iterated; and the model, annealed over 50 levels."""
    began, judge = time.monotonic(), Judge(folder)
    blind, plain = (trained(folder, judge, corruption) for corruption in (BLIND, PLAIN))
    start = blind.corruption.prior(n, blind.shape, ImageNoise(0, 0, n))
    ways = {name: chain(start, partial(applied, dae), AT) for name, dae in (("blind", blind), ("plain", plain))}
    ways["annealed"] = states_of(load(model), n, AT, sampler="dpm(eta=1)", steps=50)
    for name, states in ways.items():
        save_picture(grid(strip((states[k] for k in AT), 10), columns=10), PICTURES / f"sprites-{name}.png")
    names = ("x ← r(x), blind DAE", "x ← r(x), plain autoencoder", "annealed")
    report("iterate-colour", judge, dict(zip(names, ways.values(), strict=True)), AT, began)


@app.command()
def refine(
    folder: Folder, model: Model, n: Count = 2000, of: Annotated[str, typer.Option(help="vae or gan.")] = "vae"
) -> None:
    """Samples of another generator, refined by plain iteration and from several levels."""
    began, judge, dae = time.monotonic(), Judge(folder), load(model)
    blind = trained(folder, judge, BLIND)
    before = torch.from_numpy(np.load(folder / "generators" / f"{of}.npy"))[:n]
    kinds, valid = judge.told(before)
    refined = {"before": before}
    for how, k in (("x ← r(x)", 1), ("x ← r(x), 5 times", 5)):
        refined[how] = dae_sampler.refine(blind, before, sampler="iterate", steps=k)
    for level in LEVELS:
        how = f"from σ = {level:g}"
        refined[how] = dae_sampler.refine(dae, before, level=level, sampler="dpm(eta=1)", steps=10)
    rows = []
    for how, images in refined.items():
        same = (judge.told(images.clamp(0, 1))[0] == kinds).all(1)[valid]
        rows.append([how, *cells(judge, images), f"{same.double().mean():.3f}" if len(same) else ""])
    shown = ("before", "x ← r(x), 5 times", "from σ = 0.3", "from σ = 0.8")
    save_picture(grid(strip((refined[k] for k in shown), 10), columns=10), PICTURES / f"sprites-{of}.png")
    header = ["samples", "distance", "valid", "parts kept"]
    fill(TABLES, f"refine-{of}-colour", header, rows, time.monotonic() - began)


@app.command()
def chains(folder: Folder, model: Model, n: Count = 2000, level: float = 0.5) -> None:
    """From the VAE's decoded prior: its own chain of encoding and decoding, and chains of corrupting and denoising."""
    began, judge = time.monotonic(), Judge(folder)
    weights = load_file(folder / "generators" / "vae.safetensors")
    vae = VAE(tuple(judge.images.shape[1:]), code=weights["decoder.0.weight"].shape[1])
    vae.load_state_dict(weights)
    start = torch.from_numpy(np.load(folder / "generators" / "vae.npy"))[:n]
    blind, dae = trained(folder, judge, BLIND), load(model)

    def encoding(x: Tensor, k: int) -> Tensor:
        return torch.cat([vae.decode(vae.encode(some)[0]) for some in x.split(250)])

    def denoising(x: Tensor, k: int, by: DenoisingAutoencoder = blind, at: float | None = None) -> Tensor:
        return dae_sampler.refine(by, x.clamp(0, 1), level=at, sampler="walk", steps=1, seed=k)

    steps = {
        "encode, decode": encoding,
        "blind DAE": denoising,
        f"the model, σ = {level:g}": partial(denoising, by=dae, at=level),
    }
    ways = {name: chain(start, step) for name, step in steps.items()}
    for name, states in zip(("vae", "blind", "model"), ways.values(), strict=True):
        save_picture(grid(strip((states[k] for k in CHAIN), 10), columns=10), PICTURES / f"sprites-chain-{name}.png")
    report("chains", judge, ways, CHAIN, began)


def applied(dae: DenoisingAutoencoder, x: Tensor, k: int) -> Tensor:
    """r(x), of a model of one level."""
    return torch.cat([dae(some, dae.corruption.high) for some in x.split(250)])


@torch.no_grad()
def chain(x: Tensor, step: Callable[[Tensor, int], Tensor], at: tuple[int, ...] = CHAIN) -> dict[int, Tensor]:
    """The states x <- step(x, k) after as many steps as ``at`` says."""
    torch.manual_seed(0)
    states = {0: x}
    for k in range(1, at[-1] + 1):
        x = step(x, k)
        states |= {k: x} if k in at else {}
    return states


if __name__ == "__main__":
    app()
