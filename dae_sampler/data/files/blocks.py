"""EXIF and XMP blocks of a picture that has been turned upright: they must not say how to turn it again."""

from __future__ import annotations

import io
import re

from .tags import EXIF, ORIENTATION, SIDES, Reader, number

_XMP = re.compile(rb"""\s*\btiff:Orientation\s*=\s*["'](\d*)["']|<tiff:Orientation>\s*(\d*)\s*</tiff:Orientation>""")


def upright_xmp(packet: bytes) -> tuple[bytes, int]:
    """An XMP packet of a picture that has been turned upright, and the orientation, 1 to 8, that it gave; 0 if none."""
    found = _XMP.search(packet)
    said = (found[1] or found[2]) if found else b""
    return _XMP.sub(b"", packet), int(said) if said in {b"%d" % i for i in range(1, 9)} else 0


def upright_exif(block: bytes) -> tuple[bytes, int]:
    """An EXIF block of a picture that has been turned upright, and the orientation, 1 to 8, that it gave; 0 if none.

    Nothing in it moves, because maker notes hold offsets: the orientation and the thumbnail, which shows the picture as
    it was, are taken out of their lists, and width and height are swapped where the picture was turned.

    Raises:
        DamagedError: it is not such a block.
    """
    reader = Reader(io.BytesIO(block))
    layout, first = reader.layout, next(reader.chain())
    entries = list(reader.entries(first))
    data = bytearray(block)
    orientation = number(reader.directory(first).tags, ORIENTATION, layout)
    orientation = orientation if 1 <= orientation <= 8 else 0
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
