"""Pictures in and out: files and folders to tensors, tensors to files, grids and animations.

Tensors are (N,C,H,W) with C 1 or 3; uint8 0..255, or float in [0,1], which is rounded to 8 bits when written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.utils import make_grid

from .errors import InputError
from .files import replacing

ANIMATIONS = (".gif", ".webp")
_PICTURE_MODES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}


def find(folder: Path) -> list[Path]:
    """The image files in ``folder`` at any depth, by extension, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in _PICTURE_MODES and p.is_file())


def read(path: Path) -> Image.Image:
    """One picture in mode L or RGB: first frame, upright, 16 bits scaled to 8, transparency laid over black.

    Raises:
        InputError: the file is not a readable picture.
    """
    try:
        with Image.open(path) as picture:
            picture = ImageOps.exif_transpose(picture)
            if picture.mode.startswith("I") or picture.mode == "F":
                return Image.fromarray(_to_8_bits(np.asarray(picture), path))
            if picture.has_transparency_data:
                rgba = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba).convert("RGB")
                is_grey = all(np.array_equal(*pair) for pair in _neighbours(np.asarray(picture)))
                return picture.convert("L") if is_grey else picture
            return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"cannot read {path} as a picture ({reason}): remove or replace the file") from None


def _neighbours(pixels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(pixels[..., 0], pixels[..., 1]), (pixels[..., 1], pixels[..., 2])]


def _to_8_bits(pixels: np.ndarray, path: Path) -> np.ndarray:
    top = 1.0 if pixels.dtype.kind == "f" else 65535
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= top):
        raise InputError(f"{path} has values from {low:g} to {high:g}: scale them to 0..{top:g}")
    return np.round(pixels * (255 / top)).astype(np.uint8)


def fit(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture, centre-cropped to the aspect ratio and resized."""
    if picture.size == (width, height):
        return picture
    return ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)


def to_tensor(picture: Image.Image, shape: tuple[int, int, int]) -> Tensor:
    """uint8 (C,H,W) of ``shape``: grey or colour as asked, fitted to the size."""
    channels, height, width = shape
    picture = fit(picture.convert("L" if channels == 1 else "RGB"), width, height)
    pixels = torch.from_numpy(np.array(picture))
    return pixels[None] if channels == 1 else pixels.permute(2, 0, 1).contiguous()


def from_array(array: np.ndarray, name: str = "the array") -> Tensor:
    """An array of images as (N,C,H,W): uint8 as it is, floats in [0,1] as float32.

    Args:
        array: (N,H,W), (N,C,H,W) or (N,H,W,C) with C 1 or 3.
        name: what to call it in errors.

    Raises:
        InputError: another rank or type, not-a-number, or values outside [0,1].
    """
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = np.moveaxis(array, 3, 1)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        shape = "x".join(map(str, array.shape)) or "a scalar"
        raise InputError(f"{name} is {shape}: images are (N,H,W), (N,C,H,W) or (N,H,W,C), with 1 or 3 channels")
    if array.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(array))
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} holds {array.dtype}: images are uint8 0..255 or floats in [0,1]")
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{name} holds values that are not finite: replace NaN and infinities first")
    if low < 0 or high > 1 or array.dtype.kind != "f":
        cure = "convert it to uint8" if 0 <= low and 1 < high <= 255 else "scale it with (x - min) / (max - min)"
        raise InputError(f"{name} holds {array.dtype} from {low:g} to {high:g}: targets are floats in [0,1] or uint8; {cure}")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def load_array(path: Path) -> np.ndarray:
    """The array in an ``.npy`` file, or the only (or ``images``, ``x``, ``x_train``, ``arr_0``) one of an ``.npz``.

    Raises:
        InputError: the file cannot be read without unpickling, or it is not clear which array is meant.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            keys = loaded.files
            key = keys[0] if len(keys) == 1 else next((k for k in ("images", "x", "x_train", "arr_0") if k in keys), None)
            if key is None:
                raise InputError(f"{path} holds {', '.join(keys) or 'nothing'}: name the array of images 'images'")
            return loaded[key]
    except InputError:
        raise
    except Exception as error:  # numpy raises almost anything on a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot read {path} as a numpy array ({reason}): save it with np.save") from None


def to_float(images: Tensor) -> Tensor:
    """Images as float32 in [0,1]."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def to_uint8(images: Tensor) -> Tensor:
    """Images as uint8, floats clipped to [0,1] and rounded."""
    return images if images.dtype == torch.uint8 else (images.clamp(0, 1) * 255).round().to(torch.uint8)


def to_picture(image: Tensor) -> Image.Image:
    """(C,H,W) as a grey or colour picture."""
    pixels = to_uint8(image.cpu())
    return Image.fromarray((pixels[0] if pixels.shape[0] == 1 else pixels.permute(1, 2, 0)).numpy())


def grid(images: Tensor, columns: int = 0) -> Image.Image:
    """All images in one picture, row by row (square by default), small ones enlarged to be seen."""
    n, side = images.shape[0], max(images.shape[-2:])
    columns = columns or max(1, round(n**0.5))
    picture = to_picture(make_grid(to_uint8(images.cpu()), nrow=columns, padding=2, pad_value=64))
    factor = max(1, 56 // side)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format of ``path``'s extension.

    Raises:
        InputError: Pillow does not write that format, or the place cannot be written.
    """
    with replacing(path) as temporary:
        try:
            picture.save(temporary)
        except (ValueError, KeyError):
            raise InputError(f"cannot write pictures as {path.suffix or 'a file without extension'}: use .png") from None


def save_animation(frames: Sequence[Image.Image], path: Path, seconds: float = 4.0) -> None:
    """Write an endless GIF or WebP of about ``seconds``, which rests on the last frame."""
    if path.suffix.lower() not in ANIMATIONS:
        raise InputError(f"cannot animate {path.suffix or path.name}: name the trajectory with .gif or .webp")
    durations = [max(40, int(1000 * seconds / len(frames)))] * len(frames)
    durations[-1] += 1500
    with replacing(path) as temporary:
        frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=durations, loop=0)


def save_array(images: Tensor, path: Path) -> None:
    """Write images as float32 (N,C,H,W) in [0,1] to an ``.npy`` file."""
    with replacing(path) as temporary:
        np.save(temporary, images.cpu().numpy())


def save_folder(images: Iterable[tuple[str, Tensor]], folder: Path) -> None:
    """Write each (name, image) as ``folder/name.png``."""
    for name, image in images:
        save_picture(to_picture(image), folder / f"{name}.png")
