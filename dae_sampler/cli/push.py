"""The command push."""

from __future__ import annotations

from typing import Annotated

import typer

from .commands import command
from .console import console, say, say_next
from .options import Model, OwnCorruption, OwnNet, Quiet, import_own


@command("dae-sampler push runs/photos hf:me/photos --licence mit --terms CC-BY-4.0")
def push(
    model: Model,
    to: Annotated[str, typer.Argument(help="Repository of the Hugging Face hub: hf:owner/name.")],
    licence: Annotated[str, typer.Option(help="Of the weights, such as mit; default: the one on the card.")] = "",
    terms: Annotated[str, typer.Option(help="That the training data come under; default: those on the card.")] = "",
    private: Annotated[bool, typer.Option("--private", help="Only you see it, if it is new.")] = False,
    corruption: OwnCorruption = "",
    net: OwnNet = "",
    quiet: Quiet = False,
) -> None:
    """Share a model on the Hugging Face hub, with a page made from its card."""
    console.quiet = quiet
    from .. import hub, sharing

    import_own(corruption, net)
    say(f"pushed to {sharing.push(model, to, licence=licence, terms=terms, private=private)}")
    say_next("dae-sampler", "info", hub.REMOTE + to.removeprefix(hub.REMOTE))
