"""Erasure: pixels are hidden and the network is told which, which gives binary images a likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import levels
from ..errors import InputError
from ..noise import Noise
from .base import Corrupted, Corruption


class Erasure(Corruption):
    """Pixels of a binary image erased, with a mask that shows which: x_tilde = [keep x, keep], (B,C+1,H,W).

    At rate u the e = ceil(u d) erased pixels of d are a uniformly random set, so over 0..1 their number is uniform on
    1..d. Weighted by d/e on the erased pixels, the mean BCE is then the order-agnostic bound on -log p(x) per pixel
    (Uria, Murray and Larochelle 2014; see :mod:`~dae_sampler.evaluation.likelihood`).
    """

    name = "erasure"
    extra = 1
    binary = True
    unseen = True
    least_added = 1e-9

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Corrupted:
        order = noise.uniform((x.shape[0], *x.shape[2:])).flatten(1).argsort(1).argsort(1)
        erased = (level.to(x.device).expand(len(x), 1, 1, 1).flatten(1) * order.shape[1] - 1e-4).ceil().clamp(min=1)
        x_tilde = self.hide(x, (order >= erased).unflatten(1, x.shape[2:])[:, None])
        gone = 1 - x_tilde[:, -1:]
        return Corrupted(x_tilde, x, gone / gone.mean((2, 3), keepdim=True))

    def hide(self, x: Tensor, keep: Tensor) -> Tensor:
        """``x`` (B,C,H,W) with the pixels where ``keep`` (B,1,H,W) is false erased."""
        return torch.cat([x * keep, keep.to(x.dtype)], 1)

    def complete(self, x_tilde: Tensor, r: Tensor) -> Tensor:
        return torch.where(x_tilde[:, -1:] > 0, x_tilde[:, :-1], r)

    def scale(self, x_tilde: Tensor, level: Tensor) -> Tensor:
        """Kept pixels become -1 or 1, erased ones 0; the mask stays."""
        x, keep = x_tilde[:, :-1], x_tilde[:, -1:]
        return torch.cat([(2 * x - 1) * keep, keep], 1)

    def schedule(self, steps: int, start: float | None = None) -> Tensor:
        """Down to 0: every number of erased pixels is passed through."""
        if not self.ranged:
            return super().schedule(steps, start)
        return levels.linear(self.high if start is None else start, 0, steps)

    def prior(self, n: int, shape: tuple[int, int, int], noise: Noise) -> Tensor:
        if self.ranged and self.high < 1:
            raise InputError(
                f"{self} never saw an image with all its pixels erased: train with erasure(0..1) to sample"
            )
        return self.draw(noise.uniform((n, *shape)).round(), torch.tensor(self.high), noise).x_tilde

    def begin(self, known: Tensor, keep: Tensor, noise: Noise) -> Tensor:
        return self.hide(known, keep)

    def preview(self, x: Tensor, level: float) -> Tensor:
        return x[:, :-1]
