"""Images to train on, and the batches that training takes from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
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
        return unusual(self.images.dtype, self.span)

    def plain_images(self) -> Tensor:
        """All images as functions take them: uint8 where that is their type and range, else float32 in [0,1]."""
        plain = self.images.dtype == torch.uint8 and self.unusual_span is None
        return self.images if plain else pixels.to_float(self.images, self.span)

    def split(self, held_out: int) -> tuple[Tensor, Tensor]:
        """Rows to train on and ``held_out`` rows to validate on, every k-th; all rows for both if it is 0."""
        rows = torch.arange(len(self))
        if not held_out:
            return rows, rows
        chosen = every_kth(len(self), held_out)
        return rows[~chosen], rows[chosen]

    def take(self, rows: Tensor, noise: Noise | None = None) -> Batch:
        """The images of ``rows``, int64 (B,). ``noise`` has nothing to decide here.

        Raises:
            IndexError: a row is not among the images.
        """
        x = take(self.images, rows)
        return Batch(x.clamp(*self.span) if x.is_floating_point() else x)  # what rounding carries beyond is no image

    def whole(self, rows: Tensor, most: int) -> Iterator[Tensor]:
        """The pictures of ``rows``, at most so many, evenly spread, as a model is given them: float (C,H,W)."""
        for row in rows[every_kth(len(rows), min(len(rows), most))]:
            yield pixels.to_float(self.take(row[None]).x[0], self.span)

    def fingerprint(self) -> str:
        """A digest of the images, the same wherever they lie: of their number, shape and type, and of some of them."""
        images = self.images
        digest = hashlib.sha256(repr((tuple(images.shape), str(images.dtype))).encode())
        rows = torch.linspace(0, len(images) - 1, min(len(images), _FINGERPRINTED), dtype=torch.float64).long()
        for row in rows.tolist():
            digest.update(images[row].cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def every_kth(n: int, count: int) -> Tensor:
    """Bool (n,), true at ``count`` places that are evenly spread."""
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[torch.linspace(0, n - 1, count, dtype=torch.float64).long()] = True
    return chosen


def unusual(dtype: torch.dtype, span: Range) -> Range | None:
    """A range that is not the full one of a type of pixels; None for that one."""
    return None if span == pixels.full_range(np.dtype(str(dtype).removeprefix("torch."))) else span


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
