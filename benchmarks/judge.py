"""Distances and labels of MNIST-like images, in the features of the classifier that ships."""

from pathlib import Path

import torch
from torch import Tensor

from dae_sampler.data import named as data
from dae_sampler.evaluation import metrics
from dae_sampler.evaluation.features import embed, load_classifier
from dae_sampler.noise import ImageNoise
from dae_sampler.pixels import binarise, to_float

SURE = 0.9


class Judge:
    """Compares images with MNIST's test half: as it is, or binarised dynamically with seed 0."""

    def __init__(self, root: str, binary: bool = False) -> None:
        self.classifier = load_classifier()
        self.train, self.test = (data.load("mnist", root=Path(root), train=half).images for half in (True, False))
        if binary:
            self.train, self.test = (
                binarise(to_float(x), "dynamic", ImageNoise(seed, 0, len(x)))
                for seed, x in enumerate((self.train, self.test))
            )
        self.real = metrics.Reference(embed(self.classifier.features, self.test))

    def scores(self, images: Tensor) -> metrics.Scores:
        """All metrics of generated images."""
        return self.real.compare(embed(self.classifier.features, images.clamp(0, 1)))

    def frechet(self, images: Tensor) -> float:
        """Fréchet distance alone."""
        return metrics.frechet(self.real.features, embed(self.classifier.features, images.clamp(0, 1)))

    @torch.inference_mode()
    def labels(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The label of each image, and whether the classifier is sure of it."""
        batches = to_float(images).split(500)
        p = torch.cat([self.classifier(x).softmax(1) for x in batches])
        return p.argmax(1), p.amax(1) > SURE

    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """The share of images that the classifier gives the right label."""
        return (self.labels(images)[0] == labels).double().mean().item()
