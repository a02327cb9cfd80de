"""The pictures that a folder holds, and a word on whatever else is in it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ..errors import InputError
from ..files import PREFIX

STUBS = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats that Pillow knows and does not read, or only by another program."""
NAMES_SHOWN = 4


class Found(NamedTuple):
    """What :func:`find` found."""

    files: list[Path]
    """The pictures, sorted."""
    left_out: list[str]
    """A sentence for each kind of thing that was left out."""


def find(folder: Path, without: Collection[Path] = ()) -> Found:
    """The pictures in ``folder`` at any depth, by extension, at least one.

    Left out are hidden files and folders, linked folders (a link may lead in a circle) and what a training run wrote,
    because its sample grids are no data. A linked file counts as a file.

    Args:
        folder: where to look.
        without: folders to leave out, such as the one that results go to.

    Raises:
        InputError: there are none.
    """
    sieve = _Sieve(folder, without)
    pictures: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=sieve.closed):
        here = Path(place)
        folders[:] = [name for name in folders if sieve.keeps_folder(here / name)]
        pictures += [here / name for name in files if sieve.keeps_file(here / name)]
    left_out = sieve.sentences()
    if not pictures:
        why = f" ({'; '.join(left_out)})" if left_out else ""
        raise InputError(f"{folder} holds no pictures{why}: give a folder with .png, .jpg or other pictures in it")
    return Found(sorted(pictures), left_out)


@cache
def readable() -> frozenset[str]:
    """The extensions of pictures that Pillow reads, in lower case and with the dot; .heic with pillow-heif."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    known = Image.registered_extensions()
    return frozenset(suffix for suffix, name in known.items() if name in Image.OPEN and name not in STUBS)


class _Sieve:
    """Tells pictures from the rest, and remembers the rest."""

    def __init__(self, folder: Path, without: Collection[Path]) -> None:
        self.folder, self.within_run = folder, _is_run(folder)
        self.without = {path.resolve() for path in without}
        self.left: dict[str, list[str]] = defaultdict(list)
        self.others: Counter[str] = Counter()

    def keeps_folder(self, path: Path) -> bool:
        """Whether to look into it."""
        if path.name.startswith("."):
            return self._leave(path, "hidden folder")
        if path.is_symlink():
            return self._leave(path, "linked folder")
        if self.without and path.resolve() in self.without:
            return self._leave(path, "output folder")
        samples = self.within_run and path.parent == self.folder and path.name == "samples"
        if samples or _is_run(path):
            return self._leave(path, "training run")
        return True

    def keeps_file(self, path: Path) -> bool:
        """Whether it is a picture, by its name."""
        if path.suffix.lower() not in readable():
            if not path.name.startswith("."):
                self.others[path.suffix.lower() or path.name] += 1
            return False
        if path.name.startswith("."):  # the library's own temporary files are not worth a word
            return not path.name.startswith(PREFIX) and self._leave(path, "hidden file")
        return path.is_file() or self._leave(path, "broken link" if path.is_symlink() else "special file")

    def closed(self, error: OSError) -> None:
        """A folder cannot be listed."""
        self._leave(Path(error.filename), "unreadable folder")

    def _leave(self, path: Path, what: str) -> bool:
        self.left[what].append(os.path.relpath(path, self.folder))
        return False

    def sentences(self) -> list[str]:
        """One for each kind."""
        left = self.left.items()
        said = [f"left out {len(names)} {what}{'s' * (len(names) > 1)} ({_some(names)})" for what, names in left]
        if n := self.others.total():
            what = "file that is not a picture" if n == 1 else "files that are not pictures"
            said.append(f"left out {n} {what} ({_some([suffix for suffix, _ in self.others.most_common()])})")
        return said


def _is_run(folder: Path) -> bool:
    """Whether a training run wrote it."""
    wrote = (folder / "metrics.csv", folder / "state.safetensors")
    return (folder / "config.json").is_file() and any(path.is_file() for path in wrote)


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMES_SHOWN]) + ", ..." * (len(names) > NAMES_SHOWN)
