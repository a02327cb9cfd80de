"""Train the MNIST classifier whose features the metrics use, and write it beside the shipped models.

    python benchmarks/classifier.py --data-root DATA [--epochs 6] [--seed 0]

Prints its accuracy on the test half.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torchvision.datasets import MNIST

from dae_sampler import data
from dae_sampler.images import to_float
from dae_sampler.metrics import Classifier
from dae_sampler.noise import batch_indices

OUT = Path(__file__).parent.parent / "checkpoints" / "features" / "mnist.safetensors"
BATCH = 128


def main() -> None:
    """Parse, train, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=data.default_root())
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    halves = (MNIST(arguments.data_root, train=train, download=True) for train in (True, False))
    (x, y), (test_x, test_y) = ((half.data[:, None], half.targets) for half in halves)
    classifier = Classifier()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=2e-3)
    steps = arguments.epochs * len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        rows = batch_indices(arguments.seed, step, BATCH, len(x))
        F.cross_entropy(classifier(to_float(x[rows])), y[rows]).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    OUT.parent.mkdir(exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in classifier.state_dict().items()}, OUT)
    with torch.inference_mode():
        right = torch.cat([classifier(to_float(b)).argmax(1) for b in test_x.split(500)]) == test_y
    print(f"{OUT.name}: {100 * right.double().mean():.2f} % of {len(test_y)} test images right after {steps} steps")


if __name__ == "__main__":
    main()
