"""What a model says of an image beside r: how strong its noise is, and how far r is likely off.

The level is the maximum likelihood estimate of sigma.

With d pixels and the Jacobian J of r, the log density of the noisy image changes with the level by

    d log p_sigma(x) / d sigma^2 = (|x - r|^2 - sigma^2 (d - tr J)) / (2 sigma^4),

because p_sigma solves the heat equation and r = x + sigma^2 grad log p_sigma(x) (Miyasawa 1961). Its root, where the
noise that r removes is as much as it says there is, is found by bisection in ln sigma; tr J by Hutchinson's probes.

The covariance of x given the noisy image is sigma^2 J (Tweedie's identity of second order), so that r is off by
sqrt(sigma^2 J_ii) at pixel i; the diagonal by probes too (Bekas, Kokiopoulou and Saad 2007).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import InputError
from ..noise import ImageNoise
from ..tiles import TILE, tiled
from .plan import can_estimate, card_of
from .samplers import Denoiser

HALVINGS = 10
"""Of the range of ln sigma: to a thousandth of it."""
PROBES = 16
"""For the diagonal of the Jacobian."""
SIDE, MOST = 128, 16
"""Images with more pixels than a crop of this side are estimated on at most so many crops, evenly spread."""


def estimate_level(dae: Denoiser, image: Tensor, *, halvings: int = HALVINGS, seed: int = 0) -> float:
    """The standard deviation of the noise in ``image``.

    Args:
        dae: a model of a range of Gaussian levels that seeks the mean.
        image: (C,H,W), float32; 1 is white.
        halvings: of the range of ln sigma; one network call and its gradient each.
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
    probe = ImageNoise(seed, 0, len(x), dae.device).normal(x.shape).sign()
    low, high = math.log(q.low), math.log(q.high)
    for _ in range(halvings):
        middle = (low + high) / 2
        if _slope(dae, x, math.exp(middle), probe) > 0:
            low = middle
        else:
            high = middle
    sigma = math.exp((low + high) / 2)
    tolerance = (q.high / q.low) ** 0.5**halvings  # an end of the range that was never left
    return q.low if sigma < q.low * tolerance else q.high if sigma > q.high / tolerance else sigma


def expected_error(dae: Denoiser, images: Tensor, sigma: float, *, probes: int = PROBES, seed: int = 0) -> Tensor:
    """How far r(x_tilde, sigma) is expected to be off at each pixel: the standard deviation of x given x_tilde.

    sqrt(sigma^2 dr_i/dx_tilde_i), the derivative by ``probes`` random signs z as the mean of z_i (J' z)_i; its own
    error falls as 1 / sqrt(probes). Large images of any size go in tiles, for gradients take memory.

    Args:
        dae: a model of Gaussian noise that seeks the mean.
        images: noisy images (B,C,H,W), float32.
        sigma: of their noise, in [0,1] units.
        probes: network calls, and gradients.
        seed: of the probes.

    Returns:
        (B,C,H,W), in [0,1] units, on the CPU.

    Raises:
        InputError: the model has no score.
    """
    if not dae.corruption.is_gaussian or card_of(dae).objective != "mean":
        raise InputError(f"this model has {dae.corruption}: an error is expected of means under Gaussian noise only")
    if not dae.shape[1] and max(images.shape[2:]) > TILE:
        halo = -(-card_of(dae).radius // card_of(dae).stride) * card_of(dae).stride
        return tiled(lambda some: expected_error(dae, some, sigma, probes=probes, seed=seed), images, TILE, halo)
    x, noise = images.to(dae.device), ImageNoise(seed, 0, len(images), dae.device)
    diagonal = torch.zeros_like(x)
    for _ in range(probes):
        z = noise.normal(x.shape).sign()
        diagonal += z * _through(dae, x, sigma, z)[1]
    return (sigma**2 * (diagonal / probes).clamp(min=0)).sqrt().cpu()


def _through(dae: Denoiser, x: Tensor, sigma: float, z: Tensor) -> tuple[Tensor, Tensor]:
    """r(x) and J' z."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        r = dae(x, sigma)
        (along,) = torch.autograd.grad((r * z).sum(), x)
    return r.detach(), along


def _slope(dae: Denoiser, x: Tensor, sigma: float, probe: Tensor) -> float:
    """Of the same sign as d log p_sigma(x) / d sigma^2, over all images together."""
    r, along = _through(dae, x, sigma, probe)
    trace = (along * probe).double().sum()
    return ((x - r).double().square().sum() - sigma**2 * (x.numel() - trace)).item()


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
