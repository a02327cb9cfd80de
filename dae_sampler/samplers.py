"""Samplers: a trained DAE applied again and again, to noise or to seed images.

Each is a generator function ``sampler(dae, x, levels, noise, **options)`` over one denoiser call r(x, level) =
E[x_clean | x]: it takes the state x at ``levels[0]`` through ``levels`` (K+1 of them, the last 0 for those that follow
a falling sigma) and yields a :class:`State` after each of the K steps. Anything that iterates, progress bars,
trajectories and early stopping, hangs on that one loop. ``dae`` may be any callable with a ``corruption``.

With sigma the level and p_sigma the density smoothed by it:

    iterate    x <- x + eta (r - x)                    climbs log p_sigma (Alain & Bengio 2014; Creswell et al. 2017)
    walk       x <- q(. | r(x))                        corrupt, denoise, repeat (Bengio et al. 2013)
    langevin   x <- x + eta (r - x) + sigma sqrt(2 eta) z   (Song & Ermon 2019)
    euler      dx/dsigma = (x - r) / sigma             probability flow (Song et al. 2021; DDIM)
    heun       the same to second order                (Karras et al. 2022, algorithm 1; churn: algorithm 2)
    dpm        the same, multistep, in ln sigma        (DPM-Solver++ 2M: Lu et al. 2022)
    ancestral  x ~ q(x_next | x, r)                    DDPM's reverse step (Ho et al. 2020; Song et al. 2021)
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .corruption import Corruption
from .errors import InputError, unknown
from .images import to_float
from .noise import ImageNoise, Noise


class State(NamedTuple):
    """Where a sampler stands after a step."""

    x: Tensor
    """The iterate, (B,C,H,W)."""
    x_hat: Tensor
    """The last reconstruction r(x, level), (B,C,H,W) in (0,1): what the sample would be if sampling ended here."""
    level: float
    """The level that x is at now."""


class Denoiser(Protocol):
    """What samplers need of a model."""

    corruption: Corruption
    shape: tuple[int, int, int]
    device: torch.device

    def __call__(self, x: Tensor, level: float | Tensor) -> Tensor:
        """The posterior mean of the clean image, same shape as ``x``."""
        ...


def iterate(dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise, *, eta: float = 1.0) -> Iterator[State]:
    """Plain iteration x <- x + eta (r(x) - x), 0 < eta < 2; any corruption. It finds modes of the smoothed density.

    At a fixed sigma each step raises log p_sigma by at least eta (1 - eta/2) |r - x|^2 / sigma^2; eta = 1 is mean
    shift. No noise is added.
    """
    if not 0 < eta < 2:
        raise InputError(f"eta must be between 0 and 2 for iteration to climb, got {eta:g}")
    for level, following in itertools.pairwise(levels.tolist()):
        x_hat = dae(x, level)
        x = x + eta * (x_hat - x)
        yield State(x, x_hat, following)


def walk(dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise) -> Iterator[State]:
    """Corrupt and denoise in turn, x <- q(r(x)); any corruption. The states yielded are the denoised ones."""
    for k, (level, following) in enumerate(itertools.pairwise(levels.tolist())):
        if k:
            x = dae.corruption(x, torch.tensor(level, device=x.device), noise)
        x = dae(x, level)
        yield State(x, x, following)


def langevin(dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise, *, eta: float = 0.3) -> Iterator[State]:
    """Annealed Langevin dynamics, one step a level, x <- x + eta (r - x) + sigma sqrt(2 eta) z. Gaussian corruption.

    That is Langevin's step of size eta sigma^2 along the score; at a fixed sigma it samples p_sigma, up to order eta.

    Args:
        eta: step size in units of sigma^2, between 0 and 1. The smaller, the more levels it takes.
    """
    if not 0 < eta < 1:
        raise InputError(f"eta must be between 0 and 1 for langevin, got {eta:g}")
    for sigma, following in itertools.pairwise(levels.tolist()):
        x_hat = dae(x, sigma)
        x = x + eta * (x_hat - x) + sigma * (2 * eta) ** 0.5 * noise.normal(x.shape) if following > 0 else x_hat
        yield State(x, x_hat, following)


def euler(dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise) -> Iterator[State]:
    """The probability-flow ODE dx/dsigma = (x - r)/sigma by Euler's method: order 1. Gaussian corruption."""
    for sigma, following in itertools.pairwise(levels.tolist()):
        x_hat = dae(x, sigma)
        x = x_hat + following / sigma * (x - x_hat)
        yield State(x, x_hat, following)


def heun(dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise, *, churn: float = 0.0) -> Iterator[State]:
    """The probability-flow ODE by Heun's method: order 2, two network calls a step but the last. Gaussian corruption.

    Args:
        churn: noise added back at each step, as a fraction of sigma: sigma <- sigma (1 + churn), 0 to sqrt(2) - 1.
    """
    if not 0 <= churn <= 2**0.5 - 1:
        raise InputError(f"churn must be from 0 to 0.414, got {churn:g}")
    for sigma, following in itertools.pairwise(levels.tolist()):
        if churn:
            raised = min(sigma * (1 + churn), dae.corruption.high)
            x = x + (raised**2 - sigma**2) ** 0.5 * noise.normal(x.shape)
            sigma = raised
        x_hat = dae(x, sigma)
        slope = (x - x_hat) / sigma
        ahead = x + (following - sigma) * slope
        if following > 0:
            x_hat = dae(ahead, following)
            slope = (slope + (ahead - x_hat) / following) / 2
            ahead = x + (following - sigma) * slope
        x = ahead
        yield State(x, x_hat, following)


def dpm(dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise) -> Iterator[State]:
    """The probability-flow ODE by DPM-Solver++(2M): order 2 with one network call a step. Gaussian corruption.

    With h the step in -ln sigma and D = r + h / (2 h_before) (r - r_before), x <- (s/sigma) x + (1 - s/sigma) D for the
    next sigma s (Lu et al. 2022, algorithm 2, in units where the data are not scaled).
    """
    before, before_sigma = None, 0.0
    for sigma, following in itertools.pairwise(levels.tolist()):
        x_hat = ahead = dae(x, sigma)
        if before is not None and 0 < following < sigma < before_sigma:
            ratio = math.log(sigma / following) / math.log(before_sigma / sigma)
            ahead = x_hat + ratio / 2 * (x_hat - before)
        x = ahead + following / sigma * (x - ahead)
        before, before_sigma = x_hat, sigma
        yield State(x, x_hat, following)


def ancestral(dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise) -> Iterator[State]:
    """Draw x_next ~ N(r + (s/sigma)^2 (x - r), s^2 (1 - (s/sigma)^2)) with s the next sigma. Gaussian corruption.

    That is the exact posterior of x + s eps given x + sigma eps' if the clean image is r (Ho et al. 2020, eq. 7).
    """
    for sigma, following in itertools.pairwise(levels.tolist()):
        ratio = (following / sigma) ** 2
        x_hat = dae(x, sigma)
        x = x_hat + ratio * (x - x_hat)
        if following > 0:
            x = x + following * (1 - ratio) ** 0.5 * noise.normal(x.shape)
        yield State(x, x_hat, following)


SAMPLERS: dict[str, Callable[..., Iterator[State]]] = {
    f.__name__: f for f in (iterate, walk, langevin, euler, heun, dpm, ancestral)
}
ANY_CORRUPTION = frozenset({"iterate", "walk"})
"""Samplers that need no range of Gaussian levels."""
USUAL_STEPS = {"iterate": 10, "walk": 50, "langevin": 200, "euler": 40, "heun": 18, "dpm": 20, "ancestral": 50}


def choose(dae: Denoiser, sampler: str | None = None, steps: int | None = None, **options: float) -> tuple[str, int]:
    """Sampler and steps: those given, else the checkpoint's best, else ancestral for a range of sigma, walk for others.

    Raises:
        InputError: the sampler is unknown, does not go with the model's corruption, or does not take the ``options``.
    """
    q, best = dae.corruption, getattr(dae, "info", {}).get("sampler", {})
    follows_sigma = q.ranged and q.is_gaussian
    sampler = sampler or best.get("name") or ("ancestral" if follows_sigma else "walk")
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, SAMPLERS)
    if sampler not in ANY_CORRUPTION and not follows_sigma:
        raise InputError(f"{sampler} needs a range of Gaussian levels, this model has {q}: use walk or iterate")
    for name in options:
        if name not in inspect.signature(SAMPLERS[sampler]).parameters:
            raise InputError(f"{sampler} takes no {name}: leave it out, or choose another sampler")
    if steps is None:
        steps = best["steps"] if best.get("name") == sampler else USUAL_STEPS[sampler]
    if steps < 1:
        raise InputError(f"steps must be 1 or more, got {steps}")
    return sampler, steps


def choose_restorer(
    dae: Denoiser, sampler: str | None = None, steps: int | None = None, **options: float
) -> tuple[str, int]:
    """:func:`choose` for :func:`denoise`: a model of one level restores by r(x), once, if nothing else is asked for."""
    if sampler is None and not dae.corruption.ranged:
        sampler, steps = "iterate", steps or 1
    return choose(dae, sampler, steps, **options)


def batch_size(shape: tuple[int, int, int]) -> int:
    """Images to sample together: enough to keep the machine busy, few enough for its memory."""
    return max(1, min(256, 2**22 // math.prod(shape)))


def start_level(dae: Denoiser, level: float | None = None) -> float:
    """The level to start from: the one given, else the corruption's usual one.

    Raises:
        InputError: the level is outside what the model was trained for.
    """
    q = dae.corruption
    level = q.usual_level if level is None else level
    if not q.low <= level <= q.high:
        raise InputError(f"level {level:g} is outside what the model was trained for, {q}: choose one inside")
    return level


@torch.inference_mode()
def sample(
    dae: Denoiser,
    n: int = 64,
    *,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    first: int = 0,
    on_step: Callable[[State], None] | None = None,
    **options: float,
) -> Tensor:
    """Generate images from noise.

    Args:
        dae: the model.
        n: how many images.
        sampler: a name of ``SAMPLERS``; by default the model's best.
        steps: sampling steps; by default the sampler's own.
        seed: image i is a function of (seed, first + i), whatever the batch it is computed in.
        first: index of the first image.
        on_step: called with the :class:`State` of each batch after each step.
        options: the sampler's own, for example ``churn=0.2``.

    Returns:
        float32 (n,C,H,W) on the CPU, in [0,1].

    Raises:
        InputError: an argument is out of its range or does not go with the model.
    """
    if n < 1:
        raise InputError(f"n must be 1 or more, got {n}")
    sampler, steps = choose(dae, sampler, steps, **options)
    levels = dae.corruption.levels(steps)
    batches, size = [], batch_size(dae.shape)
    for start in range(0, n, size):
        count = min(size, n - start)
        noise = ImageNoise(seed, first + start, count, dae.device)
        x = dae.corruption.prior(count, dae.shape, noise)
        batches.append(_run(SAMPLERS[sampler](dae, x, levels, noise, **options), on_step))
    return torch.cat(batches)


@torch.inference_mode()
def refine(
    dae: Denoiser,
    images: Tensor,
    *,
    level: float | None = None,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    on_step: Callable[[State], None] | None = None,
    **options: float,
) -> Tensor:
    """Move images towards regions of high probability: corrupt them to ``level``, then sample down.

    The higher the level, the more is invented anew. With ``sampler="iterate"`` it is the paper's refinement: plain
    iteration at that level, with no noise added.

    Args:
        dae: the model.
        images: (N,C,H,W) of the model's shape, uint8 or float.
        level: where to start, within the model's levels; by default the corruption's ``usual_level``.
        sampler: a name of ``SAMPLERS``; by default the model's best.
        steps: sampling steps; by default the sampler's own.
        seed: the noise of image i is a function of (seed, i).
        on_step: called with the :class:`State` of each batch after each step.
        options: the sampler's own, for example ``eta=0.5``.

    Returns:
        float32 (N,C,H,W) on the CPU, in [0,1].

    Raises:
        InputError: an argument is out of its range or does not go with the model.
    """
    sampler, steps = choose(dae, sampler, steps, **options)
    return _from_images(dae, images, level, sampler, steps, seed, on_step, options, corrupt=sampler != "iterate")


@torch.inference_mode()
def denoise(
    dae: Denoiser,
    images: Tensor,
    *,
    level: float | None = None,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    on_step: Callable[[State], None] | None = None,
    **options: float,
) -> Tensor:
    """Restore images that are already damaged at ``level``: sample down from there, adding nothing first.

    ``steps=1`` with ``euler`` or ``heun`` is the posterior mean r(x), which has the least squared error but is blurred
    where the damage leaves a choice; more steps settle on one sharp restoration. A model of one level gives r(x) by
    default. Arguments, result and errors are those of :func:`refine`.
    """
    sampler, steps = choose_restorer(dae, sampler, steps, **options)
    return _from_images(dae, images, level, sampler, steps, seed, on_step, options, corrupt=False)


def _from_images(
    dae: Denoiser,
    images: Tensor,
    level: float | None,
    sampler: str,
    steps: int,
    seed: int,
    on_step: Callable[[State], None] | None,
    options: dict[str, float],
    corrupt: bool,
) -> Tensor:
    if images.ndim != 4 or tuple(images.shape[1:]) != tuple(dae.shape):
        wanted, got = "x".join(map(str, dae.shape)), "x".join(map(str, images.shape))
        raise InputError(f"the images are {got}, the model takes (N,{wanted.replace('x', ',')}): convert them first")
    q, level = dae.corruption, start_level(dae, level)
    levels = torch.full((steps + 1,), level) if sampler == "iterate" else q.levels(steps, level)
    batches, size = [], batch_size(dae.shape)
    for start in range(0, len(images), size):
        x = to_float(images[start : start + size]).to(dae.device)
        noise = ImageNoise(seed, start, len(x), dae.device)
        if corrupt:
            x = q(x, torch.tensor(level, device=x.device), noise)
        batches.append(_run(SAMPLERS[sampler](dae, x, levels, noise, **options), on_step))
    return torch.cat(batches)


def _run(steps: Iterator[State], on_step: Callable[[State], None] | None) -> Tensor:
    for state in steps:
        if on_step:
            on_step(state)
    return state.x.clamp(0, 1).cpu()
