"""How good generated images are, in the feature space of a network: distances between sets of images.

    Fréchet distance       |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))            Heusel et al. 2017
    precision, recall      shares of fakes (reals) inside the k-NN balls of reals (fakes)    Kynkäänniemi et al. 2019
    density, coverage      real balls a fake lies in, over k; share of real balls with a fake      Naeem et al. 2020

A distance means nothing alone: compare it with that of as many real training images, which is never 0. A model that
copies its training images scores well too: compare how near its samples are to them with how near the test images are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import InputError

NEIGHBOURS = 5
"""k of the k-nearest-neighbour balls."""
DRAWS = 5
"""Random draws of training images that a baseline is the mean of."""


def nearest(features: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """Distance of each point (N, features) to the nearest ``among`` others (M, features), and its index: (N,) each."""
    index = torch.cat([torch.cdist(some, among).argmin(1) for some in features.split(1000)])
    return torch.linalg.vector_norm(features - among[index], dim=1), index  # cdist rounds what is close by its size


def psnr(images: Tensor, clean: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image (N,C,H,W) in [0,1], in dB: -10 lg of its mean squared error; (N,)."""
    return -10 * (images - clean).double().square().flatten(1).mean(1).log10()


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


def baseline(real: Reference, train: Tensor, n: int, seed: int = 0) -> Scores:
    """What a perfect model would score against ``real``: means over draws of real training images.

    Args:
        real: the images to compare with.
        train: features of the training images, (N, features).
        n: images in a draw, at most N.
        seed: of the draws.

    Raises:
        InputError: fewer images than the k-NN balls need.
    """
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.randperm(len(train), generator=generator)[:n] for _ in range(DRAWS)]
    scores = [real.compare(train[rows]) for rows in draws]
    return Scores(*(sum(values) / DRAWS for values in zip(*scores, strict=True)))


def _radii(features: Tensor) -> Tensor:
    """Distance of each point to its k-th nearest other point."""
    if len(features) <= NEIGHBOURS:
        raise InputError(f"metrics need more than {NEIGHBOURS} images of each kind, got {len(features)}")
    return torch.cat([torch.cdist(f, features).kthvalue(NEIGHBOURS + 1).values for f in features.split(1000)])


def frechet(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features, each (N, features), N above 1.

    tr (C1 C2)^(1/2) is the sum of the singular values of C1^(1/2) C2^(1/2). The eigenvalues of C1 C2, by which
    torchmetrics has it, fail to converge where few images leave them degenerate.
    """
    root1, root2 = _root_of_covariance(real), _root_of_covariance(fake)
    between = (real.double().mean(0) - fake.double().mean(0)).square().sum()
    cross = torch.linalg.svdvals(root1 @ root2).sum()
    return (between + root1.square().sum() + root2.square().sum() - 2 * cross).item()


def _root_of_covariance(features: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(torch.cov(features.double().T).reshape(2 * features.shape[1:]))
    return vectors * values.clamp(min=0).sqrt() @ vectors.T
