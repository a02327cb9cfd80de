"""Is it training right? Verdicts on the losses of a run, one sentence each.

Each compares a loss with itself, at another time or another level, so that no verdict hangs on how bright or how many
the pictures are. Losses of training and of held-out images differ by chance in their floors, so only how they change
is compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..corruption.base import Corruption
from ..errors import InputError

FEWEST = 4
"""Validations from which a course can be told."""
FALLING = 0.02
"""Share of the excess that it fell by in the last quarter of a run that is not done."""
RISEN = 0.01
"""Share of the lowest excess by which it rose afterwards, in a run that overfits."""
APART = 0.2
"""Share of the excess by which the loss fell more on training images than on held-out ones."""
VISIBLE = 0.05
"""Share of an image's excess that noise of the highest level leaves to be seen, if sampling cannot start from it."""
IDLE = 0.02
"""Share of the highest excess below which, or within which of it, a level teaches nothing."""
COPIED = 0.1
"""Share of samples that are nearer to training images, beside held-out ones, than all but a hundredth of these are."""


@dataclass(frozen=True)
class Finding:
    """One verdict: its kind, a word or two, and a sentence with cause and cure."""

    kind: str
    text: str


@dataclass(frozen=True)
class History:
    """The validations of a run, in order; losses for each pixel."""

    steps: list[int]
    seconds: list[float]
    loss: list[float]
    """Mean training loss since the validation before."""
    held_out: list[float]
    excess: list[float]
    """Held-out loss above its floor; above its own lowest where the floor is unknown, as that of noisy targets is."""
    by_level: dict[float, list[float]]
    """Held-out loss above its floor by level, lowest first."""
    has_floor: bool = True

    @property
    def scale(self) -> float:
        """What a change of the loss is held against: the least excess, or all of the fall where no floor is known."""
        return abs(min(self.excess)) if self.has_floor else max(self.excess)

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, str]]) -> History:
        """The rows of a ``metrics.csv``.

        Raises:
            InputError: there are none, or one is not whole.
        """
        if not rows:
            raise InputError("the run was not validated yet: wait for its first validation, or lower `every`")

        def column(name: str) -> list[float]:
            return [float(row[name]) for row in rows]

        try:
            levels = sorted((float(name[7:]), name) for name in rows[0] if name.startswith("excess@"))
            held_out, has_floor = column("valid_loss"), "valid_excess" in rows[0]
            return cls(
                [int(row["step"]) for row in rows],
                column("seconds"),
                column("loss"),
                held_out,
                column("valid_excess") if has_floor else [loss - min(held_out) for loss in held_out],
                {level: column(name) for level, name in levels},
                has_floor,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # csv has the key None for cells too many
            raise InputError(f"metrics.csv lacks {error}: it is damaged, or of another program") from None


def diagnose(
    history: History, corruption: Corruption, images: int, held_out: int, steps: int, draws: bool, tunes: bool = False
) -> list[Finding]:
    """What the losses say.

    Args:
        history: the validations.
        corruption: of the model.
        images: to train on.
        held_out: that were validated on, 0 where those are the training images.
        steps: that were asked for.
        draws: whether the model is to sample from noise.
        tunes: whether a consistency model is made, whose outputs are sharp: against the mean they lose as they improve.
    """
    if tunes:
        text = "its held-out loss may rise while its samples get better: look at them, or run dae-sampler evaluate"
        return [Finding("tuning", f"Tuning: at step {history.steps[-1]:,} of {steps:,}; {text}.")]
    found = [_course(history, steps, held_out)]
    found += [too_few] if (too_few := _too_few(history, images, held_out)) else []
    if corruption.is_gaussian and corruption.ranged:
        found += _levels(history, corruption, draws)
    return found


def copying(to_training: Sequence[float], usual: Sequence[float]) -> Finding:
    """Whether samples are copies.

    Args:
        to_training: distance of each sample to the nearest training image, as a share of that to the nearest held-out
            one, for a blurred image is near to all.
        usual: the same of held-out images, each held against the others.
    """
    near = sorted(usual)[len(usual) // 100]
    share = sum(distance < near for distance in to_training) / len(to_training)
    if share <= COPIED:
        return Finding("no copies", f"{share:.0%} of {len(to_training)} samples are near copies of training images.")
    return Finding(
        "copies",
        f"The samples copy: {share:.0%} of {len(to_training)} are nearer to a training image, beside held-out ones, "
        "than all but 1% of the held-out images are. Add pictures or `augment`, or choose a smaller `net`.",
    )


def _course(history: History, steps: int, held_out: int) -> Finding:
    """Whether the loss falls, rises or has settled."""
    excess, last = history.excess, history.steps[-1]
    progress = f"step {last:,}" if last >= steps else f"step {last:,} of {steps:,}"
    if len(excess) < FEWEST:
        n = len(excess)
        return Finding("too early", f"At {progress}, {n} validations are too few to judge by: wait, or lower `every`.")
    best = min(range(len(excess)), key=excess.__getitem__)
    if _overfits(history) and held_out:
        return Finding(
            "overfitting",
            f"Overfitting since step {history.steps[best]:,}: the held-out loss rises while the training loss falls. "
            "The best weights are kept; more steps will not help.",
        )
    before = [value for value, step in zip(excess, history.steps, strict=True) if step <= 0.75 * last]
    fall = (min(before) - excess[best]) / history.scale if before and history.scale > 0 else 0.0
    if fall > FALLING:
        much = f"the held-out excess is {fall:.1%} lower" if history.has_floor else "the held-out loss is lower"
        return Finding(
            "still falling",
            f"Still falling: at {progress} {much} than a quarter of the run before; more `steps` will help.",
        )
    now = f"excess is {excess[-1]:.4f}" if history.has_floor else f"loss is {history.held_out[-1]:.4f}"
    return Finding("settled", f"Settled: at {progress} the held-out {now}, and hardly moves.")


def _overfits(history: History) -> bool:
    excess = history.excess
    best = min(range(len(excess)), key=excess.__getitem__)
    risen = excess[-1] - excess[best] > RISEN * history.scale
    return best < len(excess) - 2 and risen and history.loss[-1] < history.loss[best]


def _too_few(history: History, images: int, held_out: int) -> Finding | None:
    cure = "add pictures or `augment`, or choose a smaller `net`."
    if not images + held_out:  # nothing is saved yet
        return None
    if not held_out:
        return Finding("too few pictures", f"Too few pictures: of {images} none could be held out; {cure}")
    third = len(history.steps) // 3
    if third < 2:
        return None

    def fall(losses: list[float]) -> float:
        return (sum(losses[third : 2 * third]) - sum(losses[-third:])) / third

    apart = (fall(history.loss) - fall(history.held_out)) / max(history.scale, 1e-12)
    if apart <= APART and not _overfits(history):
        return None
    return Finding(
        "too few pictures",
        f"Too few pictures: what the model learns of {images:,} no longer helps with held-out ones; {cure}",
    )


def _levels(history: History, q: Corruption, draws: bool) -> list[Finding]:
    """Whether the range of noise fits the data. At high noise the excess is E - c/sigma^2, with E that of no image."""
    found: list[str] = []
    levels, values = list(history.by_level), [course[-1] for course in history.by_level.values()]
    if len(levels) < FEWEST or min(values[-2:]) <= 0:
        return []
    top, below = levels[-1] ** -2, levels[-2] ** -2
    c = max(0.0, (values[-1] - values[-2]) / (below - top))
    ceiling = values[-1] + c * top
    left = c / q.high**2 / ceiling
    if draws and left > VISIBLE:
        wanted = math.sqrt(c / ceiling / (VISIBLE / 5))
        found.append(
            f"noise of {q.high:g} still shows {left:.0%} of an image, too much to sample from: raise the upper end to "
            f"{wanted:.2g}"
        )
    low = sum(value < IDLE * ceiling for value in values) / len(values)
    if low > 0.25:
        found.append(f"{low:.0%} of the training goes to levels too low to teach anything: raise the lower end")
    flat = sum(value > (1 - IDLE) * ceiling for value in values) / len(values)
    if flat > 0.25:
        found.append(f"{flat:.0%} of the training goes to levels that hide everything: lower the upper end")
    if values[0] > 0.5 * ceiling:
        found.append(f"noise of {q.low:g} hides most of an image already: lower the lower end")
    return [Finding("level range", f"The level range does not fit the data: {text} of `corruption`.") for text in found]
