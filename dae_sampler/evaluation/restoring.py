"""How well a model restores pictures to which noise of known strength was added."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from statistics import fmean

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
    """How near one picture comes at one level, or several in the mean.

    PSNR in dB, of values clipped to [0,1]; SSIM is not-a-number without torchmetrics.
    """

    picture: str
    level: float
    psnr_before: float
    psnr: float
    ssim_before: float
    ssim: float


def evaluate_restoring(
    dae: Denoiser, pictures: Iterable[tuple[int, str, Tensor]], plan: Plan, levels: Sequence[float], *, seed: int = 0
) -> list[Fidelity]:
    """Add the model's corruption to pictures at each level, restore them, and compare: each picture at each level.

    Args:
        dae: the model.
        pictures: number, name and (1,C,H,W), float32 in [0,1]; the noise is a function of (seed, number), the same at
            all levels. Under torchrun each process has its share of them, and has the rows of all in the end.
        plan: how to restore, from any level.
        levels: of the corruption.
        seed: of the noise.
    """
    rows: list[tuple[int, Fidelity]] = []
    measures = (psnr, ssim) if has_ssim() else (psnr,)
    for number, name, clean in pictures:
        for level in levels:
            noise = ImageNoise(seed, DAMAGE + number, 1)
            noisy = dae.corruption.draw(clean, torch.tensor(level), noise).x_tilde
            made = next(tasks.denoise(dae, [noisy], plan.at(level), seed=seed, first=number))
            values = [measure(x, clean).item() for measure in measures for x in (noisy, made)]
            rows.append((number, Fidelity(name, level, *values, *[math.nan] * (4 - len(values)))))
    return [row for _, row in sorted(distributed.gather(rows), key=lambda pair: pair[0])]


def means(rows: Sequence[Fidelity]) -> list[Fidelity]:
    """One row for each level, over all pictures."""
    found = []
    for level in dict.fromkeys(row.level for row in rows):
        mine = [astuple(row)[2:] for row in rows if row.level == level]
        found.append(Fidelity(f"mean of {len(mine)}", level, *map(fmean, zip(*mine, strict=True))))
    return found
