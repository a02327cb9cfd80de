"""Picture files, read, restored and written one by one: each comes out as it went in, but for its pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import distributed, files
from ..errors import InputError
from ..pixels import Range, describe_range, find_range
from .files import PictureFile, default_suffix, enlarged, read_file, write_like
from .files.png_chunks import SIGNATURE
from .files.targets import TARGETS
from .files.writing import target_of
from .folder import find
from .workers import in_order

PLAIN = ("uint8", "uint16", "float16", "float32", "float64")
"""Types of pixels that have a usual range; others go from their least value to their greatest."""
_EXACT = ("uint8", "uint16", "float16", "float32")
"""Types whose values float32 holds."""
_PAGES = 1 << 20
"""More than a file has, so that pages of all files can be numbered by their files' numbers."""

Apply = Callable[["Page"], dict[str, Tensor]]
"""Maps a page to what is written of it, (1,C,H,W) each, by kind: what is put behind the name of the file. They may be
larger than the page."""


class Page(NamedTuple):
    """One page on its way to a model."""

    x: Tensor
    """(1,C,H,W), float32, 0 black and 1 white, not clipped."""
    number: int
    """It has this number among all pages, whoever computes them."""
    name: str
    """Its file: the path in the folder."""
    index: int
    """Its number in the file."""
    count: int
    """Pages of the file."""
    span: Range
    """The values of the file that are black and white."""


class Done(NamedTuple):
    """What became of a file."""

    path: Path
    out: Path | None
    """Where its restored version is; None if it could not be read."""
    skipped: str = ""
    """Why it could not be read or restored."""
    notes: tuple[str, ...] = ()
    """What people should know of it; the same sentence for the same kind of thing."""
    left: bool = False
    """Whether it was restored before, and was left as it is."""


@dataclass(frozen=True)
class PictureFiles:
    """The picture files to restore, and where each result goes.

    Attributes:
        found: the files.
        folder: that they lie in.
        out: a folder, or, for one file, a picture's name.
        spans: the values that are black and white, for each type of pixels, found over all files.
        notes: what was left out, and ranges that are not the full ones.
        strict: whether to stop at a file that cannot be read or restored.
        large: whether pages of more pixels than Pillow's limit are allowed.
    """

    found: list[Path]
    folder: Path
    out: Path
    spans: dict[str, Range]
    notes: list[str]
    strict: bool = False
    large: bool = False

    @cached_property
    def _stems(self) -> Counter[Path]:
        return Counter(path.with_suffix("") for path in self.found)

    def name_of(self, path: Path) -> str:
        """A file's path in the folder."""
        return path.relative_to(self.folder).as_posix()

    def goal(self, path: Path, suffix: str, kind: str = "") -> Path:
        """Where the result of a file goes that is written with ``suffix``, one of several by its ``kind``; two files
        never go to one place."""
        if len(self.found) == 1 and files.is_for_file(self.out):
            return self.out.with_name(self.out.stem + kind + self.out.suffix)
        name = Path(self.name_of(path))
        alone = self._stems[path.with_suffix("")] == 1
        return self.out / name.with_name((name.stem if alone else name.name) + kind + suffix)

    def check_apart(self, also: Sequence[Path], kinds: Sequence[str] = ("",), reads: Sequence[Path] = ()) -> None:
        """Refuse to write over a file that is read, ``reads`` too, whatever suffix and kind a result will have, and two
        results of one name.

        Raises:
            InputError: naming the file.
        """
        owners: dict[Path, Path] = {}
        for path in self.found:
            for goal in chain.from_iterable(self._goals(path, kinds)):
                if owners.setdefault(goal, path) != path:
                    raise InputError(f"{owners[goal]} and {path} would both be written to {goal}: rename one of them")
        files.check_apart([*self.found, *reads], [*owners, *also])

    def _goals(self, path: Path, kinds: Sequence[str]) -> Iterator[list[Path]]:
        """Where the results of a file may go, of every kind: by each suffix that they may have."""
        for suffix in dict.fromkeys((path.suffix, *(target.suffixes[0] for target in TARGETS.values()))):
            yield [self.goal(path, suffix, kind) for kind in kinds]

    def _finished(self, path: Path, kinds: Sequence[str]) -> Path | None:
        """The result of a file, if those of every kind are there and as new as the file."""
        for goals in self._goals(path, kinds):
            if all(goal.is_file() and goal.stat().st_mtime_ns >= path.stat().st_mtime_ns for goal in goals):
                return goals[0]
        return None

    def restore(self, apply: Apply, kinds: Sequence[str] = ("",), resume: bool = False) -> Iterator[Done]:
        """Restore each file by ``apply``, and write it.

        Under torchrun each process has its share of the files; a file is the same whoever computes it. To ``resume``
        leaves files alone whose results, of all ``kinds``, are there.

        Raises:
            InputError: a file cannot be read or restored and is the only one, or ``strict`` is set; or one cannot be
                written.
        """
        for number in range(distributed.get_rank(), len(self.found), distributed.get_world_size()):
            path = self.found[number]
            if resume and (before := self._finished(path, kinds)):
                yield Done(path, before, left=True)
                continue
            try:
                source = read_file(path, large=self.large)
                pages = [
                    {kind: _to_values(made, page, pixels) for kind, made in apply(page).items()}
                    for page, pixels in zip(self._pages(number, source), source.pages, strict=True)
                ]
            except InputError as error:
                if self.strict or len(self.found) == 1:
                    raise
                reason = str(error)
                yield Done(path, None, skipped=reason if str(path) in reason else f"{path}: {reason}")
                continue
            suffix, lost = default_suffix(source), _cut_off(source, pages, self.spans)
            source = enlarged(source, len(next(iter(pages[0].values()))) // len(source.pages[0]))
            for kind in pages[0]:
                lost |= write_like(source, [page[kind] for page in pages], self.goal(path, suffix, kind))
            yield Done(path, self.goal(path, suffix), notes=(*lost.values(), *source.notes.values()))

    def pages(self) -> Iterator[Page]:
        """All pages of this process's share of the files.

        Raises:
            InputError: a file cannot be read.
        """
        for number in range(distributed.get_rank(), len(self.found), distributed.get_world_size()):
            yield from self._pages(number, read_file(self.found[number], large=self.large))

    def _pages(self, number: int, source: PictureFile) -> Iterator[Page]:
        for index, pixels in enumerate(source.pages):
            span, name = self.spans[pixels.dtype.name], self.name_of(source.path)
            yield Page(_to_unit(pixels, span), number * _PAGES + index, name, index, len(source.pages), span)


def _cut_off(source: PictureFile, made: list[dict[str, np.ndarray]], spans: dict[str, Range]) -> dict[str, str]:
    """A note on floats beyond black and white, where what was ``made`` of them is not."""
    most = 0.0
    for pixels, kinds in zip(source.pages, made, strict=True):
        if pixels.dtype.kind == "f":
            black, white = spans[pixels.dtype.name]
            both = pixels, next(iter(kinds.values()))
            before, after = (((values < black) | (values > white)).mean() for values in both)
            most = max(most, before - after)
    text = f"{source.path}: {most:.1%} of the values are beyond black or white; restored, they are between them"
    return {"beyond": text} if most else {}


def _to_unit(pixels: np.ndarray, span: Range) -> Tensor:
    """A page (H,W,C) as (1,C,H,W) in units of its range."""
    x = np.moveaxis(pixels, 2, 0)[None].astype(np.float32 if pixels.dtype.name in _EXACT else np.float64)
    x -= span[0]
    x /= span[1] - span[0]
    return torch.from_numpy(x).float()


def _to_values(x: Tensor, page: Page, pixels: np.ndarray) -> np.ndarray:
    """Undo :func:`_to_unit`, but for the type: (H,W,C) in floats; what is as it was has the value that it had."""
    (black, white), exact = page.span, pixels.dtype.name in _EXACT
    made = np.moveaxis((x[0] if exact else x[0].double()).numpy() * (white - black) + black, 0, 2)
    if x.shape == page.x.shape:
        np.copyto(made, pixels, where=np.moveaxis((x == page.x)[0].numpy(), 0, 2), casting="unsafe")
    return made


def open_files(
    source: Path, out: Path | None = None, *, strict: bool = False, large: bool = False, span: Range | None = None
) -> PictureFiles:
    """Look at the files once, for their ranges.

    Args:
        source: a picture, or a folder of pictures (any depth).
        out: a folder, or, for one picture, a picture's name; None where nothing is written.
        strict, large: see :class:`PictureFiles`.
        span: the range of all types; by default found over all files.

    Raises:
        InputError: there are none; ``strict`` is set and one cannot be read; or ``out`` is one file for several.
    """
    found, left_out = find(source, [out] if out else []) if source.is_dir() else ([source], [])
    if out and files.is_for_file(out):
        if len(found) > 1:
            raise InputError(f"{out} is one file for {len(found)} pictures: name a folder by `out`")
        target_of(out)
    extremes = {"uint8": (0.0, 255.0)}
    deeper = [path for path in found if not _has_eight_bits(path)]
    for seen in in_order(lambda path: _extremes(path, strict, large), deeper):
        for name, low, high in seen:
            least, most = extremes.get(name, (low, high))
            extremes[name] = min(low, least), max(high, most)
    spans = {
        name: find_range(np.dtype(name), low, high) if name in PLAIN else (low, max(high, low + 1))
        for name, (low, high) in extremes.items()
    }
    said = [describe_range(np.dtype(name), found, f"{name} pixels in {source}") for name, found in spans.items()]
    if span:
        spans, said = dict.fromkeys(spans, span), []
    folder = source if source.is_dir() else source.parent
    return PictureFiles(found, folder, out or folder, spans, [*left_out, *filter(None, said)], strict, large)


def _extremes(path: Path, strict: bool, large: bool) -> list[tuple[str, float, float]]:
    """Type, least and greatest value of each page. A file that cannot be read has none: it is said in its turn."""
    try:
        pages = read_file(path, large=large).pages
    except InputError:
        if strict:
            raise
        return []
    return [(page.dtype.name, float(page.min()), float(page.max())) for page in pages]


def _has_eight_bits(path: Path) -> bool:
    """Whether a file's content is a JPEG, or a PNG of 8 bits or fewer: pixels of the full range, not to be decoded."""
    try:
        with path.open("rb") as file:
            head = file.read(25)
    except OSError:
        return False
    png = head[:8] == SIGNATURE and head[12:16] == b"IHDR"
    return head[:3] == b"\xff\xd8\xff" or (png and head[24] <= 8)
