"""Denoisers that know more than the model: each has the call of what it wraps, so that every sampler works with it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..errors import UNTOLD, InputError
from .plan import card_of
from .samplers import Denoiser

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
        if space not in SPACES:
            raise InputError(f"guidance is in {' or '.join(SPACES)}, got {space!r}: choose one as `space`")
        if not (math.isfinite(weight) and weight >= 0):
            raise InputError(f"`guidance` must be 0 or more, got {weight:g}: 1 is the model told the class")
        self.dae: Any = dae
        self.label, self.weight, self.space = label, weight, space
        self.card, self.corruption, self.shape, self.device = card_of(dae), dae.corruption, dae.shape, dae.device

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
