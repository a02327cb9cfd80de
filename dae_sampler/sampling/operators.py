"""The operators that a text can name: what a measurement y = A x + noise keeps of a picture x.

mask          known pixels stay, hidden ones are 0
grey          red, green and blue weighted
blur          rows and columns convolved with a Gaussian
downsample    rows and columns made shorter, bicubic
motion        convolved with a line
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .. import spec
from ..errors import InputError
from ..pixels import LUMINANCE
from .linear import Chain, Convolution, Operator, Separable, matrix_of


class Mask(Operator):
    """Known pixels stay, hidden ones are 0.

    Args:
        keep: true where a pixel is known: a tensor that broadcasts to the pictures, or what gives one for (C,H,W).
    """

    def __init__(self, keep: Tensor | Callable[[tuple[int, int, int]], Tensor]) -> None:
        self.keep = keep

    def apply(self, x: Tensor) -> Tensor:
        keep = self.keep if isinstance(self.keep, Tensor) else self.keep((x.shape[1], x.shape[2], x.shape[3]))
        if keep.shape[-2:] != x.shape[-2:]:
            sizes = [f"{shape[-1]}x{shape[-2]}" for shape in (keep.shape, x.shape)]
            raise InputError("the mask is {}, the picture {}: make a mask of that size".format(*sizes))
        return x * keep.to(x)

    adjoint = measured = apply

    def solve(self, v: Tensor, tau: Tensor | float) -> Tensor:
        return v / (self.apply(torch.ones_like(v)) + tau)


class Grey(Operator):
    """Colour to grey, by :data:`~dae_sampler.pixels.LUMINANCE`."""

    def apply(self, x: Tensor) -> Tensor:
        if x.shape[1] != len(LUMINANCE):
            raise InputError(
                f"grey is made from 3 channels, and there are {x.shape[1]}: take a model of colour pictures"
            )
        return (x * self._weights(x)).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        return y * self._weights(y)

    def solve(self, v: Tensor, tau: Tensor | float) -> Tensor:
        return v / (sum(w * w for w in LUMINANCE) + tau)

    def _weights(self, x: Tensor) -> Tensor:
        return x.new_tensor(LUMINANCE).reshape(-1, 1, 1)


def blur(sigma: float, circular: bool = False) -> Separable:
    """Gaussian blur of standard deviation ``sigma`` in pixels; edges reflected, or ``circular``.

    Raises:
        InputError: ``sigma`` is not from 0.1 to 100.
    """
    check("blur", "sigma", sigma, 0.1, 100)
    offsets = torch.arange(-math.ceil(5 * sigma), math.ceil(5 * sigma) + 1)
    weights = torch.exp(-offsets.double().square() / (2 * sigma**2))
    return Separable(lambda n: matrix_of(torch.arange(n)[:, None] + offsets, weights.expand(n, -1), n, circular))


def downsample(factor: int, circular: bool = False) -> Separable:
    """A picture ``factor`` times smaller, bicubic (a = -1/2), antialiased, with aligned centres, as by Pillow and
    MATLAB; edges reflected as in MATLAB, or ``circular``.

    Raises:
        InputError: ``factor`` is no whole number from 2 to 16.
    """
    check("downsample", "factor", factor, 2, 16)
    if factor != int(factor):
        raise InputError(f"downsample takes a whole number, got {factor:g}")
    factor = int(factor)

    def line(n: int) -> Tensor:
        centres = (torch.arange(n // factor, dtype=torch.float64)[:, None] + 0.5) * factor - 0.5
        places = centres.floor() + torch.arange(-2 * factor, 2 * factor + 2)
        return matrix_of(places.long(), _cubic((places - centres) / factor), n, circular)

    return Separable(line, factor)


def motion(length: float, angle: float, circular: bool = False) -> Convolution:
    """Blur by a straight motion of ``length`` pixels at ``angle`` degrees, counter-clockwise from the right.

    A pixel weighs 1 less its distance from the middle line of the motion, at least 0; edges reflected, or ``circular``.

    Raises:
        InputError: ``length`` is not from 1 to 200, or ``angle`` not from -360 to 360.
    """
    check("motion", "length", length, 1, 200)
    check("motion", "angle", angle, -360, 360)
    half, turn = (length - 1) / 2, math.radians(angle)
    reach = math.ceil(half)
    across = torch.arange(-reach, reach + 1, dtype=torch.float64)
    x, y = across[None, :], -across[:, None]
    along = (x * math.cos(turn) + y * math.sin(turn)).clamp(-half, half)
    distance = torch.hypot(x - along * math.cos(turn), y - along * math.sin(turn))
    kernel = (1 - distance).clamp(min=0)
    return Convolution((kernel / kernel.sum()).float(), circular)


OPERATORS: dict[str, Callable[..., Operator]] = {
    "blur": blur, "downsample": downsample, "grey": Grey, "motion": motion
}  # fmt: skip
"""By the name that a text has for each; ``mask`` is beside them."""


def parse(text: str, load: Callable[[str, tuple[int, int, int]], Tensor] | None = None) -> Operator:
    """The operator that a text names, such as ``blur(1.5)+downsample(2)``.

    Args:
        text: a chain, the first part applied first.
        load: what gives the pixels to keep for the name of a mask and the (C,H,W) of a picture.

    Raises:
        InputError: the text names something else, or a number is out of its range.
    """

    def mask(picture: str) -> Mask:
        if not isinstance(picture, str):
            raise InputError(f"mask takes the name of a picture in quotes, mask('hole.png'), got {spec.show(picture)}")
        if load is None:
            raise InputError("a mask cannot be read here: give an operator `Mask(keep)` in place of a text")
        return Mask(lru_cache(maxsize=4)(lambda shape: load(picture, shape)))

    parts = [part.build("operator", OPERATORS | {"mask": mask}) for part in spec.parse(text, strings=True)]
    return parts[0] if len(parts) == 1 else Chain(parts)


def check(operator: str, name: str, value: Any, low: float, high: float) -> None:
    """Refuse what is no number from ``low`` to ``high``.

    Raises:
        InputError: naming the parameter.
    """
    if not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f"{operator} takes a {name} from {low:g} to {high:g}, got {spec.show(value)}")


def _cubic(t: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -1/2 (Keys 1981)."""
    t = t.abs()
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return torch.where(t <= 1, near, torch.where(t < 2, far, torch.zeros_like(t)))
