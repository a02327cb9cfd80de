"""Pictures to and from a browser: uploads decoded within limits, and images as data URLs."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..data import pictures
from ..errors import InputError
from ..gallery import to_picture
from ..pixels import describe_range, find_range, to_float

MOST_DECODED = 2**25
"""Pixels of a picture that is decoded: 33 megapixels, some 100 MB."""
MOST_PIXELS, MOST_SIDE = 2**20, 4096
"""Pixels, and pixels a side, of a picture that is worked on."""
SMALL = 2**16
"""Pixels of a sheet up to which every frame of a film is sent as it is; larger ones as JPEG."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""What an upload may be: formats that Pillow decodes by itself."""


class Upload(io.BytesIO):
    """The bytes of a visitor's file, which has no path."""

    def __repr__(self) -> str:
        return "your file"


def open_picture(url: str, shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """A visitor's picture as a model takes it.

    Args:
        url: a data URL.
        shape: (C,H,W) of the model; 0 is any.

    Returns:
        (C,H,W) float32, 0 black and 1 white, and a sentence for each thing that was done to it.

    Raises:
        InputError: it is no picture, or too large.
    """
    pixels, remarks = _decoded(_bytes_of(url))
    height, width, channels = pixels.shape
    wanted = (shape[0] or channels, *(shape[1:] if shape[1] else _within(height, width)))
    changes = pictures.change_of(pixels, wanted, "crop")
    if wanted[0] == 1 < channels:
        changes.append("made grey")
    span = find_range(pixels.dtype, float(pixels.min()), float(pixels.max()))
    notes = [*remarks.values(), describe_range(pixels.dtype, span, "your file")]
    if pixels.dtype != np.uint8:
        notes.append("This page shows and saves 8 bits; the command dae-sampler keeps the depth of files.")
    if changes:
        notes.append(f"Your picture was {' and '.join(changes)}.")
    image = torch.from_numpy(pictures.bring_to(pixels, wanted, "crop").copy())
    return to_float(image, span), [note for note in notes if note]


def open_mask(url: str, size: Sequence[int]) -> Tensor:
    """What a visitor's mask keeps: bool (H,W), false where it is white.

    Raises:
        InputError: it is no picture of that size, or hides nothing.
    """
    pixels, _ = _decoded(_bytes_of(url))
    if pixels.shape[:2] != tuple(size):
        raise InputError("the mask and the picture differ in size: paint it again")
    keep = torch.from_numpy(pixels[..., 0] < 128)
    if keep.all():
        raise InputError("the mask hides nothing: paint over what is to be filled")
    return keep


def sheet(images: Tensor) -> Tensor:
    """Images (B,C,H,W) in one, (C,H',W'): row by row in ``columns_of(B)`` columns, black where one is missing."""
    columns = columns_of(len(images))
    rows = F.pad(images, (0, 0, 0, 0, 0, 0, 0, -len(images) % columns)).unflatten(0, (-1, columns))
    return rows.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)


def columns_of(n: int) -> int:
    """Columns of a sheet of ``n`` images."""
    return math.ceil(n**0.5)


def to_url(image: Tensor, *, exact: bool = True) -> str:
    """An image (C,H,W), clipped to [0,1], as a data URL: PNG, or JPEG where it is large and need not be ``exact``."""
    kind = "png" if exact or image[0].numel() <= SMALL else "jpeg"
    file = io.BytesIO()
    to_picture(image).save(file, kind, quality=85)
    return data_url(file, kind)


def data_url(file: io.BytesIO, kind: str) -> str:
    """A picture of a format as a data URL."""
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def diverging(field: Tensor) -> Tensor:
    """A field (H,W) in [-1,1] as colours (3,H,W): orange above 0, blue below, dark at 0."""
    up, down = field.clamp(0, 1), (-field).clamp(0, 1)
    dark, orange, blue = (torch.tensor(c).view(3, 1, 1) for c in ([0.09, 0.09, 0.11], [1.0, 0.62, 0.2], [0.3, 0.66, 1]))
    return dark + up * (orange - dark) + down * (blue - dark)


def _bytes_of(url: str) -> bytes:
    head, comma, body = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise InputError("there is no picture: draw or upload one")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        raise InputError("the picture arrived damaged: choose it again") from None


def _decoded(data: bytes) -> pictures.Picture:
    """Pixels (H,W,C), once the header has shown that they are not too many."""
    Image.init()
    formats = tuple(name for name in FORMATS if name in Image.OPEN)
    try:
        with Image.open(Upload(data), formats=formats) as picture:
            count = picture.width * picture.height
    except Image.DecompressionBombError:
        count = MOST_DECODED + 1
    except Exception:  # Pillow raises almost anything on a damaged file
        known = ", ".join(formats[:-1])
        raise InputError(f"this file is no picture that opens here: take {known} or {formats[-1]}") from None
    if count > MOST_DECODED:
        raise InputError(f"this picture has more than {MOST_DECODED / 1e6:.0f} megapixels: scale it down first")
    return pictures.read(Upload(data), formats=formats)


def _within(height: int, width: int) -> tuple[int, int]:
    """The size, scaled down to what the page takes."""
    scale = min(1.0, (MOST_PIXELS / (height * width)) ** 0.5, MOST_SIDE / max(height, width))
    return max(1, int(height * scale)), max(1, int(width * scale))
