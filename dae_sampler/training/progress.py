"""What training reports while it runs, and how it is ended early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..dae import DenoisingAutoencoder
from .validation import Validation


@dataclass(frozen=True)
class Progress:
    """What ``fit`` reports after each step."""

    step: int
    loss: Tensor
    """Training loss of the step, (); read it sparingly, for it waits for the device."""
    average: DenoisingAutoencoder
    """The model with the averaged weights, to look at; it changes with further training."""
    validation: Validation | None = None
    """Of the averaged weights, if they were validated after this step."""


class StopTraining(Exception):  # noqa: N818 - not an error
    """Raised by ``on_progress``, in every process, to end the training there as if all steps were done."""


class TrainingInterrupted(Exception):  # noqa: N818 - not an error
    """Raised from ``fit`` after the state was saved, when ``should_stop`` said so."""


def is_ended(on_progress: Callable[[Progress], None] | None, progress: Progress) -> bool:
    """Tell of a step; whether that ends the training."""
    try:
        if on_progress:
            on_progress(progress)
    except StopTraining:
        return True
    return False
