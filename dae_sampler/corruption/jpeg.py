"""JPEG artefacts, by Pillow, in memory: the one corruption that is a file format."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..noise import Noise
from .base import Corruption


class Jpeg(Corruption):
    """x written as a JPEG and read again, clipped to [0,1] and rounded to 8 bits. Level: the quality, 1 to 100.

    Three channels are written as colour, with Pillow's usual subsampling, others one by one as grey. The squares that a
    JPEG is made of, 8x8 pixels and in colour 16x16, begin at the picture's corner. As a crop is written by itself, its
    own corner is that; tiles of a picture have to begin at multiples of 16.
    """

    name = "jpeg"
    bounds = (1.0, 100.0)
    shown = (5.0, 95.0, 20.0)
    grid = 16

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        qualities = level.expand(len(x), 1, 1, 1).flatten().round().int().tolist()
        pixels = (x.detach().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        damaged = np.stack([_written(*one) for one in zip(pixels, qualities, strict=True)])
        return torch.from_numpy(damaged).to(x) / 255

    def condition(self, level: Tensor) -> Tensor:
        return level / 50 - 1

    def schedule(self, steps: int, start: float | None = None) -> Tensor:
        """From the worst quality, or ``start``, up to the best."""
        return torch.linspace(self.low if start is None else start, self.high, steps + 1)


def _written(pixels: np.ndarray, quality: int) -> np.ndarray:
    """(C,H,W) uint8 as a JPEG of this quality leaves it."""
    if len(pixels) != 3:
        return np.stack([_read_back(plane, quality) for plane in pixels])
    return np.moveaxis(_read_back(np.ascontiguousarray(np.moveaxis(pixels, 0, 2)), quality), 2, 0)


def _read_back(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as picture:
        return np.asarray(picture)
