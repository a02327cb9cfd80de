"""Figures, by matplotlib. Each function returns one, for :func:`save`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .errors import InputError
from .files import replacing
from .samplers import Denoiser

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .theory import Density

MARGIN = 0.15


def _figure(columns: int = 1, rows: int = 1, size: float = 3.4) -> tuple[Figure, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("figures need the extra: pip install 'dae-sampler[evaluate]'") from None
    figure = Figure(figsize=(size * columns, size * rows), layout="constrained")  # no pyplot: no global state
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of ``path``'s extension.

    Raises:
        InputError: matplotlib does not write that format.
    """
    with replacing(path) as temporary:
        try:
            figure.savefig(temporary, dpi=110)
        except ValueError:
            raise InputError(f"cannot write a figure as {path.suffix or 'that'}: use .png, .svg or .pdf") from None


@torch.inference_mode()
def fields(density: Density, dae: Denoiser, sigma: float, paths: Tensor) -> Figure:
    """A density in the plane, smoothed, with the true field r - x, the learned one, and ``paths`` (steps+1, N, 2)."""
    figure, ((left, middle, right),) = _figure(3)
    fine = torch.linspace(-MARGIN, 1 + MARGIN, 161, dtype=torch.float64)
    coarse = torch.linspace(-MARGIN, 1 + MARGIN, 22, dtype=torch.float64)
    shade = density.log_p(torch.cartesian_prod(fine, fine), sigma).exp().view(161, 161).T
    x = torch.cartesian_prod(coarse, coarse)
    truth = density.posterior_mean(x, sigma) - x
    learned = dae(x.float().view(-1, *dae.shape), sigma).flatten(1) - x
    titles = r"true $\sigma^2\nabla\log p_\sigma(x)$", "learned $r(x) - x$", r"$x \leftarrow r(x)$"
    for axes, title in zip((left, middle, right), titles, strict=True):
        axes.imshow(shade, origin="lower", extent=[-MARGIN, 1 + MARGIN] * 2, cmap="Blues", aspect="equal")
        axes.set(title=rf"{title}, $\sigma$ = {sigma:g}", xticks=[0, 1], yticks=[0, 1])
    for axes, field in ((left, truth), (middle, learned)):
        axes.quiver(*x.T, *field.T, angles="xy", scale_units="xy", scale=1.5, width=0.004)
    for path in paths.permute(1, 0, 2):
        right.plot(*path.T, color="black", linewidth=0.7, alpha=0.6)
        right.plot(*path[-1], "o", color="tab:red", markersize=3)
    right.set(xlim=(-MARGIN, 1 + MARGIN), ylim=(-MARGIN, 1 + MARGIN))
    return figure
