"""Compare dae-sampler with well-known libraries, and BCE with MSE, on MNIST after the same time of training.

    python benchmarks/peers.py run ours --minutes 10 --data-root DATA     # dae-sampler; adds a line to runs/peers.jsonl
    python benchmarks/peers.py table                                      # the lines of this processor, as a table

The table goes to docs/results/quality.md. `make peers` trains everything, in an environment of its own. That takes
hours.

Each library is trained as its documentation shows (optimiser, rate, batch, clipping, averaging), in float32 and under
bfloat16 autocast, and once more by a recipe like dae-sampler's ("tuned": AdamW at 2e-3 with warm-up and cosine decay,
batches of 128, averaged weights). Widths are chosen for 1 to 2 M parameters and labels are left out. lucidrains'
average moves at every step instead of every tenth, because there are few steps. All read the same images from memory.
Samples are drawn by the sampler that suits each library best at few network evaluations.
"""

from __future__ import annotations

import copy
import json
import math
import platform
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from judge import Judge
from page import DOCS, fill
from torch import Tensor, nn

from dae_sampler import DenoisingAutoencoder, Recipe, sample
from dae_sampler.data.dataset import as_dataset
from dae_sampler.device import pick_device, pick_precision
from dae_sampler.noise import Noise
from dae_sampler.pixels import to_float
from dae_sampler.training.loop import TrainingState

SHAPE = (1, 28, 28)
RESULTS = Path("runs/peers.jsonl")
TABLES = {"peers": DOCS / "results" / "quality.md"}
EVALUATIONS = (20, 50)
"""Network evaluations per image."""
SAMPLES = 2000
BATCH = 250
"""Images sampled at once."""
TRIAL = 25
"""Steps of dae-sampler that are timed to tell how many fit into the time."""
WARM = 5
"""Steps before those."""
app = typer.Typer(add_completion=False)


class Lucidrains(nn.Module):
    """denoising-diffusion-pytorch's ElucidatedDiffusion, with its Trainer's optimiser and average as in its README."""

    batch, rate, betas, clip, average = 64, 8e-5, (0.9, 0.99), 1.0, 0.995

    def __init__(self, shape: tuple[int, int, int] = SHAPE) -> None:
        super().__init__()
        from denoising_diffusion_pytorch import Unet
        from denoising_diffusion_pytorch.elucidated_diffusion import ElucidatedDiffusion

        net = Unet(dim=24, dim_mults=(1, 2, 4), channels=shape[0], learned_sinusoidal_cond=True)
        self.diffusion = ElucidatedDiffusion(net, image_size=shape[1], channels=shape[0])

    def forward(self, x: Tensor) -> Tensor:
        return self.diffusion(x)

    def sample(self, n: int, evaluations: int) -> Tensor:
        return self.diffusion.sample_using_dpmpp(n, evaluations)


class Azula(nn.Module):
    """azula's KarrasDenoiser around its UNet, as in its MNIST tutorial, without labels."""

    batch, rate, betas, clip, average = 64, 3e-4, (0.9, 0.999), math.inf, None

    def __init__(self, shape: tuple[int, int, int] = SHAPE) -> None:
        super().__init__()
        from azula.denoise import KarrasDenoiser
        from azula.nn.unet import UNet
        from azula.noise import VPSchedule

        class Backbone(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.unet = UNet(shape[0], shape[0], hid_channels=[24, 48, 96], hid_blocks=[2, 2, 2], mod_features=64)
                self.time = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 64))

            def forward(self, x: Tensor, t: Tensor) -> Tensor:
                return self.unet(x, self.time(t[..., None]))

        self.shape = shape
        self.denoiser = KarrasDenoiser(Backbone(), VPSchedule())

    def forward(self, x: Tensor) -> Tensor:
        return self.denoiser.loss(2 * x - 1, torch.rand(len(x), device=x.device))

    def sample(self, n: int, evaluations: int) -> Tensor:
        from azula.sample import DDIMSampler

        sampler = DDIMSampler(self.denoiser, steps=evaluations, silent=True)
        return (sampler(sampler.init((n, *self.shape))) + 1) / 2


class Diffusers(nn.Module):
    """diffusers' UNet2DModel and DDPM, as in its tutorial on training; sampled by its DPM-Solver++."""

    batch, rate, betas, clip, average = 16, 1e-4, (0.9, 0.999), 1.0, None

    def __init__(self, shape: tuple[int, int, int] = SHAPE) -> None:
        super().__init__()
        from diffusers import DDPMScheduler, UNet2DModel

        self.net = UNet2DModel(
            sample_size=shape[1],
            in_channels=shape[0],
            out_channels=shape[0],
            block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        )
        self.shape = shape
        self.scheduler = DDPMScheduler(num_train_timesteps=1000)

    def forward(self, x: Tensor) -> Tensor:
        noise, t = torch.randn_like(x), torch.randint(0, 1000, (len(x),))
        noisy = self.scheduler.add_noise(2 * x - 1, noise, t)
        return nn.functional.mse_loss(self.net(noisy, t).sample, noise)

    def sample(self, n: int, evaluations: int) -> Tensor:
        from diffusers import DPMSolverMultistepScheduler

        scheduler = DPMSolverMultistepScheduler.from_config(self.scheduler.config)
        scheduler.set_timesteps(evaluations)
        x = torch.randn(n, *self.shape) * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            x = scheduler.step(self.net(scheduler.scale_model_input(x, t), t).sample, t, x).prev_sample
        return (x + 1) / 2


class Preconditioned(DenoisingAutoencoder):
    """A network of dae-sampler with a linear output, and EDM's preconditioning and weighted MSE (Karras et al. 2022,
    table 1).
    """

    def forward(self, x_tilde: Tensor, level: float | Tensor | None = None) -> Tensor:
        sigma, data = self._level(level, x_tilde), 0.5  # corruption.scale divides by their root sum of squares too
        total = sigma.square() + data**2
        inner = self.logits(x_tilde, level)
        return 0.5 + data**2 / total * (x_tilde - 0.5) + sigma * data / total.sqrt() * inner

    def loss(self, x: Tensor, level: Tensor, noise: Noise, target: Tensor | None = None) -> Tensor:
        sigma = self._level(level, x)
        weight = (sigma.square() + 0.25) / (0.5 * sigma).square()
        return (weight * (self(self.corruption.draw(x, sigma, noise).x_tilde, level) - x).square()).flatten(1).mean(1)


def weighted(kind: type[DenoisingAutoencoder], power: float) -> type[DenoisingAutoencoder]:
    """The same model with a loss that counts σ^-power at level σ."""
    if not power:
        return kind

    class Weighted(kind):
        def loss(self, x: Tensor, level: Tensor, *arguments: Any, **options: Any) -> Tensor:
            return super().loss(x, level, *arguments, **options) * level**-power

    return Weighted


PEERS = {"lucidrains": Lucidrains, "azula": Azula, "diffusers": Diffusers}
MEANS = ("parameters", "images", "took", "evaluated at 50", "distance at 50")
KEYS = ("processor", "minutes", "name", "net", "levels", "precision")
"""What tells one method from another. Lines that agree in these are seeds of one method."""
DEFAULT = ("ours", f"`unet`, batches of {Recipe.batch}", "`lognormal(-0.5, 1.2)`", "bfloat16")
"""The method whose time in the table is *minutes of dae-sampler*: the default training."""
OURS = {"ours": (DenoisingAutoencoder, "bce"), "mse": (DenoisingAutoencoder, "mse"), "edm": (Preconditioned, "mse")}


def processor_name() -> str:
    """The name of this machine's processor, with its family and model where Linux tells them."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().partition("\n\n")[0].splitlines() if info.is_file() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" in facts:
        return f"{facts['model name']}, family {facts.get('cpu family')}, model {facts.get('model')}"
    return platform.processor() or platform.machine()


PROCESSOR = processor_name()


def decayed(x: float) -> float:
    """The learning rate over its peak after a share ``x`` of the time: short warm-up, cosine decay."""
    return min(x / 0.04, (1 + math.cos(math.pi * min(x, 1))) / 2)


class Trained(NamedTuple):
    """A model after its training."""

    model: nn.Module
    """With the weights to sample with."""
    images: int
    """Images seen."""
    seconds: float


def train_peer(
    model: nn.Module, images: Tensor, seconds: float, bfloat16: bool, tuned: bool, batch: int = 128
) -> Trained:
    """Train another library's model for so many seconds; ``batch`` is that of the tuned recipe."""
    batch, rate, clip = (batch, 2e-3, 1.0) if tuned else (model.batch, model.rate, model.clip)
    kind = torch.optim.AdamW if tuned or isinstance(model, Diffusers) else torch.optim.Adam
    optimizer, average = kind(model.parameters(), rate, model.betas), copy.deepcopy(model).eval().requires_grad_(False)
    began, step = time.monotonic(), 0
    while (spent := (time.monotonic() - began) / seconds) < 1:
        x = to_float(images[torch.randint(len(images), (batch,))])
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = model(x)
        loss.backward()
        if tuned or isinstance(model, Diffusers):
            optimizer.param_groups[0]["lr"] = rate * decayed(spent)
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        keep = (1 - 1 / step) ** 17 if tuned else min(model.average or 0, 1 - 1 / step)
        torch._foreach_lerp_(list(average.parameters()), [p.detach() for p in model.parameters()], 1 - keep)
    return Trained(average, step * batch, time.monotonic() - began)


def train_ours(dae: DenoisingAutoencoder, images: Tensor, recipe: Recipe, seconds: float) -> Trained:
    """Train a model of dae-sampler by the recipe for about so many seconds, by the speed of its first steps."""
    rows = torch.arange(len(images))
    trial = start(copy.deepcopy(dae), images, recipe)
    for done in range(TRIAL + WARM):
        if done == WARM:
            began = time.monotonic()
        trial.advance(rows)
    recipe = replace(recipe, steps=max(1, round(seconds / (time.monotonic() - began) * TRIAL)))
    state, began = start(dae, images, recipe), time.monotonic()
    while state.step < recipe.steps:
        state.advance(rows)
    return Trained(state.average, recipe.steps * recipe.batch, time.monotonic() - began)


class OwnLoss(nn.Module):
    """The mean of what the model itself calls its loss. Training takes it from the card, which has no words for those
    that are only tried here.
    """

    def __init__(self, dae: DenoisingAutoencoder) -> None:
        super().__init__()
        self.dae = dae

    def forward(self, x: Tensor, level: Tensor, noise: Noise, *others: object) -> Tensor:
        """``x`` (B,C,H,W) in [0,1], ``level`` (B,) -> (); the ``others`` of a training do not matter here."""
        return self.dae.loss(x, level, noise).mean()


def start(dae: DenoisingAutoencoder, images: Tensor, recipe: Recipe) -> TrainingState:
    """A training that is about to begin; that of a subclass goes by the subclass's loss."""
    state = TrainingState(dae, recipe, as_dataset(images))
    if type(dae) is not DenoisingAutoencoder:
        state.loss = OwnLoss(dae)
    return state


@torch.inference_mode()
def draw(model: nn.Module, n: int, evaluations: int, bfloat16: bool) -> Iterator[Tensor]:
    """``n`` samples, in batches."""
    if isinstance(model, DenoisingAutoencoder):
        yield sample(model, n, sampler="dpm(eta=1)", steps=evaluations)
        return
    for _ in range(n // BATCH):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            yield model.sample(BATCH, evaluations).float().clamp(0, 1)


@app.command()
def run(
    name: Annotated[
        str, typer.Argument(help=f"dae-sampler by its own loss (ours), mse or edm; or {', '.join(PEERS)}.")
    ],
    data_root: Annotated[str, typer.Option(envvar="DAE_SAMPLER_DATA", help="The folder that holds MNIST.")],
    minutes: float = 10,
    seed: int = 0,
    precision: str = "auto",
    tuned: bool = False,
    net: Annotated[str, typer.Option(help="Network, of dae-sampler.")] = "unet",
    batch: Annotated[int, typer.Option(help="Images per step, of dae-sampler.")] = Recipe.batch,
    lr: Annotated[float, typer.Option(help="Peak learning rate, of dae-sampler.")] = Recipe.lr,
    density: Annotated[str, typer.Option(help="Density of the levels, of dae-sampler.")] = "lognormal(-0.5, 1.2)",
    power: Annotated[float, typer.Option(help="p of the weight σ^-p of a level's loss, of dae-sampler.")] = 0,
    processor: Annotated[str, typer.Option(help="Its name in the table.")] = PROCESSOR,
) -> None:
    """Train one model for so many minutes, sample from it, and judge the samples."""
    judge = Judge(data_root)
    precision = pick_precision(precision, pick_device("cpu"))
    torch.manual_seed(seed)
    if name in OURS:
        kind, loss = OURS[name]
        model = weighted(kind, power)(net, f"gaussian(0.02..20, {density})", SHAPE, loss, seed)
        model.precision = precision
        trained = train_ours(model, judge.train, Recipe(batch=batch, lr=lr, seed=seed), 60 * minutes)
    else:
        model = PEERS[name]()
        trained = train_peer(model, judge.train, 60 * minutes, precision == "bfloat16", tuned)
    result = {
        "name": name + " (tuned)" * tuned,
        "net": f"`{net}`, batches of {batch}" if name in OURS else "",
        "levels": f"`{density}`" + f", times σ^-{power:g}" * (power > 0) if name in OURS else "",
        "precision": precision,
        "processor": processor,
        "minutes": minutes,
        "seed": seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "images": trained.images,
        "took": trained.seconds / 60,
    }
    for evaluations in EVALUATIONS:
        began = time.monotonic()
        x = torch.cat(list(draw(trained.model, SAMPLES, evaluations, precision == "bfloat16")))
        result[f"evaluated at {evaluations}"] = SAMPLES * evaluations / (time.monotonic() - began)
        result[f"distance at {evaluations}"] = judge.frechet(x)
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(result) + "\n")
    print(json.dumps(result))


@app.command()
def table(processor: Annotated[str, typer.Option(help="Take the lines of this one only.")] = PROCESSOR) -> None:
    """Fill docs/results/quality.md: a row for each method on one processor, by time and distance, with its seeds."""
    groups, others = defaultdict(dict), set()
    for line in RESULTS.read_text().splitlines():
        found = json.loads(line)
        if found["processor"] == processor:
            groups[tuple(found[key] for key in KEYS)][found["seed"]] = found
        else:
            others.add(found["processor"])
    if not groups:
        raise SystemExit(f"{RESULTS} has no lines of {processor!r}, only of {sorted(others)}: choose by --processor")
    figures = {
        key: {name: mean(found[name] for found in seeds.values()) for name in MEANS} for key, seeds in groups.items()
    }
    times = curve(figures)
    rows = []
    for key in sorted(groups, key=lambda key: (*key[:2], figures[key]["distance at 50"])):
        (_, _, name, net, levels, precision), f = key, figures[key]
        name = {"ours": "dae-sampler"}.get(name, name)
        seeds = groups[key].values()
        distances = (" / ".join(f"{found[f'distance at {e}']:.0f}" for found in seeds) for e in EVALUATIONS)
        rows.append(
            [
                processor,
                f"{name} {f'{net}, {levels}' if net else ''}".strip(),
                f"{f['parameters'] / 1e6:.2f} M",
                precision,
                f"{f['took']:.1f}",
                *distances,
                time_to(f["distance at 50"], times),
                f"{f['images'] / f['took'] / 60:.0f}",
                f"{f['evaluated at 50']:.0f}",
            ]
        )
    header = ["processor", "method", "parameters", "precision", "minutes"]
    header += [
        *(f"distance, {e} evaluations" for e in EVALUATIONS),
        "minutes of dae-sampler",
        "training images/s",
        "evaluations/s",
    ]
    fill(TABLES, "peers", header, rows)


def curve(figures: dict[tuple, dict[str, float]]) -> list[tuple[float, float]]:
    """Minutes of the default training, each with its distance, where that is lower than any before."""
    runs = sorted((f["took"], f["distance at 50"]) for key, f in figures.items() if key[2:] == DEFAULT)
    return [(took, best) for i, (took, best) in enumerate(runs) if all(best < before for _, before in runs[:i])]


def time_to(distance: float, curve: list[tuple[float, float]]) -> str:
    """Minutes of training that reach the distance, by a power law between the measured ones."""
    if not curve:
        return ""
    minutes, distances = np.log(curve).T
    if not distances[-1] <= math.log(distance) <= distances[0]:
        return f"< {curve[0][0]:.1f}" if math.log(distance) > distances[0] else f"> {curve[-1][0]:.1f}"
    return f"{math.exp(np.interp(-math.log(distance), -distances, minutes)):.1f}"


if __name__ == "__main__":
    app()
