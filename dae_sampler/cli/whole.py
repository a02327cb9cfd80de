"""Picture files through a model of any size: each comes out as it went in, but for its pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import InputError
from .console import Bar, say_notes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..gallery import Film
    from ..pixels import Range
    from ..sampling.samplers import Denoiser, State
    from .flow import Shown


PLAIN = ("uint8", "uint16", "float16", "float32", "float64")
"""Types of pixels that have a usual range; others go from their least value to their greatest."""


@dataclass(frozen=True)
class Files:
    """The picture files to restore, and where each result goes.

    Attributes:
        found: the files.
        folder: that they lie in.
        out: a folder, or, for one file, a picture's name.
        spans: the values that are black and white, for each type of pixels, found over all files.
        notes: what was left out, and ranges that are not the full ones.
    """

    found: list[Path]
    folder: Path
    out: Path
    spans: dict[str, Range]
    notes: list[str]

    @cached_property
    def _stems(self) -> Counter[Path]:
        return Counter(path.with_suffix("") for path in self.found)

    def goal(self, path: Path, suffix: str, kind: str = "") -> Path:
        """Where the result of a file goes that is written with ``suffix``, one of several by its ``kind``; two files
        never go to one place."""
        if len(self.found) == 1 and self.out.suffix:
            return self.out.with_name(self.out.stem + kind + self.out.suffix)
        name = path.relative_to(self.folder)
        alone = self._stems[path.with_suffix("")] == 1
        return self.out / name.with_name((name.stem if alone else name.name) + kind + suffix)

    def check_apart(self, also: Sequence[Path], kinds: Sequence[str] = ("",)) -> None:
        """Refuse to write over a file that is read, whatever suffix a result will have and of which kind it is.

        Raises:
            InputError: naming the file.
        """
        suffixes = {path: (path.suffix, ".png", ".tif") for path in self.found}
        goals = (self.goal(path, suffix, kind) for path in suffixes for suffix in suffixes[path] for kind in kinds)
        files.check_apart(self.found, [*goals, *also])


def open_files(source: Path, out: Path, *, strict: bool) -> Files:
    """Look at the files once, for their ranges.

    Raises:
        InputError: there are none; ``strict`` is set and one cannot be read; or ``out`` is one file for several.
    """
    import numpy as np

    from ..data.folder import find
    from ..pixels import describe_range, find_range

    found, left_out = find(source, [out]) if source.is_dir() else ([source], [])
    if len(found) > 1 and out.suffix:
        raise InputError(f"{out} is one file for {len(found)} pictures: name a folder by `out`")
    extremes = _extremes([path for path in found if not _is_jpeg(path)], strict)
    extremes["uint8"] = (0.0, 255.0)
    spans = {
        name: find_range(np.dtype(name), low, high) if name in PLAIN else (low, max(high, low + 1))
        for name, (low, high) in extremes.items()
    }
    said = [describe_range(np.dtype(name), span, f"{name} pixels in {source}") for name, span in spans.items()]
    folder = source if source.is_dir() else source.parent
    return Files(found, folder, out, spans, [*left_out, *filter(None, said)])


def _extremes(found: Sequence[Path], strict: bool) -> dict[str, tuple[float, float]]:
    """The least and the greatest value of each type of pixels."""
    from ..data.files import read_file

    extremes: dict[str, tuple[float, float]] = {}
    for path in found:
        try:
            pages = read_file(path).pages
        except InputError:
            if strict:
                raise
            continue  # it is said when its turn comes
        for page in pages:
            name, low, high = page.dtype.name, float(page.min()), float(page.max())
            least, most = extremes.get(name, (low, high))
            extremes[name] = min(low, least), max(high, most)
    return extremes


def _is_jpeg(path: Path) -> bool:
    """Whether a file's content is a JPEG, whose pixels have 8 bits and the full range."""
    try:
        with path.open("rb") as file:
            return file.read(3) == b"\xff\xd8\xff"
    except OSError:
        return False


def restore_files(todo: Files, apply: Callable[[Tensor, int], dict[str, Tensor]], *, strict: bool) -> int:
    """Restore each file and write it; what could not be read or kept is said. How many were restored.

    ``apply`` maps a page (1,C,H,W), float32 with 0 black and 1 white, and its number, to the restored ones, by kind:
    what is put behind the name of the file. They may be larger than the page.
    """
    from ..data.files import default_suffix, enlarged, read_file, write_like

    skipped: list[str] = []
    lost: dict[str, str] = {}
    number = 0
    with Bar("restoring", len(todo.found), "pictures") as bar:
        for path in todo.found:
            try:
                source = read_file(path)
            except InputError as error:
                if strict or len(todo.found) == 1:
                    raise
                skipped.append(str(error))
                continue
            pages = [_restored(page, todo.spans, apply, number + i) for i, page in enumerate(source.pages)]
            number += len(pages)
            suffix = default_suffix(source)
            source = enlarged(source, len(next(iter(pages[0].values()))) // len(source.pages[0]))
            for kind in pages[0]:
                lost |= write_like(source, [page[kind] for page in pages], todo.goal(path, suffix, kind))
            lost |= source.notes
            bar.advance()
    say_notes([*todo.notes, *lost.values()], skipped)
    return len(todo.found) - len(skipped)


def _restored(
    pixels: np.ndarray, spans: dict[str, Range], apply: Callable[[Tensor, int], dict[str, Tensor]], number: int
) -> dict[str, np.ndarray]:
    """The restored versions of a page, each (H,W,C), in the values of its file."""
    import numpy as np
    import torch

    low, high = spans[pixels.dtype.name]
    x = torch.from_numpy(np.moveaxis((pixels.astype(np.float64) - low) / (high - low), 2, 0)[None]).float()
    made = apply(x, number).items()
    return {kind: np.moveaxis(one[0].double().numpy() * (high - low) + low, 0, 2) for kind, one in made}


def restore_whole(
    dae: Denoiser,
    source: Path,
    out: Path,
    also: list[Path],
    strict: bool,
    film: Film | None,
    shown: Shown,
    apply: Callable[..., Iterator[Tensor]],
    error_of: Callable[[Tensor], Tensor] | None = None,
) -> int:
    """Picture files of any size by a task, each as it was but for its pixels, with ``also`` beside them; how many.

    ``error_of`` gives a map that is written beside each page.
    """

    def restored(x: Tensor, number: int) -> dict[str, Tensor]:
        def watch(state: State) -> None:
            if film and not film.saved:
                film.add(dae.corruption.preview(state.x, state.level))

        made = next(apply(iter([x]), first=number, on_step=watch))
        if film and not film.saved:
            film.save(made)
        shown.add(x, made)
        return {"": made} | ({"-error": error_of(x)} if error_of else {})

    todo = open_files(source, out, strict=strict)
    todo.check_apart(also, ("", "-error") if error_of else ("",))
    return restore_files(todo, restored, strict=strict)
