"""Train a VAE and a GAN on MNIST and write 10,000 samples of each, for benchmarks/paper.py to refine.

    python benchmarks/generators.py --data-root DATA [--out runs/generators]     # about 6 minutes on 2 cores

Both are small on purpose and follow the usual recipes: a VAE with a Bernoulli decoder (Kingma and Welling 2014), and a
DCGAN with the non-saturating loss (Goodfellow et al. 2014; Radford et al. 2016). The samples go to vae.npy and gan.npy,
(10000,1,28,28) float32.
"""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from dae_sampler.data import named as data
from dae_sampler.device import pick_device, pick_precision
from dae_sampler.gallery import grid, save_picture
from dae_sampler.losses import bce
from dae_sampler.noise import batch_indices
from dae_sampler.pixels import to_float

BATCH, SAMPLES = 128, 10_000


class VAE(nn.Module):
    """Dense, with a Bernoulli decoder."""

    def __init__(self, code: int = 16) -> None:
        super().__init__()
        self.code = code
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 2 * code))
        self.decoder = nn.Sequential(nn.Linear(code, 512), nn.ReLU(), nn.Linear(512, 784))

    def loss(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return (bce(self.decoder(z).float(), x.flatten(1)).sum(1) + kl).mean()

    def sample(self, n: int) -> Tensor:
        return torch.sigmoid(self.decoder(torch.randn(n, self.code)).float()).view(n, 1, 28, 28)


def generator(code: int) -> nn.Sequential:
    """DCGAN's generator: (B, code) -> (B,1,28,28)."""
    return nn.Sequential(
        nn.Linear(code, 64 * 49),
        nn.Unflatten(1, (64, 7, 7)),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
        nn.Sigmoid(),
    )


def discriminator() -> nn.Sequential:
    """DCGAN's discriminator: (B,1,28,28) -> logit (B,1)."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(64 * 49, 1),
    )


def train_vae(x: Tensor, steps: int, autocast) -> Tensor:
    """Samples of a VAE trained on ``x``."""
    vae = VAE()
    optimizer = torch.optim.Adam(vae.parameters(), 1e-3)
    for step in range(steps):
        with autocast():
            loss = vae.loss(to_float(x[batch_indices(0, step, BATCH, len(x))]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        return vae.sample(SAMPLES)


def train_gan(x: Tensor, steps: int, autocast, code: int = 64) -> Tensor:
    """Samples of a GAN trained on ``x``."""
    g, d = generator(code), discriminator()
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
    with torch.inference_mode():
        return torch.cat([g(torch.randn(1000, code)) for _ in range(SAMPLES // 1000)])


def main(
    data_root: Annotated[str, typer.Option(envvar="DAE_SAMPLER_DATA")],
    out: Path = Path("runs/generators"),
    vae_steps: int = 10_000,
    gan_steps: int = 5_000,
) -> None:
    """Train both and write their samples."""
    x = data.load("mnist", root=Path(data_root)).images
    bfloat16 = pick_precision("auto", pick_device("cpu")) == "bfloat16"
    out.mkdir(parents=True, exist_ok=True)
    for name, train, steps in (("vae", train_vae, vae_steps), ("gan", train_gan, gan_steps)):
        torch.manual_seed(0)
        began = time.monotonic()
        samples = train(x, steps, lambda: torch.autocast("cpu", torch.bfloat16, enabled=bfloat16))
        np.save(out / f"{name}.npy", samples.numpy())
        save_picture(grid(samples[:64]), out / f"{name}.png")
        print(f"{name}: {steps} steps in {time.monotonic() - began:.0f} s, wrote {out / name}.npy", flush=True)


if __name__ == "__main__":
    typer.run(main)
