"""Pixels as numbers: value ranges, bytes and floats, what a function accepts as images, and changes made in training.

Images are (N,C,H,W). A network sees floats in which black is 0 and white is 1; a *range* (low, high) says which values
of a file or an array are black and white. Values outside a range stay outside: noise may carry them there.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .card import MAX_CHANNELS
from .errors import InputError, unknown
from .noise import Noise

if TYPE_CHECKING:
    import numpy as np

AUGMENT = ("mirror", "shift", "turn")
BINARISE = ("dynamic", "threshold")
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey, as JPEG has them (ITU-R BT.601)."""
ROUNDING = 1e-3
"""How far beyond its bounds a float may lie without a word: rounding carries it there."""

Range = tuple[float, float]
"""The values that are black and white."""
_FULL: dict[torch.dtype, Range] = {torch.uint8: (0.0, 255.0), torch.uint16: (0.0, 65535.0)}


def full_range(dtype: np.dtype) -> Range:
    """The range of a type of which nothing else is known: 0..255 at 8 bits, 0..65535 above, 0..1 for floats."""
    if dtype.kind == "f":
        return 0.0, 1.0
    return (0.0, 255.0) if dtype.itemsize == 1 else (0.0, 65535.0)


def find_range(dtype: np.dtype, low: float, high: float) -> Range:
    """The range of pixels whose values go from ``low`` to ``high`` over the whole folder or array.

    It is :func:`full_range`, but for 8-bit values of only 0 and 1 (binary: 0..1), for integers of more bits that use
    less than a quarter of it (0 to the smallest 2^k - 1 that holds them), and for floats that leave -2..3 or stay below
    1/4 (``low`` to ``high``; noise alone does not carry images in [0,1] so far).
    """
    full = full_range(dtype)
    if dtype.kind == "f":
        usual = low >= -2 and high <= 3 and (high >= 0.25 or high == low)
        return full if usual else (low, max(high, math.nextafter(low, math.inf)))
    if dtype.itemsize == 1:
        return (0.0, 1.0) if high == 1 else full
    return (0.0, 2.0 ** int(high).bit_length() - 1) if 0 < high < full[1] / 4 else full


def describe_range(dtype: np.dtype, span: Range, what: str) -> str:
    """The sentence that tells people of a range other than the type's full one; empty for that one.

    Args:
        dtype: of the pixels.
        span: the range.
        what: the file, folder or array that holds them.
    """
    if span == full_range(dtype):
        return ""
    return f"{what}: values from {span[0]:g} (black) to {span[1]:g} (white)"


def to_float(images: Tensor, span: Range | None = None) -> Tensor:
    """Images of any type as float32 in units of a range: (x - low)/(high - low), not clipped.

    Args:
        images: of any shape.
        span: the range; None is the full one of the type, which leaves floats as they are.
    """
    low, high = span or _FULL.get(images.dtype, (0.0, 1.0))
    x = images.float()
    if low:
        x = x - low
    return x if high - low == 1 else x / (high - low)


def to_uint8(images: Tensor) -> Tensor:
    """Images as uint8, floats clipped to [0,1] and rounded."""
    return images if images.dtype == torch.uint8 else (images.clamp(0, 1) * 255).round().to(torch.uint8)


def as_images(
    images: Tensor | np.ndarray,
    *,
    what: str = "images",
    shape: tuple[int, int, int] | None = None,
    beyond: float | None = None,
) -> Tensor:
    """What every public function passes its images through: whatever has one meaning is accepted, the rest refused.

    Args:
        images: (N,C,H,W) with 1 to 16 channels, a tensor or an array; N may be 0. uint8 is 0..255, bool black and
            white, and floats of any precision have black at 0 and white at 1.
        what: their name in errors.
        shape: the (C,H,W) that they must have; 0 stands for any.
        beyond: how far floats may lie outside [0,1], as noisy images do; None is any distance.

    Returns:
        uint8 as it was given, or float32; on the device of ``images``, and with its gradient.

    Raises:
        InputError: another type or shape, values that are not finite, or floats too far outside [0,1].
    """
    x = _as_tensor(images, what)
    _check_shape(x, what, shape, "x.permute" if isinstance(images, Tensor) else "x.transpose")
    if x.dtype == torch.uint8:
        return x
    if not x.is_floating_point() and x.dtype != torch.bool:
        raise InputError(f"the type of {what} is {str(x.dtype).removeprefix('torch.')}: {_cure_of_integers(x)}")
    x = x.float()
    if x.numel():
        low, high = (bound.item() for bound in torch.aminmax(x.detach()))
        check_values(low, high, what, beyond)
    return x


def fits(found: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether images of (C,H,W) ``found`` are of ``shape``, in which 0 stands for any size."""
    return all(wanted in (0, size) for wanted, size in zip(shape, found, strict=True))


def check_values(low: float, high: float, what: str, beyond: float | None = None) -> None:
    """Refuse floats whose least and greatest values cannot be those of images.

    Args:
        low, high: the extreme values; not-a-number if any value is.
        what: the name of the images in the error.
        beyond: how far they may lie outside [0,1], as noisy images do; None is any distance.

    Raises:
        InputError: they are not finite, or lie too far outside.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{what}: some values are not finite; replace NaN and infinities first")
    if beyond is None or (low >= -beyond - ROUNDING and high <= 1 + beyond + ROUNDING):
        return
    raise InputError(f"the values of {what} go from {low:g} to {high:g}: {_cure_of_floats(low, high, beyond)}")


def binarise(images: Tensor, how: str, noise: Noise) -> Tensor:
    """Float images as 0 and 1: ``"dynamic"`` draws each pixel with its value as the probability of 1 (dynamic
    binarisation: Salakhutdinov and Murray 2008), ``"threshold"`` cuts at 1/2.

    Raises:
        InputError: ``how`` is neither.
    """
    if how not in BINARISE:
        raise unknown("binarisation", how, BINARISE)
    cut = noise.uniform(images.shape) if how == "dynamic" else 0.5
    return (images > cut).to(images.dtype)


def augment(images: Tensor, how: str, noise: Noise) -> Tensor:
    """Images (B,C,H,W) of any type, varied so that a small data set lasts longer: ``"mirror"`` turns half of them left
    to right, ``"shift"`` moves each by up to a sixteenth of each side (rounded up) both ways, repeating its edge,
    ``"turn"`` turns each by a quarter, half or three quarters or not, and mirrors half of them.

    Raises:
        InputError: ``how`` is none of these, or images that are not square were to be turned.
    """
    if how not in AUGMENT:
        raise unknown("augmentation", how, AUGMENT)
    if images.dtype == torch.uint16:  # which torch cannot flip before 2.13
        return augment(images.view(torch.int16), how, noise).view(torch.uint16)
    if how == "turn":
        return _turned(images, noise)
    if how == "mirror":
        turned = noise.uniform((len(images), 1, 1, 1)).to(images.device) < 0.5
        return torch.where(turned, images.flip(3), images)
    which = []
    for side in images.shape[2:]:
        most = math.ceil(side / 16)
        draw = noise.uniform((len(images), 1)).to(images.device)
        offset = (draw * (2 * most + 1)).long() - most
        which.append((torch.arange(side, device=images.device) + offset).clamp(0, side - 1))
    rows, columns = which
    image = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _turned(images: Tensor, noise: Noise) -> Tensor:
    if images.shape[2] != images.shape[3]:
        raise InputError(f"images of {images.shape[3]}x{images.shape[2]} cannot be turned: take square ones, or mirror")
    symmetry = (8 * noise.uniform((len(images),)).to(images.device)).long()
    turned = images.clone()
    for quarters in range(4):
        for mirrored in (0, 1):
            rows = symmetry == 2 * quarters + mirrored
            some = images[rows].rot90(quarters, (2, 3))
            turned[rows] = some.flip(3) if mirrored else some
    return turned


def _as_tensor(images: Tensor | np.ndarray, what: str) -> Tensor:
    if isinstance(images, Tensor):
        return images
    kind = getattr(getattr(images, "dtype", None), "kind", None)
    if kind not in ("b", "i", "u", "f"):
        found = f"an array of {images.dtype}" if kind else f"a {type(images).__name__}"
        raise InputError(f"{what}: {found} is not images; give a tensor or an array (N,C,H,W), uint8 or floats")
    if images.dtype.itemsize > 8:  # a long double, which torch does not have
        images = images.astype("float64")
    images = images.astype(images.dtype.newbyteorder("="), order="C", copy=False)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # it is read-only; nothing here writes to it
        return torch.from_numpy(images)


def _check_shape(x: Tensor, what: str, shape: tuple[int, int, int] | None, permute: str) -> None:
    found, last = tuple(x.shape), f"{permute}(0, 3, 1, 2)"
    if x.ndim != 4:
        raise InputError(f"the shape of {what} is {_by(found)}: {_cure_of_rank(found, shape, permute)}")
    if shape and not fits(found[1:], shape):
        turned = (found[3], found[1], found[2]) == tuple(shape)
        words = {1: "grey", 3: "in colour"}
        if found[1] in words and shape[0] in words and found[1] != shape[0] and not turned:
            here, there = words[found[1]], {1: "grey ones", 3: "colour"}[shape[0]]
            raise InputError(f"the {what} are {here}, the model takes {there}: use one trained on images like these")
        cure = f"give {last}, channels before height and width" if turned else "convert them first"
        raise InputError(f"the {what} are {_by(found[1:])} (CxHxW), the model takes {_by(shape)}: {cure}")
    if 0 in found[1:]:
        raise InputError(f"the shape of {what} is {_by(found)}: images have a pixel or more")
    if found[1] > MAX_CHANNELS:
        cure = f"give {last}" if found[3] <= MAX_CHANNELS else f"they have 1 to {MAX_CHANNELS}"
        raise InputError(f"the shape of {what} is {_by(found)}, which is {found[1]} channels (NxCxHxW): {cure}")


def _cure_of_rank(found: tuple[int, ...], shape: tuple[int, int, int] | None, permute: str) -> str:
    if len(found) == 2:
        return "for one grey image give x[None, None]"
    if len(found) != 3:
        return "images are (N,C,H,W)"
    if found == shape:
        return "for one image give x[None]"
    if shape and found[1:] == shape[1:] and shape[0] == 1:
        return "for grey images give x[:, None]"
    if found[2] <= 4 < min(found[:2]):
        return f"for one image with its channels last give x[None]{permute.removeprefix('x')}(0, 3, 1, 2)"
    return "for one image (C,H,W) give x[None], for grey images (N,H,W) x[:, None]"


def _cure_of_integers(x: Tensor) -> str:
    if x.is_complex():
        return "images are uint8 or floats"
    high = x.long().amax().item() if x.numel() else 0
    if high <= 1:
        return "for black and white give x.astype(bool), or x.bool() of a tensor"
    if high <= 255:
        return "give uint8 0..255, or floats in [0,1]"
    return "give floats in [0,1], divided by the value of white, such as 4095 at 12 bits or 65535 at 16"


def _cure_of_floats(low: float, high: float, beyond: float) -> str:
    if low >= -ROUNDING and 3 < high <= 255:
        return "give uint8, or divide by 255"
    if high > 3 or low < -2:
        return "scale them so that black is 0 and white is 1"
    level = ", or raise the `level` that says how noisy they are" if beyond else ""
    if low < -0.5 and high <= 1 + ROUNDING and not beyond:
        return f"if black is -1, give (x + 1) / 2; else clip them to [0,1]{level}"
    return f"clip them to [{-beyond:g},{1 + beyond:g}]{level}" if beyond else "clip them to [0,1]"


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "that of a number"


def is_grey(pixels: np.ndarray) -> bool:
    """Whether all channels of (H,W,C) are equal."""
    parts = (pixels[:1], pixels)  # colour mostly shows in the first row
    return pixels.shape[2] == 1 or all((part == part[..., :1]).all() for part in parts)
