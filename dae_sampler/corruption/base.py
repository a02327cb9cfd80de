"""The base of all corruptions, and of yours."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .. import levels, spec
from ..errors import InputError
from ..levels import DENSITIES, LevelDensity
from ..noise import Noise

Level = float | tuple[float, float]

CORRUPTIONS: dict[str, type[Corruption]] = {}
"""All corruptions that a text can name; subclasses enter themselves."""


class Corrupted(NamedTuple):
    """One draw of a corruption."""

    x_tilde: Tensor
    """All that the network sees, (B, C + extra, H, W)."""
    target: Tensor
    """What it is to predict, (B,C,H,W)."""
    weight: Tensor | float = 1.0
    """Weight of each pixel in the loss, 1 on average."""


class Corruption:
    """Base of all corruptions, and of yours: give ``__call__``, and ``bounds`` if levels are not from 0 to 1.

    A subclass can be named in texts once its module is imported: by its ``name``, or else as ``module:Class``.

    Args:
        level: one level, or the pair (low, high) to train over.
        density: distribution of the level over a range; a class of ``DENSITIES`` or its :class:`~..spec.Part`.
        told: whether the network is told the level; by default it is told a range, and not told one level.

    Raises:
        InputError: a level outside ``bounds``, or a range whose ends are not in order.
    """

    name: ClassVar[str]
    bounds: tuple[float, float] = (0.0, 1.0)
    """The least and the greatest level that there can be."""
    shown: ClassVar[tuple[float, float, float]] = (0.01, 1.0, 0.3)
    """The least and the greatest level worth a look, and one to begin with."""
    default_density: ClassVar[type] = levels.Uniform
    is_gaussian: bool = False
    """Whether x_tilde is x + level eps, so that r - x_tilde is a score."""
    extra: ClassVar[int] = 0
    """Channels that x_tilde has beyond those of x: a mask that shows which pixels are known."""
    binary: ClassVar[bool] = False
    """Whether images are binary, and drawn so in training."""
    unseen: ClassVar[bool] = False
    """Whether the loss counts only pixels that x_tilde does not show, so that a target may be their mean."""
    least_added: ClassVar[float] = 0.0
    """The lowest level at which :meth:`draw` leaves a sampler anything to do."""
    has_level: ClassVar[bool] = True
    """Whether damage comes in strengths that a sampler can walk through; if not, :meth:`reconstruct` restores."""
    paired: ClassVar[bool] = False
    """Whether the damage is in the data, as pairs, and none is added."""
    self_supervised: ClassVar[bool] = False
    """Whether the images to train on are noisy themselves, and no clean ones are needed."""
    takes_noise: ClassVar[bool] = False
    """Whether :meth:`reconstruct` has a use for the sigma of the noise in what it is given."""
    grid: int = 1
    """Damage depends on where a pixel lies in squares of this side, counted from the picture's corner."""
    more: tuple[float, ...] = ()
    """Further arguments in the text, after the level."""

    def __init_subclass__(cls) -> None:
        cls.name = cls.__dict__.get("name", f"{cls.__module__}:{cls.__qualname__}")
        if "<locals>" not in cls.name:  # nobody could import it again
            CORRUPTIONS[cls.name] = cls

    def __init__(self, level: Level, density: Any = None, *, told: bool | None = None) -> None:
        low, high = level if isinstance(level, tuple) else (level, level)
        least, most = self.bounds
        if not all(isinstance(v, int | float) and math.isfinite(v) and least <= v <= most for v in (low, high)):
            raise InputError(f"{self.name} takes levels from {least:g} to {most:g}, got {spec.show(level)}")
        if isinstance(level, tuple) and not low < high:
            raise InputError(f"{self.name} got the range {spec.show(level)}: write the lower level first")
        self.given_level = level if isinstance(level, tuple) else high
        self.low, self.high, self.ranged = float(low), float(high), low < high
        self.density, self.given_density = self._density(density), density is not None
        if told not in (None, 0, 1):
            raise InputError(f"{self.name} got told={spec.show(told)}: 1 tells the network the level, 0 does not")
        self.given_told, self.told = told, self.ranged if told is None else bool(told)

    def _density(self, density: Any) -> LevelDensity:
        given = spec.show(self.given_level)
        if density is not None and not self.ranged:
            raise InputError(f"{self.name}({given}) has one level, but a density needs a range low..high")
        density = density.build("density", DENSITIES) if isinstance(density, spec.Part) else density
        if not hasattr(density, "quantile") and density is not None:
            raise InputError(f"{spec.show(density)} is no density of levels: choose one of {', '.join(DENSITIES)}")
        density = density or self.default_density()
        if self.ranged and self.low == 0 and isinstance(density, levels.LogUniform):
            raise InputError(f"{self.name}({given}, loguniform) has no lowest level: begin above 0")
        return density

    def __str__(self) -> str:
        more = [spec.show(value) for value in self.more]
        more += [str(self.density)] if self.given_density else []
        more += [] if self.given_told is None else [f"told={int(self.told)}"]
        return f"{self.name}({', '.join([spec.show(self.given_level), *more, *self.own_options()])})"

    def own_options(self) -> list[str]:
        """The options of a class of its own that are not at their default, as a text writes them."""
        return []

    def __repr__(self) -> str:
        return str(self)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor | Corrupted:
        """Damage ``x`` (B,C,H,W) at ``level``, broadcastable to it.

        Returns:
            all that the network sees, or a :class:`Corrupted` if the target is not x or pixels weigh unequally.
        """
        raise NotImplementedError

    def draw(self, x: Tensor, level: Tensor, noise: Noise) -> Corrupted:
        """One draw, whatever :meth:`__call__` returns: a plain tensor has the target x and the weight 1."""
        drawn = self(x, level, noise)
        return drawn if isinstance(drawn, Corrupted) else Corrupted(drawn, x)

    def intact(self, x: Tensor) -> Tensor:
        """``x`` (B,C,H,W) as the network sees it undamaged, (B, C + extra, H, W): all pixels known."""
        return torch.cat([x, x.new_ones(len(x), self.extra, *x.shape[2:])], 1) if self.extra else x

    def complete(self, x_tilde: Tensor, r: Tensor) -> Tensor:
        """E[x | x_tilde] from the network's estimate ``r``, where x_tilde itself shows some of x."""
        return r

    def reconstruct(self, r: Callable[[Tensor], Tensor], x_tilde: Tensor, noise: Noise, sigma: float = 0.0) -> Tensor:
        """E[x | x_tilde], where there is no level, by as few calls of the network ``r`` as it takes: one for most.

        ``sigma`` is the standard deviation of the noise in ``x_tilde``, or 0 if it is not known.
        """
        return r(x_tilde)

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

    def schedule(self, steps: int, start: float | None = None) -> Tensor:
        """Levels for ``steps`` sampling steps from ``start`` down to the lowest that was trained, then 0: (steps+1,).

        One fixed level stays.
        """
        if not self.ranged:
            return levels.constant(self.high, steps)
        return levels.linear(self.high if start is None else start, self.low, steps)

    def prior(self, n: int, shape: tuple[int, int, int], noise: Noise) -> Tensor:
        """Where sampling from noise starts: uniform pixels, damaged at the highest level; (n, C + extra, H, W)."""
        return self.draw(noise.uniform((n, *shape)), torch.tensor(self.high), noise).x_tilde

    def begin(self, known: Tensor, keep: Tensor, noise: Noise) -> Tensor:
        """Where sampling starts if the pixels of ``known`` (B,C,H,W) are known where ``keep`` (B,1,H,W) is true."""
        n, channels, height, width = known.shape
        x = self.prior(n, (channels, height, width), noise)
        return torch.where(keep, self.draw(known, torch.tensor(self.high), noise).x_tilde, x)

    def preview(self, x: Tensor, level: float) -> Tensor:
        """A sampler's state (B, C + extra, H, W) at ``level`` as people are shown it, (B,C,H,W) around [0,1].

        As the network sees it: merely clipped, strong noise would be black or white.
        """
        return self.scale(x, torch.tensor(level)) / 2 + 0.5
