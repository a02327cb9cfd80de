"""Levels of a corruption: the densities they are drawn from in training, the schedules that sampling passes through.

A density has ``quantile(u, low, high)``: u in (0,1) -> a level in the range, same shape. A schedule is a tensor of
steps + 1 levels, float32.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from . import spec
from .errors import InputError


class LevelDensity(Protocol):
    """A density of levels over a range."""

    def quantile(self, u: Tensor, low: float, high: float) -> Tensor:
        """The level below which a share ``u`` of all levels lies."""
        ...


class LogNormal:
    """ln sigma ~ N(mean, std), truncated to the range it is used with (Karras et al. 2022, section 5)."""

    def __init__(self, mean: float, std: float) -> None:
        if not all(isinstance(v, int | float) and math.isfinite(v) for v in (mean, std)) or std <= 0:
            given = f"{spec.show(mean)}, {spec.show(std)}"
            raise InputError(f"lognormal takes a mean and a standard deviation above 0 of ln sigma, got {given}")
        self.mean, self.std = float(mean), float(std)

    def __str__(self) -> str:
        return f"lognormal({spec.show(self.mean)}, {spec.show(self.std)})"

    def quantile(self, u: Tensor, low: float, high: float) -> Tensor:
        ends = torch.tensor([low, high], dtype=torch.float64).log()
        a, b = torch.special.ndtr((ends - self.mean) / self.std).tolist()
        if u.device.type == "mps":  # has no float64
            return self.quantile(u.cpu(), low, high).to(u.device)
        z = torch.special.ndtri(a + u.double() * (b - a))  # float32 has too few digits in the tails
        return (self.mean + self.std * z).exp().clamp(low, high).float()


class LogUniform:
    """ln sigma uniform over the range."""

    def __str__(self) -> str:
        return "loguniform"

    def quantile(self, u: Tensor, low: float, high: float) -> Tensor:
        return low * (high / low) ** u


class Uniform:
    """The level uniform over the range."""

    def __str__(self) -> str:
        return "uniform"

    def quantile(self, u: Tensor, low: float, high: float) -> Tensor:
        return low + (high - low) * u


DENSITIES: dict[str, type] = {"lognormal": LogNormal, "loguniform": LogUniform, "uniform": Uniform}


def constant(level: float, steps: int) -> Tensor:
    """One level throughout."""
    return torch.full((steps + 1,), level)


def linear(start: float, end: float, steps: int) -> Tensor:
    """From ``start`` to ``end`` in equal steps; if ``end`` is above 0, a last step goes from there to 0."""
    if end == 0:
        return torch.linspace(start, 0, steps + 1)
    return torch.cat([torch.linspace(start, end, steps), torch.zeros(1)])


def karras(start: float, end: float, steps: int, rho: float = 7.0) -> Tensor:
    """From ``start`` to ``end`` evenly in sigma^(1/rho), then 0 (Karras et al. 2022, eq. 5)."""
    return torch.cat([torch.linspace(start ** (1 / rho), end ** (1 / rho), steps) ** rho, torch.zeros(1)])
