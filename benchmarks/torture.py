"""Kill a training run at random moments, resume it each time, and compare the end with an uninterrupted run.

    python benchmarks/torture.py [--kills 50] [--seed 0]

Prints how many kills the run survived, and whether weights, metrics and files are the same. The exit code is 1 if they
are not.
"""

from __future__ import annotations

import argparse
import csv
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

STEPS = ["--steps", "300", "--every", "15", "--batch", "16", "--net", "unet(16, 32)", "--precision", "float32"]


def command(out: Path) -> list[str]:
    """The command that starts the run in ``out`` or resumes it."""
    begin = ["--resume"] if (out / "config.json").is_file() else ["digits", *STEPS]
    return [sys.executable, "-m", "dae_sampler", "train", *begin, "--out", str(out), "--quiet"]


def train(out: Path) -> float:
    """Run to the end; returns the seconds that took."""
    began = time.monotonic()
    subprocess.run(command(out), check=True)
    return time.monotonic() - began


def kill_at(out: Path, seconds: float) -> bool:
    """Start or resume the run and kill it after ``seconds``; whether it was still running."""
    process = subprocess.Popen(command(out), stderr=subprocess.PIPE, text=True)
    try:
        _, error = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    if process.returncode:
        raise SystemExit(f"a resumed run failed with {process.returncode}: {error}")
    return False


def contents(out: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, str]], set[str]]:
    """Weights, metrics without the clock, and the names of all files."""
    with (out / "metrics.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    return load_file(out / "model.safetensors"), rows, files


def torture(kills: int, seed: int, folder: Path) -> tuple[int, list[str]]:
    """Kill and resume until done; returns the kills survived and the differences from an uninterrupted run."""
    draw, done, finished = random.Random(seed), 0, 0
    whole, tortured = folder / "whole", folder / "tortured"
    length = train(whole)
    while done < kills:
        done += kill_at(tortured, draw.uniform(0.2, 0.9) * length)
        if (tortured / "model.safetensors").is_file():  # it got to the end: start another, so that kills go on
            finished += 1
            wrong = differences(contents(whole), contents(tortured))
            if wrong:
                return done, wrong
            tortured.rename(folder / f"finished-{finished}")
    train(tortured)
    return done, differences(contents(whole), contents(tortured))


def differences(expected: tuple, found: tuple) -> list[str]:
    """What is not the same, in words."""
    same = expected[0].keys() == found[0].keys() and all(torch.equal(v, found[0][k]) for k, v in expected[0].items())
    out = [] if same else ["weights differ"]
    out += [] if expected[1] == found[1] else ["metrics differ"]
    return out + [f"file {name}" for name in sorted(expected[2] ^ found[2])]


def main() -> int:
    """Parse, torture, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        survived, wrong = torture(arguments.kills, arguments.seed, Path(folder))
    print(f"{survived} kills in {time.monotonic() - began:.0f} s; differences: {', '.join(wrong) or 'none'}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
