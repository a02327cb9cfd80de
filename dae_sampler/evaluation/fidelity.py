"""How near restored images are to clean ones."""

from __future__ import annotations

import math
from importlib.util import find_spec

import torch
from torch import Tensor

from ..errors import InputError

_WINDOW = 11


def psnr(x: Tensor, clean: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 log10(1 / mean squared error), over all channels of an image together.

    Args:
        x: (N,C,H,W), in [0,1]; values outside are clipped.
        clean: of the same shape.

    Returns:
        (N,), infinite where both are equal.
    """
    return -10 * (x.clamp(0, 1).double() - clean.double()).square().flatten(1).mean(1).log10()


def has_ssim() -> bool:
    """Whether torchmetrics, which computes :func:`ssim`, is installed."""
    return find_spec("torchmetrics") is not None


def ssim(x: Tensor, clean: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004: Gaussian window of 11 pixels, sigma 1.5), data range 1; (N,).

    Arguments are those of :func:`psnr`; not-a-number for images of fewer than 11 pixels on a side.

    Raises:
        InputError: torchmetrics is not installed.
    """
    if not has_ssim():
        raise InputError("SSIM needs torchmetrics: pip install 'dae-sampler[evaluate]'")
    from torchmetrics.functional.image import structural_similarity_index_measure as measure

    if min(x.shape[2:]) < _WINDOW:
        return torch.full((len(x),), math.nan)
    found = measure(x.clamp(0, 1).double(), clean.double(), data_range=1.0, reduction="none")
    assert isinstance(found, Tensor)
    return found.reshape(-1)
