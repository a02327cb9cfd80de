"""The denoising autoencoder: a network that maps a corrupted image, and its level, to the logits of r(x_tilde).

Trained with BCE, r(x_tilde) = sigmoid(logits) estimates the posterior mean E[x | x_tilde] under any corruption. Under
pure Gaussian corruption that is also the score of the smoothed density (Robbins 1956; Miyasawa 1961; Alain & Bengio
2014; Creswell et al. 2017):

    r(x_tilde) = x_tilde + sigma^2 grad log p_sigma(x_tilde).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from . import corruption as corruptions
from . import nets
from .corruption import Corruption
from .errors import InputError, unknown
from .losses import LOSSES, MEAN_SEEKING
from .nets.layers import LevelEmbedding
from .noise import Noise


class DenoisingAutoencoder(nn.Module):
    """Network and corruption, and the loss that ties them.

    Calling it gives the posterior mean, so it drops into any sampler or restoration algorithm that wants
    ``denoise(x, sigma)``.

    Args:
        net: text form of the network, for example ``"unet(64, 128)"``.
        corruption: a :class:`Corruption` or its text form. A range makes the network level-conditional, one level
            leaves it blind.
        shape: (C, H, W) of the images.
        loss: ``"bce"``, ``"mse"`` or ``"mae"``.

    Attributes:
        info: facts that travel with the checkpoint: data set, steps, losses, best sampler, licence.
        precision: ``"float32"`` or ``"bfloat16"``, the precision of the network's inner layers.
    """

    def __init__(self, net: str, corruption: Corruption | str, shape: tuple[int, int, int], loss: str = "bce") -> None:
        super().__init__()
        if loss not in LOSSES:
            raise unknown("loss", loss, LOSSES)
        self.corruption = corruptions.parse(corruption) if isinstance(corruption, str) else corruption
        self.shape, self.objective, self.net_text = tuple(shape), loss, net
        self.net = nets.build(net, self.shape, self.corruption.ranged, self.corruption.extra).to(
            memory_format=torch.channels_last
        )
        self.embed = LevelEmbedding(self.net.embedding) if self.corruption.ranged else None
        self.info: dict[str, Any] = {}
        self.precision = "float32"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def logits(self, x_tilde: Tensor, level: float | Tensor | None = None) -> Tensor:
        """Logits of the reconstruction, float32 (B,C,H,W).

        Args:
            x_tilde: corrupted images, (B,C,H,W), or (B,C+1,H,W) with the mask of an erasure.
            level: a number, (), (B,) or (B,1,1,1); may be left out where the corruption has one level.
        """
        level = self._level(level, x_tilde)
        with torch.autocast(x_tilde.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            c = None if self.embed is None else self.embed(self.corruption.condition(level.flatten()))
            return self.net(self.corruption.scale(x_tilde, level), c).float()

    def forward(self, x_tilde: Tensor, level: float | Tensor | None = None) -> Tensor:
        """The reconstruction r(x_tilde) = E[x | x_tilde] in (0,1), float32; arguments of :meth:`logits`."""
        return self.corruption.complete(x_tilde, torch.sigmoid(self.logits(x_tilde, level)))

    def score(self, x_tilde: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """grad log p_sigma(x_tilde) = (r(x_tilde) - x_tilde) / sigma^2, (B,C,H,W).

        Raises:
            InputError: the corruption is not purely Gaussian, or the loss does not seek the mean.
        """
        if self.objective not in MEAN_SEEKING:
            raise InputError(f"a DAE trained with {self.objective} has no score: train it with bce or mse")
        if not self.corruption.is_gaussian:
            raise InputError(f"{self.corruption} has no score: the identity holds for pure Gaussian corruption only")
        sigma = self._level(sigma, x_tilde)
        return (self(x_tilde, sigma) - x_tilde) / sigma.square()

    def loss(self, x: Tensor, level: Tensor, noise: Noise, target: Tensor | None = None) -> Tensor:
        """Loss per image, the mean over its pixels: (B,). Draws one corruption of ``x`` (B,C,H,W) at ``level`` (B,).

        ``target`` is by default ``x``. Where x is a binary draw that x_tilde hides, the grey image behind it has, under
        BCE, the same expected loss with less variance.
        """
        x_tilde = self.corruption(x, self._level(level, x), noise)
        loss = LOSSES[self.objective](self.logits(x_tilde, level), x if target is None else target)
        return (loss * self.corruption.weight(x_tilde)).flatten(1).mean(1)

    def _level(self, level: float | Tensor | None, x: Tensor) -> Tensor:
        if level is None:
            if self.corruption.ranged:
                raise InputError(f"this model covers {self.corruption}: say at which level the images are damaged")
            level = self.corruption.high
        level = torch.as_tensor(level, dtype=torch.float32, device=x.device)
        return level.reshape(-1, 1, 1, 1)
