"""Sampling: a model's samplers applied to noise (sample) or to images (refine, denoise, inpaint), batch by batch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import distributed as processes
from .. import spec
from ..corruption import Corruption
from ..data.pictures import binarise, to_float
from ..errors import InputError, unknown
from ..noise import ImageNoise, Noise
from ..sampling.samplers import SAMPLERS, Denoiser, State

USUAL_STEPS = {
    "iterate": 10,
    "walk": 50,
    "langevin": 200,
    "euler": 40,
    "heun": 18,
    "dpm": 20,
    "ancestral": 50,
    "reveal": 98,
}


def fitting(q: Corruption) -> tuple[str, ...]:
    """The samplers that go with a corruption, the usual one first."""
    if q.ranged and q.is_gaussian:
        return ("dpm(eta=1)", "dpm", "ancestral", "heun", "euler", "langevin", "walk", "iterate")
    if q.reveals:
        return ("reveal", "walk") if q.ranged else ("walk",)
    return ("walk", "iterate")


def choose(dae: Denoiser, sampler: str | None = None, steps: int | None = None) -> tuple[str, int]:
    """Sampler and steps: those given, else the checkpoint's best, else the first that goes with the corruption.

    Args:
        dae: the model.
        sampler: a name of ``SAMPLERS``, with the sampler's own options if wanted: ``"heun(churn=0.2)"``.
        steps: sampling steps, 1 or more; by default the checkpoint's, or the sampler's usual ones.

    Raises:
        InputError: the sampler is unknown, does not go with the model's corruption, or does not take its options.
    """
    names, best = fitting(dae.corruption), facts(dae).get("sampler", {"name": ""})
    usual = spec.parse_one(best["name"] or names[0])
    part = spec.parse_one(sampler) if sampler else usual
    if part.name not in SAMPLERS:
        raise unknown("sampler", part.name, SAMPLERS)
    if part.name not in names:
        raise InputError(f"{part.name} does not go with {dae.corruption}: use {' or '.join(names)}")
    taken = [k for k, v in inspect.signature(SAMPLERS[part.name]).parameters.items() if v.kind is v.KEYWORD_ONLY]
    for name, value in [*part.options.items(), *((str(value), None) for value in part.args)]:
        if name not in taken or not isinstance(value, int | float):
            form = f"{part.name}({', '.join(f'{k}=NUMBER' for k in taken)})" if taken else part.name
            raise InputError(f"{part.name} takes no {name}: write {form}")
    if steps is None:
        steps = best["steps"] if best["name"] and part.name == usual.name else USUAL_STEPS[part.name]
    if steps < 1:
        raise InputError(f"steps must be 1 or more, got {steps}")
    return str(part), steps


def choose_restorer(dae: Denoiser, sampler: str | None = None, steps: int | None = None) -> tuple[str, int]:
    """:func:`choose` for :func:`denoise`: a model of one level restores by r(x), once, if nothing else is asked for."""
    if dae.corruption.reveals:
        raise InputError(f"{dae.corruption} shows which pixels are damaged: give a mask to inpaint instead")
    if sampler is None and not dae.corruption.ranged:
        sampler, steps = "iterate", 1 if steps is None else steps
    return choose(dae, sampler, steps)


def choose_painter(dae: Denoiser, sampler: str | None = None, steps: int | None = None) -> tuple[str, int]:
    """:func:`choose` for :func:`inpaint`: ancestral sampling comes to terms with known pixels by resampling."""
    q = dae.corruption
    if not (q.ranged and (q.reveals or q.is_gaussian)):
        raise InputError(f"this model has {q}: inpainting needs erasure, or Gaussian noise, over a range of levels")
    sampler, steps = choose(dae, sampler or ("reveal" if q.reveals else "ancestral(resample=4)"), steps)
    if q.reveals and not sampler.startswith("reveal"):
        raise InputError(f"{sampler} forgets which pixels are known: inpaint with reveal")
    return sampler, steps


def facts(dae: Denoiser) -> dict[str, Any]:
    """What is known of a trained model; nothing of other denoisers."""
    return getattr(dae, "info", {})


def batch_size(shape: tuple[int, int, int]) -> int:
    """Images to sample together: enough to keep the machine busy, few enough for its memory."""
    return max(1, min(256, 2**22 // math.prod(shape)))


def start_level(dae: Denoiser, level: float | None = None) -> float:
    """The level to start from: the one given, else the corruption's usual one.

    Raises:
        InputError: the level is outside what the model was trained for.
    """
    q = dae.corruption
    level = q.usual_level if level is None else level
    if not q.low <= level <= q.high:
        raise InputError(f"level {level:g} is outside what the model was trained for, {q}: choose one inside")
    return level


@torch.inference_mode()
def sample(
    dae: Denoiser,
    n: int = 64,
    *,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    first: int = 0,
    on_step: Callable[[State], None] | None = None,
) -> Tensor:
    """Generate images from noise.

    Args:
        dae: the model.
        n: how many images; under torchrun the processes share the work, and all get all images.
        sampler, steps: as for :func:`choose`.
        seed: image i is a function of (seed, first + i), whatever the batch it is computed in.
        first: index of the first image.
        on_step: called with the :class:`State` of each batch after each step.

    Returns:
        float32 (n,C,H,W) on the CPU, in [0,1].

    Raises:
        InputError: an argument is out of its range or does not go with the model.
    """
    if n < 1:
        raise InputError(f"n must be 1 or more, got {n}")
    sampler, steps = choose(dae, sampler, steps)
    levels = dae.corruption.levels(steps)
    batches, size, mine = [torch.empty(0, *dae.shape)], batch_size(dae.shape), processes.share(n)
    for start in mine[::size]:
        count = min(size, mine.stop - start)
        noise = ImageNoise(seed, first + start, count, dae.device)
        x = dae.corruption.prior(count, dae.shape, noise)
        batches.append(_run(sampler, dae, x, levels, noise, on_step))
    return processes.gathered(torch.cat(batches), n)


@torch.inference_mode()
def refine(
    dae: Denoiser,
    images: Tensor,
    *,
    level: float | None = None,
    added: float | None = None,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    on_step: Callable[[State], None] | None = None,
) -> Tensor:
    """Move images towards regions of high probability: corrupt them to ``level``, then sample down.

    The higher the level, the more is invented anew. With ``sampler="iterate"`` it is the paper's refinement: plain
    iteration at that level, with no noise added.

    Args:
        dae: the model.
        images: (N,C,H,W) of the model's shape, uint8 or float.
        level: where to start, within the model's levels; by default the corruption's ``usual_level``.
        added: level of the corruption that is added, from 0 (:func:`denoise`) to ``level`` (the default, but 0 for
            ``iterate``). With less than ``level``, the faults that images have already are taken for noise as well:
            they change more where they are wrong and less where they are not.
        sampler, steps: as for :func:`choose`.
        seed: the noise of image i is a function of (seed, i).
        on_step: called with the :class:`State` of each batch after each step.

    Returns:
        float32 (N,C,H,W) on the CPU, in [0,1].

    Raises:
        InputError: an argument is out of its range or does not go with the model.
    """
    sampler, steps = choose(dae, sampler, steps)
    level = start_level(dae, level)
    if added is None:
        added = 0 if sampler.startswith("iterate") else level
    least = 1e-9 if dae.corruption.reveals else 0  # without erased pixels there is nothing to reveal
    if not least <= added <= level:
        above = "above 0, up" if least else "from 0"
        raise InputError(f"what is added must be {above} to the level {level:g}, got {added:g}")
    return _from_images(dae, images, level, added, sampler, steps, seed, on_step)


@torch.inference_mode()
def denoise(
    dae: Denoiser,
    images: Tensor,
    *,
    level: float | None = None,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    on_step: Callable[[State], None] | None = None,
) -> Tensor:
    """Restore images that are already damaged at ``level``: sample down from there, adding nothing first.

    ``steps=1`` with ``euler`` or ``heun`` is the posterior mean r(x), which has the least squared error but is blurred
    where the damage leaves a choice; more steps settle on one sharp restoration. A model of one level gives r(x) by
    default. Arguments, result and errors are those of :func:`refine`, but for ``added``.
    """
    sampler, steps = choose_restorer(dae, sampler, steps)
    return _from_images(dae, images, start_level(dae, level), 0, sampler, steps, seed, on_step)


class Held:
    """A denoiser that knows the pixels where ``keep`` (B,1,H,W) is true: E[x | x_tilde, known] there is ``known``."""

    def __init__(self, dae: Denoiser, known: Tensor, keep: Tensor) -> None:
        self.dae, self.known, self.keep = dae, known, keep
        self.corruption, self.shape, self.device = dae.corruption, dae.shape, dae.device

    def __call__(self, x: Tensor, level: float | Tensor) -> Tensor:
        return torch.where(self.keep, self.known, self.dae(x, level))


@torch.inference_mode()
def inpaint(
    dae: Denoiser,
    images: Tensor,
    keep: Tensor,
    *,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    on_step: Callable[[State], None] | None = None,
) -> Tensor:
    """Fill the hidden part of images with what goes with the rest.

    A model of an erasure reveals the hidden pixels. One of a range of Gaussian levels samples from noise with the known
    pixels held at each level (RePaint: Lugmayr et al. 2022), by ``ancestral(resample=4)`` if nothing else is said.

    Args:
        dae: the model.
        images: (N,C,H,W) of the model's shape, uint8 or float; what the hidden pixels hold does not matter.
        keep: bool, true where a pixel is known: (H,W) for all images, or (N,1,H,W).
        sampler, steps, seed, on_step: as for :func:`sample`. For several completions, repeat the image.

    Returns:
        float32 (N,C,H,W) on the CPU, in [0,1]; known pixels are as given, or binary for a model of binary images.

    Raises:
        InputError: an argument is out of its range, or the model cannot inpaint.
    """
    check_shape(dae, images)
    if keep.shape not in (images.shape[2:], (len(images), 1, *images.shape[2:])):
        raise InputError(
            f"the mask is {tuple(keep.shape)}, the images are {tuple(images.shape)}: give one of their size"
        )
    q = dae.corruption
    sampler, steps = choose_painter(dae, sampler, steps)
    batches, size = [], batch_size(dae.shape)
    for start in range(0, len(images), size):
        known = to_float(images[start : start + size]).to(dae.device)
        held = keep.bool().to(dae.device).expand(len(images), 1, *keep.shape[-2:])[start : start + size]
        noise = ImageNoise(seed, start, len(known), dae.device)
        if how := facts(dae).get("binarise"):
            known = binarise(known, how, noise)
        if q.reveals:
            denoiser, x = dae, q.hide(known, held)
        else:
            denoiser, x = Held(dae, known, held), q.prior(len(known), dae.shape, noise)
            x = torch.where(held, q(known, torch.tensor(q.high), noise), x)
        filled = _run(sampler, denoiser, x, q.levels(steps), noise, on_step)
        batches.append(torch.where(held.cpu(), known.cpu(), filled))
    return torch.cat(batches)


def _from_images(
    dae: Denoiser,
    images: Tensor,
    level: float,
    added: float,
    sampler: str,
    steps: int,
    seed: int,
    on_step: Callable[[State], None] | None,
) -> Tensor:
    check_shape(dae, images)
    q = dae.corruption
    plain = sampler.startswith("iterate")
    levels = torch.full((steps + 1,), level) if plain else q.levels(steps, level)
    batches, size = [], batch_size(dae.shape)
    for start in range(0, len(images), size):
        x = to_float(images[start : start + size]).to(dae.device)
        noise = ImageNoise(seed, start, len(x), dae.device)
        if added:
            if how := facts(dae).get("binarise"):
                x = binarise(x, how, noise)
            x = q(x, torch.tensor(added, device=x.device), noise)
        batches.append(_run(sampler, dae, x, levels, noise, on_step))
    return torch.cat(batches)


def check_shape(dae: Denoiser, images: Tensor) -> None:
    """Refuse images that are not of the model's shape.

    Raises:
        InputError: naming both shapes.
    """
    if images.ndim != 4 or tuple(images.shape[1:]) != tuple(dae.shape):
        wanted, got = "x".join(map(str, dae.shape)), "x".join(map(str, images.shape))
        raise InputError(f"the images are {got}, the model takes (N,{wanted.replace('x', ',')}): convert them first")


def _run(
    sampler: str, dae: Denoiser, x: Tensor, levels: Tensor, noise: Noise, on_step: Callable[[State], None] | None
) -> Tensor:
    part = spec.parse_one(sampler)
    for state in SAMPLERS[part.name](dae, x, levels, noise, **part.options):
        if on_step:
            on_step(state)
    return state.x[:, : dae.shape[0]].clamp(0, 1).cpu()
