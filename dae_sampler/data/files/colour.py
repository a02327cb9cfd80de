"""Colours that no network takes, as RGB: palettes, the inks of print, and CIELAB."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms


def to_rgb(picture: Image.Image, icc: bytes | None = None) -> Image.Image:
    """A picture of any mode as RGB of 8 bits.

    Args:
        picture: to convert.
        icc: its profile, which says what its inks look like. A profile that does not fit is not used.
    """
    try:
        if picture.mode == "LAB":
            source = ImageCms.createProfile("LAB")
            transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "LAB", "RGB")
            return ImageCms.applyTransform(picture, transform) or picture
        if picture.mode == "CMYK" and icc:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "CMYK", "RGB")
            return ImageCms.applyTransform(picture, transform) or picture
    except (ImageCms.PyCMSError, OSError):
        pass
    return picture.convert("RGB")


def inks_to_rgb(inks: np.ndarray, icc: bytes | None) -> np.ndarray:
    """CMYK (H,W,4), uint8 or uint16, as RGB of the same type: by the profile at 8 bits, else (1-C)(1-K)."""
    if inks.dtype == np.uint8:
        height, width = inks.shape[:2]
        return np.asarray(to_rgb(Image.frombytes("CMYK", (width, height), inks.tobytes()), icc))
    top = np.iinfo(inks.dtype).max
    paper = top - inks.astype(np.float64)
    return np.rint(paper[..., :3] * paper[..., 3:] / top).astype(inks.dtype)


def lab_to_rgb(lab: np.ndarray) -> np.ndarray:
    """CIELAB (H,W,3), uint8 as TIFF has it (a and b signed), as RGB."""
    height, width = lab.shape[:2]
    return np.asarray(to_rgb(Image.frombytes("LAB", (width, height), np.ascontiguousarray(lab).tobytes())))


def look_up(indices: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Indices (H,W) into a TIFF's colour map (3,N) of 16 bits, as RGB of 8 bits, or grey (H,W,1) if it is grey."""
    colours = (table >> 8).astype(np.uint8)  # 257 times, or 256 times, a value of 8 bits
    pixels = colours.T[indices]
    return pixels if (pixels != pixels[..., :1]).any() else np.ascontiguousarray(pixels[..., :1])
