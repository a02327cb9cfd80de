"""Make a shipped checkpoint of a finished run: float16 weights, and a card with the best sampler and the licence.

python benchmarks/ship.py run runs/mnist mnist --sampler 'dpm(eta=1)' --steps 20
python benchmarks/ship.py run runs/grey photo-grey --data 'BSDS, 400 crops' --licence 'research use' --terms '...'
python benchmarks/ship.py rescore mnist mnist                # after the anomaly score has changed
python benchmarks/ship.py rescore photo-grey PHOTOS/train400
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

import dae_sampler
from dae_sampler import DenoisingAutoencoder, Recipe
from dae_sampler.checkpoint import read_card
from dae_sampler.data import named
from dae_sampler.sampling.plan import resolve
from dae_sampler.training.validation import anomaly_scores

CHECKPOINTS = Path(__file__).parent.parent / "checkpoints"


app = typer.Typer(add_completion=False)


@app.command()
def run(
    folder: str,
    name: str,
    sampler: Annotated[str | None, typer.Option(help="That samples best; none for a model that only restores.")] = None,
    steps: int | None = None,
    data: Annotated[str | None, typer.Option(help="Name of the training data, where the run has another.")] = None,
    licence: str = "MIT",
    terms: Annotated[str, typer.Option(help="Of the training data.")] = "",
) -> None:
    """Make NAME of the finished run in FOLDER."""
    dae = dae_sampler.load(folder)
    plans = dae.card.plans
    if sampler:
        plan = resolve("sample", dae, sampler, steps)
        plans |= {"sample": {"sampler": str(plan), "steps": plan.steps}}
    dae.card = replace(dae.card, plans=plans, licence=licence, terms=terms, data=data or dae.card.data)
    write(dae, name)


@app.command()
def rescore(
    name: str,
    source: str,
    side: Annotated[int, typer.Option(help="Of crops.")] = 64,
    root: Annotated[Path | None, typer.Option(envvar="DAE_SAMPLER_DATA", help="Where named data sets lie.")] = None,
) -> None:
    """Score the pictures of SOURCE that training held out anew, for the card of the model NAME that ships."""
    dae = dae_sampler.load(name)
    data = named.load(source, root=root) if dae.shape[1] else named.load_crops(source, side, channels=dae.shape[0])
    _, held_out = data.split(Recipe().validation_size(len(data)))
    dae.card = replace(dae.card, anomaly=anomaly_scores(dae, data, held_out))
    write(dae, name)


def write(dae: DenoisingAutoencoder, name: str) -> None:
    """Save it in half precision, and print its card."""
    path = CHECKPOINTS / f"{name}.safetensors"
    dae_sampler.save(dae, path, torch.float16)
    card, _ = read_card(path)
    print(path.name, path.stat().st_size, "bytes", card.to_json())


if __name__ == "__main__":
    app()
