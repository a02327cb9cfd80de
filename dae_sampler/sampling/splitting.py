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
    blurs what a precise y leaves of the picture. The variance that is added falls step by step to 0, for what is random
    in x_tilde does not vanish from r. Sigma does not fall below that of the noise in y.
    """
    steps = len(levels) - 1
    for k, (sigma, following) in enumerate(itertools.pairwise(levels.tolist())):
        sigma = max(sigma, min(dae.noise, dae.corruption.high))
        x = dae.dae(dae.spread(x, sigma, (1 - k / max(1, steps - 1)) ** 0.5, noise), sigma)
        yield State(x, x, following)
