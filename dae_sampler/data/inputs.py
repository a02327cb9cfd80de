"""Images given to a model: a picture, a folder of pictures or an array, read batch by batch.

Memory does not grow with their number. What is done to them, and what cannot be read, is collected to be said.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..pixels import Range, to_float
from . import pictures
from .arrays import ARRAYS, from_array, load_array
from .depths import survey
from .folder import find
from .tally import Tally
from .workers import in_order

Shape = tuple[int, int, int]
_BYTES = (0.0, 255.0)


class _Read(NamedTuple):
    """One picture for the model."""

    image: Tensor
    colour: bool
    changes: list[str]
    remarks: dict[str, str]


class _Numbers(Collection[str]):
    """Names of the images of an array, which are made as they are asked for."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[str]:
        return (f"{i:06d}" for i in range(self.n))

    def __contains__(self, name: object) -> bool:
        return any(name == mine for mine in self)


class Inputs(ABC):
    """Images for a model.

    Attributes:
        names: of each image found: its path in the folder without extension; a number in an array.
        files: what is read, so that nothing is written over it.
        span: the values of the files that are black and white: 0 and 1 in what :meth:`batches` gives.
        spans: the same by type of pixels.
        notes: one sentence for each thing that is done to the images; complete once all were read.
        skipped: one sentence for each file that could not be read; complete once all were.
        as_bytes: whether all are 8-bit images of the plain range, which stay uint8.
    """

    as_bytes: bool
    spans: dict[str, Range]

    def __init__(self, names: Collection[str], files: list[Path], span: Range, notes: list[str]) -> None:
        self.names, self.files, self.span, self.notes = names, files, span, notes
        self.skipped: list[str] = []

    @property
    def count(self) -> int:
        """Images found, of which some may turn out unreadable."""
        return len(self.names)

    def batches(self, size: int) -> Iterator[tuple[Tensor, list[str]]]:
        """All images in their order: (B,C,H,W) and their names, B at most ``size`` and smaller where shapes change.

        8-bit images of the plain range 0..255 stay uint8; all others are float32 in units of the range, not clipped.

        Raises:
            InputError: nothing can be read, or a picture does not fit the model.
        """
        images: list[Tensor] = []
        names: list[str] = []
        for name, image in self._each():
            if images and (len(images) == size or image.shape != images[0].shape):
                yield torch.stack(images), names
                images, names = [], []
            images.append(image)
            names.append(name)
        yield torch.stack(images), names

    @abstractmethod
    def file_of(self, name: str) -> str:
        """What a table calls the image of this name: its file's path in the folder; its index in an array."""

    @abstractmethod
    def _each(self) -> Iterator[tuple[str, Tensor]]:
        """Name and image (C,H,W), one after the other, at least one."""


@dataclass(frozen=True)
class Reading:
    """How images are brought to a model."""

    shape: Shape | None
    """(C,H,W) that the model takes; None leaves each picture its own, and H and W of 0 its own size."""
    beyond: float
    """How far floats may lie outside [0,1], as noisy images do."""
    span: Range | None
    """The values that are black and white; None finds them."""
    fit: str | None
    """How other sizes are brought to ``shape``; None refuses them."""
    over: str
    """What transparency is laid over."""
    strict: bool
    """Stop at a picture that cannot be read, instead of skipping it."""

    def goal(self, found: Shape) -> Shape:
        """What a picture of the shape ``found`` is brought to."""
        channels, height, width = self.shape or found
        return channels, height or found[1], width or found[2]

    def bring(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """One picture (H,W,C) as the model takes it, (C,H,W)."""
        height, width, channels = pixels.shape
        shape = self.goal((channels, height, width))
        if shape[1:] != (height, width) and self.fit is None:
            there, wanted = f"{width}x{height}", f"{shape[2]}x{shape[1]}"
            raise InputError(f"{name} is {there}, the model takes {wanted}: set `resize` to bring it to that size")
        return pictures.bring_to(pixels, shape, self.fit or "crop").copy()


def open_inputs(
    source: Path,
    shape: Shape | None,
    *,
    beyond: float = 0.0,
    span: Range | None = None,
    fit: str | None = "crop",
    over: str = "black",
    strict: bool = False,
    without: Collection[Path] = (),
) -> Inputs:
    """A picture, a folder of pictures (any depth), or an ``.npy``/``.npz`` array.

    Args:
        source: what to read.
        shape: (C,H,W) that the model takes, H and W 0 where it takes any size; None leaves each picture its own size
            and channels.
        beyond: how far floats may lie outside [0,1] once they are in units of the range, as noisy images do.
        span: the values that are black and white; by default :func:`.pixels.find_range` has them, over all files.
        fit: how images of another size are brought to ``shape``, see :func:`.pictures.bring_to`; None refuses them.
        over: what transparency is laid over, ``"black"`` or ``"white"``.
        strict: stop at a picture that cannot be read, instead of skipping it.
        without: folders to leave out, such as the one that results go to.

    Raises:
        InputError: there is nothing there, or nothing that can be used.
    """
    pictures.check_options(fit, over)
    reading = Reading(shape, beyond, span, fit, over, strict)
    if source.suffix.lower() in ARRAYS and source.is_file():
        return _Array(source, reading)
    if source.is_dir():
        files, left_out = find(source, without)
        return _Pictures(files, source, left_out, reading)
    if not source.is_file():
        raise InputError(f"no picture at {source}: give a picture, a folder of pictures, or an .npy or .npz file")
    return _Pictures([source], source.parent, [], reading)


class _Pictures(Inputs):
    """Files of pictures."""

    def __init__(self, files: list[Path], folder: Path, left_out: list[str], reading: Reading) -> None:
        self.folder, self.reading, self.depths = folder, reading, survey(files, reading.span)
        self.spans = self.depths.spans
        self.as_bytes = self.spans == {"uint8": _BYTES}
        self.known = left_out + (self.depths.notes(folder) if reading.span is None else [])
        super().__init__(_names(files, folder), files, self.depths.span, self.known)
        self.paths = {name: str(file.relative_to(folder)) for name, file in zip(self.names, files, strict=True)}

    def file_of(self, name: str) -> str:
        return self.paths[name]

    def _each(self) -> Iterator[tuple[str, Tensor]]:
        shape, tally = self.reading.shape, Tally()
        self.skipped = tally.skipped
        for name, found in zip(self.names, in_order(self._read, self.files), strict=True):
            if isinstance(found, InputError):
                if self.reading.strict or len(self.files) == 1:
                    raise found
                tally.skipped.append(str(found))
            else:
                tally.add(found.colour, found.changes, found.remarks)
                yield name, found.image
        if not tally.kept:
            first = tally.skipped[0]
            raise InputError(f"none of the {len(self.files)} pictures in {self.folder} can be read; the first: {first}")
        self.notes = self.known + tally.notes(shape[0] if shape else None)

    def _read(self, file: Path) -> _Read | InputError:
        """One picture, or why it cannot be read."""
        reading = self.reading
        try:
            pixels, remarks = pictures.read(file, reading.over)
            self.depths.check(pixels, str(file), reading.beyond)
            image = torch.from_numpy(reading.bring(pixels, str(file)))
        except InputError as error:
            return error
        if pixels.dtype == np.uint8 and reading.span is None and (pixels.min(), pixels.max()) == (0, 1):
            remarks["dark"] = f"{file} holds only 0 and 1, which is black: give the `span` 0..1 to have 1 as white"
        goal = reading.goal((pixels.shape[2], *pixels.shape[:2]))
        changes = pictures.change_of(pixels, goal, reading.fit) if reading.shape and reading.fit else []
        ready = image if self.as_bytes else to_float(image, self.depths.spans[pixels.dtype.name])
        return _Read(ready, pixels.shape[2] == 3, changes, remarks)


class _Array(Inputs):
    """An array of images."""

    def __init__(self, source: Path, reading: Reading) -> None:
        stack = from_array(load_array(source), str(source), beyond=reading.beyond, span=reading.span)
        self.pixels, self.reading = stack.pixels, reading
        self.spans = {stack.pixels.dtype.name: stack.span}
        self.as_bytes = self.spans == {"uint8": _BYTES}
        found = stack.pixels.shape[1:]
        if found != (goal := reading.goal(found)):
            here, there = ("x".join(map(str, shape)) for shape in (found, goal))
            if reading.beyond and not self.as_bytes:
                raise InputError(
                    f"{source} holds images of {here} (CxHxW), the model takes {there}: give images of that size, for "
                    "resizing averages their noise away"
                )
            stack.notes.append(f"the images were brought from {here} to the model's {there} (CxHxW)")
        super().__init__(_Numbers(len(self.pixels)), [source], stack.span, stack.notes)

    def file_of(self, name: str) -> str:
        return str(int(name))

    def _each(self) -> Iterator[tuple[str, Tensor]]:
        for name, pixels in zip(self.names, np.asarray(self.pixels), strict=True):
            image = torch.from_numpy(self.reading.bring(np.moveaxis(pixels, 0, 2), str(self.files[0])))
            yield name, image if self.as_bytes else to_float(image, self.span)


def _names(files: Sequence[Path], folder: Path) -> list[str]:
    """Names without extension, but with it where two files differ in nothing else."""
    full = [file.relative_to(folder) for file in files]
    seen = Counter(file.with_suffix("") for file in full)
    names = [str(file if seen[file.with_suffix("")] > 1 else file.with_suffix("")) for file in full]
    return names if len(set(names)) == len(names) else [str(file) for file in full]
