"""Make a shipped checkpoint of a finished run: float16 weights, with the best sampler and the licence in its metadata.

python benchmarks/ship.py runs/mnist mnist --sampler 'dpm(eta=1)' --steps 20
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import dae_sampler
from dae_sampler.checkpoint import read_metadata
from dae_sampler.sampling.tasks import choose

CHECKPOINTS = Path(__file__).parent.parent / "checkpoints"


def main() -> None:
    """Parse, convert, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("name")
    parser.add_argument("--sampler", required=True)
    parser.add_argument("--steps", type=int, required=True)
    arguments = parser.parse_args()
    dae = dae_sampler.load(arguments.run)
    sampler, steps = choose(dae, arguments.sampler, arguments.steps)
    dae.info |= {"sampler": {"name": sampler, "steps": steps}, "licence": "MIT"}
    path = CHECKPOINTS / f"{arguments.name}.safetensors"
    dae_sampler.save(dae, path, torch.float16)
    print(path.name, path.stat().st_size, "bytes", read_metadata(path)["info"])


if __name__ == "__main__":
    main()
