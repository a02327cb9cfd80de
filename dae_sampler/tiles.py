"""Large images in tiles: each is computed with a halo around it, and only its middle is kept.

A network that is equivariant to shifts by its stride gives in tiles what it gives of the whole, if the tiles begin at
multiples of the stride and the halo covers its receptive radius. Half the radius is nearly as good.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .errors import InputError
from .sampling.plan import card_of
from .sampling.samplers import Denoiser

TILE = 512
"""Side of a tile's middle, in pixels."""
ENOUGH = 64
"""Pixels around a tile of which none are saved."""


OnTile = Callable[[int], None]
"""Called after each tile with the number of all tiles of the picture."""


def tiled(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    tile: int,
    halo: int,
    on_tile: OnTile | None = None,
) -> Tensor:
    """``function`` of ``x`` (B,C,H,W), by tiles of ``tile`` pixels square with ``halo`` pixels around them.

    Args:
        function: (B,C,h,w) -> (B,C',h/s,w/s), rounded up, where s divides the function's stride; 1 for a denoiser.
        x: images of any size.
        tile, halo: multiples of the function's stride; memory beyond the images grows with them alone.
        on_tile: told of each tile.
    """
    height, width = x.shape[2:]
    out, shrink = None, 1
    places = [(top, left) for top in range(0, height, tile) for left in range(0, width, tile)]
    for top, left in places:
        above, before = max(0, top - halo), max(0, left - halo)
        piece = x[:, :, above : top + tile + halo, before : left + tile + halo]
        made = function(piece)
        if out is None:  # the longer side of a large picture's first piece shrinks without a rest
            shrink = max(piece.shape[2:]) // max(made.shape[2:])
            out = made.new_empty(len(x), made.shape[1], -(-height // shrink), -(-width // shrink))
        of_tile, (down, right) = tile // shrink, ((top - above) // shrink, (left - before) // shrink)
        place = out[:, :, top // shrink :, left // shrink :][:, :, :of_tile, :of_tile]
        place.copy_(made[:, :, down:, right:][:, :, :of_tile, :of_tile])
        if on_tile:
            on_tile(len(places))
    return x if out is None else out


class Tiled:
    """A model of any size that computes large images in tiles; itself a denoiser, so that every sampler works with it.

    Args:
        dae: a model of any size.
        tile: side of a tile's middle in pixels, rounded up to the model's stride and to the grid of its corruption.
        halo: pixels around it. The model's receptive radius gives what the whole image gives. Beyond ``ENOUGH`` pixels
            half of it is the default, for what lies farther hardly counts: within 1/255 by the models that ship.
        on_tile: told of each tile.
    """

    def __init__(self, dae: Denoiser, tile: int = TILE, halo: int | None = None, on_tile: OnTile | None = None) -> None:
        self.dae, self.card, self.on_tile = dae, card_of(dae), on_tile
        self.corruption, self.shape, self.device = dae.corruption, dae.shape, dae.device
        step = math.lcm(self.card.stride, dae.corruption.grid)
        halo = _usual_halo(self.card.radius) if halo is None else halo
        self.tile, self.halo = (up(side, step) for side in (tile, halo))

    def __call__(self, x: Tensor, level: float | Tensor) -> Tensor:
        return self.each(lambda some: self.dae(some, level), x)

    def each(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Another function of the model, of the whole of a small picture, or by tiles, see :func:`tiled`."""
        if max(x.shape[2:]) <= self.tile + 2 * self.halo:
            return function(x)
        return tiled(function, x, self.tile, self.halo, self.on_tile)


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


class AlsoGrey:
    """A model of pictures in colour that takes grey ones too: three channels alike, of which the mean is kept.

    So training sees grey pictures among others in colour. It is right where the damage is in the pictures; noise that
    is drawn differs between channels.
    """

    def __init__(self, dae: Denoiser) -> None:
        self.dae, self.card = dae, card_of(dae)
        self.corruption, self.device = dae.corruption, dae.device
        self.shape = (0, *dae.shape[1:])

    def __call__(self, x: Tensor, level: float | Tensor) -> Tensor:
        """(B,1,H,W) or (B,3,H,W), as it comes out."""
        if x.shape[1] not in (1, 3):
            raise InputError(f"the images have {x.shape[1]} channels, the model takes colour and grey: give it those")
        made = self.dae(x.expand(-1, 3, -1, -1), level)
        return made.mean(1, keepdim=True) if x.shape[1] == 1 else made


class GreyOrColour:
    """Two models of any size for pictures of all kinds, the same corruption on both; itself a denoiser.

    Pictures of three channels go through ``colour``; all others through ``grey``, channel by channel.
    """

    def __init__(self, grey: Denoiser, colour: Denoiser) -> None:
        self.grey, self.colour, self.card = ByChannel(grey), colour, card_of(colour)
        self.corruption, self.device = colour.corruption, colour.device
        self.shape = self.grey.shape

    def __call__(self, x: Tensor, level: float | Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C,H,W)."""
        return self.taking(x)(x, level)

    def taking(self, x: Tensor) -> Denoiser:
        """The one that ``x`` goes through."""
        return self.colour if x.shape[1] == 3 else self.grey


def for_pictures(dae: Denoiser, grey: Denoiser | None = None, on_tile: OnTile | None = None) -> Denoiser:
    """The denoiser for pictures as they come: a model of any size computes large ones in tiles, and one of grey
    pictures takes the channels of others one by one. A model of one size is left as it is. With a model ``grey``
    beside it, ``dae`` is for those in colour."""
    if dae.shape[1]:
        return dae
    whole = Tiled(dae, on_tile=on_tile)
    if grey:
        return GreyOrColour(Tiled(grey, on_tile=on_tile), whole)
    if dae.shape[0] == 3 and dae.corruption.paired:
        return AlsoGrey(whole)
    return ByChannel(whole) if dae.shape[0] == 1 else whole


def _usual_halo(radius: int) -> int:
    return min(radius, max(ENOUGH, radius // 2))


def up(value: int, step: int) -> int:
    """The next multiple."""
    return -(-value // step) * step
