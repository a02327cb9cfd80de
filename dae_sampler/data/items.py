"""Images that come one by one: a map-style data set of torch's, an array of h5py or zarr, a list of pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..noise import Noise
from ..pixels import Range, full_range, to_float
from .arrays import from_array
from .dataset import Batch, every_kth, split_rows, unusual

_FINGERPRINTED = 16
"""Images that a fingerprint looks at."""


@dataclass(frozen=True)
class Items:
    """Images that ``source[i]`` gives, of which no more are in memory than a batch takes.

    An item is an image, or a tuple that begins with one: (C,H,W), (H,W,C) or (H,W), a tensor, an array or a picture of
    Pillow's; uint8, uint16, bool, or floats in [0,1]. All are of the type and shape of the first.
    """

    source: Any
    shape: tuple[int, int, int]
    dtype: torch.dtype
    span: Range
    """The values that are black and white: the type's own."""
    name: str = "images"
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: Any) -> Items:
        """The images of a source that has a length and takes an index.

        Raises:
            InputError: it has not, is empty, or its first item is no image.
        """
        if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
            kind = type(source).__name__
            raise InputError(f"images cannot be taken from a {kind}: it needs a length and an index, as lists have")
        if not len(source):
            raise InputError("images: there are none; training needs one image or more")
        first = _stack(source, [0], None)
        return cls(source, first.shape[1:], torch.from_numpy(first).dtype, full_range(first.dtype))

    def __len__(self) -> int:
        return len(self.source)

    @property
    def target(self) -> str:
        """Clean: such a source has no pairs, and no noisy targets."""
        return "clean"

    @property
    def has_pairs(self) -> bool:
        """No."""
        return False

    @property
    def unusual_span(self) -> Range | None:
        """None: the range is the type's own."""
        return unusual(self.dtype, self.span)

    def split(self, held_out: int) -> tuple[Tensor, Tensor]:
        """Rows to train on and ``held_out`` rows to validate on, every k-th; all rows for both if it is 0."""
        return split_rows(len(self), held_out)

    def take(self, rows: Tensor, noise: Noise | None = None) -> Batch:
        """The images of ``rows``, int64 (B,).

        Raises:
            InputError: one is not of the type and shape of the first.
        """
        x = torch.from_numpy(_stack(self.source, rows.tolist(), self.span))
        if x.dtype != self.dtype or x.shape[1:] != self.shape:
            found = f"{tuple(x.shape[1:])} {x.dtype}, the first {self.shape} {self.dtype}"
            raise InputError(f"images of one data set are alike, but some are {found}: convert them to one type")
        return Batch(x.clamp(*self.span) if x.is_floating_point() else x)

    def whole(self, rows: Tensor, most: int) -> Iterator[Tensor]:
        """The images of ``rows``, at most so many; as :meth:`.Dataset.whole`."""
        for row in rows[every_kth(len(rows), min(len(rows), most))]:
            yield to_float(self.take(row[None]).x[0], self.span)

    def fingerprint(self) -> str:
        """A digest of the number, shape and type of the images, and of some of them."""
        digest = hashlib.sha256(repr((len(self), self.shape, str(self.dtype))).encode())
        rows = torch.linspace(0, len(self) - 1, min(len(self), _FINGERPRINTED), dtype=torch.float64).long()
        digest.update(self.take(rows).x.numpy().tobytes())
        return digest.hexdigest()[:16]


def _stack(source: Any, rows: list[int], span: Range | None) -> np.ndarray:
    """Items as one array (N,C,H,W)."""
    items = [source[row] for row in rows]
    images = [np.asarray(item[0] if isinstance(item, tuple | list) else item) for item in items]
    try:
        stacked = np.stack(images)
    except ValueError:
        raise InputError("images of one data set are alike, but their sizes differ: bring them to one size") from None
    if stacked.ndim not in (3, 4):
        raise InputError(
            f"an item of the data set has the shape {stacked.shape[1:]}: images are (C,H,W), (H,W,C) or (H,W)"
        )
    if stacked.dtype.kind in "iu" and stacked.dtype not in (np.uint8, np.uint16):
        raise InputError(f"images of the data set are {stacked.dtype}: give uint8 0..255, uint16, or floats in [0,1]")
    span = span or full_range(stacked.dtype if stacked.dtype.kind != "b" else np.dtype(np.uint8))
    return np.ascontiguousarray(from_array(stacked, "the data set", beyond=0, span=span).pixels)
