"""The measured tables of docs/results/restoration.md: known operators undone, beside what deepinv has for the same.

python benchmarks/restore.py pictures FOLDER --table set12 --model photo-grey [--only METHOD] [--most 3]
python benchmarks/restore.py error FOLDER --model photo-grey
python benchmarks/restore.py digits --data-root DATA
python benchmarks/restore.py shown

deepinv 0.5, torchmetrics and ptwt are needed. Its methods get our denoiser and our operators, so that they undo the
same damage. The edges go round, as in the published tables. What was measured of pictures is kept in
runs/restore.jsonl, a line for each, so that a table can be made in several goes; total variation takes a thousand small
steps a picture, and the mean of 8 samples 80 network calls.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import deepinv
import numpy as np
import torch
import torch.nn.functional as F
import typer
from page import DOCS, fill
from PIL import Image
from torch import Tensor

import dae_sampler
from dae_sampler.data.folder import find
from dae_sampler.evaluation.fidelity import psnr, ssim
from dae_sampler.gallery import grid, save_picture
from dae_sampler.noise import ImageNoise
from dae_sampler.sampling import Mask, Measured, Operator, Pair, tasks
from dae_sampler.sampling.estimate import expected_error
from dae_sampler.sampling.guidance import squared_error
from dae_sampler.sampling.linear import smoothest
from dae_sampler.sampling.operators import blur, downsample, motion
from dae_sampler.sampling.plan import resolve
from dae_sampler.tiles import for_pictures

TABLES = dict.fromkeys(("set12", "kodak24", "error", "digits"), DOCS / "results" / "restoration.md")
KEPT = Path("runs/restore.jsonl")
BLURRED, CLEAN = 2.55 / 255, 0.01 / 255
GRID = (0.001, 0.003, 0.01, 0.03)
"""Weights of total variation and wavelets that are tried; the best on a corner of the first picture is taken."""
CORNER = 96
app = typer.Typer(add_completion=False)


@dataclass
class Case:
    """A picture, what was measured of it, and deepinv's operator if that has a singular value decomposition; ``first``
    is the same damage to a corner of the first picture, on which weights are chosen."""

    x: Tensor
    y: Tensor
    operator: Operator
    noise: float
    svd: Callable[[], deepinv.physics.Physics] | None = None
    first: "Case | None" = None


class Counting(torch.nn.Module):
    """A denoiser that counts its calls, and keeps levels to the model's."""

    def __init__(self, dae) -> None:
        super().__init__()
        self.dae, self.calls = dae, 0
        self.corruption, self.shape, self.device, self.card = dae.corruption, dae.shape, dae.device, dae.card

    def forward(self, x: Tensor, sigma: float | Tensor, **_) -> Tensor:
        self.calls += len(x)
        q = self.corruption
        return self.dae(x.float(), torch.as_tensor(sigma, dtype=torch.float32).flatten().clamp(q.low, q.high))


class Physics(deepinv.physics.LinearPhysics):
    """One of our operators in deepinv."""

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        self.operator = operator

    def A(self, x: Tensor, **_) -> Tensor:  # noqa: N802
        return self.operator.apply(x)

    def A_adjoint(self, y: Tensor, **_) -> Tensor:  # noqa: N802
        return self.operator.adjoint(y)

    def prox_l2(self, z: Tensor, y: Tensor, gamma: float, **_) -> Tensor:
        tau = 1 / torch.as_tensor(gamma)
        return self.operator.prox(z, y, tau.reshape(-1, 1, 1, 1) if tau.ndim else tau.item())


class Mirror(Measured):
    """The estimate by mirror steps in logits: KL(Bern(x) | Bern(r)) in place of |x - r|^2, so that x stays in (0,1).

    z <- z - eta A'(A x - y) / noise^2 - eta lambda (z - logit r), lambda = r (1 - r) / rho^2 in the mean, for KL is
    |x - r|^2 / 2 r (1 - r) to second order.
    """

    def __call__(self, x: Tensor, level: float | Tensor, steps: int = 100) -> Tensor:
        r = self.dae(x, level).clamp(1e-4, 1 - 1e-4)
        rho2 = squared_error(self.card, torch.as_tensor(level, dtype=torch.float32))
        weight = (r * (1 - r)).mean((1, 2, 3), keepdim=True) / rho2
        eta = 1 / (0.25 / self.noise**2 + weight)
        z = goal = torch.logit(r)
        for _ in range(steps):
            pull = self.operator.adjoint(self.operator.residual(torch.sigmoid(z), self.y)) / self.noise**2
            z = z + eta * (pull - weight * (z - goal))
        return torch.sigmoid(z)


def cases(x: Tensor) -> dict[str, Case]:
    """All that is done to a picture (1,C,H,W) whose sides 4 divides."""
    keep = ImageNoise(7, 0, 1).uniform((1, 1, *x.shape[2:])) > 0.5
    shape, line = tuple(x.shape[1:]), motion(15, 30, circular=True)
    gauss = deepinv.physics.functional.gaussian_blur(sigma=(1.6, 1.6))
    given = {
        "×2, bicubic": (downsample(2, circular=True), CLEAN, None),
        "×4, bicubic": (downsample(4, circular=True), CLEAN, None),
        "blur 1.6": (blur(1.6, circular=True), BLURRED, lambda: deepinv.physics.BlurFFT(shape, gauss)),
        "motion 15": (line, BLURRED, lambda: deepinv.physics.BlurFFT(shape, line.kernel[None, None])),
        "half missing": (Mask(keep), CLEAN, lambda: deepinv.physics.Inpainting(shape, mask=keep[0].float())),
    }
    made = {}
    for i, (name, (operator, noise, svd)) in enumerate(given.items()):
        noise = max(noise, 1e-4)  # the least that is taken
        made[name] = Case(x, tasks.measure(operator, x, noise, seed=i), operator, noise, svd)
    return made


def by_us(sampler: str, steps: int, samples: int = 1) -> Callable:
    """Our restorations, or their mean."""

    def restore(dae, case: Case) -> Tensor:
        plan = resolve("restore", dae, sampler, steps)
        options = {"noise": case.noise, "samples": samples}
        return next(tasks.restore(dae, [case.y], plan, case.operator, **options)).mean(0, keepdim=True)

    return restore


def by_mirror(dae, case: Case) -> Tensor:
    """Eight steps of ``iterate`` with mirror steps in logits."""
    guided, x = Mirror(dae, case.y, case.operator, case.noise), smoothest(case.operator, case.y, case.noise)
    for state in resolve("restore", dae, "iterate", 8).states(guided, x, ImageNoise(0, 0, 1)):
        x = state.x
    return x


def by_dpir(dae, case: Case) -> Tensor:
    """Zhang et al. 2021, eight calls."""
    return deepinv.optim.DPIR(sigma=max(case.noise, dae.corruption.low), denoiser=dae)(case.y, Physics(case.operator))


def by_diffpir(steps: int) -> Callable:
    """Zhu et al. 2023."""

    def restore(dae, case: Case) -> Tensor:
        fidelity = deepinv.optim.data_fidelity.L2()
        method = deepinv.sampling.DiffPIR(dae, fidelity, sigma=max(case.noise, 0.001), max_iter=steps)
        known = int((method.reduced_alpha_cumprod <= dae.corruption.high).sum())  # its schedule cut to the model's
        first = method.num_train_timesteps - known
        method.seq = torch.linspace(first**2, (method.num_train_timesteps - 1) ** 2, steps).sqrt().int()
        start = smoothest(case.operator, case.y, case.noise)
        return method(case.y, Physics(case.operator), seed=1, x_init=start)

    return restore


def by_ddrm(steps: int) -> Callable:
    """Kawar et al. 2022."""

    def restore(dae, case: Case) -> Tensor | None:
        if case.svd is None:
            return None
        physics, q = case.svd(), dae.corruption
        physics.noise_model = deepinv.physics.GaussianNoise(case.noise)
        return deepinv.sampling.DDRM(dae, sigmas=np.linspace(q.high, q.low, steps))(case.y, physics, seed=1)

    return restore


def by_prior(make: Callable) -> Callable:
    """Proximal gradient steps with a prior of deepinv's, its weight the best of ``GRID`` on a small picture."""

    def solve(case: Case, weight: float) -> Tensor:
        step = 1.0  # |A|^2 is at most 1
        method = deepinv.optim.PGD(
            data_fidelity=deepinv.optim.data_fidelity.L2(), prior=make(), lambda_reg=weight, stepsize=step, max_iter=50
        )
        return method(case.y, Physics(case.operator), init=smoothest(case.operator, case.y, case.noise))

    chosen: dict[int, float] = {}

    def restore(dae, case: Case) -> Tensor:
        first = case.first or case
        if id(first) not in chosen:
            chosen[id(first)] = max(GRID, key=lambda weight: psnr(solve(first, weight), first.x).item())
        return solve(case, chosen[id(first)])

    return restore


def by_bicubic(dae, case: Case) -> Tensor | None:
    """A small picture enlarged."""
    if case.operator.factor == 1:
        return None
    return F.interpolate(case.y, size=case.x.shape[2:], mode="bicubic", align_corners=False)


METHODS: dict[str, Callable] = {
    "bicubic": by_bicubic,
    "smoothest picture": lambda dae, case: smoothest(case.operator, case.y, case.noise),
    "total variation (deepinv)": by_prior(lambda: deepinv.optim.TVPrior(n_it_max=20)),
    "wavelets (deepinv)": by_prior(lambda: deepinv.optim.WaveletPrior(wv="db4", mode="periodic")),
    "DPIR (deepinv)": by_dpir,
    "DiffPIR (deepinv), 40 steps": by_diffpir(40),
    "DiffPIR (deepinv), 20 steps": by_diffpir(20),
    "DDRM (deepinv), 40 steps": by_ddrm(40),
    "dae-sampler, `hqs`, 4 steps": by_us("hqs", 4),
    "dae-sampler, `hqs`, 8 steps": by_us("hqs", 8),
    "dae-sampler, `hqs`, 20 steps": by_us("hqs", 20),
    "dae-sampler, `iterate`, 8 steps": by_us("iterate", 8),
    "dae-sampler, `dpm`, 8 steps": by_us("dpm", 8),
    "dae-sampler, `dpm(eta=1)`, 10 steps": by_us("dpm(eta=1)", 10),
    "dae-sampler, mean of 8 by `dpm(eta=1)`": by_us("dpm(eta=1)", 10, samples=8),
    "dae-sampler, `walk`, 10 steps": by_us("walk", 10),
    "dae-sampler, mean of 8 by `walk`": by_us("walk", 10, samples=8),
    "in logits, by mirror steps": by_mirror,
}


def read(folder: Path, channels: int, most: int, side: int | None) -> Iterator[tuple[str, Tensor]]:
    """Name and (1,C,H,W) in [0,1] of each picture, cut to sides that 4 divides."""
    for path in find(folder, [])[0][: most or None]:
        picture = Image.open(path).convert("L" if channels == 1 else "RGB")
        x = torch.from_numpy(np.array(picture)).float().reshape(picture.height, picture.width, -1).permute(2, 0, 1)
        height, width = (min(n, side or n) // 4 * 4 for n in x.shape[1:])
        yield path.name, x[None, :, :height, :width] / 255


@app.command()
def pictures(
    folder: Path,
    table: Annotated[str, typer.Option(help="set12 or kodak24.")],
    model: str = "photo-grey",
    most: Annotated[int, typer.Option(help="The first pictures only; 0: all.")] = 0,
    side: Annotated[int | None, typer.Option(help="Cut pictures to this side.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="These methods; default: all.")] = None,
    damage: Annotated[list[str] | None, typer.Option(help="These kinds of damage; default: all.")] = None,
) -> None:
    """PSNR, SSIM, network calls and seconds of each method, means over the pictures of a folder."""
    dae, done = for_pictures(dae_sampler.load(model)), kept()
    KEPT.parent.mkdir(exist_ok=True)
    first: dict[str, Case] = {}
    for name, x in read(folder, 1 if table == "set12" else 3, most, side):
        first = first or cases(x[:, :, :CORNER, :CORNER])
        for kind, case in cases(x).items():
            case.first = first[kind]
            for method in (only or METHODS) if kind in (damage or kind) else ():
                key = (table, model, str(side or ""), name, kind, method)
                if key not in done and (values := measured(METHODS[method], dae, case)):
                    done[key] = values
                    print(*key, *(f"{value:.3f}" for value in values), flush=True)
                    with KEPT.open("a") as file:
                        file.write(json.dumps([key, values]) + "\n")
    fill(TABLES, table, *table_of(done, (table, model, str(side or ""))))


def measured(restore: Callable, dae, case: Case) -> list[float] | None:
    """PSNR, SSIM, network calls and seconds; None if the method does not do such a case, or fails."""
    counting, began = Counting(dae), time.perf_counter()
    with torch.no_grad():
        made = restore(counting, case)
    if made is None or made.isnan().any():
        return None
    seconds = time.perf_counter() - began
    return [psnr(made, case.x).item(), ssim(made, case.x).item(), counting.calls, seconds]


def kept() -> dict[tuple, list[float]]:
    """What was measured: by (table, model, side, picture, damage, method), what :func:`measured` gives."""
    rows = [json.loads(line) for line in KEPT.read_text().splitlines()] if KEPT.is_file() else []
    return {tuple(key): values for key, values in rows}


def table_of(done: dict[tuple, list[float]], which: tuple) -> tuple[list[str], list[list]]:
    """Header and rows of a table, means over the pictures; a damage's methods in the order of ``METHODS``."""
    found: dict[tuple, list[list[float]]] = {}
    for (*where, _, kind, method), values in done.items():
        if tuple(where) == which:
            found.setdefault((kind, method), []).append(values)
    rows = []
    for kind in dict.fromkeys(kind for kind, _ in found):
        for method in METHODS:
            if values := found.get((kind, method)):
                quality, alike, calls, seconds = np.mean(values, 0)
                row = [f"{quality:.2f}", f"{alike:.4f}", f"{calls:.0f}", f"{seconds:.1f}"]
                rows.append([kind, method, len(values), *row])
    return ["damage", "method", "pictures", "PSNR, dB", "SSIM", "network calls", "seconds"], rows


@app.command()
def error(folder: Path, model: str = "photo-grey", most: int = 0, side: int | None = None) -> None:
    """The error that ``denoise --error`` expects beside the real one, over all pixels and in fifths of them."""
    began, dae = time.monotonic(), for_pictures(dae_sampler.load(model))
    images, rows = [x for _, x in read(folder, dae.shape[0] or 1, most, side)], []
    for grey_levels in (10, 25, 50):
        sigma, expected, real = grey_levels / 255, [], []
        for i, x in enumerate(images):
            x_tilde = x + sigma * ImageNoise(0, i, 1).normal(x.shape)
            expected.append(expected_error(dae, x_tilde, sigma).flatten())
            with torch.no_grad():
                real.append((dae(x_tilde, sigma) - x).flatten())
        e, d = torch.cat(expected), torch.cat(real)
        fifths = e.argsort().chunk(5)
        shown = [f"{_rms(e[rows_]) * 255:.2f} / {_rms(d[rows_]) * 255:.2f}" for rows_ in [slice(None), *fifths]]
        rows.append([f"{grey_levels}/255", *shown])
    header = ["σ", "all pixels", *(f"fifth {i + 1}" for i in range(5))]
    fill(TABLES, "error", header, rows, time.monotonic() - began)


@app.command()
def digits(data_root: Annotated[str, typer.Option(envvar="DAE_SAMPLER_DATA")], n: int = 1000, calls: int = 60) -> None:
    """Hidden halves of test digits filled by the measured denoiser and by RePaint's resampling, at equal calls."""
    from judge import Judge
    from torchvision.datasets import MNIST

    from dae_sampler.data.masks import load_mask
    from dae_sampler.pixels import to_float

    began, judge, dae, rows = time.monotonic(), Judge(data_root), dae_sampler.load("mnist"), []
    x, labels = to_float(judge.test[:n]), MNIST(data_root, train=False).targets[:n]
    for half in ("right", "left", "top", "bottom"):
        keep = load_mask(half, (1, 28, 28))
        repaint = dae_sampler.inpaint(dae, x, keep, sampler="ancestral(resample=4)", steps=calls // 4)
        walked = dae_sampler.inpaint(dae, x, keep, steps=calls)
        ours = dae_sampler.restore(dae, x * keep, Mask(keep), steps=calls)
        ways = {"`inpaint`, ancestral(resample=4)": repaint, "`inpaint`": walked, "`restore`": ours}
        for name, made in ways.items():
            rows.append([f"{half} half hidden", name, *_judged(judge, made, labels)])
            print(rows[-1], flush=True)
    same = Pair(lambda v: v, lambda v: v)
    noisy = tasks.measure(same, x, 0.4)
    rows.append(["noise 0.4", "`restore`", *_judged(judge, dae_sampler.restore(dae, noisy, same, noise=0.4), labels)])
    fill(TABLES, "digits", ["test digits", "by", "Fréchet distance", "label kept"], rows, time.monotonic() - began)


@app.command()
def shown() -> None:
    """A photograph blurred by motion, restored, and as it was."""
    place = DOCS / "results" / "restoration"
    place.mkdir(exist_ok=True)
    picture = np.array(Image.open(DOCS / "images" / "chelsea.png").convert("RGB"))
    x, operator = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255, motion(15, 30)
    y = tasks.measure(operator, x, BLURRED)
    made = dae_sampler.restore(dae_sampler.load("photo-colour"), y, operator, noise=BLURRED)
    save_picture(grid(torch.cat([y, made, x]).clamp(0, 1), columns=3), place / "motion.png")
    print(f"PSNR {psnr(made, x).item():.2f} dB")


def _judged(judge, made: Tensor, labels: Tensor) -> list[str]:
    return [f"{judge.frechet(made):.1f}", f"{judge.accuracy(made, labels):.3f}"]


def _rms(values: Tensor) -> float:
    return values.square().mean().sqrt().item()


if __name__ == "__main__":
    app()
