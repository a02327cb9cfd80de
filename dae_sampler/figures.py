"""Figures, by matplotlib. Each function returns one, for :func:`save`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .errors import InputError
from .files import check_writable, replacing
from .sampling.samplers import Denoiser

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from .evaluation.diagnosis import History
    from .evaluation.report import Evaluation
    from .theory.densities import Density

FORMATS = (".png", ".svg", ".pdf")
MARGIN = 0.15
"""How far pictures of the unit square reach beyond it."""


def check(path: Path) -> None:
    """Refuse what :func:`save` cannot do, before the work for it is done.

    Raises:
        InputError: matplotlib is not there, or the format or the place of the figure is not one to write.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("figures need the extra: pip install 'dae-sampler[evaluate]'") from None
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"cannot write the figure {path}: name it with {', '.join(FORMATS)}")
    check_writable(path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of ``path``'s extension."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=85)


def _panels(columns: int) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * columns, 3.4), layout="constrained")  # no pyplot: no global state
    return figure, figure.subplots(1, columns)


@torch.no_grad()
def fields(density: Density, dae: Denoiser, sigma: float, paths: Tensor) -> Figure:
    """A density in the plane, smoothed, with the true field r - x, the learned one, and ``paths`` (steps+1, N, 2)."""
    figure, (left, middle, right) = _panels(3)
    fine = torch.linspace(-MARGIN, 1 + MARGIN, 161, dtype=torch.float64)
    coarse = torch.linspace(-MARGIN, 1 + MARGIN, 18, dtype=torch.float64)
    shade = density.log_p(torch.cartesian_prod(fine, fine), sigma).exp().view(161, 161).T
    x = torch.cartesian_prod(coarse, coarse)
    truth = density.posterior_mean(x, sigma) - x
    learned = dae(x.float().view(-1, *dae.shape), sigma).flatten(1) - x
    titles = r"true $\sigma^2\nabla\log p_\sigma(x)$", "learned $r(x) - x$", r"$x \leftarrow r(x)$"
    for axes, title in zip((left, middle, right), titles, strict=True):
        axes.imshow(shade.numpy(), origin="lower", extent=[-MARGIN, 1 + MARGIN] * 2, cmap="Blues", aspect="equal")
        axes.set(title=rf"{title}, $\sigma$ = {sigma:g}", xticks=[0, 1], yticks=[0, 1])
    for axes, field in ((left, truth), (middle, learned)):
        axes.quiver(*x.T.numpy(), *field.T.numpy(), angles="xy", scale_units="xy", scale=1.5, width=0.004)
    for path in paths.permute(1, 0, 2):
        right.plot(*path.T.numpy(), color="black", linewidth=0.7, alpha=0.6)
        right.plot(*path[-1].tolist(), "o", color="tab:red", markersize=3)
    right.set(xlim=(-MARGIN, 1 + MARGIN), ylim=(-MARGIN, 1 + MARGIN))
    return figure


def report(found: Evaluation, pictures: Image.Image) -> Figure:
    """What :func:`~.evaluation.report.evaluate` found: samples and the nearest training images, distances, losses."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 12), layout="constrained")
    ratios = pictures.height / pictures.width * 10, 3.4
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=ratios)[:, 0]
    axes = top.subplots()
    axes.imshow(pictures, cmap="gray", interpolation="nearest")
    axes.set(title="samples (left), each beside the nearest training image (right)", xticks=[], yticks=[])
    left, right = bottom.subplots(1, 2)
    for distances, label in ((found.to_training, "samples"), (found.test_to_training, "test images")):
        left.hist(distances.numpy(), bins=60, density=True, histtype="step", label=label)
    left.set(title="distance to the nearest training image", xlabel="distance of features", yticks=[])
    left.legend()
    right.plot(*zip(*found.excess, strict=True), "o-")
    right.set(title="loss above its floor, test images", xlabel="level", ylabel="nats per pixel")
    if found.excess[0][0] > 0 and found.excess[-1][0] > 10 * found.excess[0][0]:
        right.set_xscale("log")
    return figure


def training(history: History, batch: int, pictures: Sequence[tuple[int, Path]]) -> Figure:
    """The course of a run: losses, excess by level, speed, and below them its sample grids, (step, file) each."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(13, 6.4 if pictures else 4), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(4, 2.4)) if pictures else [figure]
    left, middle, right = parts[0].subplots(1, 3)
    steps = history.steps
    left.plot(steps, history.loss, ".-", label="training")
    left.plot(steps, history.held_out, ".-", label="held out")
    floor = history.held_out[-1] - history.excess[-1]
    if floor and history.has_floor:
        left.axhline(floor, linestyle="--", color="grey", label="floor of held-out images")
    left.set(title="loss", xlabel="step", ylabel="per pixel")
    left.legend()
    courses = history.by_level or {float("nan"): history.excess}
    for i, (level, course) in enumerate(courses.items()):
        colour = colormaps["viridis"](i / max(1, len(courses) - 1))
        middle.plot(steps, course, ".-", color=colour, label=f"{level:.3g}")
    above = "floor, by level" if history.has_floor else "lowest"
    middle.set(title=f"held-out loss above its {above}", xlabel="step", yscale="log")
    if history.by_level:
        middle.legend(title="level", fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    counts, times = np.diff([0, *steps]), np.diff([0.0, *history.seconds])
    right.plot(steps, batch * counts / np.maximum(times, 1e-9), ".-")
    right.set(title="speed", xlabel="step", ylabel="images/s", ylim=(0, None))
    if pictures:
        panels = parts[1].subplots(1, len(pictures), squeeze=False)[0]
        for axes, (step, path) in zip(panels, pictures, strict=True):
            try:
                with Image.open(path) as grid:
                    shown = grid.crop((0, 0, grid.width // 2, grid.height // 2))
            except Exception:  # Pillow raises almost anything on a damaged file
                raise InputError(f"cannot read {path} as a picture: delete it, it is but a grid of samples") from None
            axes.imshow(shown, cmap="gray", interpolation="nearest")
            axes.set(title=f"step {step:,}", xticks=[], yticks=[])
    return figure
