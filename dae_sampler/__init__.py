"""Denoising autoencoders, trained with binary cross-entropy, that generate, restore and score images.

>>> import dae_sampler
>>> dae = dae_sampler.load("mnist")                                              # doctest: +SKIP
>>> digits = dae_sampler.sample(dae, n=64, seed=0)                               # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "DenoisingAutoencoder": "dae",
    "InputError": "errors",
    "Recipe": "training.loop",
    "Run": "training.run",
    "denoise": "sampling.tasks",
    "fit": "training.loop",
    "inpaint": "sampling.tasks",
    "load": "checkpoint",
    "refine": "sampling.tasks",
    "sample": "sampling.tasks",
    "save": "checkpoint",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    # Imported when first used, so that the command line answers --help without waiting for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
