"""How far features lie from those of good pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..card import CODE
from ..dae import DenoisingAutoencoder
from ..encoder import Encoder, resolve
from ..errors import InputError
from ..nets import stages_of
from ..pixels import to_float
from .excess import check
from .scores import worst

MEMORY, K = 10_000, 3
ALIGNED = 2**26
"""Most numbers of whole maps in the memory."""
BATCH = 64


class Neighbours:
    """The second score, by the features of a place; see the package.

    Args:
        dae: the model.
        good: good pictures, (C,H,W) each, of any size where the model takes any; the network shows maps.

    Raises:
        InputError: there are less than 2.
    """

    def __init__(self, dae: DenoisingAutoencoder, good: Sequence[Tensor]) -> None:
        self.encoder = _encoder(dae, good)
        draw, count, sums = torch.Generator().manual_seed(0), 0, torch.zeros(2, 1, dtype=torch.float64)
        kept = Tensor(), Tensor(), Tensor()  # features, their pictures, and random numbers, of which the least stay
        for i, x in enumerate(good):
            f = self._features(x[None])[0].flatten(1).T
            count, sums = count + len(f), sums + torch.stack([f.double().sum(0), f.double().square().sum(0)])
            new = f, torch.full((len(f),), i), torch.rand(len(f), generator=draw)
            *both, order = (torch.cat(pair) for pair in zip(kept, new, strict=True))
            order, best = order.topk(min(MEMORY, len(order)), largest=False)
            kept = both[0][best], both[1][best], order
        variance = (sums[1] - sums[0].square() / count) / (count - 1)
        self.scale = variance.clamp(min=1e-12).sqrt().float()
        self.memory, self.owner = kept[0] / self.scale, kept[1]

    score = staticmethod(worst)

    def _features(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(_maps(self.encoder, x), 3, 1, 1, count_include_pad=False)

    def __call__(self, x: Tensor, without: int | None = None) -> Tensor:
        """Maps of ``x``; ``without`` leaves out what the memory has of one of the good pictures."""
        memory = self.memory if without is None else self.memory[self.owner != without]
        f = self._features(x)
        points = f.permute(0, 2, 3, 1).flatten(0, 2) / self.scale
        k = min(K, len(memory))
        nearest = [torch.cdist(p, memory).topk(k, largest=False).values.mean(1) for p in points.split(2000)]
        maps = torch.cat(nearest).view(len(x), 1, *f.shape[2:])
        return F.interpolate(maps, x.shape[2:], mode="bilinear")[:, 0]


class Aligned:
    """Neighbours by whole maps of features, of a model of one size; see the package.

    Args:
        dae: the model.
        good: good pictures, float (C,H,W) each; the network shows maps. At most so many are kept, drawn at random,
            that the memory has ``ALIGNED`` numbers.

    Raises:
        InputError: there are less than 2, or they are not of one size.
    """

    def __init__(self, dae: DenoisingAutoencoder, good: Sequence[Tensor]) -> None:
        self.encoder = _encoder(dae, good)
        if odd := [tuple(x.shape) for x in good if x.shape != good[0].shape]:
            wanted = tuple(good[0].shape)
            raise InputError(f"aligned pictures are of one size, got {wanted} and {odd[0]}: bring all to one")
        most = max(K + 1, ALIGNED // _maps(self.encoder, good[0][None]).numel())
        self.owner = torch.randperm(len(good), generator=torch.Generator().manual_seed(0))[:most]
        batches = (torch.stack([good[i] for i in some.tolist()]) for some in self.owner.split(BATCH))
        self.memory = torch.cat([_maps(self.encoder, x) for x in batches])

    def __call__(self, x: Tensor, without: int | None = None) -> Tensor:
        """Maps of ``x``; ``without`` leaves out one of the good pictures."""
        f = _maps(self.encoder, x)
        far = torch.cdist(f.flatten(1), self.memory.flatten(1))
        if without is not None:
            far[:, self.owner == without] = math.inf
        k = min(K, int(far[0].isfinite().sum()))
        nearest = self.memory[far.topk(k, largest=False).indices]  # (B,K,F,H',W')
        maps = (f[:, None] - nearest).square().mean((1, 2))
        return F.interpolate(maps[:, None], x.shape[2:], mode="bilinear")[:, 0]

    @staticmethod
    def score(maps: Tensor) -> Tensor:
        """The mean of each map, (B,H,W) -> (B,)."""
        return maps.flatten(1).mean(1)


def _encoder(dae: DenoisingAutoencoder, good: Sequence[Tensor]) -> Encoder:
    check(dae)
    if len(good) < 2:
        raise InputError(f"neighbours need 2 good pictures or more, got {len(good)}: give more by `good`")
    return Encoder(dae, resolve(dae, stage=memory_stage(dae), pool=0))


@torch.no_grad()
def _maps(encoder: Encoder, x: Tensor) -> Tensor:
    """(B,F,H',W'), on the CPU."""
    return encoder(to_float(x).to(encoder.dae.device)).cpu()


def memory_stage(dae: DenoisingAutoencoder) -> str | None:
    """The stage whose maps are compared: the second, whose features see some 20 pixels. None without maps."""
    stages = stages_of(dae.net)
    return None if CODE in stages or not stages else stages[1 if len(stages) > 2 else 0]
