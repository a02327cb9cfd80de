"""Train a VAE and a GAN and write samples of each, for benchmarks/paper.py and paper_sprites.py to refine.

    python benchmarks/generators.py --data-root DATA [--out runs/generators]     # MNIST, about 6 minutes on 2 cores
    python benchmarks/generators.py --data runs/sprites/train.npz --out runs/sprites/generators --code 64 -n 2000 \
        --vae-steps 3000 --gan-steps 2400 --r1

Both are small on purpose and follow the usual recipes: a VAE with a Bernoulli decoder (Kingma and Welling 2014), and a
DCGAN with the non-saturating loss (Goodfellow et al. 2014; Radford et al. 2016). At 64 pixels that one collapses to one
picture. With `--r1` its discriminator has no normalisation and its gradient at real images is penalised (Mescheder et
al. 2018), and the generator's weights are averaged. The samples go to vae.npy and gan.npy, (N,C,H,W) float32, and the
weights of the VAE to vae.safetensors.
"""

import copy
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from safetensors.torch import save_file
from torch import Tensor, nn

from dae_sampler.data import named as data
from dae_sampler.device import pick_device, pick_precision
from dae_sampler.gallery import grid, save_picture
from dae_sampler.losses import bce
from dae_sampler.noise import batch_indices
from dae_sampler.pixels import to_float

BATCH = 128
R1_BATCH, EVERY = 32, 4
"""Images a step, and steps from one penalty to the next, of the GAN that is penalised."""
Shape = tuple[int, int, int]
Autocast = Callable[[], AbstractContextManager[object]]


class VAE(nn.Module):
    """Dense, with a Bernoulli decoder, of images (C,H,W)."""

    def __init__(self, shape: Shape, code: int) -> None:
        super().__init__()
        self.shape, self.code, pixels = shape, code, math.prod(shape)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 512), nn.ReLU(), nn.Linear(512, 2 * code))
        self.decoder = nn.Sequential(nn.Linear(code, 512), nn.ReLU(), nn.Linear(512, pixels))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A draw of z from q(z | x), and its mean and log variance, each (B, code)."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return mean + (log_variance / 2).exp() * torch.randn_like(mean), mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """Means of p(x | z)."""
        return torch.sigmoid(self.decoder(z).float()).view(-1, *self.shape)

    def loss(self, x: Tensor) -> Tensor:
        z, mean, log_variance = self.encode(x)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return (bce(self.decoder(z).float(), x.flatten(1)).sum(1) + kl).mean()

    def sample(self, n: int) -> Tensor:
        return self.decode(torch.randn(n, self.code))


def doublings(shape: Shape) -> tuple[int, int]:
    """The coarsest side, 7 or less, and how often it doubles to the images'."""
    side = shape[1]
    times = 0
    while side > 7:
        side, times = side // 2, times + 1
    return side, times


def generator(shape: Shape, code: int) -> nn.Sequential:
    """DCGAN's generator: (B, code) -> (B,C,H,W)."""
    side, times = doublings(shape)
    width = 32 * 2 ** (times - 1)
    layers: list[nn.Module] = [nn.Linear(code, width * side**2), nn.Unflatten(1, (width, side, side))]
    for k in range(times):
        after = shape[0] if k == times - 1 else width // 2
        layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.ConvTranspose2d(width, after, 4, stride=2, padding=1)]
        width = after
    return nn.Sequential(*layers, nn.Sigmoid())


def discriminator(shape: Shape, normed: bool = True) -> nn.Sequential:
    """DCGAN's discriminator: (B,C,H,W) -> logit (B,1)."""
    side, times = doublings(shape)
    layers: list[nn.Module] = []
    before, width = shape[0], 32
    for k in range(times):
        norm = [nn.BatchNorm2d(width)] if k and normed else []
        layers += [nn.Conv2d(before, width, 4, stride=2, padding=1), *norm, nn.LeakyReLU(0.2)]
        before, width = width, 2 * width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * side**2, 1))


def train_vae(x: Tensor, steps: int, autocast: Autocast, code: int) -> VAE:
    """A VAE trained on ``x``."""
    vae = VAE(tuple(x.shape[1:]), code)
    optimizer = torch.optim.Adam(vae.parameters(), 1e-3)
    for step in range(steps):
        with autocast():
            loss = vae.loss(to_float(x[batch_indices(0, step, BATCH, len(x))]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return vae


def train_gan(x: Tensor, steps: int, autocast: Autocast, code: int = 64) -> Callable[[int], Tensor]:
    """The sampler of a GAN trained on ``x``: n -> (n,C,H,W)."""
    shape = tuple(x.shape[1:])
    g, d = generator(shape, code), discriminator(shape)
    by_g, by_d = (torch.optim.Adam(net.parameters(), 2e-4, betas=(0.5, 0.999)) for net in (g, d))
    for step in range(steps):
        real = to_float(x[batch_indices(1, step, BATCH, len(x))])
        with autocast():
            fake = g(torch.randn(BATCH, code))
            loss = F.softplus(-d(real).float()).mean() + F.softplus(d(fake.detach()).float()).mean()
        by_d.zero_grad()
        loss.backward()
        by_d.step()
        with autocast():
            loss = F.softplus(-d(fake).float()).mean()
        by_g.zero_grad()
        loss.backward()
        by_g.step()
    g.eval()
    return lambda n: torch.cat([g(z) for z in torch.randn(n, code).split(500)])


def train_r1_gan(x: Tensor, steps: int, autocast: Autocast, code: int = 64) -> Callable[[int], Tensor]:
    """The sampler of a GAN with a penalised discriminator, which sees images as -1 to 1: n -> (n,C,H,W)."""
    shape = tuple(x.shape[1:])
    g, d = generator(shape, code), discriminator(shape, normed=False)
    average = copy.deepcopy(g).requires_grad_(False)
    by_g, by_d = (torch.optim.Adam(net.parameters(), 1e-3, betas=(0.0, 0.99)) for net in (g, d))
    for step in range(steps):
        real = (2 * to_float(x[batch_indices(1, step, R1_BATCH, len(x))]) - 1).requires_grad_(step % EVERY == 0)
        with torch.no_grad(), autocast():
            fake = 2 * g(torch.randn(R1_BATCH, code)) - 1
        with autocast():
            at_real = d(real).float()
            loss = F.softplus(-at_real).mean() + F.softplus(d(fake).float()).mean()
        if real.requires_grad:
            (slope,) = torch.autograd.grad(at_real.sum(), real, create_graph=True)
            loss = loss + EVERY / 2 * slope.square().sum((1, 2, 3)).mean()
        by_d.zero_grad()
        loss.backward()
        by_d.step()
        with autocast():
            loss = F.softplus(-d(2 * g(torch.randn(R1_BATCH, code)) - 1).float()).mean()
        by_g.zero_grad()
        loss.backward()
        by_g.step()
        weights = [w.detach() for w in g.parameters()]
        torch._foreach_lerp_(list(average.parameters()), weights, max(0.001, 1 - step / (step + 100)))
    return lambda n: torch.cat([average(z) for z in torch.randn(n, code).split(500)])  # norms by each batch


def main(
    data_root: Annotated[Path | None, typer.Option(envvar="DAE_SAMPLER_DATA")] = None,
    source: Annotated[str, typer.Option("--data", help="A named set, a folder or an array.")] = "mnist",
    out: Path = Path("runs/generators"),
    code: Annotated[int, typer.Option(help="Numbers in the code of the VAE.")] = 16,
    n: Annotated[int, typer.Option("-n", help="Samples of each.")] = 10_000,
    vae_steps: int = 10_000,
    gan_steps: int = 5_000,
    r1: Annotated[bool, typer.Option("--r1", help="A penalised discriminator, for larger images.")] = False,
) -> None:
    """Train both and write their samples; what gets 0 steps is left as it is."""
    x = data.load(source, root=data_root).images
    bfloat16 = pick_precision("auto", pick_device("cpu")) == "bfloat16"
    out.mkdir(parents=True, exist_ok=True)

    def autocast() -> AbstractContextManager[object]:
        return torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)

    def keep(name: str, began: float, sampler: Callable[[int], Tensor]) -> None:
        with torch.inference_mode():
            samples = sampler(n)
        np.save(out / f"{name}.npy", samples.numpy())
        save_picture(grid(samples[:64]), out / f"{name}.png")
        print(f"{name}: trained in {time.monotonic() - began:.0f} s, wrote {out / name}.npy", flush=True)

    if vae_steps:
        torch.manual_seed(0)
        began = time.monotonic()
        vae = train_vae(x, vae_steps, autocast, code)
        keep("vae", began, vae.sample)
        save_file(vae.state_dict(), out / "vae.safetensors")
    if gan_steps:
        torch.manual_seed(0)
        began = time.monotonic()
        keep("gan", began, (train_r1_gan if r1 else train_gan)(x, gan_steps, autocast))


if __name__ == "__main__":
    typer.run(main)
