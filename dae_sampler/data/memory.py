"""Images in memory, or mapped from a file of which only the rows in use are."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import numpy as np
from torch import Tensor

IN_MEMORY = 1 << 30
"""Bytes of images up to which they are kept in memory."""


def mapped(file: Path) -> np.ndarray:
    """An ``.npy`` file, mapped to be read in batches of random rows.

    Returns:
        its array, of any shape; writes to it stay in memory.

    Raises:
        OSError, ValueError: it cannot be read, or is not such a file.
    """
    return at_random(np.load(file, mmap_mode="c"))


def at_random(pixels: np.ndarray) -> np.ndarray:
    """The same array; where it is a mapped file, the system reads nothing ahead of a row, which would be wasted."""
    if isinstance(pixels, np.memmap) and isinstance(pixels.base, mmap.mmap) and hasattr(mmap, "MADV_RANDOM"):
        pixels.base.madvise(mmap.MADV_RANDOM)
    return pixels


def take(images: Tensor, rows: Tensor) -> Tensor:
    """``images[rows]``, (N,...) and (B,) int64 -> (B,...), where the images may be mapped.

    The system is asked for all rows at once, which a disk reads faster than one page fault after the other.

    Raises:
        IndexError: a row is not among the images.
    """
    if images.nbytes > IN_MEMORY and images.is_cpu and hasattr(mmap, "MADV_WILLNEED"):
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        size = images.stride(0) * images.element_size()
        for start in (images.data_ptr() + rows * size).tolist():
            page = start - start % mmap.PAGESIZE
            madvise(page, start + size - page, mmap.MADV_WILLNEED)
    return images[rows].contiguous()
