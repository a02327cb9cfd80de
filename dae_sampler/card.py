"""What is known of a model: its card, which travels with the weights.

A card holds texts and numbers only, and imports neither torch nor networks: the texts are looked up by those who build
the model or plan with it. It is checked whenever one is made, so on writing and on reading alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from .errors import InputError
from .spec import parse_one

FORMAT = 3
"""Kept for good: a reader keeps fields that it does not know, and has defaults for those that are missing.
2 (still read): what is not needed to build the model lay in ``info``; no plans but for sampling."""
MAX_PIXELS = 1 << 24
MAX_CHANNELS = 16
MAX_STEPS = 100_000
MAX_POOL = 64
CODE = "code"
"""The stage of a bottleneck, which is no map."""

Pairs = tuple[tuple[float, float], ...]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 10_000


def _one_of(*known: Any) -> Callable[[Any], bool]:
    return lambda value: value in known


def _count(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _is_size(value: Any) -> bool:
    sides = isinstance(value, tuple) and len(value) == 2 and all(type(v) is int and v > 0 for v in value)
    return value is None or (sides and value[0] * value[1] <= MAX_PIXELS)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))


def _is_range(value: Any) -> bool:
    return value is None or (_is_pair(value) and value[0] < value[1])


def _are_pairs(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is_pair, value))


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is_text, value))


def _is_plan(task: str, plan: Any) -> bool:
    if not (isinstance(plan, dict) and (plan.get("level") is None or _is_number(plan["level"]))):
        return False
    if task == "encode":
        return _is_text(plan.get("stage")) and _count(0, MAX_POOL)(plan.get("pool"))
    return _is_text(plan.get("sampler")) and _count(1, MAX_STEPS)(plan.get("steps"))


def _are_plans(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_plan(task, plan) for task, plan in value.items())


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _is_training(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_number(value.get(name, 0)) for name in ("steps", "seconds"))


def _known(default: Any, check: Callable[[Any], bool]) -> Any:
    if isinstance(default, dict):
        return field(default_factory=dict, metadata={"check": check})
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True)
class Card:
    """What is known of a model.

    Attributes:
        net, corruption: their texts.
        channels: of the images, 1 to 16.
        size: (height, width) of the images; None for a network that takes any size.
        stride, radius: of such a network: it is equivariant to shifts by its stride, and an output pixel depends on
            inputs at most so many pixels away.
        loss: what it was trained by.
        objective: what its output estimates: the posterior mean or median, or the end of a trajectory (consistency).
        target: what it was trained to predict: clean images, noisy ones, or the damaged images themselves.
        range: values of the files that stand for 0 and 1, where they are not the default of the type.
        binarise: how images were made binary as they were drawn.
        labels: names of the classes, in the order of their numbers.
        plans: by task, ``{"sampler": text, "steps": count, "level": number or None}``: what is done if nothing is said;
            of the task ``encode``, ``{"stage": text, "level": number or None, "pool": count}``.
        excess: (level, held-out loss above its floor), told the class where the model knows labels.
        squared_error: (level, held-out mean squared error of the reconstruction), told the same.
        anomaly: (share, anomaly score that this share of validation pictures stays below), see :mod:`.anomaly`.
        data, images, terms: name of the training data, how many images, and the terms they come under.
        licence: of the weights.
        start: the model whose weights training began from.
        version: of dae-sampler.
        training: steps, seconds and recipe.
        unknown: fields that a later version wrote.

    Raises:
        InputError: a field is not what it has to be.
    """

    net: str = _known("", _is_text)
    corruption: str = _known("", _is_text)
    channels: int = _known(1, _count(1, MAX_CHANNELS))
    size: tuple[int, int] | None = _known(None, _is_size)
    stride: int = _known(1, _count(1, 4096))
    radius: int = _known(0, _count(0, 1 << 20))
    loss: str = _known("bce", _is_text)
    objective: str = _known("mean", _one_of("mean", "median", "consistency"))
    target: str = _known("clean", _one_of("clean", "noisy", "self"))
    range: tuple[float, float] | None = _known(None, _is_range)
    binarise: str | None = _known(None, _one_of(None, "dynamic", "threshold"))
    labels: tuple[str, ...] = _known((), _are_texts)
    plans: dict[str, dict[str, Any]] = _known({}, _are_plans)
    excess: Pairs = _known((), _are_pairs)
    squared_error: Pairs = _known((), _are_pairs)
    anomaly: Pairs = _known((), _are_pairs)
    data: str = _known("", _is_text)
    images: int = _known(0, _count(0, 1 << 53))
    terms: str = _known("", _is_text)
    licence: str = _known("", _is_text)
    start: str = _known("", _is_text)
    version: str = _known("", _is_text)
    training: dict[str, Any] = _known({}, _is_training)
    unknown: dict[str, Any] = _known({}, _is_dict)

    def __post_init__(self) -> None:
        for known in fields(self):
            if not known.metadata["check"](getattr(self, known.name)):
                raise InputError(f"{known.name} cannot be {getattr(self, known.name)!r}")

    def to_json(self) -> dict[str, Any]:
        """For JSON, with the fields of later versions beside ours."""
        facts = asdict(self)
        return facts.pop("unknown") | {"format": FORMAT} | facts

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Card:
        """Undo :meth:`to_json`, of format 2 too.

        Raises:
            InputError: another format, or a field is not what it has to be.
        """
        version = facts.get("format")
        if version == 2:
            facts = _from_format_2(facts)
        elif version != FORMAT:
            cure = "train it again" if version in (0, 1) else "upgrade dae-sampler"
            raise InputError(f"it has format {version!r}, this version reads formats 2 and {FORMAT}: {cure}")
        names = {known.name for known in fields(cls)} - {"unknown"}
        given = {name: _tuples(value) for name, value in facts.items() if name in names}
        unknown = {name: value for name, value in facts.items() if name not in names | {"format"}}
        return cls(**given, unknown=unknown)


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that the fields are; dictionaries stay."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _from_format_2(facts: dict[str, Any]) -> dict[str, Any]:
    info, shape = facts.get("info"), facts.get("shape")
    if not (isinstance(info, dict) and isinstance(shape, list) and len(shape) == 3):
        raise InputError("its shape or info is missing")
    best = info.get("sampler", {})
    if not isinstance(best, dict):
        raise InputError("its sampler is damaged")
    names = {"data", "images", "version", "binarise", "training", "licence"}
    moved = {name: value for name, value in info.items() if name in names}
    kept = {name: value for name, value in info.items() if name not in names | {"sampler", "from"}}
    plans = {"sample": {"sampler": best.get("name"), "steps": best.get("steps")}} if best else {}
    same = {name: facts.get(name) for name in ("net", "corruption", "loss")}
    same["net"] = _with_its_patch(same["net"], shape)
    objective = "median" if same["loss"] == "mae" else "mean"
    rest = {"channels": shape[0], "size": shape[1:], "plans": plans, "objective": objective}
    return {**kept, **same, **moved, **rest, "start": info.get("from", "")}


def _with_its_patch(net: Any, shape: list[Any]) -> Any:
    """The text of a U-Net of 64 to 95 pixels with the patch that was its default when it was written."""
    side = max((side for side in shape[1:] if isinstance(side, int)), default=0)
    if not isinstance(net, str) or not 64 <= side < 96:
        return net
    part = parse_one(net)
    return str(replace(part, options={"patch": 2} | part.options)) if part.name == "unet" else net
