"""Measurements made from clean pictures, and how near to these they are restored."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .console import say

if TYPE_CHECKING:
    from torch import Tensor

    from ..sampling.linear import Operator


@dataclass
class Simulation:
    """An operator and noise that clean pictures go through, ``samples`` restorations being made of each."""

    operator: Operator
    noise: float
    samples: int
    seed: int
    waiting: deque[tuple[Tensor, Tensor]] = field(default_factory=deque)
    single: list[float] = field(default_factory=list)
    of_means: list[float] = field(default_factory=list)

    def measured(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        """Measurements of clean images, which are cut to what the operator can take."""
        from ..pixels import to_float
        from ..sampling.tasks import measure

        done, cut = 0, False
        for x in batches:
            height, width = (side // self.operator.factor * self.operator.factor for side in x.shape[2:])
            cut = cut or (height, width) != tuple(x.shape[2:])
            x = to_float(x[:, :, :height, :width])
            self.waiting.append((x, measure(self.operator, x, self.noise, self.seed, done)))
            done += len(x)
            yield self.waiting[-1][1]
        if cut:
            say(f"note: pictures were cut to sides that {self.operator.factor} divides")

    def judge(self, made: Tensor) -> None:
        """Keep how near the restorations of the next measurements are, and these as :attr:`judged`."""
        from ..evaluation.fidelity import psnr

        x, self.judged = self.waiting.popleft()
        self.single += psnr(made, x.repeat_interleave(self.samples, 0)).tolist()
        self.of_means += psnr(made.unflatten(0, (-1, self.samples)).mean(1), x).tolist()

    def report(self) -> None:
        """Say it, if this process has any."""
        if not self.single:
            return
        mean = f", of their means {_mean(self.of_means):.2f} dB" if self.samples > 1 else ""
        say(f"PSNR of the restorations {_mean(self.single):.2f} dB{mean}")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
