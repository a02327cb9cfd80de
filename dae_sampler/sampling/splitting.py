"""Restoration by half-quadratic splitting, with a denoiser in place of a prior."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from ..noise import Noise
from .state import State

if TYPE_CHECKING:
    from .guidance import Measured


def hqs(dae: Measured, x: Tensor, levels: Tensor, noise: Noise) -> Iterator[State]:
    """x <- r(x_tilde) with x_tilde near to x and to y, and noise of sigma in it, for falling sigma.

    It is plug-and-play half-quadratic splitting (DPIR: Zhang et al. 2021) but for the noise that
    :meth:`~.guidance.Measured.spread` adds. Without it, a network is told sigma of a picture that has less noise, and
    blurs what a precise y leaves of the picture. The variance that is added falls step by step, for what is random in
    x_tilde does not vanish from r: to 0 where y is precise, and not at all where sigma hardly falls, for it does not
    fall below that of the noise in y, and told much noise where there is none, time after time, a network makes up
    stripes and spots.
    """
    steps = len(levels) - 1
    least = min(1, 2 * dae.noise / levels[0].item())
    for k, (sigma, following) in enumerate(itertools.pairwise(levels.tolist())):
        sigma = max(sigma, min(dae.noise, dae.corruption.high))
        share = max(least, (1 - k / max(1, steps - 1)) ** 0.5)
        x = dae.dae(dae.spread(x, sigma, share, noise), sigma)
        yield State(x, x, following)
