"""A model as the page shows it: what can be done with it, and the damage that fits it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..corruption import CORRUPTIONS
from ..corruption.base import Corrupted, Corruption
from ..dae import DenoisingAutoencoder
from ..errors import InputError, unknown
from ..noise import DAMAGE, ImageNoise
from ..sampling.plan import Plan, can_estimate, resolve
from ..sampling.samplers import SAMPLERS, Denoiser
from ..sampling.tasks import shape_of_samples
from ..tiles import for_pictures
from .desk import sentence

EXAMPLE = (64, 64)
"""A size (width, height) to ask a model of any size about."""


@dataclass(frozen=True)
class Damage:
    """One way to damage a picture.

    Attributes:
        name: for people.
        at: the corruption at a level.
        low, high, usual: levels.
        own: whether the model was trained on it.
    """

    name: str
    at: Callable[[float], Corruption]
    low: float
    high: float
    usual: float
    own: bool

    def draw(self, x: Tensor, level: float | None, seed: int) -> Corrupted:
        """``x`` (B,C,H,W) damaged.

        Raises:
            InputError: the level is outside its range.
        """
        level = self.usual if level is None else level
        if not self.low <= level <= self.high:
            raise InputError(f"{self.name} takes levels from {self.low:g} to {self.high:g} here, got {level:g}")
        noise = ImageNoise(seed, DAMAGE, len(x), x.device)
        return self.at(level).draw(x, torch.tensor(level, device=x.device), noise)

    def describe(self) -> dict[str, Any]:
        """What the page has to know, as JSON."""
        return {name: getattr(self, name) for name in ("name", "low", "high", "usual", "own")}


@dataclass(frozen=True)
class Exhibit:
    """A model under the name that visitors know it by."""

    name: str
    dae: DenoisingAutoencoder

    def __post_init__(self) -> None:
        if self.dae.shape[0] not in (1, 3):
            raise InputError(
                f"the page shows grey and colour pictures, and {self.name} has {self.dae.shape[0]} channels: use the "
                "other commands"
            )

    @cached_property
    def denoiser(self) -> Denoiser:
        """The model for pictures of any size, where it takes them."""
        return for_pictures(self.dae)

    @property
    def task(self) -> str:
        """How a picture with the model's own damage is restored: an erasure shows what is missing."""
        return "inpaint" if self.dae.corruption.extra else "denoise"

    @cached_property
    def damages(self) -> dict[str, Damage]:
        """Ways to damage a picture that this model can work on, its own first."""
        q = self.dae.corruption
        name = str(q) if ":" in q.name else q.name
        own = Damage(name, lambda level: q, q.low, q.high, q.usual_level, own=True) if _damages(q) else None
        others = [kind for kind in sorted(CORRUPTIONS) if kind != q.name and self._fits(CORRUPTIONS[kind])]
        all_of_them = [own, *map(_foreign, others)]
        return {damage.name: damage for damage in all_of_them if damage}

    def damage(self, name: str) -> Damage:
        """The damage of that name.

        Raises:
            InputError: there is none.
        """
        if name not in self.damages:
            raise unknown("damage", name, self.damages)
        return self.damages[name]

    def plan(self, task: str, sampler: str | None, steps: int | None, level: float | None = None) -> Plan:
        """The plan of a task; samplers go by their plain names, for an option can make one step as long as a thousand.

        Raises:
            InputError: see :func:`~.sampling.plan.resolve`.
        """
        if sampler and sampler not in SAMPLERS:
            raise unknown("sampler", sampler, SAMPLERS)
        return resolve(task, self.dae, sampler, steps, level)

    def check_score(self) -> None:
        """Refuse a model that has no score.

        Raises:
            InputError: saying why.
        """
        channels, height, width = self.dae.shape
        empty = torch.zeros(1, channels, height or 64, width or 64, device=self.dae.device)
        self.dae.score(empty, self.dae.corruption.high)

    def describe(self) -> dict[str, Any]:
        """What the page has to know, as JSON."""
        q, (channels, height, width) = self.dae.corruption, self.dae.shape
        usual = q.usual_level if q.has_level else None
        return {
            "name": self.name,
            "about": f"{self.dae.card.net}, trained under {q} on {self.dae.card.data or 'unknown data'}",
            "labels": self.dae.card.labels,
            "channels": channels,
            "width": width,
            "height": height,
            "damages": [damage.describe() for damage in self.damages.values()],
            "estimates": can_estimate(self.dae),
            "restore": self._told(self.task, usual) | {"denoises": self.task == "denoise"},
            "inpaint": self._told("inpaint"),
            "sample": self._told("sample"),
            "score": {"why_not": _why_not(self.check_score)},
        }

    def _fits(self, kind: type[Corruption]) -> bool:
        """Whether pictures with this damage, which is not the model's own, can be restored."""
        if not _damages(kind):
            return False
        return not _why_not(lambda: resolve("inpaint", self.dae)) if kind.extra else self.task == "denoise"

    def _told(self, task: str, level: float | None = None) -> dict[str, Any]:
        """Whether a task can be done, by which samplers, and what is usual."""

        def check() -> None:
            resolve(task, self.dae, level=level)
            if task == "sample":
                shape_of_samples(self.dae, None if self.dae.shape[1] else EXAMPLE)

        if reason := _why_not(check):
            return {"why_not": reason}
        usual = resolve(task, self.dae, level=level)
        fitting = [
            {"name": name, "steps": row.steps}
            for name, row in SAMPLERS.items()
            if not _why_not(lambda name=name: resolve(task, self.dae, name, level=level))
        ]
        return {"why_not": None, "by": str(usual), "steps": usual.steps, "samplers": fitting}


def _damages(q: Corruption | type[Corruption]) -> bool:
    """Whether it damages a picture by itself: not where the damage is in the data."""
    return not (q.paired or q.self_supervised)


def _foreign(name: str) -> Damage | None:
    """A corruption that a model was not trained on, if a level is all that it needs."""
    kind = CORRUPTIONS[name]
    if ":" in name or _why_not(lambda: kind(kind.shown[1])):
        return None
    return Damage(name, kind, *kind.shown, own=False)


def _why_not(check: Callable[[], Any]) -> str | None:
    """The sentence in which something is refused; None if it is not."""
    try:
        check()
    except (InputError, TypeError) as error:
        return sentence(InputError(error))
    return None
