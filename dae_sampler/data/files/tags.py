"""Directories of tags, as bytes: those of a TIFF file, and those of an EXIF block, which is a TIFF file without pixels.

Tags are kept as raw values of the file's byte order, so that also private ones come out as they went in. Nothing here
trusts an offset or a count: each must lie within the file.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each type."""
_OFFSETS = (13, 18)
"""Types of tags that lead to further directories. But for those in ``INNER`` they cannot be moved, and are dropped."""
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
EXIF, GPS, INTEROP = 34665, 34853, 40965
INNER = frozenset({EXIF, GPS, INTEROP})
"""Tags that hold the offset of a further directory."""
SIDES = ((256, 257), (282, 283), (40962, 40963))
"""Tags of width and height, of the resolution across and down, and of the width and height in EXIF."""
ORIENTATION, COLOUR_MAP, XMP, ICC = 274, 320, 700, 34675
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEAD = 8


class DamagedError(Exception):
    """The file contradicts itself. The text says how, without its name."""


class Layout(NamedTuple):
    """How numbers are written."""

    order: Literal["<", ">"] = "<"
    """``"<"`` (least byte first) or ``">"``."""
    big: bool = False
    """64-bit offsets, BigTIFF."""

    @property
    def offset(self) -> struct.Struct:
        return struct.Struct(self.order + "IQ"[self.big])

    @property
    def count(self) -> struct.Struct:
        return struct.Struct(self.order + "HQ"[self.big])

    @property
    def entry(self) -> struct.Struct:
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))

    @property
    def link(self) -> int:
        """Where the header holds the offset of the first directory."""
        return 8 if self.big else 4


class Tag(NamedTuple):
    """One tag."""

    type: int
    count: int
    data: bytes
    """``count`` values, in the byte order of the file."""
    inner: Tags | None = None
    """The directory that the tag leads to, for those in ``INNER``."""

    def altered(self, change: Callable[[bytes], bytes]) -> Tag:
        """A tag of bytes with other content; any other tag as it is."""
        if SIZES[self.type] > 1:
            return self
        data = change(self.data)
        return self._replace(count=len(data), data=data)


Tags = dict[int, Tag]


class Directory(NamedTuple):
    """One page's tags."""

    tags: Tags
    lost: int
    """Tags left out because their values lie outside the file, or are of an unknown type."""


def numbers(tags: Tags, code: int, layout: Layout, default: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The whole numbers of a tag; ``default`` where there are none."""
    tag = tags.get(code)
    if tag is None or tag.type not in INTEGERS or not tag.count:
        return default
    return struct.unpack(f"{layout.order}{tag.count}{INTEGERS[tag.type]}", tag.data)


def number(tags: Tags, code: int, layout: Layout, default: int = 0) -> int:
    """The first whole number of a tag."""
    return numbers(tags, code, layout, (default,))[0]


def rational(tags: Tags, code: int, layout: Layout) -> float | None:
    """The value of a tag that is a ratio; None without one."""
    tag = tags.get(code)
    if tag is None or tag.type != 5 or not tag.count:
        return None
    above, below = struct.unpack(layout.order + "II", tag.data[:8])
    return above / below if above and below else None


def read_chain(file: BinaryIO) -> tuple[Layout, list[Directory]]:
    """All directories of a TIFF file or EXIF block, in order.

    Raises:
        DamagedError: the header or a directory is cut off or absurd.
    """
    reader = Reader(file)
    return reader.layout, [reader.directory(at) for at in reader.chain()]


def read_block(block: bytes) -> tuple[Layout, Tags]:
    """The first directory of an EXIF block with all that it leads to.

    Raises:
        DamagedError: it is not such a block.
    """
    reader = Reader(io.BytesIO(block))
    return reader.layout, reader.directory(next(reader.chain())).tags


def turned(tags: Tags) -> Tags:
    """Tags of a picture that has been turned by a quarter, with width and height swapped."""
    swapped = dict(tags)
    for across, down in SIDES:
        if across in tags and down in tags:
            swapped[across], swapped[down] = tags[down], tags[across]
    inner = tags[EXIF].inner if EXIF in tags else None
    return swapped | {EXIF: tags[EXIF]._replace(inner=turned(inner))} if inner else swapped


def pack(tags: Mapping[int, Tag], layout: Layout, at: int, kept: Mapping[int, bytes] | None = None) -> bytes:
    """A directory and its values, to be written at offset ``at``. Its link to a next one is 0.

    Args:
        tags: what it holds.
        layout: of the file.
        at: where the bytes will lie.
        kept: entries as they stand in a directory of the same file, whose values lie elsewhere; ``tags`` go first.
    """
    kept = {code: entry for code, entry in (kept or {}).items() if code not in tags}
    entry, offset = layout.entry, layout.offset
    end = at + layout.count.size + entry.size * (len(tags) + len(kept)) + offset.size
    entries, values = dict(kept), bytearray()
    for code, tag in tags.items():
        values += bytes(-(end + len(values)) % 8)
        here = end + len(values)
        if tag.inner is not None:
            values += pack(tag.inner, layout, here)
            entries[code] = entry.pack(code, 16 if layout.big else 4, 1, offset.pack(here))
        elif len(tag.data) <= offset.size:
            entries[code] = entry.pack(code, tag.type, tag.count, tag.data)
        else:
            values += tag.data
            entries[code] = entry.pack(code, tag.type, tag.count, offset.pack(here))
    directory = b"".join(entries[code] for code in sorted(entries))
    return layout.count.pack(len(entries)) + directory + offset.pack(0) + bytes(values)


def as_block(tags: Tags, layout: Layout) -> bytes:
    """Tags as an EXIF block."""
    layout = Layout(layout.order)
    head = (b"II*\0" if layout.order == "<" else b"MM\0*") + layout.offset.pack(_HEAD)
    return head + pack(tags, layout, _HEAD)


def relink(path: Path, pages: list[Tags]) -> None:
    """Add ``pages[i]`` to the tags of page i of a TIFF file, and take out what describes nothing.

    Of the tags already there, those in ``STRUCTURE`` stay. The directories are written anew at the end of the file.
    """
    with path.open("rb+") as file:
        reader = Reader(file)
        places = list(reader.chain())
        link, layout = reader.layout.link, reader.layout
        for place, tags in zip(places, pages, strict=True):
            kept = {code: entry for code, _, entry in reader.entries(place) if code in STRUCTURE}
            at = -(-file.seek(0, os.SEEK_END) // 8) * 8
            block = pack(tags, layout, at, kept)
            file.seek(at)
            file.write(block)
            file.seek(link)
            file.write(layout.offset.pack(at))
            count = len(kept.keys() | tags.keys())
            link = at + layout.count.size + layout.entry.size * count


STRUCTURE = frozenset({256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339})
"""TIFF tags that say how the pixels lie in the file."""
_REPLACED = frozenset({255, 263, 264, 265, 266, ORIENTATION, 288, 289, 292, 293, 320, 330, 332, 333, 334, 337, 347})
NOT_CARRIED = STRUCTURE | _REPLACED | {*range(512, 522), 529, 530, 531, 532, 559, 32997, 32998, 37724}
"""TIFF tags that a restored file has otherwise or not at all. 37724 is Photoshop's layers, which hold old pixels."""


class Reader:
    """Reads directories within bounds."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size = file, file.seek(0, os.SEEK_END)
        self.budget = 2 * self.size + (1 << 20)  # values may overlap; an attack has them all overlap
        head = self.at(0, 4)
        if head not in MAGIC:
            raise DamagedError("it does not begin as a TIFF file")
        self.layout = Layout("<" if head[:1] == b"I" else ">", b"+" in head)
        if self.layout.big and self.at(4, 4) != struct.pack(self.layout.order + "HH", 8, 0):
            raise DamagedError("its header is damaged")

    def at(self, place: int, length: int) -> bytes:
        if place + length > self.size:
            raise DamagedError("it is cut off")
        self.budget -= length
        if self.budget < 0:
            raise DamagedError("its tags are larger than the file")
        self.file.seek(place)
        return self.file.read(length)

    def chain(self) -> Iterator[int]:
        """The offsets of the directories."""
        layout, link, seen = self.layout, self.layout.link, set[int]()
        while True:
            (place,) = layout.offset.unpack(self.at(link, layout.offset.size))
            if not place and seen:
                return
            if not place or place in seen:
                raise DamagedError("its pages lead in a circle" if place else "it has no page")
            seen.add(place)
            (count,) = layout.count.unpack(self.at(place, layout.count.size))
            link = place + layout.count.size + count * layout.entry.size
            yield place

    def entries(self, place: int) -> Iterator[tuple[int, int, bytes]]:
        """The code, the place and the bytes of each entry of a directory."""
        layout = self.layout
        (count,) = layout.count.unpack(self.at(place, layout.count.size))
        size = layout.entry.size
        table = self.at(place + layout.count.size, count * size)
        for start in range(0, len(table), size):
            entry = table[start : start + size]
            yield layout.entry.unpack(entry)[0], place + layout.count.size + start, entry

    def directory(self, place: int, depth: int = 0) -> Directory:
        tags, lost = Tags(), 0
        for code, _, entry in self.entries(place):
            try:
                tag = self._tag(entry, depth)
                if tag.type not in _OFFSETS or code in STRUCTURE | _REPLACED:
                    tags.setdefault(code, tag)
            except DamagedError:
                if code in STRUCTURE:
                    raise
                lost += 1
        return Directory(tags, lost)

    def _tag(self, entry: bytes, depth: int) -> Tag:
        code, kind, count, field = self.layout.entry.unpack(entry)
        if code in INNER and kind in (4, 13, 16, 18) and count == 1:
            if depth > 1:
                raise DamagedError("its directories are too deep")
            (place,) = self.layout.offset.unpack(field)
            return Tag(4, 1, b"", self.directory(place, depth + 1).tags)
        if kind not in SIZES:
            raise DamagedError("it has a tag of an unknown type")
        length = count * SIZES[kind]
        if length <= len(field):
            return Tag(kind, count, field[:length])
        return Tag(kind, count, self.at(self.layout.offset.unpack(field)[0], length))
