"""Our operators against those of deepinv (extra ``interop``)."""

import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler.sampling import Mask
from dae_sampler.sampling.operators import Grey, blur, downsample, motion

physics = pytest.importorskip("deepinv.physics", reason="deepinv is not installed")
SHAPE = (3, 16, 24)


def pictures(*shape, seed=0):
    return torch.rand(2, *(shape or SHAPE), generator=torch.Generator().manual_seed(seed))


def gaussian(sigma=1.6, radius=8):
    line = torch.exp(-torch.arange(-radius, radius + 1).double().square() / (2 * sigma**2))
    return (torch.outer(line, line) / line.sum() ** 2).float()[None, None]


def same():
    """Pairs of operators that are to be the same."""
    keep = pictures(1, *SHAPE[1:])[:1, 0] > 0.5
    line = motion(5, 30, circular=True)
    return {
        "mask": (Mask(keep), physics.Inpainting(SHAPE, mask=keep.float())),
        "blur": (blur(1.6, circular=True), physics.BlurFFT(SHAPE, gaussian())),
        "motion": (line, physics.BlurFFT(SHAPE, line.kernel[None, None])),
    }


@pytest.mark.parametrize("name", ["mask", "blur", "motion"])
def test_operator_adjoint_and_proximal_step_are_those_of_deepinv(name):
    ours, theirs = same()[name]
    x, tau = pictures(), 0.05
    y = ours.apply(pictures(seed=1))
    torch.testing.assert_close(ours.apply(x), theirs.A(x), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.adjoint(y), theirs.A_adjoint(y), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.prox(x, y, tau), theirs.prox_l2(x, y, gamma=1 / tau), atol=1e-3, rtol=0)


def test_grey_is_that_of_deepinv_by_the_same_weights():
    torch.testing.assert_close(
        Grey().apply(pictures()), physics.Decolorize(srf="rec601").A(pictures()), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("factor", [2, 4])
def test_downsampling_is_that_of_deepinv_in_matlabs_manner_and_of_pillow(factor):
    x = pictures(1, 32, 48)
    made = downsample(factor).apply(x)
    torch.testing.assert_close(made, physics.DownsamplingMatlab(factor).A(x), atol=1e-5, rtol=0)
    small = Image.fromarray(x[0, 0].numpy()).resize((48 // factor, 32 // factor), Image.Resampling.BICUBIC)
    inside = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(made[0, 0][inside], torch.from_numpy(np.array(small))[inside], atol=1e-5, rtol=0)


@pytest.mark.parametrize("ours", [blur(1.6), downsample(2), motion(5, 30), Grey()])
def test_the_proximal_step_solves_the_problem_that_deepinv_solves(ours):
    """Of ours with reflected edges deepinv has no like: its solver gets our A and adjoint."""
    theirs = physics.LinearPhysics(A=ours.apply, A_adjoint=ours.adjoint, max_iter=200, tol=1e-6)
    x, tau = pictures(), 0.05
    y = ours.apply(pictures(seed=1))
    z = ours.prox(x, y, tau)
    torch.testing.assert_close(z, theirs.prox_l2(x, y, gamma=1 / tau), atol=1e-3, rtol=0)
    slope = ours.adjoint(ours.apply(z) - y) + tau * (z - x)
    assert slope.abs().max() < 1e-3
    torch.testing.assert_close((theirs.A(x) * y).sum(), (x * ours.adjoint(y)).sum(), atol=0, rtol=1e-4)
