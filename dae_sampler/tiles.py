"""Large images in tiles: each is computed with a halo around it, and only its middle is kept.

A network that is equivariant to shifts by its stride gives in tiles what it gives of the whole, if the tiles begin at
multiples of the stride and the halo covers its receptive radius.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .dae import DenoisingAutoencoder
from .sampling.plan import card_of
from .sampling.samplers import Denoiser

TILE = 512
"""Side of a tile's middle, in pixels."""


def tiled(function: Callable[[Tensor], Tensor], x: Tensor, tile: int, halo: int) -> Tensor:
    """``function`` of ``x`` (B,C,H,W), by tiles of ``tile`` pixels square with ``halo`` pixels around them.

    Args:
        function: (B,C,h,w) -> (B,C',h,w).
        x: images of any size.
        tile, halo: multiples of the function's stride; memory beyond the images grows with them alone.
    """
    height, width = x.shape[2:]
    out: Tensor | None = None
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            above, before = max(0, top - halo), max(0, left - halo)
            made = function(x[:, :, above : top + tile + halo, before : left + tile + halo])
            if out is None:
                out = made.new_empty(len(x), made.shape[1], height, width)
            middle = made[:, :, top - above :, left - before :][:, :, :tile, :tile]
            out[:, :, top : top + tile, left : left + tile] = middle
    return x if out is None else out


class Tiled:
    """A model of any size that computes large images in tiles; itself a denoiser, so that every sampler works with it.

    Args:
        dae: a model of any size.
        tile: side of a tile's middle in pixels, rounded up to the model's stride and to the grid of its corruption.
        halo: pixels around it; by default the model's receptive radius, which gives what the whole image gives.
    """

    def __init__(self, dae: DenoisingAutoencoder, tile: int = TILE, halo: int | None = None) -> None:
        self.dae, self.card = dae, dae.card
        self.corruption, self.shape, self.device = dae.corruption, dae.shape, dae.device
        step = math.lcm(dae.card.stride, dae.corruption.grid)
        self.tile, self.halo = (_up(v, step) for v in (tile, dae.card.radius if halo is None else halo))

    def __call__(self, x: Tensor, level: float | Tensor) -> Tensor:
        if max(x.shape[2:]) <= self.tile + 2 * self.halo:
            return self.dae(x, level)
        return tiled(lambda some: self.dae(some, level), x, self.tile, self.halo)


class ByChannel:
    """A model of grey images that takes those of any number of channels, each channel by itself; itself a denoiser."""

    def __init__(self, dae: Denoiser) -> None:
        self.dae, self.card = dae, card_of(dae)
        self.corruption, self.device = dae.corruption, dae.device
        self.shape = (0, *dae.shape[1:])

    def __call__(self, x: Tensor, level: float | Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C,H,W); ``level`` a number, (), (B,) or (B,1,1,1)."""
        each = torch.as_tensor(level).flatten()
        if len(each) > 1:
            level = each.repeat_interleave(x.shape[1])
        return self.dae(x.flatten(0, 1)[:, None], level).view_as(x)


def for_pictures(dae: DenoisingAutoencoder) -> Denoiser:
    """The denoiser for pictures as they come: a model of any size computes large ones in tiles, and one of grey
    pictures takes the channels of others one by one. A model of one size is left as it is."""
    if dae.card.size:
        return dae
    return ByChannel(Tiled(dae)) if dae.shape[0] == 1 else Tiled(dae)


def _up(value: int, step: int) -> int:
    """The next multiple."""
    return -(-value // step) * step
