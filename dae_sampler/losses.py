"""Losses from logits, and what part of BCE is the data's own.

Binary cross-entropy between a target x in [0,1] and r = sigmoid(logits), per pixel:

    BCE(x, r) = -x log r - (1-x) log(1-r) = h(x) + KL(Bern(x) || Bern(r)),   h(x) = BCE(x, x).

Its expectation given the corrupted image is minimal at r = E[x | x_tilde] for soft targets too, so BCE and MSE share
their optimum; MAE's is the median. From logits z BCE is log(1 + e^z) - x z, linear in x, so noisy targets may leave
[0,1] as long as their mean does not: the minimum is still there. For x in [0,1], h(x) is the *floor* that no network
can go below, BCE - h(x) the *excess*. Everything is computed from logits, because log(sigmoid(.)) overflows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def bce(logits: Tensor, x: Tensor) -> Tensor:
    """Binary cross-entropy in nats, elementwise; ``x`` as a rule in [0,1], same shape as ``logits``."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none")


def entropy(x: Tensor) -> Tensor:
    """Binary entropy h(x) in nats, elementwise: the floor of :func:`bce`."""
    return -torch.xlogy(x, x) - torch.special.xlog1py(1 - x, -x)


def mse(logits: Tensor, x: Tensor) -> Tensor:
    """Squared error of sigmoid(logits), elementwise."""
    return (torch.sigmoid(logits) - x).square()


def mae(logits: Tensor, x: Tensor) -> Tensor:
    """Absolute error of sigmoid(logits), elementwise. Its optimum is the posterior median, not the mean."""
    return (torch.sigmoid(logits) - x).abs()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"bce": bce, "mse": mse, "mae": mae}
MEAN_SEEKING = frozenset({"bce", "mse"})
"""Losses whose optimum is the posterior mean, which the score identity and the samplers rest on."""


def per_image(name: str, logits: Tensor, target: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """The weighted mean of a loss over the pixels of each image, (B,); ``name`` is one of ``LOSSES``."""
    return (LOSSES[name](logits, target) * weight).flatten(1).mean(1)
