"""The public functions sample, refine, denoise, inpaint and restore: :mod:`.tasks`, collected into one tensor."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..pixels import as_images, to_float
from . import operators, tasks
from .estimate import estimate_level
from .guidance import label_number, told
from .linear import Operator
from .plan import Plan, resolve, start_level
from .samplers import Denoiser
from .tasks import NOISE, OnStep, batch_size

Images = Tensor | np.ndarray
Level = float | Tensor | np.ndarray
Label = str | int


def sample(
    dae: Denoiser,
    n: int = 64,
    *,
    size: tuple[int, int] | None = None,
    label: Label | Sequence[str | int] | Tensor | None = None,
    guidance: float = 1.0,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    first: int = 0,
    batch: int | None = None,
    on_step: OnStep | None = None,
    grad: bool = False,
) -> Tensor:
    """Generate images from noise.

    Args:
        dae: the model.
        size: (width, height) in pixels, for a model of any size.
        label: for a model that knows labels, the name or number of a class, or one for each image, -1 for any; by
            default one is drawn for each (:func:`.drawn_classes`).
        guidance: how far to follow the label: 1 is the model that is told it, more exaggerates it (:class:`.Guided`).
        n: how many images; under torchrun the processes share the work, and all get all images.
        sampler: a name of ``SAMPLERS``, with the sampler's own options if wanted: ``"heun(churn=0.2)"``; by default the
            card's, or the first that goes with the corruption.
        steps: sampling steps, 1 or more; by default the card's, or the sampler's usual ones.
        seed: image i is a function of (seed, first + i), whatever the batch it is computed in.
        first: index of the first image.
        batch: images to compute together.
        on_step: called with the :class:`State` of each batch after each step.
        grad: keep what gradients with respect to the weights need.

    Returns:
        float32 (n,C,H,W) on the CPU, in [0,1].

    Raises:
        InputError: an argument is out of its range or does not go with the model.
    """
    if n < 1:
        raise InputError(f"`n` must be 1 or more, got {n}")
    plan = resolve("sample", dae, sampler, steps)
    options: dict[str, Any] = {"seed": seed, "first": first, "batch": batch, "on_step": on_step, "grad": grad}
    if isinstance(label, str | int):
        dae = told(dae, label, guidance)
    else:
        options |= {"label": None if label is None else _numbers(dae, label, n), "guidance": guidance}
    return torch.cat(list(tasks.sample(dae, n, plan, size=size, **options)))


def _numbers(dae: Denoiser, label: Sequence[str | int] | Tensor, n: int) -> Tensor:
    if isinstance(label, Tensor) and (label.is_floating_point() or label.ndim != 1):
        raise InputError(f"labels are {label.dtype} {tuple(label.shape)}: give whole numbers, one for each image")
    known = label.tolist() if isinstance(label, Tensor) else label
    if len(known) != n:
        raise InputError(f"there are {len(known)} labels for {n} images: give one, or one for each")
    return torch.tensor([-1 if one == -1 else label_number(dae, one) for one in known])


def refine(
    dae: Denoiser,
    images: Images,
    *,
    level: Level | None = None,
    added: float | None = None,
    label: Label | None = None,
    guidance: float = 1.0,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    on_step: OnStep | None = None,
    grad: bool = False,
) -> Tensor:
    """Move images towards regions of high probability: corrupt them to ``level``, then sample down.

    The higher the level, the more is invented anew. With ``sampler="iterate"`` it is the paper's refinement: plain
    iteration at that level, with no noise added.

    Args:
        dae: the model.
        images: (N,C,H,W) of the model's shape, a tensor or an array, uint8 or float in [0,1].
        level: where to start, within the model's levels; by default the card's, or the corruption's ``usual_level``.
            One for all images, or (N,) one for each.
        added: level of the corruption that is added, from 0 (:func:`denoise`) to ``level`` (the default, but 0 for
            ``iterate``). With less than ``level``, the faults that images have already are taken for noise as well:
            they change more where they are wrong and less where they are not.
        label, guidance: the class of the images, as for :func:`sample`.
        sampler, steps: as for :func:`sample`.
        seed: the noise of image i is a function of (seed, i).
        batch, on_step: as for :func:`sample`.
        grad: keep what gradients with respect to the images and the weights need.

    Returns:
        float32 (N,C,H,W) on the CPU, in [0,1].

    Raises:
        InputError: an argument is out of its range or does not go with the model.
    """
    dae = told(dae, label, guidance)
    plan = resolve("refine", dae, sampler, steps, _first(level))
    images = as_images(images, shape=dae.shape, beyond=_beyond(dae, level))
    options: dict[str, Any] = {"added": added, "seed": seed, "on_step": on_step, "grad": grad}
    return _restored(dae, images, plan, level, batch, options)


def denoise(
    dae: Denoiser,
    images: Images,
    *,
    level: Level | str | None = None,
    noise: float | None = None,
    label: Label | None = None,
    guidance: float = 1.0,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    on_step: OnStep | None = None,
    grad: bool = False,
) -> Tensor:
    """Restore images that are already damaged at ``level``: sample down from there, adding nothing first.

    ``steps=1`` with ``euler`` or ``heun`` is the posterior mean r(x), which has the least squared error but is blurred
    where the damage leaves a choice; more steps settle on one sharp restoration. A model of one level gives r(x) by
    default. Over a range of Gaussian levels, ``level`` is by default ``"auto"``: estimated for each image
    (:mod:`.estimate`); other ranges have to be told. A model that has no level, of pairs or blind spots, gives its
    posterior mean. Arguments, result and errors are those of :func:`refine`, but for ``added``; images may leave [0,1]
    as far as noise carries them.

    ``noise`` is the sigma of the noise that the images carry: for a model of Gaussian noise the same as ``level``; one
    of blind spots then uses each pixel's own value too.
    """
    if isinstance(level, str):
        if level != "auto":
            raise InputError(f"`level` is a number or 'auto', got {level!r}")
        level = None
    dae = told(dae, label, guidance)
    plan = resolve("denoise", dae, sampler, steps, _first(level), noise)
    if plan.estimated:
        images = as_images(images, shape=dae.shape)
        found = [estimate_level(dae, image) for image in to_float(images)]
        level = torch.tensor(found or [dae.corruption.low], dtype=torch.float64)
    images = as_images(images, shape=dae.shape, beyond=_beyond(dae, plan.level if level is None else level))
    return _restored(dae, images, plan, level, batch, {"added": 0, "seed": seed, "on_step": on_step, "grad": grad})


def inpaint(
    dae: Denoiser,
    images: Images,
    keep: Images,
    *,
    label: Label | None = None,
    guidance: float = 1.0,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    on_step: OnStep | None = None,
    grad: bool = False,
) -> Tensor:
    """Fill the hidden part of images with what goes with the rest.

    A model of an erasure reveals the hidden pixels. One of a range of Gaussian levels samples with the known pixels
    held at each level: by ``walk`` if it begins from noise, else by ``ancestral(resample=2)`` (RePaint: Lugmayr et al.
    2022).

    Args:
        dae: the model.
        images: (N,C,H,W) of the model's shape, a tensor or an array, uint8 or float; what the hidden pixels hold does
            not matter.
        keep: bool, true where a pixel is known: (H,W) for all images, or (N,1,H,W).
        label, guidance, sampler, steps, seed, batch, on_step, grad: as for :func:`refine`. For several completions,
            repeat the image.

    Returns:
        float32 (N,C,H,W) on the CPU, in [0,1]; known pixels are as given, or binary for a model of binary images.

    Raises:
        InputError: an argument is out of its range, or the model cannot inpaint.
    """
    dae = told(dae, label, guidance)
    plan = resolve("inpaint", dae, sampler, steps)
    images, keep = as_images(images, shape=dae.shape, beyond=0), torch.as_tensor(keep)
    tasks.check_mask(keep, images)
    size = batch or batch_size(images.shape[1:])
    masks = keep.split(size) if keep.ndim == 4 else itertools.repeat(keep)
    batches = zip(images.split(size), masks, strict=False)
    options: dict[str, Any] = {"seed": seed, "on_step": on_step, "grad": grad}
    return torch.cat([torch.empty(0, *images.shape[1:]), *tasks.inpaint(dae, batches, plan, **options)])


def restore(
    dae: Denoiser,
    measurements: Images,
    operator: Operator | str,
    *,
    noise: float = NOISE,
    samples: int = 1,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    on_step: OnStep | None = None,
    grad: bool = False,
) -> Tensor:
    """Restore pictures x of which y = A x + noise was measured, A known: blurred, made smaller, grey, or with holes.

    Args:
        dae: a model of a range of Gaussian levels.
        measurements: y, (N,c,h,w), a tensor or an array, uint8 or float; noise may carry floats outside [0,1].
        operator: A, such as ``"blur(1.5)+downsample(2)"``, see :mod:`.operators`; or an :class:`.Operator`, such as
            ``Mask(keep)``, or ``Pair(apply, adjoint)`` of your own functions.
        noise: standard deviation of the noise in y, 1e-4 to 10 in units of [0,1].
        samples: restorations of each measurement; their mean estimates the posterior mean.
        sampler, steps, seed, batch, on_step, grad: as for :func:`refine`. A model whose noise is too weak to begin from
            takes ``hqs`` for one restoration, of little error; several, and those of other models, are ``walk``'s.

    Returns:
        float32 (N * samples,C,H,W) on the CPU, in [0,1]: the restorations of the first measurement first.

    Raises:
        InputError: an argument is out of its range, the model cannot restore, or a measurement is none of its pictures.
    """
    operator = operators.parse(operator) if isinstance(operator, str) else operator
    plan = resolve("restore", dae, sampler, steps, samples=samples)
    measurements = as_images(measurements, what="measurements")
    if samples < 1:
        raise InputError(f"`samples` must be 1 or more, got {samples}")
    together = max(1, (batch or batch_size(measurements.shape[1:])) // samples)
    options: dict[str, Any] = {"noise": noise, "samples": samples, "seed": seed, "on_step": on_step, "grad": grad}
    made = tasks.restore(dae, measurements.split(together), plan, operator, **options)
    return torch.cat(list(made))


def _restored(
    dae: Denoiser, images: Tensor, plan: Plan, level: Level | None, batch: int | None, options: dict[str, Any]
) -> Tensor:
    """The images refined in batches, those with one level together; ``options`` are those of :func:`.tasks.refine`."""
    size = batch or batch_size(images.shape[1:])
    made = [torch.empty(0, *images.shape[1:])]
    for first, some, at in _runs(plan, dae, images, level):
        made += tasks.refine(dae, some.split(size), at, first=first, **options)
    return torch.cat(made)


def _runs(plan: Plan, dae: Denoiser, images: Tensor, level: Level | None) -> Iterator[tuple[int, Tensor, Plan]]:
    """Runs of images with one level: index of the first, the images, the plan from that level."""
    each = [] if level is None else torch.as_tensor(level, dtype=torch.float64).flatten().tolist()
    if not each:
        yield 0, images, plan
        return
    each = each * len(images) if len(each) == 1 else each
    if len(each) != len(images):
        raise InputError(f"there are {len(each)} levels for {len(images)} images: give one, or one for each")
    first = 0
    for value, run in itertools.groupby(each):
        count = len(list(run))
        yield first, images[first : first + count], plan.at(start_level(dae, value))
        first += count


def _first(level: Level | None) -> float | None:
    """A level to resolve the plan with."""
    return None if level is None else torch.as_tensor(level, dtype=torch.float64).flatten().tolist()[0]


def _beyond(dae: Denoiser, level: Level | None) -> float:
    """How far images damaged at ``level`` may leave [0,1]."""
    most = dae.corruption.usual_level if level is None else float(torch.as_tensor(level).max())
    return dae.corruption.overshoot(most)
