"""Samples of a model held against real images: one evaluation, and all that a report of it shows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import distributed
from ..dae import DenoisingAutoencoder
from ..errors import InputError
from ..noise import StepNoise
from ..pixels import as_images, binarise, to_float
from ..sampling import tasks
from ..sampling.plan import Plan, resolve
from ..sampling.samplers import State
from ..training.validation import validate
from .features import Features, embed, feature_space
from .metrics import NEIGHBOURS, Reference, Scores, baseline, nearest

SHOWN = 64
"""Samples in a report."""
EXCESS_IMAGES = 2000
"""Test images that the loss by level is taken on."""


@dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate` found, over ``n`` images of each kind."""

    n: int
    samples: Scores
    real: Scores
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
        return self.samples.frechet / self.real.frechet if self.real.frechet else math.inf

    @property
    def copies(self) -> float:
        """Share of the samples that are nearer to a training image than all but 1 % of the test images are; 1 % is
        what a model that copies nothing scores."""
        return (self.to_training < self.test_to_training.quantile(0.01)).double().mean().item()


def evaluate(
    dae: DenoisingAutoencoder,
    train: Tensor,
    test: Tensor,
    features: Features | str = "mnist",
    *,
    labels: Tensor | None = None,
    n: int = 10_000,
    plan: Plan | None = None,
    seed: int = 0,
    batch: int | None = None,
    on_step: Callable[[State], None] | None = None,
) -> Evaluation:
    """Sample ``n`` images and hold them, and as many training images, against the test images.

    Args:
        dae: the model.
        train, test: real images of the model's shape, (N,C,H,W), uint8 or float in [0,1]; binarised as the
            model's were.
        features: the space to compare in, or its name, as :func:`.features.feature_space` takes it.
        labels: classes of the test images, (N,) int64, which the loss by level is told; samples are of drawn classes.
        n: how many to sample; at most the number of training images.
        plan: how to sample; by default the model's.
        seed, batch, on_step: as for :func:`~dae_sampler.sampling.tasks.sample`.

    Raises:
        InputError: the images are not of the model's shape, or too few.
    """
    train, test = (as_images(x, what=what, shape=dae.shape) for x, what in ((train, "train"), (test, "test")))
    space = feature_space(features, dae.shape) if isinstance(features, str) else features
    if n > len(train):
        raise InputError(f"n is {n}, but there are {len(train)} training images to compare with: lower `n`")
    if min(n, len(test)) <= NEIGHBOURS:
        raise InputError(f"{n} samples and {len(test)} test images are too few: compare more than {NEIGHBOURS} of each")
    if how := dae.card.binarise:
        half = ((0, train), (1, test))
        train, test = (binarise(to_float(x), how, StepNoise(seed, i)) for i, x in half)
    of_train, of_test = (embed(space, x) for x in (train, test))
    calls = 0

    def count(module: nn.Module, arguments: tuple, output: Tensor) -> None:
        nonlocal calls
        calls += len(output)

    hook = dae.register_forward_hook(count)
    began = time.monotonic()
    plan = plan or resolve("sample", dae)
    fake = torch.cat(list(tasks.sample(dae, n, plan, seed=seed, batch=batch, on_step=on_step)))
    seconds = time.monotonic() - began
    hook.remove()
    evaluations = distributed.all_reduce(torch.tensor(float(calls))).item() / n
    of_fake, real = embed(space, fake), Reference(of_test)
    to_training, index = nearest(of_fake, of_train)
    shown = torch.stack([fake[:SHOWN], to_float(train[index[:SHOWN]])], 1).flatten(0, 1)
    told = None if labels is None else labels[:EXCESS_IMAGES]
    excess = validate(dae, test[:EXCESS_IMAGES], labels=told).by_level
    test_to_training = nearest(of_test[:n], of_train)[0]
    return Evaluation(
        n,
        real.compare(of_fake),
        baseline(real, of_train, n, seed),
        evaluations,
        seconds,
        excess,
        to_training,
        test_to_training,
        shown,
    )
