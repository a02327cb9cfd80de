"""Denoisers that know more than the model: each has the call of what it wraps, so that every sampler works with it."""

from __future__ import annotations

import torch
from torch import Tensor

from .samplers import Denoiser


class KnownPixels:
    """A denoiser that knows the pixels where ``keep`` is true: E[x | x_tilde, known] there is ``known``.

    Args:
        dae: the denoiser.
        known: clean images, (B,C,H,W).
        keep: bool (B,1,H,W).
    """

    def __init__(self, dae: Denoiser, known: Tensor, keep: Tensor) -> None:
        self.dae, self.known, self.keep = dae, known, keep
        self.corruption, self.shape, self.device = dae.corruption, dae.shape, dae.device

    def __call__(self, x: Tensor, level: float | Tensor) -> Tensor:
        return torch.where(self.keep, self.known, self.dae(x, level))
