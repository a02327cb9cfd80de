"""The measured tables and pictures of docs/results/damage.md: models that learn from the damage one has.

    python benchmarks/damage.py documents DATA          # pairs of stained and clean pages, by two splits
    python benchmarks/damage.py photos DATA             # BSD68 from clean, from two noisy and from one noisy picture
    python benchmarks/damage.py astronomy DATA          # exposures of one cluster of stars
    python benchmarks/damage.py camera DATA             # real noise of cameras, in five folds of scenes
    python benchmarks/damage.py ship DATA OUT           # the model of documents, on the 72 pages of one text
    python benchmarks/damage.py shipped DATA            # the model of documents that ships, on the other text

DATA holds the folders documents, photos, astronomy and camera-noise. Each command takes --steps. The rows of BM3D and
of non-local means need ``pip install bm3d scikit-image`` and are left out without.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from page import DOCS, fill
from PIL import Image, ImageFilter
from torch import Tensor

import dae_sampler
from dae_sampler import Corrupted, Corruption, DenoisingAutoencoder, Recipe, denoise, fit
from dae_sampler.corruption.gaussian import Gaussian
from dae_sampler.data.crops import Crops
from dae_sampler.data.dataset import Batch
from dae_sampler.data.exposures import load_exposures
from dae_sampler.data.named import load_crops
from dae_sampler.data.pairs import as_noisy, load_pairs
from dae_sampler.device import pick_device, pick_precision
from dae_sampler.evaluation import fidelity
from dae_sampler.gallery import grid, save_picture
from dae_sampler.noise import ImageNoise, Noise, StepNoise
from dae_sampler.pixels import augment, to_float
from dae_sampler.tiles import for_pictures
from dae_sampler.training.start import load_weights

PICTURES = DOCS / "results" / "damage"
NAMES = ("shipped", "documents-by-text", "documents-published", "photos", "astronomy", "camera")
TABLES = dict.fromkeys(NAMES, DOCS / "results" / "damage.md")
NET = "unet(32, 64, 128)"
MODELS = Path("runs/damage")
BATCH = 32
SIGMA = 25 / 255
TERMS = (
    "pages of NoisyOffice (Castro-Bleda, España-Boquera, Pastor-Pellicer, Zamora-Martínez, UCI), as in Denoising Dirty "
    "Documents (Kaggle); no licence is stated, cite them"
)
"""Of the documents."""
app = typer.Typer(add_completion=False)
Data = Annotated[Path, typer.Argument(help="The folder that holds the data.")]
Steps = Annotated[int, typer.Option(min=1, help="Training steps of each model.")]
Seed = Annotated[int, typer.Option(min=0)]


def trained(
    name: str,
    data: Crops,
    corruption: str | Corruption,
    steps: int,
    seed: int,
    *,
    net: str = NET,
    loss: str = "bce",
    batch: int = BATCH,
    lr: float = 3e-3,
    augment: str | None = "turn",
    start: str = "",
) -> DenoisingAutoencoder:
    """A model of any size, trained on crops; on the CPU. It is kept in ``MODELS``, and taken from there if it is.

    From ``start`` it takes network and weights.
    """
    path = MODELS / f"{name}-{steps}-{batch}-{seed}.safetensors"
    if path.is_file():
        return dae_sampler.load(path)
    device = pick_device("auto")
    net = dae_sampler.load(start).card.net if start else net
    dae = DenoisingAutoencoder(net, corruption, (data.channels, None, None), loss, seed)
    if start:
        load_weights(dae, start)
    dae = dae.to(device)
    dae.precision = pick_precision("auto", device)
    began = time.monotonic()
    fit(dae, data, Recipe(steps=steps, batch=batch, lr=lr, every=max(1, steps // 10), augment=augment, seed=seed))
    print(f"{name}: {steps} steps in {time.monotonic() - began:.0f} s", flush=True)
    MODELS.mkdir(parents=True, exist_ok=True)
    dae_sampler.save(dae.cpu(), path)
    return dae


def remembered(name: str, measure: Callable[[], float]) -> float:
    """What was measured under that name before, in ``MODELS``; else it is measured now."""
    path = MODELS / "measured.json"
    known: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    if name not in known:
        known[name] = measure()
        path.write_text(json.dumps(known, indent=1))
    return known[name]


def some_pairs(clean: dict[str, Path], damaged: dict[str, Path], side: int, **options: Any) -> Crops:
    """Pairs of files under the names given, as a person has them who has put them into two folders."""
    with tempfile.TemporaryDirectory() as place:
        for folder, files in (("clean", clean), ("damaged", damaged)):
            Path(place, folder).mkdir()
            for name, path in files.items():
                Path(place, folder, name).symlink_to(path.resolve())
        return load_pairs(Path(place, "clean"), Path(place, "damaged"), side, **options)


def read(path: Path) -> Tensor:
    """A picture of 8 bits, (1,C,H,W) in [0,1]."""
    pixels = np.array(Image.open(path))
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)[None].float() / 255


def psnr(x: Tensor, truth: Tensor) -> float:
    """In dB, of one image."""
    return fidelity.psnr(x, truth).item()


def rmse(x: Tensor, truth: Tensor) -> float:
    """Over all pixels."""
    return (x - truth).square().mean().sqrt().item()


def mean(values: Iterable[float]) -> float:
    """Over images, each of which counts alike."""
    return float(np.mean(list(values)))


def show(name: str, cases: list[tuple[Tensor, Tensor, Tensor]], side: int = 256, place: Path = PICTURES) -> None:
    """Before, after, truth and four times the difference, a row a case; the middles, (C,H,W)."""
    rows = []
    for case in cases:
        before, after, truth = (_middle(image.cpu().float(), side) for image in case)
        rows += [before, after, truth, (4 * (after - truth)).abs()]
    place.mkdir(exist_ok=True)
    save_picture(grid(torch.stack(rows), columns=4), place / f"{name}.png")


def _middle(image: Tensor, side: int) -> Tensor:
    top, left = ((size - side) // 2 for size in image.shape[1:])
    return image[:, max(0, top) : max(0, top) + side, max(0, left) : max(0, left) + side]


# documents


class Stained(Crops):
    """Pairs of pages of which half get a second stain: the paper of another crop, turned, of a random strength.

    The paper of a crop is what is damaged where the clean page is white, and beneath the text the mean of that around.
    """

    def take(self, rows: Tensor, noise: Noise | None = None) -> Batch:
        batch = super().take(rows, noise)
        if noise is None or batch.damaged is None:
            return batch
        x, damaged = to_float(batch.x, self.span), to_float(batch.damaged, self.span)
        white = (x > 0.9).float()
        around = F.avg_pool2d(damaged * white, 15, 1, 7) / F.avg_pool2d(white, 15, 1, 7).clamp(min=1e-3)
        paper = torch.where(white > 0, damaged, around)
        paper = (paper / paper.amax((2, 3), keepdim=True).clamp(min=0.1)).roll(1, 0)
        strength = (3 * noise.uniform((len(x), 1, 1, 1)).cpu() - 1.5).clamp(min=0)  # 0 in half of the crops
        stained = damaged * augment(paper, "turn", noise) ** strength
        return batch._replace(damaged=(stained.clamp(0, 1) * 255).round().to(batch.damaged.dtype))


def pages(data: Path, names: list[str], side: int = 96) -> Crops:
    """Pairs of the named pages, stained anew whenever they are drawn."""
    folder = data / "documents"
    clean, dirty = ([folder / kind / name for name in names] for kind in ("clean", "dirty"))
    pairs = some_pairs({path.name: path for path in clean}, {path.name: path for path in dirty}, side, channels=1)
    return Stained(**_entered(pairs))


def _entered(crops: Crops) -> dict[str, Any]:
    """What crops were made of."""
    return {known.name: getattr(crops, known.name) for known in fields(Crops) if known.init}


def background(dirty: Tensor) -> Image.Image:
    """The median of 23 pixels square around each pixel, at half the size, where it takes a sixteenth of the time."""
    picture = Image.fromarray((dirty[0, 0] * 255).round().byte().numpy())
    return picture.reduce(2).filter(ImageFilter.MedianFilter(11))


def without_background(dirty: Tensor) -> Tensor:
    """White where a page is no darker than its background, else as it is."""
    paper = np.array(background(dirty).resize((dirty.shape[3], dirty.shape[2]), Image.Resampling.BILINEAR))
    return torch.where(dirty < torch.from_numpy(paper).float() / 255 - 0.1, dirty, 1.0)


def stains(dirty: list[Tensor]) -> Tensor:
    """What can be compared of the papers of pages: their backgrounds at the top left, standardised, (N, pixels)."""
    found = []
    for page in dirty:
        coarse = background(page).crop((0, 0, 256, 128)).resize((64, 32), Image.Resampling.BOX)
        small = np.array(coarse, np.float32)
        found.append(torch.from_numpy((small - small.mean()) / (small.std() + 1e-6)).flatten())
    return torch.stack(found)


def tested(data: Path, names: dict[str, list[str]]) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Stained test pages, clean ones, and how alike the stain of each is to the nearest one that training saw."""
    folder = data / "documents"
    dirty, clean = ([read(folder / kind / name) for name in names["test"]] for kind in ("dirty", "clean"))
    seen = stains([read(folder / "dirty" / name) for name in names["train"]])
    return dirty, clean, (stains(dirty) @ seen.T / (64 * 32)).amax(1)


def errors_of(made: dict[str, list[Tensor]], clean: list[Tensor], alike: Tensor) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the error of each way to restore, over all pages and where the stain was seen or not."""
    seen = (alike > 0.6).tolist()
    rows = []
    for name, results in made.items():
        errors = [rmse(x, truth) for x, truth in zip(results, clean, strict=True)]
        apart = [[e for e, known in zip(errors, seen, strict=True) if known is wanted] for wanted in (True, False)]
        rows.append([name, f"{mean(errors):.4f}", *(f"{mean(some):.4f}" if some else "–" for some in apart)])
    count = sum(seen)
    return ["", f"all {len(seen)} pages", f"{count} with a stain seen", f"{len(seen) - count} with one unseen"], rows


@app.command()
def documents(
    data: Data,
    split: str = "by-text",
    steps: Steps = 3000,
    seed: Seed = 0,
    side: int = 64,
    losses: str = "bce,mse,mae",
    plain: Annotated[bool, typer.Option("--plain", help="By BCE also without second stains and turns.")] = False,
) -> None:
    """RMSE over all pixels of the test pages, by the same network and one loss after another."""
    began = time.monotonic()
    names: dict[str, list[str]] = json.loads((data / "documents" / f"split-{split}.json").read_text())
    dirty, clean, alike = tested(data, names)
    made: dict[str, list[Tensor]] = {"dirty": dirty, "median background removed": list(map(without_background, dirty))}
    crops = pages(data, names["train"], side)
    for loss in losses.split(","):
        dae = for_pictures(trained(f"documents-{split}-{loss}", crops, "given", steps, seed, loss=loss))
        made[f"pairs, by {loss}"] = [denoise(dae, page) for page in dirty]
    if plain:
        name, crops = f"documents-{split}-plain", Crops(**_entered(crops))
        dae = for_pictures(trained(name, crops, "given", steps, seed, augment=None))
        made["pairs as they are, by bce"] = [denoise(dae, page) for page in dirty]
    header, rows = errors_of(made, clean, alike)
    chosen = sorted(range(len(dirty)), key=lambda i: alike[i].item())[:3]  # the strangest stains
    best = made[f"pairs, by {losses.partition(',')[0]}"]
    show(f"documents-{split}", [(dirty[i][0], best[i][0], clean[i][0]) for i in chosen])
    fill(TABLES, f"documents-{split}", header, rows, time.monotonic() - began)


@app.command()
def ship(data: Data, out: Path, steps: Steps = 12_000, side: int = 96, batch: int = 48, seed: Seed = 0) -> None:
    """Train the model of documents on the 72 pages of one text, and write it to OUT, in half precision."""
    names = json.loads((data / "documents" / "split-by-text.json").read_text())["train"]
    net = "unet(32, 64, 128, blocks=2)"
    dae = trained("document", pages(data, names, side), "given", steps, seed, net=net, batch=batch)
    plans = {"denoise": {"sampler": "reconstruct", "steps": 1}}
    facts = {"data": "NoisyOffice, 72 pages of one text", "version": dae_sampler.__version__, "images": len(names)}
    dae.card = replace(dae.card, plans=plans, licence="MIT", terms=TERMS, **facts)
    dae_sampler.save(dae.cpu(), out, torch.float16)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


@app.command()
def shipped(data: Data) -> None:
    """RMSE over all pixels of the model that ships, on the 72 pages of the text that it never saw."""
    dae = for_pictures(dae_sampler.load("document"))
    dirty, clean, alike = tested(data, json.loads((data / "documents" / "split-by-text.json").read_text()))
    made = {"dirty": dirty, "median background removed": list(map(without_background, dirty))}
    made["`document`"] = [denoise(dae, page) for page in dirty]
    header, rows = errors_of(made, clean, alike)
    strange = int(alike.argmin())
    show("shipped", [(dirty[i][0], made["`document`"][i][0], clean[i][0]) for i in (0, strange)])
    fill(TABLES, "shipped", header, rows)


# photographs


class TwoNoises(Gaussian):
    """Fresh noise on the input and, independent of it, on the target: Noise2Noise with endless exposures."""

    name = "two-noises"

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Corrupted:
        return Corrupted(super().__call__(x, level, noise), x + level * noise.normal(x.shape))


def noised(crops: Crops, seed: int, exposures: int = 1) -> Crops:
    """The pictures with frozen, unclipped noise, in one or two exposures."""
    clean = to_float(crops.buffer, crops.span)
    noise = StepNoise(seed, 0)
    x, *other = (clean + SIGMA * noise.normal(clean.shape) for _ in range(exposures))
    return replace(crops, buffer=x, damaged=other[0] if other else None, span=(0.0, 1.0), target="noisy")


BLIND: list[tuple[str, dict[str, Any]]] = [(", alone", {}), (", known noise", {"noise": SIGMA})]
"""Ways to restore with blind spots."""


@app.command()
def photos(data: Data, steps: Steps = 2000, seed: Seed = 0, side: int = 48, test: str = "bsd68") -> None:
    """PSNR at sigma 25 of 255, by clean targets, noisy targets and noisy pictures alone, at equal steps."""
    clean = load_crops(data / "photos" / "train400", side, channels=1)
    truth = [read(path) for path in sorted((data / "photos" / test).iterdir())]
    noisy = [x + SIGMA * ImageNoise(seed, i, 1).normal(x.shape) for i, x in enumerate(truth)]
    two = TwoNoises(SIGMA)

    def judged(name: str, restore: Callable[[Tensor], Tensor]) -> str:
        return f"{remembered(name, lambda: mean(map(psnr, map(restore, noisy), truth))):.2f}"

    cases: dict[str, tuple[Crops, str | Corruption, list[tuple[str, dict[str, Any]]]]] = {
        "clean targets": (clean, "gaussian(25/255)", [("", {})]),
        "noisy targets, fresh noise": (clean, two, [("", {"steps": 1, "sampler": "iterate"})]),
        "two frozen exposures": (noised(clean, seed, 2), "given", [("", {})]),
        "one frozen exposure, 1 of 50 hidden": (noised(clean, seed), "blindspot(0.02)", BLIND),
        "one frozen exposure, 1 of 16 hidden": (noised(clean, seed), "blindspot(1/16)", BLIND),
        "one frozen exposure, noised again": (noised(clean, seed), "renoise(25/255, 0.5)", [("", {})]),
    }
    rows, shown = [["noisy", f"{mean(map(psnr, noisy, truth)):.2f}"]], []
    for name, (crops, corruption, ways) in cases.items():
        dae = for_pictures(trained(name.replace(", ", "-").replace(" ", "-"), crops, corruption, steps, seed))
        for way, options in ways:

            def restored(x: Tensor, dae: Any = dae, options: dict[str, Any] = options) -> Tensor:
                return denoise(dae, x, seed=seed + 1, **options)  # the seed of other noise than is in x

            rows.append([name + way, judged(f"{test}: {name}{way}, {steps} steps, seed {seed}", restored)])
            shown.append((noisy[0][0], restored(noisy[0])[0], truth[0][0]))
            print(rows[-1], flush=True)
    if find_spec("bm3d"):
        from bm3d import bm3d

        def by_bm3d(x: Tensor) -> Tensor:
            return torch.from_numpy(bm3d(x[0, 0].double().numpy(), SIGMA))[None, None]

        rows.append(["BM3D", judged(f"{test}: BM3D, seed {seed}", by_bm3d)])
    show("photos", shown)
    fill(TABLES, "photos", ["", f"PSNR on {test}, dB"], rows)


# astronomy


@app.command()
def astronomy(data: Data, steps: Steps = 2000, seed: Seed = 0, side: int = 64) -> None:
    """RMSE of each frame against the mean of the others, corrected for their noise; all in counts, frame means off."""
    folder, span = data / "astronomy", (350.0, 650.0)
    raw = [torch.from_numpy(np.array(Image.open(path)).astype(np.float32)) for path in sorted(folder.glob("*.png"))]
    frames = torch.stack([frame - frame.mean() for frame in raw])[:, None, None]
    noise = (frames[0] - frames[1]).var().item() / 2

    def error(i: int, made: Tensor) -> float:
        others = torch.cat([frames[:i], frames[i + 1 :]]).mean(0)
        left = (made - made.mean() - others).square().mean().item() - noise / (len(frames) - 1)
        return max(left, 0.0) ** 0.5

    i = 0
    ways: dict[str, Callable[[], Tensor]] = {
        "one frame": lambda: frames[i],
        "a constant": lambda: torch.zeros_like(frames[i]),
    }
    ways |= {f"Gaussian blur of {s} pixels": lambda s=s: _blurred(frames[i], s) for s in (2, 4, 6, 8, 10, 12, 16)}
    if find_spec("skimage"):
        from skimage.restoration import denoise_nl_means

        ways["non-local means"] = lambda: torch.from_numpy(
            denoise_nl_means(frames[i][0, 0].numpy(), sigma=noise**0.5, h=0.8 * noise**0.5, fast_mode=True)
        )[None, None]
    if find_spec("bm3d"):
        from bm3d import bm3d

        ways["BM3D"] = lambda: torch.from_numpy(bm3d(frames[i][0, 0].double().numpy(), noise**0.5)).float()[None, None]
    rows = [[name, f"{error(i, way()):.2f}"] for name, way in ways.items()]
    scaled = ((raw[i] - span[0]) / (span[1] - span[0]))[None, None]
    sigma = noise**0.5 / (span[1] - span[0])
    all_frames = as_noisy(load_exposures(folder, side, span=span))
    which = torch.arange(len(frames)) != i  # the frame to restore is none of the targets that it is held against
    others = _only(all_frames, which)
    alone = replace(_only(all_frames, ~which), things=None)
    shown = []
    for name, model, crops, corruption, options in (
        ("frames on frames", "given", others, "given", {}),
        ("blind spots on one frame, 1 of 50 hidden", "blindspot", alone, "blindspot(0.02)", {}),
        ("the same, known noise", "blindspot", alone, "blindspot(0.02)", {"noise": sigma}),
        ("blind spots on one frame, 1 of 16 hidden", "blindspot-16", alone, "blindspot(1/16)", {}),
        ("one frame, noised again", "renoise", alone, f"renoise({sigma:.6f}, 0.5)", {}),
    ):
        dae = for_pictures(trained(f"{model}-stars", crops, corruption, steps, seed))
        made = denoise(dae, scaled, **options) * (span[1] - span[0])
        rows.append([name, f"{error(i, made):.2f}"])
        truth = torch.cat([frames[:i], frames[i + 1 :]]).mean(0)
        shown.append(tuple(((x - x.median()) / 100 + 0.3)[0] for x in (frames[i], made, truth)))
    show("astronomy", shown, 320)
    fill(TABLES, "astronomy", ["", "RMSE, counts"], rows)


def _only(crops: Crops, which: Tensor) -> Crops:
    """The pictures of one size that are chosen."""
    buffer, things = (
        crops.buffer.view(len(crops), -1)[which].flatten(),
        torch.zeros(int(which.sum()), dtype=torch.int64),
    )
    return replace(crops, buffer=buffer, shapes=crops.shapes[which], things=things)


def _blurred(frame: Tensor, sigma: float) -> Tensor:
    blur = dae_sampler.corruption.parse(f"blur({sigma})")
    return blur.draw(frame, torch.tensor(float(sigma)), StepNoise(0, 0)).x_tilde


# cameras


@app.command()
def camera(data: Data, steps: Steps = 1000, seed: Seed = 0, side: int = 64) -> None:
    """PSNR over all 100 crops, each restored by models that saw no picture of its scene, and by ``photo``.

    One model of each fold starts at random weights, the other at those of ``photo``, at a third of the rate.
    """
    began, folder = time.monotonic(), data / "camera-noise"
    names = sorted(path.name.removesuffix("_real.JPG") for path in folder.glob("*_real.JPG"))
    scenes = sorted({name.split("_")[-2] for name in names})
    real, truth = ({name: folder / f"{name}_{kind}.JPG" for name in names} for kind in ("real", "mean"))
    rows: dict[str, list[float]] = {"noisy": [psnr(read(real[name]), read(truth[name])) for name in names]}
    shown = []
    for fold in range(5):
        held_out = [name for name in names if scenes.index(name.split("_")[-2]) % 5 == fold]
        clean, noisy = ({f"{n}.jpg": files[n] for n in names if n not in held_out} for files in (truth, real))
        pairs = some_pairs(clean, noisy, side)
        for way, name, more in (
            ("pairs", f"camera-{fold}", {}),
            ("pairs, from `photo`", f"camera-photo-{fold}", {"start": "photo-colour", "lr": 1e-3}),
        ):
            dae = for_pictures(trained(name, pairs, "given", steps, seed, **more))
            made = [denoise(dae, read(real[name])) for name in held_out]
            rows.setdefault(way, []).extend(psnr(x, read(truth[n])) for x, n in zip(made, held_out, strict=True))
            shown.append((read(real[held_out[0]])[0], made[0][0], read(truth[held_out[0]])[0]))
            print(f"fold {fold}, {way}: {mean(rows[way]):.2f} dB so far", flush=True)
    show("camera", shown, place=MODELS)  # not beside the page: the pictures are not ours to give
    table = [[way, f"{mean(found):.2f}"] for way, found in rows.items()]
    photo = for_pictures(dae_sampler.load("photo-colour"))
    by_photo = remembered(
        "camera: `photo`", lambda: mean(psnr(denoise(photo, read(real[n])), read(truth[n])) for n in names)
    )
    table.append(["`photo`", f"{by_photo:.2f}"])
    fill(TABLES, "camera", ["", f"PSNR over {len(names)} crops, dB"], table, time.monotonic() - began)


if __name__ == "__main__":
    app()
