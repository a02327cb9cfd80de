"""How near restored pictures are to clean ones, as people are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .console import say

if TYPE_CHECKING:
    from torch import Tensor

    from ..pixels import Range


class Compared:
    """How near pictures are to their clean versions, before and after."""

    def __init__(self, truth: Path, large: bool) -> None:
        from ..data.truth import Truth
        from ..evaluation.fidelity import has_ssim

        self.truth, self.with_ssim = Truth(truth, large), has_ssim()
        self.rows: list[tuple[str, list[float]]] = []

    def check(self, names: Iterable[str], spans: Mapping[str, Range]) -> None:
        """All have a clean version, whose black and white are theirs."""
        self.truth.check(names, spans)

    def add(self, name: str, page: int, before: Tensor, after: Tensor) -> None:
        """One page (1,C,H,W)."""
        from ..evaluation.fidelity import psnr, ssim

        clean = self.truth.of(name, page, after.shape)
        values = [measure(x, clean).item() for measure in (psnr, ssim)[: 1 + self.with_ssim] for x in (before, after)]
        self.rows.append((f"{name} page {page + 1}" if page else name, values))

    def say(self) -> None:
        """A line for each, and the mean."""
        from .. import distributed

        rows = sorted(distributed.gather(self.rows))
        mean = [sum(values) / len(rows) for values in zip(*(values for _, values in rows), strict=True)]
        for name, values in [*rows, *([(f"mean of {len(rows)}", mean)] if len(rows) > 1 else [])]:
            line = "{}: PSNR {:.2f} dB before, {:.2f} dB after" + "; SSIM {:.4f}, {:.4f}" * self.with_ssim
            say(line.format(name, *values))
        if not self.with_ssim:
            say("note: SSIM needs torchmetrics: pip install 'dae-sampler[evaluate]'")
