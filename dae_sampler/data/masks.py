"""Masks: what is known of a picture, by half or from a picture that is white where to fill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..pixels import find_range
from . import pictures


def load_mask(mask: str | Path, shape: tuple[int, int, int]) -> Tensor:
    """What to keep of images of ``shape`` (C,H,W): bool (H,W), false in the half that ``mask`` names or where it is
    white.

    Raises:
        InputError: ``mask`` is neither a half nor a readable picture of that size, or hides nothing.
    """
    _, height, width = shape
    keep = torch.ones(height, width, dtype=torch.bool)
    halves = {
        "left": keep[:, : width // 2],
        "right": keep[:, -(-width // 2) :],
        "top": keep[: height // 2],
        "bottom": keep[-(-height // 2) :],
    }
    if str(mask) in halves:
        halves[str(mask)].fill_(False)
    elif not Path(mask).is_file():
        raise InputError(f"no mask at {mask}: give {', '.join(halves)}, or a picture that is white where to fill")
    else:
        pixels = pictures.read(Path(mask)).pixels
        if pixels.shape[:2] != (height, width):
            there = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise InputError(f"the mask {mask} is {there}, the images are {width}x{height}: make one of that size")
        low, high = find_range(pixels.dtype, pixels.min(), pixels.max())
        pixels = pictures.with_channels(pixels, 1)[..., 0]
        keep = torch.from_numpy((pixels - np.float64(low)) / (high - low) <= 0.5)
    if keep.all():
        raise InputError(f"the mask {mask} hides nothing: make it white where to fill")
    return keep
