"""The formats that pictures are written in, and what each can hold."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ...errors import InputError
from .picture import Metadata, Page, PictureFile, Stored
from .png import write_png
from .tiff_out import planes_for, write_tiff

QUALITY = 95
"""Of JPEG and AVIF, which also keep the colours of every pixel (4:4:4)."""
_JFIF = {"none": 0, "inch": 1, "centimetre": 2}
COMMENT = "Comment"
"""The one text that a JPEG has."""
_BLOCKS = frozenset({"icc", "exif", "xmp"})
_TAGS = _BLOCKS | {"resolution"}


class Target(NamedTuple):
    """A format."""

    suffixes: tuple[str, ...]
    write: Callable[[list[Page], PictureFile, Path], None]
    keeps: frozenset[str]
    """Fields of the metadata, and ``COMMENT``."""
    depths: tuple[int, ...] = (8,)
    """Bits of an unsigned sample; () is any type and any number of channels."""
    alpha: bool = False
    pages: str = "one"
    """``"one"``, ``"animation"`` (several of 8 bits and one size that the source shows in time), or ``"any"``."""
    binary: bool = False
    """One bit a pixel."""
    side: int = 2**31 - 1
    """The most pixels across or down."""
    block: int = 2**31 - 1
    """The most bytes of EXIF or XMP."""


def _write_tiff(pages: list[Page], source: PictureFile, path: Path) -> None:
    stored = source.stored and Stored(source.stored.layout, [page.planes for page in pages])
    write_tiff(pages, stored or planes_for(pages, source.metadata), path)


def _write_png(pages: list[Page], source: PictureFile, path: Path) -> None:
    write_png(pages, source.metadata, path)


def _write_jpeg(pages: list[Page], source: PictureFile, path: Path) -> None:
    metadata = source.metadata
    options = _blocks(metadata)
    if comment := metadata.text.get(COMMENT):
        options["comment"] = comment.encode("latin-1", "replace")[:65000]
    pages[0].image().save(path, "JPEG", quality=QUALITY, subsampling=0, **options)
    if metadata.resolution:
        unit = metadata.resolution.unit
        x, y = metadata.resolution.per("inch") if unit == "metre" else metadata.resolution[:2]
        density = struct.pack(">BHH", _JFIF.get(unit, 1), *(min(65535, max(1, round(value))) for value in (x, y)))
        with path.open("rb+") as file:
            file.seek(13)  # within the first block, JFIF, which Pillow writes in whole dots per inch
            file.write(density)


def _write_webp(pages: list[Page], source: PictureFile, path: Path) -> None:
    options = _blocks(source.metadata) | _moving(pages, source.metadata)
    pages[0].image().save(path, "WEBP", lossless=True, exact=True, **options)


def _write_avif(pages: list[Page], source: PictureFile, path: Path) -> None:
    if "AVIF" not in Image.SAVE:
        raise InputError("this Pillow writes no AVIF: name the file .png")
    options = _blocks(source.metadata) | _moving(pages, source.metadata)
    pages[0].image().save(path, "AVIF", quality=QUALITY, subsampling="4:4:4", **options)


def _write_bmp(pages: list[Page], source: PictureFile, path: Path) -> None:
    pages[0].image().save(path, "BMP", dpi=source.metadata.dpi or (0, 0))


def _write_pnm(pages: list[Page], source: PictureFile, path: Path) -> None:
    page = pages[0]
    height, width, channels = page.pixels.shape
    kind = 4 if page.binary else 5 if channels == 1 else 6
    with path.open("wb") as file:
        file.write(f"P{kind}\n{width} {height}\n".encode())
        if page.binary:
            file.write(np.packbits(page.pixels[..., 0] < 128, axis=1).tobytes())
            return
        most, white, pixels = int(np.iinfo(page.pixels.dtype).max), source.metadata.white, page.pixels
        file.write(f"{white or most}\n".encode())
        if white:
            pixels = np.rint(pixels * (white / most))
        pixels.astype(page.pixels.dtype.newbyteorder(">")).tofile(file)


def _blocks(metadata: Metadata) -> dict[str, Any]:
    """What Pillow takes for the blocks that several formats have."""
    options: dict[str, Any] = {}
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.exif:
        options["exif"] = b"Exif\0\0" + metadata.exif
    if metadata.xmp:
        options["xmp"] = metadata.xmp
    return options


def _moving(pages: list[Page], metadata: Metadata) -> dict[str, Any]:
    """What Pillow takes for an animation."""
    if len(pages) == 1:
        return {}
    frames = [page.image() for page in pages[1:]]
    return {
        "save_all": True,
        "append_images": frames,
        "duration": metadata.durations,
        "loop": metadata.loop or 0,
    }


TARGETS = {
    "TIFF": Target((".tif", ".tiff"), _write_tiff, _TAGS, (), True, "any", binary=True),
    "PNG": Target((".png", ".apng"), _write_png, _TAGS | {"text"}, (8, 16), True, "animation", binary=True),
    "JPEG": Target((".jpg", ".jpeg", ".jpe", ".jfif"), _write_jpeg, _TAGS | {COMMENT}, side=65500, block=65500),
    "WEBP": Target((".webp",), _write_webp, _BLOCKS, (8,), True, "animation", side=16383),
    "AVIF": Target((".avif",), _write_avif, _BLOCKS, (8,), True, "animation", side=65535),
    "BMP": Target((".bmp",), _write_bmp, frozenset({"resolution"}), binary=True),
    "PPM": Target((".ppm", ".pgm", ".pbm", ".pnm"), _write_pnm, frozenset(), (8, 16), binary=True),
}
"""Those that are written, by the name that Pillow has for each."""
