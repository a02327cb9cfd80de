"""Every option of training, once: name, type, default, bounds and help.

The command line, config.json and the documentation take them from here. Imports no torch, so that ``--help`` need not
wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, get_type_hints

from ..corruption import DEFAULT, DEFAULT_OF_CROPS, GIVEN
from ..errors import InputError, unknown


def _option(
    default: Any,
    text: str = "",
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    name: str | None = None,
    may_change: bool = False,
    **more: Any,
) -> Any:
    """A field with what is known of it.

    Args:
        default: its value where nothing is said.
        text: help for people; without it, it is no option of the command line.
        least, most, above: bounds of a number, the last exclusive.
        name: of the option, if not that of the field.
        may_change: whether a run that is resumed may have another value.
        more: for the command line alone.
    """
    metadata = {"help": text, "min": least, "max": most, "above": above, "name": name, "may_change": may_change}
    return field(default=default, metadata=metadata | more)


@dataclass(frozen=True)
class Recipe:
    """How to train. The fields are described where they are defined.

    Raises:
        InputError: a value is out of its bounds.
    """

    steps: int = _option(2000, "Training steps.", least=1, most=10**9, may_change=True)
    batch: int = _option(384, "Images per step.", least=1, most=65536)
    optimizer: str = _option("muon", "muon (with AdamW for vectors) or adamw.")
    lr: float = _option(3.4e-3, "Peak learning rate.", above=0, may_change=True)
    weight_decay: float = _option(0.01, "Decoupled weight decay.", least=0)
    l1: float = _option(
        0.0, "Weight of the mean absolute code, for sparse codes of networks with a bottleneck.", least=0
    )
    warmup: int = _option(200, least=0)
    """Steps over which the learning rate rises; a tenth of ``steps`` if that is less."""
    clip: float = _option(1.0, above=0)
    """Largest norm of the gradient."""
    ema: float = _option(16.0, "Power of the weight average: step t counts like t^ema (Karras et al. 2024).", least=0)
    seed: int = _option(0, "Same seed, same result.", least=0, most=2**63 - 1)
    """Of the order, the levels and the noise, and in a job of the initial weights."""
    held_out: int = _option(2000, least=0)
    """Most images to keep out of training for validation, which takes a tenth of them at most."""
    every: int = _option(500, "Steps between validations, sample grids and saves.", least=1)
    patience: int = _option(0, "Stop after this many validations without progress; 0: never.", least=0, may_change=True)
    binarise: str | None = _option(
        None, "Make images binary as they are drawn: dynamic or threshold; erasure: dynamic."
    )
    augment: str | None = _option(
        None, "For small data sets: mirror half of the images left to right, shift each a little, or turn by quarters."
    )

    label_dropout: float = _option(
        0.1,
        "Share of images trained without their label, so that the model generates without one too.",
        least=0,
        most=1,
    )

    def __post_init__(self) -> None:
        for known in fields(self):
            _check_bounds(known.name, getattr(self, known.name), known.metadata)
        from ..pixels import AUGMENT, BINARISE
        from .optimizer import OPTIMIZERS

        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        for kind, chosen, known in (
            ("binarisation", self.binarise, BINARISE),
            ("augmentation", self.augment, AUGMENT),
        ):
            if chosen is not None and chosen not in known:
                raise unknown(kind, chosen, known)

    def validation_size(self, n: int) -> int:
        """How many of ``n`` images are held out."""
        return min(self.held_out, n // 10)

    def rate(self, step: int) -> float:
        """The learning rate at a step: a linear rise, then a linear fall to 0 (Bergsma et al. 2025)."""
        warmup = min(self.warmup, self.steps // 10)
        if step < warmup:
            return self.lr * (step + 1) / warmup
        return self.lr * (self.steps - step) / (self.steps - warmup)


def _check_bounds(name: str, value: Any, known: Mapping[str, Any]) -> None:
    least, above, most = known["min"], known["above"], known["max"] or math.inf
    if value is None or (least is None and above is None):
        return
    if least is not None and not least <= value < math.inf:
        raise InputError(f"`{name}` must be {least:g} or more, got {value}")
    if above is not None and not above < value < math.inf:
        raise InputError(f"`{name}` must be above {above:g}, got {value}")
    if value > most:
        raise InputError(f"`{name}` must be at most {most:g}, got {value}")


@dataclass(frozen=True)
class Job(Recipe):
    """What a training run is asked to do: the options of ``dae-sampler train``, and the content of config.json.

    Raises:
        InputError: a value has the wrong type, as in a config.json that was edited by hand, or is out of its bounds.
    """

    data: str = _option(
        "", "A data set's name, a folder of images, or an .npy/.npz file.", argument=True, may_change=True
    )
    damaged: str | None = _option(
        None,
        "Damaged partners of the images, a folder, a pattern or an array: learn from pairs.",
        may_change=True,
    )
    exposures: bool = _option(
        False, "Learn from noisy exposures: the pictures of each folder, or the pages of a file, show one thing."
    )
    target: str = _option("clean", "clean, or noisy where the images of pairs are noisy too.")
    corruption: str = _option(
        DEFAULT,
        "gaussian, salt-pepper, poisson, jpeg, blindspot, ... or module:Class at a level or range; chains with +.",
    )
    net: str = _option("unet", "dense, conv, unet or module:Class, with arguments: 'dense(128, 64, 28, 64, 128)'.")
    loss: str = _option("bce", "bce, mse or mae.")
    epochs: float | None = _option(
        None, "Passes over the data, instead of `steps`.", least=0.001, most=1e6, may_change=True
    )
    start: str | None = _option(None, "Start from this model's weights (fine-tune).", name="from")
    labels: str | None = _option(
        None,
        "Learn classes: auto (the subfolder, the array's y, a named set's own), or a CSV with the header file,label.",
        may_change=True,
    )
    size: str | None = _option(None, "Bring the images to this size: SIDE or WIDTHxHEIGHT, in pixels.")
    crop: int | None = _option(
        None, "Train on random crops of this many pixels square, of pictures of any size.", least=8, most=4096
    )
    fit: str = _option("crop", "How: crop the longer side, pad the shorter one, or squash.")
    channels: int | None = _option(None, "1: grey, 3: colour; default: as the images are.")
    over: str = _option("black", "Lay transparent pictures over black or white.")
    data_root: str | None = _option(None, "Folder for named data sets.", envvar="DAE_SAMPLER_DATA", may_change=True)
    strict: bool = _option(False, "Stop at a picture that cannot be read, instead of skipping it.", may_change=True)
    tensorboard: bool = _option(False, "Also write TensorBoard events.", may_change=True)
    device: str = _option("auto", "auto, cpu, cuda, cuda:1 or mps.", may_change=True)
    precision: str = _option(
        "auto", "auto, float32 or bfloat16; auto: bfloat16 where the hardware has it.", may_change=True
    )
    objective: str = _option("mean")
    """``"consistency"`` tunes ``start`` into a consistency model (:mod:`.consistency`)."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if not isinstance(value, kind) and not (type(value) is int and isinstance(1.0, kind)):
                raise InputError(f"{name} in config.json is {value!r}: restore the file or start a new run")
        super().__post_init__()

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Job:
        """The job that a config.json holds, also one of an earlier version."""
        names = {known.name for known in fields(cls)}
        given = {name: value for name, value in config.items() if name in names}
        if given.get("steps", 0) is None:  # as versions before 0.3 wrote the default
            del given["steps"]
        if type(given.get("size")) is int:
            given["size"] = str(given["size"])
        return cls(**given)

    def completed(self, given: set[str]) -> Job:
        """With the corruption that is usual on crops, if none was ``given``.

        Raises:
            InputError: options were given that contradict each other.
        """
        if {"steps", "epochs"} <= given:
            raise InputError("`steps` and `epochs` contradict each other: give one")
        if self.crop and self.size:
            raise InputError("`size` and `crop` contradict each other: give one")
        if self.labels and self.exposures:
            raise InputError("the subfolders of `exposures` tell things apart and no classes: leave out `labels`")
        if "label_dropout" in given and not self.labels:
            raise InputError("`label_dropout` is for training with `labels`: give them, or leave it out")
        if self.damaged or self.exposures:
            return self._of_pairs(given)
        if self.target != "clean":
            raise InputError("`target` noisy is for pairs: give `damaged`, or train by `corruption` 'blindspot(1/16)'")
        return replace(self, corruption=DEFAULT_OF_CROPS) if self.crop and "corruption" not in given else self

    def _of_pairs(self, given: set[str]) -> Job:
        """The job where the damage is in the data."""
        if self.damaged and self.exposures:
            raise InputError("`damaged` and `exposures` contradict each other: give one")
        if "corruption" in given and self.corruption != GIVEN:
            raise InputError("the damage is in the pairs: leave out `corruption`")
        if self.target not in ("clean", "noisy"):
            raise unknown("target", self.target, ("clean", "noisy"))
        return replace(self, corruption=GIVEN, target="noisy" if self.exposures else self.target)

    def recipe(self, rows: int) -> Recipe:
        """The recipe where an epoch is ``rows`` images or crops."""
        recipe = Recipe(**{known.name: getattr(self, known.name) for known in fields(Recipe)})
        if self.epochs is None:
            return recipe
        steps = round(self.epochs * rows / self.batch)
        return replace(recipe, steps=max(1, steps))

    def changed(self, before: Job, given: set[str]) -> Job:
        """The job of a run that is resumed: ``before``, with those of the options ``given`` that may change.

        Raises:
            InputError: an option was given that would make it another run.
        """
        if self.objective != "mean" and (self.objective, self.start) != (before.objective, before.start):
            raise InputError(f"the run is no tuning of {self.start}: go on with it by train, or give another `out`")
        if before.objective == "consistency" and "patience" in given:
            raise InputError("a tuning has no loss to lose patience with: leave out `patience`")
        known = {option.name: option for option in fields(self)}
        for name in sorted(given):
            if getattr(self, name) != getattr(before, name) and not known[name].metadata["may_change"]:
                had = f"the run has `{name}` {getattr(before, name)}"
                raise InputError(f"{had}, which cannot change: leave it out, or start a new run")
        new = {name: getattr(self, name) for name in given}
        if "steps" in given:
            new |= {"epochs": None}
        return Job(**(asdict(before) | new))
