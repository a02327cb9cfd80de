"""Models for pictures as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .. import hub
from .console import console, counted, say
from .options import Compute

if TYPE_CHECKING:
    from ..sampling.samplers import Denoiser
    from ..tiles import OnTile

KINDS = {1: "grey", 3: "colour"}


@contextmanager
def joined(compute: Compute, quiet: bool) -> Generator[None]:
    """Join the other processes, if torchrun started this one; only the first speaks."""
    from .. import distributed
    from ..device import pick_device

    with distributed.joined(pick_device(compute.device)):
        console.quiet = quiet or distributed.get_rank() > 0
        yield


def load_for_pictures(
    compute: Compute,
    model: str,
    on_tile: OnTile | None = None,
    label: str | None = None,
    guidance: float = 1.0,
) -> tuple[Denoiser, tuple[str, str] | None]:
    """The denoiser for pictures as they come, told a class if there is one, and the two models that the name
    stands for, if it does."""
    from ..sampling.guidance import told
    from ..tiles import for_pictures

    pair = hub.pair_of(model)
    grey = compute.load_quietly(pair[0]) if pair else None
    return for_pictures(told(compute.load_quietly(model), label, guidance), grey, on_tile), pair


def say_kinds(kinds: Counter[int], grey: str, colour: str) -> None:
    """Which of two models had which pictures."""
    for channels, count in sorted(kinds.items()):
        what = KINDS.get(channels, f"{channels} channels")
        model = colour if channels == 3 else grey if channels == 1 else f"{grey}, channel by channel"
        say(f"{counted(count, 'picture')} ({what}) by {model}")
