"""Noise whose strength follows the brightness: photons that are counted, and speckle."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import levels, spec
from ..errors import InputError
from ..noise import Noise
from .base import Corruption, Level


class Poisson(Corruption):
    """x_tilde = g k, k ~ Poisson(x/g) photons: mean x, variance g x. Level: the gain g, the brightness of one photon.

    A white pixel has 1/g photons. It has no score, but an identity of its own, Robbins' (1956): with p the probability
    of an image of counts and e_i one photon more in pixel i, E[x_i | k] = g (k_i + 1) p(k + e_i) / p(k).
    """

    name = "poisson"
    bounds = (1e-6, 1.0)
    default_density = levels.LogUniform

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        return level * counted((x / level).clamp(min=0), noise)

    def overshoot(self, level: float) -> float:
        return 6 * level**0.5 + 20 * level

    def scale(self, x_tilde: Tensor, level: Tensor) -> Tensor:
        """(x_tilde - 1/2) / sqrt(g + 1/4): a white pixel has the variance g."""
        return (x_tilde - 0.5) / (level + 0.25).sqrt()

    def condition(self, level: Tensor) -> Tensor:
        return level.log() / 8


class PoissonGaussian(Poisson):
    """Photons and the noise of reading them out: x_tilde = g k + s eps, variance g x + s^2. Level: the gain g.

    Args:
        level, density, told: of the gain, see :class:`~.base.Corruption`.
        read: s, in units of black to white.
    """

    name = "poisson-gaussian"

    def __init__(self, level: Level, read: float = 0.01, density: Any = None, *, told: bool | None = None) -> None:
        if not (isinstance(read, int | float) and 0 <= read <= 100):
            raise InputError(f"poisson-gaussian takes a gain and the noise of reading, got {spec.show(read)}")
        super().__init__(level, density, told=told)
        self.more = (read,)

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        return super().__call__(x, level, noise) + self.more[0] * noise.normal(x.shape)

    def overshoot(self, level: float) -> float:
        return super().overshoot(level) + 6 * self.more[0]


class Speckle(Corruption):
    """x_tilde = x (1 + sigma eps), eps ~ N(0, I): multiplicative noise. Level: sigma."""

    name = "speckle"
    bounds = (1e-4, 100.0)
    default_density = levels.LogUniform

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        return x * (1 + level * noise.normal(x.shape))

    def overshoot(self, level: float) -> float:
        return 6 * level

    def scale(self, x_tilde: Tensor, level: Tensor) -> Tensor:
        return (x_tilde - 0.5) / (level.square() + 0.25).sqrt()

    def condition(self, level: Tensor) -> Tensor:
        return level.log() / 4


def counted(rate: Tensor, noise: Noise) -> Tensor:
    """Independent Poisson counts of the mean ``rate`` (B,C,H,W), exact at any rate.

    How many random numbers a count takes depends on its rate, so each image has a generator of its own, seeded from
    ``noise``: image i stays the same whatever the batch.
    """
    halves = (noise.uniform((len(rate), 2)).cpu().double() * 2**24).long()
    drawn = [
        np.random.default_rng(seed).poisson(one)
        for seed, one in zip(halves.tolist(), rate.detach().cpu().double().numpy(), strict=True)
    ]
    return torch.from_numpy(np.stack(drawn)).to(rate)
