"""The denoising autoencoder: a network that maps a corrupted image, and its level, to the logits of r(x_tilde).

Trained with BCE, r(x_tilde) = sigmoid(logits) estimates the posterior mean E[x | x_tilde] under any corruption. Under
pure Gaussian corruption that is also the score of the smoothed density (Robbins 1956; Miyasawa 1961; Alain & Bengio
2014; Creswell et al. 2017):

    r(x_tilde) = x_tilde + sigma^2 grad log p_sigma(x_tilde).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from . import corruption as corruptions
from . import nets
from .card import MAX_CHANNELS, Card
from .corruption.base import Corruption
from .errors import UNTOLD, InputError, unknown
from .losses import LOSSES, MEAN_SEEKING, per_image
from .nets.layers import LabelEmbedding, LevelEmbedding
from .noise import Noise
from .pixels import to_float

if TYPE_CHECKING:
    from .encoder import Encoder


class DenoisingAutoencoder(nn.Module):
    """Network and corruption, and the loss that ties them.

    Calling it gives the posterior mean, so it drops into any sampler or restoration algorithm that wants
    ``denoise(x, sigma)``.

    Args:
        net: text form of the network, for example ``"unet(64, 128)"``.
        corruption: a :class:`Corruption` or its text form. Over a range the network is told the level, unless the text
            says otherwise; at one level it is blind.
        shape: (C, H, W) of the images, 1 to 16 channels; H and W are None where any size goes.
        loss: ``"bce"``, ``"mse"`` or ``"mae"``.
        seed: of the initial weights.
        labels: names of the classes that it can be told, in the order of their numbers; none by default.

    Attributes:
        card: what is known of the model, see :class:`.Card`; it travels with the checkpoint.
        shape: (C, H, W), H and W 0 where any size goes.
        precision: ``"float32"`` or ``"bfloat16"``, the precision of the network's inner layers.

    Raises:
        InputError: an argument names something unknown or is out of its range.
    """

    def __init__(
        self,
        net: str = "unet",
        corruption: Corruption | str = corruptions.DEFAULT,
        shape: tuple[int, int | None, int | None] = (1, 28, 28),
        loss: str = "bce",
        seed: int = 0,
        labels: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if loss not in LOSSES:
            raise unknown("loss", loss, LOSSES)
        self.corruption = corruptions.parse(corruption) if isinstance(corruption, str) else corruption
        self.shape = _checked(shape)
        q = self.corruption
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers go on as if nothing had been drawn
            torch.manual_seed(seed)
            made = nets.build(net, self.shape, q.told or bool(labels), q.extra)
            self.net = made.to(memory_format=torch.channels_last)
            self.embed = LevelEmbedding(nets.embedding_of(made)) if q.told else None
            self.label = LabelEmbedding(len(labels), nets.embedding_of(made)) if labels else None
        any_size = self.shape[1] == 0
        self.card = Card(
            net=net,
            corruption=str(q),
            channels=self.shape[0],
            size=None if any_size else self.shape[1:],
            stride=nets.declared(made, "stride", 1) if any_size else 1,
            radius=nets.declared(made, "radius", 0) if any_size else 0,
            loss=loss,
            objective="mean" if loss in MEAN_SEEKING else "median",
            labels=tuple(labels),
        )
        self.precision = "float32"

    @classmethod
    def from_card(cls, card: Card) -> DenoisingAutoencoder:
        """The model that a card describes, with fresh weights."""
        height, width = card.size or (None, None)
        dae = cls(card.net, card.corruption, (card.channels, height, width), card.loss, labels=card.labels)
        dae.card = card
        return dae

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def logits(
        self,
        x_tilde: Tensor | np.ndarray,
        level: float | Tensor | None = None,
        label: int | Tensor | None = None,
    ) -> Tensor:
        """Logits of the reconstruction, float32 (B,C,H,W).

        Args:
            x_tilde: corrupted images, (B,C,H,W), or (B,C+1,H,W) with the mask of an erasure; floats, or uint8.
            level: a number, (), (B,) or (B,1,1,1); may be left out where the corruption has one level, or the network
                is not told it.
            label: number of the class, an int, () or (B,) int64; None, or -1, is any class.

        Raises:
            InputError: the images are not of the model's shape, the level is none of the corruption, or the label none
                of the model.
        """
        return self._run(self.net, x_tilde, level, label)

    def _run(
        self,
        network: Callable[..., Tensor],
        x_tilde: Tensor | np.ndarray,
        level: float | Tensor | None,
        label: int | Tensor | None = None,
    ) -> Tensor:
        """``network``, the whole or a part of ours, of its scaled input and c; float32."""
        x_tilde = self._images(x_tilde)
        level = self._level(None if self._is_untold() else level, x_tilde)
        with torch.autocast(x_tilde.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            c = None if self.embed is None else self.embed(self.corruption.condition(level.flatten()))
            if self.label is not None:
                which = self.label(self._label(label, x_tilde))
                c = which if c is None else c + which
            elif label is not None:
                raise InputError(UNTOLD)
            return network(self.corruption.scale(x_tilde, level), c).float()

    def forward(
        self,
        x_tilde: Tensor | np.ndarray,
        level: float | Tensor | None = None,
        label: int | Tensor | None = None,
    ) -> Tensor:
        """The reconstruction r(x_tilde) = E[x | x_tilde] in (0,1), float32; arguments of :meth:`logits`."""
        x_tilde = self._images(x_tilde)
        told = () if label is None else (label,)  # a model of yours may know of no labels
        return self.corruption.complete(x_tilde, torch.sigmoid(self.logits(x_tilde, level, *told)))

    def encoder(self, level: float | None = None, stage: str | None = None, pool: int | None = None) -> Encoder:
        """A module of its own that maps images to features, to train further: a copy, whose weights take gradients.

        Args:
            level: that the network is told; one of the corruption's. What is left out here and below is the card's
                plan to ``encode``, or else what is usual, see :func:`.encoder.resolve`.
            stage: where in the network, one of ``dae.net.stages``: ``"code"`` of a bottleneck; of a U-Net ``"down1"``
                to ``"downN"``, then ``"upN"`` to ``"up1"``.
            pool: maps are averaged over ``pool`` x ``pool`` parts of the image; 0 leaves maps.

        Raises:
            InputError: the network has no such stage, or a number is out of its range.
        """
        from .encoder import Encoder, resolve

        return Encoder(copy.deepcopy(self).requires_grad_(True), resolve(self, level, stage, pool))

    def encode(
        self,
        x: Tensor | np.ndarray,
        level: float | None = None,
        stage: str | None = None,
        pool: int | None = None,
    ) -> Tensor:
        """Features of undamaged images ``x`` (B,C,H,W), floats in [0,1] or uint8: (B,F), or maps (B,F,H',W') with
        ``pool=0``; float32. Arguments and errors of :meth:`encoder`."""
        from .encoder import Encoder, resolve

        return Encoder(self, resolve(self, level, stage, pool))(x)

    def code(self, x: Tensor, level: Tensor) -> Tensor:
        """The code of undamaged images (B,C,H,W), each at a level of its own (B,): (B, code). Of a bottleneck only."""
        inner = nets.inner_of(self.net)
        return self._run(lambda x_in, c: next(inner(x_in, c)), self.corruption.intact(x), level)

    def score(self, x_tilde: Tensor | np.ndarray, sigma: float | Tensor | None = None) -> Tensor:
        """grad log p_sigma(x_tilde) = (r(x_tilde) - x_tilde) / sigma^2, (B,C,H,W).

        Raises:
            InputError: the corruption is not purely Gaussian, or the output does not estimate the mean.
        """
        if self.card.objective == "consistency":
            raise InputError("a consistency model has no score: its output is no mean; use the model it was tuned from")
        if self.card.objective != "mean":
            raise InputError(f"a DAE trained with {self.card.loss} has no score: train it with bce or mse")
        if not self.corruption.is_gaussian:
            raise InputError(f"{self.corruption} has no score: the identity holds for pure Gaussian corruption only")
        x_tilde = self._images(x_tilde)
        if sigma is None and self.corruption.ranged:
            raise InputError(f"this model covers {self.corruption}: say at which sigma you want the score")
        return (self(x_tilde, sigma) - x_tilde) / self._level(sigma, x_tilde).square()

    def loss(
        self,
        x: Tensor,
        level: float | Tensor,
        noise: Noise,
        target: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Tensor:
        """Loss per image, the mean over its pixels: (B,). Draws one corruption of ``x`` (B,C,H,W) at ``level`` (B,).

        ``target`` is by default the corruption's, ``x`` for most. Where x is a binary draw that x_tilde hides, the grey
        image behind it has, under BCE, the same expected loss with less variance. ``label`` is as for :meth:`logits`.
        """
        drawn = self.corruption.draw(x, self._level(level, x), noise)
        logits = self.logits(drawn.x_tilde, level, *(() if label is None else (label,)))
        return per_image(self.card.loss, logits, drawn.target if target is None else target, drawn.weight)

    def _images(self, x: Tensor | np.ndarray) -> Tensor:
        x = torch.from_numpy(x).to(self.device) if isinstance(x, np.ndarray) else x
        channels = self.shape[0] + self.corruption.extra
        if x.ndim != 4 or x.shape[1] != channels:
            given = ",".join(map(str, x.shape))
            raise InputError(f"the model takes (B,{channels},H,W), got ({given}): check the images")
        if x.dtype == torch.float32:
            return x
        if x.dtype != torch.uint8 and not x.dtype.is_floating_point:
            raise InputError(f"the model takes floats in [0,1] or uint8, got {x.dtype}: convert the images first")
        return to_float(x)

    def _level(self, level: float | Tensor | np.ndarray | None, x: Tensor) -> Tensor:
        """(B,1,1,1) or (1,1,1,1); what a network that is not told the level has its input scaled by."""
        q = self.corruption
        if level is None:
            if q.ranged and not self._is_untold():
                raise InputError(f"this model covers {q}: say at which level the images are damaged")
            level = q.high
        level = torch.as_tensor(level, dtype=torch.float32).reshape(-1, 1, 1, 1)
        if level.is_cpu and not torch.compiler.is_compiling() and not self.training:  # elsewhere a look would be a wait
            low, high = q.bounds
            if outside := [value for value in level.flatten().tolist() if not low <= value <= high * (1 + 1e-6)]:
                raise InputError(f"{q} takes levels from {low:g} to {high:g}, got {outside[0]:g}")
        return level.to(x.device)

    def _label(self, label: int | Tensor | None, x: Tensor) -> Tensor:
        """(B,) or (1,); -1 for None."""
        label = torch.as_tensor(-1 if label is None else label).reshape(-1)
        if label.is_cpu and not torch.compiler.is_compiling() and not self.training:
            last = len(self.card.labels) - 1
            if outside := [value for value in label.tolist() if not -1 <= value <= last]:
                raise InputError(f"labels are numbers from 0 to {last}, and -1 for any, got {outside[0]}")
        return label.to(x.device)

    def _is_untold(self) -> bool:
        """Whether the network sees a range of levels and is not told where in it: all are scaled alike."""
        return self.corruption.ranged and not self.corruption.told


def _checked(shape: tuple[int, int | None, int | None]) -> tuple[int, int, int]:
    """The shape, if it is one of images with the channels first; with 0 for None."""
    sizes = tuple(int(size or 0) for size in shape)
    if len(sizes) == 3 and sizes[0] > 0 and sizes[1:] == (0, 0):
        return sizes[0], 0, 0
    if len(sizes) != 3 or min(sizes) < 1:
        raise InputError(f"shape is (C, H, W), three whole numbers above 0, got {tuple(shape)}")
    channels, height, width = sizes
    if channels > MAX_CHANNELS:
        cure = f": channels come first, ({width}, {channels}, {height})" if width <= MAX_CHANNELS else ""
        raise InputError(f"shape {sizes} has {channels} channels, at most {MAX_CHANNELS} are possible{cure}")
    return channels, height, width
