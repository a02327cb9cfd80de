"""The model that training begins from: another's weights, with or without its sense of the level."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from .. import checkpoint, hub
from ..card import Card
from ..dae import DenoisingAutoencoder
from ..errors import InputError
from ..nets.layers import ResidualBlock
from .recipe import Job


def completed(job: Job, given: set[str]) -> Job:
    """With the network and the corruption of the model that the job starts from, where none were ``given``.

    Pairs and exposures bring their damage with them.
    """
    if not job.start:
        return job
    card = card_of(job.start)
    net = job.net if "net" in given else card.net
    own = "corruption" in given or job.damaged or job.exposures
    return replace(job, net=net, corruption=job.corruption if own else card.corruption)


def for_channels(job: Job, channels: int) -> Job:
    """The job, where it starts from a pair of models, with network and corruption of the one for so many channels."""
    pair = hub.pair_of(job.start) if job.start else None
    if not pair or channels != 1:
        return job
    grey, colour = map(card_of, pair)
    net = grey.net if job.net == colour.net else job.net
    return replace(job, net=net, corruption=grey.corruption if job.corruption == colour.corruption else job.corruption)


def card_of(start: str) -> Card:
    """The card of the model ``start``."""
    return checkpoint.read_card(hub.resolve(start))[0]


def load_weights(dae: DenoisingAutoencoder, start: str) -> str:
    """Give ``dae`` the weights of the model ``start``; of a pair of models, those for its channels.

    A network that is not told the level begins as the source is at the geometric mean of its levels.

    Returns:
        what people should know of it.

    Raises:
        InputError: the weights do not fit.
    """
    pair = hub.pair_of(start)
    source = checkpoint.load(pair[0] if pair and dae.shape[0] == 1 else start)
    notes, weights = [], source.state_dict()
    if source.embed is not None and dae.embed is None:
        level = math.sqrt(source.corruption.low * source.corruption.high)
        weights = _at_level(source, level)
        notes += [f"{start} is told the level, the new model is not: it begins as {start} is at the level {level:.3g}"]
    if dae.label is not None:
        weights |= _classes(dae, source, weights)
    if source.card.labels and set(source.card.labels) != set(dae.card.labels):
        notes += [f"the classes are others than those of {start}, and begin as those do, in their order"]
    try:
        dae.load_state_dict(weights)
    except RuntimeError:
        known = f" and the labels {', '.join(source.card.labels)}" if source.card.labels else ""
        theirs = f"{source.card.net} for {source.corruption} images {source.shape}{known}"
        alike = f"`net`, kind of `corruption` and `size`{', and as many `labels`' if known else ''}"
        raise InputError(f"`start` {start} is {theirs}: give the same {alike}") from None
    return "; ".join(notes)


def _classes(dae: DenoisingAutoencoder, source: DenoisingAutoencoder, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """What ``dae``, which knows classes, has beyond the ``weights``; it changes nothing while the vectors are 0."""
    theirs, names = source.state_dict(), source.card.labels
    more = {k: theirs.get(k, w) for k, w in dae.state_dict().items() if k not in weights and "condition" in k}
    more = {k: torch.zeros_like(w) if k.endswith(".bias") else w for k, w in more.items()}
    if source.label is None or dae.label is None:
        return more | {k: w for k, w in dae.state_dict().items() if k.startswith("label.")}
    if set(names) == set(dae.card.labels):
        order = [names.index(name) for name in dae.card.labels]
        more["label.weight"] = source.label.weight.detach()[[*order, -1]]
    return more


@torch.no_grad()
def _at_level(source: DenoisingAutoencoder, level: float) -> dict[str, Tensor]:
    """The weights of a network that is always told ``level``: what the level adds goes into biases."""
    assert source.embed is not None
    c = source.embed(source.corruption.condition(torch.tensor([level])))
    for block in source.net.modules():
        if isinstance(block, ResidualBlock) and block.condition is not None:
            block.conv1.bias += block.condition(c)[0]
    return {
        name: weight
        for name, weight in source.state_dict().items()
        if not name.startswith("embed.") and ".condition." not in name
    }
