"""Linear operators A and what restoration needs of them: A x, the adjoint A' y, and (A A' + tau)^-1.

By the last the proximal step is

    argmin_x |y - A x|^2 / sigma_y^2 + |x - r|^2 / rho^2  =  r + A' (A A' + tau)^-1 (y - A r),  tau = sigma_y^2 / rho^2.

Where rows and columns have a matrix each, A = R x C, A A' has the eigenvectors of R R' and C C'. All else goes by
conjugate gradients. Pictures x and measurements y are (B,C,H,W), floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from ..errors import InputError

TOLERANCE, MOST = 1e-4, 100
"""Conjugate gradients end where the residual has fallen to this share, or after so many steps."""
SLOPE, ROUGHLY = 0.06, 1e-4
"""How far neighbouring pixels of pictures differ, about; the tolerance of :func:`smoothest`."""
LEAST = 1 / 255
"""Noise for which :func:`smoothest` ends in time: with less, holes would take more steps than there are."""
EDGES = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])
"""The kernel of -div grad."""

Function = Callable[[Tensor], Tensor]


class Operator:
    """Base of all operators: give ``apply`` and ``adjoint``, and ``solve`` where there is something better."""

    factor = 1
    """How much smaller y is than x, across and down."""

    def apply(self, x: Tensor) -> Tensor:
        """A x: pictures (B,C,H,W) -> measurements (B,c,h,w)."""
        raise NotImplementedError

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y: measurements -> pictures, with <A x, y> = <x, A' y>."""
        raise NotImplementedError

    def measured(self, y: Tensor) -> Tensor:
        """``y`` with 0 for what was not measured."""
        return y

    def solve(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """(A A' + tau)^-1 v; ``tau`` above 0, a number or (B,1,1,1)."""
        return conjugate_gradients(lambda u: self.apply(self.adjoint(u)) + tau * u, v, lambda u: self.near(u, tau))

    def near(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """An approximation of :meth:`solve` that is symmetric and positive: what conjugate gradients begin with."""
        return v

    def prox(self, x: Tensor, y: Tensor, tau: Tensor | float) -> Tensor:
        """argmin_z |y - A z|^2 + tau |z - x|^2, of the shape of ``x``."""
        return x + self.adjoint(self.solve(self.residual(x, y), tau))

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """y - A x where y was measured, 0 elsewhere."""
        return self.measured(y) - self.apply(x)

    def misfit(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean square of y - A x over what was measured, (B,1,1,1)."""
        v = self.residual(x, y)
        count = self.measured(torch.ones_like(v)).sum((1, 2, 3), keepdim=True)
        return v.square().sum((1, 2, 3), keepdim=True) / count.clamp(min=1)

    def gain(self, v: Tensor) -> Tensor:
        """|A' v|^2 / |v|^2, (B,1,1,1): what A makes, along ``v``, of the mean square of a picture."""
        before, after = (u.square().sum((1, 2, 3), keepdim=True) for u in (v, self.adjoint(v)))
        return (after / before.clamp(min=1e-12)).clamp(min=1e-6)


class Pair(Operator):
    """A linear operator by two functions of your own, which is solved by conjugate gradients.

    Args:
        apply: A: pictures (B,C,H,W) -> measurements (B,c,h,w).
        adjoint: A': measurements -> pictures, with <A x, y> = <x, A' y>.
    """

    def __init__(self, apply: Function, adjoint: Function) -> None:
        self.apply, self.adjoint = apply, adjoint


class Chain(Operator):
    """Operators one after the other, the first one first."""

    def __init__(self, parts: Sequence[Operator]) -> None:
        self.parts, self.factor = parts, math.prod(part.factor for part in parts)

    def apply(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part.apply(x)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.adjoint(y)
        return y

    def measured(self, y: Tensor) -> Tensor:
        return self.parts[-1].measured(y)


class Separable(Operator):
    """Rows and columns by one matrix each, Y = R X C'.

    Args:
        line: n -> the matrix (m, n), float64, that a line of n pixels is multiplied by.
        factor: n / m.
    """

    def __init__(self, line: Callable[[int], Tensor], factor: int = 1) -> None:
        self.line, self.factor = lru_cache(maxsize=4)(line), factor
        self._spectrum = lru_cache(maxsize=4)(lambda n: torch.linalg.eigh(self.line(n) @ self.line(n).T))

    def apply(self, x: Tensor) -> Tensor:
        if any(side % self.factor for side in x.shape[2:]):
            size = f"{x.shape[3]}x{x.shape[2]}"
            raise InputError(f"a picture of {size} cannot be made {self.factor} times smaller: cut it to a multiple")
        rows, columns = (self.line(side).to(x) for side in x.shape[2:])
        return rows @ x @ columns.T

    def adjoint(self, y: Tensor) -> Tensor:
        rows, columns = (self.line(side * self.factor).to(y) for side in y.shape[2:])
        return rows.T @ y @ columns

    def solve(self, v: Tensor, tau: Tensor | float) -> Tensor:
        (down, rows), (across, columns) = (self._spectrum(side * self.factor) for side in v.shape[2:])
        values = down.clamp(min=0)[:, None] * across.clamp(min=0)
        rows, columns = rows.to(v), columns.to(v)
        return rows @ ((rows.T @ v @ columns) / (values.to(v) + tau)) @ columns.T


class Convolution(Operator):
    """Every channel convolved with a kernel, by Fourier transforms.

    Args:
        kernel: (k, l), sides odd, float32.
        circular: whether the picture goes on at its other edge. By default it is reflected, edges included, which makes
            a torus of twice its sides.
    """

    def __init__(self, kernel: Tensor, circular: bool = False) -> None:
        self.kernel, self.circular = kernel, circular
        self._response = lru_cache(maxsize=4)(self._transformed)

    def apply(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if not self.circular:
            x = torch.cat([x, x.flip(2)], 2)
            x = torch.cat([x, x.flip(3)], 3)
        sides = tuple(x.shape[2:])
        return torch.fft.irfft2(torch.fft.rfft2(x) * self._response(sides, x.device), s=sides)[:, :, :height, :width]

    def adjoint(self, y: Tensor) -> Tensor:
        height, width = y.shape[2:]
        sides = (height, width) if self.circular else (2 * height, 2 * width)
        x = torch.fft.irfft2(torch.fft.rfft2(y, s=sides) * self._response(sides, y.device).conj(), s=sides)
        if not self.circular:
            x = x[:, :, :height] + x[:, :, height:].flip(2)
            x = x[..., :width] + x[..., width:].flip(3)
        return x

    def near(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Exact on a torus."""
        sides = tuple(v.shape[2:])
        power = self._response(sides, v.device).abs().square()
        return torch.fft.irfft2(torch.fft.rfft2(v) / (power + tau), s=sides)

    def _transformed(self, sides: tuple[int, int], device: torch.device) -> Tensor:
        """The kernel on a torus of these sides."""
        rows, columns = ((torch.arange(k) - k // 2) % n for k, n in zip(self.kernel.shape, sides, strict=True))
        point = torch.zeros(sides).index_put_((rows[:, None], columns), self.kernel, accumulate=True)
        return torch.fft.rfft2(point).to(device)


def smoothest(operator: Operator, y: Tensor, noise: float) -> Tensor:
    """A pseudo-inverse of y: argmin_x |y - A x|^2 / noise^2 + |grad x|^2 / SLOPE^2 (Tikhonov), roughly solved.

    It is smooth where y does not tell, so that holes are filled from their edges; the middle of holes too wide for that
    has the mean of each channel. Noise below :data:`LEAST` counts as that. Where A merges channels they are alike: the
    smoothest colours of a grey picture would be green where it is bright and violet where it is dark.
    """
    laplacian, weight = Convolution(EDGES), (max(noise, LEAST) / SLOPE) ** 2
    b = operator.adjoint(operator.measured(y))
    merged = b.shape[1] > y.shape[1]

    def alike(x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True).expand_as(x) if merged else x

    def normal(x: Tensor) -> Tensor:
        return alike(operator.adjoint(operator.apply(x)) + weight * laplacian.apply(x))

    b, flat = alike(b), alike(operator.adjoint(operator.apply(torch.ones_like(b))))
    mean = b.sum((2, 3), keepdim=True) / flat.sum((2, 3), keepdim=True).clamp(min=1e-6)
    mean = mean.expand_as(b)
    return mean + conjugate_gradients(normal, b - normal(mean), tolerance=ROUGHLY)


def conjugate_gradients(a: Function, b: Tensor, near: Function = lambda v: v, tolerance: float = TOLERANCE) -> Tensor:
    """x with a(x) = b for each image, ``a`` linear, symmetric and positive (Hestenes and Stiefel 1952).

    Args:
        a: (B,...) -> (B,...), image by image.
        b: (B,...).
        near: an approximation of a^-1, symmetric and positive.
        tolerance: share of ``b`` that the residual may have.
    """

    def dot(u: Tensor, v: Tensor) -> Tensor:
        return (u * v).flatten(1).sum(1).reshape(-1, *[1] * (u.ndim - 1))

    x, left = torch.zeros_like(b), b
    ahead = step = near(left)
    power, enough = dot(left, ahead), tolerance**2 * dot(b, b)
    for _ in range(MOST):
        open_ = dot(left, left) > enough
        if not open_.any():
            break
        along = a(step)
        length = open_ * power / dot(step, along).clamp(min=torch.finfo(b.dtype).tiny)  # the others are done
        x, left = x + length * step, left - length * along
        ahead, before = near(left), power
        power = dot(left, ahead)
        step = ahead + power / before.clamp(min=torch.finfo(b.dtype).tiny) * step
    return x


def fold(places: Tensor, n: int, circular: bool) -> Tensor:
    """Whole places, 0 to n - 1 and beyond, in a line of n pixels that is reflected (with its edge) or goes round."""
    if circular:
        return places % n
    places = places % (2 * n)
    return torch.minimum(places, 2 * n - 1 - places)


def matrix_of(places: Tensor, weights: Tensor, n: int, circular: bool) -> Tensor:
    """(m, n): row j weighs the pixels at places[j] by weights[j], (m, k) each, to a sum of 1."""
    rows = torch.arange(len(places))[:, None].expand_as(places)
    weights = weights / weights.sum(1, keepdim=True)
    made = torch.zeros(len(places), n, dtype=torch.float64)
    return made.index_put_((rows, fold(places, n, circular)), weights.double(), accumulate=True)
