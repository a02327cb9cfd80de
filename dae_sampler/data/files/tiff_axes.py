"""Which pages of a TIFF file are channels of one picture: what ImageJ, OME and tifffile write into its description.

The pages of such a file run through channels (C), slices (Z), time (T) and what else there is in a fixed order.
"""

from __future__ import annotations

import json
import math
import re
from typing import NamedTuple

import numpy as np

MAX_CHANNELS = 16
"""Pages said to be channels are taken for pages beyond this number."""


class Axes(NamedTuple):
    """How pages run, slowest first."""

    letters: str
    sizes: tuple[int, ...]

    @property
    def pages(self) -> int:
        return math.prod(self.sizes)

    def groups(self) -> list[list[int]]:
        """The numbers of the pages that make up each picture, one or as many as it has channels."""
        number = np.arange(self.pages).reshape(self.sizes)
        if self.letters.count("C") != 1:
            return number.reshape(-1, 1).tolist()
        where = self.letters.index("C")
        channels = self.sizes[where]
        if channels > MAX_CHANNELS:
            return number.reshape(-1, 1).tolist()
        groups = np.moveaxis(number, where, -1).reshape(-1, channels)
        return sorted(groups.tolist())


def read_axes(description: bytes, samples: int, size: int, pages: int) -> Axes | None:
    """What the description of a page says about it and those after it; None if it says nothing that can be true.

    Args:
        description: the text of the tag.
        samples: of a pixel.
        size: values of the page.
        pages: how many there can be at most, from this one on.
    """
    for read in (_imagej, _shaped, _ome):
        try:
            axes = read(description, samples, size)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # a text that only looks like one of these
        if axes and all(n > 0 for n in axes.sizes) and 1 < axes.pages <= pages:
            return axes
    return None


def _imagej(description: bytes, samples: int, size: int) -> Axes | None:
    if not description.startswith(b"ImageJ="):
        return None
    lines = description.decode("latin-1").rstrip("\0").splitlines()
    said = dict(line.split("=", 1) for line in lines if "=" in line)
    count = {axis: int(said.get(name, 1)) for axis, name in (("c", "channels"), ("z", "slices"), ("t", "frames"))}
    images = int(said.get("images", 1))
    if samples > 1 and count["c"] == samples:
        count["c"] = 1
    if math.prod(count.values()) != images:
        return Axes("I", (images,)) if images > 1 else Axes("TZC", (count["t"], count["z"], count["c"]))
    order = said.get("order", "czt").lower()
    order = order if sorted(order) == ["c", "t", "z"] else "czt"
    return Axes(order[::-1].upper(), tuple(count[axis] for axis in order[::-1]))


def _shaped(description: bytes, samples: int, size: int) -> Axes | None:
    if not description.startswith(b'{"shape":'):
        return None
    said = json.loads(description.rstrip(b"\0 "))
    shape = [int(n) for n in said["shape"]]
    letters = said.get("axes") or "Q" * len(shape)
    for depth in range(len(shape)):
        if math.prod(shape[depth:]) == size and len(letters) == len(shape):
            return Axes(letters[:depth], tuple(shape[:depth]))
    return None


def _ome(description: bytes, samples: int, size: int) -> Axes | None:
    if b"<OME" not in description[:4096] and b":OME" not in description[:4096]:
        return None
    found = re.findall(rb"<(?:\w+:)?Pixels\s[^>]*>", description)
    if len(found) != 1 or re.search(rb"<(?:\w+:)?UUID\b[^>]*FileName", description):
        return None  # several pictures, or spread over several files
    said = dict(re.findall(rb'(\w+)\s*=\s*"([^"]*)"', found[0]))
    order = said[b"DimensionOrder"].decode()[2:]
    count = {axis: int(said[f"Size{axis}".encode()]) for axis in "CZT"}
    if samples > 1:
        count["C"] = max(1, count["C"] // samples)
    return Axes(order[::-1], tuple(count[axis] for axis in order[::-1]))
