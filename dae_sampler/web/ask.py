"""What a visitor may ask for, checked before anything is done."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..errors import InputError

MOST_STEPS, MOST_IMAGES = 1000, 64
MOST_SEED = 2**53 - 1
"""The largest whole number that every browser keeps exactly."""
MOST_GUIDANCE = 1000

_TEXTS = ("task", "model", "picture", "mask", "damage", "sampler", "label")
_NUMBERS: dict[str, tuple[type, float, float]] = {
    "level": (float, 0, 1e4),
    "assumed": (float, 0, 1e4),
    "guidance": (float, 0, MOST_GUIDANCE),
    "steps": (int, 1, MOST_STEPS),
    "seed": (int, 0, MOST_SEED),
    "n": (int, 1, MOST_IMAGES),
    "width": (int, 1, 4096),
    "height": (int, 1, 4096),
}


@dataclass(frozen=True)
class Ask:
    """A visitor's wish. What is None is left to the model's plan.

    Attributes:
        task, model: their names.
        picture, mask: data URLs; the mask is white where to fill.
        damage, level: what is done to the picture first, and how strongly.
        assumed: the level of damage that the model is to assume; None is the known one, or an estimate.
        sampler, steps, seed, n: how, and how many images.
        label, guidance: the class of the images, for a model that knows labels, and how far to follow it.
        width, height: of images that are generated, for a model of any size.
    """

    task: str
    model: str
    picture: str = ""
    mask: str = ""
    damage: str = ""
    level: float | None = None
    assumed: float | None = None
    sampler: str | None = None
    label: str | None = None
    guidance: float = 1.0
    steps: int | None = None
    seed: int = 0
    n: int = 1
    width: int | None = None
    height: int | None = None

    @classmethod
    def from_json(cls, facts: Any) -> Ask:
        """Check what came.

        Raises:
            InputError: a field is unknown, missing, or not what it has to be.
        """
        given = {name: value for name, value in facts.items() if value is not None} if isinstance(facts, dict) else {}
        if not {"task", "model"} <= given.keys():
            raise InputError("a request names a task and a model: load the page again")
        for name, value in given.items():
            if name not in {known.name for known in fields(cls)}:
                raise InputError("the request holds a field that this version does not know: load the page again")
            if name in _TEXTS and not isinstance(value, str):
                raise InputError(f"{name} has to be a text: load the page again")
            if name in _NUMBERS:
                given[name] = _number(name, value)
        return cls(**given)


def _number(name: str, value: Any) -> float:
    kind, low, high = _NUMBERS[name]
    whole = " whole" if kind is int else ""
    fits = type(value) in (int, float) and low <= value <= high and kind(value) == value
    if not fits:
        raise InputError(f"{name} has to be a{whole} number from {low:g} to {high:,.10g}")
    return kind(value)
