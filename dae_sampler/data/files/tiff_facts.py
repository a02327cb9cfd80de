"""How one page of a TIFF file lies in it, as its tags declare, checked against the size of the file."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .picture import GREY, RGB, WHITE_IS_LEAST
from .tags import DamagedError, Layout, Tags, number, numbers

PALETTE, MASK, INKS, YCBCR, LAB = 3, 4, 5, 6, 8
BASE = {WHITE_IS_LEAST: 1, GREY: 1, RGB: 3, PALETTE: 1, MASK: 1, INKS: 4, YCBCR: 3, LAB: 3}
"""Samples of a pixel, without extra ones, by `photometric`: those that can be read."""
NO_COMPRESSION, JPEG, DEFLATE = 1, 7, 8
_BOUNDED, _MOST_SQUEEZED = frozenset({5, DEFLATE, 32773, 32946}), 1 << 15
"""Compressions that no data can shrink further than this, LZW, deflate and PackBits, with one bit in a byte."""
_LARGEST_TILE = 1 << 24
_MOST_SAMPLES = 1 << 12


@dataclass(frozen=True)
class Facts:
    """What the tags of a page declare."""

    width: int
    height: int
    depth: int
    samples: int
    bits: int
    kind: str
    """``"u"``, ``"i"`` or ``"f"``, as numpy has them; ``"c"`` for others."""
    photometric: int
    compression: int
    predictor: int
    separate: bool
    extras: tuple[int, ...]
    orientation: int
    segment: tuple[int, int]
    """Height and width of a strip or a tile."""
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    """Where the strips or tiles are, and how many bytes they take."""

    @property
    def bytes(self) -> int:
        """Of the page in memory."""
        return self.width * self.height * self.depth * self.samples * (1 << max(0, (self.bits - 1).bit_length() - 3))

    def check(self, size: int) -> None:
        """Refuse what cannot lie in a file of ``size`` bytes.

        Raises:
            DamagedError: saying what is wrong.
        """
        if not (1 <= self.samples <= _MOST_SAMPLES and 1 <= self.bits <= 64 and self.depth >= 1):
            raise DamagedError("its pixels are declared in an impossible way")
        rows, columns = self.segment
        if rows < 1 or columns < 1 or rows * columns > max(_LARGEST_TILE, 4 * self.width * self.height):
            raise DamagedError("its tiles are declared in an impossible way")
        planes = self.depth * (self.samples if self.separate else 1)
        wanted = math.ceil(self.height / rows) * math.ceil(self.width / columns) * planes
        if len(self.offsets) < wanted or len(self.counts) < wanted:
            raise DamagedError("parts of a page are missing")
        parts = list(zip(self.offsets, self.counts, strict=False))[:wanted]
        if not all(offset and count for offset, count in parts):
            raise DamagedError("parts of a page are missing")
        if any(offset + count > size for offset, count in parts):
            raise DamagedError("it is cut off")
        if self.compression in _BOUNDED and self.bytes > _MOST_SQUEEZED * sum(count for _, count in parts):
            raise DamagedError("its pages are shorter than they claim")
        if self.compression == NO_COMPRESSION and self.photometric != YCBCR:
            row = math.ceil(columns * self.bits * (1 if self.separate else self.samples) / 8)
            full = math.ceil(self.height / rows) * rows if columns != self.width else self.height
            if sum(count for _, count in parts) < row * full * math.ceil(self.width / columns) * planes:
                raise DamagedError("its pages are shorter than they claim")


def describe(tags: Tags, layout: Layout) -> Facts:
    """The facts of a page.

    Raises:
        DamagedError: its samples differ in depth or type.
    """
    width, height = number(tags, 256, layout), number(tags, 257, layout)
    tiled = 322 in tags
    rows = min(number(tags, 278, layout, height), height)
    segment = (number(tags, 323, layout), number(tags, 322, layout)) if tiled else (rows, width)
    offsets = numbers(tags, 324 if tiled else 273, layout) or numbers(tags, 273, layout)
    counts = numbers(tags, 325 if tiled else 279, layout) or numbers(tags, 279, layout)
    bits = numbers(tags, 258, layout, (1,))
    form, *forms = numbers(tags, 339, layout, (1,))
    if len({*bits}) > 1 or {*forms} - {form}:
        raise DamagedError("its channels differ in depth or type, which is not supported")
    samples = number(tags, 277, layout, 1)
    compression = number(tags, 259, layout, NO_COMPRESSION)
    depth = number(tags, 32997, layout, 1)
    if not counts and len(offsets) == 1 and compression == NO_COMPRESSION:
        counts = (math.ceil(width * samples * bits[0] / 8) * height * depth,)
    return Facts(
        width=width,
        height=height,
        depth=depth,
        samples=samples,
        bits=bits[0],
        kind="cuif"[form] if form <= 3 else "c",
        photometric=number(tags, 262, layout, GREY),
        compression=compression,
        predictor=number(tags, 317, layout, 1),
        separate=number(tags, 284, layout, 1) == 2 and samples > 1,
        extras=numbers(tags, 338, layout),
        orientation=number(tags, 274, layout, 1),
        segment=segment,
        offsets=offsets,
        counts=counts,
    )
