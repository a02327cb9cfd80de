"""Noise of cameras and microscopes made Gaussian: the generalised Anscombe transform and its unbiased inverse.

A sensor of gain g and read noise r counts z = g Poisson(y / g) + N(0, r^2), so that bright pixels are noisier than dark
ones. With

    f(z) = 2/g sqrt(max(g z + 3/8 g^2 + r^2, 0))

the noise of f(z) has a standard deviation close to 1 everywhere (Anscombe 1948; Starck, Murtagh and Bijaoui 1998).
What a denoiser gives of f(z) estimates E[f(z) | y], not f(y): the exact unbiased inverse (Mäkitalo and Foi 2013) is the
y of which that is the mean.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import spec
from ..errors import InputError

_TABLED = 60.0
"""Mean number of photons above which the inverse is a formula, exact to a thousandth of a photon."""
_NODES = np.linspace(-6, 6, 961)
"""Of the integral over the read noise: many, for f has a kink."""


@dataclass(frozen=True)
class PoissonGaussian:
    """The noise of a sensor, and the transform that makes it Gaussian of one level.

    Attributes:
        gain: counts that a photon makes.
        read: standard deviation of the read noise, in counts.
    """

    gain: float
    read: float

    def __post_init__(self) -> None:
        if not (self.gain > 0 and self.read >= 0 and math.isfinite(self.gain + self.read)):
            raise InputError(
                f"{self} needs a gain above 0 and a read noise from 0, both in the values of the file: "
                "poisson-gaussian(gain, read)"
            )

    def __str__(self) -> str:
        return f"poisson-gaussian({self.gain:g}, {self.read:g})"

    def stabilise(self, counts: Tensor) -> Tensor:
        """f(z): noise of standard deviation 1."""
        return 2 / self.gain * (self.gain * counts + 0.375 * self.gain**2 + self.read**2).clamp(min=0).sqrt()

    def level(self, white: float) -> float:
        """The standard deviation of the noise of f(z), where f(0) is black and f(``white``) is 1.

        Raises:
            InputError: no count is above 0.
        """
        if white <= 0:
            raise InputError(f"{self} is noise of counts from 0 on, and these reach {white:g}: give the raw counts")
        black, top = self.stabilise(torch.tensor([0.0, white], dtype=torch.float64)).tolist()
        return 1 / (top - black)

    def to_unit(self, counts: Tensor, white: float) -> Tensor:
        """f(z) in those units."""
        return (self.stabilise(counts) - self.stabilise(torch.zeros(()))) * self.level(white)

    def to_counts(self, unit: Tensor, white: float) -> Tensor:
        """Undo :meth:`to_unit` for an estimate of the mean of f(z): the expected counts y."""
        mean = unit / self.level(white) + self.stabilise(torch.zeros(()))
        photons, means = _means(self.read / self.gain)
        tabled = torch.from_numpy(np.interp(mean.numpy(), means, photons).astype(np.float32))
        return self.gain * torch.where(mean < means[-1], tabled, _far(mean, self.read / self.gain))


def _far(mean: Tensor, read: float) -> Tensor:
    """Photons from the mean of f, where they are many."""
    return mean.square() / 4 - 0.125 - read**2


@functools.lru_cache(maxsize=8)
def _means(read: float) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of photons, and E[f(k + read n)] of Poisson k and standard normal n, at a gain of 1."""
    photons = np.linspace(0, math.sqrt(_TABLED), 400) ** 2
    k = np.arange(int(_TABLED + 12 * math.sqrt(_TABLED)) + 20)
    logs = np.concatenate([[0.0], np.log(k[1:]).cumsum()])  # of k!
    with np.errstate(divide="ignore", invalid="ignore"):
        powers = np.where(k == 0, 0.0, k * np.log(photons)[:, None])
    chances = np.exp(powers - photons[:, None] - logs)
    weights = np.exp(-(_NODES**2) / 2)
    values = 2 * np.sqrt(np.maximum(k[:, None] + read * _NODES + 0.375 + read**2, 0)) @ (weights / weights.sum())
    return photons, chances @ values


def parse(text: str) -> PoissonGaussian | None:
    """The noise that a text says, None where it is no name but a number.

    Raises:
        InputError: it is another name, or the numbers make no sense.
    """
    if not text[:1].isalpha():
        return None
    part = spec.parse_one(text)
    numbers = [value for value in part.args if isinstance(value, int | float)]
    if part.name != "poisson-gaussian" or len(numbers) != 2 or len(part.args) != 2 or part.options:
        raise InputError(f"the noise of a picture is a number, or poisson-gaussian(gain, read), not {text!r}")
    return PoissonGaussian(*map(float, numbers))
