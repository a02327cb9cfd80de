"""Distances and labels of MNIST-like images, in the features of the classifier that ships, or of another."""

from pathlib import Path

import torch
from classifier import JUDGES, KINDS
from safetensors.torch import load_file
from torch import Tensor

from dae_sampler.data import named as data
from dae_sampler.evaluation import metrics
from dae_sampler.evaluation.features import embed, load_classifier
from dae_sampler.noise import ImageNoise
from dae_sampler.pixels import binarise, to_float

SURE = 0.9


class Judge:
    """Compares images with MNIST's test half: as it is, or binarised dynamically with seed 0.

    The features are of one of ``KINDS``; those that do not ship are to be trained first, see classifier.py. With
    ``half="train"`` the last 10,000 training images take the place of the test half, to choose by.
    """

    def __init__(self, root: str, binary: bool = False, kind: str = "mnist", half: str = "test") -> None:
        self.classifier = load_classifier()
        if kind != "mnist":
            self.classifier = KINDS[kind]().eval().requires_grad_(False)
            self.classifier.load_state_dict(load_file(JUDGES / f"{kind}.safetensors"))
        self.train, self.test = (data.load("mnist", root=Path(root), train=half).images for half in (True, False))
        if half == "train":
            self.train, self.test = self.train[:-10_000], self.train[-10_000:]
        if binary:
            self.train, self.test = (
                binarise(to_float(x), "dynamic", ImageNoise(seed, 0, len(x)))
                for seed, x in enumerate((self.train, self.test))
            )
        self.real = metrics.Reference(embed(self.classifier.features, self.test))

    def scores(self, images: Tensor) -> metrics.Scores:
        """All metrics of generated images."""
        return self.real.compare(embed(self.classifier.features, images.clamp(0, 1)))

    def baseline(self, n: int) -> metrics.Scores:
        """The scores of as many real training images."""
        return metrics.baseline(self.real, embed(self.classifier.features, self.train), n)

    def sure(self, images: Tensor, at: float = 0.99) -> float:
        """The share of images of whose label the classifier is surer than ``at``."""
        return self.labels(images, at)[1].double().mean().item()

    def frechet(self, images: Tensor) -> float:
        """Fréchet distance alone."""
        return metrics.frechet(self.real.features, embed(self.classifier.features, images.clamp(0, 1)))

    @torch.inference_mode()
    def labels(self, images: Tensor, at: float = SURE) -> tuple[Tensor, Tensor]:
        """The label of each image, and whether the classifier is surer of it than ``at``."""
        batches = to_float(images).split(500)
        p = torch.cat([self.classifier(x).softmax(1) for x in batches])
        return p.argmax(1), p.amax(1) > at

    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """The share of images that the classifier gives the right label."""
        return (self.labels(images)[0] == labels).double().mean().item()
