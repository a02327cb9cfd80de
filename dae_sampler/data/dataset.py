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
from .labels import Labels
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
    """Int64 (B,), -1 where it is not known; where a data set has labels."""

    @property
    def pair(self) -> tuple[Tensor, ...]:
        """What training starts from, and, where that is not x, the target: (x,) or (damaged, x)."""
        return (self.x,) if self.damaged is None else (self.damaged, self.x)


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
    target: str = "clean"
    """``"noisy"`` where the images are so themselves, and their values may leave the range."""
    damaged: Tensor | None = None
    """The same images damaged, in the type and the range of ``images``."""
    things: Tensor | None = None
    """Int64 (N,), rising: images of one number are exposures of one thing."""
    labels: Labels | None = None
    """The class of each image, where they are known."""

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

    @property
    def has_pairs(self) -> bool:
        """Whether batches hold damaged images too."""
        return self.damaged is not None or self.things is not None

    def plain_images(self) -> Tensor:
        """All images as functions take them: uint8 where that is their type and range, else float32 in [0,1]."""
        plain = self.images.dtype == torch.uint8 and self.unusual_span is None
        return self.images if plain else pixels.to_float(self.images, self.span)

    def split(self, held_out: int) -> tuple[Tensor, Tensor]:
        """Rows to train on and ``held_out`` rows to validate on, every k-th; all rows for both if it is 0."""
        return split_rows(len(self), held_out, self.things)

    def take(self, rows: Tensor, noise: Noise | None = None) -> Batch:
        """The images of ``rows``, int64 (B,). ``noise`` chooses the other exposure of a thing, if there are several.

        Raises:
            IndexError: a row is not among the images.
        """
        x = within(take(self.images, rows), self.span, self.target)
        label = None if self.labels is None else self.labels.numbers[rows]
        if self.things is not None:
            return Batch(x, take(self.images, other_exposures(self.things, rows, noise)), label)
        return Batch(x, None if self.damaged is None else take(self.damaged, rows), label)

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
            if self.damaged is not None:
                digest.update(self.damaged[row].cpu().contiguous().numpy().tobytes())
        if self.things is not None:
            digest.update(self.things.numpy().tobytes())
        if self.labels:
            digest.update(self.labels.digestible())
        return digest.hexdigest()[:16]


def split_rows(n: int, held_out: int, things: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rows of ``n`` to train on and ``held_out`` rows to validate on, every k-th; all rows for both if it is 0."""
    rows = torch.arange(n)
    if not held_out:
        return rows, rows
    chosen = chosen_to_hold_out(n, held_out, things)
    return rows[~chosen], rows[chosen]


def within(x: Tensor, span: Range, target: str) -> Tensor:
    """Targets as they are taken: what rounding carries beyond the range is no image, what noise carries there is."""
    return x.clamp(*span) if x.is_floating_point() and target == "clean" else x


def other_exposures(things: Tensor, pictures: Tensor, noise: Noise | None) -> Tensor:
    """For each of ``pictures`` (B,) another one of the same thing: any of them by ``noise``, without it the next."""
    first = torch.searchsorted(things, things[pictures])
    count = torch.searchsorted(things, things[pictures], right=True) - first
    further = 0 if noise is None else (noise.uniform((len(pictures),)).cpu() * (count - 1)).long()
    return first + (pictures - first + 1 + further) % count


def chosen_to_hold_out(n: int, count: int, things: Tensor | None = None) -> Tensor:
    """Bool (n,), true at ``count`` of n pictures; of several things, at about so many pictures of whole things."""
    total = 1 if things is None else int(things[-1]) + 1
    return every_kth(n, count) if things is None or total == 1 else every_kth(total, -(-count * total // n))[things]


def every_kth(n: int, count: int) -> Tensor:
    """Bool (n,), true at ``count`` places that are evenly spread."""
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[torch.linspace(0, n - 1, count, dtype=torch.float64).long()] = True
    return chosen


def unusual(dtype: torch.dtype, span: Range) -> Range | None:
    """A range that is not the full one of a type of pixels; None for that one."""
    return None if span == pixels.full_range(np.dtype(str(dtype).removeprefix("torch."))) else span


def as_dataset(
    images: Dataset | Tensor | np.ndarray,
    name: str = "images",
    target: str = "clean",
    damaged: Tensor | np.ndarray | None = None,
) -> Dataset:
    """Images as a data set: what :func:`.pixels.as_images` accepts; clean ones lie in [0,1] up to rounding.

    Raises:
        InputError: they are not images, none at all, or not in [0,1]; or ``damaged`` is not of their shape.
    """
    if isinstance(images, Dataset):
        return images
    images = pixels.as_images(images, what=name, beyond=0 if target == "clean" else None)
    if not len(images):
        raise InputError(f"{name}: there are none; training needs one image or more")
    partners = None if damaged is None else pixels.as_images(damaged, what="damaged images")
    if partners is not None and partners.shape != images.shape:
        shapes = f"{name} are {tuple(images.shape)}, `damaged` is {tuple(partners.shape)}"
        raise InputError(f"{shapes}: give pairs of one shape")
    if partners is not None and partners.dtype != images.dtype:
        images, partners = pixels.to_float(images), pixels.to_float(partners)
    span = (0.0, 255.0) if images.dtype == torch.uint8 else (0.0, 1.0)
    return Dataset(images, name, span, target=target, damaged=partners)
