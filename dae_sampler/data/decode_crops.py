"""The decoding pass over pictures of any size, of which training takes crops, in memory or in a file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from .. import distributed
from ..errors import InputError
from ..files import locked, replacing, sweep
from . import memory, pictures
from .crops import Crops
from .decode import Wanted, digest_of
from .depths import Depths, survey
from .labels import of_folder, unlabelled
from .tally import Tally
from .workers import in_order


def decode_crops(
    folder: Path,
    files: Sequence[Path],
    side: int,
    wanted: Wanted,
    cache: Path,
    strict: bool = False,
    on_file: Callable[[int, int], None] | None = None,
    labels: str | None = None,
) -> Crops:
    """All pictures of a folder, to be cropped; those that are too small are padded by reflection if ``fit`` says pad.

    ``labels`` is as for :func:`.named.load`; the other arguments, and the errors, are those of :func:`.decode.decode`.
    """
    place = cache / "cropped" / f"{folder.resolve().name}-{digest_of(folder, files, repr((wanted, side)))}"
    depths = survey(files, wanted.span)
    reader = _Reader(files, side, wanted, depths, strict, on_file)
    if depths.pixels * (wanted.channels or 3) * np.dtype(depths.deepest).itemsize <= memory.IN_MEMORY:
        pixels: list[np.ndarray] = []
        reader.read_into(lambda some: pixels.append(some.reshape(-1)))
        buffer = np.concatenate(pixels) if pixels else np.empty(0, depths.deepest)
    else:
        place.mkdir(parents=True, exist_ok=True)
        with distributed.first_process_first(), locked(place, wait=True):
            sweep(place)
            buffer = reader.read_file(place)
    if not reader.shapes:
        first = reader.tally.skipped[0]
        raise InputError(f"none of the {len(files)} pictures in {folder} can be read; the first: {first}")
    shapes = torch.tensor(reader.shapes, dtype=torch.int64)
    channels = wanted.channels or int(shapes[:, 0].max())
    notes = tuple([] if wanted.span else depths.notes(folder)) + tuple(reader.notes())
    told = of_folder(folder, reader.tally.left(files), labels) if labels else None
    facts = {"notes": (*notes, *unlabelled(told)), "skipped": tuple(reader.tally.skipped), "labels": told}
    return Crops(torch.from_numpy(buffer), shapes, side, channels, folder.name, depths.span, **facts)


class _Reader:
    """One pass over the pictures of a folder."""

    def __init__(
        self,
        files: Sequence[Path],
        side: int,
        wanted: Wanted,
        depths: Depths,
        strict: bool,
        on_file: Callable[[int, int], None] | None,
    ) -> None:
        self.files, self.side, self.wanted, self.depths = files, side, wanted, depths
        self.strict, self.on_file = strict, on_file
        self.shapes: list[list[int]] = []
        self.tally, self.small = Tally(), 0

    def notes(self) -> list[str]:
        """What was done to pictures."""
        padded = f"{self.small} of {len(self.shapes)} pictures are smaller than the crop and were padded by reflection"
        return [*self.tally.notes(self.wanted.channels), *([padded] if self.small else [])]

    def read_into(self, store: Callable[[np.ndarray], object]) -> None:
        """Hand all pictures to ``store``, (C,H,W) each."""
        for done, found in enumerate(in_order(self._read, self.files), 1):
            if isinstance(found, InputError):
                if self.strict:
                    raise found
                self.tally.skip(done - 1, str(found))
            else:
                self.depths.check(found.pixels, str(self.files[done - 1]), self.wanted.beyond)
                ready = self._ready(found.pixels)
                self._count_small(ready, self.files[done - 1])
                store(ready)
                self.shapes.append(list(ready.shape))
                self.tally.add(found.pixels.shape[2] == 3, [], found.remarks)
            if self.on_file:
                self.on_file(done, len(self.files))

    def read_file(self, place: Path) -> np.ndarray:
        """The pixels of all pictures in a file of ``place``, made now if it is not there."""
        index, pixels = place / "index.json", place / "pixels.bin"
        try:
            saved = json.loads(index.read_text())
            self.shapes, self.small = saved["shapes"], saved["small"]
            self.tally = Tally(**saved["tally"])
            whole = pixels.stat().st_size == self._count() * np.dtype(self.depths.deepest).itemsize
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            self.shapes, self.small, self.tally = [], 0, Tally()
            with replacing(pixels) as temporary, temporary.open("wb") as file:
                self._write(file)
            with replacing(index) as temporary:
                saved = {"shapes": self.shapes, "small": self.small, "tally": asdict(self.tally)}
                temporary.write_text(json.dumps(saved))
        if self.strict and self.tally.skipped:
            raise InputError(self.tally.skipped[0])
        if not self.shapes:
            return np.empty(0, self.depths.deepest)
        return memory.at_random(np.memmap(pixels, self.depths.deepest, mode="c", shape=(self._count(),)))

    def _count(self) -> int:
        """Values of all pictures."""
        return sum(math.prod(shape) for shape in self.shapes)

    def _write(self, file: BinaryIO) -> None:
        self.read_into(lambda some: file.write(np.ascontiguousarray(some).tobytes()))

    def _count_small(self, pixels: np.ndarray, file: Path) -> None:
        _, height, width = pixels.shape
        if min(height, width) >= self.side:
            return
        if self.wanted.fit != "pad":
            raise InputError(
                f"{file} is {width}x{height}, smaller than the crop of {self.side}: choose `fit` pad to have such "
                "pictures continued by reflection, or a smaller `crop`"
            )
        self.small += 1

    def _read(self, file: Path) -> pictures.Picture | InputError:
        """One picture, or why it cannot be read."""
        try:
            return pictures.read(file, self.wanted.over)
        except InputError as error:
            return error

    def _ready(self, pixels: np.ndarray) -> np.ndarray:
        """(H,W,C) as they are stored, (C,H,W)."""
        height, width, channels = pixels.shape
        shape = (self.wanted.channels or channels, height, width)
        return self.depths.to_deepest(pictures.bring_to(pixels, shape, "crop"))
