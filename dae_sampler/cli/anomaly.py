"""The command anomaly."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from ..errors import InputError
from .commands import command
from .console import Bar, console, counted, listed, print_json, say, say_notes
from .options import Compute, Json, Model, Over, Quiet, Source, Strict, as_options

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..anomaly import Scorer
    from ..card import Pairs
    from ..dae import DenoisingAutoencoder
    from ..data.inputs import Inputs

SHOWN = 48
"""Pictures on the page of the worst."""
LISTED = 10


class Found(NamedTuple):
    """A picture and its score; compares by the score."""

    score: float
    file: str
    picture: Tensor
    map: Tensor


@command(
    "dae-sampler anomaly runs/tiles new/ --good good/ --map",
    "dae-sampler anomaly runs/photos photos/ --false-alarms 0.01 --out scores.csv",
)
def anomaly(
    model: Model,
    source: Source,
    compute: Compute,
    good: Annotated[
        Path | None, typer.Option(help="Pictures known to be good, which it was not trained on: compare with these.")
    ] = None,
    show_map: Annotated[bool, typer.Option("--map", help="Show beside each picture where it is unexpected.")] = False,
    out: Annotated[
        Path, typer.Option(help="The table of scores, a .csv; the worst pictures go to a .png of the same name.")
    ] = Path("scores.csv"),
    false_alarms: Annotated[float, typer.Option(help="Share of good pictures that may exceed the threshold.")] = 0.05,
    over: Over = "black",
    strict: Strict = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score how unexpected pictures are to a model of good ones, the worst first.

    With --good, pictures are compared with these by the network's features. Without, by what the network failed to
    restore, and the threshold is that of the pictures held out in training.
    """
    console.quiet = quiet or as_json
    from .. import anomaly as anomalies
    from .. import files
    from ..data import tables
    from ..data.inputs import open_inputs
    from ..gallery import save_picture
    from ..pixels import to_float

    tables.check(out, (".csv",))
    page = out.with_suffix(".png")
    dae = compute.load(model)
    anomalies.check(dae)
    reading = {"shape": dae.shape, "span": dae.card.range, "over": over, "strict": strict}
    inputs = open_inputs(source, **reading)
    compared = open_inputs(good, **reading) if good else None
    files.check_apart([*inputs.files, *(compared.files if compared else [])], [out, page])
    scorer, known = _fitted(dae, compared)
    limit, why = _limit(known, false_alarms, good)
    scores, worst, blank = [], [], []
    with Bar("scoring", inputs.count, "images") as bar:
        for x, (name,) in inputs.batches(1):
            maps = scorer(to_float(x))
            found = Found(scorer.score(maps).item(), inputs.file_of(name), x[0], maps[0].cpu())
            scores.append((found.file, found.score, "" if limit is None else int(found.score > limit)))
            blank += [found.file] if x.amin() == x.amax() else []
            worst = heapq.nlargest(SHOWN, [*worst, found])
            bar.advance()
    say_notes([*inputs.notes, *why, *_blank(blank)], inputs.skipped)
    scores.sort(key=lambda row: -row[1])
    tables.write_csv(out, ("file", "score", "anomaly"), scores)
    pages = [page] if dae.shape[0] in (1, 3) else []  # grey or in colour
    if pages:
        save_picture(_page(worst, limit, show_map), page)
    above = sum(flag == 1 for _, _, flag in scores)
    if as_json:
        rows = [{"file": file, "score": value} for file, value, _ in scores]
        found = {"threshold": limit, "false_alarms": false_alarms, "above": above, "blank": blank, "scores": rows}
        print_json(found)
        return
    _say(scores, limit, above, false_alarms)
    say(f"wrote {listed(out, *pages)}")


def _limit(known: Pairs, false_alarms: float, good: Path | None) -> tuple[float | None, list[str]]:
    """The threshold, and why there is none: training held out too few pictures, which are no reason to score none."""
    from .. import anomaly as anomalies

    if not known:
        return None, ["the model keeps no scores of good pictures, so there is no threshold: give some by --good"]
    try:
        return anomalies.threshold(known, false_alarms), []
    except InputError as error:
        if good or not 0 < false_alarms < 1:
            raise
        return None, [as_options(f"no threshold: {error}")]


def _blank(files: list[str]) -> list[str]:
    """A note on pictures of one value, in which nothing is unexpected."""
    shown = ", ".join(files[:LISTED]) + (" ..." if len(files) > LISTED else "")
    return [f"blank, of one value throughout, whatever their score: {shown}"] if files else []


def _fitted(dae: DenoisingAutoencoder, good: Inputs | None) -> tuple[Scorer, Pairs]:
    """How pictures are scored, and quantiles of the scores of good ones."""
    from .. import anomaly as anomalies
    from ..pixels import to_float

    if good is None:
        return anomalies.Excess(dae), dae.card.anomaly
    with Bar("good pictures", 2 * good.count, "images") as bar:
        pictures = []
        for x, _ in good.batches(1):
            pictures.append(to_float(x[0]))
            bar.advance()
        fitted = anomalies.fit(dae, pictures, on_image=bar.advance)
    say_notes(good.notes, good.skipped)
    return fitted


def _page(worst: list[Found], limit: float | None, show_map: bool) -> Image.Image:
    from ..gallery import heat, page

    top = max(found.map.max().item() for found in worst)
    rows = []
    for found in worst:
        mark = "" if limit is None or found.score <= limit else " !"
        beside = [heat(found.map[None], top)[0]] if show_map else []
        rows.append((f"{found.score:.3g}{mark} {Path(found.file).name}", [found.picture, *beside]))
    return page(rows)


def _say(scores: list[tuple[str, float, object]], limit: float | None, above: int, false_alarms: float) -> None:
    for file, value, flag in scores[:LISTED]:
        say(f"{value:10.4g}  {'!' if flag else ' '} {file}")
    if limit is not None:
        exceeded = f"above {limit:.4g}, which at most {false_alarms:.2g} of good pictures exceed"
        say(f"{above} of {counted(len(scores), 'picture')} {exceeded}")
