"""The other formats: JPEG, WebP, AVIF, HEIC, BMP, PGM and PPM, GIF and what else Pillow reads."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageFile

from ...errors import InputError
from .blocks import upright_exif, upright_xmp
from .frames import open_picture, read_frames
from .picture import Metadata, Page, PictureFile, Resolution, assemble, check_memory, check_size, resolution
from .tags import DamagedError

LOSSY = frozenset({"AVIF", "HEIF", "JPEG", "JPEG2000", "MPO"})
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_JFIF = {1: "inch", 2: "centimetre"}
_PNM = re.compile(rb"P([56])" + 3 * rb"(?:\s|#[^\n]*\n)+(\d{1,9})" + rb"\s")
_SIZ = b"\xff\x4f\xff\x51"
"""What a JPEG 2000 begins with, after its wrapping; 42 bytes on are the bits of a sample."""
_AV1C = b"av1C"
"""What says in an AVIF how it is coded; 6 bytes on is a bit for more than 8."""
_EXIF = b"Exif\0\0"
_HEAD = 1 << 16


def read_raster(path: Path, large: bool) -> PictureFile:
    """A file in any format but TIFF and PNG.

    Raises:
        InputError: it is too large, or needs pillow-heif.
        DamagedError: it is no picture.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC:
        return _read_heic(path, large)
    if (header := _PNM.match(head)) and int(header[4]) != 255:
        return _read_pnm(path, header, large)
    with open_picture(path) as picture:
        check_size(path, picture.width, picture.height, large)
        kind = picture.format or ""
        metadata, orientation, notes = _metadata(path, picture.info)
        if picture.mode in ("CMYK", "LAB"):
            metadata.icc = None  # it is of colours that are RGB from here on
        cut = _is_cut(picture, head)
        pages, metadata.durations = read_frames(path, picture, orientation)
        metadata.loop = picture.info.get("loop", 1) if metadata.durations else None
    if cut and not (kind == "JPEG2000" and _deepen(path, pages[0])):
        notes["cut"] = f"{path} has more than 8 bits a channel, of which 8 are read"
    result = assemble(path, "JPEG" if kind == "MPO" else kind, pages, metadata, notes)
    result.lossy = kind in LOSSY or (kind == "WEBP" and _is_lossy_webp(path))
    return result


def _read_heic(path: Path, large: bool) -> PictureFile:
    try:
        from pillow_heif import open_heif  # type: ignore
    except ImportError:
        raise InputError(f"{path} is a HEIC, which needs pillow-heif: pip install 'dae-sampler[heic]'") from None
    picture = open_heif(path, convert_hdr_to_8bit=False)
    width, height = picture.size
    check_size(path, width, height, large)
    check_memory(path, width * height * 8)
    metadata, _, notes = _metadata(path, picture.info)  # it has been turned already
    samples = np.asarray(picture)
    samples = samples[..., None] if samples.ndim == 2 else samples
    count = samples.shape[2]
    alpha = np.ascontiguousarray(samples[..., -1]) if count in (2, 4) else None
    page = Page(np.ascontiguousarray(samples[..., : 3 if count > 2 else 1]), alpha, count > 2)
    if len(picture) > 1:
        notes["pages"] = f"{path} holds {len(picture)} pictures, of which the first is read"
    result = assemble(path, "HEIF", [page], metadata, notes)
    result.lossy = True
    return result


def _read_pnm(path: Path, header: re.Match[bytes], large: bool) -> PictureFile:
    """A PGM or PPM whose white is not 255: its values are spread over the type's range, which writing undoes."""
    kind, width, height, white = (int(part) for part in header.groups())
    check_size(path, width, height, large)
    if not 1 <= white <= 65535:
        raise DamagedError("its header is damaged")
    shape = (height, width, 3 if kind == 6 else 1)
    dtype = np.dtype(">u2" if white > 255 else "u1")
    if path.stat().st_size < header.end() + np.prod(shape, dtype=np.int64) * dtype.itemsize:
        raise DamagedError("it is cut off")
    most = int(np.iinfo(dtype).max)
    pixels = np.fromfile(path, dtype, int(np.prod(shape)), offset=header.end()).astype(dtype.newbyteorder("="))
    metadata = Metadata(white=None if white == most else white)
    if metadata.white:
        pixels = np.rint(pixels.clip(max=white) * (most / white)).astype(pixels.dtype)
    return assemble(path, "PPM", [Page(pixels.reshape(shape), as_rgb=kind == 6)], metadata, {})


def _metadata(path: Path, info: Mapping[Any, Any]) -> tuple[Metadata, int, dict[str, str]]:
    """What Pillow found, upright; the orientation that it had; and what was damaged."""
    found, orientation, notes = Metadata(), 0, dict[str, str]()
    found.icc = info.get("icc_profile") or None
    if block := info.get("exif"):
        try:
            found.exif, orientation = upright_exif(block.removeprefix(_EXIF))
        except DamagedError:
            notes["exif"] = f"{path}: its EXIF block is damaged and left out"
    if xmp := info.get("xmp"):
        found.xmp, turned = upright_xmp(xmp.encode() if isinstance(xmp, str) else xmp)
        orientation = orientation or turned
    if comment := info.get("comment"):
        found.text["Comment"] = comment.decode("latin-1") if isinstance(comment, bytes) else str(comment)
    density, unit = info.get("jfif_density"), info.get("jfif_unit", 0)
    if density and unit in _JFIF:
        found.resolution = resolution(*density, unit=_JFIF[unit])
    elif dpi := info.get("dpi"):
        found.resolution = resolution(*dpi, unit="inch")
    if found.resolution and orientation >= 5:
        x, y, unit = found.resolution
        found.resolution = Resolution(y, x, unit)
    return found, orientation, notes


def _is_cut(picture: ImageFile.ImageFile, head: bytes) -> bool:
    """Whether the file has more bits a channel than Pillow will give."""
    if picture.format == "JPEG2000" and not picture.mode.startswith("I"):
        place = head.find(_SIZ) + 42
        return place < len(head) and (head[place] & 0x7F) > 7
    if picture.format == "AVIF":
        place = head.find(_AV1C) + 6
        return 6 <= place < len(head) and bool(head[place] & 0x40)
    return any(codec == "SGI16" or ";16" in str(args) for codec, _, _, args in picture.tile) and picture.mode[0] != "I"


def _deepen(path: Path, page: Page) -> bool:
    """Give a page from a JPEG 2000 its full depth, where imagecodecs can."""
    try:
        from imagecodecs import jpeg2k_decode
    except ImportError:
        return False
    samples = np.asarray(jpeg2k_decode(path.read_bytes()))
    samples = samples[..., None] if samples.ndim == 2 else samples
    channels = page.pixels.shape[2]
    if samples.shape[:2] != page.pixels.shape[:2] or samples.shape[2] != channels + (page.alpha is not None):
        return False
    page.pixels = np.ascontiguousarray(samples[..., :channels])
    page.alpha = None if page.alpha is None else np.ascontiguousarray(samples[..., -1])
    return True


def _is_lossy_webp(path: Path) -> bool:
    """Whether any picture in the file is compressed with loss: a chunk "VP8 ", maybe within a frame."""
    data = path.read_bytes()
    place = 12
    while place + 8 <= len(data):
        name, length = struct.unpack("<4sI", data[place : place + 8])
        if name == b"VP8 ":
            return True
        place += 8 + 16 if name == b"ANMF" else 8 + length + length % 2
    return False
