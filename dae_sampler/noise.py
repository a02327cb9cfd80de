"""Random numbers as functions of a seed and a position, so that there is no generator state to keep.

Training draws are a function of (seed, step) for the global batch, of which a process keeps its slice: the losses
do not depend on how many processes share the work, and a resumed run continues exactly. Sampling draws are a
function of (seed, index of the image): image i gets the same noise whatever the batch it is computed in.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .errors import InputError

DAMAGE = 2**32
"""Added to the index of an image whose damage is drawn, so that a sampler of the same seed does not draw it again."""


class Noise(Protocol):
    """A source of random tensors; ``shape`` includes the batch."""

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Independent N(0, 1), float32."""
        ...

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Independent U[0, 1), float32."""
        ...


class StepNoise:
    """Noise for one training step: drawn on ``device`` for the global batch, sliced by rank.

    Args:
        seed: seed of the run.
        step: number of the step, from 0.
        rank, world: this process and how many there are; batches are split evenly.
    """

    def __init__(self, seed: int, step: int, device: torch.device | str = "cpu", rank: int = 0, world: int = 1) -> None:
        self.key = int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
        self.generator = torch.Generator(device).manual_seed(self.key)
        self.rank, self.world = rank, world

    def on_cpu(self) -> StepNoise:
        """A source on the CPU, where data are taken: they need not wait for a GPU then. There, it is this one."""
        if self.generator.device.type == "cpu":
            return self
        there = copy.copy(self)
        there.generator = torch.Generator().manual_seed(self.key)
        return there

    def normal(self, shape: Sequence[int]) -> Tensor:
        return self._slice(torch.randn, shape)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        return self._slice(torch.rand, shape)

    def _slice(self, draw: Callable[..., Tensor], shape: Sequence[int]) -> Tensor:
        n = shape[0]
        full = draw((n * self.world, *shape[1:]), generator=self.generator, device=self.generator.device)
        return full[n * self.rank : n * (self.rank + 1)]


class ImageNoise:
    """Noise for sampling: image i of the batch draws from its own generator, seeded with (seed, first + i).

    Args:
        seed: seed of the call.
        first: index of the batch's first image among all images of the call.
        count: images in the batch; every ``shape[0]`` must equal it.
    """

    def __init__(self, seed: int, first: int, count: int, device: torch.device | str = "cpu") -> None:
        if seed < 0:
            raise InputError(f"`seed` must be 0 or more, got {seed}")
        # numpy's generators keep all bits of (seed, index); torch's CPU generator keeps 32, and would repeat images.
        self.generators = [np.random.default_rng((seed, first + i)) for i in range(count)]
        self.device = device

    def normal(self, shape: Sequence[int]) -> Tensor:
        return self._drawn(shape, lambda g: g.standard_normal(shape[1:], dtype=np.float32))

    def uniform(self, shape: Sequence[int]) -> Tensor:
        return self._drawn(shape, lambda g: g.random(shape[1:], dtype=np.float32))

    def _drawn(self, shape: Sequence[int], draw: Callable[[np.random.Generator], np.ndarray]) -> Tensor:
        out = np.empty((len(self.generators), *shape[1:]), np.float32)
        for i, generator in enumerate(self.generators):
            out[i] = draw(generator)
        return torch.from_numpy(out).to(self.device)


def batch_indices(seed: int, step: int, batch: int, n: int) -> Tensor:
    """Indices of the global batch at ``step``: epoch after epoch, each a fresh permutation of ``range(n)``.

    Returns:
        int64 (batch,), a function of the arguments alone.
    """
    positions = torch.arange(step * batch, (step + 1) * batch)
    epochs = positions // n
    out = torch.empty(batch, dtype=torch.int64)
    for epoch in epochs.unique().tolist():
        here = epochs == epoch
        out[here] = _permutation(seed, epoch, n)[positions[here] % n]
    return out


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, n: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng((seed, epoch, n)).permutation(n))
