"""What is done for visitors: each function computes one request, and tells of every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..corruption.base import Corrupted
from ..errors import InputError, unknown
from ..evaluation.fidelity import psnr
from ..sampling import tasks
from ..sampling.estimate import estimate_level
from ..sampling.guidance import told
from ..sampling.plan import Plan, can_estimate, start_level
from ..sampling.samplers import Denoiser
from ..tiles import for_pictures
from .ask import Ask
from .desk import Tell
from .exhibit import Exhibit
from .images import MOST_PIXELS, diverging, open_mask, open_picture, to_url
from .watch import HIDDEN, Watch, as_seen

MOST_TOGETHER = 2 * MOST_PIXELS
"""Pixels of all images that are computed together."""


def open_upload(exhibit: Exhibit, ask: Ask, tell: Tell) -> None:
    """An upload as the model takes it."""
    image, notes = open_picture(ask.picture, exhibit.denoiser.shape)
    tell({"picture": to_url(image), "notes": notes})


def damage(exhibit: Exhibit, ask: Ask, tell: Tell) -> None:
    """A picture damaged, to look at."""
    _damaged(exhibit, ask, tell)


def restore(exhibit: Exhibit, ask: Ask, tell: Tell) -> None:
    """A picture damaged, if that is asked for, and restored."""
    clean, drawn = _damaged(exhibit, ask, tell)
    x = drawn.x_tilde
    if x.shape[1] > clean.shape[1]:  # the damage shows what is missing
        plan = exhibit.plan("inpaint", ask.sampler, ask.steps)
        batches = [(x[:, :-1], x[:, -1:] > 0)]
        watch = Watch(exhibit.dae.corruption, plan, tell)
        watch.finish(next(tasks.inpaint(_told(exhibit, ask), batches, plan, seed=ask.seed, on_step=watch)))
        return
    plan = _restoring(exhibit, ask, x, tell)
    watch = Watch(exhibit.dae.corruption, plan, tell)
    restored = next(tasks.denoise(_told(exhibit, ask), [x], plan, seed=ask.seed, on_step=watch))
    watch.finish(restored, **({"psnr": [_psnr(x, clean), _psnr(restored, clean)]} if ask.damage else {}))


def inpaint(exhibit: Exhibit, ask: Ask, tell: Tell) -> None:
    """Several completions of a picture under a mask."""
    image, notes = open_picture(ask.picture, exhibit.denoiser.shape)
    keep = open_mask(ask.mask, image.shape[1:])
    _check_together(ask.n, image.shape[1:])
    plan = exhibit.plan("inpaint", ask.sampler, ask.steps)
    shown = torch.where(keep, image, torch.tensor(HIDDEN))
    tell({"notes": notes, "damaged": to_url(shown)})
    batches = [(image.expand(ask.n, *image.shape), keep)]
    watch = Watch(exhibit.dae.corruption, plan, tell)
    watch.finish(next(tasks.inpaint(_told(exhibit, ask), batches, plan, seed=ask.seed, on_step=watch)))


def sample(exhibit: Exhibit, ask: Ask, tell: Tell) -> None:
    """Images from noise, of a class where one is asked for."""
    size = (ask.width, ask.height) if ask.width and ask.height and not exhibit.dae.shape[1] else None
    shape = tasks.shape_of_samples(exhibit.dae, size)
    _check_together(ask.n, shape[1:])
    plan = exhibit.plan("sample", ask.sampler, ask.steps)
    watch = Watch(exhibit.dae.corruption, plan, tell)
    dae = told(exhibit.dae, ask.label, ask.guidance)
    watch.finish(next(tasks.sample(dae, ask.n, plan, size=size, seed=ask.seed, batch=ask.n, on_step=watch)))


def score(exhibit: Exhibit, ask: Ask, tell: Tell) -> None:
    """The score of a picture at a level: where it wants to be brighter and where darker."""
    exhibit.check_score()
    image, notes = open_picture(ask.picture, exhibit.denoiser.shape)
    own, sigma = next(iter(exhibit.damages.values())), start_level(exhibit.dae, ask.level)
    noisy = own.draw(image[None], sigma, ask.seed).x_tilde if ask.damage else image[None]
    with torch.no_grad():
        r = exhibit.denoiser(noisy.to(exhibit.dae.device), sigma).cpu()
    field = ((r - noisy) / sigma)[0].mean(0)  # sigma times the score: of order one at every level
    most = max(field.abs().quantile(0.995).item(), 1e-9)
    shown = exhibit.dae.corruption.preview(noisy, sigma) if ask.damage else noisy
    tell(
        {
            "notes": notes,
            "damaged": to_url(shown[0]),
            "guess": to_url(r[0]),
            "field": to_url(diverging(field / most)),
            "most": most / sigma,
        }
    )


WORK: dict[str, Callable[[Exhibit, Ask, Tell], None]] = {
    "open": open_upload,
    "damage": damage,
    "restore": restore,
    "inpaint": inpaint,
    "sample": sample,
    "score": score,
}


def do(exhibits: dict[str, Exhibit], ask: Ask, tell: Tell) -> None:
    """What a visitor asks for.

    Raises:
        InputError: it cannot be done.
    """
    if ask.task not in WORK:
        raise unknown("task", ask.task, WORK)
    if ask.model not in exhibits:
        raise unknown("model", ask.model, exhibits)
    WORK[ask.task](exhibits[ask.model], ask, tell)


def _told(exhibit: Exhibit, ask: Ask) -> Denoiser:
    """The model for pictures as they come, told their class where one is asked for."""
    return for_pictures(told(exhibit.dae, ask.label, ask.guidance))


def _damaged(exhibit: Exhibit, ask: Ask, tell: Tell) -> tuple[Tensor, Corrupted]:
    """The picture (1,C,H,W), and damaged as asked for, which is shown."""
    image, notes = open_picture(ask.picture, exhibit.denoiser.shape)
    x = image[None]
    if not ask.damage:
        tell({"notes": notes, "damaged": to_url(image)})
        return x, Corrupted(x, x)
    kind = exhibit.damage(ask.damage)
    drawn = kind.draw(x, ask.level, ask.seed)
    if not kind.own and drawn.x_tilde.shape == x.shape:  # else it shows what is missing
        notes.append(f"{exhibit.name} was not trained on {kind.name}: it restores it as well as it can.")
    level = kind.usual if ask.level is None else ask.level
    tell({"notes": notes, "damaged": to_url(as_seen(kind.at(level), x.shape[1], drawn.x_tilde, level)[0])})
    return x, drawn


def _restoring(exhibit: Exhibit, ask: Ask, x: Tensor, tell: Tell) -> Plan:
    """The plan to denoise ``x``, from the level that is known, given or estimated."""
    if not exhibit.dae.corruption.has_level:
        return exhibit.plan("denoise", None, None)
    level = ask.assumed
    if level is None and ask.damage and (kind := exhibit.damage(ask.damage)).own:
        level = kind.usual if ask.level is None else ask.level
    guessed = level is None and not can_estimate(exhibit.dae)
    plan = exhibit.plan("denoise", ask.sampler, ask.steps, exhibit.dae.corruption.usual_level if guessed else level)
    if guessed:
        tell({"notes": [f"{exhibit.name} cannot tell how strong the damage is: it assumes {plan.level:.3g}."]})
    if plan.level is not None:
        return plan
    estimate = estimate_level(exhibit.denoiser, x[0])
    tell({"notes": [f"{exhibit.name} takes the damage for noise of level {estimate:.3g}."]})
    return plan.at(estimate)


def _check_together(n: int, size: Sequence[int]) -> None:
    height, width = size
    if n * height * width > MOST_TOGETHER:
        most = MOST_TOGETHER // (height * width)
        raise InputError(f"{n} images of {width}x{height} are too many here: ask for {most or 'smaller ones'}")


def _psnr(image: Tensor, clean: Tensor) -> float:
    """In dB, at most 100."""
    return psnr(image, clean).clamp(max=100).item()
