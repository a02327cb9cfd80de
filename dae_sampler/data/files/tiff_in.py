"""TIFF files read: pages, channels that lie in pages of their own, and the tags of each.

A file is checked before tifffile sees it: every directory, every strip and every declared size must be possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError
from .picture import Metadata, Page, PictureFile, Stored, assemble, check_memory, check_size, resolution
from .tags import EXIF, GPS, ICC, XMP, Directory, Layout, Tags, as_block, number, rational, read_chain
from .tiff_axes import Axes, read_axes
from .tiff_facts import NO_COMPRESSION, Facts, describe
from .tiff_planes import convert, decode, decode_stack

if TYPE_CHECKING:
    from tifffile import TiffFile

_DNG, _METAMORPH, _LAYERS, _REDUCED, _TEXT = 50706, 33629, 37724, 254, 270
_UNITS = {1: "none", 2: "inch", 3: "centimetre"}
_ONCE = frozenset({_TEXT, 50838, 50839, 65000, 65001})
"""Tags that speak of a whole stack."""
_ALSO_EXIF = frozenset({_TEXT, 271, 272, 305, 306, 315, 33432, EXIF, GPS})
"""Tags that an EXIF block has, too."""


class _File:
    """A TIFF file, its tags read and checked."""

    def __init__(self, path: Path, large: bool) -> None:
        self.path, self.size = path, path.stat().st_size
        with path.open("rb") as file:
            self.layout, self.directories = read_chain(file)
        first = self.directories[0].tags
        if _DNG in first:
            raise InputError(f"{path} is a camera's raw file: develop it to a 16-bit TIFF first")
        if _METAMORPH in first and first[_METAMORPH].count > 1 and len(self.directories) == 1:
            raise InputError(f"{path} is a stack of MetaMorph: save it as a plain TIFF first")
        self.places, self.notes = _wanted(path, self.directories)
        self.facts: dict[int, Facts] = {}
        for place in self.places:
            facts = self.facts[place] = describe(self.tags(place), self.layout)
            check_size(path, facts.width, facts.height, large)
            facts.check(self.size)
        self.runs = list(self._runs())
        check_memory(path, sum(self.facts[places[0]].bytes * axes.pages for places, axes in self.runs))

    def tags(self, place: int) -> Tags:
        return self.directories[place].tags

    def _runs(self) -> Iterator[tuple[list[int], Axes]]:
        """Directories that belong together, and how the pages of each run go: more of them than directories in a stack
        without tags.
        """
        places = self.places
        while places:
            facts = self.facts[places[0]]
            stack = len(places) == 1 and facts.compression == NO_COMPRESSION and facts.bits in (8, 16, 32, 64)
            most = (self.size - facts.offsets[0]) // facts.bytes if stack else len(places)
            text = self.tags(places[0]).get(_TEXT)
            size = facts.width * facts.height * facts.samples
            axes = read_axes(text.data, facts.samples, size, most) if text and facts.depth == 1 else None
            if axes and not stack and not all(_alike(self.facts[place], facts) for place in places[: axes.pages]):
                axes = None
            axes = axes or Axes("I", (1,))
            taken = 1 if stack else axes.pages
            yield places[:taken], axes
            places = places[taken:]


def read_tiff(path: Path, large: bool) -> PictureFile:
    """A TIFF file of either byte order, classic or BigTIFF.

    Raises:
        InputError: it is too large, or keeps its pixels in a way that is not supported.
        DamagedError: it contradicts itself.
    """
    from tifffile import TiffFile

    source = _File(path, large)
    pages: list[Page] = []
    done = 0
    with TiffFile(path, is_scanimage=False) as file:
        for places, axes in source.runs:
            planes = list(_pages(source, file, places, axes))
            for page in planes:
                page.planes = [replace(page.planes[0], place=done)]
                done += 1
            pages += [_merged(group) for group in _grouped(planes, axes)]
    metadata = _metadata(pages[0].planes[0].tags, source.layout)
    picture = assemble(path, "TIFF", pages, metadata, source.notes)
    picture.stored = Stored(source.layout, [page.planes for page in pages])
    return picture


def _pages(source: _File, file: TiffFile, places: list[int], axes: Axes) -> Iterator[Page]:
    """The planes of a run, in the order of the file."""
    for place in places:
        facts, tags = source.facts[place], source.tags(place)
        if axes.pages == len(places):
            planes = decode(source.path, file, place, facts)
        else:
            planes = decode_stack(source.path, facts, source.layout, axes.pages)
        for i, plane in enumerate(planes):
            own = _first(tags) if i == 0 else {code: tag for code, tag in tags.items() if code not in _ONCE}
            yield convert(source.path, plane, own, source.layout, facts)


def _first(tags: Tags) -> Tags:
    """The tags of the first page of a stack, all of whose pages will have some."""
    if _TEXT not in tags:
        return tags
    return tags | {_TEXT: tags[_TEXT].altered(lambda text: text.replace(b'"truncated": true', b'"truncated": false'))}


def _wanted(path: Path, directories: list[Directory]) -> tuple[list[int], dict[str, str]]:
    """The pages that are not smaller copies of others, and what to say of the rest."""
    notes: dict[str, str] = {}
    layout = Layout()
    small = {i for i, d in enumerate(directories) if number(d.tags, _REDUCED, layout) & 1}
    if len(small) == len(directories):
        small = set()
    if small or any(330 in directory.tags for directory in directories):
        notes["copies"] = f"{path} also holds smaller copies of its pages: they are left out"
    if lost := sum(directory.lost for directory in directories):
        notes["tags"] = f"{path} has damaged tags ({lost}): they are left out"
    if any(_LAYERS in directory.tags for directory in directories):
        notes["layers"] = f"{path} holds Photoshop layers: they are left out"
    return [i for i in range(len(directories)) if i not in small], notes


def _alike(a: Facts, b: Facts) -> bool:
    fields = ("width", "height", "depth", "samples", "bits", "kind", "photometric")
    return all(getattr(a, name) == getattr(b, name) for name in fields)


def _grouped(pages: list[Page], axes: Axes) -> list[list[Page]]:
    """The planes of each page."""
    channels = all(page.pixels.shape[2] == 1 and page.alpha is None for page in pages)
    if not channels or len(pages) != axes.pages:
        return [[page] for page in pages]
    return [[pages[i] for i in group] for group in axes.groups()]


def _merged(group: list[Page]) -> Page:
    """One page of its channels."""
    if len(group) == 1:
        return group[0]
    pixels = np.concatenate([page.pixels for page in group], axis=2)
    return replace(group[0], pixels=pixels, planes=[page.planes[0] for page in group])


def _metadata(tags: Tags, layout: Layout) -> Metadata:
    """What other formats can hold of the tags of a page."""
    x, y = (rational(tags, code, layout) for code in (282, 283))
    unit = _UNITS.get(number(tags, 296, layout, 2), "none")
    exif = {code: tag for code, tag in tags.items() if code in _ALSO_EXIF}
    return Metadata(
        icc=tags[ICC].data if ICC in tags else None,
        resolution=resolution(x or 0, y or 0, unit),
        exif=as_block(exif, layout) if exif else None,
        xmp=tags[XMP].data if XMP in tags else None,
    )
