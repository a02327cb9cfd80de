"""Tuning into a consistency model, whose output is where the probability flow from x_tilde ends (Song et al. 2023).

Two points of one trajectory, x + t e and x + s e with s < t and one noise e, are to give the same output:

    loss = BCE(r(x + s e, s), r(x + t e, t)),     the target without gradient, and x itself at s = 0.

With s = 0 throughout it is the loss of the denoising autoencoder, so a trained one has the first stage behind it. The
gap t - s then shrinks in stages, s = t (1 - n(t) / 2^stage), as Geng et al. (2024) tune. Targets lie in (0,1), so BCE
fits them as it fits images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..card import Card
from ..dae import DenoisingAutoencoder
from ..errors import InputError
from ..losses import per_image
from ..noise import Noise
from ..pixels import binarise
from ..sampling.plan import LEAST_PRIOR

STAGES = 8
"""Stages of a training; the gap is halved from each to the next."""
ANCHOR = 0.25
"""Below this level the target is x: nothing else holds r to x there, and targets that r makes itself run away."""
WIDER = 8.0
"""The gap is wider at low levels than at high ones: n(t) = 1 + WIDER sigmoid(-2 t), from 5 at 0 down to 1."""


def check(dae: DenoisingAutoencoder, start: Card) -> None:
    """Refuse to tune what has no trajectories; ``start`` is the card of the model that ``dae`` begins as.

    Raises:
        InputError: the model is not one of a range of Gaussian noise that seeks the mean, its noise is too weak to
            begin from, or it knows other classes.
    """
    q = dae.corruption
    if not (q.is_gaussian and q.ranged and q.told and start.objective == "mean"):
        raise InputError(
            f"this model has {q} and estimates the {start.objective}: a consistency model is tuned from one that "
            "estimates the mean over a range of Gaussian levels that it is told, such as 'gaussian(0.02..20)'"
        )
    if q.high < LEAST_PRIOR:
        raise InputError(
            f"this model knows noise up to {q.high:g}, too weak to begin from: tune one that was trained with "
            "`corruption` 'gaussian(0.02..20)'"
        )
    if set(start.labels) != set(dae.card.labels):
        raise InputError("the classes of the images are not those that the model knows: tune it on images of its own")


class ConsistencyLoss(nn.Module):
    """Mean loss of a batch: what is differentiated, and, over several processes, averaged."""

    def __init__(self, dae: DenoisingAutoencoder, how: str | None) -> None:
        super().__init__()
        self.dae, self.how = dae, how

    def forward(
        self, x: Tensor, level: Tensor, noise: Noise, target: None, label: Tensor | None, done: float
    ) -> Tensor:
        """``x`` (B,C,H,W) in [0,1], ``level`` (B,), ``label`` (B,) or None -> (). ``done`` is the share of steps."""
        dae, t = self.dae, level.view(-1, 1, 1, 1)
        x = x if self.how is None else binarise(x, self.how, noise)
        s = earlier(t, 1 + int(done * STAGES), dae.corruption.low)
        e = noise.normal(x.shape)
        with torch.no_grad():
            end = torch.where(s > 0, dae(x + s * e, s.clamp(min=dae.corruption.low), label), x)
        logits = dae.logits(x + t * e, level, label)
        return (per_image(dae.card.loss, logits, end) * (t / (t - s)).flatten()).mean()


def earlier(t: Tensor, stage: int, low: float) -> Tensor:
    """The level s below each ``t`` at which the target is taken; 0 where it would be below ``low`` or ``ANCHOR``."""
    s = t * (1 - (1 + WIDER * torch.sigmoid(-2 * t)) / 2**stage)
    return s.where(s >= max(low, ANCHOR), 0)
