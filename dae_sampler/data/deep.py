"""First pages of pictures that Pillow does not read in full depth: several channels of more than 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ..errors import InputError
from .files import read_file
from .files.tags import MAGIC, read_chain
from .files.tiff_facts import describe


class Head(NamedTuple):
    """What a TIFF file says of its first page."""

    dtype: str
    """``"uint8"``, ``"uint16"`` or ``"float32"``, as it is read."""
    width: int
    height: int
    """Upright."""


def head_of(path: Path) -> Head:
    """The head of a TIFF file, also of one that Pillow cannot open.

    Raises:
        ValueError: it is no TIFF file; one that is damaged raises other errors.
    """
    with path.open("rb") as file:
        if file.read(4) not in MAGIC:
            raise ValueError(f"{path} is no TIFF file")
        file.seek(0)
        layout, directories = read_chain(file)
    facts = describe(directories[0].tags, layout)
    size = (facts.height, facts.width) if facts.orientation >= 5 else (facts.width, facts.height)
    return Head("float32" if facts.kind == "f" else "uint16" if facts.bits > 8 else "uint8", *size)


def read(path: Path, over: str) -> tuple[np.ndarray, dict[str, str]]:
    """The first page, (H,W,C) with C 1 or 3, uint8, uint16 or float32, laid over ``over`` where it is transparent; and
    remarks.

    Raises:
        InputError: the file cannot be read, or is neither grey nor in colour.
    """
    file = read_file(path)
    pixels, alpha = file.pages[0], file.alpha[0]
    if pixels.shape[2] not in (1, 3):
        raise InputError(f"{path} has {pixels.shape[2]} channels: only grey and colour are read; split it into these")
    if alpha is not None:
        top = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
        share = (alpha / top)[..., None]
        laid = pixels * share + (top if over == "white" else 0.0) * (1 - share)
        pixels = (laid if pixels.dtype.kind == "f" else laid.round()).astype(pixels.dtype)
    return plain(path, pixels), on_pages(path, len(file.pages))


def on_pages(path: Path | BinaryIO, pages: int) -> dict[str, str]:
    """The remark on a file of several pages."""
    return {"pages": f"{path} holds {pages} pages, of which the first is read"} if pages > 1 else {}


def plain(path: Path | BinaryIO, pixels: np.ndarray) -> np.ndarray:
    """Pixels of any shape and type in one of the three types that are trained on: uint8, uint16 or float32.

    Raises:
        InputError: they are integers beyond 0 to 65535.
    """
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32, copy=False)
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    low, high = pixels.min(), pixels.max()
    if low < 0 or high > 65535:
        raise InputError(f"{path} holds integers from {low} to {high}: save it with 0 to 65535, or as 32-bit floats")
    return pixels.astype(np.uint16)
