"""A convolution whose training is faster on CPUs with AMX."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device import multiplies_tiles

IMAGES, LONGEST = 16, 8
"""Images side by side, and the longest row for which that pays."""


class Convolution(nn.Conv2d):
    """A 3x3 convolution (padding 1): (B,C,H,W) -> (B,C,H,W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        tiles = self.training and torch.is_autocast_enabled("cpu") and multiplies_tiles(x.device)
        if tiles and x.shape[-1] <= LONGEST and len(x) % IMAGES == 0:  # an export, which has free sizes, asks for none
            return ShortRows.apply(x, self.weight, self.bias)
        return super().forward(x)


class ShortRows(torch.autograd.Function):
    """A 3x3 convolution (padding 1) whose weights' gradient takes images side by side, a column of zeros after each.

    The gradient is the same. oneDNN sums it over tiles of 32 pixels of a row (AMX), which the row of one small image
    leaves mostly empty; how much faster it is over strips of images is in docs/results/performance.md.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors

        def gradients(x: Tensor, grad: Tensor, *wanted: bool) -> tuple[Tensor, Tensor, Tensor]:
            sizes = [len(weight)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1  # bias, stride, padding, dilation, ...
            return torch.ops.aten.convolution_backward(grad, x, weight, *sizes, wanted)

        of_weights = gradients(ShortRows.strips(x), ShortRows.strips(grad), False, True, True)
        return gradients(x, grad, True, False, False)[0], *of_weights[1:]

    @staticmethod
    def strips(x: Tensor) -> Tensor:
        """(B,C,H,W) -> (B/16,C,H,16(W+1))."""
        images = x.permute(0, 2, 3, 1).unflatten(0, (-1, IMAGES)).transpose(1, 2)
        n, height, k, width, channels = images.shape
        strips = x.new_empty(n, height, k, width + 1, channels)
        strips[..., :width, :], strips[..., width, :] = images, 0
        return strips.flatten(2, 3).permute(0, 3, 1, 2)
