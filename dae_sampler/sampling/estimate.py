"""How strong the noise in an image is, by the model itself: the maximum likelihood estimate of sigma.

With d pixels and the Jacobian J of r, the log density of the noisy image changes with the level by

    d log p_sigma(x) / d sigma^2 = (|x - r|^2 - sigma^2 (d - tr J)) / (2 sigma^4),

because p_sigma solves the heat equation and r = x + sigma^2 grad log p_sigma(x) (Miyasawa 1961). Its root, where the
noise that r removes is as much as it says there is, is found by secants in ln sigma within a bracket; tr J by
Hutchinson's probes. In expectation the two sides are equal pixel by pixel (by parts), so pixels may be left out: in a
picture that was cut off at black and white, those near either, where noise is missing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import InputError
from ..noise import ImageNoise
from .plan import can_estimate
from .samplers import Denoiser

LOOKS = 12
"""Network calls, and gradients, at most; three or four where the noise is what the model knows."""
TOLERANCE = 0.005
"""Relative; well below what the estimate is worth."""
SIDE, MOST = 96, 8
"""Images with more pixels than a crop of this side are estimated on at most so many crops, evenly spread."""
MARGIN = 0.25
"""Of black and white, at most, within which a picture that was cut off is not asked."""


def estimate_level(dae: Denoiser, image: Tensor, *, seed: int = 0) -> float:
    """The standard deviation of the noise in ``image``.

    Args:
        dae: a model of a range of Gaussian levels that seeks the mean.
        image: (C,H,W), float32; 1 is white.
        seed: of the probes.

    Returns:
        sigma, in [0,1] units; the model's lowest or highest level where the estimate would leave its range.

    Raises:
        InputError: the model has no score, or one level.
    """
    q = dae.corruption
    if not can_estimate(dae):
        raise InputError(f"this model has {q}: a level is estimated under Gaussian noise over a range, so give `level`")
    x = (image[None] if dae.shape[1] else _crops(image)).to(dae.device)
    look = _Look(dae, x, seed)
    low, high = math.log(q.low), math.log(q.high)
    at = min(max(math.log(max(_detail(x), q.low)), low), high)
    before: tuple[float, float] | None = None
    for _ in range(LOOKS):
        ahead = look(at)
        low, high = (at, high) if ahead > 0 else (low, at)
        slope = (ahead - before[1]) / (at - before[0]) if before else -1.0
        guess = at - ahead / slope if slope < 0 else math.inf
        if not low < guess < high:
            guess = (low + high) / 2
        before, at = (at, ahead), guess
        if abs(at - before[0]) < TOLERANCE:
            break
    ends = (math.log(q.low), math.log(q.high))
    return q.low if at < ends[0] + 2 * TOLERANCE else q.high if at > ends[1] - 2 * TOLERANCE else math.exp(at)


class _Look:
    """How far, at a level, the images' own noise is from it."""

    def __init__(self, dae: Denoiser, x: Tensor, seed: int) -> None:
        self.dae, self.x = dae, x
        self.probe = ImageNoise(seed, 0, len(x), dae.device).normal(x.shape).sign()
        self.asked = torch.ones_like(x, dtype=torch.bool)
        self.cut_off = bool((x >= 0).all() and (x <= 1).all() and ((x == 0) | (x == 1)).any())

    def __call__(self, at: float) -> float:
        """Positive where d log p / d sigma^2 is, at ln sigma: by how much ln sigma should grow."""
        sigma = math.exp(at)
        with torch.enable_grad():
            x = self.x.detach().requires_grad_()
            r = self.dae(x, sigma)
            (along,) = torch.autograd.grad((r * self.probe).sum(), x)
        if self.cut_off:  # once, for a root has to be one of a single function
            margin = min(2.5 * sigma, MARGIN)
            inside = ((r > margin) & (r < 1 - margin)).detach()
            self.asked, self.cut_off = inside if inside.float().mean() > 0.02 else self.asked, False
        removed = (self.x - r).detach()[self.asked].double().square().mean().item()
        left = 1 - (along * self.probe)[self.asked].double().mean().item()
        return math.log(max(removed, 1e-30) / (sigma**2 * max(left, 1e-3))) / 2


def _detail(x: Tensor) -> float:
    """A first guess from above: the median of the finest diagonal detail (Donoho and Johnstone 1994); (B,C,H,W)."""
    height, width = (side // 2 * 2 for side in x.shape[2:])
    if not height or not width:
        return 0.0
    a = x[:, :, :height, :width]
    diagonal = a[..., ::2, ::2] - a[..., 1::2, ::2] - a[..., ::2, 1::2] + a[..., 1::2, 1::2]
    return diagonal.abs().median().item() / 2 / 0.6745


def _crops(image: Tensor) -> Tensor:
    """(C,H,W) -> (B,C,h,w): the image itself, or crops that are evenly spread over it."""
    _, height, width = image.shape
    if height * width <= SIDE**2:
        return image[None]
    tall, wide = min(height, SIDE), min(width, SIDE)
    rows, columns = max(1, height // tall), max(1, width // wide)
    places = [(i * (height - tall) // max(1, rows - 1), j * (width - wide) // max(1, columns - 1))
              for i in range(rows) for j in range(columns)]  # fmt: skip
    chosen = places[:: max(1, -(-len(places) // MOST))]
    return torch.stack([image[:, top : top + tall, left : left + wide] for top, left in chosen])
