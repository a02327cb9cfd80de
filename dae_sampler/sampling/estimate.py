"""What a model says of an image beside r: how strong its noise is, and how far r is likely off.

The level is the maximum likelihood estimate of sigma.

With d pixels and the Jacobian J of r, the log density of the noisy image changes with the level by

    d log p_sigma(x) / d sigma^2 = (|x - r|^2 - sigma^2 (d - tr J)) / (2 sigma^4),

because p_sigma solves the heat equation and r = x + sigma^2 grad log p_sigma(x) (Miyasawa 1961). Its root, where the
noise that r removes is as much as it says there is, is found by secants in ln sigma within a bracket; tr J by
Hutchinson's probes. In expectation |x - r|^2 and sigma^2 (d - tr J) are equal pixel by pixel and in every direction of
colours (by parts). So pixels may be left out: in a picture that was cut off at black and white, those near either,
where noise is missing. And of colours the luminance alone is asked, for JPEG files blur the noise of the others.

Noise that is not white has no such root near its level: r leaves some of it at every level, and more at lower ones. But
there r takes away nearly as much as it should, as it does not where there is texture and no noise. So where the root is
far below the first guess, and r does so at the guess or at 4/5 of it, the better of these is taken.

The covariance of x given the noisy image is sigma^2 J (Tweedie's identity of second order), so that r is off by
sqrt(sigma^2 J_ii) at pixel i; the diagonal by probes too (Bekas, Kokiopoulou and Saad 2007).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import InputError
from ..noise import ImageNoise
from ..pixels import LUMINANCE
from ..tiles import TILE, tiled, up
from .plan import can_estimate, card_of
from .samplers import Denoiser

PROBES = 16
"""For the diagonal of the Jacobian."""
LOOKS = 12
"""Network calls, and gradients, at most, and two more for noise that is not white; three or four are usual."""
TOLERANCE = 0.005
"""Relative; well below what the estimate is worth."""
SIDE, MOST = 96, 8
"""Images with more pixels than a crop of this side are estimated on at most so many crops, evenly spread."""
NEARLY, FAR = -0.25, math.log(0.6)
"""Logarithms of how much of the noise r takes away at the first guess, and of how far the root is below it: noise that
is not white. Three clean photographs come to -0.44 or less, with noise of 15 to 50 of 255 and saved as JPEG files of
quality 90 to -0.24 or more."""
ENOUGH = 0.3
"""Share of the pixels that have to be away from black and white in all colours for the luminance to be asked."""
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
    low, high = math.log(q.low), math.log(q.high)
    colours = _luminance if x.shape[1] == len(LUMINANCE) else _all
    first = min(max(math.log(max(_detail(colours(x)), q.low)), low), high)
    seen = not _cut_off(x) or _inside(x, math.exp(first)).all(1).float().mean().item() > ENOUGH
    at = _root(_Look(dae, x, colours if seen else _all, seed), first, low, high)
    if at < first + FAR:
        look = _Look(dae, x, colours, seed)
        gap, near = max((look(near), near) for near in (first, first + math.log(0.8)))
        at = near if gap > NEARLY else at
    return q.low if at < low + 2 * TOLERANCE else q.high if at > high - 2 * TOLERANCE else math.exp(at)


def _root(look: _Look, at: float, low: float, high: float) -> float:
    """Where ``look`` is 0, by secants from ``at`` between ``low`` and ``high``, all in ln sigma."""
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
    return at


def check_expects(dae: Denoiser) -> None:
    """Refuse a model whose error is not known to be expected.

    Raises:
        InputError: it has no score.
    """
    if not dae.corruption.is_gaussian or card_of(dae).objective != "mean":
        raise InputError(f"this model has {dae.corruption}: an error is expected of means under Gaussian noise only")


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
    check_expects(dae)
    card = card_of(dae, images)
    if dae.shape[1] or max(images.shape[2:]) <= TILE:
        return _expected_error(dae, images, sigma, probes, seed)
    halo = up(card.radius, card.stride)
    return tiled(lambda some: _expected_error(dae, some, sigma, probes, seed), images, TILE, halo)


def _expected_error(dae: Denoiser, images: Tensor, sigma: float, probes: int, seed: int) -> Tensor:
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


class _Look:
    """How far, at a level, the images' own noise is from it."""

    def __init__(self, dae: Denoiser, x: Tensor, asked: Callable[[Tensor], Tensor], seed: int) -> None:
        self.dae, self.x, self.asked, self.cut_off = dae, x, asked, _cut_off(x)
        directions = self.asked(torch.eye(len(x[0]), device=x.device)[:, :, None, None])[:, :, 0, 0]
        shape = len(x), directions.shape[1], *x.shape[2:]
        self.signs = ImageNoise(seed, 0, len(x), dae.device).normal(shape).sign()
        self.probe = torch.einsum("ck,bkhw->bchw", directions, self.signs)
        self.inside = torch.ones_like(self.signs, dtype=torch.bool)

    def __call__(self, at: float) -> float:
        """Positive where d log p / d sigma^2 is, at ln sigma: by how much ln sigma should grow."""
        sigma = math.exp(at)
        r, along = _through(self.dae, self.x, sigma, self.probe)
        if self.cut_off:  # once, for a root has to be one of a single function
            inside = _inside(r, sigma)
            inside = inside.all(1, keepdim=True) if self.asked is _luminance else inside
            self.inside, self.cut_off = inside if inside.float().mean() > 0.02 else self.inside, False
        removed = self._mean(self.asked(self.x - r).square())
        left = 1 - self._mean(self.asked(along) * self.signs)
        return math.log(max(removed, 1e-30) / (sigma**2 * max(left, 1e-3))) / 2

    def _mean(self, values: Tensor) -> float:
        return values[self.inside].double().mean().item()


def _cut_off(x: Tensor) -> bool:
    """Whether the values of a picture end at black and white, and some lie there."""
    return bool((x >= 0).all() and (x <= 1).all() and ((x == 0) | (x == 1)).any())


def _inside(x: Tensor, sigma: float) -> Tensor:
    """Where (B,C,H,W) is too far from black and white for noise to have been cut off."""
    margin = min(2.5 * sigma, MARGIN)
    return (x > margin) & (x < 1 - margin)


def _all(x: Tensor) -> Tensor:
    return x


def _luminance(x: Tensor) -> Tensor:
    """Of colours (B,3,H,W): (B,1,H,W), scaled so that white noise keeps its level."""
    weights = x.new_tensor(LUMINANCE)
    return torch.einsum("c,bchw->bhw", weights / weights.norm(), x)[:, None]


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
    rows, columns = -(-height // tall), -(-width // wide)
    places = [(i * (height - tall) // max(1, rows - 1), j * (width - wide) // max(1, columns - 1))
              for i in range(rows) for j in range(columns)]  # fmt: skip
    chosen = places[:: max(1, -(-len(places) // MOST))]
    return torch.stack([image[:, top : top + tall, left : left + wide] for top, left in chosen])
