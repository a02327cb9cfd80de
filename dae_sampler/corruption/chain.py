"""Chains of corruptions, and the text form of all of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import spec
from ..errors import InputError
from ..noise import Noise
from . import blindspot, blur, erasure, gaussian, given, impulse, jpeg, photons, renoise  # noqa: F401 - they enter themselves
from .base import CORRUPTIONS, Corruption


class Chain(Corruption):
    """Corruptions applied one after the other. ``level`` is that of the ranged part, or of the last."""

    def __init__(self, parts: list[Corruption]) -> None:
        ranged = [p for p in parts if p.ranged]
        if len(ranged) > 1:
            raise InputError(f"a chain has at most one range: give {' or '.join(map(str, ranged))} one level")
        if hidden := [p for p in parts if p.extra]:
            raise InputError(f"{hidden[0]} stands alone: its mask would not survive a chain")
        if levelless := [p for p in parts if not p.has_level]:
            raise InputError(f"{levelless[0]} stands alone: write it without +")
        self.parts = parts
        self.lead = lead = ranged[0] if ranged else parts[-1]
        self.bounds, self.grid = lead.bounds, math.lcm(*(p.grid for p in parts))
        self.low, self.high, self.ranged, self.told = lead.low, lead.high, lead.ranged, lead.told

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        for part in self.parts:
            x = part.draw(x, level if part is self.lead else torch.tensor(part.high), noise).x_tilde
        return x

    def overshoot(self, level: float) -> float:
        return sum(part.overshoot(level if part is self.lead else part.high) for part in self.parts)

    def level(self, u: Tensor) -> Tensor:
        return self.lead.level(u)

    def scale(self, x_tilde: Tensor, level: Tensor) -> Tensor:
        return self.lead.scale(x_tilde, level)

    def condition(self, level: Tensor) -> Tensor:
        return self.lead.condition(level)

    def schedule(self, steps: int, start: float | None = None) -> Tensor:
        return self.lead.schedule(steps, start)


del CORRUPTIONS[Chain.name]  # a text writes it with "+"


def parse(text: str) -> Corruption:
    """The corruption that ``text`` describes; ``str`` gives the text back.

    Raises:
        InputError: the text does not parse, or names something unknown.

    >>> parse("masking(0.25) + gaussian(.3)")
    masking(0.25)+gaussian(0.3)
    """
    parts = spec.parse(text)
    for part in parts:
        if ":" in part.name and part.name not in CORRUPTIONS:
            raise InputError(
                f"{part.name} is not a built-in corruption: if you trust it, import its module first, "
                "or name it by `corruption`"
            )
    built = [part.build("corruption", CORRUPTIONS) for part in parts]
    return built[0] if len(built) == 1 else Chain(built)


def import_own(text: str) -> None:
    """Import the corruptions that ``text`` names as ``module:Class``; see :func:`.spec.import_own`."""
    spec.import_own(text, "corruption", Corruption, CORRUPTIONS)
