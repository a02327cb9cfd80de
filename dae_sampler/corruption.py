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
    erasure(0..1)                               pixels of a binary image hidden, and the network told which
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from . import spec
from .errors import InputError, import_name
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


CORRUPTIONS: dict[str, type[Corruption]] = {}
"""All corruptions that a text can name; subclasses enter themselves."""
DENSITIES: dict[str, type] = {"lognormal": LogNormal, "loguniform": LogUniform, "uniform": Uniform}


class Corruption:
    """Base of all corruptions, and of yours: give ``__call__``, and ``bounds`` if levels are not from 0 to 1.

    A subclass can be named in texts once its module is imported: by its ``name``, or else as ``module:Class``.

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
    extra: ClassVar[int] = 0
    """Channels that x_tilde has beyond those of x."""
    reveals: ClassVar[bool] = False
    """Whether images are binary and the last channel of x_tilde shows which pixels are known, so that sampling can
    reveal the others, and their likelihood is known."""

    def __init_subclass__(cls) -> None:
        cls.name = cls.__dict__.get("name", f"{cls.__module__}:{cls.__qualname__}")
        if "<locals>" not in cls.name:  # nobody could import it again
            CORRUPTIONS[cls.name] = cls

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
        if self.ranged and self.low == 0 and isinstance(self.density, LogUniform):
            raise InputError(f"{self.name}({spec.show(level)}, loguniform) has no lowest level: begin above 0")

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

    def weight(self, x_tilde: Tensor) -> Tensor | float:
        """Weight of each pixel in the loss, 1 on average."""
        return 1.0

    def complete(self, x_tilde: Tensor, r: Tensor) -> Tensor:
        """E[x | x_tilde] from the network's estimate ``r``, where x_tilde itself shows some of x."""
        return r

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
        """Levels for ``steps`` sampling steps from ``start`` down to the lowest that was trained, then 0: (steps+1,).

        One fixed level stays.
        """
        if not self.ranged:
            return torch.full((steps + 1,), self.high)
        start = self.high if start is None else start
        if self.low == 0 or self.reveals:  # every number of erased pixels is passed through
            return torch.linspace(start, 0, steps + 1)
        return torch.cat([torch.linspace(start, self.low, steps), torch.zeros(1)])

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


class Erasure(Corruption):
    """Pixels of a binary image erased, with a mask that shows which: x_tilde = [keep x, keep], (B,C+1,H,W).

    At rate u the e = ceil(u d) erased pixels of d are a uniformly random set, so over 0..1 their number is uniform on
    1..d. Weighted by d/e on the erased pixels, the mean BCE is then the order-agnostic bound on -log p(x) per pixel
    (Uria, Murray and Larochelle 2014; see :mod:`.likelihood`).
    """

    name = "erasure"
    extra = 1
    reveals = True

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        order = noise.uniform((x.shape[0], *x.shape[2:])).flatten(1).argsort(1).argsort(1)
        erased = (level.to(x.device).expand(len(x), 1, 1, 1).flatten(1) * order.shape[1] - 1e-4).ceil().clamp(min=1)
        return self.hide(x, (order >= erased).unflatten(1, x.shape[2:])[:, None])

    def hide(self, x: Tensor, keep: Tensor) -> Tensor:
        """``x`` (B,C,H,W) with the pixels where ``keep`` (B,1,H,W) is false erased."""
        return torch.cat([x * keep, keep.to(x.dtype)], 1)

    def prior(self, n: int, shape: tuple[int, int, int], noise: Noise) -> Tensor:
        if self.ranged and self.high < 1:
            raise InputError(
                f"{self} never saw an image with all its pixels erased: train with erasure(0..1) to sample"
            )
        return self(noise.uniform((n, *shape)).round(), torch.tensor(self.high), noise)

    def weight(self, x_tilde: Tensor) -> Tensor:
        erased = 1 - x_tilde[:, -1:]
        return erased / erased.mean((2, 3), keepdim=True)

    def complete(self, x_tilde: Tensor, r: Tensor) -> Tensor:
        return torch.where(x_tilde[:, -1:] > 0, x_tilde[:, :-1], r)

    def scale(self, x_tilde: Tensor, level: Tensor) -> Tensor:
        """Kept pixels become -1 or 1, erased ones 0; the mask stays."""
        x, keep = x_tilde[:, :-1], x_tilde[:, -1:]
        return torch.cat([(2 * x - 1) * keep, keep], 1)


class Chain(Corruption):
    """Corruptions applied one after the other. ``level`` is that of the ranged part, or of the last."""

    def __init__(self, parts: list[Corruption]) -> None:
        ranged = [p for p in parts if p.ranged]
        if len(ranged) > 1:
            raise InputError(f"a chain has at most one range: give {' or '.join(map(str, ranged))} one level")
        if hidden := [p for p in parts if p.extra]:
            raise InputError(f"{hidden[0]} stands alone: its mask would not survive a chain")
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
            raise InputError(f"{part.name} is nothing of ours: if you trust it, name it by --corruption or import it")
    parts = [part.build("corruption", CORRUPTIONS) for part in parts]
    return parts[0] if len(parts) == 1 else Chain(parts)


def import_own(text: str) -> None:
    """Import the corruptions that ``text`` names as ``module:Class``.

    Only for texts that the user wrote: a checkpoint never gets here.

    Raises:
        InputError: there is no such module, it fails, or it has no such corruption.
    """
    for name in (part.name for part in spec.parse(text) if ":" in part.name):
        import_name(name, "--corruption")
        if name not in CORRUPTIONS:
            raise InputError(f"{name} is not a corruption: derive it from dae_sampler.corruption.Corruption")
