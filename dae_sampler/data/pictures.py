"""Pictures from their files: pixels in the depth of the file, upright, grey or colour by content, brought to a shape.

Pixels of one picture are (H,W,C), uint8, uint16 or float32; those for a model (C,H,W).
"""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ..errors import InputError, unknown
from ..pixels import is_grey
from . import deep

FITS = ("crop", "pad", "squash")
"""How a picture is brought to a size: see :func:`bring_to`."""
OVER = ("black", "white")
"""What transparency is laid over."""
_ONE_PICTURE = frozenset({"ICO", "ICNS", "MPO", "PSD"})
"""Formats whose further pages are previews or layers of the first."""
_PHOTOMETRIC = 262
"""The TIFF tag that is 0 where the least value is white. Pillow obeys it at 8 bits, not at 16."""
_ORIENTATION = 274
"""The tag that says how a camera was held."""
_opening = threading.Lock()


class Picture(NamedTuple):
    """One picture read."""

    pixels: np.ndarray
    """(H,W,C), C 1 or 3, uint8, uint16 or float32."""
    remarks: dict[str, str]
    """A sentence for each kind of thing that people should know of."""


class Header(NamedTuple):
    """What the head of a file says."""

    dtype: str
    """``"uint8"``, ``"uint16"`` or ``"float32"``."""
    pixels: int
    """Width times height."""


def read(path: Path | BinaryIO, over: str = "black", formats: tuple[str, ...] | None = None) -> Picture:
    """The first page of a picture.

    Args:
        path: the file, or an open one, whose ``repr`` then names it in messages.
        over: what transparency is laid over, ``"black"`` or ``"white"``.
        formats: Pillow's names of the formats to read; by default all that Pillow knows.

    Raises:
        InputError: the file is not a readable picture, is too large, or holds values that are not those of a picture.
    """
    try:
        with _opened(path, formats) as picture:
            if _is_cut(picture) and isinstance(path, Path):
                return _in_depth(path, over)
            remarks = _remarks(path, picture)
            ImageOps.exif_transpose(picture, in_place=True)
            if picture.mode == "F" or picture.mode.startswith("I"):
                return Picture(_deep(path, picture)[..., None], remarks)
            if picture.has_transparency_data:
                picture, more = _laid(path, picture.convert("RGBA"), over)
                remarks |= more
            pixels = np.atleast_3d(np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB")))
            return Picture(pixels[..., :1] if is_grey(pixels) else pixels, remarks)
    except (InputError, MemoryError):  # of which the second says nothing of the file
        raise
    except UnidentifiedImageError as error:
        if isinstance(path, Path) and _head(path):
            return _in_depth(path, over)  # floats of several channels, among others
        raise _unreadable(path, error) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = Image.MAX_IMAGE_PIXELS or 0
        raise InputError(
            f"{path} exceeds the limit of {limit / 1e6:.0f} megapixels: scale it down, or cut it into parts"
        ) from None
    except Exception as error:  # Pillow raises almost anything on a damaged file
        raise _unreadable(path, error) from None


def _unreadable(path: Path | BinaryIO, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0]
    return InputError(f"cannot read {path} as a picture ({reason}): remove or replace the file")


def _in_depth(path: Path, over: str) -> Picture:
    pixels, remarks = deep.read(path, over)
    return Picture(pixels[..., :1] if is_grey(pixels) else pixels, remarks)


def header(path: Path) -> Header | None:
    """What the file says of the picture that :func:`read` will give, without decoding it; None for a file that is no
    picture.
    """
    try:
        with _opened(path) as picture:
            more = picture.mode.startswith("I") or _is_cut(picture)
            kind = "float32" if picture.mode == "F" else "uint16" if more else "uint8"
            return Header(kind, picture.width * picture.height)
    except UnidentifiedImageError:
        head = _head(path)
        return Header(head.dtype, head.width * head.height) if head else None
    except Exception:  # as in read, which will tell
        return None


def _head(path: Path) -> deep.Head | None:
    """That of a TIFF file which Pillow cannot open."""
    try:
        return deep.head_of(path)
    except Exception:  # as in read, which will tell
        return None


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height that :func:`read` will give, without decoding the picture; None for a file that is none."""
    try:
        with _opened(path) as picture:
            on_its_side = picture.getexif().get(_ORIENTATION, 1) >= 5
            return picture.size[::-1] if on_its_side else picture.size
    except UnidentifiedImageError:
        head = _head(path)
        return (head.width, head.height) if head else None
    except Exception:  # as in read, which will tell
        return None


def check_options(fit: str | None, over: str) -> None:
    """Refuse what is neither in ``FITS`` nor in ``OVER``.

    Raises:
        InputError: naming the nearest.
    """
    if fit is not None and fit not in FITS:
        raise unknown("fit", fit, FITS)
    if over not in OVER:
        raise unknown("background", over, OVER)


def bring_to(pixels: np.ndarray, shape: tuple[int, int, int], fit: str = "crop") -> np.ndarray:
    """One picture in another shape, its type kept.

    Args:
        pixels: (H,W,C).
        shape: (C,H,W) to bring it to. Channels are changed from 3 to 1 (by luma) and from 1 to 3.
        fit: how the size is changed. ``"crop"`` cuts the middle of the wanted proportions out, ``"pad"`` keeps all of
            the picture and repeats its edge around it, ``"squash"`` changes the proportions. All resize bicubically,
            within the values that the picture has.

    Returns:
        (C,H,W), contiguous.

    Raises:
        InputError: channels cannot be changed that way.
    """
    channels, height, width = shape
    pixels = with_channels(pixels, channels)
    if pixels.shape[:2] != (height, width):
        planes = [pixels] if pixels.dtype == np.uint8 and channels == 3 else list(np.moveaxis(pixels, 2, 0))
        pixels = np.dstack([_resized(plane, width, height, fit) for plane in planes])
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0))


def change_of(pixels: np.ndarray, shape: tuple[int, int, int], fit: str) -> list[str]:
    """What :func:`bring_to` does to the size of the picture, in words; nothing where it has that size."""
    (height, width), (_, wanted_height, wanted_width) = pixels.shape[:2], shape
    if (height, width) == (wanted_height, wanted_width):
        return []
    how = {"crop": "cropped and resized", "pad": "resized and padded", "squash": "squashed"}[fit]
    if height * wanted_width == width * wanted_height:
        how = "resized"
    return [f"{how} to {wanted_width}x{wanted_height}"]


def _opened(path: Path | BinaryIO, formats: tuple[str, ...] | None = None) -> ImageFile.ImageFile:
    # What warnings do is a setting of the whole process: one thread at a time may change it, for the header alone.
    with _opening, warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
        return Image.open(path, formats=formats)


def _remarks(path: Path | BinaryIO, picture: ImageFile.ImageFile) -> dict[str, str]:
    pages = 1 if picture.format in _ONE_PICTURE else getattr(picture, "n_frames", 1)
    remarks = deep.on_pages(path, pages)
    if _is_cut(picture):
        remarks["cut"] = f"{path} has 16 bits a channel, of which 8 are read"
    return remarks


def _is_cut(picture: ImageFile.ImageFile) -> bool:
    """Whether Pillow decodes a picture to 8 bits though the file has 16: it does for several channels."""
    parts: list[tuple[str, Any]] = []
    if picture.mode[0] not in "IF":
        parts = [(tile[0], tile[3]) for tile in picture.tile]
    return any(";16" in str(arguments) or (codec == "ppm" and arguments[1] > 255) for codec, arguments in parts)


def _deep(path: Path | BinaryIO, picture: Image.Image) -> np.ndarray:
    """Pixels of more than 8 bits, (H,W)."""
    pixels = deep.plain(path, np.asarray(picture))
    if pixels.dtype.kind == "f":
        if not np.isfinite([pixels.min(), pixels.max()]).all():
            raise InputError(f"{path} holds values that are not finite: replace NaN and infinities first")
        return pixels
    white_is_least = picture.mode.startswith("I;16") and getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == 0
    return 65535 - pixels if white_is_least else pixels


def _laid(path: Path | BinaryIO, rgba: Image.Image, over: str) -> tuple[Image.Image, dict[str, str]]:
    """A transparent picture over ``over``, RGB, and a remark where that leaves next to nothing of it."""
    laid = Image.alpha_composite(Image.new("RGBA", rgba.size, over), rgba).convert("RGB")
    alpha = np.asarray(rgba.getchannel("A"))
    background = 255 if over == "white" else 0
    nothing_left = alpha.min() < 255 and not (np.abs(np.asarray(laid, np.int16) - background) > 2).any()
    if not nothing_left:
        return laid, {}
    if alpha.max() == 0:
        return laid, {"empty": f"{path} is wholly transparent"}
    other = OVER[over == "black"]
    return laid, {"blank": f"{path} is blank once its transparency is laid over {over}: lay it over {other}"}


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """(H,W,C) with 1 channel in place of 3, by luma, or 3 in place of 1.

    Raises:
        InputError: it is neither.
    """
    found = pixels.shape[2]
    if found == channels:
        return pixels
    if (found, channels) == (1, 3):
        return pixels.repeat(3, axis=2)
    if (found, channels) != (3, 1):
        raise InputError(
            f"a picture of {found} channels cannot be given {channels}: only grey and colour are converted"
        )
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    return (luma.round() if pixels.dtype.kind == "u" else luma).astype(pixels.dtype)[..., None]


def _resized(plane: np.ndarray, width: int, height: int, fit: str) -> np.ndarray:
    """(H,W), or (H,W,3) of 8 bits, at another size."""
    eight_bits = plane.dtype == np.uint8
    picture = Image.fromarray(np.ascontiguousarray(plane) if eight_bits else plane.astype(np.float32))
    if fit == "crop":
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
    else:
        scale = min(width / picture.width, height / picture.height)
        inner = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
        picture = picture.resize(inner if fit == "pad" else (width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(picture)
    if not eight_bits:
        pixels = np.clip(pixels, plane.min(), plane.max())
        pixels = (np.rint(pixels) if plane.dtype.kind == "u" else pixels).astype(plane.dtype)
    above, left = (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2
    margins = ((above, height - pixels.shape[0] - above), (left, width - pixels.shape[1] - left), (0, 0))
    return np.pad(pixels, margins[: pixels.ndim], mode="edge") if fit == "pad" else pixels
