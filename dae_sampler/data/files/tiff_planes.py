"""Planes of a TIFF file: decoded, and turned into pages that a network can take."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ...errors import InputError
from .blocks import upright_xmp
from .colour import inks_to_rgb, lab_to_rgb, look_up
from .frames import open_picture
from .picture import GREY, RGB, WHITE_IS_LEAST, Page, Plane, top, upright
from .tags import COLOUR_MAP, ICC, NOT_CARRIED, XMP, DamagedError, Layout, Tags, numbers, turned
from .tiff_facts import BASE, DEFLATE, INKS, JPEG, LAB, MASK, NO_COMPRESSION, PALETTE, YCBCR, Facts

if TYPE_CHECKING:
    from tifffile import TiffFile

TYPES = frozenset({"uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"})
SAME_AGAIN = frozenset({1, 5, 8, 32773, 32946, 34925, 50000})
"""Compressions that are written again: none, LZW, deflate, PackBits, deflate (old number), LZMA and zstd."""
_PICTURES = frozenset({JPEG, 33003, 33005, 34712, 34933, 50001})
"""Compressions whose parts are pictures with sizes of their own: JPEG, JPEG 2000, PNG and WebP."""
_READ_ONLY = frozenset({2, 3, 4, 34926}) | _PICTURES
"""Also the codes of fax machines, and zstd's old number."""
_WITH_LOSS = _PICTURES - {34933}
_OF_CAMERAS = (32803, 34892)
"""The `photometric` of sensors."""
_OF_INKS = frozenset({ICC, 301, 318, 319, 336})
"""Tags that describe colours which are no longer there once they are RGB."""
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it logs is raised here, or checked before


def decode(path: Path, file: TiffFile, place: int, facts: Facts) -> list[np.ndarray]:
    """The planes of page ``place``, one but for volumes: (H,W,S), S all samples, as they are stored.

    Raises:
        InputError: they cannot be decoded, or only with imagecodecs.
    """
    pillow = facts.photometric == YCBCR and facts.compression != JPEG
    if not pillow and facts.compression not in SAME_AGAIN | _READ_ONLY:
        raise InputError(f"{path} is compressed in a way that is not supported ({facts.compression}): save it by LZW")
    try:
        if pillow:
            with Image.open(path) as picture:
                picture.seek(place)
                return [np.asarray(picture.convert("RGB"))]
        if facts.compression in _PICTURES:
            _check_inside(path, facts)
        page = file.pages[place]
        found = page.asarray(squeeze=False)  # (S or 1, depth, H, W, 1 or S)
    except DamagedError:
        raise
    except Exception as error:  # tifffile and its codecs raise almost anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if "imagecodecs" in reason:
            raise InputError(
                f"{path} is compressed in a way that needs imagecodecs: pip install 'dae-sampler[codecs]'"
            ) from None
        raise DamagedError(reason) from None
    if found.ndim != 5 or found.shape[2:4] != (facts.height, facts.width):
        raise DamagedError("its tags contradict each other")
    return [np.moveaxis(plane, 0, 2).reshape(*plane.shape[1:3], -1) for plane in np.moveaxis(found, 1, 0)]


def _check_inside(path: Path, facts: Facts) -> None:
    """Refuse parts that are pictures much larger than the page gives them room for."""
    room = 4 * facts.segment[0] * facts.segment[1] + (1 << 20)
    with path.open("rb") as file:
        for offset, count in zip(facts.offsets, facts.counts, strict=False):
            file.seek(offset)
            with open_picture(file.read(count)) as picture:
                if picture.width * picture.height > room:
                    raise DamagedError("parts of it claim to be larger than the page")


def decode_stack(path: Path, facts: Facts, layout: Layout, pages: int) -> list[np.ndarray]:
    """Planes (H,W,S) that follow the first one without tags of their own, uncompressed."""
    dtype = np.dtype(f"{layout.order}{facts.kind}{facts.bits // 8}")
    shape = (facts.samples, facts.height, facts.width) if facts.separate else (facts.height, facts.width, facts.samples)
    found = np.fromfile(path, dtype, pages * facts.bytes // dtype.itemsize, offset=facts.offsets[0])
    planes = found.astype(dtype.newbyteorder("="), copy=False).reshape(pages, *shape)
    return [np.moveaxis(plane, 0, 2) if facts.separate else plane for plane in planes]


def convert(path: Path, samples: np.ndarray, tags: Tags, layout: Layout, facts: Facts) -> Page:
    """Samples (H,W,S) as a page.

    Raises:
        InputError: they are of a kind that is not supported.
        DamagedError: there are fewer than their colours need.
    """
    notes: dict[str, str] = {}
    base = _base(path, facts, samples.shape[2])
    samples, bits = _widened(path, samples, facts, notes)
    pixels, photometric = _in_colour(path, samples[..., :base], tags, layout, facts, notes)
    more = samples[..., base:]
    extras = (*facts.extras, *[0] * samples.shape[2])[: samples.shape[2] - base]
    alphas = [i for i, kind in enumerate(extras) if kind in (1, 2)][:1]
    others = [more[..., i : i + 1] for i in range(len(extras)) if i not in alphas]
    alpha = upright(more[..., alphas[0]], facts.orientation) if alphas else None
    pixels = upright(np.concatenate([pixels, *others], axis=2) if others else pixels, facts.orientation)
    stored, compression, predictor = _compression(path, facts, bits, pixels.dtype, notes)
    if photometric == WHITE_IS_LEAST and stored != bits:
        photometric = GREY  # white is another number now
    plane = Plane(0, _carried(tags, facts), photometric, stored, extras, facts.separate, compression, predictor)
    return Page(pixels, alpha, photometric == RGB, stored == 1, [plane], notes)


def _base(path: Path, facts: Facts, samples: int) -> int:
    """Samples that make a colour."""
    if facts.photometric in _OF_CAMERAS:
        raise InputError(f"{path} is a camera's raw file: develop it to a 16-bit TIFF first")
    if facts.photometric not in BASE:
        raise InputError(
            f"{path} keeps its colours in a way that is not supported (photometric {facts.photometric}): "
            "convert it to RGB or grey first"
        )
    base = BASE[facts.photometric]
    if samples < base:
        raise DamagedError(f"it has {samples} channels where its colours need {base}")
    return base


def _widened(path: Path, samples: np.ndarray, facts: Facts, notes: dict[str, str]) -> tuple[np.ndarray, int]:
    """Samples of a type that pages have, and the bits to write of them."""
    if samples.dtype == bool and facts.photometric == PALETTE:
        return samples.astype(np.uint8), 8
    if samples.dtype == bool:
        if samples.shape[2] > 1:
            raise InputError(f"{path} holds {samples.shape[2]} channels of one bit: save it with 8 bits")
        return np.where(samples, np.uint8(255), np.uint8(0)), 1
    if samples.dtype.name not in TYPES:
        raise InputError(f"{path} holds pixels of type {samples.dtype}: save it with 8 or 16 bits, or 32-bit floats")
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise InputError(f"{path} holds values that are not finite: replace NaN and infinities first")
    if facts.photometric == PALETTE:
        return samples, 8
    if facts.bits < 8:
        notes["shallow"] = f"{path} has {facts.bits} bits a pixel: it is written with 8"
        white = (1 << facts.bits) - 1
        return ((samples.astype(np.uint16) * 255 + white // 2) // white).astype(np.uint8), 8
    return samples, facts.bits


def _in_colour(
    path: Path, pixels: np.ndarray, tags: Tags, layout: Layout, facts: Facts, notes: dict[str, str]
) -> tuple[np.ndarray, int]:
    """Grey or RGB (H,W,1 or 3) with black least, and the `photometric` to write."""
    kind, dtype = facts.photometric, pixels.dtype
    if kind == WHITE_IS_LEAST and dtype.kind == "u":
        return dtype.type(top(dtype, facts.bits)) - pixels, WHITE_IS_LEAST
    if kind == WHITE_IS_LEAST:
        return pixels, WHITE_IS_LEAST  # a negative, and again one when it is written
    if kind in (RGB, YCBCR):
        return pixels, RGB
    if kind == PALETTE:
        table = numbers(tags, COLOUR_MAP, layout)
        if len(table) % 3 or len(table) // 3 <= pixels.max():
            raise DamagedError("its palette has fewer colours than it uses")
        pixels = look_up(pixels[..., 0], np.array(table).reshape(3, -1))
        notes["palette"] = f"{path} has a palette: it is written as {'RGB' if pixels.shape[2] == 3 else 'grey'}"
        return pixels, RGB if pixels.shape[2] == 3 else GREY
    if kind in (INKS, LAB):
        name = "CMYK" if kind == INKS else "LAB"
        if dtype != np.uint8 and (dtype != np.uint16 or kind == LAB):
            raise InputError(f"{path} holds {name} of type {dtype}: convert it to RGB first")
        notes["colours"] = f"{path} holds {name}: it is written as RGB"
        icc = tags[ICC].data if ICC in tags else None
        return inks_to_rgb(pixels, icc) if kind == INKS else lab_to_rgb(pixels), RGB
    return pixels, GREY


def _compression(path: Path, facts: Facts, bits: int, dtype: np.dtype, notes: dict[str, str]) -> tuple[int, int, int]:
    """The bits, the compression and the predictor to write."""
    code, whole = 50000 if facts.compression == 34926 else facts.compression, dtype.itemsize * 8
    if code not in SAME_AGAIN:
        how = "with loss" if code in _WITH_LOSS else "in a way that is not written"
        notes["compression"] = f"{path} is compressed {how}: deflate, without loss, is used to write it"
        code = DEFLATE
    if bits not in (1, whole) and code != NO_COMPRESSION:
        notes["compression"] = f"{path} has {bits} bits a value: it is written without compression, to keep them"
        code = NO_COMPRESSION
    predictor = 1
    if facts.predictor in (2, 3) and code != NO_COMPRESSION and bits == whole:
        predictor = 3 if dtype.kind == "f" else 2
    return bits, code, predictor


def _carried(tags: Tags, facts: Facts) -> Tags:
    """The tags that are written again."""
    left_out = NOT_CARRIED | (_OF_INKS if facts.photometric in (INKS, LAB) else frozenset())
    carried = {code: tag for code, tag in tags.items() if code not in left_out}
    if facts.photometric == MASK:
        carried[262] = tags[262]
    if XMP in carried:
        carried[XMP] = carried[XMP].altered(lambda packet: upright_xmp(packet)[0])
    return turned(carried) if facts.orientation >= 5 else carried
