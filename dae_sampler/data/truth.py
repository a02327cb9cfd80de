"""Clean versions of pictures, to compare restored ones with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..pixels import Range, to_float
from .arrays import ARRAYS, Stack, from_array, load_array
from .files import PictureFile, read_file
from .folder import bare
from .whole import PictureFiles, open_files

_NAMED = 3
"""Pictures without a clean version that an error names."""


class Truth:
    """The clean versions in a folder, found by their path without extension; in one picture; or in an array, by index.

    Args:
        source: where they are.
        large: allow pictures of more pixels than Pillow's limit.

    Raises:
        InputError: there are none.
    """

    def __init__(self, source: Path, large: bool = False) -> None:
        self.source, self.large = source, large
        self.spans: Mapping[str, Range] = {}
        self.exact, self.known = set[str](), Counter[str]()
        self.stack: Stack | None = None
        self.files: PictureFiles | None = None
        if source.suffix.lower() in ARRAYS and source.is_file():
            self.stack = from_array(load_array(source), str(source))
        elif source.exists():
            self.files = open_files(source, large=large)
            names = {self.files.name_of(path): path for path in self.files.found}
            self.by_name = {bare(name): path for name, path in names.items()} | names
            self.exact, self.known = set(names), Counter(map(bare, names))
        else:
            raise InputError(f"no clean pictures at {source}: give a picture, a folder or an array")

    def check(self, names: Iterable[str], spans: Mapping[str, Range]) -> None:
        """Refuse pictures that have no clean version.

        Args:
            names: of the pictures.
            spans: the values that are black and white in them, by type of pixels: in clean versions of that type too.

        Raises:
            InputError: naming some of them.
        """
        self.spans, names = spans, list(names)
        twice = [name for name in names if self.known[bare(name)] > 1 and name not in self.exact]
        if twice:
            raise InputError(f"{self.source} has several clean versions of {twice[0]}: leave one of them")
        missing = [name for name in names if not self._has(name)]
        if missing:
            some = ", ".join(missing[:_NAMED]) + ", ..." * (len(missing) > _NAMED)
            raise InputError(f"{self.source} has no clean version of {some}: give one of each picture, named like it")

    @property
    def paths(self) -> list[Path]:
        """The files that are read."""
        return [self.source] if self.stack or not self.files else self.files.found

    def _has(self, name: str) -> bool:
        if self.stack:
            return name.isdecimal() and int(name) < len(self.stack.pixels)
        return self._path(name) is not None

    def _path(self, name: str) -> Path | None:
        """The file of a picture's clean version; one picture alone goes with whatever is restored."""
        if self.files and self.source.is_file():
            return self.files.found[0]
        return self.by_name.get(name) or self.by_name.get(bare(name))

    def of(self, name: str, page: int, shape: torch.Size) -> Tensor:
        """The clean version of a picture's page, (1,C,H,W) float32 in units of its range.

        Args:
            name: path in the folder, with or without extension, or the index in an array.
            page: its number in the file.
            shape: (1,C,H,W) of the restored one; a grey clean one goes with colour too.

        Raises:
            InputError: it has another size.
        """
        if self.stack:
            pixels = np.ascontiguousarray(self.stack.pixels[int(name)])
            clean = to_float(torch.from_numpy(pixels), self.spans.get(pixels.dtype.name, self.stack.span))
        else:
            clean = self._page(name, page)
        if clean.shape[1:] != shape[2:] or clean.shape[0] not in (1, shape[1]):
            there, here = ("x".join(map(str, size)) for size in (clean.shape, shape[1:]))
            raise InputError(
                f"the clean version of {name} is {there} (CxHxW), the picture {here}: give one of its size"
            )
        return clean[None].expand(shape)

    @lru_cache(maxsize=1)  # noqa: B019 - pages of one file come one after the other
    def _read(self, path: Path) -> PictureFile:
        return read_file(path, large=self.large)

    def _page(self, name: str, page: int) -> Tensor:
        path = self._path(name)
        assert self.files
        assert path
        pages = self._read(path).pages
        if page >= len(pages):
            raise InputError(f"{path} has {len(pages)} pages, the picture has more: give one that has as many")
        kind = pages[page].dtype.name
        low, high = self.spans.get(kind, self.files.spans[kind])
        return torch.from_numpy(((np.moveaxis(pages[page], 2, 0) - low) / (high - low)).astype(np.float32))
