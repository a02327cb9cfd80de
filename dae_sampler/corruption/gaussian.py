"""Gaussian noise: the corruption under which r(x_tilde) - x_tilde is a score, at every sigma."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .. import levels
from ..errors import InputError
from ..noise import Noise
from .base import Corruption, Level


class Gaussian(Corruption):
    """x_tilde = x + sigma eps, eps ~ N(0, I). Level: sigma in pixel units of [0,1].

    With ``clip=1`` as an 8-bit file holds it, clipped to [0,1] and rounded to 1/255: then there is no score.
    """

    name = "gaussian"
    bounds = (1e-4, 1e4)
    default_density = levels.LogUniform

    def __init__(self, level: Level, density: Any = None, *, told: bool | None = None, clip: int = 0) -> None:
        super().__init__(level, density, told=told)
        if clip not in (0, 1):
            raise InputError(f"{self.name} got clip={clip}: 1 clips and rounds to 8 bits, 0 does not")
        self.clip, self.is_gaussian = bool(clip), not clip

    def own_options(self) -> list[str]:
        return ["clip=1"] if self.clip else []

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        x_tilde = x + level * noise.normal(x.shape)
        return (x_tilde.clamp(0, 1) * 255).round() / 255 if self.clip else x_tilde

    def overshoot(self, level: float) -> float:
        return 0.0 if self.clip else 6 * level

    def scale(self, x_tilde: Tensor, level: Tensor) -> Tensor:
        """(x_tilde - 1/2) / sqrt(sigma^2 + 1/4): unit variance for the widest data that [0,1] can hold."""
        return (x_tilde - 0.5) / (level.square() + 0.25).sqrt()

    def condition(self, level: Tensor) -> Tensor:
        return level.log() / 4

    def schedule(self, steps: int, start: float | None = None) -> Tensor:
        if not self.ranged:
            return super().schedule(steps, start)
        return levels.karras(self.high if start is None else start, self.low, steps)
