"""What is known of a picture file: its pages, and all that a restored version of it must have again."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ...errors import InputError
from ...pixels import is_grey
from .tags import Layout, Tags

GREY, WHITE_IS_LEAST, RGB = 1, 0, 2
"""The `photometric` of a plane that can be written."""
_MOST_PER_INCH = 4e6
_PER_INCH = {"inch": 1.0, "centimetre": 2.54, "metre": 0.0254}


class Resolution(NamedTuple):
    """Pixels for a unit of length."""

    x: float
    y: float
    unit: str
    """``"inch"``, ``"centimetre"``, ``"metre"``, or ``"none"``: only the proportions of a pixel are known."""

    def per(self, unit: str) -> tuple[float, float]:
        """Pixels across and down for another unit of length."""
        if self.unit == "none":
            raise ValueError("only the proportions of a pixel are known")
        scale = _PER_INCH[self.unit] / _PER_INCH[unit]
        return self.x * scale, self.y * scale


def resolution(x: float, y: float, unit: str) -> Resolution | None:
    """A resolution, if the numbers make sense."""
    most = _MOST_PER_INCH / _PER_INCH.get(unit, 1.0)
    return Resolution(float(x), float(y), unit) if 0 < x < most and 0 < y < most else None


@dataclass
class Metadata:
    """What a file says beside its pixels. The picture is upright: nothing here says how to turn it."""

    icc: bytes | None = None
    """The ICC profile."""
    resolution: Resolution | None = None
    exif: bytes | None = None
    """The EXIF block, which begins ``II*`` or ``MM``."""
    xmp: bytes | None = None
    text: dict[str, str] = field(default_factory=dict)
    """Texts of a PNG, or the ``"Comment"`` of a JPEG, by keyword."""
    durations: list[int] = field(default_factory=list)
    """Milliseconds that each page of an animation is shown; empty for other files."""
    loop: int | None = None
    """How often an animation is played, 0 for ever; None does not say."""
    chunks: list[tuple[bytes, bytes]] = field(default_factory=list)
    """The chunks of a PNG that a new PNG takes over as they are."""
    white: int | None = None
    """The value of white in the file, where that is not the type's own (PGM and PPM)."""

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Pixels per inch, across and down."""
        known = self.resolution is not None and self.resolution.unit != "none"
        return self.resolution.per("inch") if self.resolution and known else None


@dataclass(frozen=True)
class Plane:
    """How a TIFF file keeps a page, or one channel of it."""

    place: int
    """Its number in the file."""
    tags: Tags
    """Those that are written again."""
    photometric: int = GREY
    bits: int = 8
    """Bits of a sample."""
    extras: tuple[int, ...] = ()
    """What the samples beyond grey or RGB are: 0 unknown, 1 premultiplied alpha, 2 alpha."""
    separate: bool = False
    """Each channel is stored by itself."""
    compression: int = 8
    predictor: int = 1

    @property
    def alpha_at(self) -> int | None:
        """Which sample is the alpha."""
        found = [i for i, kind in enumerate(self.extras) if kind in (1, 2)]
        return (3 if self.photometric == RGB else 1) + found[0] if found else None


@dataclass
class Page:
    """One page on its way in or out."""

    pixels: np.ndarray
    """(H,W,C). On its way out in its final type, C being 1 or 3 in most formats."""
    alpha: np.ndarray | None = None
    """(H,W)."""
    as_rgb: bool = False
    """The file keeps it as RGB."""
    binary: bool = False
    """The file keeps one bit a pixel; here it is 0 and 255."""
    planes: list[Plane] = field(default_factory=list)
    """In a TIFF file, what the page is made of."""
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def samples(self) -> np.ndarray:
        """(H,W,S), the alpha last."""
        return self.pixels if self.alpha is None else np.dstack([self.pixels, self.alpha])

    def image(self) -> Image.Image:
        """It for Pillow: 1 or 8 bits, grey or RGB."""
        samples = self.samples
        picture = Image.fromarray(np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples))
        return picture.convert("1", dither=Image.Dither.NONE) if self.binary else picture


@dataclass
class Stored:
    """What is particular to a TIFF file."""

    layout: Layout
    planes: list[list[Plane]]
    """For each page the planes that it is made of: one, or one for each channel."""


@dataclass
class PictureFile:
    """A picture file, read."""

    path: Path
    format: str
    """``"TIFF"``, ``"PNG"``, ``"JPEG"``, … as Pillow calls it."""
    pages: list[np.ndarray]
    """Each (H,W,C), upright, black least, in the type of the file: uint8, uint16, uint32, int8, int16, int32, float16,
    float32 or float64. C is 1 for grey, 3 for RGB, another number for channels without a meaning. Finite."""
    alpha: list[np.ndarray | None]
    """For each page its alpha (H,W), in the type of the page, or None."""
    as_rgb: list[bool]
    """For each page, whether the file keeps it as RGB."""
    binary: list[bool]
    """For each page, whether the file keeps one bit a pixel; it is read as 0 and 255."""
    grey_as_rgb: bool = False
    """All RGB pages have three equal channels: they are given as one and written as three."""
    lossy: bool = False
    """The format loses detail whenever it is written."""
    notes: dict[str, str] = field(default_factory=dict)
    """A sentence for each kind of thing that people should know of."""
    metadata: Metadata = field(default_factory=Metadata)
    stored: Stored | None = None
    """For a TIFF file, how it keeps its pages."""


def check_size(path: Path, width: int, height: int, large: bool) -> None:
    """Refuse a page of more pixels than Pillow allows, unless ``large``, and one without pixels.

    Raises:
        InputError: saying so.
    """
    if width < 1 or height < 1:
        raise InputError(f"{path} has a page of {width}x{height} pixels: remove or replace the file")
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit and not large:
        raise InputError(
            f"{path} is {width}x{height}, {width * height / 1e6:,.0f} megapixels, and the limit is "
            f"{limit / 1e6:.0f}: give `large` where a command has it, or cut the picture into parts"
        )


def check_memory(path: Path, size: int) -> None:
    """Refuse a file whose pixels take ``size`` bytes if the machine has fewer.

    Raises:
        InputError: saying so.
    """
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > there:
        raise InputError(
            f"{path} claims {size / 1e9:,.1f} GB of pixels, and this machine has {there / 1e9:.1f} GB of memory: "
            "cut it into parts, or replace the file if it is damaged"
        )


def top(dtype: np.dtype, bits: int = 0) -> int:
    """The greatest value of an unsigned type of which ``bits`` are used; one bit a pixel is 0 and 255."""
    return np.iinfo(dtype).max >> max(0, dtype.itemsize * 8 - max(8, bits)) if bits else np.iinfo(dtype).max


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H,W,C) or (H,W) turned as the EXIF or TIFF orientation, 1 to 8, says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def assemble(path: Path, kind: str, pages: list[Page], metadata: Metadata, notes: dict[str, str]) -> PictureFile:
    """The file that pages make up, with RGB pages that are all grey given as one channel, which `grey_as_rgb` says."""
    colours = [page for page in pages if page.as_rgb]
    merge = bool(colours) and all(page.pixels.shape[2] == 3 and is_grey(page.pixels) for page in colours)
    if merge:
        for page in colours:
            page.pixels = np.ascontiguousarray(page.pixels[..., :1])
    for page in pages:
        notes |= page.notes
    return PictureFile(
        path=path,
        format=kind,
        pages=[page.pixels for page in pages],
        alpha=[page.alpha for page in pages],
        as_rgb=[page.as_rgb for page in pages],
        binary=[page.binary for page in pages],
        grey_as_rgb=merge,
        notes=notes,
        metadata=metadata,
    )
