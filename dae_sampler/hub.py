"""Where a model's name leads: a shipped name, a path, a run folder, or a repository of the Hugging Face hub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from .errors import InputError, unknown

PAIRS = {"photo": ("photo-grey", "photo-colour")}
"""Names that stand for two models that ship, of grey and of colour pictures. A picture decides between them; where none
does, the name is that of the second."""
FILE = "model.safetensors"
"""What a run folder and a repository hold."""
REMOTE = "hf:"


def folder() -> Path:
    """Where the files that ship lie: inside the installed package, or at the top of a checkout."""
    here = Path(__file__).parent
    return next((f for f in (here / "checkpoints", here.parent / "checkpoints") if f.is_dir()), here)


def shipped() -> dict[str, Path]:
    """The models that come with the package, by name."""
    return {p.stem: p for p in sorted(folder().glob("*.safetensors"))}


def names() -> list[str]:
    """What a model that ships can be called."""
    return sorted([*shipped(), *PAIRS])


def pair_of(model: str | Path) -> tuple[str, str] | None:
    """The models of grey and of colour pictures that a name stands for; None for one of a single model."""
    pair = PAIRS.get(str(model))
    return pair if pair and resolve(model) == shipped().get(pair[1]) else None


def resolve(model: str | Path) -> Path:
    """The file of a shipped name, a checkpoint's path, a run folder or ``hf:owner/name@revision``.

    Of a folder or a repository it is the file ``model.safetensors``; nothing else is looked at. Only ``hf:`` goes to
    the network, once for each revision: what was fetched stays in the cache of huggingface_hub.

    Raises:
        InputError: there is no such file, or it cannot be fetched.
    """
    if str(model).startswith(REMOTE):
        return _fetch(Repository.parse(str(model)))
    path = Path(os.path.expanduser(model))
    for file in (path / FILE, path):
        if file.is_file():
            return file
    name = PAIRS.get(str(model), (str(model),))[-1]
    if name in shipped():  # also where a folder of something else has that name
        return shipped()[name]
    if path.is_dir():
        raise InputError(f"{path} holds no {FILE}: give a finished run, or a .safetensors file")
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"no model at {path}: give a .safetensors file, a run folder, or one of {', '.join(names())}")
    raise unknown("model", str(model), names())


class Repository(NamedTuple):
    """A repository of models: ``hf:owner/name``, at a revision if one is given."""

    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Repository:
        """What ``hf:owner/name`` or ``hf:owner/name@revision`` names.

        Raises:
            InputError: the text is neither.
        """
        found = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", text)
        if not found:
            raise InputError(f"{text!r} names no repository: write hf:owner/name or hf:owner/name@revision")
        return cls(found[1], found[2])


def check_extra() -> None:
    """Refuse to go to the hub without its library.

    Raises:
        InputError: naming the extra.
    """
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        raise InputError(f"{REMOTE} needs the extra: pip install 'dae-sampler[hub]'") from None


def reason(error: Exception) -> str:
    """The sentence of an error of the hub's that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in reversed(lines) if not line.startswith(("http", "For more"))), type(error).__name__)


def _fetch(repository: Repository) -> Path:
    """The model's file, from the cache where it is there."""
    check_extra()
    from huggingface_hub import hf_hub_download

    name, revision = repository
    try:
        return Path(hf_hub_download(name, FILE, revision=revision, library_name="dae-sampler"))
    except Exception as error:  # of the hub, of the network or of the disk
        at = f" at {revision}" if revision else ""
        raise InputError(
            f"cannot fetch {FILE} of {name}{at} ({reason(error)}): check the name, the network, and for a private "
            "model log in with: hf auth login"
        ) from None
