"""Checkpoints: one safetensors file with the weights, and the model's card as JSON metadata.

The card names registered classes with literal arguments only (see :mod:`.spec`), so a file from elsewhere cannot
run anything: it can build one of our models, or fail with a sentence.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .card import Card
from .errors import InputError
from .files import replacing
from .hub import resolve

if TYPE_CHECKING:
    import torch

    from .dae import DenoisingAutoencoder

KEY = "dae_sampler"


def read_card(path: Path) -> tuple[Card, str]:
    """The checked card of a checkpoint and the digest of its weights, without the weights (and without torch).

    Raises:
        InputError: the file is not a checkpoint of this library, or its card is damaged or too new.
    """
    metadata = _open(path, lambda file: file.metadata())
    try:
        facts = dict(json.loads((metadata or {})[KEY], parse_constant=_no_number))
        digest = facts.pop("sha256", "")
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InputError(f"{path} is not a dae-sampler checkpoint: its metadata is missing or damaged") from None
    try:
        card = Card.from_json(facts)
    except InputError as error:
        raise InputError(f"the card of {path} cannot be used ({error}): copy or train it again") from None
    return card, digest


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _open(path: Path, use) -> Any:  # noqa: ANN001
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return use(file)
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a readable safetensors file ({error}): copy or train it again") from None


def _shapes(file) -> dict[str, tuple[int, ...]]:  # noqa: ANN001
    slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
    floats = ("F64", "F32", "F16", "BF16")
    return {k: tuple(s.get_shape()) if s.get_dtype() in floats else (-1,) for k, s in slices.items()}


def _digest(weights: dict[str, torch.Tensor]) -> str:
    """SHA-256 of the names and bytes of all weights, which shows a damaged file that still looks like one."""
    import torch

    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(weight.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save(dae: DenoisingAutoencoder, path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write the model's weights and card to ``path``.

    Args:
        dae: the model, also one that torch.compile returned.
        path: a ``.safetensors`` file.
        dtype: store the weights in this precision, for example ``torch.float16``; by default in their own.

    Raises:
        InputError: ``path`` does not end in .safetensors, or cannot be written.
    """
    path = Path(os.path.expanduser(path))
    if path.suffix != ".safetensors":
        raise InputError(f"cannot write the model to {path}: name it with .safetensors, so that it can be loaded")
    own = {k.removeprefix("_orig_mod."): v for k, v in dae.state_dict().items()}  # the prefix is torch.compile's
    weights = {k: v.detach().to("cpu", dtype or v.dtype).contiguous() for k, v in own.items()}
    with replacing(path) as temporary:
        _write(weights, dae.card, temporary)


def copy(model: str | Path, path: Path, **facts: Any) -> Card:
    """Write a model to ``path`` with the same weights and, on its card, these facts; returns the card.

    Raises:
        InputError: as :func:`load`, or a fact is not what it has to be.
    """
    load(model)
    source = resolve(model)
    card = replace(read_card(source)[0], **facts)
    with replacing(path) as temporary:
        _write(_read(source), card, temporary)
    return card


def _write(weights: dict[str, torch.Tensor], card: Card, path: Path) -> None:
    from safetensors.torch import save_file

    facts = card.to_json() | {"sha256": _digest(weights)}
    save_file(weights, path, metadata={KEY: json.dumps(facts, allow_nan=False)})


def _read(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}): copy or train it again") from None


def load(model: str | Path, device: str = "cpu", precision: str = "auto") -> DenoisingAutoencoder:
    """A trained model, ready to use.

    Args:
        model: a shipped name such as ``"mnist"``, a ``.safetensors`` file, a run folder, or a repository of the Hugging
            Face hub, ``"hf:owner/name@revision"``, which needs the extra ``hub``. ``"photo"`` is the one of colour
            pictures, ``"photo-colour"``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
        precision: ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the device is good at it.

    Raises:
        InputError: there is no such model, or its file does not hold one.
    """
    import torch

    from .dae import DenoisingAutoencoder
    from .device import pick_device, pick_precision

    path = resolve(model)
    card, digest = read_card(path)
    stored = _open(path, _shapes)
    with torch.device("meta"):  # costs no memory, however large a net a damaged file describes
        needed = {k: tuple(v.shape) for k, v in DenoisingAutoencoder.from_card(card).state_dict().items()}
    if stored != needed:
        odd = next(iter(sorted(set(stored.items()) ^ set(needed.items()))))[0]
        raise InputError(f"{path} has weights that do not fit {card.net} (first at {odd}): copy or train it again")
    dae = DenoisingAutoencoder.from_card(card)
    weights = _read(path)
    if _digest(weights) != digest:
        raise InputError(f"{path} has weights that are not those it was saved with: copy or train it again")
    dae.load_state_dict(weights)
    target = pick_device(device)
    dae.precision = pick_precision(precision, target)
    return dae.to(target).eval().requires_grad_(False)
