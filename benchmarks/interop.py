"""A trained DAE, as it is, in other libraries: k-diffusion's samplers, and a plug-and-play restoration by deepinv.

    make interop DATA=...        # in an environment of its own, because k-diffusion installs a lot

``dae(x, sigma)`` is a denoiser of images in [0,1]. Neither library asks for more.
"""

from pathlib import Path
from typing import Annotated

import deepinv
import k_diffusion.sampling as k
import torch
import typer

from dae_sampler import load
from dae_sampler.data import named as data
from dae_sampler.gallery import grid, save_picture
from dae_sampler.noise import ImageNoise
from dae_sampler.pixels import to_float
from dae_sampler.sampling.samplers import SAMPLERS

SAME = 1e-4


@torch.inference_mode()
def samplers(n: int = 64, steps: int = 18) -> None:
    """Check that k-diffusion's samplers give what dae-sampler's give, from the same noise along the same levels."""
    dae = load("mnist", precision="float32")
    levels, noise = dae.corruption.schedule(steps), ImageNoise(0, 0, n)
    x = dae.corruption.prior(n, dae.shape, noise)
    for name, theirs in (("euler", k.sample_euler), ("heun", k.sample_heun), ("dpm", k.sample_dpmpp_2m)):
        here = [state.x for state in SAMPLERS[name].function(dae, x, levels, noise)][-1]
        difference = (here - theirs(dae, x, levels, disable=True)).abs().max().item()
        print(f"{name} and k_diffusion.sampling.{theirs.__name__}: largest difference {difference:.1e}")
        assert difference < SAME
    other = k.sample_dpmpp_2m_sde(dae, x, levels[:-1], disable=True)
    save_picture(grid(other.clamp(0, 1)), Path("interop-samples.png"))


def restoration(root: Path, n: int = 64, blur: float = 1.5, noise: float = 0.03) -> None:
    """Restore blurred, noisy test digits by DPIR (Zhang et al. 2021), with the DAE as its denoiser."""
    dae = load("mnist", precision="float32")
    x = to_float(data.load("mnist", root=root, train=False).images[:n])
    physics = deepinv.physics.Blur(
        filter=deepinv.physics.functional.gaussian_blur(sigma=(blur, blur)),
        padding="circular",
        noise_model=deepinv.physics.GaussianNoise(noise, rng=torch.Generator().manual_seed(0)),
    )
    y = physics(x)
    restored = deepinv.optim.DPIR(sigma=noise, denoiser=dae)(y, physics)
    psnr = deepinv.metric.PSNR()
    before, after = psnr(y.clamp(0, 1), x).mean().item(), psnr(restored.clamp(0, 1), x).mean().item()
    print(f"deblurring {n} digits with deepinv's DPIR: PSNR {before:.2f} dB before, {after:.2f} dB after")
    rows = torch.cat([images[:12].clamp(0, 1) for images in (x, y, restored)])
    save_picture(grid(rows, columns=12), Path("interop-deblurred.png"))
    assert after > before + 5


def main(data_root: Annotated[Path, typer.Option(envvar="DAE_SAMPLER_DATA")]) -> None:
    """Run both checks."""
    samplers()
    restoration(data_root)


if __name__ == "__main__":
    typer.run(main)
