"""The pictures of a folder, decoded once: in memory, or, beyond a limit, in a memory-mapped file that stays.

Memory is bounded by the limit whatever the number of pictures, and a pass that is interrupted goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import distributed
from ..errors import InputError
from ..files import locked, replacing, sweep
from ..pixels import Range, find_range, full_range
from . import memory, pictures
from .depths import TYPES, Depths, survey
from .tally import Tally
from .workers import in_order

SAVE_EVERY = 2000
"""Files between saves of a pass that is worth resuming."""
_BYTE = np.dtype(np.uint8)


@dataclass(frozen=True)
class Wanted:
    """What the pictures of a folder are to become; all of it is in the name of the folder's cache."""

    size: tuple[int, int] | None = None
    """Width and height; None wants pictures of one size."""
    channels: int | None = None
    """1 or 3; None takes 3 if any picture has colour."""
    fit: str = "crop"
    """How they are brought to the size: see :func:`.pictures.bring_to`."""
    over: str = "black"
    """What transparency is laid over."""
    span: Range | None = None
    """The values that are black and white; None finds them."""
    beyond: float | None = 0.0
    """How far floats may lie outside them, in units of the range, as noisy images do; None is any distance."""


class Decoded(NamedTuple):
    """The pictures of a folder."""

    images: Tensor
    """(N,C,H,W), uint8, or uint16 or float32 where any picture is deeper."""
    span: Range
    notes: list[str]
    """A sentence for each thing that was done to pictures."""
    skipped: list[str]
    """A sentence for each file that could not be read."""
    kept: list[Path]
    """The other files."""


@dataclass
class Pass:
    """How far decoding has come; made of what JSON can hold."""

    spans: dict[str, Range]
    """Range of each type of pixels that the pictures are taken to have."""
    done: int = 0
    """Files looked at."""
    high: int = 0
    """Greatest value of 8-bit pictures."""
    tally: Tally = field(default_factory=Tally)


class _Deeper(Exception):  # noqa: N818 - no error
    """A picture has more bits than those before it."""


class _Read(NamedTuple):
    """One picture, ready to be stored."""

    pixels: np.ndarray
    colour: bool
    high: int
    changes: list[str]
    remarks: dict[str, str]


def decode(
    folder: Path,
    files: Sequence[Path],
    wanted: Wanted,
    cache: Path,
    strict: bool = False,
    on_file: Callable[[int, int], None] | None = None,
) -> Decoded:
    """All pictures as one tensor.

    Args:
        folder: where the files lie.
        files: the pictures, at least one.
        wanted: what they are to become.
        cache: the folder for what is too large for memory.
        strict: stop at a picture that cannot be read.
        on_file: called with (files done, files in all).

    Raises:
        InputError: no picture can be read, they differ in size, or floats lie outside their range.
    """
    pixels, reached = _Decoder(folder, files, wanted, cache, strict, on_file).run()
    tally, depths = reached.tally, Depths(reached.spans)
    if not tally.kept:
        raise InputError(f"none of the {len(files)} pictures in {folder} can be read; the first: {tally.skipped[0]}")
    images = torch.from_numpy(pixels[: tally.kept])
    if not wanted.channels and not tally.colour:
        images = images[:, :1]
    if depths.deepest == "uint8" and wanted.span is None:
        depths = Depths({"uint8": find_range(_BYTE, 0, reached.high)})
    notes = [] if wanted.span else depths.notes(folder)
    return Decoded(images, depths.span, notes + tally.notes(images.shape[1]), tally.skipped, tally.left(files))


class _Decoder:
    """One folder, decoded for one purpose."""

    def __init__(
        self,
        folder: Path,
        files: Sequence[Path],
        wanted: Wanted,
        cache: Path,
        strict: bool,
        on_file: Callable[[int, int], None] | None,
    ) -> None:
        self.folder, self.files, self.wanted, self.strict, self.on_file = folder, files, wanted, strict, on_file
        width, height = wanted.size or self._first_size()
        self.shape = (wanted.channels or 3, height, width)
        self.cache = cache / "decoded"

    @cached_property
    def place(self) -> Path:
        """The folder of the pass and of what it has decoded."""
        digest = digest_of(self.folder, self.files, repr((self.wanted, self.shape)))
        return self.cache / f"{self.folder.resolve().name}-{digest}"

    def run(self) -> tuple[np.ndarray, Pass]:
        """Decode all pictures, into memory or into a file. They are taken to have 8 bits until one has more.

        Raises:
            InputError: they differ in size, or one cannot be read and ``strict`` is set.
        """
        depths = Depths({"uint8": self.wanted.span or full_range(_BYTE)})
        if self._fits("uint8") and (self._fits(TYPES[-1]) or not _read_pass(self.place)):
            try:
                return self._into_memory(depths)
            except _Deeper:
                depths = survey(self.files, self.wanted.span)
            if self._fits(depths.deepest):
                return self._into_memory(depths)
        self.place.mkdir(parents=True, exist_ok=True)
        with distributed.first_process_first(), locked(self.place, wait=True):
            sweep(self.place)
            saved = _read_pass(self.place)  # now, for another process may have found deeper ones meanwhile
            try:
                reached = self._into_file(Depths(saved.spans) if saved else depths)
            except _Deeper:
                reached = self._into_file(survey(self.files, self.wanted.span))
        return memory.mapped(self.place / "images.npy"), reached

    def _into_memory(self, depths: Depths) -> tuple[np.ndarray, Pass]:
        pixels, reached = np.empty((len(self.files), *self.shape), depths.deepest), Pass(depths.spans)
        self._fill(pixels, reached, save=None)
        return pixels, reached

    def _into_file(self, depths: Depths) -> Pass:
        stored, reached = _open(self.place, (len(self.files), *self.shape), depths)
        if self.strict and reached.tally.skipped:
            raise InputError(reached.tally.skipped[0])
        self._fill(stored, reached, lambda: _save(self.place, stored, reached))
        return reached

    def _fits(self, dtype: str) -> bool:
        """Whether the pictures fit into memory, where they have this type."""
        return len(self.files) * math.prod(self.shape) * np.dtype(dtype).itemsize <= memory.IN_MEMORY

    def _fill(self, pixels: np.ndarray, reached: Pass, save: Callable[[], None] | None) -> None:
        depths, tally, n = Depths(reached.spans), reached.tally, len(self.files)
        for found in in_order(lambda file: self._read(file, depths), self.files[reached.done :]):
            if isinstance(found, InputError):
                if self.strict:
                    raise found
                tally.skip(reached.done, str(found))
            else:
                pixels[tally.kept] = found.pixels
                tally.add(found.colour, found.changes, found.remarks)
                reached.high = max(reached.high, found.high)
            reached.done += 1
            if self.on_file:
                self.on_file(reached.done, n)
            if save and (reached.done % SAVE_EVERY == 0 or reached.done == n):
                save()

    def _read(self, file: Path, depths: Depths) -> _Read | InputError:
        """One picture, or why it cannot be read."""
        try:
            pixels, remarks = pictures.read(file, self.wanted.over)
        except InputError as error:
            return error
        if pixels.dtype.name not in depths.spans:
            raise _Deeper
        depths.check(pixels, str(file), self.wanted.beyond)
        changes = pictures.change_of(pixels, self.shape, self.wanted.fit)
        if changes and not self.wanted.size:
            there, here = f"{self.shape[2]}x{self.shape[1]}", f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise InputError(
                f"the pictures in {self.folder} differ in size, {there} and {here}: give one for all as `size`"
            )
        high = int(pixels.max()) if pixels.dtype == np.uint8 else 0
        ready = depths.to_deepest(pictures.bring_to(pixels, self.shape, self.wanted.fit))
        return _Read(ready, pixels.shape[2] == 3, high, changes, remarks)

    def _first_size(self) -> tuple[int, int]:
        """Width and height of the first picture that can be read."""
        first = None
        for file in self.files:
            try:
                pixels = pictures.read(file).pixels
            except InputError as error:
                first = first or error
            else:
                return pixels.shape[1], pixels.shape[0]
        raise InputError(f"none of the {len(self.files)} pictures in {self.folder} can be read; the first: {first}")


def digest_of(folder: Path, files: Sequence[Path], wanted: str) -> str:
    """Changes with what is wanted of a folder, and with any file's name, size or time."""
    digest = hashlib.sha256(f"{folder.resolve()} {wanted}".encode(errors="surrogateescape"))
    for file in files:
        stat = file.stat()
        name = os.fsencode(file.relative_to(folder))
        digest.update(repr((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)).encode())
    return digest.hexdigest()[:16]


def _read_pass(place: Path) -> Pass | None:
    """How far a pass has come; None if there is none, or none that can be used."""
    try:
        saved = json.loads((place / "pass.json").read_text())
        spans = {name: tuple(span) for name, span in saved["spans"].items()}
        tally = Tally(**saved["tally"])
        if len(tally.gone) != len(tally.skipped):  # written by a version that did not count them
            return None
        return Pass(**saved | {"spans": spans, "tally": tally})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _open(place: Path, whole: tuple[int, ...], depths: Depths) -> tuple[np.memmap, Pass]:
    """The file to decode into, and how far it has come."""
    saved = _read_pass(place)
    if saved and saved.spans == depths.spans:
        try:
            pixels = np.lib.format.open_memmap(place / "images.npy", mode="r+")
            if pixels.shape == whole and pixels.dtype == depths.deepest:
                return pixels, saved
        except (OSError, ValueError):  # it is lost or damaged
            pass
    for name in ("pass.json", "images.npy"):  # never cut short what another process may have mapped
        (place / name).unlink(missing_ok=True)
    pixels = np.lib.format.open_memmap(place / "images.npy", mode="w+", dtype=depths.deepest, shape=whole)
    if hasattr(os, "posix_fallocate"):  # a full disk is an error here; later it would kill the process
        with (place / "images.npy").open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, pixels.offset + pixels.nbytes)
    return pixels, Pass(depths.spans)


def _save(place: Path, pixels: np.memmap, reached: Pass) -> None:
    pixels.flush()
    with replacing(place / "pass.json") as temporary:
        temporary.write_text(json.dumps(asdict(reached)))
