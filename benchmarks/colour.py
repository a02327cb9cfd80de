"""A feature space for small photographs, to judge a model of them by: the features of a classifier of ten kinds.

    python benchmarks/colour.py cifar10/train cifar10/test     # folders with one folder of pictures for each kind
    PYTHONPATH=benchmarks dae-sampler evaluate MODEL --data cifar10/train --test cifar10/test --features colour:features

It stands in for Inception v3 where its weights cannot be had. Its distances cannot be compared with Inception's.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path

import numpy as np
import torch
from classifier import finish, train
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from dae_sampler.data.pictures import bring_to
from dae_sampler.evaluation.features import Classifier

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


def read(picture: Image.Image) -> Tensor:
    """An RGB picture as uint8 of SHAPE."""
    return torch.from_numpy(bring_to(np.asarray(picture), SHAPE))


def main() -> None:
    """Train on the first folder, test on the second."""
    from torchvision.datasets import ImageFolder  # here, because it imports torch's compiler, which takes seconds

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", help="folder of training pictures, with one folder for each kind")
    parser.add_argument("test", help="the same of test pictures")
    arguments = parser.parse_args()
    halves = [ImageFolder(folder, read) for folder in (arguments.train, arguments.test)]
    (x, y), (test_x, test_y) = (
        (torch.stack([image for image, _ in half]), torch.tensor(half.targets)) for half in halves
    )
    finish(train(x, y, EPOCHS, seed=0, mirror=True), test_x, test_y, WEIGHTS)


if __name__ == "__main__":
    main()
