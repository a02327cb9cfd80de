"""What samplers need of a model, and what they yield."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..corruption.base import Corruption


class State(NamedTuple):
    """Where a sampler stands after a step."""

    x: Tensor
    """The iterate: (B,C,H,W), while pixels are revealed with the mask of the known ones (B,C+1,H,W)."""
    x_hat: Tensor
    """The last reconstruction r(x, level), (B,C,H,W) in (0,1): what the sample would be if sampling ended here."""
    level: float
    """The level that x is at now."""


class Denoiser(Protocol):
    """What samplers need of a model."""

    @property
    def corruption(self) -> Corruption: ...
    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def device(self) -> torch.device: ...

    def __call__(self, x: Tensor, level: float | Tensor) -> Tensor:
        """The posterior mean of the clean image, same shape as ``x``."""
        ...
