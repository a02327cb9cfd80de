"""Pictures of any and of mixed sizes, of which training takes random crops: one flat buffer, cut by index."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import InputError
from ..noise import Noise
from ..pixels import Range, to_float
from .dataset import Batch, Dataset, chosen_to_hold_out, every_kth, other_exposures, unusual, within
from .labels import Labels

MOST_HELD_OUT = 2000
"""Crops that are validated on."""


@dataclass(frozen=True)
class Crops:
    """Pictures to train on by crops; every picture is taken in proportion to its pixels.

    A row is a place for a crop: pictures have one or more, side by side. With noise, the crop of a row lies anywhere
    in its picture; without, at its place.
    """

    buffer: Tensor
    """The pixels of all pictures, one after the other, (C,H,W) each; uint8, uint16 or float32, in memory or mapped."""
    shapes: Tensor
    """Int64 (N,3): C, H and W of each picture; C is 1 or the number of channels."""
    side: int
    """Of the crops, in pixels."""
    channels: int
    name: str
    span: Range
    """The values that are black and white."""
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    target: str = "clean"
    damaged: Tensor | None = None
    """The same pictures damaged, laid out as ``buffer``."""
    things: Tensor | None = None
    """As those of a :class:`.Dataset`."""
    labels: Labels | None = None
    """The class of each picture."""
    offsets: Tensor = field(init=False, repr=False)
    ends: Tensor = field(init=False, repr=False)
    """Of each picture's rows."""

    def __post_init__(self) -> None:
        sizes = self.shapes.prod(1)
        object.__setattr__(self, "offsets", sizes.cumsum(0) - sizes)
        object.__setattr__(self, "ends", self._places().prod(1).cumsum(0))

    def _places(self) -> Tensor:
        """How many crops lie below each other and side by side in each picture, (N,2)."""
        return (self.shapes[:, 1:] / self.side).round().long().clamp(min=1)

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, 0, 0): a model of any size is trained on them."""
        return self.channels, 0, 0

    @property
    def unusual_span(self) -> Range | None:
        """The values that are black and white, where they are not the type's own; None where they are."""
        return unusual(self.buffer.dtype, self.span)

    @property
    def has_pairs(self) -> bool:
        """Whether batches hold damaged crops too."""
        return self.damaged is not None or self.things is not None

    def split(self, held_out: int) -> tuple[Tensor, Tensor]:
        """Rows to train on and rows of ``held_out`` whole pictures, every k-th; all rows for both if it is 0.

        Of the latter at most ``MOST_HELD_OUT``, evenly spread, for large pictures have thousands each.
        """
        training = checking = torch.arange(int(self.ends[-1]))
        if held_out:
            chosen = chosen_to_hold_out(len(self), held_out, self.things)
            apart = chosen[torch.searchsorted(self.ends, training, right=True)]
            training, checking = training[~apart], training[apart]
        return training, checking[every_kth(len(checking), min(len(checking), MOST_HELD_OUT))]

    def take(self, rows: Tensor, noise: Noise | None = None) -> Batch:
        """The crops of ``rows``, int64 (B,): (B,C,side,side); damaged ones are cut from the same places."""
        which = torch.searchsorted(self.ends, rows, right=True)
        room = (self.shapes[which, 1:] - self.side).clamp(min=0)  # how far a crop may move down and right
        if noise is not None:
            start = (noise.uniform((len(rows), 2)).cpu() * (room + 1)).long().clamp(max=room)
        else:
            places = self._places()[which]
            place = rows - (self.ends[which] - places.prod(1))
            at = torch.stack([place // places[:, 1], place % places[:, 1]], 1)
            start = (room * (at / (places - 1).clamp(min=1))).long()
        x = within(self._cut_all(self.buffer, which, start), self.span, self.target)
        label = None if self.labels is None else self.labels.numbers[which]
        if self.things is not None:
            return Batch(x, self._cut_all(self.buffer, other_exposures(self.things, which, noise), start), label)
        return Batch(x, None if self.damaged is None else self._cut_all(self.damaged, which, start), label)

    def whole(self, rows: Tensor, most: int) -> Iterator[Tensor]:
        """The pictures that ``rows`` are crops of, each once and whole; as :meth:`.Dataset.whole`."""
        which = torch.searchsorted(self.ends, rows, right=True).unique()
        for i in which[every_kth(len(which), min(len(which), most))].tolist():
            yield to_float(self._picture(self.buffer, i), self.span).clamp(0, 1).expand(self.channels, -1, -1)

    def _cut_all(self, buffer: Tensor, which: Tensor, start: Tensor) -> Tensor:
        places = zip(which.tolist(), start.tolist(), strict=True)
        return torch.stack([self._cut(self._picture(buffer, i), *at) for i, at in places])

    def _cut(self, whole: Tensor, top: int, left: int) -> Tensor:
        crop = whole[:, top : top + self.side, left : left + self.side]
        missing = [self.side - crop.shape[2], self.side - crop.shape[1]]
        if any(missing):
            crop = reflected(crop, *missing)
        return crop.expand(self.channels, -1, -1)

    def _picture(self, buffer: Tensor, i: int) -> Tensor:
        c, height, width = self.shapes[i].tolist()
        start = int(self.offsets[i])
        return buffer[start : start + c * height * width].view(c, height, width)

    def fingerprint(self) -> str:
        """A digest of the pictures, the same wherever they lie: of their shapes, type and some of their pixels."""
        digest = hashlib.sha256(repr((self.shapes.tolist(), self.side, str(self.buffer.dtype))).encode())
        for pixels in (self.buffer, self.damaged):
            if pixels is not None:
                digest.update(pixels[:: max(1, len(pixels) // 65536)].contiguous().numpy().tobytes())
        if self.things is not None:
            digest.update(self.things.numpy().tobytes())
        if self.labels:
            digest.update(self.labels.digestible())
        return digest.hexdigest()[:16]


def reflected(image: Tensor, right: int, below: int) -> Tensor:
    """(C,H,W) of any type, continued to the right and below by its mirror image, again and again if it is small."""
    _, height, width = image.shape
    rows, columns = (_mirror(size, size + more) for size, more in ((height, below), (width, right)))
    return image[:, rows][:, :, columns]


def _mirror(size: int, length: int) -> Tensor:
    """Indices 0 .. size-1 .. 0 .. of a line that is reflected at its ends."""
    if size == 1:
        return torch.zeros(length, dtype=torch.int64)
    period = torch.arange(length) % (2 * size - 2)
    return torch.minimum(period, 2 * size - 2 - period)


def crops_of(data: Dataset, side: int, pad: bool = False) -> Crops:
    """Crops of images of one size, which are padded by reflection if they are smaller and ``pad`` says so.

    Raises:
        InputError: they are smaller, and not to be padded.
    """
    channels, height, width = data.shape
    notes, small = data.notes, min(height, width) < side
    if small and not pad:
        raise InputError(
            f"{data.name} has images of {width}x{height}: choose a `crop` of at most {min(height, width)}, or `fit` "
            "pad to have them continued by reflection"
        )
    if small:
        notes = (*notes, f"images of {width}x{height} are smaller than the crop and were padded by reflection")
    shapes = torch.tensor([data.shape]).repeat(len(data), 1)
    facts = {"notes": notes, "skipped": data.skipped, "labels": data.labels}
    return Crops(data.images.flatten(), shapes, side, channels, data.name, data.span, **facts)
