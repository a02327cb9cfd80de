"""The command report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .commands import command
from .console import Bar, console, listed, print_json, say
from .options import Json, OwnCorruption, OwnNet, Quiet, as_options, import_own


@command("dae-sampler report runs/mnist", "dae-sampler report runs/mnist --out reports/ --json")
def report(
    run: Annotated[Path, typer.Argument(help="A run folder, also of a run that is still training.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.png and report.html; default: the run's own.")
    ] = None,
    corruption: OwnCorruption = "",
    net: OwnNet = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell whether a run is training right: losses, samples and speed over time, and a verdict."""
    console.quiet = quiet or as_json
    from ..evaluation import progress
    from ..training.run import Run

    import_own(corruption, net)
    progress.check(out or run)
    with Bar("reading images", 1, "files") as bar:
        found = progress.read(Run(run), bar.reach)
    written = found.save(out or run)
    if as_json:
        findings = [{**asdict(each), "text": as_options(each.text)} for each in found.findings]
        print_json({"run": str(run), "step": found.history.steps[-1], "findings": findings})
    for each in found.findings:
        say(as_options(each.text))
    say(f"wrote {listed(*written)}")
