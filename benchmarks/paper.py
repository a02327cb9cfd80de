"""The measured parts of docs/background/paper.md: its tables and its pictures.

python benchmarks/paper.py verify|iterate|failures|refine --data-root DATA
python benchmarks/paper.py digits
make paper DATA=...                 # all of them, after benchmarks/generators.py
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from judge import Judge
from page import DOCS, fill
from torch import Tensor

import dae_sampler
from dae_sampler import DenoisingAutoencoder, Recipe, fit, load
from dae_sampler.data import named as data
from dae_sampler.evaluation import metrics
from dae_sampler.gallery import grid, save_picture
from dae_sampler.noise import ImageNoise
from dae_sampler.pixels import to_float
from dae_sampler.sampling.samplers import State

PICTURES = DOCS / "background" / "paper"
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.8)
MILDER = ((0, 0.5), (0, 0.8), (0.3, 0.4), (0.4, 0.5), (0.3, 0.6))
"""(added, level): less noise is added than the level says."""
VERIFIED = {
    "boxes": [],
    "gaussians": [],
    "mnist": ["--sigma", "2", "--sigma", "1", "--sigma", "0.5", "--sigma", "0.2", "--steps", "3000"],
}
"""Densities, and further options of `dae-sampler verify`."""
NAMES = ("iterate", "failures", "digits", "refine-vae", "refine-gan", "limit")
NAMES += tuple(f"{kind}-{name}" for kind in ("verify", "climb") for name in VERIFIED)
TABLES = dict.fromkeys(NAMES, DOCS / "background" / "paper.md")
ITERATIONS = (0, 1, 2, 5, 10, 20, 50)
RECIPE = Recipe(batch=128, lr=2e-3)
DataRoot = Annotated[str, typer.Option(envvar="DAE_SAMPLER_DATA", help="The folder that holds MNIST.")]
app = typer.Typer(add_completion=False)


def strip(states: Iterable[Tensor], columns: int = 12) -> Tensor:
    """The first images of each state, a row a state."""
    return torch.cat([x[:columns].clamp(0, 1) for x in states])


def states_of(dae: DenoisingAutoencoder, n: int, at: Iterable[int], **options: object) -> dict[int, Tensor]:
    """``n`` samples on their way: the noise that they start from (0), and the reconstructions after ``at`` steps."""
    kept: dict[int, list[Tensor]] = {k: [] for k in at}
    count = 0

    def on_step(state: State) -> None:
        nonlocal count
        count = count % int(options["steps"]) + 1
        if count in kept:
            kept[count].append(state.x_hat.clone())

    dae_sampler.sample(dae, n, on_step=on_step, **options)
    noise = ImageNoise(0, 0, min(n, 256))
    kept[0] = [dae.corruption.prior(min(n, 256), dae.shape, noise)]
    return {k: torch.cat(some) for k, some in kept.items()}


@app.command()
def verify(data_root: DataRoot) -> None:
    """The score identity in the plane and for images as points: `dae-sampler verify`."""
    for name, more in VERIFIED.items():
        began = time.monotonic()
        command = [sys.executable, "-m", "dae_sampler", "verify", "--density", name, *more, "--data-root", data_root]
        command += ["--json", "--out", PICTURES / f"verify-{name}.png"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows = []
        for a, b in zip(found["bce"], found["mse"], strict=True):
            cells = [
                (f"{c['relative_error']:.3f} ± {c['relative_error_interval']:.3f}", f"{c['cosine']:.4f}")
                for c in (a, b)
            ]
            rows.append([f"{a['sigma']:g}", *cells[0], *cells[1]])
        header = ["σ", "BCE: relative error", "cosine", "MSE: relative error", "cosine"]
        fill(TABLES, f"verify-{name}", header, rows, time.monotonic() - began)
        if found["limit"]:
            rows = [[f"{sigma:g}", f"{gap:.4f}"] for sigma, gap in found["limit"]]
            fill(TABLES, "limit", ["σ", "relative distance of ∇log p_σ from ∇log p"], rows)
        climbs = [[who, c["steps"], f"{c['rising']:.4f}", f"{c['reaching']:.4f}"] for who, c in found["climb"].items()]
        fill(TABLES, f"climb-{name}", ["denoiser", "steps judged", "rising", "by the bound or more"], climbs, 0)


@app.command()
def iterate(data_root: DataRoot, n: int = 10_000) -> None:
    """From noise: plain iteration with the paper's blind model, and an annealed sampler, state by state."""
    began, judge = time.monotonic(), Judge(data_root)
    plain = states_of(load("mnist-paper"), n, ITERATIONS, sampler="iterate", steps=50)
    annealed = states_of(load("mnist"), n, ITERATIONS, sampler="dpm(eta=1)", steps=50)
    save_picture(grid(strip(plain[k] for k in ITERATIONS), columns=12), PICTURES / "iterate.png")
    save_picture(grid(strip(annealed[k] for k in ITERATIONS), columns=12), PICTURES / "annealed.png")
    rows = [[k, f"{judge.frechet(plain[k]):.0f}", f"{judge.frechet(annealed[k]):.0f}"] for k in ITERATIONS[1:]]
    header = ["steps", "Fréchet: x ← r(x), blind", "Fréchet: r(x), annealed, 50 levels"]
    fill(TABLES, "iterate", header, rows, time.monotonic() - began)


@app.command()
def failures(data_root: DataRoot, steps: int = 2500, n: int = 2000) -> None:
    """What plain iteration from noise needs: its level, bottleneck, optimiser and start, one changed at a time."""
    began, judge = time.monotonic(), Judge(data_root)
    usual = {"net": "conv(code=16)", "sigma": 0.75, "optimizer": "adamw"}
    cases = {
        "code 16, σ 0.75, AdamW (as shipped)": {},
        "code 128": {"net": "conv(code=128)"},
        "no bottleneck (U-Net)": {"net": "unet(32, 64)"},
        "σ 0.3": {"sigma": 0.3},
        "σ 1.5": {"sigma": 1.5},
        "Muon": {"optimizer": "muon"},
        "start: uniform, without the noise": {"start": "uniform"},
        "start: black": {"start": "black"},
    }
    rows, pictures, models = [], [], {}
    for name, case in cases.items():
        start = case.pop("start", None)
        net, sigma, optimizer = how = tuple((usual | case).values())
        if how not in models:
            dae = DenoisingAutoencoder(net, f"gaussian({sigma})", (1, 28, 28))
            dae.precision = load("mnist-paper").precision
            models[how] = fit(dae, judge.train, replace(RECIPE, steps=steps, every=steps, optimizer=optimizer))
        dae = models[how]
        if start:
            x = torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * (start == "uniform")
            some = {k: dae_sampler.denoise(dae, x, sampler="iterate", steps=k) for k in (5, 50)}
        else:
            some = states_of(dae, n, (5, 50), sampler="iterate", steps=50)
        rows.append([name, *(f"{judge.frechet(some[k]):.0f}" for k in (5, 50))])
        pictures.append(some[50])
        print(rows[-1], flush=True)
    save_picture(grid(strip(pictures), columns=12), PICTURES / "failures.png")
    fill(TABLES, "failures", ["case", "Fréchet after 5", "after 50"], rows, time.monotonic() - began)


@app.command()
def digits() -> None:
    """Plain iteration and an annealed sampler on scikit-learn's 8x8 digits, judged in the space of their pixels."""
    began = time.monotonic()
    x = data.load("digits").images
    real = to_float(data.load("digits", train=False).images).flatten(1)
    blind = DenoisingAutoencoder("dense(256, 12, 256)", "gaussian(0.5)", (1, 8, 8))
    fit(blind, x, replace(RECIPE, steps=4000))
    levels = DenoisingAutoencoder("unet(32)", "gaussian(0.02..20, lognormal(-0.5, 1.2))", (1, 8, 8))
    fit(levels, x, replace(RECIPE, steps=4000))
    plain = states_of(blind, 1000, ITERATIONS, sampler="iterate", steps=50)
    annealed = states_of(levels, 1000, ITERATIONS, sampler="dpm(eta=1)", steps=50)
    distance = lambda images: metrics.frechet(real, images.clamp(0, 1).flatten(1))  # noqa: E731
    rows = [[k, f"{distance(plain[k]):.2f}", f"{distance(annealed[k]):.2f}"] for k in ITERATIONS[1:]]
    rows.append(["training images", *2 * [f"{distance(to_float(x)):.2f}"]])
    shown = torch.cat([strip(plain[k] for k in ITERATIONS), strip(annealed[k] for k in ITERATIONS)])
    save_picture(grid(shown, columns=12), PICTURES / "digits.png")
    header = ["steps", "Fréchet (pixels): x ← r(x), blind", "Fréchet (pixels): r(x), annealed"]
    fill(TABLES, "digits", header, rows, time.monotonic() - began)


@app.command()
def refine(data_root: DataRoot, samples: Path = Path("runs/generators"), n: int = 10_000) -> None:
    """Refine the samples of a VAE and a GAN: plain iteration, and level-conditional refinement over levels."""
    judge, blind, levels = Judge(data_root), load("mnist-paper"), load("mnist")
    f, *others = judge.scores(dae_sampler.sample(levels, n, sampler="dpm(eta=1)", steps=50))
    own = ["the model's own samples", f"{f:.1f}", *(f"{v:.3f}" for v in others), "–"]
    for name in ("vae", "gan"):
        began = time.monotonic()
        before = torch.from_numpy(np.load(samples / f"{name}.npy"))[:n]
        labels, sure = judge.labels(before)
        refined = {"before": before}
        for k in (1, 2, 5):
            refined[f"x ← r(x), {k} times"] = dae_sampler.refine(blind, before, sampler="iterate", steps=k)
        usual = {f"from σ = {level:g}": (level, level) for level in LEVELS}
        milder = {f"σ = {added:g} added, from {level:g}": (added, level) for added, level in MILDER}
        for how, (added, level) in (usual | milder).items():
            refined[how] = dae_sampler.refine(levels, before, level=level, added=added, sampler="dpm(eta=1)", steps=10)
        rows = []
        for how, images in refined.items():
            f, *others = judge.scores(images)
            kept = (judge.labels(images)[0] == labels)[sure].double().mean().item()
            rows.append([how, f"{f:.1f}", *(f"{v:.3f}" for v in others), f"{kept:.3f}"])
            print(name, rows[-1], flush=True)
        shown = ("before", "x ← r(x), 5 times", "from σ = 0.3", "from σ = 0.5", "from σ = 0.8")
        save_picture(grid(strip((refined[how] for how in shown), 16), columns=16), PICTURES / f"refine-{name}.png")
        header = [name.upper(), "Fréchet", "precision", "recall", "density", "coverage", "label kept"]
        fill(TABLES, f"refine-{name}", header, [*rows, own], time.monotonic() - began)


if __name__ == "__main__":
    app()
