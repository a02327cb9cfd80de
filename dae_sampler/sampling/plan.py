"""What is decided before the first step: sampler, its options, steps and level, resolved once from what was asked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .. import levels, spec
from ..card import MAX_STEPS, Card
from ..corruption.base import Corruption
from ..errors import InputError, unknown
from ..noise import Noise
from .samplers import SAMPLERS, Denoiser, Sampler, State

_NOTHING_KNOWN = Card()
LEAST_PRIOR = 5.0
"""Standard deviation of noise that hides a picture well enough to begin from."""
FROM_MEASURED = 49 / 255
"""The level that a sampler which knows a measurement begins at; DPIR's."""
ROUNDED = 1e-6
"""Relative; a level may be so far outside its range, as one that was kept in float32."""
DRAWING = "walk", 20
"""Sampler and steps of restorations that differ: by models that begin from noise, and of several."""


def card_of(dae: Denoiser, x: Tensor | None = None) -> Card:
    """The card of a model, of two that of the one which takes ``x``; an empty one for denoisers that have none."""
    if x is not None and hasattr(dae, "taking"):
        dae = dae.taking(x)
    return getattr(dae, "card", _NOTHING_KNOWN)


@dataclass(frozen=True)
class Plan:
    """How a task is done.

    Attributes:
        sampler: a row of ``SAMPLERS``.
        options: its options.
        steps: sampling steps.
        level: where it starts; None from noise, where it is estimated, or where there is none.
        estimated: whether the level is to be estimated for each image.
    """

    sampler: Sampler
    options: dict[str, float]
    steps: int
    level: float | None = None
    estimated: bool = False

    def __str__(self) -> str:
        return str(spec.Part(self.sampler.name, (), self.options))

    def at(self, level: float) -> Plan:
        """The same from another level."""
        return replace(self, level=level, estimated=False)

    def states(self, dae: Denoiser, x: Tensor, noise: Noise) -> Iterator[State]:
        """The states after each step from ``x``."""
        if self.level is not None and not self.sampler.anneals:
            schedule = levels.constant(self.level, self.steps)
        else:
            schedule = dae.corruption.schedule(self.steps + self.sampler.leaps, self.level)
            if self.sampler.leaps:
                schedule = torch.cat([schedule[:-2], schedule[-1:]])
        return self.sampler.function(dae, x, schedule, noise, **self.options)


def resolve(
    task: str,
    dae: Denoiser,
    sampler: str | None = None,
    steps: int | None = None,
    level: float | None = None,
    noise: float | None = None,
    samples: int = 1,
) -> Plan:
    """The plan of a task: what was asked for, completed by the model's card and then by what is usual.

    Args:
        task: ``"sample"``, ``"refine"``, ``"denoise"``, ``"inpaint"`` or ``"restore"``.
        dae: the model.
        sampler: a name of ``SAMPLERS``, with the sampler's own options if wanted: ``"heun(churn=0.2)"``.
        steps: sampling steps, 1 or more.
        level: for ``"refine"`` and ``"denoise"``, where to start; a plan to denoise without one has None, and the level
            is to be estimated for each image.
        noise: for ``"denoise"``, the sigma of the noise that the images carry: the level of a model of Gaussian noise,
            and what one of blind spots needs to use each pixel's own value.
        samples: for ``"restore"``, how many are wanted of each measurement; several are to differ.

    Raises:
        InputError: the sampler is unknown, does not go with the model's corruption, or does not take its options; the
            model cannot do the task; or a number is out of its range.
    """
    q = dae.corruption
    _check_task(task, dae, level)
    usual = _usual(task, dae, samples)
    part = spec.parse_one(sampler) if sampler else None
    row, options = _look_up(part, dae, task) if part else (usual.sampler, usual.options)
    if noise is not None and q.is_gaussian and level is None:
        level = noise
    elif noise is not None:
        options = options | {"sigma": _check_noise(noise, q)}
    if task == "inpaint" and q.extra and not row.keeps_mask:
        raise InputError(f"{row.name} forgets which pixels are known: inpaint with reveal")
    if steps is None:
        steps = usual.steps if row is usual.sampler else row.steps
    if type(steps) is not int or not 1 <= steps <= MAX_STEPS:
        raise InputError(f"`steps` must be from 1 to {MAX_STEPS:,}, got {steps}")
    if task in ("sample", "inpaint", "restore") or not q.has_level:
        return Plan(row, options, steps, min(max(FROM_MEASURED, q.low), q.high) if row.measured else None)
    level = usual.level if level is None else level
    if task == "denoise" and level is None and can_estimate(dae):
        return Plan(row, options, steps, estimated=True)
    if task == "denoise" and level is None and q.ranged:
        raise InputError(f"this model restores damage from {q.low:g} to {q.high:g}: say how strong yours is by `level`")
    return Plan(row, options, steps, start_level(dae, level))


def start_level(dae: Denoiser, level: float | None = None) -> float:
    """The level to start from: the one given, else the corruption's usual one.

    Raises:
        InputError: the level is outside what the model was trained for.
    """
    q = dae.corruption
    level = q.usual_level if level is None else float(level)
    if not q.low * (1 - ROUNDED) <= level <= q.high * (1 + ROUNDED):
        raise InputError(f"level {level:g} is outside what the model was trained for, {q}: choose one inside")
    return min(max(level, q.low), q.high)


def can_estimate(dae: Denoiser) -> bool:
    """Whether the model can tell how strong the noise in an image is."""
    return tells_level(dae.corruption, card_of(dae).objective)


def tells_level(q: Corruption, objective: str) -> bool:
    """The same of a model by its corruption and by what its output estimates."""
    return q.is_gaussian and q.ranged and objective == "mean"


def _fitting(dae: Denoiser, task: str) -> list[Sampler]:
    """The samplers that go with a model and a task."""
    mean = card_of(dae).objective != "consistency"
    able = [row for row in SAMPLERS.values() if row.fits(dae.corruption) and (mean or not row.means)]
    return [row for row in able if task == "restore" or not row.measured]


def _check_task(task: str, dae: Denoiser, level: float | None) -> None:
    q = dae.corruption
    if not q.has_level and task != "denoise":
        raise InputError(
            f"this model was trained under {q}, which adds no noise: denoise pictures with it, or train one with "
            f"`corruption` 'gaussian(0.01..20)' to {task}"
        )
    if not q.has_level and level is not None:
        raise InputError(f"this model was trained under {q}, which has no level: leave out `level`")
    if task == "restore" and (objective := card_of(dae).objective) != "mean":
        cure = "use the model it was tuned from" if objective == "consistency" else "train one with `loss` bce or mse"
        raise InputError(f"a measurement guides the mean, and this model's output is a {objective} one: {cure}")
    if task == "restore" and not can_estimate(dae):
        raise InputError(f"this model has {q}: a measurement guides a model of Gaussian noise over a range of levels")
    if task == "denoise" and q.extra:
        raise InputError(f"{q} shows which pixels are damaged: give a mask to inpaint instead")
    if task == "inpaint" and not any(row.painting is not None for row in _fitting(dae, task)):
        raise InputError(f"this model has {q}: inpainting needs erasure, or Gaussian noise, over a range of levels")


def _check_noise(noise: float, q: Corruption) -> float:
    """The sigma of the noise in the images, if the corruption has a use for it."""
    if not q.takes_noise:
        raise InputError(
            f"this model was trained under {q}, which makes no use of the noise in the images: leave out `noise`"
        )
    if not 0 < noise < math.inf:
        raise InputError(f"`noise` must be above 0, got {noise:g}")
    return noise


def _usual(task: str, dae: Denoiser, samples: int) -> Plan:
    """The plan where nothing is said: the card's for the task or for sampling, else by the table of samplers."""
    q, plans = dae.corruption, card_of(dae).plans
    one_call = task == "denoise" and not (q.ranged and dae.shape[1])  # one level or any size: restored by r, once
    planned: dict[str, Any] | None = plans.get(task) or (
        plans.get("sample") if not one_call and task not in ("inpaint", "restore") else None
    )
    if planned:
        return Plan(*_look_up(spec.parse_one(planned["sampler"]), dae, task), planned["steps"], planned.get("level"))
    if task == "restore":
        name, steps = DRAWING if samples > 1 or q.high >= LEAST_PRIOR else ("hqs", SAMPLERS["hqs"].steps)
        return Plan(SAMPLERS[name], {}, steps)
    for name in ("euler", "consistency", "iterate") if one_call else ():
        if SAMPLERS[name] in _fitting(dae, task):
            return Plan(SAMPLERS[name], {}, 1)
    if task == "inpaint" and can_estimate(dae) and q.high >= LEAST_PRIOR:
        return Plan(SAMPLERS["walk"], {}, SAMPLERS["walk"].steps)
    if task == "inpaint":
        row = next(row for row in _fitting(dae, task) if row.painting is not None)
        return Plan(row, row.painting or {}, row.steps)
    row = _fitting(dae, task)[0]
    return Plan(row, row.usual, row.steps)


def _look_up(part: spec.Part, dae: Denoiser, task: str) -> tuple[Sampler, dict[str, float]]:
    """The sampler that a text names, and its options."""
    if part.name not in SAMPLERS:
        raise unknown("sampler", part.name, SAMPLERS)
    row = SAMPLERS[part.name]
    if row not in (fitting := _fitting(dae, task)):
        why = f"the task {task}" if row.measured else "a consistency model"
        what = why if row.fits(dae.corruption) else dae.corruption
        raise InputError(f"{part.name} does not go with {what}: use {' or '.join(row.name for row in fitting)}")
    for name, value in [*part.options.items(), *((str(value), None) for value in part.args)]:
        if name not in row.options or not isinstance(value, int | float):
            form = f"{row.name}({', '.join(f'{k}=NUMBER' for k in row.options)})" if row.options else row.name
            raise InputError(f"{row.name} takes no {name}: write {form}")
    return row, part.options
