"""Anomalies: what a model that has seen good pictures only did not expect of a picture, and where.

Two scores, each first a map, one number a pixel.

**Excess.** The picture x is damaged at a few levels and restored. What was expected comes back; what was not costs

    e = BCE(x, r) - h(x) = KL(Bern(x) || Bern(r)) >= 0

nats a pixel. Bright, dark and grainy pictures cost more everywhere, so each level's e, averaged over ``WINDOW`` pixels
square, is divided by its median over the picture, plus the mean of good pictures at that level, which the card has: a
pixel is judged against its own picture, and one of an empty ground against others. The median counts up to ``CAP``
times that mean, so that a picture which costs far more than good ones, everywhere, is not its own excuse. The map is
the mean over the levels.

**Neighbours.** The map of features f of the network (:mod:`.encoder`), each averaged over its 3x3 neighbours and in
units of its standard deviation, is compared with those of good pictures, wherever in them they lie: the map is the mean
distance of f to the K nearest among at most ``MEMORY`` of theirs, drawn at random (after PatchCore, Roth et al. 2022,
there with the features of a classifier and a greedy choice). It needs good pictures at hand.

The score of a picture is the mean of the ``WORST`` share of its map, though of no fewer pixels than a window has; the
border does not count. Its threshold at a false-alarm rate a is the score with rank ceil((n + 1)(1 - a)) among n good
pictures that the model was not trained on: a new good picture exceeds it with a probability of at most a (split
conformal prediction, Vovk et al. 2005). With neighbours each of the n is scored without what the memory has of itself,
where this holds nearly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .card import Pairs
from .dae import DenoisingAutoencoder
from .encoder import Encoder, resolve
from .errors import InputError
from .losses import bce, entropy
from .nets import stages_of
from .noise import ImageNoise
from .pixels import to_float
from .tiles import Tiled

LEVELS = (0.5, 1.0)
"""Of the corruption's usual level."""
WINDOW = 5
WORST = 0.003
CAP = 3.0
MARGIN, WIDEST = 8, 16
"""At the border of a picture, an eighth of its shorter side but at most ``WIDEST`` pixels, does not count: there the
network sees one side only, and pictures of things end."""
MEMORY, K = 10_000, 3
QUANTILES = 100
"""Most scores of good pictures that a card keeps."""


class Scorer(Protocol):
    """Images (B,C,H,W), float in [0,1] -> maps (B,H,W), 0 or above: higher where less was expected."""

    def __call__(self, x: Tensor) -> Tensor: ...


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
    """The first score; see the module.

    Raises:
        InputError: the model's output is not the mean of clean images.
    """

    def __init__(self, dae: DenoisingAutoencoder) -> None:
        check(dae)
        q = dae.corruption
        self.dae, self.denoiser = dae, dae if dae.shape[1] else Tiled(dae)
        self.levels = sorted({min(max(share * q.usual_level, q.low), q.high) for share in LEVELS})

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


class Neighbours:
    """The second score; see the module.

    Args:
        dae: the model.
        good: good pictures, (C,H,W) each, of any size where the model takes any; the network shows maps.

    Raises:
        InputError: there are less than 2.
    """

    def __init__(self, dae: DenoisingAutoencoder, good: Sequence[Tensor]) -> None:
        check(dae)
        if len(good) < 2:
            raise InputError(f"neighbours need 2 good pictures or more, got {len(good)}: give more by `good`")
        self.encoder = Encoder(dae, resolve(dae, stage=memory_stage(dae), pool=0))
        draw, count, sums = torch.Generator().manual_seed(0), 0, torch.zeros(2, 1, dtype=torch.float64)
        kept = Tensor(), Tensor(), Tensor()  # features, their pictures, and random numbers, of which the least stay
        for i, x in enumerate(good):
            f = self._features(to_float(x[None]))[0].flatten(1).T
            count, sums = count + len(f), sums + torch.stack([f.double().sum(0), f.double().square().sum(0)])
            new = f, torch.full((len(f),), i), torch.rand(len(f), generator=draw)
            *both, order = (torch.cat(pair) for pair in zip(kept, new, strict=True))
            order, best = order.topk(min(MEMORY, len(order)), largest=False)
            kept = both[0][best], both[1][best], order
        variance = (sums[1] - sums[0].square() / count) / (count - 1)
        self.scale = variance.clamp(min=1e-12).sqrt().float()
        self.memory, self.owner = kept[0] / self.scale, kept[1]

    @torch.no_grad()
    def _features(self, x: Tensor) -> Tensor:
        """(B,F,H',W'), on the CPU."""
        return F.avg_pool2d(self.encoder(x.to(self.encoder.dae.device)), 3, 1, 1, count_include_pad=False).cpu()

    def __call__(self, x: Tensor, without: int | None = None) -> Tensor:
        """Maps of ``x``; ``without`` leaves out what the memory has of one of the good pictures."""
        memory = self.memory if without is None else self.memory[self.owner != without]
        f = self._features(to_float(x))
        points = f.permute(0, 2, 3, 1).flatten(0, 2) / self.scale
        k = min(K, len(memory))
        nearest = [torch.cdist(p, memory).topk(k, largest=False).values.mean(1) for p in points.split(2000)]
        maps = torch.cat(nearest).view(len(x), 1, *f.shape[2:])
        return F.interpolate(maps, x.shape[2:], mode="bilinear")[:, 0]


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


def memory_stage(dae: DenoisingAutoencoder) -> str | None:
    """The stage whose maps are compared: the second, whose features see some 20 pixels. None without maps."""
    stages = stages_of(dae.net)
    return None if "code" in stages or not stages else stages[1 if len(stages) > 2 else 0]


def smooth(maps: Tensor) -> Tensor:
    """(B,H,W), each pixel the mean of those around it."""
    return F.avg_pool2d(maps[:, None], WINDOW, 1, WINDOW // 2, count_include_pad=False)[:, 0]


def relative(maps: Tensor, expected: float = 0.0) -> Tensor:
    """(B,H,W) over the median of each, up to ``CAP`` times what is expected of all, plus that; 0 is not known."""
    own = maps.flatten(1).median(1).values.clamp(max=CAP * expected or math.inf)
    return maps / (own + expected).clamp(min=1e-9)[:, None, None]


def score(maps: Tensor) -> Tensor:
    """One number a map, (B,H,W) -> (B,)."""
    height, width = maps.shape[1:]
    margin = min(WIDEST, min(height, width) // MARGIN)
    flat = maps[:, margin : height - margin, margin : width - margin].flatten(1)
    worst = max(WINDOW**2, math.ceil(WORST * flat.shape[1]))
    return flat.topk(min(worst, flat.shape[1])).values.mean(1)


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
