"""EXIF and XMP blocks of a picture that has been turned upright: they must not say how to turn it again."""

from __future__ import annotations

import io
import re

from .tags import EXIF, ORIENTATION, SIDES, Reader, number

_ORIENTATION = re.compile(rb"""\s*tiff:Orientation\s*=\s*(["'])[^"']*\1|<tiff:Orientation>[^<]*</tiff:Orientation>""")


def without_orientation(packet: bytes) -> bytes:
    """An XMP packet that does not say how to turn the picture."""
    return _ORIENTATION.sub(b"", packet)


def upright_block(block: bytes) -> tuple[bytes, int]:
    """An EXIF block of a picture that has been turned upright, and the orientation, 1 to 8, that it had.

    Nothing in it moves, because maker notes hold offsets: the orientation and the thumbnail, which shows the picture as
    it was, are taken out of their lists, and width and height are swapped where the picture was turned.

    Raises:
        DamagedError: it is not such a block.
    """
    reader = Reader(io.BytesIO(block))
    layout, first = reader.layout, next(reader.chain())
    entries = list(reader.entries(first))
    data = bytearray(block)
    orientation = number(reader.directory(first).tags, ORIENTATION, layout, 1)
    orientation = orientation if 1 <= orientation <= 8 else 1
    if orientation >= 5:
        inner = [layout.offset.unpack(entry[-layout.offset.size :])[0] for code, _, entry in entries if code == EXIF]
        within = list(reader.entries(inner[0])) if inner else []
        places = {code: place for code, place, _ in [*within, *entries]}
        for across, down in SIDES:
            if across in places and down in places:
                a, b = (slice(places[code] + 2, places[code] + layout.entry.size) for code in (across, down))
                data[a], data[b] = data[b], data[a]
    kept = [data[place : place + layout.entry.size] for code, place, _ in entries if code != ORIENTATION]
    fresh = layout.count.pack(len(kept)) + b"".join(kept) + layout.offset.pack(0)
    data[first : first + len(fresh)] = fresh
    return bytes(data), orientation
