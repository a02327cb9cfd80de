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
from torch import Tensor

from dae_sampler.data import named as data
from dae_sampler.evaluation.features import Classifier
from dae_sampler.noise import StepNoise, batch_indices
from dae_sampler.pixels import augment, to_float

OUT = Path(__file__).parent.parent / "checkpoints" / "features" / "mnist.safetensors"
BATCH = 128


def train(x: Tensor, y: Tensor, epochs: int, seed: int, mirror: bool = False) -> Classifier:
    """Fit a classifier to images (N,C,H,W), uint8, and their labels (N,) of 0 to 9."""
    torch.manual_seed(seed)
    classifier = Classifier(x.shape[1])
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=2e-3)
    steps = epochs * len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        rows = batch_indices(seed, step, BATCH, len(x))
        images = augment(x[rows], "mirror", StepNoise(seed, step)) if mirror else x[rows]
        F.cross_entropy(classifier(to_float(images)), y[rows]).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return classifier


def finish(classifier: Classifier, x: Tensor, y: Tensor, path: Path) -> None:
    """Write the classifier, and print how many of the test images it gets right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in classifier.state_dict().items()}, path)
    with torch.inference_mode():
        right = torch.cat([classifier(to_float(b)).argmax(1) for b in x.split(500)]) == y
    print(f"{path.name}: {100 * right.double().mean():.2f} % of {len(y)} test images right")


def main() -> None:
    """Parse, train, write, print."""
    from torchvision.datasets import MNIST  # here, because it imports torch's compiler, which takes seconds

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=data.default_root(), help="the folder that holds MNIST")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    halves = (MNIST(arguments.data_root, train=half, download=True) for half in (True, False))
    (x, y), (test_x, test_y) = ((half.data[:, None], half.targets) for half in halves)
    finish(train(x, y, arguments.epochs, arguments.seed), test_x, test_y, OUT)


if __name__ == "__main__":
    main()
