"""Samplers that look back at several reconstructions, for few steps.

With u = ln(sigma_0 / sigma) running from 0 to h = ln(sigma_0 / s), the probability flow from sigma_0 to s is exactly

    x(s) = (s / sigma_0) x + integral_0^h e^(u-h) r(u) du,

and a polynomial through the known r integrates in closed form (exponential Adams methods).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..errors import InputError
from ..noise import Noise
from .state import Denoiser, State


def unipc(dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise, *, order: int = 2) -> Iterator[State]:
    """The probability-flow ODE, each step predicted and then corrected, one network call a step. Gaussian corruption.

    The call at the predicted point serves twice: the next step starts from it, and the step before is taken again with
    it, which raises the order by one (UniPC: Zhao et al. 2023, with the exact weights).

    Args:
        order: reconstructions that a step is predicted from, 1 to 3.
    """
    if order not in (1, 2, 3):
        raise InputError(f"order must be 1, 2 or 3 for unipc, got {order:g}")
    known: list[tuple[float, Tensor]] = []
    start, before = x, 0.0
    for sigma, following in itertools.pairwise(levels.tolist()):
        x_hat = dae(x, sigma)
        if known and sigma < before:
            x = _integrated(start, before, sigma, [*known, (sigma, x_hat)])
        known = [*(one for one in known if one[0] > sigma), (sigma, x_hat)][-int(order) :]
        start, before = x, sigma
        x = _integrated(x, sigma, following, known) if following > 0 else x_hat
        yield State(x, x_hat, following)


def _integrated(x: Tensor, sigma: float, following: float, known: Sequence[tuple[float, Tensor]]) -> Tensor:
    """``x`` taken from ``sigma`` to ``following`` along the polynomial through the reconstructions known at levels."""
    weights = _weights(math.log(sigma / following), [math.log(sigma / level) for level, _ in known])
    return following / sigma * x + sum(w * r for w, (_, r) in zip(weights, known, strict=True))


def _weights(h: float, nodes: Sequence[float]) -> list[float]:
    """The w with sum w_j P(u_j) = integral_0^h e^(u-h) P(u) du for every polynomial P of lower degree than nodes."""
    moments = [-math.expm1(-h)]
    for power in range(1, len(nodes)):
        moments.append(h**power - power * moments[-1])
    powers = torch.tensor([[u**power for u in nodes] for power in range(len(nodes))], dtype=torch.float64)
    return torch.linalg.solve(powers, torch.tensor(moments, dtype=torch.float64)).tolist()
