"""Pictures that Pillow opens: the frames of a file as pages, in the depth that Pillow gives them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from ...errors import InputError
from ...pixels import is_grey
from ..folder import STUBS
from .colour import to_rgb
from .picture import Page, check_memory, upright
from .tags import DamagedError

_ONE_PICTURE = frozenset({"ICNS", "ICO", "MPO", "PSD"})
"""Formats whose further pages are previews or layers of the first."""
_PREFIX = 16


def open_picture(source: Path | bytes) -> ImageFile.ImageFile:
    """A picture in any format that Pillow reads by itself, not yet decoded, of any size.

    ``Image.open`` warns of large pictures by a setting of the whole process, which threads share.

    Args:
        source: the file, or its content.

    Raises:
        DamagedError: it is no picture.
    """
    Image.init()
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        prefix = file.read(_PREFIX)
    for name in (name for name in Image.ID if name not in STUBS):
        make, accepts = Image.OPEN[name]
        verdict = accepts(prefix) if accepts else True  # a text says why not
        if verdict and not isinstance(verdict, str):
            try:
                return make(io.BytesIO(source) if isinstance(source, bytes) else source)  # type: ignore
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue
    raise DamagedError("it is no picture in a known format")


def count_frames(picture: ImageFile.ImageFile) -> tuple[int, int]:
    """How many frames are pages, and how many there are."""
    there = getattr(picture, "n_frames", 1)
    return (1 if picture.format in _ONE_PICTURE else there), there


def read_frames(path: Path, picture: ImageFile.ImageFile, orientation: int = 1) -> tuple[list[Page], list[int]]:
    """The pages of a picture, and how many milliseconds each is shown; none where nothing moves.

    Raises:
        InputError: they do not fit into memory, or hold values that are not those of a picture.
    """
    count, there = count_frames(picture)
    check_memory(path, picture.width * picture.height * 4 * count)
    pages, durations = [], []
    for number in range(count):
        if count > 1:
            picture.seek(number)
        picture.load()
        durations.append(round(picture.info.get("duration", 0)))
        page = _page(path, picture)
        page.pixels = upright(page.pixels, orientation)
        page.alpha = None if page.alpha is None else upright(page.alpha, orientation)
        pages.append(page)
    if there > count:
        pages[0].notes["pages"] = f"{path} holds {there} pictures, of which the first is read: the others belong to it"
    if any(page.alpha is not None for page in pages):
        for page in pages:
            page.alpha = np.full(page.pixels.shape[:2], 255, np.uint8) if page.alpha is None else page.alpha
    if any(page.as_rgb for page in pages):
        for page in pages:
            page.as_rgb, page.pixels = True, page.pixels if page.as_rgb else page.pixels.repeat(3, axis=2)
    return pages, durations if count > 1 else []


def _page(path: Path, picture: Image.Image) -> Page:
    """A frame."""
    mode, notes = picture.mode, dict[str, str]()
    if mode == "F" or mode.startswith("I"):
        return Page(_deep(path, np.asarray(picture))[..., None])
    if mode == "1" and not picture.has_transparency_data:
        return Page(np.asarray(picture.convert("L"))[..., None], binary=True)
    if picture.has_transparency_data:
        grey = mode in ("1", "L", "LA", "La")
        pixels = np.asarray(picture.convert("LA" if grey else "RGBA"))
        pixels, alpha = pixels[..., :-1], np.ascontiguousarray(pixels[..., -1])
    else:
        grey, alpha = mode == "L", None
        pixels = np.asarray(picture) if grey else np.asarray(to_rgb(picture, picture.info.get("icc_profile")))
        pixels = pixels[..., None] if grey else pixels
    if mode[0] == "P":
        grey = is_grey(pixels)
        pixels = pixels[..., :1] if grey else pixels
        notes["palette"] = f"{path} has a palette: it is written as {'grey' if grey else 'RGB'}"
    elif mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        notes["colours"] = f"{path} holds {mode}: it is written as RGB"
    return Page(np.ascontiguousarray(pixels), alpha, not grey, notes=notes)


def _deep(path: Path, pixels: np.ndarray) -> np.ndarray:
    """(H,W) of more than 8 bits: uint16 where that holds it."""
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise InputError(f"{path} holds values that are not finite: replace NaN and infinities first")
        return pixels
    deep = pixels.dtype.itemsize > 2 and (pixels.min() < 0 or pixels.max() > 65535)
    return pixels.astype(np.int32 if deep else np.uint16)
