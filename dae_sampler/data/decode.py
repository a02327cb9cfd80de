"""The pictures of a folder, decoded once: in memory, or, beyond a limit, in a memory-mapped file that stays.

Memory is bounded by the limit whatever the number of pictures, and a pass that is interrupted goes on where it was.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import distributed as processes
from ..data import pictures as images
from ..errors import InputError
from ..files import locked, replacing, sweep

IN_MEMORY = 1 << 30
"""Bytes of decoded images that are kept in memory."""
SAVE_EVERY = 2000
"""Files between saves of a pass that is worth resuming."""


@dataclass
class Pass:
    """How far decoding has come."""

    done: int = 0
    """Files looked at."""
    kept: int = 0
    """Files that could be read."""
    colour: bool = False
    skipped: list[str] = field(default_factory=list)
    """A sentence for each file that could not be read."""


def decode(
    folder: Path,
    files: Sequence[Path],
    size: int | None,
    channels: int | None,
    strict: bool,
    on_file: Callable[[int, int], None] | None,
    cache: Path,
) -> tuple[Tensor, list[str]]:
    """All pictures as one tensor, uint8 (N,C,H,W), and a sentence for each file that could not be read.

    Args:
        folder: where the files lie.
        files: the pictures, at least one.
        size: make them this many pixels square; None wants them to be of one size.
        channels: 1 or 3; None takes 3 if any picture has colour.
        strict: stop at a picture that cannot be read.
        on_file: called with (files done, files in all).
        cache: the folder for what is too large for memory.

    Raises:
        InputError: no picture can be read, or they differ in size.
    """
    shape = (channels or 3, *((size, size) if size else _first_size(folder, files)))
    whole = (len(files), *shape)
    if np.prod(whole) <= IN_MEMORY:
        pixels, reached = np.empty(whole, np.uint8), Pass()
        _fill(pixels, reached, folder, files, size, strict, on_file, save=None)
    else:
        place = cache / "decoded" / f"{folder.name}-{_digest(folder, files, (size, *shape))}"
        place.mkdir(parents=True, exist_ok=True)
        with processes.first_alone(), locked(place, wait=True):
            sweep(place)
            pixels, reached = _open(place, whole)
            if strict and reached.skipped:
                raise InputError(reached.skipped[0])
            _fill(pixels, reached, folder, files, size, strict, on_file, lambda: _save(place, pixels, reached))
        pixels = mapped(place / "images.npy")
    if not reached.kept:
        raise InputError(f"none of the {len(files)} pictures in {folder} can be read; the first: {reached.skipped[0]}")
    found = torch.from_numpy(pixels[: reached.kept])
    return found if channels or reached.colour else found[:, :1], reached.skipped


def mapped(file: Path) -> np.ndarray:
    """An ``.npy`` file, mapped to be read in batches of random rows: what a disk reads ahead of each row is wasted.

    Returns:
        its array, of any shape; writes to it stay in memory.

    Raises:
        OSError, ValueError: it cannot be read, or is not such a file.
    """
    pixels = np.load(file, mmap_mode="c")
    if hasattr(mmap, "MADV_RANDOM"):
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
    return images[rows]


def _fill(
    pixels: np.ndarray,
    reached: Pass,
    folder: Path,
    files: Sequence[Path],
    size: int | None,
    strict: bool,
    on_file: Callable[[int, int], None] | None,
    save: Callable[[], None] | None,
) -> None:
    shape = pixels.shape[1:]
    for i in range(reached.done, len(files)):
        try:
            picture = images.read(files[i])
        except InputError as error:
            if strict:
                raise
            reached.skipped.append(str(error))
        else:
            if size is None and (picture.height, picture.width) != shape[1:]:
                there, here = f"{shape[2]}x{shape[1]}", f"{picture.width}x{picture.height}"
                raise InputError(f"the pictures in {folder} differ in size, {there} and {here}: give one with --size")
            pixels[reached.kept] = images.to_tensor(picture, shape).numpy()
            reached.kept += 1
            reached.colour |= picture.mode == "RGB"
        reached.done = i + 1
        if on_file:
            on_file(reached.done, len(files))
        if save and (reached.done % SAVE_EVERY == 0 or reached.done == len(files)):
            save()


def _first_size(folder: Path, files: Sequence[Path]) -> tuple[int, int]:
    """Height and width of the first picture that can be read."""
    first = None
    for file in files:
        try:
            picture = images.read(file)
        except InputError as error:
            first = first or error
        else:
            return picture.height, picture.width
    raise InputError(f"none of the {len(files)} pictures in {folder} can be read; the first: {first}")


def _digest(folder: Path, files: Sequence[Path], shape: tuple[int | None, ...]) -> str:
    """Changes with any file's name, size or time."""
    digest = hashlib.sha256(repr((str(folder.resolve()), shape)).encode())
    for file in files:
        facts = file.stat()
        digest.update(
            repr((os.fsencode(file.relative_to(folder)), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)).encode()
        )
    return digest.hexdigest()[:16]


def _open(place: Path, whole: tuple[int, ...]) -> tuple[np.ndarray, Pass]:
    """The file to decode into, and how far it has come."""
    try:
        reached = Pass(**json.loads((place / "pass.json").read_text()))
        pixels = np.lib.format.open_memmap(place / "images.npy", mode="r+")
        if pixels.shape == whole:
            return pixels, reached
    except (OSError, ValueError, TypeError):
        pass
    (place / "pass.json").unlink(missing_ok=True)
    pixels = np.lib.format.open_memmap(place / "images.npy", mode="w+", dtype=np.uint8, shape=whole)
    if hasattr(os, "posix_fallocate"):  # a full disk is an error here; later it would kill the process
        with (place / "images.npy").open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, pixels.offset + pixels.nbytes)
    return pixels, Pass()


def _save(place: Path, pixels: np.memmap, reached: Pass) -> None:
    pixels.flush()
    with replacing(place / "pass.json") as temporary:
        temporary.write_text(json.dumps(asdict(reached)))
