"""The loss of a batch, and what is found on held-out images: the loss by level, and how high good pictures score as
anomalies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import anomaly, distributed
from ..card import Pairs
from ..dae import DenoisingAutoencoder
from ..data.crops import Crops
from ..data.dataset import Dataset
from ..data.items import Items
from ..errors import InputError
from ..losses import MEAN_SEEKING, entropy, per_image
from ..noise import Noise, StepNoise
from ..pixels import Range, binarise, to_float

BINS = 8
"""Validation reports the loss in this many bins of levels, equally likely in training."""
SCORED_PIXELS, FEWEST = 1 << 23, 20
"""Held-out pictures are scored as anomalies to so many pixels, for it takes time; but so many pictures are."""
_SEED = 20_170_828


@dataclass(frozen=True)
class Validation:
    """Losses of the averaged weights on held-out images, means per pixel; BCE in nats."""

    loss: float
    floor: float
    """h(x), what BCE cannot go below; 0 for the other losses, and for noisy targets, of which nobody knows it."""
    by_level: list[tuple[float, float]]
    """(middle level, loss - floor) of each bin of levels; empty without levels."""
    squared_error: list[tuple[float, float]]
    """(middle level, mean squared error of the reconstruction) of each bin."""

    @property
    def excess(self) -> float:
        """loss - floor: the part that a better model could lower."""
        return self.loss - self.floor


def _seen(dae: DenoisingAutoencoder, x: Tensor, noise: Noise, how: str | None) -> tuple[Tensor, Tensor | None]:
    """``x`` (B,C,H,W) in [0,1], or a binary version of it as ``how`` says, and the target if not the corruption's own.

    A random pixel that the network does not see may as well be its mean, under a loss that seeks means.
    """
    unseen = how == "dynamic" and dae.corruption.unseen and dae.card.loss in MEAN_SEEKING
    return x if how is None else binarise(x, how, noise), x if unseen else None


class MeanLoss(nn.Module):
    """Mean loss of a batch: what is differentiated, and, over several processes, averaged."""

    def __init__(self, dae: DenoisingAutoencoder, how: str | None, l1: float = 0.0) -> None:
        super().__init__()
        self.dae, self.how, self.l1 = dae, how, l1

    def forward(
        self,
        x: Tensor,
        level: Tensor,
        noise: Noise,
        target: Tensor | None = None,
        label: Tensor | None = None,
        done: float = 0.0,
    ) -> Tensor:
        """``x`` (B,C,H,W) in [0,1], ``level`` (B,) -> (); ``target`` where it is neither x nor the corruption's own.

        ``label`` is (B,) or None; ``done``, the share of the steps, does not matter here.
        """
        seen, unseen = _seen(self.dae, x, noise, self.how)
        target = unseen if target is None else target
        told = {} if label is None else {"label": label}  # a model of yours may override the loss, without labels
        loss = self.dae.loss(seen, level, noise, target, **told).mean()
        return loss + self.l1 * self.dae.code(seen, level).abs().mean() if self.l1 else loss


def anomaly_scores(dae: DenoisingAutoencoder, images: Dataset | Crops | Items, rows: Tensor) -> Pairs:
    """Quantiles of the anomaly scores of the pictures of ``rows``, for the card; none where the model gives none."""
    try:
        excess = anomaly.Excess(dae)
    except InputError:
        return ()
    first = next(images.whole(rows, 1))
    most = min(anomaly.QUANTILES, max(FEWEST, SCORED_PIXELS // first.numel()))
    return anomaly.quantiles([excess.score(excess(picture[None])).item() for picture in images.whole(rows, most)])


@torch.no_grad()
def validate(
    dae: DenoisingAutoencoder,
    images: Tensor,
    batch: int = 128,
    how: str | None = None,
    span: Range | None = None,
    targets: Tensor | None = None,
    labels: Tensor | None = None,
) -> Validation:
    """Loss on ``images`` (N,C,H,W), binarised as ``how`` says, each damaged once, at levels spread over the training
    density; deterministic. ``span`` are the values that stand for 0 and 1; ``targets`` are clean partners of images
    that are damaged already; ``labels`` (N,) are what the model is told.

    Returns:
        the means over all images and by bin of levels.
    """
    n, q = len(images), dae.corruption
    u = (torch.arange(n) + 0.5) / n
    u = u[torch.randperm(n, generator=torch.Generator().manual_seed(_SEED))]
    losses, floors, squares = torch.zeros(3, n, dtype=torch.float64)
    starts = range(0, n, batch)
    for i in distributed.share(len(starts)):
        rows = slice(starts[i], starts[i] + batch)
        x = to_float(images[rows].to(dae.device), span)
        level = q.level(u[rows].to(dae.device))
        noise = StepNoise(_SEED, starts[i], dae.device)
        seen, target = _seen(dae, x, noise, how)
        if targets is not None:
            x = target = to_float(targets[rows].to(dae.device), span)
        drawn = dae.corruption.draw(seen, level.reshape(-1, 1, 1, 1), noise)
        label = None if labels is None else labels[rows]
        logits, target = dae.logits(drawn.x_tilde, level, label), drawn.target if target is None else target
        losses[rows] = per_image(dae.card.loss, logits, target, drawn.weight).cpu().double()
        squares[rows] = per_image("mse", logits, target, drawn.weight).cpu().double()
        floors[rows] = entropy(x.clamp(0, 1)).flatten(1).mean(1).cpu().double()
    losses, floors, squares = (distributed.all_reduce(part) for part in (losses, floors, squares))
    floors *= dae.card.loss == "bce" and how is None and dae.card.target == "clean"
    bins = BINS if q.ranged else int(q.has_level)
    where = (u * bins).long().clamp(max=bins - 1)
    middles = q.level((torch.arange(bins) + 0.5) / bins).tolist() if bins else []
    filled = [(middle, where == i) for i, middle in enumerate(middles) if (where == i).any()]
    return Validation(
        losses.mean().item(),
        floors.mean().item(),
        [(middle, (losses - floors)[rows].mean().item()) for middle, rows in filled],
        [(middle, squares[rows].mean().item()) for middle, rows in filled],
    )
