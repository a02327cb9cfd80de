"""Features: what a network makes of an image on the way to its reconstruction.

Who is to restore an image has to know what is in it, so a denoising autoencoder learns features without labels (Vincent
et al. 2008). A network with a bottleneck has its code. A U-Net has none; of its inner activations those of the middle
stages, at a low to moderate level, tell most (Baranchuk et al. 2022; Xiang et al. 2023). The image is given undamaged,
so its features are the same each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .card import CODE, MAX_POOL
from .errors import InputError, unknown
from .nets import inner_of, stages_of
from .pixels import to_float
from .tiles import Tiled

if TYPE_CHECKING:
    from .dae import DenoisingAutoencoder


@dataclass(frozen=True)
class Encoding:
    """Which features of a network are taken, and how.

    Attributes:
        stage: where in the network: one of its ``stages``.
        level: that the network is told; None where it is told none.
        pool: maps are averaged over so many parts of the height and of the width; 0 leaves them as they are.
    """

    stage: str
    level: float | None
    pool: int = 1

    def __str__(self) -> str:
        level = "" if self.level is None else f" at level {self.level:g}"
        pooled = f", pooled to {self.pool}x{self.pool}" if self.pool else ", maps"
        return f"stage {self.stage}{level}{'' if self.stage == CODE else pooled}"


def resolve(
    dae: DenoisingAutoencoder, level: float | None = None, stage: str | None = None, pool: int | None = None
) -> Encoding:
    """What was asked for, completed by the model's card and then by what probes best (docs/how-to/features.md).

    Raises:
        InputError: the network has no such stage or shows none, or the level or the pool is out of its range.
    """
    stages, q = stages_of(dae.net), dae.corruption
    if not stages:
        raise InputError(f"{dae.card.net} shows none of its inner activations: give it `stages` and a method inner")
    plan = dae.card.plans.get("encode") or usual(dae)
    found = Encoding(
        plan["stage"] if stage is None else stage,
        plan.get("level") if level is None else level,
        plan["pool"] if pool is None else pool,
    )
    if level is not None and not q.told:
        raise InputError(f"the network is not told the level under {q}: leave out `level`")
    if found.stage not in stages:
        raise unknown("stage", found.stage, stages)
    if found.level is not None and not q.low <= found.level <= q.high:
        raise InputError(f"level {found.level:g} is outside what the model was trained for, {q}: choose one inside")
    if type(found.pool) is not int or not 0 <= found.pool <= MAX_POOL:
        raise InputError(f"`pool` is a whole number from 0 (maps) to {MAX_POOL}, got {found.pool}")
    return found


def usual(dae: DenoisingAutoencoder) -> dict[str, Any]:
    """The plan to ``encode`` of a card, from what probed best: the code, or the coarsest stage on the way back.

    Images of one size keep where things are, in a grid of 4x4; those of any size are not aligned.
    """
    stages = stages_of(dae.net)
    level = dae.corruption.usual_level if dae.corruption.told else None
    return {"stage": stages[len(stages) // 2], "level": level, "pool": 4 if dae.shape[1] else 1}


class Encoder(nn.Module):
    """Images (B,C,H,W) in [0,1], floats or uint8 -> features, float32 (B,F), or maps (B,F,H',W') where ``pool`` is 0.

    A plain module: it goes into any loop, and gradients reach the weights of ``dae`` that lead to the stage. Large
    pictures of a model of any size are computed in tiles.

    Args:
        dae: the model; shared, not copied. :meth:`.DenoisingAutoencoder.encoder` gives one of its own.
        encoding: which features, of :func:`resolve`.
    """

    def __init__(self, dae: DenoisingAutoencoder, encoding: Encoding) -> None:
        super().__init__()
        self.dae, self.encoding = dae, encoding
        self.index = stages_of(dae.net).index(encoding.stage)

    def forward(self, x: Tensor | np.ndarray) -> Tensor:
        x = to_float(torch.as_tensor(x, device=self.dae.device))
        whole = self.dae.shape[1] or self.encoding.stage == CODE
        h = self._run(x) if whole else Tiled(self.dae).each(self._run, x)
        return F.adaptive_avg_pool2d(h, self.encoding.pool).flatten(1) if h.ndim > 2 and self.encoding.pool else h

    def _run(self, x: Tensor) -> Tensor:
        return self.dae._run(self._inner, self.dae.corruption.intact(x), self.encoding.level)

    def _inner(self, x_in: Tensor, c: Tensor | None) -> Tensor:
        return next(islice(inner_of(self.dae.net)(x_in, c), self.index, None))  # what comes later is not computed
