"""Picture files through a model of any size: each comes out as it went in, but for its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .console import Bar, say_notes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..data.files.picture import PictureFile
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

    def goal(self, source: PictureFile) -> Path:
        """Where the result of a file goes."""
        from ..data.files import default_suffix

        if len(self.found) == 1 and self.out.suffix:
            return self.out
        return (self.out / source.path.relative_to(self.folder)).with_suffix(default_suffix(source))


def open_files(source: Path, out: Path, *, strict: bool) -> Files:
    """Look at the files once, for their ranges.

    Raises:
        InputError: there are none; ``strict`` is set and one cannot be read; or ``out`` is one file for several.
    """
    import numpy as np

    from ..data.files import read_file
    from ..data.folder import find
    from ..pixels import describe_range, find_range

    found, left_out = find(source, [out]) if source.is_dir() else ([source], [])
    if len(found) > 1 and out.suffix:
        raise InputError(f"{out} is one file for {len(found)} pictures: name a folder by `out`")
    extremes: dict[str, tuple[float, float]] = {}
    for path in found:
        if path.suffix.lower() in (".jpg", ".jpeg"):  # of 8 bits
            continue
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
    extremes["uint8"] = (0.0, 255.0)
    spans = {name: find_range(np.dtype(name), *both) if name in PLAIN else both for name, both in extremes.items()}
    said = [describe_range(np.dtype(name), span, f"{name} pixels in {source}") for name, span in spans.items()]
    folder = source if source.is_dir() else source.parent
    return Files(found, folder, out, spans, [*left_out, *filter(None, said)])


def restore_files(files: Files, apply: Callable[[Tensor, int], Tensor], *, strict: bool) -> int:
    """Restore each file and write it; what could not be read or kept is said. How many were written.

    ``apply`` maps a page (1,C,H,W), float32 with 0 black and 1 white, and its number, to the restored one.
    """
    from ..data.files import read_file, write_like
    from ..files import check_apart

    skipped: list[str] = []
    lost: dict[str, str] = {}
    number = 0
    with Bar("restoring", len(files.found), "pictures") as bar:
        for path in files.found:
            try:
                source = read_file(path)
            except InputError as error:
                if strict or len(files.found) == 1:
                    raise
                skipped.append(str(error))
                continue
            goal = files.goal(source)
            check_apart(files.found, [goal])
            pages = [_restored(page, files.spans, apply, number + i) for i, page in enumerate(source.pages)]
            number += len(pages)
            lost |= write_like(source, pages, goal)
            lost |= source.notes
            bar.advance()
    say_notes([*files.notes, *lost.values()], skipped)
    return len(files.found) - len(skipped)


def _restored(
    pixels: np.ndarray, spans: dict[str, Range], apply: Callable[[Tensor, int], Tensor], number: int
) -> np.ndarray:
    """A page (H,W,C) in the values of its file."""
    import numpy as np
    import torch

    low, high = spans[pixels.dtype.name]
    x = torch.from_numpy(np.moveaxis((pixels.astype(np.float64) - low) / (high - low), 2, 0)[None]).float()
    return np.moveaxis(apply(x, number)[0].double().numpy() * (high - low) + low, 0, 2)


def restore_whole(
    dae: Denoiser,
    source: Path,
    out: Path,
    strict: bool,
    film: Film | None,
    shown: Shown,
    apply: Callable[..., Iterator[Tensor]],
) -> int:
    """Picture files of any size by a task, each as it was but for its pixels; how many were written."""

    def restored(x: Tensor, number: int) -> Tensor:
        def watch(state: State) -> None:
            if film and not film.saved:
                film.add(dae.corruption.preview(state.x, state.level))

        made = next(apply(iter([x]), first=number, on_step=watch))
        if film and not film.saved:
            film.save(made)
        shown.add(x, made)
        return made

    return restore_files(open_files(source, out, strict=strict), restored, strict=strict)
