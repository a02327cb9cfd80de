"""Arrays of images from ``.npy`` and ``.npz`` files: layouts, types and value ranges."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..card import MAX_CHANNELS
from ..errors import InputError
from ..pixels import Range, check_values, describe_range, find_range

ARRAYS = (".npy", ".npz")
_CHUNK = 256
"""Images that are looked at together, so that of a mapped array few are in memory."""


class Stack(NamedTuple):
    """Images of one array."""

    pixels: np.ndarray
    """(N,C,H,W), uint8, uint16 or float32; mapped where the file is."""
    span: Range
    notes: list[str]


def from_array(
    array: np.ndarray, name: str = "the array", *, beyond: float | None = None, span: Range | None = None
) -> Stack:
    """An array as images, in its own type.

    Args:
        array: (N,H,W) grey, (N,C,H,W) or (N,H,W,C), with 1 to 16 channels. bool becomes uint8 0 and 255, other integers
            uint16, floats of other precision float32.
        name: what to call it in errors and notes.
        beyond: how far floats may lie outside [0,1] once they are in units of the range, as noisy images do.
        span: the range; by default :func:`.pixels.find_range` has it.

    Raises:
        InputError: another rank or type, or values that are not those of images.
    """
    notes = _doubt(array.shape, name)
    array = typed(channels_first(array, name), name)
    low, high = _extremes(array)
    if array.dtype.kind == "f":
        check_values(low, high, name)
    if span is None:
        span = find_range(array.dtype, low, high)
        notes += filter(None, [describe_range(array.dtype, span, name)])
    if array.dtype.kind == "f":
        scale = span[1] - span[0]
        check_values((low - span[0]) / scale, (high - span[0]) / scale, name, beyond)
    return Stack(array, span, notes)


def load_array(path: Path) -> np.ndarray:
    """The array in an ``.npy`` file, mapped, or the only (or ``images``, ``x``, ``x_train``, ``arr_0``) one of an
    ``.npz``. Writes to it stay in memory.

    Raises:
        InputError: the file cannot be read without unpickling, or it is not clear which array is meant.
    """
    try:
        loaded = np.load(path, allow_pickle=False, mmap_mode="c")
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            keys = loaded.files
            usual = (key for key in ("images", "x", "x_train", "arr_0") if key in keys)
            key = keys[0] if len(keys) == 1 else next(usual, None)
            if key is None:
                raise InputError(f"{path} holds {', '.join(keys) or 'nothing'}: name the array of images 'images'")
            return loaded[key]
    except InputError:
        raise
    except Exception as error:  # numpy raises almost anything on a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot read {path} as a numpy array ({reason}): save it with np.save") from None


def channels_first(array: np.ndarray, name: str) -> np.ndarray:
    """The array as (N,C,H,W)."""
    shape = array.shape
    if 0 not in shape and array.ndim == 3:
        if shape[2] <= 4 < min(shape[:2]):
            raise InputError(
                f"{name} is {_by(shape)}: save x[None] if that is one picture with its channels last, "
                f"x[:, None] if it is {shape[0]} grey pictures"
            )
        return array[:, None]
    if 0 not in shape and array.ndim == 4:
        first, last = shape[1], shape[3]
        order = [(first, (1, 3)), (last, (1, 3)), (first, (4,)), (last, (4,))]
        chosen = next((i for i, (channels, usual) in enumerate(order) if channels in usual), None)
        if chosen in (1, 3) or (chosen is None and last <= MAX_CHANNELS < first):
            return np.moveaxis(array, 3, 1)
        if first <= MAX_CHANNELS:
            return array
    raise InputError(
        f"{name} is {_by(shape)}: images are (N,H,W), (N,C,H,W) or (N,H,W,C), with 1 to {MAX_CHANNELS} channels"
    )


def _doubt(shape: tuple[int, ...], name: str) -> list[str]:
    """A note where the shape may be that of one colour picture."""
    if len(shape) == 3 and shape[0] == 3:
        return [f"{name} is taken as 3 grey pictures: save x[None] if it is one in colour"]
    return []


def typed(array: np.ndarray, name: str) -> np.ndarray:
    """The array as uint8, uint16 or float32."""
    kind = array.dtype.kind
    if kind == "b":
        return array.astype(np.uint8) * 255
    if kind == "f":
        with np.errstate(over="ignore"):  # infinities are told of
            return array.astype(np.float32, copy=False)
    if kind not in "iu":
        raise InputError(f"{name} holds {array.dtype}: images are integers or floats")
    if array.dtype.itemsize == 1 and kind == "u":
        return array
    low, high = (0, 0) if array.dtype == np.uint16 else _extremes(array)
    if low < 0 or high > 65535:
        raise InputError(
            f"{name} holds {array.dtype} from {low:g} to {high:g}: images are integers from 0 to 65535, or floats; "
            "save x.astype('float32')"
        )
    return array.astype(np.uint16, copy=False)


def _extremes(array: np.ndarray) -> tuple[float, float]:
    """Least and greatest value. Of 8 bits only whether they go beyond 1: a large file need not be read for that."""
    low, high = np.inf, -np.inf
    for start in range(0, len(array), _CHUNK):
        chunk = array[start : start + _CHUNK]
        low, high = np.minimum(low, chunk.min()), np.maximum(high, chunk.max())  # they pass on not-a-number
        if array.dtype == np.uint8 and high > 1:
            break
    return float(low), float(high)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"
