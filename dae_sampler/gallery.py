"""Images to look at and to keep: grids, before and after, films, and the files that results are written to.

Images are (N,C,H,W), uint8 or floats in [0,1], which pictures round to 8 bits and ``.npy`` files keep.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from .data.folder import STUBS
from .errors import InputError
from .files import check_writable, is_for_file, replacing, replacing_all
from .pixels import to_uint8

ANIMATIONS = (".gif", ".webp")
MOST_IN_GRID = 2500
BORDER, GREY = 2, 64
"""Pixels between the images of a grid, and their value."""
MOST_SHOWN = 64
"""Images in a trajectory's frames and in before/after pictures."""


def to_picture(image: Tensor) -> Image.Image:
    """(C,H,W) as a grey or colour picture.

    Raises:
        InputError: it has neither 1 nor 3 channels.
    """
    if image.shape[0] not in (1, 3):
        raise InputError(f"no picture has {image.shape[0]} channels: write the images to an .npy file")
    pixels = to_uint8(image.detach().cpu())
    return Image.fromarray((pixels[0] if pixels.shape[0] == 1 else pixels.permute(1, 2, 0)).numpy())


def grid(images: Tensor, columns: int = 0) -> Image.Image:
    """All images in one picture, row by row (square by default), small ones enlarged to be seen."""
    n, side = images.shape[0], max(images.shape[-2:])
    columns = min(n, columns or max(1, round(n**0.5)))
    border = BORDER if n > 1 else 0
    tiles = F.pad(to_uint8(images.cpu()), (border, 0, border, 0, 0, 0, 0, -n % columns), value=GREY)
    rows = tiles.unflatten(0, (-1, columns)).permute(2, 0, 3, 1, 4)  # (C, rows, height, columns, width)
    picture = to_picture(F.pad(rows.flatten(3).flatten(1, 2), (0, border, 0, border), value=GREY))
    factor = max(1, 56 // side)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def pairs(before: Tensor, after: Tensor) -> Image.Image:
    """The first images before and after, four pairs a row; with k times as many after, a row for an image and its k."""
    versions = after.unflatten(0, (len(before), -1))[:, :MOST_SHOWN]
    k = versions.shape[1]
    both = [to_uint8(x[: MOST_SHOWN // k].cpu()) for x in (before[:, None], versions)]
    return grid(torch.cat(both, 1).flatten(0, 1), columns=8 if k == 1 else k + 1)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format of ``path``'s extension.

    Raises:
        InputError: Pillow does not write that format, or the place cannot be written.
    """
    with replacing(path) as temporary:
        _save(picture, temporary)


class Writer:
    """Where images go, by the name given: an ``.npy`` array, a folder of PNGs, or one grid picture.

    A context manager; arrays and folders are written as images come, so memory does not grow with their number.

    Args:
        out: an ``.npy`` file, a picture file, or (no extension) a folder.
        n: images in all, at most.
        floats: a ``.tif`` file holds the images as pages of 32-bit floats, not clipped, in place of a picture of all.
        columns: of a grid; by default it is square.

    Raises:
        InputError: ``out`` has another extension, or one picture cannot show ``n`` images.
    """

    def __init__(self, out: Path, n: int, columns: int = 0, *, floats: bool = False) -> None:
        suffix = out.suffix.lower()
        self.out, self.n, self.columns, self.done = out, n, columns, 0
        self.is_array, self.is_folder = suffix == ".npy", not is_for_file(out)
        self.has_pages = floats and suffix in (".tif", ".tiff") and not self.is_folder
        self.grid: list[Tensor] = []
        self.stack = ExitStack()
        if self.is_array or self.is_folder or self.has_pages:
            return
        if suffix not in _writable():
            raise InputError(f"cannot write images as {suffix}: name a picture (.png), an array (.npy) or a folder")
        if n > MOST_IN_GRID:
            raise InputError(f"one picture cannot show {n} images: name a folder or an .npy file")

    def __enter__(self) -> Writer:
        check_writable(self.out)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.grid:
            everything = torch.cat(self.grid)
            alone = len(everything) == 1
            save_picture(to_picture(everything[0]) if alone else grid(everything, self.columns), self.out)
        self.stack.__exit__(kind, error, trace)

    def paths(self, names: Iterable[str]) -> Iterator[Path]:
        """The files that images of these names go to."""
        if not self.is_folder:
            yield self.out
            return
        for name in names:
            yield self.out / f"{name}.png"

    def add(self, images: Tensor, names: Sequence[str] | None = None) -> None:
        """The next images, float (B,C,H,W) in [0,1]; ``names`` are those of their files, numbers by default.

        Raises:
            InputError: the place cannot be written; no picture has so many channels; or one file is to hold images of
                several sizes.
        """
        first, self.done = self.done, self.done + len(images)
        if self.is_folder:
            names = names or [f"{i:06d}" for i in range(first, self.done)]
            with replacing_all() as place:
                for image, path in zip(images, self.paths(names), strict=True):
                    _save(to_picture(image), place(path))
            return
        if self.has_pages:
            self._add_pages(images, first)
            return
        if not first:
            self.shape = tuple(images.shape[1:])
        if tuple(images.shape[1:]) != self.shape:
            raise InputError(f"images of several sizes do not fit into {self.out}: name a folder")
        if not self.is_array:
            self.grid.append(images)
            return
        if not first:
            self.file = self.stack.enter_context(self.stack.enter_context(replacing(self.out)).open("wb"))
            self.stack.push(self._correct_header)
            self._write_header(self.n)
        self.file.write(images.detach().cpu().numpy().astype("<f4").tobytes())

    def _add_pages(self, images: Tensor, first: int) -> None:
        import tifffile

        if not first:
            place = self.stack.enter_context(replacing(self.out))
            self.tiff = self.stack.enter_context(tifffile.TiffWriter(place, bigtiff=images.nbytes * self.n > 2**31))
        for image in images.cpu().float().numpy():
            colour = image.shape[0] == 3
            pixels = np.moveaxis(image, 0, 2) if colour else image
            self.tiff.write(pixels, photometric="rgb" if colour else "minisblack", metadata=None)

    def _write_header(self, n: int) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, header)

    def _correct_header(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Fewer images came than were announced, for inputs were skipped; numpy makes headers of any N equally long."""
        if kind is None and self.done != self.n:
            self.file.seek(0)
            self._write_header(self.done)


class Film:
    """Collects what a trajectory shows: a grid of the first images at every k-th step.

    Raises:
        InputError: ``path`` is no animation's.
    """

    def __init__(self, path: Path, every: int) -> None:
        if path.suffix.lower() not in ANIMATIONS:
            raise InputError(f"cannot animate {path}: name the trajectory with .gif or .webp")
        self.path, self.every, self.steps, self.saved = path, every, 0, False
        self.frames: list[Image.Image] = []

    def add(self, images: Tensor) -> None:
        """The images after a step, float (B,C,H,W); the first ``MOST_SHOWN`` are kept."""
        if self.steps % self.every == 0:
            self.frames.append(grid(images[:MOST_SHOWN]))
        self.steps += 1

    def save(self, last: Tensor) -> None:
        """Write the animation, which rests on ``last``.

        Raises:
            InputError: its format holds no pictures of this size.
        """
        with replacing(self.path) as temporary:
            try:
                animate([*self.frames, grid(last[:MOST_SHOWN])], temporary)
            except (ValueError, RuntimeError, struct.error) as error:
                raise InputError(f"cannot animate these pictures ({error}): leave out `trajectory`") from None
        self.saved = True


def animate(frames: Sequence[Image.Image], file: Path | BinaryIO, kind: str | None = None) -> None:
    """Write an endless animation of some four seconds, which rests on its last frame.

    Args:
        frames: one or more, of one size.
        file: where to; a path's extension is the format.
        kind: the format, for an open file.
    """
    durations = [max(40, 4000 // len(frames))] * len(frames)
    durations[-1] = 1500
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=durations, loop=0)


@cache
def _writable() -> frozenset[str]:
    """Extensions of pictures that Pillow writes, in grey and in colour, and reads again."""
    known = Image.registered_extensions()
    unfit = STUBS | {"BLP", "MSP", "QOI", "XBM"}  # these write few modes
    formats = (Image.SAVE.keys() & Image.OPEN.keys()) - unfit
    return frozenset(suffix for suffix, name in known.items() if name in formats)


def _save(picture: Image.Image, path: Path) -> None:
    if path.suffix.lower() not in _writable():
        raise InputError(f"cannot write pictures as {path.suffix or 'a file without extension'}: use .png")
    picture.save(path)


def heat(maps: Tensor, top: float) -> Tensor:
    """Maps (B,H,W) as colours (B,3,H,W): black at 0, then red and yellow, white at ``top`` and above."""
    share = 3 * (maps / top).clamp(0, 1)
    return torch.stack([(share - channel).clamp(0, 1) for channel in range(3)], 1)


CELL, CAPTION = 160, 14
"""Side of a picture on a page, and height of the line below it, in pixels."""


def page(rows: Sequence[tuple[str, Sequence[Tensor]]], columns: int = 4) -> Image.Image:
    """Pictures of any size in rows of cells, each cell a caption below one or more pictures (C,H,W) side by side."""
    width = CELL * max(len(pictures) for _, pictures in rows)
    down = -(-len(rows) // columns)
    across = min(columns, len(rows))
    sheet = Image.new("RGB", (across * (width + BORDER) + BORDER, down * (CELL + CAPTION + BORDER) + BORDER), "black")
    pen = ImageDraw.Draw(sheet)
    for i, (caption, pictures) in enumerate(rows):
        left, top = BORDER + i % columns * (width + BORDER), BORDER + i // columns * (CELL + CAPTION + BORDER)
        for k, picture in enumerate(map(to_picture, pictures)):
            scale = CELL / max(picture.size)
            size = max(1, round(scale * picture.width)), max(1, round(scale * picture.height))
            smooth = Image.Resampling.BICUBIC if scale < 1 else Image.Resampling.NEAREST
            sheet.paste(picture.resize(size, smooth), (left + k * CELL, top))
        pen.text((left, top + CELL), caption.encode("latin-1", "replace").decode("latin-1"), fill=(255, 255, 255))
    return sheet
