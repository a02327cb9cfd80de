"""Several restorations of each picture: their names, their mean, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .console import say_ends

if TYPE_CHECKING:
    from torch import Tensor

MEAN, DIFFER = "-mean", "-differ"
"""Behind the names of the mean of several restorations, and of the map of where they differ."""


@dataclass
class Versions:
    """What is written of each picture: ``count`` restorations and, if ``maps`` is set, their mean and a map."""

    count: int = 1
    maps: bool = False
    largest: list[float] = field(default_factory=list)

    def kinds(self, alone: bool = False) -> list[str]:
        """What is put behind a name, for each that is written; ``alone`` leaves mean and map out."""
        if self.count == 1:
            return [""]
        return [*(f"-{i + 1}" for i in range(self.count)), *([MEAN, DIFFER] if self.maps and not alone else [])]

    def of(self, made: Tensor, raw: bool = False) -> dict[str, Tensor]:
        """Of restorations (B * count,C,H,W) what is written, (B,C,H,W) each.

        White in a map is its largest value, to be told by :meth:`report`; ``raw`` maps hold the deviations themselves.
        """
        each = made.unflatten(0, (-1, self.count))
        found = list(each.unbind(1))
        if self.count > 1 and self.maps:
            differ = each.std(1)
            if not raw:
                most = differ.amax((1, 2, 3), keepdim=True)
                self.largest += most.flatten().tolist()
                differ = differ / most.clamp(min=1e-6)
            found += [each.mean(1), differ]
        return dict(zip(self.kinds(), found, strict=True))

    def report(self) -> None:
        """Say what white is; to be called by all processes."""
        say_ends("white in the maps of where they differ: a standard deviation of", self.largest)
