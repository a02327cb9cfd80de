"""PNG files of 1 to 16 bits, also in colour, and animations."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from .frames import read_frames
from .picture import Metadata, Page, PictureFile, assemble, check_memory, check_size, upright
from .png_chunks import Chunk, Header, metadata_chunks, put_together, read_metadata, take_apart
from .tags import DamagedError

_ROWS = 64
"""Rows that are filtered at a time."""
_PAETH, _EFFORT = 4, 4


def read_png(path: Path, large: bool) -> PictureFile:
    """A PNG; the frames of an animation are pages.

    Raises:
        InputError: it is too large.
        DamagedError: it is cut off or contradicts itself.
    """
    data = path.read_bytes()
    header, chunks = take_apart(data)
    check_size(path, header.width, header.height, large)
    check_memory(path, header.width * header.height * header.samples * max(1, header.depth // 8))
    metadata, orientation, notes = read_metadata(header, chunks)
    notes = {kind: f"{path}: {note}" for kind, note in notes.items()}
    names = {name for name, _ in chunks}
    if header.depth == 16 and header.colour != 3:
        page = _deep(header, chunks)
        page.pixels = upright(page.pixels, orientation)
        page.alpha = None if page.alpha is None else upright(page.alpha, orientation)
        if b"acTL" in names:
            notes["pages"] = f"{path} is an animation of 16 bits, of which the first picture is read"
        return assemble(path, "PNG", [page], metadata, notes)
    with PngImagePlugin.PngImageFile(io.BytesIO(data)) as picture:
        pages, metadata.durations = read_frames(path, picture, orientation)
        metadata.loop = picture.info.get("loop", 1) if metadata.durations else None
    if header.depth in (2, 4) and header.colour == 0:
        notes["shallow"] = f"{path} has {header.depth} bits a pixel: it is written with 8"
    return assemble(path, "PNG", pages, metadata, notes)


def write_png(pages: list[Page], metadata: Metadata, path: Path) -> None:
    """Write one page of 1, 8 or 16 bits, or several of one size as an animation."""
    first = pages[0]
    height, width, count = first.samples.shape
    depth = 1 if first.binary else first.pixels.dtype.itemsize * 8
    header = Header(width, height, depth, {1: 0, 2: 4, 3: 2, 4: 6}[count], 0, 0, 0)
    with path.open("wb") as file:
        for part in put_together(header, chain(metadata_chunks(metadata, count), _chunks(pages, header, metadata))):
            file.write(part)


def _chunks(pages: list[Page], header: Header, metadata: Metadata) -> Iterator[Chunk]:
    """The chunks that hold pixels. A second picture and those after it are numbered from their first chunk on."""
    number = 0
    if len(pages) > 1:
        yield b"acTL", struct.pack(">II", len(pages), metadata.loop or 0)
    for place, page in enumerate(pages):
        if len(pages) > 1:
            time = min(65535, metadata.durations[place])
            size = header.width, header.height, 0, 0
            yield b"fcTL", struct.pack(">IIIIIHHBB", number, *size, time, 1000, 0, 0)
            number += 1
        step = max(1, header.samples * header.depth // 8)
        for part in _compressed(_rows(page.samples, header.depth), step):
            yield (b"fdAT", struct.pack(">I", number) + part) if place else (b"IDAT", part)
            number += place > 0


def _deep(header: Header, chunks: list[Chunk]) -> Page:
    """A page of 16 bits. Pillow keeps the upper 8 of a colour; read as if least byte first, it keeps the lower 8."""
    data = b"".join(content for name, content in chunks if name == b"IDAT")

    def decoded(mode: str, raw: str) -> np.ndarray:
        size = header.width, header.height
        try:
            return np.asarray(Image.frombytes(mode, size, data, "zip", (raw, header.interlaced)))
        except (ValueError, OSError, SystemError) as error:
            raise DamagedError(str(error)) from None

    if header.samples == 1:
        pixels = decoded("I;16", "I;16B").astype(np.uint16)[..., None]
    elif header.samples == 2:
        pixels = decoded("RGBA", "RGBA").view(">u2").astype(np.uint16)  # two bytes each of grey and alpha
    else:
        mode = "RGB" if header.samples == 3 else "RGBA"
        pixels = decoded(mode, f"{mode};16B").astype(np.uint16) << 8
        pixels |= decoded(mode, f"{mode};16L")
    if header.colour in (4, 6):
        return Page(pixels[..., :-1], np.ascontiguousarray(pixels[..., -1]), header.colour == 6)
    key = next((content for name, content in chunks if name == b"tRNS"), None)
    alpha = None
    if key and len(key) == 2 * header.samples:
        clear = (pixels == np.frombuffer(key, ">u2")).all(axis=2)
        alpha = np.where(clear, np.uint16(0), np.uint16(65535))
    return Page(pixels, alpha, header.colour == 2)


def _rows(samples: np.ndarray, depth: int) -> np.ndarray:
    """(H,W,S) as the bytes (H,B) of a PNG."""
    if depth == 1:
        return np.packbits(samples[..., 0] >= 128, axis=1)
    return (
        np.ascontiguousarray(samples.astype(samples.dtype.newbyteorder(">"))).view(np.uint8).reshape(len(samples), -1)
    )


def _compressed(rows: np.ndarray, step: int) -> Iterator[bytes]:
    """Rows (H,B), each byte less what Paeth's filter expects from those ``step`` before, above, and both; deflated."""
    squeeze = zlib.compressobj(_EFFORT)
    above = np.zeros((1, rows.shape[1] + step), np.int16)
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        padded = np.pad(part, ((0, 0), (step, 0))).astype(np.int16)
        up = np.vstack([above, padded[:-1]])
        above = padded[-1:]
        a, b, c = padded[:, :-step], up[:, step:], up[:, :-step]
        to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
        expected = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
        filtered = (part - expected).astype(np.uint8)
        if packed := squeeze.compress(np.pad(filtered, ((0, 0), (1, 0)), constant_values=_PAETH).tobytes()):
            yield packed
    yield squeeze.flush()
