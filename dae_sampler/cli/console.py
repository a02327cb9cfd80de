"""What a person sees: lines, and, while they wait, a bar with rate and time left on a terminal."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from .. import hub

SECONDS_BETWEEN_LINES = 30.0

console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
"""Where people are told things; quiet if they asked for that."""


class Bar:
    """Progress towards ``total`` units of work; a context manager.

    Args:
        what: what is being done.
        total: units in all.
        unit: name of a unit of the rate.
        per_step: how many of those units a step is.
        done: steps already done.
    """

    def __init__(self, what: str, total: int, unit: str = "steps", per_step: float = 1, done: int = 0) -> None:
        self.what, self.total, self.unit, self.per_step = what, total, unit, per_step
        self.first: float = done
        self.done: float = done
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

    def advance(self, count: float = 1) -> None:
        """So many steps more are done, as far as can be told: never more than all."""
        self.done = min(self.done + count, self.total)
        rate = f"{self.rate():.{0 if self.rate() >= 1 else 2}f} {self.unit}/s"
        self.rich.update(self.task, total=self.total, completed=self.done, note=rate)
        now = time.monotonic()
        if self.rich.disable and now - self.printed > SECONDS_BETWEEN_LINES:
            self.printed = now
            say(f"{self.what} {int(self.done)}/{self.total}, {rate}, {duration(self.left())} left")

    def reach(self, done: float, total: int) -> None:
        """So many steps of so many are done."""
        self.total = total
        self.advance(done - self.done)

    def rate(self) -> float:
        """Units per second so far."""
        return (self.done - self.first) * self.per_step / max(time.monotonic() - self.began, 1e-9)

    def left(self) -> float:
        """Seconds left at this rate."""
        return (self.total - self.done) * self.per_step / max(self.rate(), 1e-9)


def say(text: str) -> None:
    """A line for people; what a terminal could take for a command, as on a card of somebody's, is spelled out."""
    console.print(re.sub(r"[^\n\t]", lambda m: m[0] if m[0].isprintable() else ascii(m[0])[1:-1], text))


def say_which(model: str) -> None:
    """Which model a name stands for, where no picture decides between two."""
    if pair := hub.pair_of(model):
        say(f"{model} is {pair[1]} here")


def say_next(*words: object) -> None:
    """A command to go on with, ready to paste."""
    say(f"next: {shlex.join(map(str, words))}")


def say_notes(notes: Iterable[str], skipped: Sequence[str] = (), most: int = 20) -> None:
    """What was changed, guessed or left out, and which files could not be read."""
    for note in notes:
        say(f"note: {note}")
    if skipped:
        say(f"skipped {counted(len(skipped), 'file')}:")
        for reason in [*skipped[:most], *(["..."] if len(skipped) > most else [])]:
            say(f"  {reason}")


def say_ends(what: str, values: list[float]) -> None:
    """The least and the greatest of the values of all processes, each of which has to call this."""
    from .. import distributed

    if everyone := distributed.gather(values):
        ends = sorted({f"{most:.3g}" for most in (min(everyone), max(everyone))}, key=float)
        say(f"{what} {' to '.join(ends)}")


def print_json(value: Any) -> None:
    """JSON for other programs; what is not a finite number is null."""
    try:
        print(json.dumps(_finite(value), indent=2, allow_nan=False), flush=True)
    except BrokenPipeError:
        go_on_unheard()


def go_on_unheard(self: Console = console) -> None:
    """The reader, head for example, has seen enough: a training goes on, and nothing more is printed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(some) for key, some in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(some) for some in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def counted(n: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "image"), counted(2, "image")
    ('1 image', '2 images')
    """
    return f"{n} {noun}{'' if n == 1 else 's'}"


def listed(*paths: Path | None) -> str:
    """The paths that were written, as a list."""
    return " and ".join(shlex.quote(str(path)) for path in paths if path)


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(5), duration(600), duration(9000)
    ('5 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
