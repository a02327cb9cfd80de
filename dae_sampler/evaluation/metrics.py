"""How good generated images are, in the feature space of a network: distances between sets of images.

    Fréchet distance       |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))            Heusel et al. 2017
    precision, recall      shares of fakes (reals) inside the k-NN balls of reals (fakes)    Kynkäänniemi et al. 2019
    density, coverage      real balls a fake lies in, over k; share of real balls with a fake      Naeem et al. 2020

A distance means nothing alone: compare it with that of as many real training images, which is never 0. A model that
copies its training images scores well too: compare how near its samples are to them with how near the test images are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import checkpoint
from .. import distributed as processes
from ..dae import DenoisingAutoencoder
from ..data.pictures import binarise, to_float
from ..errors import InputError, import_name, unknown
from ..noise import StepNoise
from ..sampling.samplers import State
from ..sampling.tasks import check_shape, sample
from ..training.loop import validate

NEIGHBOURS = 5
"""k of the k-nearest-neighbour balls."""
SHOWN = 64
EXCESS_IMAGES = 2000
FLOOR_DRAWS = 5
"""Random draws of training images that the floor is the mean of."""


class Classifier(nn.Module):
    """A small convolutional classifier of ten kinds of small images, whose last hidden layer is a feature space.

    Calling it gives logits (B,10); :meth:`features` gives (B,128).
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
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
        """Features before the last nonlinearity, (B,128), of images (B,C,H,W) in [0,1]."""
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


Features = Callable[[Tensor], Tensor]
"""Images (B,C,H,W), float32 in [0,1] -> features (B, any number)."""


def feature_space(name: str, shape: tuple[int, int, int]) -> Features:
    """The function that maps images of ``shape`` (C,H,W) to features.

    Args:
        name: ``"mnist"``, the classifier that ships; ``"inception"``, Inception v3's 2048 features by torchmetrics,
            whose weights torch-fidelity downloads; or ``"module:function"`` of your own, which is imported.
        shape: of the images.

    Raises:
        InputError: there is no such space, it is not for such images, or its weights cannot be had.
    """
    if name == "mnist":
        if tuple(shape) != (1, 28, 28):
            raise InputError(
                "the feature space 'mnist' is for 28x28 grey images: choose --features inception, or yours"
            )
        return load_classifier().features
    if name == "inception":
        return _inception()
    if ":" not in name:
        raise unknown("feature space", name, ["mnist", "inception"])
    features = import_name(name, "--features")
    try:
        found = features(torch.zeros(2, *shape))
        fits = isinstance(found, Tensor) and found.ndim == 2 and len(found) == 2
    except Exception as error:  # it is the user's code
        raise InputError(f"{name} fails on images {tuple(shape)} ({error}): check --features") from None
    if not fits:
        raise InputError(f"{name} does not map images (B,C,H,W) to features (B, any number): check --features")
    return features


def _inception() -> Features:
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        net = NoTrainInceptionV3("inception-v3-compat", ["2048"])
    except (ImportError, ModuleNotFoundError):
        raise InputError("Inception needs torch-fidelity: pip install 'dae-sampler[evaluate]' torch-fidelity") from None
    except Exception as error:  # a download can fail in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"Inception's weights cannot be had ({reason}): choose --features module:function") from None
    return lambda images: net((255 * images.expand(-1, 3, -1, -1)).round().to(torch.uint8))


@torch.inference_mode()
def embed(features: Features, images: Tensor, batch: int = 500) -> Tensor:
    """Features of all images (N,C,H,W), uint8 or float in [0,1]: (N, features), float32."""
    return torch.cat([features(to_float(some)).float() for some in images.split(batch)])


def nearest(features: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """Distance of each point (N, features) to the nearest ``among`` others (M, features), and its index: (N,) each."""
    index = torch.cat([torch.cdist(some, among).argmin(1) for some in features.split(1000)])
    return torch.linalg.vector_norm(features - among[index], dim=1), index  # cdist rounds what is close by its size


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


def floor(real: Reference, train: Tensor, n: int, seed: int = 0) -> Scores:
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
    draws = [torch.randperm(len(train), generator=generator)[:n] for _ in range(FLOOR_DRAWS)]
    scores = [real.compare(train[rows]) for rows in draws]
    return Scores(*(sum(values) / FLOOR_DRAWS for values in zip(*scores, strict=True)))


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
    excess: list[tuple[float, float]]
    """(level, loss above its floor) on test images, by bins of levels."""
    to_training: Tensor
    """Distance of each sample to the nearest training image, (n,)."""
    test_to_training: Tensor
    """The same of as many test images, at most all."""
    shown: Tensor
    """The first samples, each followed by its nearest training image, (2 x 64,C,H,W)."""

    @property
    def ratio(self) -> float:
        """Fréchet distance of the samples over that of real images; 1 is perfect."""
        return self.samples.frechet / self.floor.frechet if self.floor.frechet else math.inf

    @property
    def copies(self) -> float:
        """Share of the samples that are nearer to a training image than all but 1 % of the test images are; 1 % is
        what a model that copies nothing scores."""
        return (self.to_training < self.test_to_training.quantile(0.01)).double().mean().item()


def evaluate(
    dae: DenoisingAutoencoder,
    train: Tensor,
    test: Tensor,
    features: Features,
    *,
    n: int = 10_000,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    on_step: Callable[[State], None] | None = None,
) -> Evaluation:
    """Sample ``n`` images and hold them, and as many training images, against the test images.

    Args:
        dae: the model.
        train, test: real images of the model's shape, (N,C,H,W), uint8; binarised as the model's were.
        features: the space to compare in, of :func:`feature_space`.
        n: how many to sample; at most the number of training images.
        sampler, steps, seed, on_step: as for :func:`.sampling.sample`.

    Raises:
        InputError: the images are not of the model's shape, or too few.
    """
    for x in (train, test):
        check_shape(dae, x)
    if n > len(train):
        raise InputError(f"n is {n}, but there are {len(train)} training images to compare with: lower -n")
    if how := dae.info.get("binarise"):
        half = ((0, train), (1, test))
        train, test = (binarise(to_float(x), how, StepNoise(seed, i)) for i, x in half)
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
    of_train, of_test, of_fake = (embed(features, x) for x in (train, test, fake))
    real = Reference(of_test)
    to_training, index = nearest(of_fake, of_train)
    shown = torch.stack([fake[:SHOWN], to_float(train[index[:SHOWN]])], 1).flatten(0, 1)
    excess = validate(dae, test[:EXCESS_IMAGES]).by_level
    test_to_training = nearest(of_test[:n], of_train)[0]
    return Evaluation(
        n,
        real.compare(of_fake),
        floor(real, of_train, n, seed),
        evaluations,
        seconds,
        excess,
        to_training,
        test_to_training,
        shown,
    )
