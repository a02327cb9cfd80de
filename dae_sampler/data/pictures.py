"""Pictures in and out: files and folders to tensors, tensors to files, grids and animations.

Tensors are (N,C,H,W) with C 1 or 3; uint8 0..255, or float in [0,1], which is rounded to 8 bits when written.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import InputError, unknown
from ..files import check_writable, replacing
from ..noise import Noise

ANIMATIONS = (".gif", ".webp")
ARRAYS = (".npy", ".npz")
AUGMENT = ("mirror", "shift")
BINARISE = ("dynamic", "threshold")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
MOST_IN_GRID = 2500
BORDER, GREY = 2, 64
"""Pixels between the images of a grid, and their value."""
MOST_SHOWN = 64
"""Images in a trajectory's frames and in before/after pictures."""


def find(folder: Path) -> list[Path]:
    """The image files in ``folder`` at any depth, by extension, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())


def read(path: Path) -> Image.Image:
    """One picture in mode L or RGB: first frame, upright, 16 bits scaled to 8, transparency laid over black.

    Raises:
        InputError: the file is not a readable picture.
    """
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(path) as picture,
        ):
            picture = ImageOps.exif_transpose(picture)
            if picture.mode.startswith("I") or picture.mode == "F":
                return Image.fromarray(_to_8_bits(np.asarray(picture), path))
            if picture.has_transparency_data:
                rgba = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba).convert("RGB")
                pixels = np.asarray(picture)
                return picture.convert("L") if (pixels == pixels[..., :1]).all() else picture
            return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    except InputError:
        raise
    except Exception as error:  # Pillow raises almost anything on a damaged file
        reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"cannot read {path} as a picture ({reason}): remove or replace the file") from None


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


def from_array(array: np.ndarray, name: str = "the array", beyond: float = 0.0) -> Tensor:
    """An array of images as (N,C,H,W): uint8 as it is, floats in [0,1] as float32.

    Args:
        array: (N,H,W), (N,C,H,W) or (N,H,W,C) with C 1 or 3.
        name: what to call it in errors.
        beyond: how far floats may lie outside [0,1], as noisy images do.

    Raises:
        InputError: another rank or type, not-a-number, or values outside their range.
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
    if low < -beyond or high > 1 + beyond or array.dtype.kind != "f":
        cure = "divide by 255" if low >= 0 and 1 < high <= 255 else "scale with (x - min) / (max - min)"
        raise InputError(
            f"{name} holds {array.dtype} from {low:g} to {high:g}: images are floats in [0,1] or uint8; {cure}"
        )
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
            key = (
                keys[0] if len(keys) == 1 else next((k for k in ("images", "x", "x_train", "arr_0") if k in keys), None)
            )
            if key is None:
                raise InputError(f"{path} holds {', '.join(keys) or 'nothing'}: name the array of images 'images'")
            return loaded[key]
    except InputError:
        raise
    except Exception as error:  # numpy raises almost anything on a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot read {path} as a numpy array ({reason}): save it with np.save") from None


@dataclass(frozen=True)
class Inputs:
    """Images read for a model, and what had to be done to them."""

    images: Tensor
    """(N,C,H,W), uint8 or float32."""
    names: list[str]
    """Of each image, relative to the folder and without extension; numbers for an array."""
    notes: list[str]
    """A sentence for each kind of conversion."""
    skipped: list[str] = field(default_factory=list)
    """A sentence for each file that could not be read."""


def load(source: Path, shape: tuple[int, int, int] | None, beyond: float = 0.0, strict: bool = False) -> Inputs:
    """A picture, a folder of pictures (any depth), or an ``.npy``/``.npz`` array, converted to ``shape`` (C,H,W).

    Args:
        source: what to read.
        shape: what the model takes; None takes the shape of the first image.
        beyond: how far an array's floats may lie outside [0,1].
        strict: stop at a picture that cannot be read, instead of skipping it.

    Raises:
        InputError: there is nothing there, or nothing that can be used.
    """
    if source.suffix.lower() in ARRAYS and source.is_file():
        return _load_array(source, shape, beyond)
    if not source.is_dir() and not source.is_file():
        raise InputError(f"no picture at {source}: give a picture, a folder of pictures, or an .npy or .npz file")
    files = find(source) if source.is_dir() else [source]
    if not files:
        raise InputError(f"{source} holds no pictures: give a folder with .png, .jpg or other pictures in it")
    tensors, kept, skipped, changed = [], [], [], {"resized": 0, "made grey": 0, "made RGB": 0}
    for file in files:
        try:
            picture = read(file)
        except InputError as error:
            if strict or len(files) == 1:
                raise
            skipped.append(str(error))
            continue
        shape = shape or (1 if picture.mode == "L" else 3, picture.height, picture.width)
        channels, height, width = shape
        changed["resized"] += picture.size != (width, height)
        changed["made grey"] += picture.mode == "RGB" and channels == 1
        changed["made RGB"] += picture.mode == "L" and channels == 3
        tensors.append(to_tensor(picture, shape))
        kept.append(file)
    if not tensors:
        raise InputError(f"none of the {len(files)} pictures in {source} can be read; the first: {skipped[0]}")
    notes = [
        f"{count} of {len(kept)} pictures were {what} to fit {width}x{height}"
        for what, count in changed.items()
        if count
    ]
    return Inputs(torch.stack(tensors), _names(kept, source if source.is_dir() else source.parent), notes, skipped)


def _load_array(source: Path, shape: tuple[int, int, int] | None, beyond: float) -> Inputs:
    images = from_array(load_array(source), str(source), beyond)
    notes = []
    if shape and tuple(images.shape[1:]) != shape:
        if beyond and images.dtype != torch.uint8:
            raise InputError(
                f"{source} holds images of {tuple(images.shape[1:])}, the model takes {shape}: resize them first"
            )
        images = torch.stack([to_tensor(to_picture(image), shape) for image in images])
        notes = [f"the images were converted to the model's {shape}"]
    return Inputs(images, [f"{i:06d}" for i in range(len(images))], notes)


def _names(files: list[Path], folder: Path) -> list[str]:
    """Names without extension, but with it where two files differ in nothing else."""
    full = [f.relative_to(folder) for f in files]
    seen = Counter(f.with_suffix("") for f in full)
    names = [str(f if seen[f.with_suffix("")] > 1 else f.with_suffix("")) for f in full]
    return names if len(set(names)) == len(names) else [str(f) for f in full]


def load_mask(mask: str, shape: tuple[int, int, int]) -> Tensor:
    """What to keep of images of ``shape`` (C,H,W): bool (H,W), false in the half that ``mask`` names or where it is
    white.

    Raises:
        InputError: ``mask`` is neither a half nor a readable picture, or hides nothing.
    """
    _, height, width = shape
    keep = torch.ones(height, width, dtype=torch.bool)
    halves = {
        "left": keep[:, : width // 2],
        "right": keep[:, -(-width // 2) :],
        "top": keep[: height // 2],
        "bottom": keep[-(-height // 2) :],
    }
    if mask in halves:
        halves[mask].fill_(False)
    elif not Path(mask).is_file():
        raise InputError(f"no mask at {mask}: give {', '.join(halves)}, or a picture that is white where to fill")
    else:
        keep = to_tensor(read(Path(mask)), (1, height, width))[0] < 128
    if keep.all():
        raise InputError(f"the mask {mask} hides nothing: make it white where to fill")
    return keep


def to_float(images: Tensor) -> Tensor:
    """Images as float32 in [0,1]."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def augment(images: Tensor, how: str, noise: Noise) -> Tensor:
    """Images (B,C,H,W) of any type, varied so that a small data set lasts longer: ``"mirror"`` turns half of them left
    to right, ``"shift"`` moves each by up to a sixteenth of each side (rounded up) both ways, repeating its edge.

    Raises:
        InputError: ``how`` is neither.
    """
    if how not in AUGMENT:
        raise unknown("augmentation", how, AUGMENT)
    if how == "mirror":
        return torch.where(noise.uniform((len(images), 1, 1, 1)) < 0.5, images.flip(3), images)
    which = []
    for side in images.shape[2:]:
        most = math.ceil(side / 16)
        offset = (noise.uniform((len(images), 1)) * (2 * most + 1)).long() - most
        which.append((torch.arange(side, device=images.device) + offset).clamp(0, side - 1))
    rows, columns = which
    image = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


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
    columns = min(n, columns or max(1, round(n**0.5)))
    border = BORDER if n > 1 else 0
    tiles = F.pad(to_uint8(images.cpu()), (border, 0, border, 0, 0, 0, 0, -n % columns), value=GREY)
    rows = tiles.unflatten(0, (-1, columns)).permute(2, 0, 3, 1, 4)  # (C, rows, height, columns, width)
    picture = to_picture(F.pad(rows.flatten(3).flatten(1, 2), (0, border, 0, border), value=GREY))
    factor = max(1, 56 // side)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def pairs(before: Tensor, after: Tensor) -> Image.Image:
    """The first images before and after, four pairs a row; with k times as many after, a row for an image and its k."""
    versions = after.unflatten(0, (len(before), -1))[:, :MOST_SHOWN]
    k = versions.shape[1]
    both = [to_uint8(x[: MOST_SHOWN // k].cpu()) for x in (before[:, None], versions)]
    return grid(torch.cat(both, 1).flatten(0, 1), columns=8 if k == 1 else k + 1)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format of ``path``'s extension.

    Raises:
        InputError: Pillow does not write that format, or the place cannot be written.
    """
    with replacing(path) as temporary:
        try:
            picture.save(temporary)
        except (ValueError, KeyError):
            raise InputError(
                f"cannot write pictures as {path.suffix or 'a file without extension'}: use .png"
            ) from None


class Writer:
    """Where generated images go, by the name given: an ``.npy`` array, a folder of PNGs, or one grid picture.

    A context manager; arrays and folders are written as images come, so memory does not grow with their number.

    Args:
        out: an ``.npy`` file, a picture file, or (no extension) a folder.
        n: images in all.
    """

    def __init__(self, out: Path, n: int) -> None:
        suffix = out.suffix.lower()
        self.out, self.n, self.done = out, n, 0
        self.is_array, self.is_folder = suffix == ".npy", not suffix or out.is_dir()
        self.grid: list[Tensor] = []
        self.stack = ExitStack()
        if self.is_array or self.is_folder:
            return
        if suffix not in PICTURES:
            raise InputError(f"cannot write images as {suffix}: name a picture (.png), an array (.npy) or a folder")
        if n > MOST_IN_GRID:
            raise InputError(f"{n} images in one picture cannot be seen: name a folder or an .npy file with --out")

    def __enter__(self) -> Writer:
        check_writable(self.out)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.grid and kind is None:
            everything = torch.cat(self.grid)
            save_picture(to_picture(everything[0]) if self.n == 1 else grid(everything), self.out)
        self.stack.__exit__(kind, error, trace)

    def add(self, images: Tensor, names: Sequence[str] | None = None) -> None:
        """The next images, float (B,C,H,W) in [0,1]; ``names`` are those of their files, numbers by default."""
        first, self.done = self.done, self.done + len(images)
        if self.is_folder:
            for i, image in enumerate(images):
                name = names[i] if names else f"{first + i:06d}"
                save_picture(to_picture(image), self.out / f"{name}.png")
        elif self.is_array:
            if not first:
                self.file = self.stack.enter_context(self.stack.enter_context(replacing(self.out)).open("wb"))
                header = {"descr": "<f4", "fortran_order": False, "shape": (self.n, *images.shape[1:])}
                np.lib.format.write_array_header_1_0(self.file, header)
            self.file.write(images.numpy().astype("<f4").tobytes())
        else:
            self.grid.append(images)


class Film:
    """Collects what a trajectory shows: a grid of the first images at every k-th step."""

    def __init__(self, path: Path, every: int) -> None:
        if path.suffix.lower() not in ANIMATIONS:
            raise InputError(f"cannot animate {path}: name the trajectory with .gif or .webp")
        self.path, self.every, self.steps, self.frames = path, every, 0, []

    def add(self, images: Tensor) -> None:
        """The images after a step, float (B,C,H,W); the first ``MOST_SHOWN`` are kept."""
        if self.steps % self.every == 0:
            self.frames.append(grid(images[:MOST_SHOWN]))
        self.steps += 1

    def save(self, last: Tensor) -> None:
        """Write an endless animation of some four seconds, which rests on ``last``."""
        frames = [*self.frames, grid(last[:MOST_SHOWN])]
        durations = [max(40, 4000 // len(frames))] * len(frames)
        durations[-1] = 1500
        with replacing(self.path) as temporary:
            frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=durations, loop=0)
