"""Corruptions that replace pixels and do not say which."""

from __future__ import annotations

import torch
from torch import Tensor

from ..noise import Noise
from .base import Corruption


class SaltAndPepper(Corruption):
    """Each pixel becomes, all channels together, 0 or 1 with probability level/2 each."""

    name = "salt-pepper"

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        u = noise.uniform((x.shape[0], 1, *x.shape[2:]))
        return torch.where(u < level, (u < level / 2).to(x.dtype), x)


class Masking(Corruption):
    """Each pixel becomes 0 with probability level, and the network is not told which (Vincent et al. 2008)."""

    name = "masking"

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        return x * (noise.uniform((x.shape[0], 1, *x.shape[2:])) >= level)


class DeadLines(Corruption):
    """Each row and each column becomes 0 with probability level, as those of a broken sensor do."""

    name = "dead-lines"

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        rows, columns = (noise.uniform((len(x), 1, *side)) for side in ((x.shape[2], 1), (1, x.shape[3])))
        return x * (rows >= level) * (columns >= level)
