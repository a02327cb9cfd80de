"""What a picture file says of its size, for a version of it with more pixels of the same thing."""

from __future__ import annotations

import re
import struct
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from .picture import PictureFile, Stored
from .tags import INTEGERS, SIDES, DamagedError, Layout, Tag, Tags, as_block, read_block

DESCRIPTION = 270
"""The tag that programs write their own text to."""
GEOGRAPHIC = {33550: (3, -1), 33922: (6, 1)}
"""GeoTIFF's size of a pixel, (x, y, z), and its tie points, (i, j, k, x, y, z): how many numbers a group has, and the
power of the factor that its first two are multiplied by."""


def enlarged(source: PictureFile, factor: int) -> PictureFile:
    """``source`` for pages of ``factor`` times as many pixels across and down: its alpha, resolution and tags of size.

    The pages themselves stay; their enlarged versions are what is written.
    """
    if factor == 1:
        return source
    metadata, stored = source.metadata, source.stored
    if known := metadata.resolution:
        chunks = [(name, content) for name, content in metadata.chunks if name != b"pHYs"]  # it is made anew
        finer = known._replace(x=known.x * factor, y=known.y * factor)
        metadata = replace(metadata, resolution=finer, chunks=chunks)
    if metadata.exif:
        try:
            layout, tags = read_block(metadata.exif)
            metadata = replace(metadata, exif=as_block(_scaled(tags, layout, factor), layout))
        except DamagedError:
            pass  # it goes out as it came in
    if stored:
        planes = [
            [replace(plane, tags=_scaled(plane.tags, stored.layout, factor)) for plane in page]
            for page in stored.planes
        ]
        stored = Stored(stored.layout, planes)
    alpha = [None if page is None else _resized(page, factor) for page in source.alpha]
    return replace(source, alpha=alpha, metadata=metadata, stored=stored)


def _scaled(tags: Tags, layout: Layout, factor: int) -> Tags:
    """Tags with all that they say of sides and resolution multiplied."""
    made = {code: tag._replace(inner=_scaled(tag.inner, layout, factor)) if tag.inner else tag
            for code, tag in tags.items()}  # fmt: skip
    for code in (code for pair in SIDES for code in pair if code in tags):
        made[code] = _multiplied(tags[code], layout, factor)
    for code, (each, power) in GEOGRAPHIC.items():
        if code in tags and tags[code].type == 12:
            made[code] = _placed(tags[code], layout, each, float(factor) ** power)
    if DESCRIPTION in tags:
        made[DESCRIPTION] = tags[DESCRIPTION].altered(lambda text: _described(text, factor))
    return made


def _placed(tag: Tag, layout: Layout, each: int, by: float) -> Tag:
    """A tag of doubles in groups of ``each``, of which the first two are multiplied."""
    form = f"{layout.order}{tag.count}d"
    values = [value * (by if i % each < 2 else 1) for i, value in enumerate(struct.unpack(form, tag.data))]
    return tag._replace(data=struct.pack(form, *values))


def _described(text: bytes, factor: int) -> bytes:
    """What a description says of the size: OME's sides multiplied and its pixels made smaller, tifffile's note of a
    shape left out."""
    if text.startswith(b'{"shape"'):
        return b"\0"
    text = re.sub(rb'(\bPhysicalSize[XY]=")([0-9.eE+-]+)', lambda m: m[1] + _shared(m[2], factor), text)
    return re.sub(rb'(\bSize[XY]=")(\d+)', lambda m: m[1] + str(int(m[2]) * factor).encode(), text)


def _shared(number: bytes, factor: int) -> bytes:
    try:
        return f"{float(number) / factor:.10g}".encode()
    except ValueError:
        return number


def _multiplied(tag: Tag, layout: Layout, factor: int) -> Tag:
    """A tag of whole numbers or of a ratio, times ``factor``; another, or one that would not fit, as it is."""
    form = f"{layout.order}{2 if tag.type == 5 else tag.count}{'I' if tag.type == 5 else INTEGERS.get(tag.type, '')}"
    if tag.count != 1 or (tag.type != 5 and tag.type not in INTEGERS):
        return tag
    first, *rest = struct.unpack(form, tag.data)
    try:
        return tag._replace(data=struct.pack(form, first * factor, *rest))
    except struct.error:
        return tag


def _resized(alpha: np.ndarray, factor: int) -> np.ndarray:
    """(H,W) enlarged linearly, in its type."""
    x = torch.from_numpy(alpha.astype(np.float64))[None, None]
    wide = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)[0, 0].numpy()
    return (np.rint(wide) if alpha.dtype.kind in "iu" else wide).astype(alpha.dtype)
