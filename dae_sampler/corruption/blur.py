"""Blur; with noise after it, as the chain ``blur(1.5)+gaussian(0.01..0.2)``, it is what lenses and sensors do."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..noise import Noise
from .base import Corruption


class Blur(Corruption):
    """x convolved with a Gaussian, edges repeated. Level: its standard deviation in pixels."""

    name = "blur"
    bounds = (0.0, 32.0)
    shown = (0.1, 5.0, 1.0)

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        width = level.to(x).expand(len(x), 1, 1, 1)
        reach = math.ceil(4 * width.max().item())
        at = torch.arange(-reach, reach + 1, device=x.device)
        kernel = torch.exp(-at.square() / (2 * width.square().clamp(min=1e-6)))
        kernel = (kernel / kernel.sum(3, keepdim=True)).repeat_interleave(x.shape[1], 0)  # (BC,1,1,2 reach + 1)
        planes = x.reshape(1, -1, *x.shape[2:])  # each plane has a kernel of its own
        for along, margin in ((kernel, (reach, reach, 0, 0)), (kernel.transpose(2, 3), (0, 0, reach, reach))):
            planes = F.conv2d(F.pad(planes, margin, mode="replicate"), along, groups=len(kernel))
        return planes.view_as(x)

    def condition(self, level: Tensor) -> Tensor:
        return (level + 0.1).log() / 2
