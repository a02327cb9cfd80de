"""The chunks of a PNG: taken apart, checked, read as metadata, and put together again."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from .blocks import upright_exif, upright_xmp
from .picture import Metadata, resolution
from .tags import DamagedError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
Chunk = tuple[bytes, bytes]
_CARRIED = frozenset({b"cHRM", b"gAMA", b"sRGB", b"iCCP", b"sBIT", b"cICP", b"mDCV", b"cLLI", b"tIME"})
"""Chunks that a restored picture has again, beside those that call themselves safe to copy."""
_XMP = b"XML:com.adobe.xmp"
_PROFILE = re.compile(r"Raw profile type (exif|APP1|xmp)$", re.IGNORECASE)
"""Keywords under which ImageMagick writes other blocks as text."""
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_MOST_TEXT = 1 << 26
_EXIF = b"Exif\0\0"


class Header(NamedTuple):
    """What the first chunk says."""

    width: int
    height: int
    depth: int
    colour: int
    """0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha."""
    compression: int
    filter: int
    interlaced: int

    @property
    def samples(self) -> int:
        return {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[self.colour]


def take_apart(data: bytes) -> tuple[Header, list[Chunk]]:
    """The header and the chunks between it and the end.

    Raises:
        DamagedError: a chunk is cut off or does not match its checksum, or the header is absurd.
    """
    chunks: list[Chunk] = []
    place, name = len(SIGNATURE), b""
    while name != b"IEND":
        if place + 12 > len(data):
            raise DamagedError("it is cut off")
        length, name = struct.unpack(">I4s", data[place : place + 8])
        content = data[place + 8 : place + 8 + length]
        end = place + 12 + length
        if end > len(data):
            raise DamagedError("it is cut off")
        if name[:1].isupper() and zlib.crc32(name + content) != struct.unpack(">I", data[end - 4 : end])[0]:
            raise DamagedError("its pixels do not match their checksum")
        chunks.append((name, content))
        place = end
    if chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise DamagedError("its header is damaged")
    header = Header(*struct.unpack(">IIBBBBB", chunks[0][1]))
    if header.colour not in (0, 2, 3, 4, 6) or header.depth not in (1, 2, 4, 8, 16):
        raise DamagedError("its header is damaged")
    return header, chunks[1:-1]


def put_together(header: Header, chunks: Iterable[Chunk]) -> Iterable[bytes]:
    """The bytes of a PNG, part by part."""
    yield SIGNATURE
    for name, content in ((b"IHDR", struct.pack(">IIBBBBB", *header)), *chunks, (b"IEND", b"")):
        yield struct.pack(">I", len(content)) + name
        yield content
        yield struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))


def read_metadata(header: Header, chunks: list[Chunk]) -> tuple[Metadata, int, dict[str, str]]:
    """What chunks say, upright; the orientation that they had; and what was damaged, by kind."""
    found, orientation, damaged = Metadata(), 0, dict[str, str]()
    named = dict(reversed(chunks))  # the first of each
    found.text, xmp, exif = _texts(chunks)
    exif = named.get(b"eXIf", exif)
    found.icc = _inflated(named[b"iCCP"].partition(b"\0")[2][1:]) if b"iCCP" in named else None
    if exif is not None:
        try:
            found.exif, orientation = upright_exif(exif)
        except DamagedError:
            damaged["exif"] = "its EXIF block is damaged and left out"
    if xmp:
        found.xmp, turned = upright_xmp(xmp)
        orientation = orientation or turned
    found.chunks = [_turned(chunk, orientation) for chunk in chunks if _is_carried(chunk, header)]
    density = next((content for name, content in found.chunks if name == b"pHYs" and len(content) == 9), None)
    if density:
        x, y, metres = struct.unpack(">IIB", density)
        found.resolution = resolution(x, y, "metre" if metres else "none")
    return found, orientation, damaged


def metadata_chunks(metadata: Metadata, samples: int) -> list[Chunk]:
    """The chunks to write for a picture of ``samples`` values a pixel."""
    chunks = [(name, content) for name, content in metadata.chunks if name != b"sBIT" or len(content) == samples]
    there = {name for name, _ in chunks}
    if metadata.icc and b"iCCP" not in there:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.resolution and b"pHYs" not in there:
        known = metadata.resolution.unit != "none"
        density = metadata.resolution.per("metre") if known else metadata.resolution[:2]
        chunks.append((b"pHYs", struct.pack(">IIB", *(max(1, round(value)) for value in density), known)))
    if not metadata.chunks:
        chunks += [_as_text(keyword, text) for keyword, text in metadata.text.items()]
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append((b"iTXt", _XMP + b"\0\0\0\0\0" + metadata.xmp))
    return chunks


def _texts(chunks: list[Chunk]) -> tuple[dict[str, str], bytes | None, bytes | None]:
    """The texts, and the XMP and the EXIF block that are hidden among them."""
    texts, size = dict[str, str](), 0
    xmp = exif = None
    for name, content in chunks:
        if name not in _TEXTS:
            continue
        keyword, text = _text(name, content)
        size += len(text)
        if size > _MOST_TEXT:
            raise DamagedError("its texts are too large")
        if not _PROFILE.match(keyword) and keyword != _XMP.decode():
            texts[keyword] = text
            continue
        block = text.encode() if keyword == _XMP.decode() else _raw_profile(text) or b""
        if block.startswith(_EXIF):
            exif = block.removeprefix(_EXIF)
        elif b"<" in block:
            xmp = xmp or block
    return texts, xmp, exif


def _is_carried(chunk: Chunk, header: Header) -> bool:
    name, content = chunk
    if name in _TEXTS:
        keyword = content.partition(b"\0")[0].decode("latin-1")
        return keyword != _XMP.decode() and not _PROFILE.match(keyword)
    if name == b"sBIT":
        return header.colour != 3
    return name in _CARRIED or (name[3:4].islower() and name[:1].islower() and name != b"eXIf")


def _turned(chunk: Chunk, orientation: int) -> Chunk:
    name, content = chunk
    if name == b"pHYs" and orientation >= 5 and len(content) == 9:
        return name, content[4:8] + content[:4] + content[8:]
    return chunk


def _text(name: bytes, content: bytes) -> tuple[str, str]:
    keyword, _, rest = content.partition(b"\0")
    if name == b"tEXt":
        return keyword.decode("latin-1"), rest.decode("latin-1")
    if name == b"zTXt":
        return keyword.decode("latin-1"), (_inflated(rest[1:]) or b"").decode("latin-1")
    text = rest[2:].split(b"\0", 2)[-1]
    text = _inflated(text) or b"" if rest[:1] == b"\1" else text
    return keyword.decode("latin-1"), text.decode("utf-8", "replace")


def _as_text(keyword: str, text: str) -> Chunk:
    name = keyword.encode("latin-1", "replace")[:79]
    try:
        return b"tEXt", name + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        return b"iTXt", name + b"\0\0\0\0\0" + text.encode()


def _inflated(data: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(data, _MOST_TEXT) or None
    except zlib.error:
        return None


def _raw_profile(text: str) -> bytes | None:
    """What ImageMagick wrote as a name, a length and hexadecimal digits."""
    parts = text.split(None, 2)
    try:
        return bytes.fromhex(parts[2])
    except (IndexError, ValueError):
        return None
