"""What commands that restore pictures have in common: read, apply, write, and what is told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .console import Bar, counted, listed, say, say_notes
from .error_maps import MAP, ErrorMaps
from .flow import Apply, Now, Places, Reading, Shown, Watcher, beside_of, destination, guard, is_array, range_of
from .generate import Watched
from .loading import say_kinds
from .versions import Versions

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.whole import Done, Page
    from ..sampling.plan import Plan
    from ..sampling.samplers import Denoiser, State


@dataclass
class Job:
    """Pictures to restore.

    Attributes:
        name: what is done to them, as in "denoised".
        dae, plan, apply: how.
        source, places: where they are, and where results go.
        batch: images computed together.
        pair: the models for grey and for colour that the name of the model stands for, if it does for two.
        resize, large: bring pictures to the size of the model; allow more pixels than Pillow's limit.
        watcher: told of the names, and of each page before and after.
        errors: maps that are written beside the pictures.
        versions: what is written of each picture.
        as_shown: what ``--compare`` shows of a batch beside what was made of it.
        beyond: how far pixels may leave [0,1]; None as far as the corruption carries them.
        any_size: whether pictures may have another size than the model's, as small ones do that are to be enlarged.
        whole: whether picture files stay as they were but for their pixels, where model and places allow it.
        reads: other files that are read.
    """

    name: str
    dae: Denoiser
    plan: Plan
    apply: Apply
    source: Path
    places: Places
    batch: int | None
    pair: tuple[str, str] | None
    resize: bool = False
    large: bool = False
    watcher: Watcher | None = None
    errors: ErrorMaps | None = None
    versions: Versions = field(default_factory=Versions)
    as_shown: Callable[[Tensor, Tensor], Tensor] = lambda before, made: before
    beyond: float | None = None
    any_size: bool = False
    whole: bool = True
    reads: tuple[Path, ...] = ()
    bar: Bar | None = None

    def __post_init__(self) -> None:
        from .. import distributed

        self.out = destination(self.name, self.source, self.places.out)
        self.beside = beside_of(self.out) if self.places.compare else None
        self.also = [path for path in (self.beside, self.places.trajectory) if path]
        self.span = range_of(self.dae)
        self.kinds = Counter[int]()  # how many results had so many channels
        self.film, self.shown = None if distributed.get_rank() else self.places.film(), Shown(self.versions.count)
        self.whole = self.whole and not (self.dae.shape[1] or is_array(self.source) or is_array(self.out))

    def run(self) -> None:
        """Restore all, and say what was done."""
        from .. import distributed

        if not self.whole and self.places.resume:
            raise InputError("`resume` is for picture files and a model of any size: leave it out, and begin anew")
        if self.resize and not self.dae.shape[1]:
            raise InputError("`resize` is for a model of one size; this one takes any, so leave it out")
        if self.whole:
            count, notes, skipped = self._files()
        else:  # images in batches are the first process's
            count, notes, skipped = (0, [], []) if distributed.get_rank() else self._images()
        say_notes(dict.fromkeys(notes), skipped)
        beside = self.shown.save(self.beside) if self.beside else None
        plan = self.plan if self.plan.level is None else f"{self.plan} from level {self.plan.level:g}"
        done = f"{counted(count, 'image')} by {plan}, {counted(self.plan.steps, 'step')}"
        film = self.places.trajectory if not self.film or self.film.saved else None
        say(f"wrote {listed(self.out, beside, film)}: {done}")
        if self.pair:
            say_kinds(self.kinds, *self.pair)

    def _files(self) -> tuple[int, list[str], list[str]]:
        """Picture files of any size, each as it was but for its pixels; how many pages, notes, what was skipped."""
        from .. import distributed
        from ..data.whole import open_files

        todo = open_files(self.source, self.out, strict=self.places.strict, large=self.large, span=self.span)
        kinds = [*self.versions.kinds(), *([MAP] if self.errors else [])]
        todo.check_apart(self.also, kinds, self.reads)
        if self.watcher:
            self.watcher.check(map(todo.name_of, todo.found), todo.spans)
        done: list[Done] = []
        with Bar("restoring", len(todo.found), "pictures") as self.bar:
            for one in todo.restore(self._page, kinds, self.places.resume):
                done.append(one)
                self.bar.reach(min(len(todo.found), len(done) * distributed.get_world_size()), len(todo.found))
        self.kinds = sum(distributed.gather([self.kinds]), Counter[int]())
        return _summed(distributed.gather(done), todo.notes)

    def _page(self, page: Page) -> dict[str, Tensor]:
        film = self.film if self.film and not self.film.saved and page.x.shape[1] in (1, 3) else None
        self.pages = page.count

        def watch(state: State) -> None:
            if film:
                film.add(self.dae.corruption.preview(state.x, state.level))

        now = Now(page.name, *page.span)
        made = next(self.apply(iter([page.x]), now, first=page.number, on_step=watch))
        if film:
            film.save(made)
        self._seen([page.name], page.number, page.index, page.x, made)
        return self.versions.of(made) | ({MAP: self.errors.shown(page.x)} if self.errors else {})

    def on_tile(self, tiles: int) -> None:
        """A tile of a large picture is done, of so many."""
        if self.bar:
            self.bar.advance(1 / (tiles * self.plan.steps * self.pages))

    def _seen(self, names: list[str], number: int, index: int, before: Tensor, made: Tensor) -> None:
        self.kinds[made.shape[1]] += len(before)
        if self.beside and made.shape[1] in (1, 3):  # grey or in colour
            self.shown.add(number, self.as_shown(before, made), made)
        if self.watcher:
            for name, x, y in zip(names, before, made, strict=True):
                self.watcher.add(name, index, x[None], y[None])

    def _images(self) -> tuple[int, list[str], list[str]]:
        """Images in batches, into a folder, a grid or an array; how many, notes, what was skipped."""
        import torch

        from ..data.inputs import open_inputs
        from ..gallery import Writer
        from ..pixels import to_float
        from ..sampling.tasks import batch_size

        dae, places, several = self.dae, self.places, self.versions.count
        fixed = dae.shape if dae.shape[1] else None  # pictures of any size keep theirs
        most = self.plan.level or dae.corruption.high  # an estimated level may be any of the model's
        reach = dae.corruption.overshoot(most) if self.beyond is None else self.beyond
        options: dict[str, Any] = {"beyond": reach, "span": self.span, "over": places.over, "strict": places.strict}
        options |= {"fit": "crop" if self.resize else None, "without": [self.out]}
        inputs = open_inputs(self.source, None if self.any_size else fixed, **options)
        kinds = self.versions.kinds(alone=is_array(self.out))
        writer = Writer(self.out, inputs.count * len(kinds))
        beside = [*(kind for kind in self.versions.kinds() if kind not in kinds), *([MAP] if self.errors else [])]
        maps = {kind: Writer(self.out.with_stem(self.out.stem + kind), inputs.count) for kind in beside}
        guard(inputs, self.source, writer, list(maps.values()), self.also, kinds, self.reads)
        if self.watcher:
            self.watcher.check(inputs.names, inputs.spans)
        now = Now("", *inputs.span)
        watched = Watched(dae, self.plan, inputs.count * several, self.batch, self.film)
        with writer, ExitStack() as opened, watched:
            for one in maps.values():
                opened.enter_context(one)
            size = self.batch or (batch_size(fixed) if fixed else 1)
            reading = Reading(inputs, max(1, size // several), now.is_at)
            for made in self.apply(reading.images(), now, on_step=watched.step):
                before, names = reading.waiting.popleft()
                versions = self.versions.of(made, writer.is_array)
                if self.errors:
                    versions[MAP] = self.errors.of(before) if writer.is_array else self.errors.shown(before)
                together = torch.stack([versions[kind] for kind in kinds], 1).flatten(0, 1)
                writer.add(together, [name + kind for name in names for kind in kinds])
                for kind, one in maps.items():
                    one.add(versions[kind], names)
                if self.film and not self.film.saved:
                    self.film.save(made)
                self._seen(names, writer.done, 0, to_float(before), made)
        return writer.done // len(kinds), inputs.notes, inputs.skipped


def _summed(everyone: list[Done], notes: list[str]) -> tuple[int, list[str], list[str]]:
    """How many pictures all processes restored, what is to be said, and what was skipped."""
    skipped = [one.skipped for one in everyone if one.skipped]
    if len(skipped) == len(everyone):
        raise InputError(f"none of the {len(everyone)} pictures could be restored; the first: {skipped[0]}")
    left = sum(one.left for one in everyone)
    notes = [*notes, *([f"{counted(left, 'picture')} restored before, left as they are"] if left else [])]
    return len(everyone) - len(skipped) - left, [*notes, *(note for one in everyone for note in one.notes)], skipped
