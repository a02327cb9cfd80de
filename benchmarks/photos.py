"""The figures of docs/results/photos.md: pictures of any size, restored by the models that ship and by others.

    python benchmarks/photos.py restore|levels|camera|speed|sizes --photos FOLDER     # pip install '.[peers]'
    python benchmarks/photos.py losses|minutes --photos FOLDER                        # half an hour of training each

The folder holds `train400`, `set12`, `bsd68`, `cbsd432`, `cbsd68` and `kodak24` as they are published; `camera` wants
the pairs of the PolyU real-world noise, `*_real.JPG` and `*_mean.JPG`. Noise of seed 0 is added to floats and not
clipped. What was measured is kept in runs/photos.jsonl, a line a picture, so that a table can be made in several goes.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from page import DOCS, fill
from torch import Tensor, nn

import dae_sampler
from dae_sampler import DenoisingAutoencoder, Recipe, fit
from dae_sampler.corruption import DEFAULT_OF_CROPS
from dae_sampler.data import named
from dae_sampler.data.dataset import every_kth
from dae_sampler.data.whole import open_files
from dae_sampler.device import pick_device, pick_precision
from dae_sampler.evaluation.fidelity import psnr, ssim
from dae_sampler.gallery import grid, save_picture
from dae_sampler.noise import ImageNoise
from dae_sampler.sampling.estimate import estimate_level
from dae_sampler.tiles import Tiled, for_pictures

TABLES = dict.fromkeys(
    ("restore", "levels", "camera", "speed", "sizes", "losses", "minutes"), DOCS / "results" / "photos.md"
)
KEPT = Path("runs/photos.jsonl")
SETS = {"bsd68": "BSD68", "set12": "Set12", "cbsd68": "CBSD68", "kodak24": "Kodak24"}
LEVELS = (5, 15, 25, 50)
"""Standard deviations of 255."""
PUBLISHED = {
    "bsd68": {"BM3D": (31.08, 28.57, 25.60), "FFDNet": (31.63, 29.19, 26.29), "DRUNet": (31.91, 29.48, 26.59)},
    "set12": {"BM3D": (32.37, 29.97, 26.72), "FFDNet": (32.75, 30.43, 27.32), "DRUNet": (33.25, 30.94, 27.90)},
    "cbsd68": {"BM3D": (33.52, 30.71, 27.38), "FFDNet": (33.87, 31.21, 27.96), "DRUNet": (34.30, 31.69, 28.51)},
    "kodak24": {"BM3D": (34.28, 31.68, 28.46), "FFDNet": (34.63, 32.13, 28.98), "DRUNet": (35.31, 32.89, 29.86)},
}
"""PSNR at 15, 25, 50 of 255: Zhang et al. 2018 and 2022."""
Photos = Annotated[Path, typer.Option(help="The folder that holds the sets.")]
Only = Annotated[list[str] | None, typer.Option(help="Only these sets.")]
Method = Callable[[Tensor, float], Tensor]
app = typer.Typer(add_completion=False)


def pictures(folder: Path) -> Iterator[tuple[int, str, Tensor]]:
    """Number, name and (1,C,H,W) in [0,1] of each picture."""
    for page in open_files(folder, folder.with_suffix("")).pages():
        yield page.number, page.name, page.x


def noisy(x: Tensor, number: int, sigma: float, saved: bool = False) -> Tensor:
    """With noise, and, if ``saved``, clipped and rounded to 8 bits."""
    y = x + sigma * ImageNoise(0, number, 1).normal(x.shape)
    return (y.clamp(0, 1) * 255).round() / 255 if saved else y


def by_photo(x: Tensor, sigma: float) -> Tensor:
    """One call of the model that ships."""
    with torch.no_grad():
        return photo(x.shape[1])(x, sigma)


def photo(channels: int, known: dict[int, Tiled] = {}) -> Tiled:  # noqa: B006 - a cache
    """The model that ships, in tiles."""
    if channels not in known:
        known[channels] = Tiled(dae_sampler.load("photo-grey" if channels == 1 else "photo-colour"))
    return known[channels]


def bm3d(x: Tensor, sigma: float) -> Tensor:
    """Dabov et al. 2007, of the package bm3d."""
    import bm3d as package

    pixels = x[0].permute(1, 2, 0).numpy()
    made = package.bm3d_rgb(pixels, sigma) if len(x[0]) == 3 else package.bm3d(pixels[..., 0], sigma)[..., None]
    return torch.from_numpy(made).permute(2, 0, 1)[None].float()


def non_local(x: Tensor, sigma: float) -> Tensor:
    """Non-local means of scikit-image, with the settings of its documentation."""
    from skimage.restoration import denoise_nl_means

    pixels = x[0].permute(1, 2, 0).squeeze(2).numpy()  # for grey it wants two axes
    options = {"h": 0.8 * sigma, "sigma": sigma, "patch_size": 5, "patch_distance": 6}
    made = denoise_nl_means(pixels, **options, channel_axis=2 if pixels.ndim == 3 else None)
    return torch.from_numpy(made.reshape(*x.shape[2:], -1)).permute(2, 0, 1)[None].float()


def total_variation(x: Tensor, sigma: float) -> Tensor:
    """Total variation of scikit-image (Chambolle 2004), the weight that serves natural pictures."""
    from skimage.restoration import denoise_tv_chambolle

    made = denoise_tv_chambolle(x[0].permute(1, 2, 0).numpy(), weight=1.2 * sigma, channel_axis=2)
    return torch.from_numpy(made).permute(2, 0, 1)[None].float()


METHODS: dict[str, Method] = {
    "photo": by_photo, "BM3D": bm3d, "non-local means": non_local, "total variation": total_variation,
}  # fmt: skip


def kept() -> dict[tuple, list[float]]:
    """What was measured: by (method, set, picture, level, saved), PSNR before and after, SSIM after, seconds."""
    rows = [json.loads(line) for line in KEPT.read_text().splitlines()] if KEPT.is_file() else []
    return {tuple(key): values for key, values in rows}


@app.command()
def restore(
    photos: Photos,
    only: Only = None,
    methods: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(METHODS)}; default: all.")] = None,
    most: Annotated[int, typer.Option(help="Pictures of each set; 0: all.")] = 0,
) -> None:
    """PSNR and SSIM on the published test sets."""
    KEPT.parent.mkdir(exist_ok=True)
    done = kept()
    for folder in only or SETS:
        for i, (number, name, x) in enumerate(pictures(photos / folder)):
            for method in (methods or METHODS) if not most or i < most else ():
                for level, saved in [*((v, False) for v in LEVELS), (25, True), (50, True)]:
                    key = (method, folder, name, level, saved)
                    if key not in done:
                        done[key] = measured(METHODS[method], x, noisy(x, number, level / 255, saved), level / 255)
                        with KEPT.open("a") as file:
                            file.write(json.dumps([key, done[key]]) + "\n")
    fill(TABLES, "restore", *table_of(done))


def measured(method: Method, clean: Tensor, y: Tensor, sigma: float) -> list[float]:
    """PSNR before and after, SSIM after, seconds."""
    began = time.perf_counter()
    made = method(y, sigma)
    seconds = time.perf_counter() - began
    return [psnr(y, clean).item(), psnr(made, clean).item(), ssim(made, clean).item(), seconds]


def table_of(done: dict[tuple, list[float]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what was published beside what was measured, means over the pictures."""
    header = ["set", "method", "pictures", *(f"σ = {v}" for v in LEVELS), "SSIM at 25", "25, saved", "50, saved"]
    rows = []
    for folder, title in SETS.items():
        for name, (a, b, c) in PUBLISHED[folder].items():
            rows.append([title, f"{name}, published", "all", "", f"{a:.2f}", f"{b:.2f}", f"{c:.2f}", "", "", ""])
        for method in METHODS:
            mine = {key[2:]: values for key, values in done.items() if key[:2] == (method, folder)}
            if not mine:
                continue
            count = len({name for name, *_ in mine})

            def mean(level: int, saved: bool, which: int, mine: dict[tuple, list[float]] = mine) -> str:
                found = [values[which] for (_, *where), values in mine.items() if where == [level, saved]]
                return f"{statistics.mean(found):.{2 if which == 1 else 4}f}" if found else ""

            levels = [mean(level, False, 1) for level in LEVELS]
            more = [mean(25, False, 2), mean(25, True, 1), mean(50, True, 1)]
            rows.append([title, method, count, *levels, *more])
    return header, rows


@app.command()
def levels(photos: Photos, only: Only = None, most: int = 0) -> None:
    """How well the level is estimated, and what PSNR is lost by it."""
    from skimage.restoration import estimate_sigma

    began, rows = time.monotonic(), []
    for folder in only or ("bsd68", "kodak24"):
        for kind in ("floats", "saved, 8 bits", "saved, JPEG 90"):
            for level in LEVELS:
                errors, others, lost = [], [], []
                for i, (number, _, x) in enumerate(pictures(photos / folder)):
                    if most and i >= most:
                        continue
                    y = noisy(x, number, level / 255, kind != "floats")
                    y = as_jpeg(y) if "JPEG" in kind else y
                    found = estimate_level(photo(x.shape[1]), y[0]) * 255
                    other = 255 * estimate_sigma(y[0].numpy(), channel_axis=0, average_sigmas=True)
                    errors.append(found / level - 1)
                    others.append(other / level - 1)
                    known, guessed = by_photo(y, level / 255), by_photo(y, found / 255)
                    lost.append((psnr(known, x) - psnr(guessed, x)).item())
                row = [f"{statistics.mean(map(abs, v)):.1%} ({statistics.mean(v):+.1%})" for v in (errors, others)]
                rows.append([SETS[folder], kind, level, *row, f"{statistics.mean(lost):.3f}"])
                print(rows[-1], flush=True)
    header = ["set", "noise", "σ of 255", "error by the model (bias)", "by scikit-image (bias)", "PSNR lost, dB"]
    fill(TABLES, "levels", header, rows, time.monotonic() - began)


def as_jpeg(y: Tensor) -> Tensor:
    """Saved with quality 90 and read again."""
    import io

    from PIL import Image

    from dae_sampler.gallery import to_picture

    file = io.BytesIO()
    to_picture(y[0]).save(file, "JPEG", quality=90)
    pixels = np.asarray(Image.open(file), np.float32) / 255
    return torch.from_numpy(pixels.reshape(*y.shape[2:], -1)).permute(2, 0, 1)[None]


@app.command()
def camera(folder: Annotated[Path, typer.Option(help="Pairs *_real.JPG and *_mean.JPG.")], most: int = 0) -> None:
    """Real noise of cameras, which no model here was trained on, by the level that is estimated."""
    rows, values = [], []
    began = time.monotonic()
    for i, (_, name, clean) in enumerate(pictures(folder)):
        if name.endswith("_mean.JPG") and (not most or len(values) < most):
            real = next(x for _, _, x in pictures(folder / name.replace("_mean", "_real")))
            level = estimate_level(photo(3), real[0])
            made = [by_photo(real, max(strength * level, photo(3).corruption.low)) for strength in (0.7, 1, 1.5, 2)]
            values.append([255 * level, *(psnr(x, clean).item() for x in (real, *made))])
            print(i, name, [f"{v:.2f}" for v in values[-1]], flush=True)
    level, before, *after = (f"{statistics.mean(column):.2f}" for column in zip(*values, strict=True))
    rows.append([len(values), level, before, *after])
    header = ["pictures", "mean estimate, of 255", "noisy", *(f"restored, strength {s}" for s in (0.7, 1, 1.5, 2))]
    fill(TABLES, "camera", header, rows, time.monotonic() - began)


def layers(channels: int, width: int, depth: int, patch: int) -> nn.Module:
    """The layers of DnCNN (patch 1) and FFDNet (patch 2, with a map of the level), normalisations folded in."""
    inside = [layer for _ in range(depth - 2) for layer in (nn.Conv2d(width, width, 3, padding=1), nn.ReLU())]
    more = channels * patch**2 + (patch > 1)
    first, last = nn.Conv2d(more, width, 3, padding=1), nn.Conv2d(width, channels * patch**2, 3, padding=1)
    body = nn.Sequential(first, nn.ReLU(), *inside, last).to(memory_format=torch.channels_last)
    if patch == 1:
        return body

    class Shuffled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = nn.functional.pixel_unshuffle(x, patch)
            x = torch.cat([x, torch.full_like(x[:, :1], 0.1)], 1)
            return nn.functional.pixel_shuffle(body(x.contiguous(memory_format=torch.channels_last)), patch)

    return Shuffled()


@app.command()
def speed(rounds: int = 5) -> None:
    """Seconds for one picture of 512x512 by photo, beside the layers of others with random weights, and BM3D."""
    rows = []
    for channels, kind in ((1, "grey"), (3, "colour")):
        x = torch.rand(1, channels, 512, 512, generator=torch.Generator().manual_seed(0))
        ffdnet = layers(channels, 64, 15, 2) if channels == 1 else layers(channels, 96, 12, 2)
        dncnn = layers(channels, 64, 17, 1)
        calls: dict[str, Callable[[], Tensor]] = {
            "photo": lambda x=x: by_photo(x, 0.1), "FFDNet's layers": lambda x=x, net=ffdnet: net(x),
            "DnCNN's layers": lambda x=x, net=dncnn: net(x),
        }  # fmt: skip
        times = {name: float("inf") for name in calls}
        with torch.no_grad():
            for _ in range(rounds + 1):  # the first warms up
                for name, call in calls.items():
                    began = time.perf_counter()
                    call()
                    times[name] = min(times[name], time.perf_counter() - began)
        began = time.perf_counter()
        bm3d(x, 0.1)
        times["BM3D"] = time.perf_counter() - began
        rows += [[kind, name, f"{s:.3f}", f"{s / times['photo']:.1f}"] for name, s in times.items()]
    fill(TABLES, "speed", ["pictures", "by", "seconds", "times photo"], rows)


@app.command()
def sizes(most: Annotated[float, typer.Option(help="Megapixels of the largest.")] = 24) -> None:
    """Seconds and memory of the command for one colour picture, in tiles, and of the whole picture in one call."""
    rows = []
    for megapixels in [v for v in (0.25, 1, 4, 12, 24) if v <= most]:
        for whole in (False, True):
            if whole and megapixels > 4:
                continue
            asked = [sys.executable, __file__, "one", str(megapixels), *(["--whole"] if whole else [])]
            took = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
            rows.append([f"{megapixels:g}", "whole" if whole else "in tiles", f"{took[0]:.1f}", f"{took[1]:.2f}"])
            print(rows[-1], flush=True)
    fill(TABLES, "sizes", ["megapixels, colour", "computed", "seconds", "memory at most, GB"], rows)


@app.command(hidden=True)
def one(megapixels: float, whole: bool = False) -> None:
    """One picture: seconds, and gigabytes of the process at most."""
    side = round((megapixels * 1e6) ** 0.5)
    x = torch.rand(1, 3, side, side)
    dae = dae_sampler.load("photo-colour")
    began = time.perf_counter()
    with torch.no_grad():
        (dae if whole else for_pictures(dae))(x, 0.1)
    print(json.dumps([time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]))


@app.command()
def shown() -> None:
    """Pictures of what the model makes of a photograph: one call, and what the paper's iteration does there."""
    place = DOCS / "results" / "photos"
    place.mkdir(exist_ok=True)
    _, _, x = next(pictures(DOCS / "images" / "chelsea.png"))
    dae = photo(3)
    y = noisy(x, 0, 25 / 255)
    restored = dae_sampler.denoise(dae, y, level="auto")
    save_picture(grid(torch.cat([y, restored, x]).clamp(0, 1), columns=3), place / "denoised.png")
    makes: dict[str, dict[str, Any]] = {
        "refine": {"sampler": "dpm(eta=1)", "steps": 20, "level": 25 / 255},
        "iterate": {"sampler": "iterate", "steps": 20, "level": 10 / 255},
        "walk": {"sampler": "walk", "steps": 20, "level": 25 / 255},
    }
    made = [dae_sampler.refine(dae, x, **options) for options in makes.values()]
    save_picture(grid(torch.cat([x, *made]), columns=4), place / "iterated.png")


@app.command()
def losses(photos: Photos, steps: int = 600, seeds: int = 2) -> None:
    """Equal steps by BCE, MSE of the noise, L1, weights by level, and not told the level, on pictures held out."""
    data, clean, rows, began = named.load_crops(str(photos / "train400"), 48), held_out(photos), [], time.monotonic()
    for name, (loss, power, corruption) in WEIGHED.items():
        for seed in range(seeds):
            dae = Weighted(power, NET, corruption, (1, None, None), loss, seed)
            dae = trained(dae, data, steps, seed, f"{list(WEIGHED).index(name)}-{steps}-{seed}")
            rows.append([name, seed, *quality(dae, clean)])
            print(rows[-1], flush=True)
    fill(TABLES, "losses", ["loss", "seed", "σ = 15", "25", "50"], rows, time.monotonic() - began)


@app.command()
def minutes(photos: Photos, seed: int = 0) -> None:
    """Minutes of training, parameters and crops, and what they give on pictures held out; and BM3D."""
    rows, clean = [], held_out(photos)
    for net, side, steps in RUNS:
        data = named.load_crops(str(photos / "train400"), side)
        dae = DenoisingAutoencoder(net, DEFAULT_OF_CROPS, (1, None, None), "bce", seed)
        size = f"{sum(p.numel() for p in dae.parameters()) / 1e6:.2f} M"
        dae = trained(dae, data, steps, seed, f"{net}-{side}-{steps}-{seed}")
        took = f"{dae.card.training['seconds'] / 60:.1f}"
        rows.append([f"`{net}`", size, side, steps, took, *quality(dae, clean)])
        print(rows[-1], flush=True)
    rows.append(["BM3D", "", "", "", "", *quality(bm3d, clean)])
    fill(TABLES, "minutes", ["network", "parameters", "crop", "steps", "minutes", "σ = 15", "25", "50"], rows)


def held_out(photos: Path) -> list[Tensor]:
    """The pictures of ``train400`` that training leaves out."""
    every = [x for _, _, x in pictures(photos / "train400")]
    chosen = every_kth(len(every), Recipe().validation_size(len(every))).tolist()
    return [x for x, out in zip(every, chosen, strict=True) if out]


def quality(method: Method, clean: list[Tensor]) -> list[str]:
    """PSNR at 15, 25 and 50 of 255, means over pictures."""
    with torch.no_grad():
        return [
            f"{statistics.mean(psnr(method(noisy(x, i, v / 255), v / 255), x).item() for i, x in enumerate(clean)):.2f}"
            for v in LEVELS[1:]
        ]


NET = "unet(32, 64, 128)"
WEIGHED = {
    "bce": ("bce", 0, DEFAULT_OF_CROPS),
    "bce, weight σ^-0.7": ("bce", 0.7, DEFAULT_OF_CROPS),
    "mse of the noise": ("mse", 2, DEFAULT_OF_CROPS),
    "mae": ("mae", 0, DEFAULT_OF_CROPS),
    "bce, not told σ": ("bce", 0, DEFAULT_OF_CROPS.replace(")", ", told=0)")),
}
"""Losses, the power of 1/sigma that they are weighed by, and the corruption."""
RUNS = (
    *((NET, 48, steps) for steps in (75, 150, 300, 600, 2400)),
    *((net, 48, 300) for net in ("unet(16, 32, 64)", "unet(48, 96, 192)")),
    *((NET, side, 300 * 48**2 // side**2) for side in (32, 64, 96)),  # as many pixels
)
"""Network, side of the crops, and steps."""


def trained(dae: DenoisingAutoencoder, data: Any, steps: int, seed: int, name: str) -> DenoisingAutoencoder:
    """The model after its training, on the CPU; kept in runs/losses, and taken from there if it is there."""
    path = KEPT.parent / "losses" / f"{name}.safetensors"
    if not path.is_file():
        device = pick_device("auto")
        dae = dae.to(device)
        dae.precision = pick_precision("auto", device)
        fit(dae, data, Recipe(steps=steps, batch=32, lr=0.003, augment="turn", seed=seed))
        path.parent.mkdir(parents=True, exist_ok=True)
        dae_sampler.save(dae.cpu(), path)
    return dae_sampler.load(path)


class Weighted(DenoisingAutoencoder):
    """A model whose loss is weighed by sigma^-power."""

    def __init__(self, power: float, *arguments: object) -> None:
        super().__init__(*arguments)
        self.power = power

    def loss(self, x: Tensor, level: float | Tensor, noise: ImageNoise, target: Tensor | None = None) -> Tensor:
        scale = torch.as_tensor(level) / 0.1
        return super().loss(x, level, noise, target) * scale.reshape(-1) ** -self.power


if __name__ == "__main__":
    app()
