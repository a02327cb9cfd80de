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
    unipc      the same, predicted and corrected       (UniPC: Zhao et al. 2023; in multistep.py)
    ancestral  x ~ q(x_next | x, r)                    DDPM's reverse step (Ho et al. 2020; Song et al. 2021)
    consistency  x <- r + sigma_next z                 for a consistency model (Song et al. 2023)

With a measurement y of the picture (:class:`~.guidance.Measured`):

    hqs        x <- r(q(. | x, y))                     half-quadratic splitting, with noise (in splitting.py)

For an erasure the state is x_tilde with its mask:

    reveal     some erased pixels ~ Bern(r)            order-agnostic autoregression (Uria et al. 2014)

For what has no level, such as pairs and blind spots:

    reconstruct  E[x | x_tilde]                        by as few calls of r as the corruption takes
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..corruption.base import Corruption
from ..errors import InputError
from ..noise import Noise
from ..pixels import binarise
from .multistep import unipc
from .splitting import hqs
from .state import Denoiser, State


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


def walk(dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise, *, draw: bool = False) -> Iterator[State]:
    """Corrupt and denoise in turn, x <- q(r(x)); any corruption. The states yielded are the denoised ones.

    Args:
        draw: draw binary pixels from r instead of going on with its means. For binary data, whose pixels are
            independent given x_tilde, the chain then has the data's distribution as its stationary law
            (generalised DAEs: Bengio et al. 2013); the means make for smoother pictures.
    """
    for k, (level, following) in enumerate(itertools.pairwise(levels.tolist())):
        if k:
            x = dae.corruption.draw(x, torch.tensor(level, device=x.device), noise).x_tilde
        x_hat = dae(x, level)
        x = binarise(x_hat, "dynamic", noise) if draw else x_hat
        yield State(x, x_hat, following)


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
            raised = max(sigma, min(sigma * (1 + churn), dae.corruption.high))
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


def dpm(dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise, *, eta: float = 0.0) -> Iterator[State]:
    """The probability-flow ODE by DPM-Solver++(2M): order 2 with one network call a step. Gaussian corruption.

    With h the step in -ln sigma and D = r + h / (2 h_before) (r - r_before), x <- (s/sigma) x + (1 - s/sigma) D for the
    next sigma s (Lu et al. 2022, algorithm 2, in units where the data are not scaled).

    Args:
        eta: noise that is added anew, 0 to 1: x <- D + (s/sigma)^(1+eta) (x - D) + s sqrt(1 - (s/sigma)^(2 eta)) z.
            0 is the ODE; 1 the reverse SDE, that is ``ancestral`` to second order (SDE-DPM-Solver++, Lu et al. 2022).
    """
    if not 0 <= eta <= 1:
        raise InputError(f"eta must be from 0 to 1 for dpm, got {eta:g}")
    before, before_sigma = None, 0.0
    for sigma, following in itertools.pairwise(levels.tolist()):
        x_hat = ahead = dae(x, sigma)
        if before is not None and 0 < following < sigma < before_sigma:
            ratio = math.log(sigma / following) / math.log(before_sigma / sigma)
            ahead = x_hat + ratio / 2 * (x_hat - before)
        x = ahead + (following / sigma) ** (1 + eta) * (x - ahead)
        if eta and following > 0:
            x = x + following * (1 - (following / sigma) ** (2 * eta)) ** 0.5 * noise.normal(x.shape)
        before, before_sigma = x_hat, sigma
        yield State(x, x_hat, following)


def ancestral(dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise, *, resample: int = 1) -> Iterator[State]:
    """Draw x_next ~ N(r + (s/sigma)^2 (x - r), s^2 (1 - (s/sigma)^2)) with s the next sigma. Gaussian corruption.

    That is the exact posterior of x + s eps given x + sigma eps' if the clean image is r (Ho et al. 2020, eq. 7).

    Args:
        resample: take each step this often, with the noise of sigma added back between: lets the rest of an image come
            to terms with pixels that are held (RePaint: Lugmayr et al. 2022).
    """
    if resample not in range(1, 1001):
        raise InputError(f"resample must be a whole number from 1 to 1000, got {resample:g}")
    for sigma, following in itertools.pairwise(levels.tolist()):
        ratio, x_hat = (following / sigma) ** 2, x
        for again in reversed(range(resample if following > 0 else 1)):
            x_hat = dae(x, sigma)
            x = x_hat + ratio * (x - x_hat)
            if following > 0:
                x = x + following * (1 - ratio) ** 0.5 * noise.normal(x.shape)
            if again:
                x = x + (sigma**2 - following**2) ** 0.5 * noise.normal(x.shape)
        yield State(x, x_hat, following)


def consistency(dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise) -> Iterator[State]:
    """x <- r(x) + s z with s the next sigma: multistep consistency sampling (Song et al. 2023, algorithm 1).

    For a model whose r is the end of a trajectory, tuned by :mod:`~dae_sampler.training.consistency`. One step is one
    call from noise to image; each further one adds less noise and calls again.
    """
    for sigma, following in itertools.pairwise(levels.tolist()):
        x_hat = dae(x, sigma)
        x = x_hat + following * noise.normal(x.shape) if following > 0 else x_hat
        yield State(x, x_hat, following)


def reveal(
    dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise, *, temperature: float = 1.0, means: bool = False
) -> Iterator[State]:
    """Fill the erased pixels in random order, x_i ~ Bern(r_i), as fast as ``levels`` fall to 0. Erasure.

    One pixel a step draws from the model's distribution exactly; the more at once, the less each knows of the others.

    Args:
        temperature: divides the logits, above 0; below 1 the likelier value is drawn more often.
        means: end with the probabilities that the pixels were drawn from, a grey image, instead of the draws.
    """
    if not temperature > 0:
        raise InputError(f"temperature must be above 0, got {temperature:g}")
    keep = x[:, -1:]
    erased = (1 - keep).sum((2, 3), keepdim=True)
    # a random order of the erased pixels, the last to be revealed at 0; known pixels come before all of them
    order = (noise.uniform(keep.shape) + 2 * keep).flatten(2).argsort(2).argsort(2).view_as(keep)
    image = probabilities = x[:, :-1]
    for following in levels[1:].tolist():
        x_hat = dae(x, 1 - keep.mean((1, 2, 3)))
        now = (order >= (erased * following / max(levels[0].item(), 1e-9)).round()) & (keep == 0)
        r = torch.sigmoid(torch.logit(x_hat.clamp(0, 1)) / temperature)
        image = torch.where(now, binarise(r, "dynamic", noise), image)
        probabilities = torch.where(now, r, probabilities)
        keep = keep + now
        x = torch.cat([image, keep], 1)
        yield State(torch.cat([probabilities, keep], 1) if means and following <= 0 else x, x_hat, following)


def reconstruct(dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise, *, sigma: float = 0.0) -> Iterator[State]:
    """E[x | x_tilde] where damage has no level: one call of r for most, a few that the corruption averages for others.

    Args:
        sigma: of the noise in x, where it is known and the corruption has a use for it.
    """
    if len(levels) != 2:
        raise InputError("reconstruct is done in one step: leave out `steps`")
    x_hat = dae.corruption.reconstruct(lambda some: dae(some, 0.0), x, noise, sigma)
    yield State(x_hat, x_hat, 0.0)


def _sigmas(q: Corruption) -> bool:
    return q.is_gaussian and q.ranged


def _erasure_rates(q: Corruption) -> bool:
    return bool(q.extra) and q.ranged


@dataclass(frozen=True)
class Sampler:
    """All that is known of a sampler: a row of ``SAMPLERS``."""

    function: Callable[..., Iterator[State]]
    steps: int
    """Usual number of steps."""
    fits: Callable[[Corruption], bool]
    """Whether it goes with a corruption."""
    usual: dict[str, float] = field(default_factory=dict)
    """Its options where nobody names a sampler."""
    painting: dict[str, float] | None = None
    """The same where some pixels are known; None if another sampler is better at that."""
    anneals: bool = True
    """Whether it follows falling levels; else it stays at one, and seed images are not corrupted first."""
    means: bool = False
    """Whether it takes r for the posterior mean, which that of a consistency model is not."""
    leaps: bool = False
    """Whether it leaves out the lowest level, because it goes to 0 from any."""
    measured: bool = False
    """Whether it needs a denoiser that knows a measurement, and so serves to restore alone."""
    renews: bool = False
    """Whether it draws all noise anew at each level."""
    keeps_mask: bool = True
    """Whether it keeps the mask that a state carries; if not, pixels known by that mask are forgotten."""

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def options(self) -> list[str]:
        """Names of what can be set."""
        parameters = inspect.signature(self.function).parameters.values()
        return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


_ROWS = (
    Sampler(dpm, 20, _sigmas, usual={"eta": 1}, means=True),
    Sampler(ancestral, 50, _sigmas, painting={"resample": 4}, means=True),
    Sampler(heun, 18, _sigmas, means=True),
    Sampler(euler, 40, _sigmas, means=True),
    Sampler(unipc, 6, _sigmas, means=True),
    Sampler(langevin, 200, _sigmas, means=True),
    Sampler(hqs, 8, _sigmas, means=True, measured=True),
    Sampler(consistency, 2, _sigmas, painting={}, leaps=True),
    Sampler(reveal, 98, _erasure_rates, painting={}),
    Sampler(walk, 50, lambda q: q.has_level, renews=True, keeps_mask=False),
    Sampler(iterate, 10, lambda q: q.has_level and not q.extra, anneals=False),
    Sampler(reconstruct, 1, lambda q: not q.has_level, anneals=False),
)
SAMPLERS: dict[str, Sampler] = {row.name: row for row in _ROWS}
"""By name, those first that are taken first where nothing is said."""
