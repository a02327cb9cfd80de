"""Where a model's name leads: a shipped name, a path, or a run folder."""

from __future__ import annotations

from pathlib import Path

from .errors import InputError, unknown

PAIRS = {"photo": ("photo-grey", "photo-colour")}
"""Names that stand for two models that ship, of grey and of colour pictures. A picture decides between them; where none
does, the name is that of the second."""


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
    """The file of a shipped name, a checkpoint's path, or a run folder (its ``model.safetensors``).

    Raises:
        InputError: there is no such file.
    """
    path = Path(model).expanduser()
    for file in (path / "model.safetensors", path):
        if file.is_file():
            return file
    name = PAIRS.get(str(model), (str(model),))[-1]
    if name in shipped():  # also where a folder of something else has that name
        return shipped()[name]
    if path.is_dir():
        raise InputError(f"{path} holds no model.safetensors: give a finished run, or a .safetensors file")
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"no model at {path}: give a .safetensors file, a run folder, or one of {', '.join(names())}")
    raise unknown("model", str(model), names())
