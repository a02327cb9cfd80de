"""How near pictures are to clean ones."""

import math

import pytest
import torch

from dae_sampler.evaluation.fidelity import psnr, ssim


def test_psnr_of_a_known_error():
    clean = torch.full((2, 3, 5, 4), 0.5)
    x = clean + torch.tensor([0.1, 0.0]).reshape(2, 1, 1, 1)
    assert psnr(x, clean).tolist() == [pytest.approx(20.0, abs=1e-5), math.inf]
    assert psnr(clean + 9, clean)[0].item() == pytest.approx(-20 * math.log10(0.5))  # clipped


def test_ssim_is_that_of_the_paper():
    clean = torch.rand(1, 1, 32, 24, generator=torch.Generator().manual_seed(0))
    assert ssim(clean, clean).tolist() == [pytest.approx(1.0)]
    flat = torch.full_like(clean, 0.3)  # of constants only the means are compared
    expected = (2 * 0.3 * 0.7 + 1e-4) / (0.3**2 + 0.7**2 + 1e-4)
    assert ssim(flat, torch.full_like(clean, 0.7)).tolist() == [pytest.approx(expected, abs=1e-4)]
    assert ssim(clean[..., :9], clean[..., :9]).isnan().all()
