"""A training job: from settings to a finished run folder, new, resumed, extended or fine-tuned."""

from __future__ import annotations

import math
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_type_hints

import torch
from rich.console import Console
from torch import Tensor

from .. import __version__, checkpoint
from .. import distributed as processes
from ..cli.console import Bar, duration, show_skipped
from ..dae import DenoisingAutoencoder
from ..data import named as data
from ..data import pictures as images
from ..device import pick_device, pick_precision
from ..errors import InputError
from ..evaluation.likelihood import has_bound
from ..sampling.tasks import sample
from ..training.loop import Progress, Recipe, TrainingInterrupted, fit
from ..training.run import Run

MAY_CHANGE = frozenset(
    {"steps", "epochs", "lr", "patience", "device", "precision", "data_root", "strict", "tensorboard"}
)
"""Settings that --resume may change; the others would make it another run."""
GRID = 64


@dataclass(frozen=True)
class Settings:
    """What a training run is asked to do: the options of ``dae-sampler train``, and the content of config.json.

    Raises:
        InputError: a value has the wrong type, as in a config.json that was edited by hand.
    """

    data: str
    corruption: str
    net: str
    loss: str
    steps: int | None
    epochs: float | None
    batch: int
    optimizer: str
    lr: float
    weight_decay: float
    ema: float
    every: int
    patience: int
    start: str | None
    size: int | None
    channels: int | None
    data_root: str | None
    strict: bool
    tensorboard: bool
    seed: int
    device: str
    precision: str
    binarise: str | None = None
    augment: str | None = None

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if not isinstance(value, kind) and not (type(value) is int and isinstance(1.0, kind)):
                raise InputError(f"{name} in config.json is {value!r}: restore the file or start a new run")

    def recipe(self, n: int) -> Recipe:
        """The recipe for ``n`` images."""
        if self.steps and self.epochs:
            raise InputError("--steps and --epochs contradict each other: give one")
        names = ("batch", "optimizer", "lr", "weight_decay", "ema", "every", "patience", "seed", "binarise", "augment")
        same = {k: getattr(self, k) for k in names}
        recipe = Recipe(steps=self.steps or Recipe.steps, **same)
        if self.epochs:
            steps = round(self.epochs * (n - recipe.validation_size(n)) / self.batch)
            recipe = replace(recipe, steps=max(1, steps))
        return recipe


def open_run(settings: Settings, given: set[str], out: Path | None, resume: bool) -> tuple[Run, Settings]:
    """The run folder, and the settings that hold for it.

    Args:
        settings: all options.
        given: names of those that were given, not left at their default.
        out: the folder, or None for a new one under ``runs``.
        resume: go on with the run that is there.

    Raises:
        InputError: there is a run and it is not to be resumed, or the other way round, or the settings do not fit it.
    """
    root = settings.data_root and str(Path(settings.data_root).resolve())
    settings = replace(settings, data=_absolute(settings.data), start=_absolute(settings.start), data_root=root)
    if out is None and resume:
        raise InputError("say which run to resume: --out RUN")
    if not settings.data and not resume:
        raise InputError(f"say what to train on: a folder, an .npy or .npz file, or one of {', '.join(data.NAMED)}")
    out = out or _fresh(settings.data)
    if not resume and not processes.agreed(_restarted(out)):
        run = Run(out)
        if run.config_file.exists():
            raise InputError(f"{out} holds a run already: go on with it by --resume, or give another --out")
        return run, settings
    run = Run.open(out)
    config = {k: v for k, v in run.read_config().items() if k in Settings.__dataclass_fields__}
    try:
        before = Settings(**config)
    except TypeError as error:
        raise InputError(f"{run.config_file} is not complete ({error}): restore it or start a new run") from None
    for name in sorted(given - MAY_CHANGE):
        if getattr(settings, name) != getattr(before, name):
            option = "--from" if name == "start" else f"--{name.replace('_', '-')}"
            raise InputError(
                f"the run has {option} {getattr(before, name)}, which cannot change: leave it out, or start a new run"
            )
    changed = {k: getattr(settings, k) for k in given & MAY_CHANGE}
    if {"steps", "epochs"} & given:
        changed = {"steps": None, "epochs": None} | changed
    return run, Settings(**(asdict(before) | changed))


def _restarted(out: Path) -> bool:
    """Whether the run in ``out`` was begun by this launch of torchrun, which lost a process since."""
    if processes.launch() is None or not Run(out).config_file.is_file():
        return False
    return Run(out).read_config().get("launch") == processes.launch()


def _absolute(text: str | None) -> str | None:
    """What may be a path or a name, with paths made absolute, so that a run resumes from any folder."""
    return str(Path(text).resolve()) if text and text not in data.NAMED and Path(text).exists() else text


def _fresh(source: str) -> Path:
    """A folder under ``runs`` that is not there yet, or that this launch began."""
    name = Path(source).stem or "run"
    candidates = (Path("runs") / (name if i == 1 else f"{name}-{i}") for i in range(1, 10_000))
    return next(folder for folder in candidates if not folder.exists() or _restarted(folder))


def train(settings: Settings, run: Run, console: Console) -> int:
    """Train until done or interrupted; returns the exit code: 0, or 128 + the signal's number."""
    device = pick_device(settings.device)
    precision = pick_precision(settings.precision, device)
    with Bar(console, "reading images", 1, "files") as bar:

        def on_file(done: int, total: int) -> None:
            bar.total = total
            bar.advance(done - bar.done)

        root = Path(settings.data_root) if settings.data_root else None
        wanted = {"size": settings.size, "channels": settings.channels, "strict": settings.strict}
        dataset = data.load(settings.data, root=root, **wanted, on_file=on_file)
    show_skipped(console, dataset.skipped)
    recipe = settings.recipe(len(dataset.images))
    torch.manual_seed(settings.seed)
    if settings.tensorboard:
        _require_tensorboard()
    dae = build(settings, tuple(dataset.images.shape[1:]), fresh=run.done() == 0).to(device)
    dae.precision = precision
    dae.info |= {"data": dataset.name, "images": len(dataset.images), "version": __version__}
    run.folder.mkdir(parents=True, exist_ok=True)
    first = processes.rank() == 0
    with run.lock() if first else nullcontext():
        if first:
            run.write_config({"version": __version__, "launch": processes.launch(), **asdict(settings)})
        _announce(console, dae, dataset.images, recipe, run)
        return _fit(dae, dataset.images, recipe, run, console, settings.tensorboard)


def build(settings: Settings, shape: tuple[int, int, int], fresh: bool) -> DenoisingAutoencoder:
    """The model to train, with the weights of ``settings.start`` if it is ``fresh``, that is, has no saved state."""
    dae = DenoisingAutoencoder(settings.net, settings.corruption, shape, settings.loss)
    if settings.start and fresh:
        source = checkpoint.load(settings.start)
        try:
            dae.load_state_dict(source.state_dict())
        except RuntimeError:
            mine = f"{source.net_text} for {source.corruption} images {source.shape}"
            raise InputError(
                f"--from {settings.start} is {mine}: give the same --net, kind of --corruption and --size"
            ) from None
    if settings.start:
        dae.info["from"] = Path(settings.start).stem
    return dae


def _announce(console: Console, dae: DenoisingAutoencoder, x: Tensor, recipe: Recipe, run: Run) -> None:
    weights = sum(p.numel() for p in dae.parameters())
    held_out = recipe.validation_size(len(x))
    n = len(x) - held_out
    size = "x".join(map(str, dae.shape))
    console.print(
        f"{'resuming' if run.done() else 'training'} {dae.net_text} ({weights / 1e6:.2f} M parameters) "
        f"by {dae.objective} under {dae.corruption}\n"
        f"on {n} images of {dae.info['data']} ({size}; {held_out} held out), {recipe.steps} steps of {recipe.batch} "
        f"= {recipe.steps * recipe.batch / n:.1f} epochs, {dae.precision} on {dae.device.type}, into {run.folder}",
        markup=False,
    )


def _fit(dae: DenoisingAutoencoder, x: Tensor, recipe: Recipe, run: Run, console: Console, tensorboard: bool) -> int:
    done = run.done()
    bar = Bar(console, "training", recipe.steps, "images", recipe.batch, done)
    with (
        bar,
        _stopping() as signals,
        _events(run, done + 1) if tensorboard and not processes.rank() else nullcontext() as events,
    ):

        def on_progress(progress: Progress) -> None:
            bar.advance()
            if bar.done - bar.first == 20:
                console.print(f"about {duration(bar.left())} at {bar.rate():.0f} images/s")
            if progress.validation:
                _report(progress, run, console, events)

        try:
            fit(dae, x, recipe, run=run, on_progress=on_progress, should_stop=lambda: bool(signals))
        except TrainingInterrupted:
            own = ["--corruption", str(dae.corruption)] if ":" in str(dae.corruption) else []
            again = shlex.join(["dae-sampler", "train", "--resume", "--out", str(run.folder), *own])
            console.print(f"stopped and saved; go on with: {again}", markup=False)
            return 128 + (signals[0] if signals else signal.SIGTERM)  # another process was asked to stop
    console.print(f"wrote {run.folder}/model.safetensors; next: dae-sampler sample {run.folder}", markup=False)
    return 0


def _report(progress: Progress, run: Run, console: Console, events: Any) -> None:
    checked, model = progress.validation, progress.average
    excess = f" = {checked.floor:.4f} floor + {checked.excess:.4f} excess" if checked.floor else ""
    nats = f" = {checked.loss * math.prod(model.shape):.2f} nats an image" if has_bound(model) else ""
    console.print(f"step {progress.step}: held-out {model.objective} {checked.loss:.4f}{excess}{nats}")
    picture = images.grid(sample(model, GRID, seed=0))
    if processes.rank() > 0:
        return
    images.save_picture(picture, run.folder / "samples" / f"{progress.step:07d}.png")
    if events:
        events.add_scalar("loss/train", progress.loss.item(), progress.step)
        events.add_scalar("loss/held-out", checked.loss, progress.step)
        for level, loss in checked.by_level:
            events.add_scalar(f"excess/level {level:.3g}", loss, progress.step)


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """A list that holds the number of the signal that asked to stop; a second one stops at once."""
    signals: list[int] = []

    def stop(number: int, frame: Any) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)

    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_tensorboard() -> None:
    if not find_spec("tensorboard"):
        raise InputError("--tensorboard needs the extra: pip install 'dae-sampler[tensorboard]'")


def _events(run: Run, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(run.folder / "events", purge_step=step)
