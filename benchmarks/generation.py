"""The tables of docs/results/generation.md: guidance by class, few steps, and consistency models, on MNIST.

    dae-sampler train mnist --labels auto --out runs/labels
    python benchmarks/generation.py guidance runs/labels --data-root DATA    # 12 rows of 10,000 samples, 20 steps
    python benchmarks/generation.py steps --data-root DATA                   # the shipped model in 5 to 20 calls
    python benchmarks/generation.py judges --data-root DATA                  # by three classifiers, see classifier.py
    dae-sampler distil mnist --out runs/fast
    python benchmarks/generation.py distil runs/fast --data-root DATA        # in 1, 2 and 4 calls

`-n` draws fewer samples, to try a command out; distances of fewer samples are larger and cannot be compared.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable
from typing import Annotated

import torch
import typer
from classifier import JUDGES, KINDS
from judge import Judge
from page import DOCS, fill
from torch import Tensor

from dae_sampler import DenoisingAutoencoder, load, sample
from dae_sampler.evaluation import metrics
from dae_sampler.sampling.guidance import SPACES, Guided

TABLES = dict.fromkeys(("guidance", "steps", "judges", "distil"), DOCS / "results" / "generation.md")
WEIGHTS = (1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
FEW = (5, 8, 10, 20)
SAMPLERS = ("unipc", "unipc(order=3)", "dpm", "dpm(eta=0.6)", "dpm(eta=1)", "heun")
CALLS = (1, 2, 4)
SCORES = ["Fréchet", "ratio", "precision", "recall"]
DataRoot = Annotated[str, typer.Option(envvar="DAE_SAMPLER_DATA", help="The folder that holds MNIST.")]
Model = Annotated[str, typer.Argument(help="A model, as dae-sampler takes it.")]
Plans = Annotated[list[str] | None, typer.Option("--plan", help="SAMPLER:STEPS; give it again for a row each.")]
N = Annotated[int, typer.Option("-n", help="Samples for each row.")]
app = typer.Typer(add_completion=False)


class Bench:
    """A judge, and what real training images score before it."""

    def __init__(self, root: str, n: int) -> None:
        self.judge, self.n, self.began = Judge(root), n, time.monotonic()
        self.real = self.judge.baseline(n)

    def cells(self, images: Tensor) -> list[str]:
        """The scores of samples."""
        return self.shown(self.judge.scores(images))

    def shown(self, found: metrics.Scores) -> list[str]:
        """Scores as cells of ``SCORES``."""
        ratio = found.frechet / self.real.frechet
        return [f"{found.frechet:.1f}", f"{ratio:.2f}", f"{found.precision:.3f}", f"{found.recall:.3f}"]

    def write(self, table: str, header: list[str], rows: Iterable[list[object]]) -> None:
        """The table, with the rows as they come, under one of real images."""
        made: list[list[object]] = [["real training images", *[""] * (len(header) - 1), *self.shown(self.real)]]
        if table == "guidance":
            made[0].append("")
        for row in rows:
            print(row, flush=True)
            made.append(row)
        print(f"{self.n} samples a row, seed 0, {platform.processor() or platform.machine()}")
        more = ["label right"] * (table == "guidance")
        fill(TABLES, table, header + SCORES + more, made, time.monotonic() - self.began)


def by_class(dae: DenoisingAutoencoder, n: int, weight: float, space: str) -> tuple[Tensor, Tensor]:
    """About ``n`` samples, as many of each class, and their classes."""
    classes = len(dae.card.labels)
    each = n // classes
    parts = [sample(Guided(dae, k, weight, space), each, first=k * each) for k in range(classes)]
    return torch.cat(parts), torch.arange(classes).repeat_interleave(each)


@app.command()
def guidance(model: Model, data_root: DataRoot, n: N = 10_000) -> None:
    """Distance, precision, recall and the label that a classifier gives, against guidance in both spaces."""
    bench, dae = Bench(data_root, n), load(model)

    def rows() -> Iterable[list[object]]:
        yield ["", "no label", *bench.cells(sample(dae, n, label=[-1] * n)), ""]
        for space in SPACES:
            for weight in WEIGHTS:
                images, labels = by_class(dae, n, weight, space)
                right = f"{bench.judge.accuracy(images, labels):.3f}"
                yield [space, f"{weight:g}", *bench.cells(images), right]

    bench.write("guidance", ["space", "guidance"], rows())


@app.command()
def steps(data_root: DataRoot, model: Model = "mnist", n: N = 10_000) -> None:
    """Samplers by the number of network calls."""
    bench, dae = Bench(data_root, n), load(model)

    def rows() -> Iterable[list[object]]:
        for calls in FEW:
            for sampler in SAMPLERS:
                taken = (calls + 1) // 2 if sampler == "heun" else calls
                spent = 2 * taken - 1 if sampler == "heun" else taken
                yield [f"`{sampler}`", spent, *bench.cells(sample(dae, n, sampler=sampler, steps=taken))]

    bench.write("steps", ["sampler", "calls"], rows())


@app.command()
def judges(data_root: DataRoot, model: Model = "mnist", n: N = 10_000, half: str = "test", plans: Plans = None) -> None:
    """Distances by three classifiers, and how sure the one that ships is; --half train is what to choose by.

    Classifiers that were not trained are left out.
    """
    began, dae = time.monotonic(), load(model)
    kinds = [kind for kind in KINDS if kind == "mnist" or (JUDGES / f"{kind}.safetensors").is_file()]
    spaces = {kind: Judge(data_root, kind=kind, half=half) for kind in kinds}
    real = {kind: judge.baseline(n) for kind, judge in spaces.items()}
    held = spaces["mnist"].test
    rows = [["real images", "", *["1.00"] * len(kinds), f"{spaces['mnist'].sure(held):.3f}", *_rest(real["mnist"])]]
    for plan in plans or ["dpm(eta=1):20"]:
        sampler, _, steps = plan.rpartition(":")
        made = sample(dae, n, sampler=sampler, steps=int(steps))
        found = {kind: judge.scores(made) for kind, judge in spaces.items()}
        ratios = [f"{found[kind].frechet / real[kind].frechet:.2f}" for kind in kinds]
        rows.append([f"`{sampler}`", steps, *ratios, f"{spaces['mnist'].sure(made):.3f}", *_rest(found["mnist"])])
        print(rows[-1], flush=True)
    header = ["sampler", "steps", *(f"ratio, {kind}" for kind in kinds), "sure", "precision", "recall"]
    if half == "test":
        fill(TABLES, "judges", header, rows, time.monotonic() - began)


def _rest(found: metrics.Scores) -> list[str]:
    return [f"{found.precision:.3f}", f"{found.recall:.3f}"]


@app.command()
def distil(model: Model, data_root: DataRoot, n: N = 10_000) -> None:
    """A consistency model in 1, 2 and 4 calls."""
    bench, dae = Bench(data_root, n), load(model)
    known = dae.card.training
    print(f"tuned from {dae.card.start} in {known.get('steps')} steps, {known.get('seconds')} s")
    bench.write("distil", ["calls"], ([calls, *bench.cells(sample(dae, n, steps=calls))] for calls in CALLS))


if __name__ == "__main__":
    app()
