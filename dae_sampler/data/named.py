"""Data sets: by name, from a folder of images, or from an array, as one tensor (N,C,H,W)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import distributed as processes
from ..data import pictures
from ..data.decode import decode
from ..errors import InputError, unknown


def default_root() -> Path:
    """The usual cache folder for downloaded data sets."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dae-sampler"


def _torchvision(name: str, root: Path, **options: Any) -> Any:
    from torchvision import datasets  # here, for it imports torch's compiler, which takes a second and more

    return getattr(datasets, name)(root, download=True, **options)


def _mnist_like(name: str, **options: str) -> Callable[[Path, bool], Tensor]:
    def load(root: Path, train: bool) -> Tensor:
        pixels = _torchvision(name, root, train=train, **options).data
        return pixels[:, None].transpose(2, 3) if name == "EMNIST" else pixels[:, None]  # EMNIST lies on its side

    return load


def _omniglot(root: Path, train: bool) -> Tensor:
    data = _torchvision("Omniglot", root, background=train)
    shape = (1, 28, 28)
    return torch.stack([255 - pictures.to_tensor(picture, shape) for picture, _ in data])  # ink is black


def _cifar10(root: Path, train: bool) -> Tensor:
    data = _torchvision("CIFAR10", root, train=train)
    return torch.from_numpy(data.data).permute(0, 3, 1, 2)


def _digits(root: Path, train: bool) -> Tensor:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError("the data set 'digits' lies inside scikit-learn: pip install 'dae-sampler[digits]'") from None
    pixels = torch.from_numpy(np.round(load_digits().images * (255 / 16)).astype(np.uint8))[:, None]
    test = torch.arange(len(pixels)) % 6 == 5  # it has no split of its own
    return pixels[~test if train else test]


NAMED: dict[str, Callable[[Path, bool], Tensor]] = {
    "mnist": _mnist_like("MNIST"),
    "fashion-mnist": _mnist_like("FashionMNIST"),
    "kmnist": _mnist_like("KMNIST"),
    "emnist-letters": _mnist_like("EMNIST", split="letters"),
    "omniglot": _omniglot,
    "cifar10": _cifar10,
    "digits": _digits,
}


@dataclass(frozen=True)
class Dataset:
    """Images to train on: ``images`` is uint8, or float32 in [0,1], (N,C,H,W); ``name`` says where they are from."""

    images: Tensor
    name: str
    skipped: tuple[str, ...] = ()
    """One sentence for each file of a folder that could not be read."""


def load(
    source: str | Path,
    *,
    root: Path | None = None,
    train: bool = True,
    size: int | None = None,
    channels: int | None = None,
    strict: bool = False,
    on_file: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Load a data set.

    Args:
        source: a name of ``NAMED``, a folder of images (any depth), or an ``.npy`` or ``.npz`` file.
        root: where named data sets lie or are downloaded to, and where decoded folders go that are too large for memory
            (:mod:`.decoding`); by default :func:`default_root`.
        train: the training half of a named set, or its test half.
        size: make the images of a folder this many pixels square.
        channels: 1 for grey, 3 for colour; by default colour if any image of the folder has it.
        strict: stop at a picture of a folder that cannot be read, instead of skipping it.
        on_file: called with (files read, files in all) while a folder is read.

    Raises:
        InputError: there is no such data set, or it cannot be had or used as images.
    """
    path = Path(source)
    if size is not None and size < 2:
        raise InputError(f"size must be 2 pixels or more, got {size}")
    if channels not in (None, 1, 3):
        raise InputError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
    if str(source) in NAMED:  # also where a folder has that name: ./mnist is the folder
        loaded = Dataset(_named(str(source), root or default_root(), train), str(source))
    elif path.is_dir():
        files = pictures.find(path)
        if not files:
            raise InputError(f"{path} holds no images: give a folder with .png, .jpg or other pictures, at any depth")
        images, skipped = decode(path, files, size, channels, strict, on_file, root or default_root())
        return Dataset(images, path.name, tuple(skipped))
    elif path.suffix.lower() in pictures.ARRAYS:
        if not path.is_file():
            raise InputError(f"no file at {path}: check the path")
        loaded = Dataset(pictures.from_array(pictures.load_array(path), str(path)), path.name)
    elif path.exists():
        raise InputError(f"{path} is not a data set: give a folder of images, an .npy or .npz file, or a name")
    elif len(path.parts) > 1 or path.suffix:
        raise InputError(
            f"nothing at {path}: give a folder of images, an .npy or .npz file, or one of {', '.join(NAMED)}"
        )
    else:
        raise unknown("data set", str(source), NAMED)
    return _converted(loaded, size, channels)


def _named(name: str, root: Path, train: bool) -> Tensor:
    try:
        with processes.first_alone():
            return NAMED[name](root, train)
    except InputError:
        raise
    except Exception as error:  # torchvision raises almost anything on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"cannot load {name} from {root} or download it there ({reason}): point --data-root at it"
        ) from None


def _converted(data: Dataset, size: int | None, channels: int | None) -> Dataset:
    images, (_, c, h, w) = data.images, data.images.shape
    shape = (channels or c, size or h, size or w)
    if shape != (c, h, w):
        images = torch.stack([pictures.to_tensor(pictures.to_picture(image), shape) for image in images])
    return Dataset(images.contiguous(), data.name)
