"""What commands that restore pictures have in common: read, apply, write, and what is told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .console import Bar, counted, listed, say, say_notes
from .flow import Places, Reading, Shown, beside_of, destination, guard, is_array, range_of
from .generate import Watched

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.whole import Done, Page
    from ..sampling.plan import Plan
    from ..sampling.samplers import Denoiser, State


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
        white: how far white is from black in the values of the file.
    """

    name: str = ""
    white: float = 1.0

    def is_at(self, name: str) -> None:
        """The next batch begins."""
        self.name = name


class Watcher(Protocol):
    """Looks on as pictures are restored."""

    def check(self, names: Iterable[str]) -> None:
        """These will be restored."""
        ...

    def add(self, name: str, page: int, before: Tensor, after: Tensor) -> None:
        """One page of one of them was, (1,C,H,W)."""
        ...


@dataclass
class Job:
    """Pictures to restore.

    Attributes:
        name: what is done to them, as in "denoised".
        dae, plan, apply: how.
        source, places: where they are, and where results go.
        batch: images computed together.
        resize: bring pictures to the size of the model.
        large: allow pictures of more pixels than Pillow's limit.
        watcher: told of the names, and of each page before and after.
        kinds: how many pictures had so many channels.
    """

    name: str
    dae: Denoiser
    plan: Plan
    apply: Apply
    source: Path
    places: Places
    batch: int | None
    resize: bool = False
    large: bool = False
    watcher: Watcher | None = None
    kinds: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.out = destination(self.name, self.source, self.places.out)
        self.beside = beside_of(self.out) if self.places.compare else None
        self.span = range_of(self.dae)
        self.film, self.shown = self.places.film(), Shown()
        self.whole = not (self.dae.shape[1] or is_array(self.source) or is_array(self.out))

    def run(self) -> None:
        """Restore all, and say what was done."""
        from .. import distributed

        if not self.whole and distributed.get_rank():
            return  # images in batches are the first process's
        count, notes, skipped = self._files() if self.whole else self._images()
        say_notes(dict.fromkeys(notes), skipped)
        if self.beside and self.shown.parts:
            self.shown.save(self.beside)
        start = "" if self.plan.level is None else f" from level {self.plan.level:g}"
        done = f"{counted(count, 'image')} by {self.plan}{start}, {counted(self.plan.steps, 'step')}"
        say(f"wrote {listed(self.out, self.beside, self.places.trajectory)}: {done}")

    @property
    def also(self) -> list[Path]:
        """What is written beside the results."""
        return [path for path in (self.beside, self.places.trajectory) if path]

    def _files(self) -> tuple[int, list[str], list[str]]:
        """Picture files of any size, each as it was but for its pixels; how many pages, notes, what was skipped."""
        from .. import distributed
        from ..data.whole import open_files

        todo = open_files(self.source, self.out, strict=self.places.strict, large=self.large, span=self.span)
        todo.check_apart(self.also)
        if self.watcher:
            self.watcher.check(map(todo.name_of, todo.found))
        done: list[Done] = []
        with Bar("restoring", len(todo.found), "pictures") as bar:
            self.bar = bar
            for one in todo.restore(self._page):
                done.append(one)
                bar.reach(min(len(todo.found), len(done) * distributed.get_world_size()), len(todo.found))
        everyone: list[Done] = distributed.gather(done)
        self.kinds = sum(distributed.gather([self.kinds]), Counter[int]())
        notes = [*todo.notes, *(note for one in everyone for note in one.notes)]
        skipped = [one.skipped for one in everyone if one.skipped]
        return len(everyone) - len(skipped), notes, skipped

    def _page(self, page: Page) -> Tensor:
        film = self.film if self.film and not self.film.saved else None
        self.pages = page.count

        def watch(state: State) -> None:
            if film:
                film.add(self.dae.corruption.preview(state.x, state.level))

        now = Now(page.name, page.span[1] - page.span[0])
        made = next(self.apply(iter([page.x]), now, first=page.number, on_step=watch))
        if film:
            film.save(made)
        self._seen(page.name, page.index, page.x, made)
        return made

    def on_tile(self, tiles: int) -> None:
        """A tile of a large picture is done, of so many."""
        self.bar.advance(1 / (tiles * self.plan.steps * self.pages))

    def _seen(self, name: str, index: int, before: Tensor, after: Tensor) -> None:
        self.kinds[before.shape[1]] += len(before)
        self.shown.add(before, after)
        if self.watcher:
            self.watcher.add(name, index, before, after)

    def _images(self) -> tuple[int, list[str], list[str]]:
        """Images in batches, into a folder, a grid or an array; how many, notes, what was skipped."""
        from ..data.inputs import open_inputs
        from ..gallery import Writer
        from ..pixels import to_float
        from ..sampling.tasks import batch_size

        dae, places = self.dae, self.places
        most = self.plan.level or dae.corruption.high  # an estimated level may be any of the model's
        shape = dae.shape if dae.shape[1] else None  # pictures of any size keep theirs
        reach = dae.corruption.overshoot(most)
        options = {"fit": "crop" if self.resize else None, "over": places.over, "strict": places.strict}
        inputs = open_inputs(self.source, shape, beyond=reach, span=self.span, without=[self.out], **options)
        writer = Writer(self.out, inputs.count)
        guard(inputs, self.source, writer, *self.also)
        if self.watcher:
            self.watcher.check(inputs.names)
        now = Now(white=inputs.span[1] - inputs.span[0])
        with writer, Watched(dae, self.plan, inputs.count, self.batch, self.film) as watched:
            reading = Reading(inputs, self.batch or (batch_size(shape) if shape else 1), now.is_at)
            for made in self.apply(reading.images(), now, on_step=watched.step):
                before, names = reading.waiting.popleft()
                writer.add(made, names)
                if self.film and not self.film.saved:
                    self.film.save(made)
                for name, x, y in zip(names, to_float(before), made, strict=True):
                    self._seen(name, 0, x[None], y[None])
        return writer.done, inputs.notes, inputs.skipped
