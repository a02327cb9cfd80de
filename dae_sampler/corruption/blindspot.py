"""Blind spots: noisy images teach their own restoration, if the network may not see the pixel that it predicts.

Where the noise of a pixel has mean 0 and is independent of the other pixels, E[noisy pixel | the others] = E[clean
pixel | the others], so the loss against noisy targets finds the clean mean (Noise2Void: Krull et al. 2019; Noise2Self:
Batson and Royer 2019).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..noise import Noise
from .base import Corrupted
from .given import Levelless

REACH = 2
"""A hidden pixel is replaced by one at most so far away, each way."""
GRID = 4
"""In restoring, every GRID-th pixel of every GRID-th row is hidden at once: GRID^2 calls of the network."""
WINDOW = 9
"""Side of the square over which the variance that x_tilde leaves around mu is averaged."""
OUTLIER = 9.0
"""Square of three standard deviations."""


class BlindSpot(Levelless):
    """A share of the pixels is replaced by neighbours, all channels together, and the loss counts these pixels alone.

    Args:
        share: of the pixels, above 0 and below 1/2.
    """

    name = "blindspot"
    self_supervised = True
    takes_noise = True

    def __init__(self, share: float = 1 / 16) -> None:
        if not (isinstance(share, int | float) and 0 < share < 0.5):
            raise InputError(f"blindspot takes the share of hidden pixels, above 0 and below 0.5, got {share}")
        super().__init__(share)

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Corrupted:
        u = noise.uniform((len(x), 1, *x.shape[2:]))
        hidden = (u < self.more[0]) | (u == u.amin((2, 3), keepdim=True))  # one at least
        return Corrupted(hide(x, hidden, noise), x, hidden / hidden.float().mean((2, 3), keepdim=True))

    def reconstruct(self, r: Callable[[Tensor], Tensor], x_tilde: Tensor, noise: Noise, sigma: float = 0.0) -> Tensor:
        """mu_i = E[x_i | the other pixels], each pixel once hidden; with ``sigma`` also by the pixel's own value.

        What is known of x_i is then N(mu, v) from the others and N(x_tilde, sigma^2) from itself, so that

            x_hat = mu + v/(v + sigma^2) (x_tilde - mu),

        with v estimated by :func:`variance_left`. Exact where x_i is Gaussian given the others.
        """
        rows, columns = (torch.arange(side, device=x_tilde.device) % GRID for side in x_tilde.shape[2:])
        place = GRID * rows[:, None] + columns
        mu = x_tilde
        for spot in range(GRID**2):
            hidden = place == spot
            mu = torch.where(hidden, r(hide(x_tilde, hidden, noise)), mu)
        if not sigma:
            return mu
        v = variance_left((x_tilde - mu).square(), sigma)
        return mu + v / (v + sigma**2) * (x_tilde - mu)


def hide(x: Tensor, hidden: Tensor, noise: Noise) -> Tensor:
    """``x`` (B,C,H,W) with the pixels where ``hidden`` (broadcastable to (B,1,H,W)) each replaced by a neighbour."""
    height, width = x.shape[2:]
    side = 2 * REACH + 1
    pick = (noise.uniform((len(x), 1, height, width)) * (side**2 - 1)).long()
    pick = pick + (pick >= side**2 // 2)  # the middle is the pixel itself
    rows = _moved(torch.arange(height, device=x.device)[:, None], pick // side - REACH, height)
    columns = _moved(torch.arange(width, device=x.device), pick % side - REACH, width)
    index = (rows * width + columns).flatten(2).expand(-1, x.shape[1], -1)
    return torch.where(hidden, x.flatten(2).gather(2, index).view_as(x), x)


def _moved(place: Tensor, by: Tensor, size: int) -> Tensor:
    """Places along a line of ``size`` pixels, moved the other way where the line ends: never to where they were."""
    there = place + by
    return torch.where((there >= 0) & (there < size), there, place - by).clamp(0, size - 1)


def variance_left(squares: Tensor, sigma: float) -> Tensor:
    """v of each pixel, from (x_tilde - mu)^2 (B,C,H,W), whose mean is v + sigma^2.

    The mean over a window of n pixels, less sigma^2, is v with an error of variance 2 (v + sigma^2)^2 / n. It is drawn
    to the mean over the picture as far as its variance is no more than that error (linear empirical Bayes): where v is
    the same everywhere no noise is let through by chance. Outliers, such as dead pixels, are cut to ``OUTLIER`` times
    the mean, for they say nothing of their neighbours; of a normal distribution this takes 0.5 %.
    """
    squares = torch.minimum(squares, OUTLIER * squares.mean((2, 3), keepdim=True))
    found = local_mean(squares) - sigma**2
    middle = found.mean((2, 3), keepdim=True).clamp(min=0)
    error = 2 * (middle + sigma**2).square() / WINDOW**2
    differ = ((found - middle).square().mean((2, 3), keepdim=True) - error).clamp(min=0)
    return (middle + differ / (differ + error) * (found - middle)).clamp(min=0)


def local_mean(x: Tensor) -> Tensor:
    """The mean of (B,C,H,W) over a square around each pixel, of what lies inside the image."""
    return F.avg_pool2d(x, WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)
