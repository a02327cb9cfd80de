"""Likelihoods: how probable a trained DAE finds images.

**Erasure, binary images.** Under a uniformly random order o of the d pixels the model has the density p(x | o) = prod_t
Bern(x_o(t); r_o(t)(x_o(<t))). By Jensen's inequality over orders (Uria, Murray and Larochelle 2014),

    -log p(x) <= E_o[-log p(x | o)] = E_e[ d/e * sum over the e erased pixels of BCE ],   e uniform on 1..d,

one network call for each draw of e and of the erased set. The ensemble -log (1/M) sum_m p(x | o_m) over M orders takes
d M calls and is tighter in expectation.

**Gaussian, grey or colour images.** Along the probability flow dx/dsigma = (x - r)/sigma the density changes by its
divergence (d - tr dr/dx)/sigma, so (Chen et al. 2018; Song et al. 2021)

    log p(x at sigma_min) = log p(x at sigma_max) + integral of (d - tr dr/dx) over d ln sigma.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..corruption.erasure import Erasure
from ..dae import DenoisingAutoencoder
from ..errors import InputError
from ..losses import bce
from ..noise import ImageNoise
from ..pixels import as_images, binarise, to_float
from ..sampling.plan import card_of
from ..sampling.samplers import Denoiser
from ..sampling.tasks import batch_size


class Estimate(NamedTuple):
    """Negative log-likelihood of images, in nats an image."""

    values: Tensor
    """One an image, float64 (N,)."""

    @property
    def mean(self) -> float:
        return self.values.mean().item()

    @property
    def standard_error(self) -> float:
        """Of the mean, over images and draws together."""
        return (self.values.std() / len(self.values) ** 0.5).item()


def has_bound(dae: DenoisingAutoencoder) -> bool:
    """Whether the model has an order-agnostic likelihood: trained by BCE over all rates of erasure."""
    q = dae.corruption
    return q.binary and bool(q.extra) and (q.low, q.high) == (0, 1) and dae.card.loss == "bce"


def _checked(dae: DenoisingAutoencoder, images: Tensor) -> Tensor:
    if not has_bound(dae):
        raise InputError(
            f"this model was trained by {dae.card.loss} under {dae.corruption}, which gives no likelihood of binary "
            "images: train one with `corruption` 'erasure(0..1)'"
        )
    return as_images(images, shape=dae.shape, beyond=0)


@torch.no_grad()
def bound(
    dae: DenoisingAutoencoder,
    images: Tensor,
    *,
    draws: int = 1,
    seed: int = 0,
    on_images: Callable[[int], None] | None = None,
) -> Estimate:
    """Order-agnostic upper bound on -log p(x), in nats.

    Args:
        dae: a model trained over ``erasure(0..1)``.
        images: (N,C,H,W), binarised as in training, image i by noise from (seed, i).
        draws: erased sets per image; their sizes are stratified over the image's draws and over all images.
        seed: seed of the binarisation, and of the draws.
        on_images: called with the number of images after each batch of them.

    Raises:
        InputError: the model has no such likelihood, or the images are not of its shape.
    """
    images = _checked(dae, images)
    n, size = len(images), batch_size(dae.shape)
    strata = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    values = []
    for start in range(0, n, size):
        x, noise = _binary(dae, images[start : start + size], start, seed)
        u = (strata[start : start + len(x)].to(x.device) + noise.uniform((len(x),))) / n
        losses = [dae.loss(x, (j + u) / draws, noise).cpu().double() for j in range(draws)]
        values.append(torch.stack(losses).mean(0) * math.prod(dae.shape))
        if on_images:
            on_images(len(x))
    return Estimate(torch.cat(values))


@torch.no_grad()
def ensemble(
    dae: DenoisingAutoencoder,
    images: Tensor,
    *,
    orders: int = 16,
    seed: int = 0,
    on_images: Callable[[int], None] | None = None,
) -> tuple[Estimate, Estimate]:
    """-log (1/M) sum p(x | o_m) over M random orders of the pixels, in nats, and the mean of -log p(x | o_m).

    Takes M network calls a pixel and image. Arguments and errors are those of :func:`bound`, with ``orders`` for M; the
    second estimate has the expectation that :func:`bound` has.
    """
    images = _checked(dae, images)
    logs = []
    for i in range(len(images)):
        x, noise = _binary(dae, images[i : i + 1], i, seed)
        keys = noise.uniform((1, orders, *dae.shape[1:]))[0].split(batch_size(dae.shape))
        logs.append(torch.cat([_log_p_in_orders(dae, x, some) for some in keys]))
        if on_images:
            on_images(1)
    logs = torch.stack(logs)
    return Estimate(math.log(orders) - logs.logsumexp(1)), Estimate(-logs.mean(1))


def _binary(dae: DenoisingAutoencoder, images: Tensor, first: int, seed: int) -> tuple[Tensor, ImageNoise]:
    """A batch of images made binary, and the noise to go on with."""
    x = to_float(images).to(dae.device)
    noise = ImageNoise(seed, first, len(x), dae.device)
    return binarise(x, dae.card.binarise or "dynamic", noise), noise


def _log_p_in_orders(dae: DenoisingAutoencoder, x: Tensor, keys: Tensor) -> Tensor:
    """log p(x | o) of one image (1,C,H,W) for orders that sort ``keys`` (M,H,W): float64 (M,)."""
    place = keys.flatten(1).argsort(1).argsort(1).view_as(keys)[:, None]
    x, d = x.expand(len(keys), -1, -1, -1), place[0].numel()
    log_p = torch.zeros(len(keys), dtype=torch.float64)
    assert isinstance(dae.corruption, Erasure)
    for t in range(d):
        logits = dae.logits(dae.corruption.hide(x, place < t), (d - t) / d)
        log_p -= (bce(logits, x) * (place == t)).flatten(1).sum(1).cpu().double()
    return log_p


SMALLEST_STEP = 1 / 512
"""Half a grey level of 8-bit images: beyond this sigma, images of a model are smoother than the data."""


def flow(
    dae: Denoiser,
    images: Tensor,
    *,
    steps: int = 50,
    probes: int = 1,
    seed: int = 0,
    on_images: Callable[[int], None] | None = None,
) -> Estimate:
    """-log p(x) of 8-bit images under the probability flow, in nats, uniformly dequantised: at most that of the model.

    The images (v + u - 1/2)/255, u uniform, are followed up to the highest sigma by Heun's method; the density there is
    taken as N(1/2, sigma^2). An upper bound on the discrete -log P(v) in expectation over u.

    Args:
        dae: a model of a range of Gaussian levels that begins at 1/512 or below.
        images: (N,C,H,W), uint8.
        steps: levels from lowest to highest, 2 or more; two network calls each.
        probes: random directions an image for Hutchinson's estimate of the trace; 0 takes the exact trace, d calls.
        seed: seed of u and of the probes; image i is a function of (seed, i).
        on_images: called with the number of images after each batch of them.

    Raises:
        InputError: the model does not go that low, or the images are not 8-bit.
    """
    q = dae.corruption
    card = card_of(dae)
    images = as_images(images, shape=dae.shape)
    if card.objective == "consistency":
        raise InputError("a consistency model has no likelihood: its output is no mean; use the one it was tuned from")
    if card.objective != "mean" or card.binarise:
        raise InputError("a likelihood of grey images needs a model that was trained on them by bce or mse")
    if not (q.is_gaussian and q.ranged and q.low <= SMALLEST_STEP):
        raise InputError(
            f"this model has {q}: a likelihood of grey images needs Gaussian noise from 1/512 on: "
            "train one with `corruption` 'gaussian(0.0019..20)'"
        )
    if images.dtype != torch.uint8:
        raise InputError("a likelihood in bits is one of 8-bit images: convert them to uint8")
    values, size = [], batch_size(dae.shape)
    for start in range(0, len(images), size):
        v = images[start : start + size].to(dae.device)
        noise = ImageNoise(seed, start, len(v), dae.device)
        x = (v + noise.uniform(v.shape) - 0.5) / 255
        values.append(x[0].numel() * math.log(255) - log_density(dae, x, noise, steps, probes))
        if on_images:
            on_images(len(v))
    return Estimate(torch.cat(values))


def log_density(dae: Denoiser, x: Tensor, noise: ImageNoise, steps: int = 50, probes: int = 1) -> Tensor:
    """log p at the model's lowest sigma of ``x`` (B,C,H,W), in nats: float64 (B,). Arguments as for :func:`flow`."""
    d = x[0].numel()
    if probes:
        directions = [noise.normal(x.shape).sign() for _ in range(probes)]
    else:
        directions = list((d**0.5 * torch.eye(d, device=x.device)).view(d, 1, *x.shape[1:]))
    levels = dae.corruption.schedule(steps)[:-1].flip(0).double().tolist()
    change = torch.zeros(len(x), dtype=torch.float64)
    slope, divergence = _flow(dae, x, levels[0], directions)
    for sigma, following in itertools.pairwise(levels):
        ahead = x + (following - sigma) * slope
        slope_ahead, divergence_ahead = _flow(dae, ahead, following, directions)
        x = x + (following - sigma) * (slope + slope_ahead) / 2
        change += math.log(following / sigma) * (divergence + divergence_ahead) / 2
        slope, divergence = _flow(dae, x, following, directions)
    top = levels[-1]
    squares = ((x.cpu().double() - 0.5) / top).square().flatten(1).sum(1)
    return change - squares / 2 - d * math.log(top * (2 * math.pi) ** 0.5)


def _flow(dae: Denoiser, x: Tensor, sigma: float, directions: list[Tensor]) -> tuple[Tensor, Tensor]:
    """dx/dsigma = (x - r)/sigma, and an estimate of d - tr dr/dx, float64 (B,)."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        r = dae(x, sigma)
        trace = torch.zeros(len(x), dtype=torch.float64)
        for v in directions:
            (along,) = torch.autograd.grad(r, x, v.expand_as(r), retain_graph=True)
            trace += (along * v).flatten(1).sum(1).cpu().double() / len(directions)
    return ((x - r) / sigma).detach(), x[0].numel() - trace
