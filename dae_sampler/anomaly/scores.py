"""From a map to a score, and from the scores of good pictures to a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from ..card import Pairs
from ..errors import InputError

WINDOW = 5
WORST = 0.003
MARGIN, WIDEST = 8, 16
"""At the border of a picture, an eighth of its shorter side but at most ``WIDEST`` pixels, does not count: there the
network sees one side only, and pictures of things end."""
QUANTILES = 100
"""Most scores of good pictures that a card keeps."""


class Scorer(Protocol):
    """Images (B,C,H,W), float in [0,1] -> maps (B,H,W), 0 or above: higher where less was expected."""

    def __call__(self, x: Tensor) -> Tensor: ...

    def score(self, maps: Tensor) -> Tensor:
        """One number a map, (B,H,W) -> (B,)."""
        ...


def worst(maps: Tensor) -> Tensor:
    """The mean of the worst places of each map, (B,H,W) -> (B,)."""
    height, width = maps.shape[1:]
    margin = min(WIDEST, min(height, width) // MARGIN)
    flat = maps[:, margin : height - margin, margin : width - margin].flatten(1)
    count = max(WINDOW**2, math.ceil(WORST * flat.shape[1]))
    return flat.topk(min(count, flat.shape[1])).values.mean(1)


def quantiles(scores: Sequence[float]) -> Pairs:
    """(share, score) such that a new good picture stays at or below the score with at least that probability."""
    ordered, n = sorted(scores), len(scores)
    kept = range(n) if n <= QUANTILES else sorted({round(i * (n - 1) / (QUANTILES - 1)) for i in range(QUANTILES)})
    return tuple(((i + 1) / (n + 1), ordered[i]) for i in kept)


def threshold(known: Pairs, false_alarms: float) -> float:
    """The score that at most a share ``false_alarms`` of good pictures exceeds, from :func:`quantiles`.

    Raises:
        InputError: the rate is not between 0 and 1, or there were too few good pictures for it.
    """
    if not 0 < false_alarms < 1:
        raise InputError(f"`false_alarms` is a share between 0 and 1, got {false_alarms:g}")
    fitting = [value for share, value in known if share >= 1 - false_alarms - 1e-9]
    if not fitting:
        least, n = math.ceil(1 / false_alarms) - 1, round(1 / (1 - known[-1][0])) - 1
        cure = f"give {least} or more by `good`, or a higher rate"
        raise InputError(f"{n} good pictures are too few for `false_alarms` {false_alarms:g}: {cure}")
    return min(fitting)
