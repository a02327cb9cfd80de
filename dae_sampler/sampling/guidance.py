"""Denoisers that know more than the model: each has the call of what it wraps, so that every sampler works with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..card import Card
from ..errors import UNTOLD, InputError
from ..noise import Noise
from .linear import Operator
from .plan import card_of
from .samplers import Denoiser

USUAL_VARIANCE = 1 / 12
"""Of pictures that nothing is known of: as of a grey between black and white, all equally likely."""
AGREEMENT, ROUNDS = 1.1, 20
"""How far a restoration may stray from the measurement, in standard deviations of its noise."""

SPACES = ("logits", "pixels")
SHOWN = 50
"""Labels that an error lists."""


class KnownPixels:
    """A denoiser that knows the pixels where ``keep`` is true: E[x | x_tilde, known] there is ``known``.

    Args:
        dae: the denoiser.
        known: clean images, (B,C,H,W).
        keep: bool (B,1,H,W).
    """

    def __init__(self, dae: Denoiser, known: Tensor, keep: Tensor) -> None:
        self.dae, self.known, self.keep = dae, known, keep
        self.corruption, self.shape, self.device = dae.corruption, dae.shape, dae.device

    def __call__(self, x: Tensor, level: float | Tensor) -> Tensor:
        return torch.where(self.keep, self.known, self.dae(x, level))


class Measured:
    """A denoiser that knows a measurement y = A x + N(0, noise^2): an estimate of E[x | x_tilde, y] from r(x_tilde).

    It is the mean of the posterior of y if x given x_tilde were N(r, rho^2):

        argmin_x |y - A x|^2 / noise^2 + |x - r|^2 / rho^2  =  r + A' (A A' + noise^2 / rho^2)^-1 (y - A r),

    and so exact for Gaussian data, where rho^2 = s sigma^2 / (s + sigma^2). One network call, as DiffPIR (Zhu et al.
    2023) and DDNM (Wang et al. 2023, the limit of no noise); PiGDM (Song et al. 2023) takes the network's gradient too.

    Args:
        dae: the denoiser.
        y: what was measured, (B,c,h,w).
        operator: A.
        noise: standard deviation of the noise in ``y``, above 0.
        error: rho^2 as a function of sigma. By default the model's mean squared error, see :func:`squared_error`, or
            what y - A r shows of it in this picture, (|y - A r|^2 - noise^2) / (what A makes of it), if that is more.
            See also :func:`renewed_error`.
    """

    def __init__(
        self,
        dae: Denoiser,
        y: Tensor,
        operator: Operator,
        noise: float,
        error: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.dae, self.y, self.operator, self.noise, self.error = dae, y, operator, noise, error
        self.corruption, self.shape, self.device, self.card = dae.corruption, dae.shape, dae.device, card_of(dae)

    def __call__(self, x: Tensor, level: float | Tensor) -> Tensor:
        sigma = torch.as_tensor(level, dtype=torch.float32, device=x.device).reshape(-1, 1, 1, 1)
        r, operator, card = self.dae(x, level), self.operator, card_of(self.dae, x)
        if self.error:
            return operator.prox(r, self.y, self.noise**2 / self.error(sigma))
        beyond = (operator.misfit(r, self.y) - self.noise**2) / operator.gain(operator.residual(r, self.y))
        rho2 = torch.maximum(squared_error(card, sigma), beyond)
        return operator.prox(r, self.y, self.noise**2 / rho2)

    def spread(self, x: Tensor, sigma: float, share: float, noise: Noise) -> Tensor:
        """x_tilde (B,C,H,W), near to ``x`` (B,C,H,W) and to y, with noise of ``sigma`` in every direction.

        With tau = noise^2 / (2 sigma)^2, the proximal step takes the noise of y along: in a direction that
        A' (A A' + tau)^-1 A scales by w, its variance is 4 sigma^2 w (1 - w). That is at most sigma^2, and what is
        missing is (1 - 2 w)^2 sigma^2. Of that, noise of ``share`` times the standard deviation is added.
        """
        added = share * sigma * noise.normal(x.shape)
        return self.operator.prox(x + 2 * added, self.y, (self.noise / (2 * sigma)) ** 2) - added


def squared_error(card: Card, sigma: Tensor) -> Tensor:
    """A model's mean squared error at ``sigma``, by straight lines between its card's in logarithms of both.

    It is never above sigma^2. A card that has none is taken to be of pictures of :data:`USUAL_VARIANCE`.
    """
    if len(card.squared_error) < 2:
        return USUAL_VARIANCE * sigma.square() / (USUAL_VARIANCE + sigma.square())
    at, values = torch.tensor(card.squared_error, device=sigma.device).log().T.contiguous()
    t = sigma.log()
    i = torch.searchsorted(at, t).clamp(1, len(at) - 1)
    value = torch.lerp(values[i - 1], values[i], (t - at[i - 1]) / (at[i] - at[i - 1])).exp()
    return torch.minimum(value, sigma.square())


def renewed_error(sigma: Tensor) -> Tensor:
    """rho^2 = sigma^2 / 2, of any shape, for samplers that draw all noise anew at each level.

    sigma^2 is the weight of half-quadratic splitting, as DPIR and DiffPIR have it (Zhang et al. 2021, Zhu et al. 2023).
    The mean squared error is a mean over directions, in most of which data does not vary and r does not err. Where r
    errs, it does so by about sigma, for x_tilde says no more; y then weighs too little. By sigma^2 it weighs as an
    observation independent of x_tilde, and what it brings of its noise across the data the next calls take out. Half,
    for the next level is lower.
    """
    return sigma.square() / 2


def agree(operator: Operator, x: Tensor, y: Tensor, noise: float) -> Tensor:
    """``x`` in [0,1], moved until the root mean square of y - A x is at most :data:`AGREEMENT` noise, or for
    :data:`ROUNDS` proximal steps (Morozov's discrepancy principle)."""
    for _ in range(ROUNDS):
        astray = operator.misfit(x, y) > (AGREEMENT * noise) ** 2
        if not astray.any():
            break
        nearer = operator.prox(x, y, operator.gain(operator.residual(x, y))).clamp(0, 1)
        x = torch.where(astray, nearer, x)
    return x


class Guided:
    """A model that is told a class, and follows it ``weight`` times as far; itself a denoiser.

    It is classifier-free guidance (Ho & Salimans 2022). With r_c the reconstruction that is told the class and r the
    one that is not, z_c and z their logits,

        pixels   r + w (r_c - r),           which may leave [0,1]
        logits   sigmoid(z + w (z_c - z)),  which stays in (0,1).

    Under an erasure the pixels are Bernoulli variables that are independent given x_tilde, and the second is exact for
    each: it is p(x_i | x_tilde)^(1-w) p(x_i | x_tilde, c)^w, normalised.

    Args:
        dae: a :class:`~dae_sampler.DenoisingAutoencoder` that knows labels.
        label: number of the class, an int or (B,) int64.
        weight: 1 is the model that is told the class, 0 the one that is not; either takes one network call, others two.
        space: one of ``SPACES``.

    Raises:
        InputError: the model knows no labels, or an argument is out of its range.
    """

    def __init__(self, dae: Denoiser, label: int | Tensor, weight: float = 1.0, space: str = "logits") -> None:
        if not card_of(dae).labels:
            raise InputError(UNTOLD)
        if not hasattr(dae, "logits"):
            raise InputError("guide the model itself, and tile what is guided: Tiled(Guided(dae, label))")
        if space not in SPACES:
            raise InputError(f"guidance is in {' or '.join(SPACES)}, got {space!r}: choose one as `space`")
        if not (math.isfinite(weight) and weight >= 0):
            raise InputError(f"`guidance` must be 0 or more, got {weight:g}: 1 is the model told the class")
        self.dae: Any = dae
        self.label, self.weight, self.space = label, weight, space
        self.card = replace(card_of(dae), labels=())  # for it has been told
        self.corruption, self.shape, self.device = dae.corruption, dae.shape, dae.device

    def __call__(self, x: Tensor, level: float | Tensor) -> Tensor:
        if self.weight in (0, 1):
            return self.dae(x, level, self.label if self.weight else None)
        if self.space == "pixels":
            free, told = (self.dae(x, level, label) for label in (None, self.label))
            return free + self.weight * (told - free)
        free, told = (self.dae.logits(x, level, label) for label in (None, self.label))
        return self.corruption.complete(x, torch.sigmoid(free + self.weight * (told - free)))


def label_number(dae: Denoiser, label: str | int) -> int:
    """The number of a class of a model, given by its name, or by its number as an int.

    Raises:
        InputError: the model does not know it; those that it knows are listed.
    """
    names = card_of(dae).labels
    if not names:
        raise InputError(UNTOLD)
    if isinstance(label, str) and label in names:
        return names.index(label)
    if not isinstance(label, str) and 0 <= label < len(names):
        return int(label)
    more = ", ..." * (len(names) > SHOWN)
    raise InputError(f"this model knows no `label` {label}: it knows {', '.join(names[:SHOWN])}{more}")


def told(dae: Denoiser, label: str | int | None, weight: float = 1.0) -> Denoiser:
    """The model told a class, by :class:`Guided`; itself where there is no ``label``.

    Raises:
        InputError: the model does not know the label, or there is a weight and no label.
    """
    if label is not None:
        return Guided(dae, label_number(dae, label), weight)
    if weight != 1:
        raise InputError("`guidance` needs a `label` to guide towards: give one")
    return dae


def drawn_classes(dae: Denoiser, n: int, seed: int, first: int) -> Tensor | None:
    """A class for each image to generate, int64 (n,), or None for a model without labels.

    p(x) is the mean of p(x | c) over the classes c, so an image may be drawn as its class is first, each as likely as
    the others; a network does that better than without a class. That of image i is a function of (seed, first + i).
    """
    known = len(card_of(dae).labels)
    if not known:
        return None
    return torch.tensor([int(np.random.default_rng((seed, first + i, known)).integers(known)) for i in range(n)])
