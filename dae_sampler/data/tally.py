"""What happened to many pictures as they were read, counted, and said in one sentence for each kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Tally:
    """Counts over the pictures read; made of what JSON can hold."""

    kept: int = 0
    """Pictures that could be read."""
    colour: int = 0
    """Of those, how many had colour."""
    changes: dict[str, int] = field(default_factory=dict)
    """How many pictures each change was made to."""
    remarks: dict[str, list] = field(default_factory=dict)
    """The first sentence of each kind, and how many pictures it holds for."""
    skipped: list[str] = field(default_factory=list)
    """A sentence for each file that could not be read."""
    gone: list[int] = field(default_factory=list)
    """The places of these files among all."""

    def skip(self, place: int, why: str) -> None:
        """A file that could not be read."""
        self.skipped.append(why)
        self.gone.append(place)

    def left(self, files: Sequence[Path]) -> list[Path]:
        """Those of all ``files`` that could be read."""
        gone = set(self.gone)
        return [file for i, file in enumerate(files) if i not in gone]

    def add(self, colour: bool, changes: Iterable[str], remarks: dict[str, str]) -> None:
        """One picture more; ``remarks`` has a sentence by kind."""
        self.kept += 1
        self.colour += colour
        for change in changes:
            self.changes[change] = self.changes.get(change, 0) + 1
        for kind, sentence in remarks.items():
            self.remarks.setdefault(kind, [sentence, 0])[1] += 1

    def notes(self, channels: int | None = None) -> list[str]:
        """A sentence for each kind of change and remark, where all pictures were given ``channels`` channels."""
        changes = dict(self.changes)
        if channels == 1:
            changes["made grey"] = self.colour
        elif channels == 3:
            changes["made RGB"] = self.kept - self.colour
        counts = [(what, count) for what, count in changes.items() if count]
        said = [f"{n} of {self.kept} pictures {'was' if n == 1 else 'were'} {what}" for what, n in counts]
        for sentence, count in self.remarks.values():
            said.append(sentence if count == 1 else f"{sentence} (as for {count - 1} more)")
        return said
