"""Several exposures of one thing: each folder of pictures, or each file of several pages, is a thing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..pixels import Range, find_range
from . import pictures
from .arrays import typed
from .crops import Crops
from .dataset import Dataset
from .depths import Depths
from .files import read_file
from .folder import find, some_of


def load_exposures(
    source: Path,
    side: int | None = None,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "crop",
    span: Range | None = None,
    without: Collection[Path] = (),
    on_file: Callable[[int, int], None] | None = None,
) -> Dataset | Crops:
    """All exposures, in memory, in their full depth.

    Args:
        source: a folder. Pictures of one page that lie in one folder are exposures of one thing, and so are the pages
            of one file.
        side: of the crops to take of them, in pixels; None takes whole images.
        size, channels, fit, span, without, on_file: see :func:`.named.load`.

    Raises:
        InputError: no thing has two exposures, those of a thing differ in size, or a file cannot be read.
    """
    pictures.check_options(fit, "black")
    if not source.is_dir():
        raise InputError(f"{source} is no folder: exposures are the pictures of a folder, or pages of files in one")
    found, left_out = find(source, without)
    things: dict[Path, list[np.ndarray]] = {}
    said: list[str] = []
    for done, path in enumerate(found, 1):
        file = read_file(path)
        pages = file.pages
        said += file.notes.values()
        thing = things.setdefault(path if len(pages) > 1 else path.parent, [])
        thing += [typed(page, str(path)) for page in pages]
        if on_file:
            on_file(done, len(found))
    single = [str(path) for path, pages in things.items() if len(pages) == 1]
    things = {path: pages for path, pages in things.items() if len(pages) > 1}
    if not things:
        raise InputError(f"nothing in {source} has two exposures: give a folder with several pictures of one thing")
    for path, pages in things.items():
        if len({page.shape[:2] for page in pages}) > 1:
            raise InputError(f"the exposures in {path} differ in size: those of one thing have one size")
    alone = [f"left out {len(single)} with one exposure ({some_of(single)})"] if single else []
    pixels = [page for pages in things.values() for page in pages]
    numbers = torch.repeat_interleave(torch.tensor([len(pages) for pages in things.values()]))
    depths = Depths({name: span or find_range(np.dtype(name), *ends) for name, ends in _extremes(pixels).items()})
    notes = (*left_out, *alone, *said, *([] if span else depths.notes(source)))
    count = channels or max(page.shape[2] for page in pixels)
    width, height = size or (0, 0)
    shapes = [(count, height or page.shape[0], width or page.shape[1]) for page in pixels]
    ready = [
        torch.from_numpy(depths.to_deepest(pictures.bring_to(page, shape, fit)).copy())
        for page, shape in zip(pixels, shapes, strict=True)
    ]
    if side:
        if min(min(shape[1:]) for shape in shapes) < side and fit != "pad":
            raise InputError(f"some pictures in {source} are smaller than the crop of {side}: choose a smaller `crop`")
        buffer = torch.cat([page.flatten() for page in ready])
        return Crops(buffer, torch.tensor(shapes), side, count, source.name, depths.span, notes, things=numbers)
    if len(set(shapes)) > 1:
        raise InputError(f"the pictures in {source} differ in size: give one for all as `size`, or take crops: `crop`")
    return Dataset(torch.stack(ready), source.name, depths.span, notes, things=numbers)


def _extremes(pixels: list[np.ndarray]) -> dict[str, tuple[float, float]]:
    """The least and the greatest value of each type of pixels."""
    found: dict[str, tuple[float, float]] = {}
    for page in pixels:
        name, low, high = page.dtype.name, float(page.min()), float(page.max())
        least, most = found.get(name, (low, high))
        found[name] = min(low, least), max(high, most)
    return found
