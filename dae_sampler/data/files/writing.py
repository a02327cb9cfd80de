"""A restored picture, written as its source was."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...files import replacing
from .picture import RGB, Metadata, Page, PictureFile, top
from .targets import COMMENT, TARGETS, Target

_NAMES = {"icc": "the colour profile", "resolution": "the resolution", "exif": "EXIF", "xmp": "XMP"}


def write_like(source: PictureFile, pages: list[np.ndarray], path: Path | str) -> dict[str, str]:
    """Write restored pages as ``source`` was: type, alpha, metadata and all else as it went in, upright.

    The format is that of the suffix of ``path``. TIFF keeps everything. Pages keep the compression that they had in a
    TIFF file if it was one without loss. PNG, WebP and AVIF keep animations; WebP is written without loss. The file is
    written whole or not at all.

    Args:
        source: what :func:`.read_file` gave.
        pages: one for each page of ``source``, (H,W,C), in the values of the file (0..255 at 8 bits, and so on). Floats
            are rounded and clipped to an integer type. A grey page may come back in RGB; a page without alpha may come
            back in another size.
        path: where to write.

    Returns:
        A sentence for each kind of thing that the format cannot hold and that was left out.

    Raises:
        InputError: the format is unknown or cannot hold the pages, their number or shapes are not those of ``source``,
            they hold values that are not finite, or the file cannot be written.
    """
    path = Path(path)
    target = target_of(path)
    _check_shapes(source, pages)
    if why := _refusal(source, pages, target):
        raise InputError(f"{path.suffix} cannot hold {why}: name the file {path.with_suffix(_holds(source)).name}")
    metadata, lost = _kept(source.metadata, target)
    ready = [_ready(source, i, np.asarray(page), target) for i, page in enumerate(pages)]
    with replacing(path) as temporary:
        try:
            target.write(ready, replace(source, metadata=metadata), temporary)
        except (ValueError, RuntimeError) as error:  # of a codec
            if isinstance(error, InputError):
                raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(f"cannot write {path} ({reason}): name a file of another format") from None
    return {"lost": f"{path}: {path.suffix} cannot hold {', '.join(lost)}: left out"} if lost else {}


def default_suffix(source: PictureFile) -> str:
    """The suffix to write a restored version with: the same for a format without loss that can be written, ``.png``
    for others, ``.tif`` where PNG cannot hold it.
    """
    target = TARGETS.get(source.format)
    suffix = source.path.suffix
    if target and not source.lossy and not _refusal(source, source.pages, target):
        return suffix if suffix.lower() in target.suffixes else target.suffixes[0]
    return _holds(source)


def _holds(source: PictureFile) -> str:
    return ".tif" if _refusal(source, source.pages, TARGETS["PNG"]) else ".png"


def target_of(path: Path) -> Target:
    """The format that a file's name asks for.

    Raises:
        InputError: no pictures are written as that.
    """
    for target in TARGETS.values():
        if path.suffix.lower() in target.suffixes:
            return target
    known = ", ".join(target.suffixes[0] for target in TARGETS.values())
    raise InputError(f"cannot write pictures as {path.suffix or path}: name the file {known}")


def _check_shapes(source: PictureFile, pages: list[np.ndarray]) -> None:
    if len(pages) != len(source.pages):
        raise InputError(f"{source.path} has {len(source.pages)} pages, and {len(pages)} were given: give as many")
    for page, old, alpha in zip(pages, source.pages, source.alpha, strict=True):
        same = page.ndim == 3 and (page.shape[2] == old.shape[2] or (old.shape[2], page.shape[2]) == (1, 3))
        if not same or 0 in page.shape or (alpha is not None and page.shape[:2] != alpha.shape):
            shapes = ("x".join(map(str, shape)) for shape in (old.shape, page.shape))
            raise InputError("a page of {} was {}, and one of {} was given".format(source.path, *shapes))
        if page.dtype.kind == "f" and not np.isfinite(page).all():
            raise InputError(f"a restored page of {source.path} holds values that are not finite")


def _refusal(source: PictureFile, pages: list[np.ndarray], target: Target) -> str:
    """What of the pages a format cannot hold; empty if it holds all."""
    alike = len({page.shape[:2] for page in pages}) == 1 and source.pages[0].dtype == np.uint8
    moving = bool(source.metadata.durations) and target.pages == "animation" and alike
    if len(pages) > 1 and target.pages != "any" and not moving:
        return "several pages"
    for page, old, alpha in zip(pages, source.pages, source.alpha, strict=True):
        if max(page.shape[:2]) > target.side:
            return f"more than {target.side:,} pixels a side"
        if not target.depths:
            continue
        if old.dtype.kind != "u" or old.dtype.itemsize * 8 not in target.depths:
            return f"pixels of type {old.dtype}" if old.dtype.kind != "u" else f"{old.dtype.itemsize * 8} bits"
        if page.shape[2] not in (1, 3):
            return f"{page.shape[2]} channels"
        if alpha is not None and not target.alpha:
            return "transparency"
    return ""


def _kept(metadata: Metadata, target: Target) -> tuple[Metadata, list[str]]:
    """The metadata that a format can hold, and the names of what is lost."""
    kept, lost = copy(metadata), []
    for name, words in _NAMES.items():
        block = getattr(metadata, name)
        too_long = name in ("exif", "xmp") and block and len(block) > target.block
        if name not in target.keeps or too_long:
            setattr(kept, name, None)
            lost += [words] if block else []
    if "text" not in target.keeps:
        kept.text = {key: text for key, text in metadata.text.items() if key == COMMENT and COMMENT in target.keeps}
        lost += ["texts"] if kept.text != metadata.text else []
    if metadata.durations and target.pages != "animation":
        lost.append("how long each page is shown")
    return kept, lost


def _ready(source: PictureFile, number: int, pixels: np.ndarray, target: Target) -> Page:
    """A page in its final type and channels."""
    old = source.pages[number]
    planes = source.stored.planes[number] if source.stored else []
    if pixels.dtype != old.dtype:
        pixels = _cast(pixels, old.dtype, planes[0].bits if planes else 0)
    coloured = (old.shape[2], pixels.shape[2]) == (1, 3) and not source.as_rgb[number]
    binary = source.binary[number] and target.binary and not coloured
    if binary:
        pixels = np.where(pixels >= 128, np.uint8(255), np.uint8(0))
    if source.as_rgb[number] and pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    if coloured:
        planes = [replace(plane, photometric=RGB, bits=old.dtype.itemsize * 8) for plane in planes]
    return Page(pixels, source.alpha[number], source.as_rgb[number] or coloured, binary, planes)


def _cast(pixels: np.ndarray, dtype: np.dtype, bits: int) -> np.ndarray:
    """Pixels in another type, rounded and clipped to what it can hold."""
    if dtype.kind == "f":
        return np.clip(pixels, np.finfo(dtype).min, np.finfo(dtype).max).astype(dtype)
    most = top(dtype, bits) if dtype.kind == "u" else np.iinfo(dtype).max
    wide = pixels if dtype.itemsize <= 2 and pixels.dtype.kind == "f" else pixels.astype(np.float64)
    return np.clip(np.rint(wide), np.iinfo(dtype).min, most).astype(dtype)
