"""The course of a run: its losses, sample grids and verdicts, as a picture and a page."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import checkpoint, corruption, figures
from ..data.dataset import Dataset
from ..errors import InputError
from ..files import check_writable, replacing
from ..noise import StepNoise
from ..pixels import binarise, to_float
from ..sampling.functions import sample
from ..training.job import load_images
from ..training.recipe import Job
from ..training.run import Run
from .diagnosis import Finding, History, copying, diagnose

MOST_SHOWN = 7
"""Sample grids in the picture."""
SAMPLES, USUAL, LEAST_HELD_OUT = 64, 200, 20
"""Samples held against the training images, and held-out images that tell what distance is usual."""
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
img {{ width: 100%; }} td, th {{ padding: 0 .8rem 0 0; text-align: right; }} li {{ margin: .3rem 0; }}
</style>
<h1>{title}</h1>
<ul>{findings}</ul>
<img alt="losses, excess by level, speed and samples over time" src="data:image/png;base64,{picture}">
<h2>Validations</h2><table>{table}</table>
<h2>Options</h2><table>{options}</table>
</html>
"""


@dataclass(frozen=True)
class Progress:
    """What :func:`read` found in a run's folder.

    Attributes:
        run, job: the folder, and what was asked.
        history: its validations.
        findings: what they say.
    """

    run: Run
    job: Job
    history: History
    findings: list[Finding]

    def save(self, folder: Path) -> list[Path]:
        """Write ``report.png`` and ``report.html``, which holds the picture, to ``folder``.

        Raises:
            InputError: they cannot be written.
        """
        picture, page = folder / "report.png", folder / "report.html"
        figures.save(figures.training(self.history, self.job.batch, self._grids()), picture)
        with replacing(page) as temporary:
            text = self._html(picture.read_bytes())
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files need not be text
        return [picture, page]

    def _grids(self) -> list[tuple[int, Path]]:
        """The sample grids of the validations, at most ``MOST_SHOWN`` of them, evenly spread."""
        files = [(step, self.run.folder / "samples" / f"{step:07d}.png") for step in self.history.steps]
        there = [(step, path) for step, path in files if path.is_file()]
        n = min(len(there), MOST_SHOWN)
        return [there[i] for i in torch.linspace(0, len(there) - 1, n).round().long().tolist()] if n else []

    def _html(self, picture: bytes) -> str:
        rows = self.run.read_metrics()
        columns = ["step", "seconds", "loss", "valid_loss", *["valid_excess"] * self.history.has_floor]
        body = [columns, *([f"{float(row[name]):.5g}" for name in columns] for row in rows)]
        options = [[name, str(value)] for name, value in vars(self.job).items() if value is not None]
        findings = "".join(f"<li>{html.escape(found.text)}</li>" for found in self.findings)
        return _PAGE.format(
            title=html.escape(f"Run {self.run.folder.name}"),
            findings=findings,
            picture=base64.b64encode(picture).decode(),
            table=_rows(body),
            options=_rows(options),
        )


def _rows(cells: list[list[str]]) -> str:
    return "".join("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) for row in cells)


def check(folder: Path) -> None:
    """Refuse a place that :meth:`Progress.save` cannot write to, or a machine without matplotlib.

    Raises:
        InputError: saying so.
    """
    figures.check(folder / "report.png")
    check_writable(folder / "report.html")


def read(run: Run, on_file: Callable[[int, int], None] | None = None) -> Progress:
    """A run, finished or not, and what is to be said of it.

    ``on_file`` is called with (files read, files in all) while the images are read, which the samples of a finished run
    are held against.

    Raises:
        InputError: the folder holds no run, or it was not validated yet.
    """
    if not run.config_file.is_file():
        raise InputError(f"{run.folder} holds no run: give a folder that training wrote")
    job = Job.from_config(run.read_config())
    history = History.of(run.read_metrics())
    _, saved = run.load_state() or ({}, {})
    images = int(saved.get("images", 0)) or _images_on_card(run)
    held_out = job.validation_size(images)
    q = corruption.parse(job.corruption)
    findings = diagnose(history, q, images - held_out, held_out, job.steps, not job.crop, job.objective != "mean")
    if not job.crop and q.has_level:
        try:
            findings.append(_copies(run, load_images(job, run, on_file)))
        except InputError as error:
            findings.append(Finding("copies not checked", f"Whether samples are copies was not checked: {error}"))
    return Progress(run, job, history, findings)


def _images_on_card(run: Run) -> int:
    """How many images the run's model was trained on, 0 where it has none yet."""
    path = run.folder / "model.safetensors"
    return checkpoint.read_card(path)[0].images if path.is_file() else 0


def _copies(run: Run, data: Any) -> Finding:
    """Whether the samples of a finished run copy its training images, by distance in pixels."""
    assert isinstance(data, Dataset)
    dae = checkpoint.load(run.folder)
    training, held_out = data.split(Job.from_config(run.read_config()).validation_size(len(data)))
    if len(training) == len(data) or len(held_out) < LEAST_HELD_OUT:
        raise InputError(f"fewer than {LEAST_HELD_OUT} images were held out to compare with: train on more")
    how = dae.card.binarise and "threshold"

    def plain(x: Tensor) -> Tensor:
        x = to_float(x, data.span if x.dtype != torch.float32 else None)
        return (binarise(x, how, StepNoise(0, 0)) if how else x).flatten(1)

    usual = held_out[:: max(1, len(held_out) // USUAL)]
    asked = torch.cat([plain(sample(dae, SAMPLES)), plain(data.take(usual).x)])
    names = torch.cat([torch.full((SAMPLES,), -1), usual])

    def nearest(among: Tensor) -> Tensor:
        found = torch.full((len(asked),), torch.inf)
        for rows in among.split(2048):
            distance = torch.cdist(asked, plain(data.take(rows).x))
            found = torch.minimum(found, distance.masked_fill(names[:, None] == rows, torch.inf).amin(1))
        return found

    ratio = nearest(training) / nearest(held_out).clamp(min=1e-12)
    return copying(ratio[:SAMPLES].tolist(), ratio[SAMPLES:].tolist())
