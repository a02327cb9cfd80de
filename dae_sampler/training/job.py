"""A training job: from what was asked to a finished run folder, new, resumed or fine-tuned. Prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__, distributed, encoder, hub
from .. import corruption as corruptions
from ..corruption import Corruption
from ..dae import DenoisingAutoencoder
from ..data import named
from ..data.crops import Crops
from ..data.dataset import Dataset
from ..data.exposures import load_exposures
from ..data.labels import AUTO
from ..data.pairs import as_noisy, load_pairs
from ..device import pick_device, pick_precision
from ..errors import InputError
from ..gallery import grid, save_picture
from ..nets import stages_of
from ..noise import ImageNoise
from ..pixels import to_float
from ..sampling.functions import denoise, sample
from ..sampling.plan import LEAST_PRIOR, tells_level
from ..spec import parse_size
from . import consistency, start
from .loop import fit
from .progress import Progress
from .recipe import Job, Recipe
from .run import Run

GRID = 64
"""Samples that a run shows at each validation."""


@contextmanager
def claimed(job: Job, given: set[str], out: Path | None, resume: bool) -> Generator[tuple[Run, Job]]:
    """The run folder, claimed for this job alone before anything is read, and the job that holds for it.

    Args:
        job: what was asked.
        given: names of the options that were given, not left at their default.
        out: the folder, or None for a new one under ``runs``.
        resume: go on with the run that is there.

    Raises:
        InputError: there is a run and it is not to be resumed, or the other way round; another process is training
            there; or the job does not fit the run.
    """
    job = replace(job, data=_absolute(job.data) or "", damaged=_absolute(job.damaged), start=_model(job.start))
    labels = AUTO if job.labels == AUTO else _absolute(job.labels)
    job = replace(job, labels=labels, data_root=_resolved(job.data_root))
    job = start.completed(job.completed(given), given)
    if out is None and resume:
        raise InputError("say which run to resume by `out`")
    if not job.data and not resume:
        raise InputError(f"say what to train on: a folder, an .npy or .npz file, or one of {', '.join(named.NAMED)}")
    first = distributed.get_rank() == 0
    if resume and out:
        Run.open(out)
    out, made = _place(job.data, out)
    run = Run(out)
    try:
        with run.lock() if first else nullcontext():
            resume = distributed.any_process(resume or _restarted(out))
            if run.config_file.exists() and not resume:
                raise InputError(f"{out} holds a run already: go on with it by `resume`, or give another `out`")
            if run.state_file.exists() and not run.config_file.exists():  # else training would go on from it unasked
                raise InputError(f"{run.state_file} is of a run whose config.json is gone: give another `out`")
            if resume:
                job = job.changed(Job.from_config(run.read_config()), given)
            distributed.barrier()  # all of them looked before the first of them writes
            yield run, job
    finally:
        if made and first:
            run.abandon()


def _place(source: str, out: Path | None) -> tuple[Path, bool]:
    """The run's folder, and whether this process has just made it; the first process makes it for all."""
    made, number = False, 0
    if distributed.get_rank() == 0:
        if out is None:
            number, made = _claim(source)
        elif not out.exists():
            _make(out)
            made = True
    number = int(distributed.all_reduce(torch.tensor(float(number))).item())
    return out or _candidate(source, number), made


def _claim(source: str) -> tuple[int, bool]:
    """The number of the first folder of this name that nobody has, now made, or that this launch began."""
    for number in range(1, 10_000):
        folder = _candidate(source, number)
        if _restarted(folder):
            return number, False
        if not folder.exists():
            try:
                _make(folder)
            except FileExistsError:  # another process was faster
                continue
            return number, True
    raise InputError("there are too many runs of this name in runs/: name one by `out`")


def _candidate(source: str, number: int) -> Path:
    path = Path(source)
    name = next((part.stem for part in (path, *path.parents) if "*" not in part.name), "") or "run"
    return Path("runs") / (name if number == 1 else f"{name}-{number}")


def _make(folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError:
        raise
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}; choose another place with `out`") from None


def _restarted(out: Path) -> bool:
    """Whether the run in ``out`` was begun by this launch of torchrun, which lost a process since."""
    if distributed.launch() is None or not Run(out).config_file.is_file():
        return False
    return Run(out).read_config().get("launch") == distributed.launch()


def _absolute(text: str | None) -> str | None:
    """What may be a path or a name, with paths made absolute, so that a run resumes from any folder."""
    known = text and text not in named.NAMED and (Path(text).exists() or "*" in text)
    return _resolved(text) if known else text


def _model(text: str | None) -> str | None:
    """A shipped model's name as it is, also where a folder of something else has that name; paths made absolute."""
    ships = text in hub.names() and hub.resolve(text) in hub.shipped().values()
    return text if ships else _absolute(text)


def _resolved(path: str | None) -> str | None:
    return path and str(Path(path).resolve())


@dataclass(frozen=True)
class Prepared:
    """A job with everything that it needs in hand."""

    job: Job
    run: Run
    dataset: Dataset | Crops
    dae: DenoisingAutoencoder
    recipe: Recipe
    done: int
    """Steps that were done before."""
    note: str = ""
    """What people should know of the weights that it starts from."""


def prepare(job: Job, run: Run, on_file: Callable[[int, int], None] | None = None) -> Prepared:
    """Read the images and build the model; ``on_file`` is called with (files read, files in all).

    Raises:
        InputError: the images cannot be had or used, or an option does not fit them.
    """
    if job.tensorboard and not find_spec("tensorboard"):
        raise InputError("`tensorboard` needs the extra: pip install 'dae-sampler[tensorboard]'")
    device = pick_device(job.device)
    precision = pick_precision(job.precision, device)
    done = run.done()
    dataset = load_images(job, run, on_file)
    job = start.for_channels(job, dataset.shape[0])
    labels = dataset.labels.names if dataset.labels else ()
    dae = DenoisingAutoencoder(job.net, job.corruption, dataset.shape, job.loss, job.seed, labels)
    note = start.load_weights(dae, job.start) if job.start and not done else ""
    dae = dae.to(device)
    dae.precision = precision
    origin = Path(job.start).stem if job.start else ""
    plans = _plans(dae.corruption, job)
    if stages_of(dae.net):
        plans["encode"] = encoder.usual(dae)
    if job.objective != "mean":
        consistency.check(dae, start.card_of(job.start) if job.start and not done else dae.card)
        dae.card = replace(dae.card, objective=job.objective)
    dae.card = replace(dae.card, plans=plans, data=dataset.name, images=len(dataset), version=__version__, start=origin)
    recipe = job.recipe(len(dataset.split(job.validation_size(len(dataset)))[0]))
    if recipe.steps < done:
        note = f"the run has done {done} steps, more than {recipe.steps}: it ends with what it has"
        recipe = replace(recipe, steps=done)
    return Prepared(replace(job, steps=recipe.steps), run, dataset, dae, recipe, done, note)


def _plans(q: Corruption, job: Job) -> dict[str, dict[str, Any]]:
    """What the card says of tasks whose usual plan is not good for such a model."""
    if not q.has_level:
        return {"denoise": {"sampler": "reconstruct", "steps": 1}}
    if not (job.crop and tells_level(q, job.objective)):
        return {}
    refine = {"sampler": "dpm(eta=1)", "steps": 20, "level": min(max(25 / 255, q.low), q.high)}
    inpaint = {"sampler": "ancestral(resample=2)", "steps": 15}
    return {"refine": refine} | ({"inpaint": inpaint} if q.high < LEAST_PRIOR else {})


def load_images(job: Job, run: Run, on_file: Callable[[int, int], None] | None = None) -> Dataset | Crops:
    """The images that a job trains on, as pairs or exposures where it says so; see :func:`prepare`."""
    size = parse_size(job.size) if job.size else None
    common: dict[str, Any] = {"channels": job.channels, "fit": job.fit, "without": [run.folder], "on_file": on_file}
    if job.exposures:
        return as_noisy(load_exposures(Path(job.data), job.crop, size=size, **common))
    common |= {"root": Path(job.data_root) if job.data_root else None, "over": job.over, "labels": job.labels}
    if job.damaged:
        pairs = load_pairs(Path(job.data), Path(job.damaged), job.crop, size=size, target=job.target, **common)
        return pairs if job.target == "clean" else as_noisy(pairs)
    noisy = corruptions.parse(job.corruption).self_supervised
    common |= {"strict": job.strict, "beyond": None if noisy else 0.0}
    if job.crop:
        dataset: Dataset | Crops = named.load_crops(job.data, job.crop, **common)
    else:
        dataset = named.load(job.data, size=size, **common)
    return as_noisy(dataset) if noisy else dataset


def train(
    prepared: Prepared, on_progress: Callable[[Progress], None], should_stop: Callable[[], bool] | None = None
) -> None:
    """Train until done; metrics, sample grids, the state and the models go to the run's folder.

    Raises:
        TrainingInterrupted: ``should_stop`` said so; the state is saved.
        InputError: the loss is no longer finite.
    """
    run, job = prepared.run, prepared.job
    first = distributed.get_rank() == 0
    run.config = {"version": __version__, "launch": distributed.launch(), **asdict(job)}
    with _events(run, prepared.done + 1) if job.tensorboard and first else nullcontext() as events:

        def show(progress: Progress) -> None:
            if progress.validation:
                _record(progress, run, prepared.dataset, events)
            on_progress(progress)

        fit(prepared.dae, prepared.dataset, prepared.recipe, run=run, on_progress=show, should_stop=should_stop)


def _record(progress: Progress, run: Run, dataset: Dataset | Crops, events: Any) -> None:
    """Write the sample grid of this validation, and its losses for TensorBoard."""
    shown = _shown(progress.average, dataset) if progress.average.shape[0] in (1, 3) else None
    if distributed.get_rank() > 0:
        return
    if shown is not None:  # grey or in colour
        save_picture(grid(shown), run.folder / "samples" / f"{progress.step:07d}.png")
    if events and progress.validation:
        events.add_scalar("loss/train", progress.loss.item(), progress.step)
        events.add_scalar("loss/held-out", progress.validation.loss, progress.step)
        for level, loss in progress.validation.by_level:
            events.add_scalar(f"excess/level {level:.3g}", loss, progress.step)


def _shown(dae: DenoisingAutoencoder, dataset: Dataset | Crops) -> Tensor:
    """Samples; of a model that cannot start from noise, damaged images beside what it makes of them."""
    q, known = dae.corruption, len(dae.card.labels)
    if dae.shape[1] and q.has_level:
        label = torch.arange(GRID) * min(known, GRID) // GRID if known else None
        with suppress(InputError):  # some corruptions never leave so little of an image that one could begin there
            return sample(dae, GRID, label=label, seed=0)
    rows = dataset.split(0)[0]
    rows = rows[torch.linspace(0, len(rows) - 1, GRID // 4).long()]
    x = to_float(dataset.take(rows).pair[0], dataset.span).to(dae.device)
    if not q.has_level:
        return torch.stack([x.cpu(), denoise(dae, x)], 1).flatten(0, 1)
    noisy = q.draw(x, torch.tensor(q.usual_level), ImageNoise(0, 0, len(rows), dae.device)).x_tilde
    with torch.no_grad():
        pairs = torch.stack([noisy[:, : len(x[0])], dae(noisy, q.usual_level)], 1)
    return pairs.flatten(0, 1).cpu()


def _events(run: Run, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(run.folder / "events", purge_step=step)
