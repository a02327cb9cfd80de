"""Data sets to train on: by name, from a folder of pictures, or from an array."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import distributed
from ..card import MAX_CHANNELS
from ..errors import InputError, unknown
from ..pixels import Range
from . import pictures
from .arrays import ARRAYS, from_array, load_array
from .crops import Crops, crops_of
from .dataset import Dataset
from .decode import Wanted, decode
from .decode_crops import decode_crops
from .folder import find, readable
from .labels import AUTO, Labels, of_array, of_folder, unlabelled
from .memory import at_random


def default_root() -> Path:
    """The usual cache folder for downloaded data sets."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dae-sampler"


def _torchvision(name: str, root: Path, **options: Any) -> Any:
    from torchvision import datasets  # here, for it imports torch's compiler, which takes a second and more

    return getattr(datasets, name)(root, download=True, **options)


class Known(NamedTuple):
    """A named data set."""

    images: Tensor
    """(N,C,H,W), uint8."""
    labels: Labels


def _mnist_like(name: str, **options: str) -> Callable[[Path, bool], Known]:
    def load(root: Path, train: bool) -> Known:
        data = _torchvision(name, root, train=train, **options)
        names = tuple(name.partition(" - ")[0] for name in data.classes)  # MNIST's are "7 - seven"
        if name != "EMNIST":
            return Known(data.data[:, None], Labels(data.targets, names))
        return Known(data.data[:, None].transpose(2, 3), Labels(data.targets - 1, names[1:]))  # they lie on their side

    return load


def _omniglot(root: Path, train: bool) -> Known:
    data = list(_torchvision("Omniglot", root, background=train))
    drawings = (np.asarray(picture.convert("L"))[..., None] for picture, _ in data)
    small = np.stack([pictures.bring_to(drawing, (1, 28, 28)) for drawing in drawings])
    numbers = torch.tensor([number for _, number in data])
    names = tuple(map(str, range(int(numbers.max()) + 1)))  # characters of many alphabets
    return Known(torch.from_numpy(255 - small), Labels(numbers, names))  # ink is black


def _cifar10(root: Path, train: bool) -> Known:
    data = _torchvision("CIFAR10", root, train=train)
    labels = Labels(torch.tensor(data.targets), tuple(data.classes))
    return Known(torch.from_numpy(data.data).permute(0, 3, 1, 2), labels)


def _digits(root: Path, train: bool) -> Known:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError("the data set 'digits' lies inside scikit-learn: pip install 'dae-sampler[digits]'") from None
    digits: Any = load_digits()
    pixels = torch.from_numpy(np.round(digits.images * (255 / 16)).astype(np.uint8))[:, None]
    half = (torch.arange(len(pixels)) % 6 == 5) ^ train  # it has no split of its own
    return Known(pixels[half], Labels(torch.from_numpy(digits.target).long()[half], tuple("0123456789")))


NAMED: dict[str, Callable[[Path, bool], Known]] = {
    "mnist": _mnist_like("MNIST"),
    "fashion-mnist": _mnist_like("FashionMNIST"),
    "kmnist": _mnist_like("KMNIST"),
    "emnist-letters": _mnist_like("EMNIST", split="letters"),
    "omniglot": _omniglot,
    "cifar10": _cifar10,
    "digits": _digits,
}


def load(
    source: str | Path,
    *,
    root: Path | None = None,
    train: bool = True,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "crop",
    over: str = "black",
    span: Range | None = None,
    beyond: float | None = 0.0,
    files: Sequence[Path] | None = None,
    labels: str | None = None,
    without: Collection[Path] = (),
    strict: bool = False,
    on_file: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Load a data set.

    Args:
        source: a name of ``NAMED``, a folder of pictures (any depth), or an ``.npy`` or ``.npz`` file.
        root: where named data sets lie or are downloaded to, and where decoded folders go that are too large for memory
            (:mod:`.decode`); by default :func:`default_root`.
        train: the training half of a named set, or its test half.
        size: bring the images to this size: (width, height), or one number for both.
        channels: 1 for grey, 3 for colour, of an array 1 to 16; by default as the images are, where a folder is in
            colour if any of its pictures is.
        fit: how images are brought to ``size``, see :func:`.pictures.bring_to`.
        over: what transparency is laid over, ``"black"`` or ``"white"``.
        span: the values that are black and white; by default :func:`.pixels.find_range` has them, over all images.
        beyond: how far floats may lie outside them, in units of the range, as noisy images do; None is any distance.
        files: of a folder, the pictures to take; by default those that :func:`.folder.find` finds.
        labels: None without; ``"auto"`` takes the class from the first subfolder, from the array ``y`` in an ``.npz``,
            or from the named set; else a CSV file with the header ``file,label``.
        without: folders inside ``source`` to leave out, such as the one that results go to.
        strict: stop at a picture of a folder that cannot be read, instead of skipping it.
        on_file: called with (files read, files in all) while a folder is read.

    Raises:
        InputError: there is no such data set, or it cannot be had or used as images.
    """
    path = Path(source)
    wanted = Wanted(_checked_size(size), channels, fit, over, span, beyond)
    pictures.check_options(fit, over)
    if channels is not None and not 1 <= channels <= MAX_CHANNELS:
        raise InputError(f"`channels` must be 1 (grey), 3 (colour) or another number to {MAX_CHANNELS}, got {channels}")
    if str(source) in NAMED:  # also where a folder has that name: ./mnist is the folder
        named = _named(str(source), root or default_root(), train, span)
        if labels and labels != AUTO:
            told = of_array(path, len(named), labels)
            named = replace(named, labels=told, notes=(*named.notes, *unlabelled(told)))
        return _converted(named if labels else replace(named, labels=None), wanted)
    if path.is_dir():
        files, left_out = (files, []) if files else find(path, without)
        decoded = decode(path, files, wanted, root or default_root(), strict, on_file)
        told = of_folder(path, decoded.kept, labels) if labels else None
        notes = (*left_out, *decoded.notes, *unlabelled(told))
        return Dataset(decoded.images, path.name, decoded.span, notes, tuple(decoded.skipped), labels=told)
    if path.suffix.lower() in ARRAYS and path.is_file():
        array = from_array(load_array(path), str(path), beyond=beyond, span=span)
        images = torch.from_numpy(at_random(array.pixels))
        told = of_array(path, len(images), labels) if labels else None
        notes = (*array.notes, *unlabelled(told))
        return _converted(Dataset(images, path.name, array.span, notes, labels=told), wanted)
    if path.exists():
        one = ", or take crops of the picture by `crop`" if path.suffix.lower() in readable() else ""
        raise InputError(f"{path} is not a data set: give a folder of pictures, an .npy or .npz file, or a name{one}")
    if len(path.parts) > 1 or path.suffix:
        raise InputError(
            f"nothing at {path}: give a folder of pictures, an .npy or .npz file, or one of {', '.join(NAMED)}"
        )
    raise unknown("data set", str(source), NAMED)


def load_crops(
    source: str | Path,
    side: int,
    *,
    root: Path | None = None,
    channels: int | None = None,
    fit: str = "crop",
    over: str = "black",
    span: Range | None = None,
    beyond: float | None = 0.0,
    files: Sequence[Path] | None = None,
    labels: str | None = None,
    without: Collection[Path] = (),
    strict: bool = False,
    on_file: Callable[[int, int], None] | None = None,
) -> Crops:
    """Load pictures of any and of mixed sizes, of which training takes crops of ``side`` pixels square.

    ``fit="pad"`` has pictures that are smaller than that padded by reflection; else they are refused. The other
    arguments, and the errors, are those of :func:`load`; ``source`` may be one picture, too.
    """
    pictures.check_options(fit, over)
    path = Path(source)
    if path.is_file() and path.suffix.lower() in readable():  # one picture alone
        path, files = path.parent, [path]
    elif str(source) in NAMED or not path.is_dir():
        options = {"channels": channels, "over": over, "span": span, "beyond": beyond, "labels": labels}
        return crops_of(load(source, root=root, on_file=on_file, **options), side, fit == "pad")
    files, left_out = (files, []) if files else find(path, without)
    wanted = Wanted(None, channels, fit, over, span, beyond)
    crops = decode_crops(path, files, side, wanted, root or default_root(), strict, on_file, labels)
    return replace(crops, name=Path(source).name, notes=(*left_out, *crops.notes))


def _checked_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    width, height = (size, size) if isinstance(size, int) else size
    if min(width, height) < 2:
        raise InputError(f"`size` must be 2 pixels or more each way, got {width}x{height}")
    return width, height


def _named(name: str, root: Path, train: bool, span: Range | None) -> Dataset:
    try:
        with distributed.first_process_first():
            images, labels = NAMED[name](root, train)
    except InputError:
        raise
    except Exception as error:  # torchvision raises almost anything on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"cannot load {name} from {root} or download it there ({reason}): point `data_root` at it"
        ) from None
    return Dataset(images.contiguous(), name, span or (0.0, 255.0), labels=labels)


def _converted(data: Dataset, wanted: Wanted) -> Dataset:
    """The data set with images of the wanted size and number of channels."""
    found, height, width = data.shape
    wanted_width, wanted_height = wanted.size or (width, height)
    shape = (wanted.channels or found, wanted_height, wanted_width)
    if shape == data.shape:
        return data
    images = [np.moveaxis(image.numpy(), 0, 2) for image in data.images]
    converted = torch.from_numpy(np.stack([pictures.bring_to(image, shape, wanted.fit) for image in images]))
    changes = pictures.change_of(images[0], shape, wanted.fit)
    if shape[0] != found:
        changes.append("made grey" if shape[0] == 1 else "made RGB")
    notes = (*data.notes, *(f"the images were {change}" for change in changes))
    return replace(data, images=converted, notes=notes)
