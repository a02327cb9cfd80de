"""A scorer from good pictures, and what they score themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from ..card import Pairs
from ..dae import DenoisingAutoencoder
from ..errors import InputError
from .excess import Excess
from .neighbours import Aligned, Neighbours, memory_stage
from .scores import Scorer, quantiles


def fit(
    dae: DenoisingAutoencoder, good: Sequence[Tensor], on_image: Callable[[], object] = lambda: None
) -> tuple[Scorer, Pairs]:
    """A scorer that compares with good pictures, and quantiles of their own scores.

    By neighbours where the network shows maps, aligned ones where all pictures are of one size; each good picture is
    scored without what the memory has of itself. Else by the excess.

    Args:
        dae: the model.
        good: good pictures that it was not trained on, float (C,H,W) each.
        on_image: called after each.

    Raises:
        InputError: there are too few good pictures, or the model gives no scores.
    """
    if not good:
        raise InputError("there are no good pictures to compare with: give some by `good`")
    scorer, scores = _scorer(dae, good), []
    for i, x in enumerate(good):
        maps = scorer(x[None]) if isinstance(scorer, Excess) else scorer(x[None], i)
        scores.append(scorer.score(maps).item())
        on_image()
    return scorer, quantiles(scores)


def _scorer(dae: DenoisingAutoencoder, good: Sequence[Tensor]) -> Excess | Aligned | Neighbours:
    if memory_stage(dae) is None:
        return Excess(dae)
    return Aligned(dae, good) if dae.shape[1] else Neighbours(dae, good)
