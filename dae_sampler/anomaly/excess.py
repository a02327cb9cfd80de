"""What the network failed to restore."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..dae import DenoisingAutoencoder
from ..errors import InputError
from ..losses import bce, entropy
from ..noise import ImageNoise
from ..pixels import to_float
from ..tiles import Tiled
from .scores import WINDOW, worst

LEVELS = (0.5, 1.0)
"""Of the corruption's usual level."""
CAP = 3.0


class _Same:
    """The same noise for every image, so that their scores differ by the images alone."""

    def __init__(self, device: torch.device) -> None:
        self.noise = ImageNoise(0, 0, 1, device)

    def normal(self, shape: Sequence[int]) -> Tensor:
        return self.noise.normal((1, *shape[1:])).expand(*shape)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        return self.noise.uniform((1, *shape[1:])).expand(*shape)


def check(dae: DenoisingAutoencoder) -> None:
    """Refuse a model whose reconstruction is no expectation of the clean picture.

    Raises:
        InputError: saying what to train instead.
    """
    card = dae.card
    if card.objective != "mean" or card.target != "clean":
        why = f"its output is the {card.objective} of {card.target} images"
        raise InputError(f"the model gives no anomaly scores, for {why}: train on good, clean pictures with `loss` bce")
    if card.binarise:
        raise InputError(
            "the model learned black and white alone, so any grey is an anomaly to it: train one without `binarise`"
        )
    if dae.corruption.paired:
        raise InputError(
            f"{dae.corruption} damages no good picture, so nothing is restored that could be missed: train on good "
            "pictures with another `corruption`"
        )


class Excess:
    """The first score; see the package.

    Raises:
        InputError: the model's output is not the mean of clean images.
    """

    def __init__(self, dae: DenoisingAutoencoder) -> None:
        check(dae)
        q = dae.corruption
        self.dae, self.denoiser = dae, dae if dae.shape[1] else Tiled(dae)
        self.levels = sorted({min(max(share * q.usual_level, q.low), q.high) for share in LEVELS})

    score = staticmethod(worst)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        x = to_float(x.to(self.dae.device)).clamp(0, 1)
        each = [relative(smooth(self._excess(x, level)), self._expected(level)) for level in self.levels]
        return torch.stack(each).mean(0)

    def _expected(self, level: float) -> float:
        """The mean excess of held-out pictures at the nearest level that the card knows; 0 if it knows none."""
        card = self.dae.card
        known = card.excess if card.loss == "bce" else ()
        return min(known, key=lambda pair: abs(pair[0] - level), default=(level, 0.0))[1]

    def _excess(self, x: Tensor, level: float) -> Tensor:
        """Excess BCE a pixel, the mean over the channels, (B,H,W)."""
        drawn = self.dae.corruption.draw(x, torch.tensor(level), _Same(x.device))
        logits = torch.logit(self.denoiser(drawn.x_tilde, level), eps=1e-6)
        return (bce(logits, x) - entropy(x)).mean(1)


def smooth(maps: Tensor) -> Tensor:
    """(B,H,W), each pixel the mean of those around it."""
    return F.avg_pool2d(maps[:, None], WINDOW, 1, WINDOW // 2, count_include_pad=False)[:, 0]


def relative(maps: Tensor, expected: float = 0.0) -> Tensor:
    """(B,H,W) over the median of each, up to ``CAP`` times what is expected of all, plus that; 0 is not known."""
    own = maps.flatten(1).median(1).values.clamp(max=CAP * expected or math.inf)
    return maps / (own + expected).clamp(min=1e-9)[:, None, None]
