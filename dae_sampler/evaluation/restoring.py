"""How well a model restores pictures to which noise of known strength was added."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import distributed
from ..noise import DAMAGE, ImageNoise
from ..sampling import tasks
from ..sampling.plan import Plan
from ..sampling.samplers import Denoiser
from .fidelity import has_ssim, psnr, ssim


@dataclass(frozen=True)
class Fidelity:
    """Means over pictures, at one level.

    PSNR in dB, of values clipped to [0,1]; SSIM is not-a-number without torchmetrics.
    """

    level: float
    psnr_before: float
    psnr: float
    ssim_before: float
    ssim: float
    pictures: int


def evaluate_restoring(
    dae: Denoiser, pictures: Iterable[tuple[int, Tensor]], plan: Plan, levels: Sequence[float], *, seed: int = 0
) -> list[Fidelity]:
    """Add the model's corruption to pictures at each level, restore them, and compare.

    Args:
        dae: the model.
        pictures: number and (1,C,H,W), float32 in [0,1]; the noise is a function of (seed, number), the same at all
            levels. Under torchrun each process has its share of them.
        plan: how to restore, from any level.
        levels: of the corruption.
        seed: of the noise.
    """
    sums = torch.zeros(len(levels), 5, dtype=torch.float64)
    measures = (psnr, ssim) if has_ssim() else (psnr,)
    for number, clean in pictures:
        for row, level in enumerate(levels):
            noise = ImageNoise(seed, DAMAGE + number, 1)
            noisy = dae.corruption.draw(clean, torch.tensor(level), noise).x_tilde
            made = next(tasks.denoise(dae, [noisy], plan.at(level), seed=seed, first=number))
            values = [measure(x, clean).item() for measure in measures for x in (noisy, made)]
            sums[row] += torch.tensor([*values, *[math.nan] * (4 - len(values)), 1.0])
    sums = distributed.all_reduce(sums)
    count = int(sums[0, 4])
    means = (sums[:, :4] / max(1, count)).tolist()
    return [Fidelity(level, a, b, c, d, count) for level, (a, b, c, d) in zip(levels, means, strict=True)]
