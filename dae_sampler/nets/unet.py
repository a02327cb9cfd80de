"""A small U-Net made for speed on CPUs: the first convolution sees patches as channels, so most work happens at a
quarter of the pixels or less, in channels_last memory, with LayerNorm over channels (Ronneberger et al. 2015; Ho et al.
2020).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .layers import Attention, Downsample, ResidualBlock, Upsample, check_sizes, conditions, in_float32, pad_to_multiple

ANY_SIDE = 64
"""Where sizes are not fixed, there are as many stages as for images of this side, in patches of 2."""


class UNet(nn.Module):
    """Encoder and decoder with additive skips, attention at the coarsest stage; any image size.

    Without attention it is equivariant to shifts by ``stride``, away from the borders.

    Args:
        shape: (C, H, W) of the images; 0 for H and W where any size goes.
        conditional: whether there is a c.
        extra: channels of the input beyond C.
        widths: channels of each stage, 8 to 1024, at most 8 of them; a stage has half the side of the one before. By
            default 32, 64, then 128, as many as it takes to come to 4x4 pixels or less.
        blocks: residual blocks per stage, in the encoder and again in the decoder, 1 to 16.
        patch: side of the patches that become channels; 0 takes 1 below 16 pixels, 2 below 64 or at any size, else 4.
        attention: 1 with, 0 without; by default with it, but for images of any size.
        embedding: length of the conditioning vector c.
    """

    any_size = True

    def __init__(
        self,
        shape: tuple[int, int, int],
        conditional: bool,
        extra: int = 0,
        *widths: int,
        blocks: int = 1,
        patch: int = 0,
        attention: int | None = None,
        embedding: int = 128,
    ) -> None:
        super().__init__()
        channels, side = shape[0], max(shape[1] or ANY_SIDE, shape[2] or ANY_SIDE)
        attention = int(all(shape)) if attention is None else attention
        check_sizes("unet", blocks=(blocks, 1, 16), patch=(patch, 0, 16), embedding=(embedding, 1, 4096))
        check_sizes("unet", attention=(attention, 0, 1))
        if attention and not all(shape):
            raise InputError("attention looks at a whole picture, so it does not go with any size: write attention=0")
        self.embedding = embedding = embedding if conditional else 0
        self.patch = patch or (1 if side < 16 else 2 if side < 64 or not all(shape) else 4)
        widths = widths or default_widths(side / self.patch)
        check_sizes("unet", stages=(len(widths), 1, 8))
        for width in widths:
            check_sizes("unet", width=(width, 8, 1024))

        def stage(w: int) -> nn.ModuleList:
            return nn.ModuleList(ResidualBlock(w, embedding) for _ in range(blocks))

        self.first = nn.Conv2d((channels + extra) * self.patch**2, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(stage(w) for w in widths)
        self.down = nn.ModuleList(Downsample(a, b) for a, b in itertools.pairwise(widths))
        self.attention = Attention(widths[-1]) if attention else None
        self.up = nn.ModuleList(Upsample(b, a) for a, b in itertools.pairwise(widths))
        self.decoder = nn.ModuleList(stage(w) for w in widths)
        self.last = nn.Conv2d(widths[0], channels * self.patch**2, 3, padding=1)
        self.outer = (self.first, self.last, *conditions(self))
        down = [f"down{i}" for i in range(1, len(widths) + 1)]
        self.stages = (*down, *(name.replace("down", "up") for name in reversed(down)))
        self.stride = self.patch * 2 ** (len(widths) - 1)
        # two 3x3 convolutions a block, blocks in the encoder and in the decoder, and the patches that a pixel lies in
        reach = sum(4 * blocks * self.patch * 2**stage for stage in range(len(widths)))
        self.radius = None if attention else 2 * self.patch + reach + self.stride - 1

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """(B, C + extra, H, W) and c (B or 1, embedding) or None -> logits (B, C, H, W), float32."""
        height, width = x.shape[-2:]
        *_, h = self.inner(x, c)
        return F.pixel_shuffle(in_float32(self.last, h), self.patch)[..., :height, :width]

    def inner(self, x: Tensor, c: Tensor | None) -> Iterator[Tensor]:
        """What comes out of each of ``stages``, one after the other: (B, width, H', W'), fine to coarse and back."""
        x = F.pixel_unshuffle(pad_to_multiple(x, self.patch), self.patch)
        h = self.first(x.contiguous(memory_format=torch.channels_last))
        skips = []
        for stage, down in itertools.zip_longest(self.encoder, self.down):
            h = _through(stage, h, c)
            yield h
            if down is not None:
                skips.append(h)
                h = down(h)
        h = self.attention(h) if self.attention else h
        for stage, up in itertools.zip_longest(reversed(self.decoder), reversed(self.up)):
            h = _through(stage, h, c)
            yield h
            if up is not None:
                skip = skips.pop()
                h = skip + up(h)[..., : skip.shape[-2], : skip.shape[-1]]


def _through(stage: nn.Module, h: Tensor, c: Tensor | None) -> Tensor:
    for block in stage.children():
        h = block(h, c)
    return h


def default_widths(side: float) -> tuple[int, ...]:
    """32, 64, 128, 128, ...: a stage for each halving of ``side`` pixels down to 4."""
    stages = 1 + max(0, math.ceil(math.log2(side / 4)))
    return (32, 64, *[128] * (stages - 2))[:stages]
