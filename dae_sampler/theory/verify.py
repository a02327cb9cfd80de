"""The paper's claim, measured: does a trained DAE point up the density, and does iterating it climb?

Held against densities of :mod:`.theory`, of which everything is known: r(x_tilde) - x_tilde against sigma^2 grad log
p_sigma(x_tilde), over x_tilde ~ p_sigma, and the true log p_sigma along x <- x + eta (r(x) - x).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..dae import DenoisingAutoencoder
from ..data import named
from ..data.dataset import Dataset
from ..errors import unknown
from ..noise import ImageNoise
from ..pixels import to_float
from ..sampling.samplers import Denoiser, iterate
from ..training.loop import fit
from ..training.recipe import Recipe
from .densities import NAMED, Density, Exact, Gaussians, Points

GROUPS = 20
"""Groups of draws whose spread gives the confidence intervals."""
ROUNDING = 1e-9
"""Share of log p_sigma that a rise may lack: float64 sums of logarithms."""
DRAWS = 1 << 18
"""Training images drawn from a density, if that is not more than ``VALUES`` numbers."""
VALUES = 1 << 26
SMALL = (0.1, 0.05, 0.02, 0.01, 0.005)
"""Levels at which the smoothed density is compared with the density itself."""
BATCH, RATE = 1024, 2e-3


class Agreement(NamedTuple):
    """How well a denoiser's r - x_tilde agrees with the true one at a level; intervals hold 95 %."""

    sigma: float
    relative_error: float
    """sqrt(E|difference|^2 / E|truth|^2), 0 is perfect."""
    relative_error_interval: float
    """Half the width of the interval around ``relative_error``."""
    cosine: float
    """Cosine of the two fields in L2(p_sigma), 1 is perfect."""
    cosine_interval: float


@torch.no_grad()
def agreement(dae: Denoiser, density: Density, sigma: float, n: int = 20_000, seed: int = 1) -> Agreement:
    """Compare a denoiser with the truth at ``n`` draws from p_sigma."""
    generator = torch.Generator().manual_seed(seed)
    x = density.sample(n, generator)
    x_tilde = x + sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    size = n // GROUPS
    parts = [_compare(dae, density, sigma, group) for group in x_tilde.split(size)[:GROUPS]]
    squares = torch.stack(parts)  # (groups, [difference^2, truth^2, product, learned^2])
    relative = (squares[:, 0] / squares[:, 1]).sqrt()
    cosine = squares[:, 2] / (squares[:, 1] * squares[:, 3]).sqrt()
    width = 1.96 / GROUPS**0.5
    difference, truth, product, learned = squares.sum(0)
    return Agreement(
        sigma,
        (difference / truth).sqrt().item(),
        width * relative.std().item(),
        (product / (truth * learned).sqrt()).item(),
        width * cosine.std().item(),
    )


def _compare(dae: Denoiser, density: Density, sigma: float, x_tilde: Tensor) -> Tensor:
    truth = density.posterior_mean(x_tilde, sigma) - x_tilde
    learned = dae(x_tilde.float().view(-1, *dae.shape), sigma).flatten(1).double() - x_tilde
    return torch.stack(
        [v.sum() for v in ((learned - truth).square(), truth.square(), truth * learned, learned.square())]
    )


class Climb(NamedTuple):
    """Steps of plain iteration, and what the true log p_sigma did."""

    steps: int
    """Steps longer than the tolerance."""
    rising: float
    """Share of them along which log p_sigma rose."""
    reaching: float
    """Share of them that rose by at least eta (1 - eta/2) |r - x|^2 / sigma^2."""
    paths: Tensor
    """Where each start went, (steps+1, N, d)."""


@torch.no_grad()
def climb(
    dae: Denoiser,
    density: Density,
    start: Tensor,
    sigma: float,
    *,
    steps: int = 20,
    eta: float = 1.0,
    tolerance: float = 0.1,
) -> Climb:
    """Iterate from ``start`` (N,d), in the denoiser's precision, at one sigma.

    Steps with |r - x| below ``tolerance`` sigma sqrt(d/2) are not judged: near a mode an estimate's error is all there
    is, and its length grows with the dimension d as that of the noise does.
    """
    levels = torch.full((steps + 1,), sigma)
    x = start.view(-1, *dae.shape)
    states = [start, *(s.x.flatten(1) for s in iterate(dae, x, levels, ImageNoise(0, 0, len(x)), eta=eta))]
    paths = torch.stack([s.double() for s in states])
    log_p = torch.stack([density.log_p(x, sigma) for x in paths])
    length = (paths[1:] - paths[:-1]).norm(dim=2) / eta
    bound = eta * (1 - eta / 2) * length.square() / sigma**2
    rise, judged = log_p.diff(dim=0), length > tolerance * sigma * math.sqrt(density.dim / 2)
    slack = ROUNDING * log_p[1:].abs().clamp(min=1)
    share = lambda which: which[judged].double().mean().item()  # noqa: E731
    return Climb(int(judged.sum()), share(rise >= -slack), share(rise >= bound - slack), paths)


def limit(density: Density, sigmas: Sequence[float], n: int = 20_000, seed: int = 1) -> list[float]:
    """sqrt(E|grad log p_sigma - grad log p|^2 / E|grad log p|^2) over x ~ p, for a smooth density: 0 as sigma -> 0."""
    x = density.sample(n, torch.Generator().manual_seed(seed))
    truth = density.score(x, 0.0)
    return [((density.score(x, s) - truth).square().sum() / truth.square().sum()).sqrt().item() for s in sigmas]


@dataclass(frozen=True)
class Verification:
    """What :func:`verify` found."""

    models: dict[str, DenoisingAutoencoder]
    """By loss."""
    agreements: dict[str, list[Agreement]]
    """By loss, one a sigma."""
    climbed_at: float
    """The sigma of the climbs."""
    climbs: dict[str, Climb]
    """By loss, and of the ``exact`` denoiser."""
    limit: list[tuple[float, float]]
    """(sigma, :func:`limit` there); empty where the density is not smooth."""

    def to_json(self) -> dict[str, Any]:
        """For JSON."""
        climbs = {k: {"steps": c.steps, "rising": c.rising, "reaching": c.reaching} for k, c in self.climbs.items()}
        agreements = {loss: [a._asdict() for a in some] for loss, some in self.agreements.items()}
        return agreements | {"climb_sigma": self.climbed_at, "climb": climbs, "limit": self.limit}


def density(name: str, points: int, root: Path | None) -> tuple[Density, tuple[int, int, int], Dataset | None]:
    """A density of ``theory.NAMED``, or the first images of a data set as a set of points; the shape of its images; and
    the data set.

    Raises:
        InputError: there is no such density or data set.
    """
    if name in NAMED:
        return NAMED[name](), (1, 1, NAMED[name]().dim), None
    if not name or (not Path(name).exists() and name not in named.NAMED):
        raise unknown("density", name, [*NAMED, *named.NAMED])
    dataset = named.load(name, root=root)
    images = to_float(dataset.images[:points], dataset.span)
    return Points(images.flatten(1)), dataset.shape, dataset


def verify(
    truth: Density,
    shape: tuple[int, int, int],
    sigmas: list[float],
    net: str,
    steps: int,
    seed: int = 0,
    on_step: Callable[[], None] | None = None,
) -> Verification:
    """Train DAEs on draws from ``truth`` by BCE and by MSE, and compare both with it.

    Args:
        truth: the density, whose draws are shown as images of ``shape`` (C,H,W).
        shape: its sizes multiply to the dimension of the density.
        sigmas: levels to compare at; training covers them with a margin.
        net: text form of the network.
        steps: training steps of each model.
        seed: of the draws, the weights and the noise.
        on_step: called after each training step.
    """
    draws = min(DRAWS, VALUES // truth.dim)
    x = truth.sample(draws, torch.Generator().manual_seed(seed)).float().view(-1, *shape)
    low, high = 0.7 * min(sigmas), 1.25 * max(sigmas)  # a margin, and most of the training at low sigma, the hardest
    width = math.log(high / low) / 4
    corruption = f"gaussian({low!r}..{high!r}, lognormal({math.log(low) + width!r}, {width!r}))"
    recipe = Recipe(steps=steps, batch=BATCH, lr=RATE, every=steps, seed=seed)
    models = {}
    for loss in ("bce", "mse"):
        dae = DenoisingAutoencoder(net, corruption, shape, loss, seed)
        models[loss] = fit(dae, x, recipe, on_progress=lambda progress: on_step() if on_step else None)
    middle = sigmas[len(sigmas) // 2]
    start = x[: min(500, VALUES // (100 * truth.dim) + 1)].flatten(1)
    start = start + middle * torch.randn(start.shape, generator=torch.Generator().manual_seed(seed))
    exact = Exact(truth, models["bce"].corruption, shape)
    climbs = {loss: climb(dae, truth, start, middle) for loss, dae in models.items()}
    climbs["exact"] = climb(exact, truth, start.double(), middle)
    smooth = isinstance(truth, Gaussians) and truth.variances.min() > 0
    return Verification(
        models,
        {
            loss: [agreement(dae, truth, s, n=max(GROUPS, min(20_000, VALUES // truth.dim))) for s in sigmas]
            for loss, dae in models.items()
        },
        middle,
        climbs,
        list(zip(SMALL, limit(truth, SMALL), strict=True)) if smooth else [],
    )
