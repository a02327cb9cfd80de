"""The command evaluate."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ..errors import InputError
from .commands import command
from .console import console, print_json, say, say_notes
from .generate import Watched
from .options import Compute, DataRoot, How, Json, Model, Quiet
from .restored import restoring

if TYPE_CHECKING:
    from torch import Tensor

    from ..card import Card
    from ..dae import DenoisingAutoencoder
    from ..data.dataset import Dataset
    from ..evaluation.report import Evaluation
    from ..sampling.plan import Plan

Data = Annotated[str | None, typer.Option(help="Images like those it was trained on; default: the set on its card.")]


@command(
    "dae-sampler evaluate mnist",
    "dae-sampler evaluate runs/mnist -n 2000 --sampler dpm --steps 10 --json",
    "dae-sampler evaluate photo --test photos/ --level 25/255",
)
def evaluate(
    model: Model,
    how: How,
    compute: Compute,
    data: Data = None,
    test: Annotated[str, typer.Option(help="Images to compare with; default: the test half of a named set.")] = "",
    n: Annotated[int, typer.Option("-n", min=1, max=60_000, help="How many images to sample.")] = 10_000,
    level: Annotated[
        list[str] | None,
        typer.Option(help="For a model of any size: levels of noise to add and restore; default: 15, 25, 50 of 255."),
    ] = None,
    features: Annotated[
        str, typer.Option(help="mnist (28x28 grey), inception, or module:function of yours: images to features.")
    ] = "mnist",
    report: Annotated[Path | None, typer.Option(help="Write pictures and curves to this .png, .svg or .pdf.")] = None,
    data_root: DataRoot = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare samples with real images: Fréchet distance, precision, recall, density, coverage.

    Of a model of any size, what it makes of pictures with noise is compared with them: PSNR and SSIM.
    """
    from .. import distributed, figures, gallery
    from ..data.named import NAMED
    from ..device import pick_device
    from ..evaluation import features as spaces
    from ..evaluation import report as reports
    from ..sampling.plan import resolve

    if report:
        figures.check(report)
    with distributed.joined(pick_device(compute.device)):
        console.quiet = quiet or as_json or distributed.get_rank() > 0
        dae = compute.load_quietly(model)
        if not dae.shape[1]:
            _check_restoring(report, features)
            restoring(model, how, compute, test or data, level, as_json)
            return
        if level:
            raise InputError("`level` is for a model of any size; this one is judged by its samples: leave it out")
        plan, data = resolve("sample", dae, how.sampler, how.steps), data or trained_on(dae.card)
        space = spaces.feature_space(features, dae.shape)
        if not test and data not in NAMED:
            raise InputError(f"{data} has no test half: say what to compare with, by `test`")
        _check_apart(report, data, test)
        training, testing = real(data, data_root, True, dae), real(test or data, data_root, False, dae)
        with Watched(dae, plan, n, how.batch) as watched:
            images = training.plain_images(), testing.plain_images()
            options: dict[str, Any] = {"n": n, "plan": plan, "batch": how.batch, "seed": compute.seed}
            options |= {"labels": classes(testing, dae.card), "on_step": watched.step}
            found = reports.evaluate(dae, *images, space, **options)
        if distributed.get_rank() > 0:
            return
    if report:
        figures.save(figures.report(found, gallery.grid(found.shown, columns=16)), report)
        say(f"wrote {report}")
    if as_json:
        print_json(_for_json(found, plan, compute.seed, features))
    else:
        _say(found, plan, f"{data}, in the feature space {features}")
        if not report:
            say("to see samples beside their nearest training images: the same with --report report.png")


def check_one_size(dae: DenoisingAutoencoder) -> None:
    """Refuse a model of any size.

    Raises:
        InputError: saying what to train instead.
    """
    if not dae.shape[1]:
        raise InputError("this model takes pictures of any size, but images are compared at one: train with `size`")


def trained_on(card: Card) -> str:
    """The named set that a model was trained on.

    Raises:
        InputError: it was trained on something else.
    """
    from ..data.named import NAMED

    name = card.data
    if name in NAMED:
        return name
    trained = name or "unknown data"
    raise InputError(f"the model was trained on {trained}, which is no named set: give such images by `data`")


def real(source: str, root: str | None, train: bool, dae: DenoisingAutoencoder) -> Dataset:
    """The images of a data set, brought to the shape of the model's; what changed or could not be read is said."""
    from ..data import named
    from ..data.labels import AUTO

    channels, height, width = dae.shape
    shape: dict[str, Any] = {"size": (width, height), "channels": channels}
    labels = AUTO if dae.card.labels and source in named.NAMED else None
    dataset = named.load(source, root=Path(root) if root else None, train=train, labels=labels, **shape)
    say_notes(dataset.notes, dataset.skipped)
    return dataset


def _check_restoring(report: Path | None, features: str) -> None:
    for name, given in (("report", report), ("features", features != "mnist")):
        if given:
            raise InputError(f"`{name}` is for samples, and this model restores pictures of any size: leave it out")


def _check_apart(report: Path | None, *sources: str) -> None:
    """Refuse to write the report over a picture that is read."""
    from ..files import check_apart

    paths = [Path(source) for source in sources if source]
    read = chain.from_iterable(path.rglob("*") if path.is_dir() else [path] for path in paths)
    check_apart(read, [report] if report else [])


def classes(dataset: Dataset, card: Card) -> Tensor | None:
    """The classes of the images, if they are known to be the model's; says so if not."""
    if card.labels and (not dataset.labels or dataset.labels.names != card.labels):
        say("note: the loss by level is that of the model when it is told no class")
        return None
    return dataset.labels.numbers if card.labels and dataset.labels else None


def _for_json(found: Evaluation, plan: Plan, seed: int, features: str) -> dict[str, Any]:
    sampling = {"n": found.n, "sampler": str(plan), "steps": plan.steps, "seed": seed}
    both = {"samples": found.samples._asdict(), "floor": found.real._asdict()}
    rates = {"nfe": found.evaluations, "images_per_second": found.n / found.seconds, "ratio": found.ratio}
    return sampling | both | rates | {"features": features, "copies": found.copies, "excess_by_level": found.excess}


def _say(found: Evaluation, plan: Plan, where: str) -> None:
    from ..evaluation.metrics import NEIGHBOURS

    table = Table("", *found.samples._fields, box=None, padding=(0, 2, 0, 0))
    for row, scores in ((f"{found.n} samples", found.samples), (f"{found.n} training images", found.real)):
        table.add_row(row, *(f"{value:.3f}" for value in scores))
    console.print(table)
    say(
        f"ratio of the distances {found.ratio:.2f}, by {plan}, {plan.steps} steps: {found.evaluations:.0f} network "
        f"evaluations an image, {found.n / found.seconds:.0f} images/s\n"
        f"compared with {where}; k = {NEIGHBOURS}\n"
        f"{found.copies:.1%} of the samples are nearer to a training image than all but 1 % of the test images\n"
        f"loss above its floor by level: {', '.join(f'{loss:.4f} at {level:.2g}' for level, loss in found.excess)}"
    )
