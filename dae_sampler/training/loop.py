"""Training: fit a DAE to images under its corruption, with warm-up, linear decay and an averaged copy.

At each step a batch x is drawn, levels are drawn stratified over the batch, the corruption damages x, and the loss of
the logits against x goes down. Order and noise are functions of (seed, step), so there is no generator state: a run
resumed from its state file continues bit for bit (float32, same number of threads).

Under torchrun each process takes its slice of every batch and the gradients are averaged (DistributedDataParallel), so
the losses are those of one process, to rounding.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from .. import checkpoint, distributed
from ..card import Pairs
from ..dae import DenoisingAutoencoder
from ..data.crops import Crops
from ..data.dataset import Dataset
from ..data.items import Items
from ..device import keep_freed_memory, sent
from ..errors import InputError
from ..noise import StepNoise, batch_indices
from ..pixels import augment, to_float
from .consistency import ConsistencyLoss
from .fitting import fitting
from .optimizer import Optimizer
from .progress import Progress, TrainingInterrupted, is_ended
from .recipe import Recipe
from .run import Run
from .validation import MeanLoss, Validation, anomaly_scores, validate

CHECK_EVERY = 20
"""Steps between looks at the loss: reading it makes a GPU wait."""
EXPLODED = 10 * math.log(2)
"""A held-out loss ten times the BCE of a grey image, log 2, is no longer learning."""


def fit(
    dae: DenoisingAutoencoder,
    images: Dataset | Crops | Tensor | np.ndarray | Any,
    recipe: Recipe | None = None,
    *,
    damaged: Tensor | np.ndarray | None = None,
    target: str = "clean",
    run: Run | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> DenoisingAutoencoder:
    """Train ``dae`` in place and return it, with the averaged weights that validated best.

    Args:
        dae: the model, on its device and with its precision.
        images: a :class:`~..data.dataset.Dataset`; (N,C,H,W), a tensor or an array, uint8 or float in [0,1], in memory
            or memory-mapped; or whatever has a length and takes an index, such as a map-style data set of torch's or an
            array of h5py, see :class:`~..data.items.Items`.
        recipe: how to train; ``Recipe()`` by default.
        damaged: the same images damaged, for a model whose corruption is ``given``.
        target: ``"noisy"`` where ``images`` are noisy themselves: they may leave [0,1], and no floor is reported.
        run: where to write metrics, state and models; training goes on from its state if it has one. All processes
            read the state, the first writes.
        on_progress: called after each step; :class:`StopTraining`, raised from it, ends the training.
        should_stop: asked after each step; if true, the state is saved and :class:`TrainingInterrupted` raised.

    Raises:
        InputError: images and model do not fit, or the loss is no longer finite.
    """
    dataset, recipe = fitting(dae, images, damaged, target, recipe or Recipe())
    training, held_out = dataset.split(recipe.validation_size(len(dataset)))
    state = TrainingState(dae, recipe, dataset)
    if run:
        state.begin(run)
    state.started = time.monotonic()
    writer = run if distributed.get_rank() == 0 else None
    while state.step < recipe.steps and not state.out_of_patience():
        loss = state.advance(training)
        if state.step % CHECK_EVERY == 0:
            state.check()
        last, checked = state.step == recipe.steps, None
        stop = should_stop is not None and distributed.any_process(should_stop())
        if state.step % recipe.every == 0 or last:
            checked = state.validate(held_out)
            row = state.metrics(checked)
            if writer:
                writer.add_metrics(row)
        ended = is_ended(on_progress, Progress(state.step, loss, state.average, checked))
        if checked or stop or ended:  # last, so that whatever was lost with a killed process is made again
            state.check()
            if writer:
                writer.save_state(*state.snapshot())
        if stop and not last:
            distributed.barrier()  # for the first to have saved
            raise TrainingInterrupted
        if ended:
            break
    state.finish(writer, held_out if recipe.validation_size(len(dataset)) else None)
    return dae.eval()


class TrainingState:
    """All that changes during training."""

    SAVED = ("step", "recorded", "best", "best_step")
    fingerprint = cached_property(lambda self: self.dataset.fingerprint())

    def __init__(self, dae: DenoisingAutoencoder, recipe: Recipe, dataset: Dataset | Crops | Items) -> None:
        self.dae, self.recipe, self.dataset = dae, recipe, dataset
        self.step, self.seconds, self.started = 0, 0.0, time.monotonic()
        if recipe.batch % (n := distributed.get_world_size()):
            raise InputError(f"a batch of {recipe.batch} does not split over {n} processes: make it a multiple")
        keep_freed_memory()
        target = "self" if dae.corruption.self_supervised else dataset.target
        dae.card = replace(dae.card, target=target)  # validation looks there
        self.best, self.best_step = math.inf, 0
        self.best_checked: tuple[Pairs, Pairs] = ((), ())
        self.trained_loss, self.recorded = torch.zeros((), device=dae.device), 0  # summed since step ``recorded``
        self.dae.train().requires_grad_(True)
        self.weights = dict(dae.named_parameters())
        self.tuning = dae.card.objective == "consistency"
        loss = ConsistencyLoss(dae, recipe.binarise) if self.tuning else MeanLoss(dae, recipe.binarise, recipe.l1)
        self.loss = DistributedDataParallel(loss) if distributed.get_world_size() > 1 else loss
        self.optimizer = Optimizer(dae, recipe.optimizer, recipe.weight_decay)
        self.average = copy.deepcopy(dae).eval().requires_grad_(False)
        self.best_weights = {k: v.detach().clone() for k, v in self.weights.items()}

    def advance(self, rows: Tensor) -> Tensor:
        """One optimiser step on the next batch among the images ``rows``; returns the loss, ()."""
        recipe, dae = self.recipe, self.dae
        mine = distributed.share(recipe.batch)
        chosen = rows[batch_indices(recipe.seed, self.step, recipe.batch, len(rows))][mine.start : mine.stop]
        noise = StepNoise(recipe.seed, self.step, dae.device, distributed.get_rank(), distributed.get_world_size())
        strata = torch.arange(mine.start, mine.stop, device=dae.device)
        level = dae.corruption.level((strata + noise.uniform((len(mine),))) / recipe.batch)
        batch = self.dataset.take(chosen, noise.on_cpu())
        pair = batch.pair
        x = to_float(sent(pair[0] if len(pair) == 1 else torch.cat(pair, 1), dae.device), self.dataset.span)
        if recipe.augment:
            x = augment(x, recipe.augment, noise)  # both of a pair alike
        if (label := batch.label) is not None:
            label = sent(label, dae.device).masked_fill(noise.uniform(label.shape) < recipe.label_dropout, -1)
        seen, *target = x.chunk(len(pair), 1)
        loss = self.loss(seen, level, noise, target[0] if target else None, label, self.step / recipe.steps)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights.values(), recipe.clip)
        self.optimizer.step(recipe.rate(self.step))
        self.step += 1
        decay: float = (1 - 1 / self.step) ** (1 + recipe.ema)
        averages: list[Tensor] = list(self.average.parameters())
        torch._foreach_lerp_(averages, [w.detach() for w in self.weights.values()], 1 - decay)
        self.trained_loss += loss.detach()
        return loss.detach()

    def validate(self, rows: Tensor) -> Validation:
        """Validate the averaged weights on the images ``rows``; keep them if they are the best so far."""
        self.check()
        batch, recipe, span = self.dataset.take(rows), self.recipe, self.dataset.span
        images, *targets = batch.pair
        checked = validate(self.average, images, recipe.batch, recipe.binarise, span, *targets, labels=batch.label)
        if not checked.loss < EXPLODED:
            raise self.lost(f"the held-out loss is {checked.loss:.3g} at step {self.step}")
        if checked.loss < self.best or self.tuning:  # whose outputs are sharp, and so lose against the mean
            self.best, self.best_step = checked.loss, self.step
            self.best_checked = tuple(checked.by_level), tuple(checked.squared_error)
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
        }
        if self.dae.card.target == "clean":
            row |= {"valid_floor": checked.floor, "valid_excess": checked.excess}
        self.trained_loss.zero_()
        self.recorded = self.step
        return row | {f"excess@{level:.3g}": loss for level, loss in checked.by_level}

    def check(self) -> None:
        """Stop at losses or weights that are no longer finite, before they are saved over the last good state."""
        norms = torch.stack(torch._foreach_norm([w.detach() for w in self.weights.values()]))
        self.trained_loss = distributed.all_mean(self.trained_loss)
        if not torch.isfinite(self.trained_loss + norms.sum()).item():
            raise self.lost(f"the loss is no longer finite by step {self.step}")

    def lost(self, what: str) -> InputError:
        cure = f"go on from the last good state with a lower `lr`, such as {self.recipe.lr / 3:.1g}"
        return InputError(f"{what}, most likely because the learning rate {self.recipe.lr:g} is too high: {cure}")

    def out_of_patience(self) -> bool:
        patience = self.recipe.patience * self.recipe.every
        return patience > 0 and self.step - self.best_step >= patience

    def elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.started

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything needed to go on: tensors, and the rest for JSON."""
        tensors = {f"best.{k}": v for k, v in self.best_weights.items()}
        tensors |= {f"average.{k}": v for k, v in self.average.named_parameters()}
        tensors |= {f"weight.{k}": v.detach() for k, v in self.weights.items()} | self.optimizer.state()
        tensors["trained_loss"] = self.trained_loss
        data = {"images": len(self.dataset), "fingerprint": self.fingerprint}
        numbers = {name: getattr(self, name) for name in self.SAVED}
        return tensors, {**data, "seconds": self.elapsed(), "best_checked": self.best_checked, **numbers}

    def begin(self, run: Run) -> None:
        """Go on from the state of the run, if it has one; from here on there is a run to resume."""
        if saved := run.load_state():
            self.restore(*saved)
        if distributed.get_rank() == 0:
            run.begin()

    def restore(self, tensors: dict[str, Tensor], saved: dict[str, Any]) -> None:
        """Undo :meth:`snapshot`."""
        n = len(self.dataset)
        if saved.get("images") != n:
            raise InputError(f"the run began on {saved.get('images')} images, now there are {n}: start a new run")
        if saved.get("fingerprint") not in (None, self.fingerprint):  # None: saved before version 0.3
            raise InputError("the run began on other images or labels than these: give it those, or start a new run")
        averages = dict(self.average.named_parameters())
        try:
            for name in ("seconds", *self.SAVED):
                setattr(self, name, saved[name])
            excess, squares = saved.get("best_checked", ((), ()))
            self.best_checked = tuple(map(tuple, excess)), tuple(map(tuple, squares))
            with torch.no_grad():
                self.trained_loss.copy_(tensors["trained_loss"])
                for name, weight in self.weights.items():
                    weight.copy_(tensors[f"weight.{name}"])
                    averages[name].copy_(tensors[f"average.{name}"])
                    self.best_weights[name].copy_(tensors[f"best.{name}"])
                self.optimizer.restore(tensors)
        except (KeyError, RuntimeError) as error:
            raise InputError(f"the saved state does not fit the model ({error}): start a new run") from None

    def finish(self, run: Run | None, rows: Tensor | None) -> None:
        """Leave the best weights in the model, and on its card what is known of them; write best and last.

        ``rows`` are of pictures that were held out, if any were.
        """
        excess, squared_error = ((), ()) if self.tuning else self.best_checked
        self.dae.card = self.average.card = replace(
            self.dae.card,
            binarise=self.recipe.binarise,
            range=self.dataset.unusual_span,
            images=len(self.dataset),
            excess=excess,
            squared_error=squared_error,
            training={"steps": self.step, "seconds": round(self.elapsed()), "recipe": asdict(self.recipe)},
        )
        if run:
            checkpoint.save(self.average, run.folder / "last.safetensors")
        best = self.best_weights if self.best_step else dict(self.average.named_parameters())  # never validated
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(best[name])
        self.dae.eval().requires_grad_(False)
        if rows is not None:
            self.dae.card = replace(self.dae.card, anomaly=anomaly_scores(self.dae, self.dataset, rows))
        if run:
            checkpoint.save(self.dae, run.folder / "model.safetensors")
