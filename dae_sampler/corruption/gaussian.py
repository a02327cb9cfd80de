"""Gaussian noise: the corruption under which r(x_tilde) - x_tilde is a score, at every sigma."""

from __future__ import annotations

from torch import Tensor

from .. import levels
from ..noise import Noise
from .base import Corruption


class Gaussian(Corruption):
    """x_tilde = x + sigma eps, eps ~ N(0, I), never clipped. Level: sigma in pixel units of [0,1]."""

    name = "gaussian"
    bounds = (1e-4, 1e4)
    default_density = levels.LogUniform
    is_gaussian = True

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        return x + level * noise.normal(x.shape)

    def overshoot(self, level: float) -> float:
        return 6 * level

    def scale(self, x_tilde: Tensor, level: Tensor) -> Tensor:
        """(x_tilde - 1/2) / sqrt(sigma^2 + 1/4): unit variance for the widest data that [0,1] can hold."""
        return (x_tilde - 0.5) / (level.square() + 0.25).sqrt()

    def condition(self, level: Tensor) -> Tensor:
        return level.log() / 4

    def schedule(self, steps: int, start: float | None = None) -> Tensor:
        if not self.ranged:
            return super().schedule(steps, start)
        return levels.karras(self.high if start is None else start, self.low, steps)
