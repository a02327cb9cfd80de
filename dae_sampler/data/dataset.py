"""Images to train on, and the batches that training takes from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import pixels
from ..errors import InputError
from ..noise import Noise
from ..pixels import Range
from .memory import take

_FINGERPRINTED = 64
"""Images that a fingerprint looks at."""


class Batch(NamedTuple):
    """What one training step takes, in the type of the files; :func:`.pixels.to_float` makes images of it."""

    x: Tensor
    """Clean images, (B,C,H,W)."""
    damaged: Tensor | None = None
    """The same images damaged, (B,C,H,W), where a data set has pairs."""
    label: Tensor | None = None
    """Int64 (B,), where a data set has labels."""


@dataclass(frozen=True)
class Dataset:
    """Images to train on, in memory or mapped, with what is to be said about them."""

    images: Tensor
    """(N,C,H,W), uint8, uint16 or float32."""
    name: str
    """Where they are from."""
    span: Range
    """The values that are black and white."""
    notes: tuple[str, ...] = ()
    """One sentence for each thing that was done to the images, or for what was left out."""
    skipped: tuple[str, ...] = ()
    """One sentence for each file of a folder that could not be read."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C,H,W) of each image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def unusual_span(self) -> Range | None:
        """The values that are black and white, where they are not the type's own; None where they are."""
        own = pixels.full_range(np.dtype(str(self.images.dtype).removeprefix("torch.")))
        return None if self.span == own else self.span

    def plain_images(self) -> Tensor:
        """All images as functions take them: uint8 where that is their type and range, else float32 in [0,1]."""
        plain = self.images.dtype == torch.uint8 and self.unusual_span is None
        return self.images if plain else pixels.to_float(self.images, self.span)

    def take(self, rows: Tensor, noise: Noise | None = None, augment: str | None = None) -> Batch:
        """The images of ``rows``, int64 (B,), varied by :func:`.pixels.augment` where it is given a way and a noise.

        Raises:
            IndexError: a row is not among the images.
            InputError: there is no such augmentation.
        """
        x = take(self.images, rows)
        if x.is_floating_point():  # what rounding carries beyond the range has no entropy
            x = x.clamp(*self.span)
        return Batch(pixels.augment(x, augment, noise) if augment and noise else x)

    def fingerprint(self) -> str:
        """A digest of the images, the same wherever they lie: of their number, shape and type, and of some of them."""
        images = self.images
        digest = hashlib.sha256(repr((tuple(images.shape), str(images.dtype))).encode())
        rows = torch.linspace(0, len(images) - 1, min(len(images), _FINGERPRINTED), dtype=torch.float64).long()
        for row in rows.tolist():
            digest.update(images[row].cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def as_dataset(images: Dataset | Tensor | np.ndarray, name: str = "images") -> Dataset:
    """Images as a data set: what :func:`.pixels.as_images` accepts, floats in [0,1] up to rounding.

    Raises:
        InputError: they are not images, none at all, or not in [0,1].
    """
    if isinstance(images, Dataset):
        return images
    images = pixels.as_images(images, what=name, beyond=0)
    if not len(images):
        raise InputError(f"{name}: there are none; training needs one image or more")
    return Dataset(images, name, (0.0, 255.0) if images.dtype == torch.uint8 else (0.0, 1.0))
