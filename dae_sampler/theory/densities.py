"""Densities on [0,1]^d whose smoothed density is known exactly, to hold a trained DAE against.

With p_sigma = p * N(0, sigma^2 I), the posterior mean under Gaussian corruption is (Robbins 1956; Miyasawa 1961)

    r(x_tilde) = E[x | x_tilde] = x_tilde + sigma^2 grad log p_sigma(x_tilde)          at every sigma > 0,

of which the theorem of Alain & Bengio (2014) and Creswell et al. (2017) is the limit sigma -> 0. Since log p_sigma(x) +
|x|^2 / (2 sigma^2) is convex, a step x <- x + eta (r(x) - x) with 0 < eta < 2 raises log p_sigma by at least

    eta (1 - eta/2) |r(x) - x|^2 / sigma^2.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from ..corruption.base import Corruption


class Density(ABC):
    """A density p on [0,1]^d, with its smoothed versions. Everything is float64; points are (N,d)."""

    dim: int

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """``n`` draws from p, (n,d)."""

    @abstractmethod
    def log_p(self, x: Tensor, sigma: float) -> Tensor:
        """log p_sigma at ``x`` (N,d), in nats: (N,)."""

    def score(self, x: Tensor, sigma: float) -> Tensor:
        """grad log p_sigma at ``x``, (N,d)."""
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            return torch.autograd.grad(self.log_p(x, sigma).sum(), x)[0]

    def posterior_mean(self, x_tilde: Tensor, sigma: float) -> Tensor:
        """E[x | x_tilde], (N,d)."""
        return x_tilde + sigma**2 * self.score(x_tilde, sigma)


class Boxes(Density):
    """A mixture of uniform densities on boxes; smoothed, each is a product of differences of normal integrals.

    Args:
        low, high: opposite corners of each box, (K,d), 0 <= low < high <= 1.
        weights: of the boxes, (K,); equal by default.
    """

    def __init__(self, low: Tensor, high: Tensor, weights: Tensor | None = None) -> None:
        self.low, self.high = low.double(), high.double()
        weights = torch.ones(len(low)) if weights is None else weights
        self.weights = weights.double() / weights.sum()
        self.dim = low.shape[1]

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        u = torch.rand(n, self.dim, generator=generator, dtype=torch.float64)
        return self.low[k] + (self.high - self.low)[k] * u

    def log_p(self, x: Tensor, sigma: float) -> Tensor:
        above, below = (x[:, None] - self.low) / sigma, (x[:, None] - self.high) / sigma
        # in the upper tail both integrals are near 1: take them from the other side
        flip = above + below > 0
        above, below = torch.where(flip, -below, above), torch.where(flip, -above, below)
        log_above = torch.special.log_ndtr(above)
        inside = log_above + torch.log1p(-torch.exp(torch.special.log_ndtr(below) - log_above))
        return torch.logsumexp(self.weights.log() + (inside - (self.high - self.low).log()).sum(2), 1)


class Gaussians(Density):
    """A mixture of isotropic Gaussians, redrawn where they leave [0,1]^d (their mass outside should be below 1e-8).

    Args:
        means: (K,d).
        stds: (K,).
        weights: (K,); equal by default.
    """

    def __init__(self, means: Tensor, stds: Tensor, weights: Tensor | None = None) -> None:
        self.means, self.variances = means.double(), stds.double().square()
        weights = torch.ones(len(means)) if weights is None else weights
        self.weights = weights.double() / weights.sum()
        self.dim = means.shape[1]

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.dim, generator=generator, dtype=torch.float64)
        x = self.means[k] + self.variances[k, None].sqrt() * z
        outside = ((x < 0) | (x > 1)).any(1)
        return torch.cat([x[~outside], self.sample(int(outside.sum()), generator)]) if outside.any() else x

    def log_p(self, x: Tensor, sigma: float) -> Tensor:
        return self._log_parts(x, sigma).logsumexp(1)

    def score(self, x: Tensor, sigma: float) -> Tensor:
        weights = self._log_parts(x, sigma).softmax(1) / (self.variances + sigma**2)
        return weights @ self.means - weights.sum(1, keepdim=True) * x

    def _log_parts(self, x: Tensor, sigma: float) -> Tensor:
        """Log of each Gaussian's share of p_sigma, (N,K)."""
        variances = self.variances + sigma**2
        normalisers = self.dim / 2 * (2 * math.pi * variances).log()
        return self.weights.log() - torch.cdist(x, self.means).square() / (2 * variances) - normalisers


class Points(Gaussians):
    """Equal masses on a set of points (N,d): the data set itself. Smoothed, a mixture of N Gaussians."""

    def __init__(self, points: Tensor) -> None:
        super().__init__(points, torch.zeros(len(points)))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.means[torch.randint(len(self.means), (n,), generator=generator)]


def boxes() -> Boxes:
    """Four boxes in the square, of unequal size and weight, two of which touch."""
    low = torch.tensor([[0.10, 0.15], [0.55, 0.10], [0.55, 0.40], [0.20, 0.65]])
    high = torch.tensor([[0.40, 0.45], [0.90, 0.40], [0.70, 0.85], [0.40, 0.90]])
    return Boxes(low, high, torch.tensor([3.0, 2.0, 3.0, 2.0]))


def gaussians() -> Gaussians:
    """Three Gaussians in the square, of unequal width and weight."""
    means = torch.tensor([[0.35, 0.40], [0.65, 0.65], [0.70, 0.35]])
    return Gaussians(means, torch.tensor([0.055, 0.05, 0.04]), torch.tensor([4.0, 3.0, 2.0]))


NAMED: dict[str, Callable[[], Density]] = {"boxes": boxes, "gaussians": gaussians}


class Exact:
    """The exact denoiser of a density, shown as images of ``shape``: it can take a model's place in every sampler."""

    def __init__(self, density: Density, corruption: Corruption, shape: tuple[int, int, int]) -> None:
        self.density, self.corruption, self.shape, self.device = density, corruption, shape, torch.device("cpu")

    def __call__(self, x: Tensor, level: float | Tensor) -> Tensor:
        sigma = float(torch.as_tensor(level).flatten()[0])
        return self.density.posterior_mean(x.flatten(1).double(), sigma).view_as(x).to(x.dtype)
