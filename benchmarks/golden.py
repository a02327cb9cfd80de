"""Hash what the shipped models make, before and after a change that must leave every picture as it was.

    python benchmarks/golden.py write golden.json     # on the commit before the change
    python benchmarks/golden.py check golden.json     # on the commit after it, on the same machine

In float32, by one thread. Hashes differ between processors and versions of torch, so the repository keeps no file of
them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

import dae_sampler

SEED, N = 7, 16


def pictures() -> Iterator[tuple[str, Tensor]]:
    """What each task makes with each shipped model that it fits, by name."""
    keep = torch.ones(28, 28, dtype=torch.bool)
    keep[:, 14:] = False
    seeds = dae_sampler.sample(dae_sampler.load("mnist", precision="float32"), N, sampler="heun", steps=6, seed=1)
    for name in ("mnist", "mnist-erasure", "mnist-paper"):
        dae = dae_sampler.load(name, precision="float32")
        ranged = name != "mnist-paper"
        for sampler in {"mnist": (None, "ancestral", "walk", "langevin")}.get(name, (None,)):
            yield f"{name} sample {sampler}", dae_sampler.sample(dae, N, sampler=sampler, steps=10, seed=SEED)
        yield f"{name} sample, its own steps", dae_sampler.sample(dae, 4, seed=SEED)
        yield f"{name} refine", dae_sampler.refine(dae, seeds, level=0.4 if ranged else None, steps=8, seed=SEED)
        if name != "mnist-erasure":
            noisy = seeds + 0.4 * torch.randn(seeds.shape, generator=torch.Generator().manual_seed(SEED))
            yield f"{name} denoise", dae_sampler.denoise(dae, noisy, level=0.4 if ranged else None, seed=SEED)
            iterated = dae_sampler.refine(dae, seeds, sampler="iterate", seed=SEED)
            yield f"{name} refine by iterate", iterated
        if ranged:
            yield f"{name} inpaint", dae_sampler.inpaint(dae, seeds, keep, steps=12, seed=SEED)


def main() -> int:
    """Write the hashes, or name those that differ; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("write", "check"), help="write the hashes, or compare with those written")
    parser.add_argument("file", type=Path, help="a JSON file for the hashes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: hashlib.sha256(made.contiguous().numpy().tobytes()).hexdigest() for name, made in pictures()}
    if arguments.what == "write":
        arguments.file.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    expected = json.loads(arguments.file.read_text())
    differing = [name for name in expected | found if expected.get(name) != found.get(name)]
    print("\n".join(f"differs: {name}" for name in differing) or f"all {len(found)} as before")
    return bool(differing)


if __name__ == "__main__":
    sys.exit(main())
