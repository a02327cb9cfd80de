"""How good generated images are, in the feature space of a network: distances between sets of images.

    Fréchet distance       |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))            Heusel et al. 2017; by torchmetrics
    precision, recall      shares of fakes (reals) inside the k-NN balls of reals (fakes)    Kynkäänniemi et al. 2019
    density, coverage      real balls a fake lies in, over k; share of real balls with a fake      Naeem et al. 2020

A distance means nothing alone: compare it with that of as many real training images, which is never 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import checkpoint, processes
from .dae import DenoisingAutoencoder
from .errors import InputError
from .images import to_float
from .samplers import State
from .sampling import sample

NEIGHBOURS = 5
"""k of the k-nearest-neighbour balls."""
FLOOR_DRAWS = 5
"""Random draws of training images that the floor is the mean of."""


class Classifier(nn.Module):
    """A small convolutional classifier of 28x28 grey images, whose last hidden layer is a feature space.

    Calling it gives logits (B,10); :meth:`features` gives (B,128).
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(9 * 128, 128),
        )
        self.head = nn.Linear(128, 10)

    def features(self, images: Tensor) -> Tensor:
        """Features before the last nonlinearity, (B,128), of images (B,1,28,28) in [0,1]."""
        return self.body(2 * images - 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(F.relu(self.features(images)))


def load_classifier() -> Classifier:
    """The MNIST classifier that ships, in evaluation mode.

    Raises:
        InputError: it is not there.
    """
    from safetensors.torch import load_file

    path = checkpoint.folder() / "features" / "mnist.safetensors"
    if not path.is_file():
        raise InputError("the MNIST classifier does not lie beside the shipped models: install the package again")
    classifier = Classifier()
    classifier.load_state_dict(load_file(path))
    return classifier.eval().requires_grad_(False)


@torch.inference_mode()
def embed(classifier: Classifier, images: Tensor, batch: int = 500) -> Tensor:
    """Features of all images (N,C,H,W), uint8 or float in [0,1]: (N, features), float32."""
    return torch.cat([classifier.features(to_float(images[i : i + batch])) for i in range(0, len(images), batch)])


class Scores(NamedTuple):
    """How one set of images compares with real ones."""

    frechet: float
    precision: float
    recall: float
    density: float
    coverage: float


class Reference:
    """Real images that generated ones are compared with.

    Args:
        features: of the real images, (N, features).

    Raises:
        InputError: fewer images than the k-NN balls need.
    """

    def __init__(self, features: Tensor) -> None:
        self.features, self.radii = features, _radii(features)

    def compare(self, fake: Tensor) -> Scores:
        """All metrics of generated images, given by their features (M, features)."""
        fake_radii = _radii(fake)
        inside_real = torch.zeros(len(fake), dtype=torch.int64)
        inside_fake, nearest = torch.zeros(len(self.radii), dtype=torch.bool), torch.zeros(len(self.radii))
        for rows in torch.arange(len(self.radii)).split(1000):
            distances = torch.cdist(self.features[rows], fake)
            inside_real += (distances < self.radii[rows, None]).sum(0)
            inside_fake[rows] = (distances < fake_radii).any(1)
            nearest[rows] = distances.amin(1)
        return Scores(
            frechet(self.features, fake),
            (inside_real > 0).double().mean().item(),
            inside_fake.double().mean().item(),
            inside_real.double().mean().item() / NEIGHBOURS,
            (nearest < self.radii).double().mean().item(),
        )


def _radii(features: Tensor) -> Tensor:
    """Distance of each point to its k-th nearest other point."""
    if len(features) <= NEIGHBOURS:
        raise InputError(f"metrics need more than {NEIGHBOURS} images of each kind, got {len(features)}")
    return torch.cat([torch.cdist(f, features).kthvalue(NEIGHBOURS + 1).values for f in features.split(1000)])


def frechet(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features, each (N, features).

    Raises:
        InputError: torchmetrics is not installed.
    """
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
    except ImportError:
        raise InputError("evaluation needs the extra: pip install 'dae-sampler[evaluate]'") from None
    identity = nn.Identity()
    identity.num_features = real.shape[1]
    metric = FrechetInceptionDistance(identity)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric.compute().item()


@dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate` found, over ``n`` images of each kind."""

    n: int
    samples: Scores
    floor: Scores
    """Means over draws of as many real training images: what a perfect model would score."""
    evaluations: float
    """Network evaluations per image (NFE)."""
    seconds: float
    """Time it took to sample."""

    @property
    def ratio(self) -> float:
        """Fréchet distance of the samples over that of real images; 1 is perfect."""
        return self.samples.frechet / self.floor.frechet


def evaluate(
    dae: DenoisingAutoencoder,
    train: Tensor,
    test: Tensor,
    *,
    n: int = 10_000,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    on_step: Callable[[State], None] | None = None,
) -> Evaluation:
    """Sample ``n`` images and hold them, and as many training images, against the test images.

    Args:
        dae: a model of 28x28 grey images.
        train, test: real images (N,1,28,28), uint8.
        n: how many to sample; at most the number of training images.
        sampler, steps, seed, on_step: as for :func:`.sampling.sample`.

    Raises:
        InputError: the images are not of the classifier's shape, or too few.
    """
    if tuple(dae.shape) != (1, 28, 28) or tuple(train.shape[1:]) != (1, 28, 28):
        raise InputError("the feature space that ships is for 28x28 grey images: evaluate a model of such images")
    if n > len(train):
        raise InputError(f"n is {n}, but there are {len(train)} training images to compare with: lower -n")
    calls = 0

    def count(module: nn.Module, arguments: tuple, output: Tensor) -> None:
        nonlocal calls
        calls += len(output)

    hook = dae.register_forward_hook(count)
    began = time.monotonic()
    fake = sample(dae, n, sampler=sampler, steps=steps, seed=seed, on_step=on_step)
    seconds = time.monotonic() - began
    hook.remove()
    evaluations = processes.total(torch.tensor(float(calls))).item() / n
    classifier = load_classifier()
    real = Reference(embed(classifier, test))
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.randperm(len(train), generator=generator)[:n] for _ in range(FLOOR_DRAWS)]
    floors = [real.compare(embed(classifier, train[rows])) for rows in draws]
    floor = Scores(*(sum(values) / FLOOR_DRAWS for values in zip(*floors, strict=True)))
    return Evaluation(n, real.compare(embed(classifier, fake)), floor, evaluations, seconds)
