"""The tasks as iterators of batches: sample, refine, denoise, inpaint, restore.

Each takes a :class:`~.plan.Plan` and yields finished batches, float32 (B,C,H,W) on the CPU, in [0,1]. Memory does not
grow with the number of images. ``on_step`` is called with the :class:`~.samplers.State` after each step; an exception
that it raises ends the task there. Gradients are off while a batch is computed, unless ``grad`` is set, and the
caller's own mode holds whenever the caller is running.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from .. import distributed
from ..corruption.base import Corruption
from ..errors import InputError
from ..noise import ImageNoise
from ..pixels import as_images, binarise, fits, to_float
from ..tiles import ByChannel, for_pictures
from .guidance import Guided, KnownPixels, Measured, agree, drawn_classes, renewed_error, told
from .linear import Operator, smoothest
from .operators import Mask
from .plan import LEAST_PRIOR, Plan, card_of
from .samplers import Denoiser, State

OnStep = Callable[[State], None]

NOISE = 1 / 255
"""Standard deviation of the noise in a measurement if nothing is said: a step of 8 bits."""


def batch_size(shape: Sequence[int]) -> int:
    """Images to compute together: enough to keep the machine busy, few enough for its memory."""
    return max(1, min(256, 2**22 // math.prod(shape)))


def sample(
    dae: Denoiser,
    n: int,
    plan: Plan,
    *,
    size: tuple[int, int] | None = None,
    label: Tensor | None = None,
    guidance: float = 1.0,
    seed: int = 0,
    first: int = 0,
    batch: int | None = None,
    on_step: OnStep | None = None,
    grad: bool = False,
) -> Iterator[Tensor]:
    """Images from noise, in batches of ``batch`` on each process; every process gets all of them.

    Image i is a function of (seed, first + i), whatever the batch and the number of processes. ``size`` is (width,
    height), for a model of any size. ``label`` (n,) int64 has classes, -1 is any; None draws them, if there are any.
    """
    shape = shape_of_samples(dae, size)
    together = (batch or batch_size(shape)) * distributed.get_world_size()
    for start in range(0, n, together):
        count = min(together, n - start)
        mine = distributed.share(count)
        made = torch.empty(0, *shape)
        if mine:
            at = start + mine.start
            noise = ImageNoise(seed, first + at, len(mine), dae.device)
            chosen = drawn_classes(dae, len(mine), seed, first + at) if label is None else label[at : at + len(mine)]
            given = told(dae, None, guidance) if chosen is None else Guided(dae, chosen, guidance)
            with torch.set_grad_enabled(grad):
                made = _run(plan, for_pictures(given), dae.corruption.prior(len(mine), shape, noise), noise, on_step)
        yield distributed.all_gather(made, count)


def refine(
    dae: Denoiser,
    batches: Iterable[Tensor],
    plan: Plan,
    *,
    added: float | None = None,
    seed: int = 0,
    first: int = 0,
    on_step: OnStep | None = None,
    grad: bool = False,
) -> Iterator[Tensor]:
    """Images corrupted to the level ``added`` (by default where the plan starts) and sampled down from there.

    Args:
        dae: the model.
        batches: images (B,C,H,W), uint8 or float; computed batch by batch as they come.
        plan: how.
        added: see :func:`~.functions.refine`.
        seed, first: the noise of image i is a function of (seed, first + i).
        on_step, grad: see above.
    """
    added = check_added(dae, plan, added)
    for x in batches:
        noise = ImageNoise(seed, first, len(x), dae.device)
        first += len(x)
        with torch.set_grad_enabled(grad):
            x = to_float(as_images(x, shape=dae.shape)).to(dae.device)
            if added and (how := card_of(dae).binarise):
                x = binarise(x, how, noise)
            if added:
                x = dae.corruption.draw(x, torch.tensor(added, device=x.device), noise).x_tilde
            made = _run(plan, dae, x, noise, on_step)
        yield made


def denoise(
    dae: Denoiser,
    batches: Iterable[Tensor],
    plan: Plan,
    *,
    level_of: Callable[[Tensor], float] | None = None,
    seed: int = 0,
    first: int = 0,
    on_step: OnStep | None = None,
    grad: bool = False,
) -> Iterator[Tensor]:
    """Images that are damaged at the plan's level already, sampled down from there; arguments of :func:`refine`.

    ``level_of`` gives the level of each image (C,H,W), float32, in place of the plan's.
    """
    if level_of is None:
        yield from refine(dae, batches, plan, added=0, seed=seed, first=first, on_step=on_step, grad=grad)
        return
    for x in batches:
        made = []
        for image in to_float(as_images(x, shape=dae.shape)):
            at = plan.at(level_of(image))
            made += refine(dae, [image[None]], at, added=0, seed=seed, first=first, on_step=on_step, grad=grad)
            first += 1
        yield torch.cat(made)


def inpaint(
    dae: Denoiser,
    batches: Iterable[tuple[Tensor, Tensor]],
    plan: Plan,
    *,
    seed: int = 0,
    first: int = 0,
    on_step: OnStep | None = None,
    grad: bool = False,
) -> Iterator[Tensor]:
    """Images with their hidden pixels filled: :func:`restore` by ``Mask(keep)``, but known pixels are held exactly.

    Each batch is (images (B,C,H,W), keep: bool (H,W) or (B,1,H,W))."""
    q = dae.corruption
    for images, keep in batches:
        noise = ImageNoise(seed, first, len(images), dae.device)
        first += len(images)
        with torch.set_grad_enabled(grad):
            known = to_float(as_images(images, shape=dae.shape)).to(dae.device)
            if how := card_of(dae).binarise:
                known = binarise(known, how, noise)
            check_mask(keep, known)
            held = keep.bool().to(known.device).expand(len(known), 1, *keep.shape[-2:])
            denoiser: Denoiser = dae if q.extra else KnownPixels(dae, known, held)
            start = q.begin(known, held, noise)
            if not q.extra and q.high < LEAST_PRIOR:
                start = _from_smooth(plan, q, smoothest(Mask(held), known, NOISE), noise)
            filled = _run(plan, denoiser, start, noise, on_step)
        yield torch.where(held.cpu(), known.cpu(), filled)


def restore(
    dae: Denoiser,
    batches: Iterable[Tensor],
    plan: Plan,
    operator: Operator,
    *,
    noise: float = NOISE,
    samples: int = 1,
    seed: int = 0,
    first: int = 0,
    on_step: OnStep | None = None,
    grad: bool = False,
) -> Iterator[Tensor]:
    """Pictures of which y = A x + noise was measured: ``samples`` of each, one after the other.

    Sampling starts from noise where the model's highest level hides a picture, else, and by ``hqs``, from the smoothest
    picture that goes with y, to which noise of that level is added if the sampler expects it.

    Args:
        dae: the model.
        batches: measurements (B,c,h,w), uint8 or float.
        plan: how.
        operator: A.
        noise: standard deviation of the noise in y, above 0.
        samples: restorations of each.
        seed, first: restoration i is a function of (seed, first + i).
        on_step, grad: see above.

    Raises:
        InputError: ``noise`` is out of its range, or a measurement is none of a picture that the model makes.
    """
    if not 1e-4 <= noise <= 10:
        raise InputError(f"`noise` must be from 0.0001 to 10, got {noise:g}: of clean 8-bit pictures it is 1/255")
    q, error = dae.corruption, renewed_error if plan.sampler.renews else None
    for measured in batches:
        source = ImageNoise(seed, first, len(measured) * samples, dae.device)
        first += len(measured) * samples
        with torch.set_grad_enabled(grad):
            y = to_float(as_images(measured, what="measurements")).to(dae.device)
            start = smoothest(operator, y, noise)
            check_restored(dae, start, y)
            y, start = y.repeat_interleave(samples, 0), start.repeat_interleave(samples, 0)
            if q.high < LEAST_PRIOR or plan.sampler.measured:
                start = _from_smooth(plan, q, start, source)
            else:
                _, channels, height, width = start.shape
                start = q.prior(len(start), (channels, height, width), source)
            made = _run(plan, Measured(dae, y, operator, noise, error), start, source, on_step)
            made = agree(operator, made, y.cpu(), noise)
        yield made


def measure(operator: Operator, images: Tensor, noise: float, seed: int = 0, first: int = 0) -> Tensor:
    """y = A x + noise z of images (B,C,H,W), uint8 or float: what :func:`restore` takes.

    The noise of image i is a function of (seed, first + i), and none that :func:`restore` uses."""
    y = operator.apply(to_float(images))
    return operator.measured(y + noise * ImageNoise(seed + 1, first, len(y), y.device).normal(y.shape))


def check_restored(dae: Denoiser, x: Tensor, y: Tensor) -> None:
    """Refuse a measurement ``y`` that, by the shape of ``x``, is none of a picture that the model makes.

    Raises:
        InputError: naming the shapes.
    """
    if isinstance(dae, ByChannel) and x.shape[1] != y.shape[1]:
        raise InputError("this model makes grey pictures, and takes channels one by one: colours take a colour model")
    if not fits(x.shape[1:], dae.shape):
        there, here, wanted = ("x".join(map(str, shape)) for shape in (y.shape[1:], x.shape[1:], dae.shape))
        raise InputError(f"a measurement of {there} (CxHxW) is of a picture of {here}, the model makes {wanted}")


def shape_of_samples(dae: Denoiser, size: tuple[int, int] | None) -> tuple[int, int, int]:
    """(C,H,W) of what is sampled from noise.

    Raises:
        InputError: the model has one size and ``size`` is another, or it goes with any size and there is none; or its
            noise is too weak to begin from.
    """
    channels, height, width = dae.shape
    if height:
        if size not in (None, (width, height)):
            raise InputError(f"the model makes images of {width}x{height}: leave out `size`")
        return dae.shape
    if dae.corruption.high < LEAST_PRIOR:
        raise InputError(
            f"this model knows noise up to {dae.corruption.high:g}, too weak to begin from: refine or denoise pictures "
            f"with it, or train one with `corruption` 'gaussian(0.01..20)'"
        )
    if size is None:
        raise InputError("this model makes images of any size: give the one you want as `size`")
    return channels, size[1], size[0]


def check_added(dae: Denoiser, plan: Plan, added: float | None) -> float:
    """The level of the corruption that :func:`refine` adds.

    Raises:
        InputError: it is above the level that the plan starts from, or leaves nothing to do.
    """
    least, level = dae.corruption.least_added, plan.level or 0.0
    if added is None:
        added = level if plan.sampler.anneals else 0.0
    if not least <= added <= level:
        above = "above 0, up" if least else "from 0"
        raise InputError(f"`added` must be {above} to the level {level:g}, got {added:g}")
    return added


def check_mask(keep: Tensor, images: Tensor) -> None:
    """Refuse a mask that is neither one for all ``images`` (N,C,H,W), of their size, nor one for each, (N,1,H,W).

    Raises:
        InputError: naming both shapes.
    """
    if keep.shape not in (images.shape[2:], (len(images), 1, *images.shape[2:])):
        raise InputError(f"the mask is {tuple(keep.shape)}, the images {tuple(images.shape)}: give one of their size")


def _from_smooth(plan: Plan, q: Corruption, x: Tensor, noise: ImageNoise) -> Tensor:
    """``x``, with noise of the highest level if the sampler expects it."""
    own = plan.sampler.measured or not plan.sampler.anneals
    return x if own else q.draw(x, torch.tensor(q.high, device=x.device), noise).x_tilde


def _run(plan: Plan, dae: Denoiser, x: Tensor, noise: ImageNoise, on_step: OnStep | None) -> Tensor:
    channels = x.shape[1] - dae.corruption.extra
    for state in plan.states(dae, x, noise):
        if on_step:
            on_step(state)
        x = state.x
    return x[:, :channels].clamp(0, 1).cpu()
