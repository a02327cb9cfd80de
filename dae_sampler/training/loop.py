"""Training: fit a DAE to images under its corruption, with warm-up, linear decay and an averaged copy.

At each step a batch x is drawn, levels are drawn stratified over the batch, the corruption damages x, and the loss of
the logits against x goes down. Order and noise are functions of (seed, step), so there is no generator state: a run
resumed from its state file continues bit for bit (float32, same number of threads).

Under torchrun each process takes its slice of every batch and the gradients are averaged (DistributedDataParallel), so
the losses are those of one process, to rounding; see :mod:`.processes`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .. import checkpoint
from .. import distributed as processes
from ..dae import DenoisingAutoencoder
from ..data.decode import take
from ..data.pictures import AUGMENT, BINARISE, augment, binarise, to_float
from ..device import keep_freed_memory
from ..errors import InputError, unknown
from ..losses import MEAN_SEEKING, entropy
from ..noise import Noise, StepNoise, batch_indices
from ..training.optimizer import OPTIMIZERS, Optimizer
from ..training.run import Run

BINS = 8
"""Validation reports the loss in this many bins of levels, equally likely in training."""
CHECK_EVERY = 20
"""Steps between looks at the loss: reading it makes a GPU wait."""
EXPLODED = 10 * math.log(2)
"""A held-out loss ten times the BCE of a grey image, log 2, is no longer learning."""
_VALIDATION_SEED = 20_170_828


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Args:
        steps: optimiser steps in all.
        batch: images per step.
        optimizer: ``"muon"`` or ``"adamw"``, see :mod:`.optimizer`.
        lr: its peak learning rate.
        weight_decay: its decoupled weight decay.
        warmup: steps over which the learning rate rises; a tenth of ``steps`` if that is less.
        clip: largest norm of the gradient.
        ema: power of the averaged weights: step t counts in proportion to t^ema (Karras et al. 2024, eq. 123).
        seed: seed of the initial weights, the order, the levels and the noise.
        held_out: most images to keep out of training for validation, which takes a tenth of them at most.
        every: steps between validations, which also save the state.
        patience: stop after this many validations without a better loss; 0 never stops early.
        binarise: make the images binary each time they are drawn, see :func:`.images.binarise`; None leaves them grey,
            but for an erasure means ``"dynamic"``.
        augment: vary the images each time they are drawn, see :func:`.images.augment`; not those held out.
    """

    steps: int = 2000
    batch: int = 384
    optimizer: str = "muon"
    lr: float = 3.4e-3
    weight_decay: float = 0.01
    warmup: int = 200
    clip: float = 1.0
    ema: float = 16.0
    seed: int = 0
    held_out: int = 2000
    every: int = 500
    patience: int = 0
    binarise: str | None = None
    augment: str | None = None

    def __post_init__(self) -> None:
        least = {"steps": 1, "batch": 1, "warmup": 0, "held_out": 0, "every": 1, "patience": 0, "seed": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise InputError(f"{name} must be {low} or more, got {getattr(self, name)}")
        for name in ("lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("weight_decay", "ema"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        chosen = (("binarisation", self.binarise, BINARISE), ("augmentation", self.augment, AUGMENT))
        for kind, name, known in chosen:
            if name is not None and name not in known:
                raise unknown(kind, name, known)

    def validation_size(self, n: int) -> int:
        """How many of ``n`` images are held out."""
        return min(self.held_out, n // 10)

    def rate(self, step: int) -> float:
        """The learning rate at a step: a linear rise, then a linear fall to 0 (Bergsma et al. 2025)."""
        warmup = min(self.warmup, self.steps // 10)
        if step < warmup:
            return self.lr * (step + 1) / warmup
        return self.lr * (self.steps - step) / (self.steps - warmup)


@dataclass(frozen=True)
class Validation:
    """Losses of the averaged weights on held-out images, means per pixel; BCE in nats."""

    loss: float
    floor: float
    """h(x), what BCE cannot go below; 0 for the other losses."""
    by_level: list[tuple[float, float]]
    """(middle level, loss - floor) of each bin of levels."""

    @property
    def excess(self) -> float:
        """loss - floor: the part that a better model could lower."""
        return self.loss - self.floor


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


class TrainingInterrupted(Exception):  # noqa: N818 - not an error
    """Raised from ``fit`` after the state was saved, when ``should_stop`` said so."""


def fit(
    dae: DenoisingAutoencoder,
    images: Tensor,
    recipe: Recipe | None = None,
    *,
    run: Run | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> DenoisingAutoencoder:
    """Train ``dae`` in place and return it, with the averaged weights that validated best.

    Args:
        dae: the model, on its device and with its precision.
        images: (N,C,H,W), uint8 or float in [0,1], in memory or memory-mapped.
        recipe: how to train; ``Recipe()`` by default.
        run: where to write metrics, state and models; training goes on from its state if it has one. All processes
            read the state, the first writes.
        on_progress: called after each step.
        should_stop: asked after each step; if true, the state is saved and :class:`TrainingInterrupted` raised.

    Raises:
        InputError: images and model do not fit, or the loss is no longer finite.
    """
    recipe = recipe or Recipe()
    if dae.corruption.reveals and not recipe.binarise:
        recipe = replace(recipe, binarise="dynamic")
    dae.info["binarise"] = recipe.binarise
    training, held_out = _split(images, recipe, dae.shape)
    state = TrainingState(dae, recipe, len(images))
    if run and (saved := run.load_state()):
        state.restore(*saved)
    state.started = time.monotonic()
    writer = run if processes.rank() == 0 else None
    while state.step < recipe.steps and not state.out_of_patience():
        loss = state.advance(images, training)
        if state.step % CHECK_EVERY == 0:
            state.check()
        last, checked = state.step == recipe.steps, None
        stop = should_stop is not None and processes.agreed(should_stop())
        if state.step % recipe.every == 0 or last:
            checked = state.validate(take(images, held_out))
            row = state.metrics(checked)
            if writer:
                writer.add_metrics(row)
        if on_progress:
            on_progress(Progress(state.step, loss, state.average, checked))
        if checked or stop:  # last, so that whatever was lost with a killed process is made again
            state.check()
            if writer:
                writer.save_state(*state.snapshot())
        if stop and not last:
            processes.wait()  # for the first to have saved
            raise TrainingInterrupted
    state.finish(writer)
    return dae.eval()


def _split(images: Tensor, recipe: Recipe, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Indices of the training and of the held-out images: every k-th is held out, the same at every resume."""
    if images.ndim != 4 or tuple(images.shape[1:]) != tuple(shape):
        raise InputError(f"the images are {tuple(images.shape[1:])}, the model takes {tuple(shape)}: (C, H, W)")
    if images.dtype != torch.uint8 and not (images.amin() >= 0 and images.amax() <= 1):
        low, high = images.amin().item(), images.amax().item()
        raise InputError(f"targets go from {low:g} to {high:g}: scale them to [0,1] with (x - min) / (max - min)")
    n = len(images)
    held_out = recipe.validation_size(n)
    if not held_out:
        return torch.arange(n), torch.arange(n)
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[torch.linspace(0, n - 1, held_out, dtype=torch.float64).long()] = True
    return torch.nonzero(~chosen)[:, 0], torch.nonzero(chosen)[:, 0]


class Objective(nn.Module):
    """Mean loss of a batch: what is differentiated, and, over several processes, averaged."""

    def __init__(self, dae: DenoisingAutoencoder, binarise: str | None) -> None:
        super().__init__()
        self.dae, self.how = dae, binarise

    def forward(self, x: Tensor, level: Tensor, noise: Noise) -> Tensor:
        """``x`` (B,C,H,W) in [0,1], ``level`` (B,) -> ()."""
        return _loss(self.dae, x, level, noise, self.how).mean()


class TrainingState:
    """All that changes during training."""

    FACTS = ("step", "recorded", "best", "best_step")

    def __init__(self, dae: DenoisingAutoencoder, recipe: Recipe, images: int) -> None:
        self.images = images
        self.dae, self.recipe, self.step, self.seconds, self.started = dae, recipe, 0, 0.0, time.monotonic()
        if recipe.batch % processes.world():
            raise InputError(
                f"a batch of {recipe.batch} does not split over {processes.world()} processes: make it a multiple"
            )
        keep_freed_memory()
        self.best, self.best_step = math.inf, 0
        self.trained_loss, self.recorded = torch.zeros((), device=dae.device), 0  # summed since step ``recorded``
        self.dae.train().requires_grad_(True)
        self.weights = dict(dae.named_parameters())
        objective = Objective(dae, recipe.binarise)
        self.objective = DistributedDataParallel(objective) if processes.world() > 1 else objective
        self.optimizer = Optimizer(dae, recipe.optimizer, recipe.weight_decay)
        self.average = copy.deepcopy(dae).eval().requires_grad_(False)
        self.average.info = dae.info
        self.best_weights = {k: v.detach().clone() for k, v in self.weights.items()}

    def advance(self, images: Tensor, rows: Tensor) -> Tensor:
        """One optimiser step on the next batch of ``images[rows]``; returns the loss, ()."""
        recipe, dae = self.recipe, self.dae
        mine = processes.share(recipe.batch)
        batch = rows[batch_indices(recipe.seed, self.step, recipe.batch, len(rows))][mine.start : mine.stop]
        x = to_float(take(images, batch).to(dae.device))
        noise = StepNoise(recipe.seed, self.step, dae.device, processes.rank(), processes.world())
        strata = torch.arange(mine.start, mine.stop, device=dae.device)
        level = dae.corruption.level((strata + noise.uniform((len(mine),))) / recipe.batch)
        if recipe.augment:
            x = augment(x, recipe.augment, noise)
        loss = self.objective(x, level, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights.values(), recipe.clip)
        self.optimizer.step(recipe.rate(self.step))
        self.step += 1
        decay = (1 - 1 / self.step) ** (1 + recipe.ema)
        torch._foreach_lerp_(list(self.average.parameters()), [w.detach() for w in self.weights.values()], 1 - decay)
        self.trained_loss += loss.detach()
        return loss.detach()

    def validate(self, images: Tensor) -> Validation:
        """Validate the averaged weights; keep them if they are the best so far."""
        self.check()
        checked = validate(self.average, images, self.recipe.batch, self.recipe.binarise)
        if not checked.loss < EXPLODED:
            raise self.lost(f"the held-out loss is {checked.loss:.3g} at step {self.step}")
        if checked.loss < self.best:
            self.best, self.best_step = checked.loss, self.step
            self.best_weights = {k: v.detach().clone() for k, v in self.average.named_parameters()}
        return checked

    def metrics(self, checked: Validation) -> dict[str, Any]:
        """The row of metrics.csv for this step; begins a new mean of the training loss."""
        row = {
            "step": self.step,
            "seconds": round(self.elapsed(), 1),
            "lr": self.recipe.rate(self.step - 1),
            "loss": self.trained_loss.item() / (self.step - self.recorded),
            "valid_loss": checked.loss,
            "valid_floor": checked.floor,
            "valid_excess": checked.excess,
        }
        self.trained_loss.zero_()
        self.recorded = self.step
        return row | {f"excess@{level:.3g}": loss for level, loss in checked.by_level}

    def check(self) -> None:
        """Stop at losses or weights that are no longer finite, before they are saved over the last good state."""
        norms = torch.stack(torch._foreach_norm([w.detach() for w in self.weights.values()]))
        self.trained_loss = processes.mean(self.trained_loss)
        if not torch.isfinite(self.trained_loss + norms.sum()).item():
            raise self.lost(f"the loss is no longer finite by step {self.step}")

    def lost(self, what: str) -> InputError:
        cure = f"go on from the last good state with a lower --lr, such as {self.recipe.lr / 3:.1g}"
        return InputError(f"{what}, most likely because the learning rate {self.recipe.lr:g} is too high: {cure}")

    def out_of_patience(self) -> bool:
        patience = self.recipe.patience * self.recipe.every
        return patience > 0 and self.step - self.best_step >= patience

    def elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.started

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything needed to go on: tensors, and facts for JSON."""
        tensors = {f"best.{k}": v for k, v in self.best_weights.items()}
        tensors |= {f"average.{k}": v for k, v in self.average.named_parameters()}
        tensors |= {f"weight.{k}": v.detach() for k, v in self.weights.items()} | self.optimizer.state()
        tensors["trained_loss"] = self.trained_loss
        facts = {"images": self.images, "seconds": self.elapsed(), **{name: getattr(self, name) for name in self.FACTS}}
        return tensors, facts

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Undo :meth:`snapshot`."""
        if facts.get("images") != self.images:
            raise InputError(
                f"the run began on {facts.get('images')} images, now there are {self.images}: start a new run"
            )
        averages = dict(self.average.named_parameters())
        try:
            for name in ("seconds", *self.FACTS):
                setattr(self, name, facts[name])
            with torch.no_grad():
                self.trained_loss.copy_(tensors["trained_loss"])
                for name, weight in self.weights.items():
                    weight.copy_(tensors[f"weight.{name}"])
                    averages[name].copy_(tensors[f"average.{name}"])
                    self.best_weights[name].copy_(tensors[f"best.{name}"])
                self.optimizer.restore(tensors)
        except (KeyError, RuntimeError) as error:
            raise InputError(f"the saved state does not fit the model ({error}): start a new run") from None

    def finish(self, run: Run | None) -> None:
        """Leave the best weights in the model; write best and last."""
        facts = {"steps": self.step, "seconds": round(self.elapsed()), "recipe": asdict(self.recipe)}
        self.dae.info = self.average.info = {**self.dae.info, "training": facts}
        if run:
            checkpoint.save(self.average, run.folder / "last.safetensors")
        best = self.best_weights if self.best_step else dict(self.average.named_parameters())  # never validated
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(best[name])
        self.dae.requires_grad_(False)
        if run:
            checkpoint.save(self.dae, run.folder / "model.safetensors")


def _loss(dae: DenoisingAutoencoder, x: Tensor, level: Tensor, noise: Noise, how: str | None) -> Tensor:
    """Loss per image of ``x``, or of a binary version of it, (B,)."""
    if how is None:
        return dae.loss(x, level, noise)
    drawn = binarise(x, how, noise)
    # a draw that the network does not see may as well be its mean, under a loss that seeks means
    unseen = how == "dynamic" and dae.corruption.reveals and dae.objective in MEAN_SEEKING
    return dae.loss(drawn, level, noise, target=x if unseen else drawn)


@torch.inference_mode()
def validate(dae: DenoisingAutoencoder, images: Tensor, batch: int = 128, how: str | None = None) -> Validation:
    """Loss on ``images`` (N,C,H,W), binarised as ``how`` says, each damaged once, at levels spread over the training
    density; deterministic.

    Returns:
        the means over all images and by bin of levels.
    """
    n, q = len(images), dae.corruption
    u = (torch.arange(n) + 0.5) / n
    u = u[torch.randperm(n, generator=torch.Generator().manual_seed(_VALIDATION_SEED))]
    losses, floors = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    starts = range(0, n, batch)
    for i in processes.share(len(starts)):
        start = starts[i]
        x = to_float(images[start : start + batch].to(dae.device))
        noise = StepNoise(_VALIDATION_SEED, start, dae.device)
        level = q.level(u[start : start + batch].to(dae.device))
        losses[start : start + batch] = _loss(dae, x, level, noise, how).cpu().double()
        floors[start : start + batch] = entropy(x).flatten(1).mean(1).cpu().double()
    loss, floor = (processes.total(part) for part in (losses, floors))
    floor *= dae.objective == "bce" and how is None
    bins = BINS if q.ranged else 1
    where = (u * bins).long().clamp(max=bins - 1)
    middles = q.level((torch.arange(bins) + 0.5) / bins).tolist()
    by_level = [(m, (loss - floor)[where == i].mean().item()) for i, m in enumerate(middles) if (where == i).any()]
    return Validation(loss.mean().item(), floor.mean().item(), by_level)
