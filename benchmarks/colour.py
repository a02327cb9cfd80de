"""A feature space for small photographs, to judge a model of them by: the features of a classifier of ten kinds.

    python benchmarks/colour.py cifar10/train cifar10/test     # folders with one of pictures for each kind
    PYTHONPATH=benchmarks dae-sampler evaluate MODEL --data cifar10/train --test cifar10/test --features colour:features

It stands in for Inception v3 where its weights cannot be had, and its distances cannot be compared with Inception's.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import torch
from classifier import finish, train
from safetensors.torch import load_file
from torch import Tensor
from torchvision.datasets import ImageFolder

from dae_sampler.data.pictures import to_tensor
from dae_sampler.evaluation.metrics import Classifier

WEIGHTS = Path("runs/colour-features.safetensors")
SHAPE = (3, 32, 32)
EPOCHS = 15


def features(images: Tensor) -> Tensor:
    """Features (B,128) of colour images (B,3,H,W) in [0,1]."""
    return _classifier().features(images)


@cache
def _classifier() -> Classifier:
    classifier = Classifier(SHAPE[0])
    classifier.load_state_dict(load_file(WEIGHTS))
    return classifier.eval().requires_grad_(False)


def main() -> None:
    """Train on the first folder, test on the second."""
    halves = [ImageFolder(folder, lambda picture: to_tensor(picture, SHAPE)) for folder in sys.argv[1:]]
    (x, y), (test_x, test_y) = (
        (torch.stack([image for image, _ in half]), torch.tensor(half.targets)) for half in halves
    )
    finish(train(x, y, EPOCHS, seed=0, mirror=True), test_x, test_y, WEIGHTS)


if __name__ == "__main__":
    main()
