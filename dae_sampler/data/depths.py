"""The value ranges of a folder: one for each type of pixels in it, found over all of its files, never for a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..pixels import Range, check_values, describe_range, find_range
from . import pictures
from .workers import in_order

TYPES = ("uint8", "uint16", "float32")
"""Types of pixels, from the plainest to the deepest."""
_WORDS = {"uint8": "8-bit", "uint16": "16-bit", "float32": "float"}


@dataclass(frozen=True)
class Depths:
    """The range of each type of pixels that there is."""

    spans: dict[str, Range]
    pixels: int = 0
    """Of all pictures together, of one channel each."""

    @property
    def deepest(self) -> str:
        """The type that can hold all pictures."""
        return max(self.spans, key=TYPES.index)

    @property
    def span(self) -> Range:
        """The range of that type."""
        return self.spans[self.deepest]

    def to_deepest(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels of any of the types in the deepest, black and white kept."""
        if pixels.dtype == self.deepest:
            return pixels
        (low, high), (wanted_low, wanted_high) = self.spans[pixels.dtype.name], self.span
        scaled = (pixels - low) * ((wanted_high - wanted_low) / (high - low)) + wanted_low
        return (np.rint(scaled) if self.deepest == "uint16" else scaled).astype(self.deepest)

    def check(self, pixels: np.ndarray, name: str, beyond: float | None) -> None:
        """Refuse a picture whose floats lie outside their range by more than ``beyond``, in units of it;
        None allows any distance.

        Raises:
            InputError: naming its extreme values and the cure.
        """
        if pixels.dtype == np.float32:
            low, high = self.spans["float32"]
            least, most = ((float(bound) - low) / (high - low) for bound in (pixels.min(), pixels.max()))
            check_values(least, most, name, beyond)

    def notes(self, folder: Path) -> list[str]:
        """A sentence for each range that is not the full one of its type, and one where there are several types."""
        pictures = {name: f"the {_WORDS[name]} pictures in {folder}" for name in self.spans}
        said = [describe_range(np.dtype(name), span, pictures[name]) for name, span in self.spans.items()]
        if len(self.spans) > 1:
            words = " and ".join(_WORDS[name] for name in sorted(self.spans, key=TYPES.index))
            said.append(f"{folder} holds {words} pictures: each type is read over its own range")
        return [sentence for sentence in said if sentence]


def survey(files: Sequence[Path], span: Range | None = None) -> Depths:
    """The types of pixels in pictures, and their ranges over all of them. Only those deeper than 8 bits are decoded.

    Args:
        files: the pictures; those that cannot be read count for nothing.
        span: the range of all types; by default :func:`.pixels.find_range` has it.
    """
    headers = [pictures.header(file) for file in files]
    present = {header.dtype for header in headers if header} or {TYPES[0]}
    pixels = sum(header.pixels for header in headers if header)
    if span:
        return Depths(dict.fromkeys(sorted(present, key=TYPES.index), span), pixels)
    extremes = {"uint8": (0.0, 255.0)}
    deeper = [file for file, header in zip(files, headers, strict=True) if header and header.dtype != "uint8"]
    for found in in_order(_extremes, deeper):
        if found:
            name, low, high = found
            least, most = extremes.get(name, (low, high))
            extremes[name] = min(least, low), max(most, high)
    readable = [name for name in TYPES if name in present & extremes.keys()] or TYPES[:1]
    return Depths({name: find_range(np.dtype(name), *extremes[name]) for name in readable}, pixels)


def _extremes(file: Path) -> tuple[str, float, float] | None:
    try:
        pixels = pictures.read(file).pixels
    except InputError:
        return None
    return pixels.dtype.name, float(pixels.min()), float(pixels.max())
