"""What a person sees while they wait: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

SECONDS_BETWEEN_LINES = 30.0


class Bar:
    """Progress towards ``total`` units of work; a context manager.

    Args:
        console: where to show it; nothing is shown on a quiet one.
        what: what is being done.
        total: units in all.
        unit: name of a unit of the rate.
        per_step: how many of those units a step is.
        done: steps already done.
    """

    def __init__(
        self, console: Console, what: str, total: int, unit: str = "steps", per_step: float = 1, done: int = 0
    ) -> None:
        self.console, self.what, self.total, self.unit, self.per_step = console, what, total, unit, per_step
        self.first = self.done = done
        self.began = self.printed = time.monotonic()
        self.rich = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal or console.quiet,
            transient=True,
        )
        self.task = self.rich.add_task(what, total=total, completed=done, note="")

    def __enter__(self) -> Bar:
        self.rich.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.rich.stop()

    def advance(self, count: int = 1) -> None:
        """So many steps more are done."""
        self.done += count
        rate = f"{self.rate():.0f} {self.unit}/s"
        self.rich.update(self.task, total=self.total, completed=self.done, note=rate)
        now = time.monotonic()
        if self.rich.disable and now - self.printed > SECONDS_BETWEEN_LINES:
            self.printed = now
            self.console.print(f"{self.what} {self.done}/{self.total}, {rate}, {duration(self.left())} left")

    def rate(self) -> float:
        """Units per second so far."""
        return (self.done - self.first) * self.per_step / max(time.monotonic() - self.began, 1e-9)

    def left(self) -> float:
        """Seconds left at this rate."""
        return (self.total - self.done) * self.per_step / max(self.rate(), 1e-9)


def show_skipped(console: Console, skipped: Sequence[str], most: int = 20) -> None:
    """Count and list the files that could not be read."""
    if skipped:
        console.print(f"skipped {len(skipped)} files that cannot be read:")
        for reason in [*skipped[:most], *(["..."] if len(skipped) > most else [])]:
            console.print(f"  {reason}", markup=False)


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(5), duration(600), duration(9000)
    ('5 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
