"""Maps of the error to expect, as people are shown them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .console import say_ends

if TYPE_CHECKING:
    from torch import Tensor

    from ..sampling.samplers import Denoiser

MAP = "-error"
"""Behind the names of pictures' maps."""


@dataclass
class ErrorMaps:
    """Maps of how far the posterior mean is expected to be off, for images whose level ``level`` tells."""

    dae: Denoiser
    level: Callable[[], float]
    largest: list[float] = field(default_factory=list)

    def of(self, x: Tensor) -> Tensor:
        """The maps of noisy images (B,C,H,W), which have the level told now."""
        from ..pixels import to_float
        from ..sampling.estimate import expected_error

        made = expected_error(self.dae, to_float(x), self.level())
        self.largest += made.amax((1, 2, 3)).tolist()
        return made

    def shown(self, x: Tensor) -> Tensor:
        """The same for a picture: white is the largest value in each map."""
        made = self.of(x)
        return made / made.amax((1, 2, 3), keepdim=True).clamp(min=1e-6)

    def report(self) -> None:
        """Say what white is; to be called by all processes."""
        say_ends("largest error expected in a map, which is white in pictures:", self.largest)
