"""Checkpoints: one safetensors file with the weights, and JSON metadata that says how to rebuild the model.

The metadata names registered classes with literal arguments only (see :mod:`.spec`), so a file from elsewhere cannot
run anything: it can build one of our models, or fail with a sentence.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError, unknown
from .files import replacing

if TYPE_CHECKING:
    import torch

    from .dae import DenoisingAutoencoder

FORMAT = 2
"""2: the U-Net's text gives the widths of all its stages, not of the first."""
KEY = "dae_sampler"
MAX_PIXELS = 1 << 24
MAX_STEPS = 100_000


def folder() -> Path:
    """Where the files that ship lie: inside the installed package, or at the top of a checkout."""
    here = Path(__file__).parent
    return next((f for f in (here / "checkpoints", here.parent / "checkpoints") if f.is_dir()), here)


def shipped() -> dict[str, Path]:
    """The models that come with the package, by name."""
    return {p.stem: p for p in sorted(folder().glob("*.safetensors"))}


def resolve(model: str | Path) -> Path:
    """The file of a shipped name, a checkpoint's path, or a run folder (its ``model.safetensors``).

    Raises:
        InputError: there is no such file.
    """
    path = Path(model)
    for file in (path / "model.safetensors", path):
        if file.is_file():
            return file
    if str(model) in shipped():  # also where a folder of something else has that name
        return shipped()[str(model)]
    if path.is_dir():
        raise InputError(f"{path} holds no model.safetensors: give a finished run, or a .safetensors file")
    if path.suffix or len(path.parts) > 1:
        raise InputError(
            f"no model at {path}: give a .safetensors file, a run folder, or one of {', '.join(shipped())}"
        )
    raise unknown("model", str(model), shipped())


def read_metadata(path: Path) -> dict[str, Any]:
    """The checked metadata of a checkpoint, without its weights (and without torch).

    Raises:
        InputError: the file is not a checkpoint of this library, or its metadata is damaged or too new.
    """
    return _open(path, lambda file: _check(file.metadata(), path))


def _open(path: Path, use) -> Any:  # noqa: ANN001
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return use(file)
    except InputError:
        raise
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a readable safetensors file ({error}): copy or train it again") from None


def _check(metadata: dict[str, str] | None, path: Path) -> dict[str, Any]:
    try:
        facts = json.loads((metadata or {})[KEY])
        version, shape = facts["format"], facts["shape"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InputError(f"{path} is not a dae-sampler checkpoint: its metadata is missing or damaged") from None
    if version != FORMAT:
        cure = "train it again" if version in range(FORMAT) else "upgrade dae-sampler"
        raise InputError(f"{path} has format {version!r}, this version reads format {FORMAT}: {cure}")
    texts = all(isinstance(facts.get(key), str) for key in ("net", "corruption", "loss"))
    sizes = isinstance(shape, list) and len(shape) == 3 and all(type(s) is int and s > 0 for s in shape)
    if not (texts and sizes and shape[0] in (1, 3) and shape[0] * shape[1] * shape[2] <= MAX_PIXELS):
        raise InputError(f"{path} has damaged metadata: copy or train it again")
    info = facts.get("info")
    best = info.get("sampler", {"name": "", "steps": 1}) if isinstance(info, dict) else None
    named = isinstance(best, dict) and isinstance(best.get("name"), str)
    binary = isinstance(info, dict) and info.get("binarise") in (None, "dynamic", "threshold")
    if not (named and binary and type(best.get("steps")) is int and 0 < best["steps"] <= MAX_STEPS):
        raise InputError(f"{path} has damaged metadata about its data or sampler: copy or train it again")
    return facts


def _shapes(file) -> dict[str, tuple[int, ...]]:  # noqa: ANN001
    slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
    return {k: tuple(s.get_shape()) for k, s in slices.items() if s.get_dtype() in ("F64", "F32", "F16", "BF16")}


def _digest(weights: dict[str, torch.Tensor]) -> str:
    """SHA-256 of the names and bytes of all weights, which shows a damaged file that still looks like one."""
    import torch

    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(weight.contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def save(dae: DenoisingAutoencoder, path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write the model's weights and description to ``path``.

    Args:
        dae: the model; its ``info`` goes along.
        path: a ``.safetensors`` file.
        dtype: store the weights in this precision, for example ``torch.float16``; by default in their own.
    """
    from safetensors.torch import save_file

    weights = {k: v.detach().to("cpu", dtype or v.dtype).contiguous() for k, v in dae.state_dict().items()}
    facts = {
        "format": FORMAT,
        "net": dae.net_text,
        "corruption": str(dae.corruption),
        "shape": list(dae.shape),
        "loss": dae.objective,
        "labels": None,
        "sha256": _digest(weights),
        "info": dae.info,
    }
    with replacing(Path(path)) as temporary:
        save_file(weights, temporary, metadata={KEY: json.dumps(facts)})


def load(model: str | Path, device: str = "cpu", precision: str = "auto") -> DenoisingAutoencoder:
    """A trained model, ready to use.

    Args:
        model: a shipped name such as ``"mnist"``, a ``.safetensors`` file, or a run folder.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the device is good at it.

    Raises:
        InputError: there is no such model, or its file does not hold one.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from .dae import DenoisingAutoencoder
    from .device import pick_device, pick_precision

    path = resolve(model)
    facts = read_metadata(path)
    arguments = facts["net"], facts["corruption"], tuple(facts["shape"]), facts["loss"]
    stored = _open(path, _shapes)
    with torch.device("meta"):  # costs no memory, however large a net a damaged file describes
        needed = {k: tuple(v.shape) for k, v in DenoisingAutoencoder(*arguments).state_dict().items()}
    if stored != needed:
        odd = next(iter(sorted(set(stored.items()) ^ set(needed.items()))))[0]
        raise InputError(f"{path} has weights that do not fit {facts['net']} (first at {odd}): copy or train it again")
    dae = DenoisingAutoencoder(*arguments)
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}): copy or train it again") from None
    if _digest(weights) != facts.get("sha256"):
        raise InputError(f"{path} has weights that are not those it was saved with: copy or train it again")
    dae.load_state_dict(weights)
    target = pick_device(device)
    dae.info, dae.precision = facts["info"], pick_precision(precision, target)
    return dae.to(target).eval().requires_grad_(False)
