"""How pictures go through a command: what is read, what waits, what is written where."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from .. import files
from ..errors import InputError
from .console import say
from .options import Compare, Every, Out, Over, Quiet, Strict, Trajectory

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.inputs import Inputs
    from ..gallery import Film, Writer
    from ..pixels import Range
    from ..sampling.samplers import Denoiser


_MOST_VALUES = 1 << 26
"""Of the pictures that ``--compare`` shows: large ones are fewer, so that memory does not grow with a folder."""


@dataclass(frozen=True)
class Places:
    """What is written, and how pictures are read."""

    out: Out = None
    compare: Compare = False
    trajectory: Trajectory = None
    every: Every = 1
    over: Over = "black"
    strict: Strict = False
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave results alone that are there and newer than their pictures.")
    ] = False
    quiet: Quiet = False

    def film(self) -> Film | None:
        """The animation, if one was asked for."""
        from ..gallery import Film

        return Film(self.trajectory, self.every) if self.trajectory else None


class Apply(Protocol):
    """A task with its options: maps batches of images to restored ones."""

    def __call__(self, batches: Iterator[Tensor], now: Now, **options: Any) -> Iterator[Tensor]:
        """``now`` says, while a batch is computed, which it is."""
        ...


@dataclass
class Now:
    """What is being computed.

    Attributes:
        name: of the first picture of the batch: its path in the folder, or its number in an array.
        black, white: their values in the file.
    """

    name: str = ""
    black: float = 0.0
    white: float = 1.0

    def is_at(self, name: str) -> None:
        """The next batch begins."""
        self.name = name


class Watcher(Protocol):
    """Looks on as pictures are restored."""

    def check(self, names: Iterable[str], spans: Mapping[str, Range]) -> None:
        """These will be restored, with these values as black and white, by type of pixels."""
        ...

    def add(self, name: str, page: int, before: Tensor, after: Tensor) -> None:
        """One page of one of them was, (1,C,H,W)."""
        ...


class Reading:
    """Images on their way to a task: those that have been handed over wait for what is made of them.

    ``on_name`` is told the name of a batch's first image before the batch is handed over.
    """

    def __init__(self, inputs: Inputs, size: int, on_name: Callable[[str], None] = lambda name: None) -> None:
        self.inputs, self.size, self.on_name = inputs, size, on_name
        self.waiting: deque[tuple[Tensor, list[str]]] = deque()

    def images(self) -> Iterator[Tensor]:
        """The batches as the task reads them."""
        for x, names in self.inputs.batches(self.size):
            self.waiting.append((x, names))
            self.on_name(names[0])
            yield x


class Shown:
    """The first images before and after, with ``versions`` made of each; those of the first one's shape."""

    def __init__(self, versions: int = 1) -> None:
        self.versions, self.odd = versions, False
        self.parts: list[tuple[int, Tensor, Tensor]] = []

    def add(self, number: int, before: Tensor, after: Tensor) -> None:
        """A batch, of which the first has this number; what is beyond the picture's size is dropped."""
        from ..gallery import MOST_SHOWN

        most = max(1, min(MOST_SHOWN, _MOST_VALUES // before[0].numel()))
        if self.parts and self.parts[0][1].shape[1:] != before.shape[1:]:
            self.odd = True
        elif missing := most - sum(len(some) for _, some, _ in self.parts):
            self.parts.append((number, before[:missing], after[: missing * self.versions]))

    def save(self, path: Path) -> Path | None:
        """Write those of all processes, each of which has to call this, side by side; the first process does.

        Returns:
            the path, or None if there are none to write.
        """
        import torch

        from .. import distributed
        from ..gallery import pairs, save_picture
        from ..pixels import to_float

        parts = sorted(distributed.gather(self.parts), key=lambda part: part[0])
        odd = any(distributed.gather([self.odd])) or len({before.shape[1:] for _, before, _ in parts}) > 1
        if not parts or distributed.get_rank():
            return None
        alike = [part for part in parts if part[1].shape[1:] == parts[0][1].shape[1:]]
        before, after = torch.cat([to_float(x) for _, x, _ in alike]), torch.cat([made for _, _, made in alike])
        save_picture(pairs(before, after), path)
        if odd:
            say(f"note: {path} shows the images of the first one's size only")
        return path


def is_array(path: Path) -> bool:
    """Whether a path is named as arrays are."""
    from ..data.arrays import ARRAYS

    return path.suffix.lower() in ARRAYS


def destination(name: str, source: Path, out: Path | None) -> Path:
    """Where images made from ``source`` go: ``out``, or an array or folder of that name."""
    return out or Path(name + (".npy" if is_array(source) else ""))


def range_of(dae: Denoiser) -> Range | None:
    """The values that are black and white by the model's card, which is said; None where the card has none."""
    from ..sampling.plan import card_of

    span = card_of(dae).range
    if span:
        say(f"note: values from {span[0]:g} (black) to {span[1]:g} (white), as the model was trained")
    return span


def beside_of(out: Path) -> Path:
    """Where the picture of --compare goes."""
    if not out.name:
        raise InputError(f"`compare` writes a picture named after `out`, and {out} is no name: give a folder or a file")
    return out.with_name(f"{out.stem}-compare.png")


def guard(
    inputs: Inputs,
    source: Path,
    writer: Writer,
    maps: Sequence[Writer] = (),
    beside: Sequence[Path] = (),
    kinds: Sequence[str] = ("",),
    reads: Iterable[Path] = (),
) -> None:
    """Refuse to write over what is read, or among it, where a second run would read it.

    The ``writer`` has images of every name and of ``kinds``, the ``maps`` one of every name."""
    folder = source.resolve() if source.is_dir() else source.resolve().parent
    for one in (writer, *maps):
        if one.is_folder and one.out.resolve() == folder:
            raise InputError(f"{one.out} holds the input, which results could overwrite: choose another `out`")
    if not (inputs.as_bytes or writer.is_array or writer.has_pages or is_array(source)):
        say("note: pictures of more than 8 bits are written with 8 bits; for all of them name an .npy file with --out")
    written = chain(writer.paths(name + kind for name in inputs.names for kind in kinds), beside)
    files.check_apart([*inputs.files, *reads], chain(written, *(one.paths(inputs.names) for one in maps)))
