"""Make a shipped checkpoint of a finished run: float16 weights, and a card with the best sampler and the licence.

python benchmarks/ship.py runs/mnist mnist --sampler 'dpm(eta=1)' --steps 20
python benchmarks/ship.py runs/grey photo-grey --data 'BSDS, 400 crops' --licence 'research use' --terms '...'
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

import dae_sampler
from dae_sampler.checkpoint import read_card
from dae_sampler.sampling.plan import resolve

CHECKPOINTS = Path(__file__).parent.parent / "checkpoints"


def main() -> None:
    """Parse, convert, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("name")
    parser.add_argument("--sampler", help="that samples best; none for a model that only restores")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--data", help="name of the training data, where the run has another")
    parser.add_argument("--licence", default="MIT")
    parser.add_argument("--terms", default="", help="of the training data")
    arguments = parser.parse_args()
    dae = dae_sampler.load(arguments.run)
    plans = dae.card.plans
    if arguments.sampler:
        plan = resolve("sample", dae, arguments.sampler, arguments.steps)
        plans |= {"sample": {"sampler": str(plan), "steps": plan.steps}}
    facts = {"licence": arguments.licence, "terms": arguments.terms, "data": arguments.data or dae.card.data}
    dae.card = replace(dae.card, plans=plans, **facts)
    path = CHECKPOINTS / f"{arguments.name}.safetensors"
    dae_sampler.save(dae, path, torch.float16)
    card, _ = read_card(path)
    print(path.name, path.stat().st_size, "bytes", card.to_json())


if __name__ == "__main__":
    main()
