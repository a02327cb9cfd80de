"""Which class each image of a data set is of: by subfolder, by a CSV file, or by the array ``y`` beside the images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .tables import read_column

AUTO = "auto"
"""Labels from where they lie by themselves: subfolders, the array ``y``, or the named set."""
MOST_CLASSES = 10_000
_KEYS = ("y", "labels", "label", "y_train")
NONE = -1
"""The number of an image whose class is not known."""


class Labels(NamedTuple):
    """The class of each image."""

    numbers: Tensor
    """Int64 (N,), the place of its name in ``names``; -1 where it is not known."""
    names: tuple[str, ...]

    def digestible(self) -> bytes:
        """What a fingerprint of images is made of."""
        return repr(self.names).encode() + self.numbers.numpy().tobytes()


def from_names(each: Sequence[str]) -> Labels:
    """The classes that are named, numbers in their order and others by the alphabet; an empty name is no class.

    Raises:
        InputError: there are none, or too many.
    """
    distinct = {name for name in each if name}
    names = sorted(distinct, key=int) if all(map(_is_number, distinct)) else sorted(distinct)
    if not 1 <= len(names) <= MOST_CLASSES:
        raise InputError(f"`labels` name {len(names)} classes: from 1 to {MOST_CLASSES:,} are possible")
    place = {name: i for i, name in enumerate(names)}
    return Labels(torch.tensor([place.get(name, NONE) for name in each]), tuple(names))


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and len(text) < 20


def of_folder(folder: Path, files: Iterable[Path], source: str) -> Labels:
    """The class of each of ``files``: its first subfolder below ``folder``, or what the CSV ``source`` says.

    Raises:
        InputError: there are no subfolders, or the CSV cannot be used.
    """
    paths = [file.relative_to(folder) for file in files]
    if source != AUTO:
        return _looked_up(source, [path.as_posix() for path in paths])
    if all(len(path.parts) == 1 for path in paths):
        raise InputError(
            f"{folder} has no subfolders to take `labels` from: sort the pictures into a folder for each class, or "
            "name a CSV with the header file,label"
        )
    return from_names([path.parts[0] if len(path.parts) > 1 else "" for path in paths])


def of_array(path: Path, n: int, source: str) -> Labels:
    """The class of each of the ``n`` images in an array's file: its ``y``, where the number -1 is no class, or what the
    CSV ``source`` says by index.

    Raises:
        InputError: there is no ``y`` of that length, or the CSV cannot be used.
    """
    if source != AUTO:
        return _looked_up(source, [str(i) for i in range(n)])
    found = _beside(path)
    if found is None:
        raise InputError(f"{path} holds no array 'y' to take `labels` from: save one, or name a CSV file,label")
    if found.shape != (n,) or found.dtype.kind not in "iubUS":
        raise InputError(f"'y' in {path} is {found.dtype} {found.shape}: `labels` are {n} whole numbers or names")
    each = (text.decode() if isinstance(text, bytes) else str(text) for text in found.tolist())
    none = str(NONE) if found.dtype.kind == "i" else ""
    return from_names(["" if name == none else name for name in each])


def _beside(path: Path) -> np.ndarray | None:
    """The labels that an ``.npz`` holds beside the images."""
    if path.suffix.lower() != ".npz":
        return None
    with np.load(path, allow_pickle=False) as loaded:
        key = next((key for key in _KEYS if key in loaded.files), None)
        try:
            return None if key is None else loaded[key]
        except ValueError:
            raise InputError(f"'{key}' in {path} cannot be read without unpickling: save numbers or text") from None


def unlabelled(labels: Labels | None) -> list[str]:
    """A note where the class of some images is not known."""
    count = 0 if labels is None else int((labels.numbers < 0).sum())
    return [f"{count} of the images have no label and are trained on without one"] if count else []


def _looked_up(source: str, names: Sequence[str]) -> Labels:
    """The classes that a CSV with the header ``file,label`` gives to files of these names."""
    path = Path(source)
    if not path.is_file():
        raise InputError(f"cannot read {path}: `labels` are auto, or a CSV with the header file,label")
    given = {name: value.strip() for name, value in read_column(path, "label").items()}
    if not given.keys() & set(names):
        raise InputError(f"{path} names none of the images, of which the first is {names[0]}: write paths like that")
    return from_names([given.get(name, "") for name in names])
