"""A fully connected autoencoder, for example the classic 784-128-64-28-64-128-784."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import check_sizes, in_float32


class Dense(nn.Module):
    """Linear layers with ReLU between them, over the flattened image.

    Args:
        shape: (C, H, W) of the images.
        conditional: whether there is a c.
        extra: channels of the input beyond C.
        widths: hidden widths from input to output; the smallest is the bottleneck.
        embedding: length of the conditioning vector c, which is added at every hidden layer.
    """

    def __init__(
        self, shape: tuple[int, int, int], conditional: bool, extra: int, *widths: int, embedding: int = 64
    ) -> None:
        super().__init__()
        widths = widths or (512, 128, 32, 128, 512)
        for width in (*widths, embedding):
            check_sizes("dense", width=(width, 1, 8192))
        self.shape, self.embedding = shape, embedding if conditional else 0
        sizes = [math.prod(shape) + extra * math.prod(shape[1:]), *widths, math.prod(shape)]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.conditions = nn.ModuleList(nn.Linear(embedding, w) for w in widths if conditional)
        self.bottleneck = widths.index(min(widths))
        self.stages = ("code",)
        self.outer = tuple(self.conditions)  # and not those to pixels, which are the largest matrices here

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """(B, C + extra, H, W) and c (B or 1, embedding) or None -> logits (B, C, H, W)."""
        (code,) = self.inner(x, c)
        h = self._through(code, c, self.bottleneck + 1, len(self.layers) - 1)
        return in_float32(self.layers[-1], h).unflatten(1, self.shape)

    def inner(self, x: Tensor, c: Tensor | None) -> Iterator[Tensor]:
        """The code, (B, width): what comes out of the smallest layer, the first of them, 0 or above."""
        yield self._through(x.flatten(1), c, 0, self.bottleneck + 1)

    def _through(self, h: Tensor, c: Tensor | None, start: int, end: int) -> Tensor:
        for layer, condition in [*itertools.zip_longest(self.layers[:-1], self.conditions)][start:end]:
            h = F.relu(layer(h) + condition(c) if condition else layer(h))
        return h
