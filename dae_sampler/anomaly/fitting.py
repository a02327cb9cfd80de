"""A scorer from good pictures, and what they score themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from ..card import Pairs
from ..dae import DenoisingAutoencoder
from ..errors import InputError
from .excess import Excess
from .neighbours import Neighbours, memory_stage
from .scores import Scorer, quantiles, score


def fit(
    dae: DenoisingAutoencoder, good: Sequence[Tensor], on_image: Callable[[], object] = lambda: None
) -> tuple[Scorer, Pairs]:
    """A scorer that compares with good pictures, and quantiles of their own scores.

    By their neighbours where the network shows maps, each good picture without what the memory has of itself; else by
    their excess.

    Args:
        dae: the model.
        good: good pictures that it was not trained on, float (C,H,W) each.
        on_image: called after each.

    Raises:
        InputError: there are too few good pictures, or the model gives no scores.
    """
    if not good:
        raise InputError("there are no good pictures to compare with: give some by `good`")
    maps = memory_stage(dae) is not None
    scorer = Neighbours(dae, good) if maps else Excess(dae)
    scores = []
    for i, x in enumerate(good):
        scores.append(score(scorer(x[None], i) if isinstance(scorer, Neighbours) else scorer(x[None])).item())
        on_image()
    return scorer, quantiles(scores)
