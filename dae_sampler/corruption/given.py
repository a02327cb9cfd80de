"""Corruptions without a level: there is nothing to ask for when an image is restored, and no way to walk down."""

from __future__ import annotations

import math

from torch import Tensor

from .. import spec
from ..noise import Noise
from .base import CORRUPTIONS, Corruption


class Levelless(Corruption):
    """Base of the corruptions that have no level; the arguments in their text are ``more``."""

    has_level = False

    def __init__(self, *more: float) -> None:
        self.more = more
        self.low = self.high = 0.0
        self.ranged = self.told = False

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(spec.show, self.more))})" if self.more else self.name

    def overshoot(self, level: float) -> float:
        """Nobody knows."""
        return math.inf


del CORRUPTIONS[Levelless.name]  # it is no corruption by itself


class Given(Levelless):
    """The damage is in the data: the network sees damaged images, and is to predict their clean partners."""

    name = "given"
    paired = True

    def __init__(self) -> None:
        super().__init__()

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        return x
