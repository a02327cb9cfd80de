"""Damaged pictures with their clean partners, and pictures that are noisy themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..pixels import describe_range, find_range, full_range, to_float
from . import named, pictures
from .arrays import ARRAYS, channels_first, load_array
from .crops import Crops
from .dataset import Dataset
from .folder import find_named, some_of

Data = Dataset | Crops


def load_pairs(
    clean: Path,
    damaged: Path,
    side: int | None = None,
    *,
    size: tuple[int, int] | None = None,
    target: str = "clean",
    labels: str | None = None,
    without: Collection[Path] = (),
    **options: Any,
) -> Data:
    """Pictures with damaged partners.

    Args:
        clean, damaged: two folders, whose pictures are matched by path without extension at any depth; two patterns,
            matched by what ``*`` stands for; or two arrays, matched by order.
        side: of the crops to take of them, in pixels; None takes whole images.
        size: bring both to this size.
        target: ``"clean"``, or ``"noisy"`` where both are noisy pictures of the same.
        labels: of the clean pictures, see :func:`.named.load`.
        without, options: see there. A picture that cannot be read is an error, for its partner would be
            left alone.

    Raises:
        InputError: nothing matches, or partners differ in size.
    """
    sources, chosen, left_out = (clean, damaged), [{}, {}], []
    if all(source.suffix.lower() in ARRAYS for source in sources):
        shapes = [channels_first(load_array(source), str(source)).shape for source in sources]
        if shapes[0] != shapes[1]:
            raise InputError(f"{clean} is {_by(shapes[0])}, {damaged} is {_by(shapes[1])}: give arrays of one shape")
    else:
        sources, files, left_out = _matched(clean, damaged, without)
        chosen = [{"files": some} for some in files]
    beyond = (0.0 if target == "clean" else None), None
    load: Callable[..., Data]
    load = partial(named.load_crops, side=side) if side else partial(named.load, size=size)

    def read(**more: Any) -> list[Data]:
        each = zip(sources, chosen, beyond, (labels, None), strict=True)
        more |= {"strict": True}
        return [load(source, beyond=far, labels=told, **one, **options | more) for source, one, far, told in each]

    x, y = read()
    if _layout(x) != _layout(y):  # one is grey and the other in colour
        x, y = read(channels=max(x.shape[0], y.shape[0]))
    return replace(_joined(x, y), notes=tuple(dict.fromkeys((*left_out, *x.notes, *y.notes))))


def _matched(
    clean: Path, damaged: Path, without: Collection[Path]
) -> tuple[tuple[Path, Path], tuple[list[Path], list[Path]], list[str]]:
    """The two folders, their pictures in pairs, and a word on those without a partner."""
    x, y = find_named(clean, without), find_named(damaged, without)
    names = sorted(x.files.keys() & y.files.keys())
    if not names:
        examples = f"{next(iter(x.files))!r} and {next(iter(y.files))!r}"
        raise InputError(
            f"no picture of {clean} has the name of one of {damaged} ({examples}): partners have one name but for the "
            "extension, or for what is around * in two patterns"
        )
    for name in names:
        sizes = [pictures.size_of(side.files[name]) for side in (x, y)]
        if None not in sizes and sizes[0] != sizes[1]:
            there, here = (_by(size) for size in sizes if size)
            raise InputError(f"{x.files[name]} is {there}, {y.files[name]} is {here}: partners have one size")
    lonely = [(side, side.files[name]) for side in (x, y) for name in side.files.keys() - set(names)]
    alone = sorted(str(side.folder.name / path.relative_to(side.folder)) for side, path in lonely)
    said = [f"left out {len(alone)} without a partner ({some_of(alone, 20)})"] if alone else []
    files = [x.files[name] for name in names], [y.files[name] for name in names]
    return (x.folder, y.folder), files, [*x.left_out, *y.left_out, *said]


def _joined(x: Data, y: Data) -> Data:
    """One set of pairs. Deep pictures have one range, found over both; else both become floats if the ranges differ."""
    clean, damaged, span = _pixels(x), _pixels(y), x.span
    if clean.dtype == damaged.dtype != torch.uint8:
        span = min(x.span[0], y.span[0]), max(x.span[1], y.span[1])
    elif clean.dtype != damaged.dtype or x.span != y.span:
        clean, damaged, span = to_float(clean, x.span), to_float(damaged, y.span), (0.0, 1.0)
    if isinstance(x, Dataset):
        return replace(x, images=clean, span=span, damaged=damaged)
    return replace(x, buffer=clean, span=span, damaged=damaged)


def as_noisy(data: Data) -> Data:
    """The same, where targets are noisy themselves: the range holds all their values, and with them their means.

    Floats around 0 to 1 keep that range, so that a sigma means what it means elsewhere: what goes beyond is noise.
    """
    parts = [part for part in (_pixels(data), data.damaged) if part is not None and part.is_floating_point()]
    low = min([data.span[0], *(part.min().item() for part in parts)])
    high = max([data.span[1], *(part.max().item() for part in parts)])
    if (low, high) == data.span:
        return replace(data, target="noisy")
    floats = np.dtype("float32")
    if data.span == full_range(floats) == find_range(floats, low, high):
        said = f"{data.name}: values from {low:g} to {high:g}, taken as noise around 0 (black) to 1 (white)"
        return replace(data, target="noisy", notes=(*data.notes, said))
    said = describe_range(floats, (low, high), data.name)
    return replace(data, target="noisy", span=(low, high), notes=(*data.notes, said))


def _pixels(data: Data) -> Tensor:
    return data.images if isinstance(data, Dataset) else data.buffer


def _layout(data: Data) -> list[Any]:
    return list(data.images.shape) if isinstance(data, Dataset) else data.shapes.tolist()


def _by(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
