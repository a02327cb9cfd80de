"""The table of docs/results/reliability.md on memory: does it grow with the number of pictures?

python benchmarks/scale.py FOLDER [--only denoise] [--small 1000]

FOLDER is made, and takes up to 15 GB. Each command runs with few and with many pictures, in a process of its own, whose
anonymous memory is read ten times a second: what it has taken for itself, without the files that it maps.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from page import DOCS, fill
from PIL import Image
from speed import anonymous_memory

from dae_sampler import DenoisingAutoencoder, save

TABLES = {"scale": DOCS / "results" / "reliability.md"}
DISTINCT = 20
"""Pictures that differ; the others are links to them."""
app = typer.Typer(add_completion=False)


def pictures(folder: Path, n: int, side: int, suffix: str) -> Path:
    """A folder of ``n`` grey pictures."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(n):
        path = folder / f"{i // 1000:04}" / f"{i:07}{suffix}"
        if i % 1000 == 0:
            path.parent.mkdir()
        if i < DISTINCT:
            rough = Image.fromarray(random.integers(0, 256, (8, 8), np.uint8))
            rough.resize((side, side), Image.Resampling.BICUBIC).save(path)
        else:
            os.link(folder / "0000" / f"{i % DISTINCT:07}{suffix}", path)
    return folder


def memory_of(words: list[str], place: Path) -> tuple[float, float]:
    """GB of anonymous memory at most, and seconds, of a command; it has to succeed."""
    began, most = time.monotonic(), 0.0
    process = subprocess.Popen([sys.executable, "-m", "dae_sampler", *words, "--quiet"], cwd=place)
    while process.poll() is None:
        most = max(most, anonymous_memory(process.pid))
        time.sleep(0.1)
    if process.wait():
        raise SystemExit(f"{' '.join(words)} failed")
    return most * 2**30 / 1e9, time.monotonic() - began


@app.command()
def main(
    folder: Path,
    only: Annotated[list[str] | None, typer.Option(help="denoise, sample or train; default: all.")] = None,
    small: Annotated[int, typer.Option(help="Pictures and samples of the small run.")] = 1000,
) -> None:
    """Run all, and write the table."""
    folder.mkdir()
    save(DenoisingAutoencoder("dense(64)", "gaussian(0.02..20)", (1, 28, 28)), folder / "m.safetensors")
    crops = ["--crop", "64", "--net", "unet(8)", "--steps", "20", "--batch", "16", "--data-root", "cache"]
    cases = {
        "denoise": (["denoise", "m.safetensors", "in", "--level", "0.5", "--steps", "1", "--out", "out.npy"], 100_000),
        "sample": (["sample", "m.safetensors", "--steps", "2", "--out", "out.npy", "-n"], 1_000_000),
        "train": (["train", "in", *crops, "--out", "run"], 10_000),
    }
    rows = []
    for name, (words, large) in cases.items():
        for n in (min(small, large // 10), large) if name in (only or cases) else ():
            place = folder / name
            place.mkdir()
            shutil.copy(folder / "m.safetensors", place)
            if name != "sample":
                pictures(place / "in", n, *((28, ".png") if name == "denoise" else (1024, ".jpg")))
            memory, seconds = memory_of([*words, *([str(n)] if name == "sample" else [])], place)
            what = {"denoise": "pictures denoised", "sample": "samples in an array", "train": "MB of pixels trained on"}
            rows.append([what[name], f"{n:,}", f"{memory:.2f}", f"{seconds:.0f}"])
            print(rows[-1], flush=True)
            shutil.rmtree(place)
    shutil.rmtree(folder)
    fill(TABLES, "scale", ["", "number", "memory, GB", "seconds"], rows)


if __name__ == "__main__":
    app()
