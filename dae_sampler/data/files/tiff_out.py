"""TIFF files written: pages as the source kept them, with its tags."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from .picture import GREY, RGB, WHITE_IS_LEAST, Metadata, Page, Plane, Stored, top
from .tags import ICC, NOT_CARRIED, XMP, DamagedError, Layout, Tag, Tags, read_block, relink
from .tiff_facts import DEFLATE, NO_COMPRESSION

_CLASSIC = 2**32 - 2**26
"""Bytes beyond which offsets of 32 bits may not do."""
_PARTS = 10_000
"""What a resolution is a multiple of one part of."""
_UNITS = {"none": 1, "inch": 2, "centimetre": 3}


def write_tiff(pages: list[Page], stored: Stored, path: Path) -> None:
    """Write pages as ``stored`` says, which has the planes of each."""
    from tifffile import TiffWriter

    planes = []
    for page, kept in zip(pages, stored.planes, strict=True):
        planes += [(plane, _samples(page, plane, i if len(kept) > 1 else None)) for i, plane in enumerate(kept)]
    planes.sort(key=lambda pair: pair[0].place)
    total = sum(samples.nbytes + _size(plane.tags) for plane, samples in planes)
    big = stored.layout.big or total > _CLASSIC
    previous = None
    with TiffWriter(path, bigtiff=big, byteorder=stored.layout.order, shaped=False, ome=False, imagej=False) as writer:
        for plane, samples in planes:
            form = (plane.photometric, plane.bits, plane.extras, plane.separate, samples.shape, samples.dtype)
            whole = plane.bits == samples.dtype.itemsize * 8
            plain = plane.compression == NO_COMPRESSION and whole
            writer.write(
                samples,
                photometric=plane.photometric,
                planarconfig=(2 if plane.separate else 1) if samples.ndim == 3 else None,
                extrasamples=plane.extras or None,
                bitspersample=None if whole else plane.bits,
                compression=plane.compression,
                predictor=plane.predictor,
                metadata=None,
                software=False,
                contiguous=plain and form == previous,  # ImageJ wants its stacks so
            )
            previous = form if plain else None
    relink(path, [plane.tags for plane, _ in planes])


def planes_for(pages: list[Page], metadata: Metadata) -> Stored:
    """How pages are kept that do not come from a TIFF file: by deflate, with what tags can say of the metadata."""
    layout, tags = _tags(metadata)
    kept = []
    for place, page in enumerate(pages):
        kind = page.pixels.dtype.kind
        plane = Plane(
            place,
            tags if place == 0 else {},
            RGB if page.pixels.shape[2] == 3 else GREY,
            1 if page.binary else page.pixels.dtype.itemsize * 8,
            (2,) if page.alpha is not None else (),
            compression=DEFLATE,
            predictor=2 if kind in "iu" and not page.binary else 1,
        )
        kept.append([plane])
    return Stored(layout, kept)


def _samples(page: Page, plane: Plane, channel: int | None) -> np.ndarray:
    """What is stored: (H,W), (H,W,S), or (S,H,W) for channels that are stored separately."""
    pixels = page.pixels if channel is None else page.pixels[..., channel : channel + 1]
    if plane.photometric == WHITE_IS_LEAST and pixels.dtype.kind == "u":
        white = pixels.dtype.type(top(pixels.dtype, plane.bits))
        pixels = np.concatenate([white - pixels[..., :1], pixels[..., 1:]], axis=2)
    if plane.alpha_at is not None and page.alpha is not None:
        pixels = np.insert(pixels, plane.alpha_at, page.alpha, axis=2)
    if plane.bits == 1:
        pixels = pixels >= 128
    if pixels.shape[2] == 1:
        return np.ascontiguousarray(pixels[..., 0])
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0) if plane.separate else pixels)


def _size(tags: Tags) -> int:
    """Bytes that tags take."""
    return sum(len(tag.data) + 32 + _size(tag.inner or {}) for tag in tags.values())


def _tags(metadata: Metadata) -> tuple[Layout, Tags]:
    """Metadata as tags, and the byte order that they are in."""
    layout, tags = Layout(), Tags()
    if metadata.exif:
        try:
            layout, found = read_block(metadata.exif)
        except DamagedError:
            found = {}
        tags |= {code: tag for code, tag in found.items() if code not in NOT_CARRIED}
    if metadata.icc:
        tags[ICC] = Tag(7, len(metadata.icc), metadata.icc)
    if metadata.xmp:
        tags[XMP] = Tag(1, len(metadata.xmp), metadata.xmp)
    if metadata.resolution:
        tags |= _resolution(metadata, layout)
    return layout, tags


def _resolution(metadata: Metadata, layout: Layout) -> Tags:
    resolution = metadata.resolution
    assert resolution is not None
    metres = resolution.unit == "metre"
    x, y = resolution.per("centimetre") if metres else resolution[:2]
    unit = struct.pack(layout.order + "H", _UNITS["centimetre" if metres else resolution.unit])
    parts = [_PARTS if value * _PARTS < 2**31 else 1 for value in (x, y)]
    ratios = [
        Tag(5, 1, struct.pack(layout.order + "II", round(value * part), part))
        for value, part in zip((x, y), parts, strict=True)
    ]
    return dict(zip((282, 283, 296), (*ratios, Tag(3, 1, unit)), strict=True))
