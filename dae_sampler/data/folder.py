"""The pictures that a folder holds, and a word on whatever else is in it."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from itertools import takewhile
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


class Named(NamedTuple):
    """Pictures by the names that pair them with others."""

    folder: Path
    files: dict[str, Path]
    left_out: list[str]


def find_named(source: Path, without: Collection[Path] = ()) -> Named:
    """The pictures of a folder, by path without extension, or those of a pattern, by what ``*`` stands for.

    In a pattern ``*`` is any part of a name, and ``**/`` any folders: ``shots/*_mean.jpg``.

    Raises:
        InputError: there are none, or two have one name.
    """
    plain = list(takewhile(lambda part: "*" not in part, source.parts))
    folder = Path(*plain)
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: give a folder of pictures, or a pattern such as 'shots/*_mean.jpg'")
    found, left_out = find(folder, without)
    pattern = "/".join(source.parts[len(plain) :])
    named: dict[str, Path] = {}
    for file in found:
        path = file.relative_to(folder)
        if pattern:
            fits = re.fullmatch(_expression(pattern), path.as_posix())
            name = fits and " ".join(fits.groups())
        else:
            name = path.with_suffix("").as_posix()
        if name is None:
            continue
        if name in named:
            raise InputError(f"{named[name]} and {file} have one name, {name}: leave one of them out")
        named[name] = file
    if not named:
        raise InputError(f"no picture is called like {source}: quote the pattern, and look at the names")
    return Named(folder, named, left_out)


def _expression(pattern: str) -> str:
    """A regular expression with a group for each star."""
    groups = {"**/": "((?:.*/)?)", "*": "([^/]*)"}
    return "".join(groups.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*)", pattern))


@cache
def readable() -> frozenset[str]:
    """The extensions of pictures that Pillow reads, in lower case and with the dot; .heic with pillow-heif."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    known = Image.registered_extensions()
    return frozenset(suffix for suffix, name in known.items() if name in Image.OPEN and name not in STUBS)


def bare(name: str) -> str:
    """A picture's path without its extension, if it has one; names may have other dots."""
    path = Path(name)
    return (path.with_suffix("") if path.suffix.lower() in readable() else path).as_posix()


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
        said = [f"left out {len(names)} {what}{'s' * (len(names) > 1)} ({some_of(names)})" for what, names in left]
        if n := self.others.total():
            what = "file that is not a picture" if n == 1 else "files that are not pictures"
            said.append(f"left out {n} {what} ({some_of([suffix for suffix, _ in self.others.most_common()])})")
        if self.others.keys() & {".heic", ".heif"}:
            said.append("HEIC pictures need pillow-heif: pip install 'dae-sampler[heic]'")
        return said


def _is_run(folder: Path) -> bool:
    """Whether a training run wrote it."""
    wrote = (folder / "metrics.csv", folder / "state.safetensors")
    return (folder / "config.json").is_file() and any(path.is_file() for path in wrote)


def some_of(names: list[str], most: int = NAMES_SHOWN) -> str:
    """The first few names."""
    return ", ".join(names[:most]) + ", ..." * (len(names) > most)
