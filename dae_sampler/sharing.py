"""A model given to others: pushed to the Hugging Face hub, with a page made from its card."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from . import __version__, checkpoint
from .card import Card
from .errors import InputError
from .hub import FILE, REMOTE, Repository, check_extra, reason

_HEAD = """---
library_name: dae-sampler
license: {licence}
pipeline_tag: {task}
tags:
- denoising-autoencoder
- image-restoration
---

# {name}

A denoising autoencoder for images, of dae-sampler {version}. It {does} images
like those it was trained on.

| | |
|---|---|
"""
_RESTORER = {"task": "image-to-image", "does": "restores"}
_USE = """
## Use

    pip install 'dae-sampler[hub]'
    dae-sampler {command} hf:{name}{more}

```python
import dae_sampler

dae = dae_sampler.load("hf:{name}")
```

The file holds weights and a card, in safetensors. Loading it runs no code from it, and checks the weights against their
digest.
"""


def push(model: str | Path, to: str, *, licence: str = "", terms: str = "", private: bool = False) -> str:
    """Push a model to a repository of the hub, made if it is not there; returns the page's address.

    It is one commit of two files, ``model.safetensors`` and ``README.md``.

    Args:
        model: what :func:`.checkpoint.load` takes.
        to: ``"hf:owner/name"``, or ``"hf:owner/name@branch"``.
        licence: of the weights, as the hub spells it (``"mit"``, ``"cc-by-4.0"``); by default that on the card.
        terms: that the training data come under; by default those on the card.
        private: whether a new repository is.

    Raises:
        InputError: the model cannot be loaded, it has no licence, or the hub refuses it.
    """
    name, branch = Repository.parse(to if to.startswith(REMOTE) else REMOTE + to)
    check_extra()
    from huggingface_hub import CommitOperationAdd, HfApi

    known = {"licence": licence, "terms": terms}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / FILE
        card = checkpoint.copy(model, file, **{fact: text for fact, text in known.items() if text})
        if not card.licence:
            raise InputError("the card of this model names no licence: say by `licence` how others may use the weights")
        page = CommitOperationAdd("README.md", readme(card, name).encode(errors="backslashreplace"))
        hub = HfApi(library_name="dae-sampler", library_version=__version__)
        try:
            hub.create_repo(name, private=private, exist_ok=True)
            done = hub.create_commit(
                name, [CommitOperationAdd(FILE, file), page], commit_message="Model and card", revision=branch
            )
        except Exception as error:  # of the hub or of the network
            raise InputError(
                f"cannot push to {name} ({reason(error)}): check the name and the network, and log in with: "
                "hf auth login"
            ) from None
    return done.commit_url


def readme(card: Card, name: str) -> str:
    """The page of a model in a repository, Markdown with the hub's header."""
    size = f"{card.size[1]}x{card.size[0]}" if card.size else "any size"
    excess = ", ".join(f"{value:.4f} at {level:.3g}" for level, value in card.excess)
    facts = {
        "images": f"{size}, {card.channels} channel{'s' * (card.channels > 1)}",
        "network": f"`{card.net}`",
        "corruption": f"`{card.corruption}`",
        "loss": card.loss,
        "trained on": f"{card.data or 'unknown data'}" + (f", {card.images:,} images" if card.images else ""),
        "terms of the data": card.terms or "not stated",
        "licence of the weights": card.licence,
        "held-out loss above its floor, by level": excess,
    }
    cells = {fact: " ".join(text.split()).replace("|", "\\|") for fact, text in facts.items()}
    rows = "".join(f"| {fact} | {text} |\n" for fact, text in cells.items() if text)
    draws = card.size and "denoise" not in card.plans
    command, more = ("sample", "") if draws else ("denoise", " PICTURES")
    known = {"task": "unconditional-image-generation", "does": "generates and restores"} if draws else _RESTORER
    licence, version = json.dumps(card.licence.lower()), card.version or __version__
    head = _HEAD.format(licence=licence, name=name, version=version, **known)
    return head + rows + _USE.format(command=command, name=name, more=more)
