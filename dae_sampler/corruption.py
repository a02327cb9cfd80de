"""How images are damaged: the corruption q(x_tilde | x, level) that a DAE learns to undo.

A corruption owns all that only it knows: how to damage, which levels to train at, what the network is told, where
sampling from noise starts. A level is sigma for Gaussian noise and the damaged fraction (rate) for the others; it is
one number, or a range ``(low, high)`` that a level-conditional network is trained over.

    gaussian(0.5)                               x + 0.5 eps, never clipped: the paper's blind DAE
    gaussian(0.02..20)                          a range, ln sigma uniform
    gaussian(0.02..20, lognormal(-0.5, 1.2))    a range with its training density
    salt-pepper(0.3)                            30 % of the pixels become 0 or 1
    masking(0.25)                               a quarter of the pixels become 0, silently (Vincent et al. 2008)
    masking(0.25)+gaussian(0.3)                 a chain, at most one part a range
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from . import spec
from .errors import InputError
from .noise import Noise

Level = float | tuple[float, float]


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
        z = torch.special.ndtri(a + u.cpu().double() * (b - a))  # float32 has too few digits in the tails
        return (self.mean + self.std * z).exp().clamp(low, high).float().to(u.device)


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


class Corruption:
    """Base of all corruptions, and of yours: give a ``name`` and ``__call__``.

    Args:
        level: one level, or the pair (low, high) to train over.
        density: distribution of the level over a range; a class of ``DENSITIES`` or its :class:`~.spec.Part`.

    Raises:
        InputError: a level outside ``bounds``, or a range whose ends are not in order.
    """

    name: ClassVar[str]
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    default_density: ClassVar[type] = Uniform
    is_gaussian: ClassVar[bool] = False

    def __init__(self, level: Level, density: Any = None) -> None:
        low, high = level if isinstance(level, tuple) else (level, level)
        least, most = self.bounds
        if not all(isinstance(v, int | float) and math.isfinite(v) and least <= v <= most for v in (low, high)):
            raise InputError(f"{self.name} takes levels from {least:g} to {most:g}, got {spec.show(level)}")
        if isinstance(level, tuple) and not low < high:
            raise InputError(f"{self.name} got the range {spec.show(level)}: write the lower level first")
        self.low, self.high, self.ranged = float(low), float(high), low < high
        if density is not None and not self.ranged:
            raise InputError(f"{self.name}({spec.show(level)}) has one level, but a density needs a range low..high")
        self.given_density = density is not None
        density = density.build("density", DENSITIES) if isinstance(density, spec.Part) else density
        if not hasattr(density, "quantile") and density is not None:
            raise InputError(f"{spec.show(density)} is no density of levels: choose one of {', '.join(DENSITIES)}")
        self.density = density or self.default_density()

    def __str__(self) -> str:
        level = spec.show((self.low, self.high) if self.ranged else self.low)
        return f"{self.name}({level}{f', {self.density}' if self.given_density else ''})"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        """Damage ``x`` (B,C,H,W) at ``level``, broadcastable to it; returns all that the network sees."""
        raise NotImplementedError

    @property
    def usual_level(self) -> float:
        """A level that leaves an image recognisable but its details open: where refining starts by default."""
        return min(max(0.4, self.low), self.high)

    def overshoot(self, level: float) -> float:
        """How far beyond [0,1] a damaged image may reach."""
        return 0.0

    def level(self, u: Tensor) -> Tensor:
        """Quantile function of the training density: u in (0,1) -> level, same shape."""
        return self.density.quantile(u, self.low, self.high) if self.ranged else torch.full_like(u, self.high)

    def scale(self, x_tilde: Tensor, level: Tensor) -> Tensor:
        """The network's input, of order one: [0,1] becomes [-1,1]."""
        return 2 * x_tilde - 1

    def condition(self, level: Tensor) -> Tensor:
        """What the network is told of the level, of order one."""
        return 2 * level - 1

    def levels(self, steps: int, start: float | None = None) -> Tensor:
        """Levels for ``steps`` sampling steps from ``start`` down to 0: (steps+1,). One fixed level stays."""
        if not self.ranged:
            return torch.full((steps + 1,), self.high)
        return torch.linspace(self.high if start is None else start, 0, steps + 1)

    def prior(self, n: int, shape: tuple[int, int, int], noise: Noise) -> Tensor:
        """Where sampling from noise starts: uniform pixels, damaged at the highest level; (n, *shape)."""
        return self(noise.uniform((n, *shape)), torch.tensor(self.high), noise)


class Gaussian(Corruption):
    """x_tilde = x + sigma eps, eps ~ N(0, I), never clipped. Level: sigma in pixel units of [0,1]."""

    name = "gaussian"
    bounds = (1e-4, 1e4)
    default_density = LogUniform
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

    def levels(self, steps: int, start: float | None = None, rho: float = 7.0) -> Tensor:
        """From ``start`` to the lowest trained sigma, evenly in sigma^(1/rho), then 0 (Karras et al. 2022, eq. 5)."""
        if not self.ranged:
            return super().levels(steps, start)
        ends = (self.high if start is None else start) ** (1 / rho), self.low ** (1 / rho)
        return torch.cat([torch.linspace(*ends, steps) ** rho, torch.zeros(1)])


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


class Chain(Corruption):
    """Corruptions applied one after the other. ``level`` is that of the ranged part, or of the last."""

    def __init__(self, parts: list[Corruption]) -> None:
        ranged = [p for p in parts if p.ranged]
        if len(ranged) > 1:
            raise InputError(f"a chain has at most one range: give {' or '.join(map(str, ranged))} one level")
        self.parts = parts
        self.lead = ranged[0] if ranged else parts[-1]
        self.name, self.bounds = str(self), self.lead.bounds
        self.low, self.high, self.ranged = self.lead.low, self.lead.high, self.lead.ranged

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))

    __repr__ = __str__

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        for part in self.parts:
            x = part(x, level if part is self.lead else torch.tensor(part.high), noise)
        return x

    def overshoot(self, level: float) -> float:
        return sum(part.overshoot(level if part is self.lead else part.high) for part in self.parts)

    def level(self, u: Tensor) -> Tensor:
        return self.lead.level(u)

    def scale(self, x_tilde: Tensor, level: Tensor) -> Tensor:
        return self.lead.scale(x_tilde, level)

    def condition(self, level: Tensor) -> Tensor:
        return self.lead.condition(level)

    def levels(self, steps: int, start: float | None = None) -> Tensor:
        return self.lead.levels(steps, start)


CORRUPTIONS: dict[str, type[Corruption]] = {c.name: c for c in (Gaussian, SaltAndPepper, Masking)}


def parse(text: str) -> Corruption:
    """The corruption that ``text`` describes; ``str`` gives the text back.

    Raises:
        InputError: the text does not parse, or names something unknown.

    >>> parse("masking(0.25) + gaussian(.3)")
    masking(0.25)+gaussian(0.3)
    """
    parts = [part.build("corruption", CORRUPTIONS) for part in spec.parse(text)]
    return parts[0] if len(parts) == 1 else Chain(parts)
