"""Noisy images of known sigma, noised again so that input and target have independent noises.

With x_tilde = x + sigma eps and a fresh z ~ N(0, I), the noises of x_tilde + tau sigma z and of x_tilde - (sigma/tau) z
are sigma (eps + tau z) and sigma (eps - z/tau): their covariance is sigma^2 (1 - 1) = 0, and Gaussians without
covariance are independent. So one noisy image is as good as two exposures (Recorrupted-to-Recorrupted: Pang et al.
2021).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import InputError
from ..noise import Noise
from .base import Corrupted
from .given import Levelless

DRAWS = 8
"""How many z restoring averages over."""


class Renoise(Levelless):
    """x_tilde + tau sigma z against the target x_tilde - (sigma/tau) z, for images with Gaussian noise of sigma.

    Args:
        sigma: of the noise that the images have, in units of black to white.
        tau: share of it that is added; the target then has the noise sigma sqrt(1 + 1/tau^2).
    """

    name = "renoise"
    self_supervised = True

    def __init__(self, sigma: float, tau: float = 0.5) -> None:
        if not all(isinstance(value, int | float) and 0 < value <= 100 for value in (sigma, tau)):
            raise InputError(f"renoise takes the sigma of the noise and tau, both above 0, got {sigma} and {tau}")
        super().__init__(sigma, tau)

    def __call__(self, x: Tensor, level: Tensor, noise: Noise) -> Corrupted:
        sigma, tau = self.more
        z = noise.normal(x.shape)
        return Corrupted(x + tau * sigma * z, x - sigma / tau * z)

    def reconstruct(self, r: Callable[[Tensor], Tensor], x_tilde: Tensor, noise: Noise, sigma: float = 0.0) -> Tensor:
        """The mean of r(x_tilde + tau sigma z) over ``DRAWS`` z, which takes the noise that was added out again."""
        zero = torch.zeros((), device=x_tilde.device)
        return sum((r(self(x_tilde, zero, noise).x_tilde) for _ in range(DRAWS)), zero) / DRAWS
