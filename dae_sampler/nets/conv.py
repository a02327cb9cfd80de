"""A convolutional autoencoder with a bottleneck and no skips: all it knows of an image passes through one code vector.

That is what keeps the paper's plain iteration on the manifold: whatever goes in, only an image that the code can
describe comes out.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .layers import ResidualBlock, check_sizes, conditions, in_float32, pad_to_multiple


class Conv(nn.Module):
    """Encoder (stride-2 convolutions), code vector, mirrored decoder; any image size.

    Args:
        shape: (C, H, W) of the images.
        conditional: whether there is a c.
        extra: channels of the input beyond C.
        width: channels of the first stage, at least 8; the second has twice as many.
        code: length of the bottleneck vector.
        embedding: length of the conditioning vector c.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        conditional: bool,
        extra: int = 0,
        *,
        width: int = 32,
        code: int = 64,
        embedding: int = 128,
    ) -> None:
        super().__init__()
        check_sizes("conv", width=(width, 8, 1024), code=(code, 1, 8192), embedding=(embedding, 1, 4096))
        channels, *size = shape
        self.embedding = embedding = embedding if conditional else 0
        self.grid = (2 * width, *(-(-s // 4) for s in size))
        flat = self.grid[0] * self.grid[1] * self.grid[2]
        self.encoder = nn.ModuleList(
            [
                nn.Conv2d(channels + extra, width, 4, stride=2, padding=1),
                ResidualBlock(width, embedding),
                nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
                ResidualBlock(2 * width, embedding),
            ]
        )
        self.to_code, self.from_code = nn.Linear(flat, code), nn.Linear(code, flat)
        self.decoder = nn.ModuleList(
            [
                ResidualBlock(2 * width, embedding),
                nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
                ResidualBlock(width, embedding),
            ]
        )
        self.last = nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)
        self.outer = (self.encoder[0], self.last, *conditions(self))
        self.stages = ("code",)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """(B, C + extra, H, W) and c (B or 1, embedding) or None -> logits (B, C, H, W)."""
        height, width = x.shape[-2:]
        (code,) = self.inner(x, c)
        h = self.from_code(code).unflatten(1, self.grid)
        h = h.contiguous(memory_format=torch.channels_last)
        for layer in self.decoder:
            h = layer(h, c) if isinstance(layer, ResidualBlock) else layer(h)
        return in_float32(self.last, h)[..., :height, :width]

    def inner(self, x: Tensor, c: Tensor | None) -> Iterator[Tensor]:
        """The code, (B, code)."""
        h = pad_to_multiple(x, 4).contiguous(memory_format=torch.channels_last)
        for layer in self.encoder:
            h = layer(h, c) if isinstance(layer, ResidualBlock) else layer(h)
        yield self.to_code(h.flatten(1))
