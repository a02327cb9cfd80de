"""How a visitor watches a sampler: every step is counted, some are shown, and all that were shown make a film."""

from __future__ import annotations

import io
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..corruption.base import Corruption
from ..gallery import animate, grid
from ..sampling.plan import Plan
from ..sampling.samplers import State
from .desk import Tell
from .images import columns_of, data_url, sheet, to_url

FRAMES = 40
"""Steps that are shown, at most."""
MOST_FILMED = 2**18
"""Pixels of a film's frame; larger ones make no film to download."""
HIDDEN = 0.5
"""The grey that stands for pixels which nothing is known of."""


class Watch:
    """What a task calls after each step.

    Args:
        q: the model's corruption.
        plan: how many steps there are.
        tell: whom to tell.
    """

    def __init__(self, q: Corruption, plan: Plan, tell: Tell) -> None:
        self.q, self.plan, self.tell = q, plan, tell
        self.every, self.done = -(-plan.steps // FRAMES), 0
        self.film: list[Image.Image] = []

    def __call__(self, state: State) -> None:
        self.done += 1
        event: dict[str, Any] = {"step": self.done, "steps": self.plan.steps, "level": state.level}
        if self.done % self.every == 0 or self.done == self.plan.steps:
            seen = as_seen(self.q, state.x_hat.shape[1], state.x, state.level)
            event["columns"] = columns_of(len(seen))
            event["state"], event["guess"] = (to_url(sheet(x), exact=False) for x in (seen, state.x_hat))
            if seen[:, 0].numel() <= MOST_FILMED:
                self.film.append(grid(seen))
        self.tell(event)

    def finish(self, images: Tensor, **more: Any) -> None:
        """Tell of the images (B,C,H,W) that came out, and ``more``."""
        plan, start = self.plan, "" if self.plan.level is None else f" from level {self.plan.level:.3g}"
        by = f"{plan}, {plan.steps} step{'' if plan.steps == 1 else 's'}{start}"
        event: dict[str, Any] = {"result": to_url(sheet(images)), "by": by, "columns": columns_of(len(images))}
        if len(self.film) > 1:
            file = io.BytesIO()
            animate([*self.film, grid(images)], file, "GIF")
            event["film"] = data_url(file, "gif")
        self.tell(event | more)


def as_seen(q: Corruption, channels: int, x: Tensor, level: float) -> Tensor:
    """A state or a damaged image as people are shown it, with ``channels`` channels."""
    if x.shape[1] > channels:
        return torch.where(x[:, channels:] > 0, x[:, :channels], torch.tensor(HIDDEN, device=x.device))
    if x.min() >= 0 and x.max() <= 1:
        return x  # a picture as it stands
    return q.preview(x, level)
