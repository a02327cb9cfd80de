"""Denoising autoencoders, trained with binary cross-entropy, that generate, restore and score images.

>>> import dae_sampler
>>> dae = dae_sampler.load("mnist")                                              # doctest: +SKIP
>>> digits = dae_sampler.sample(dae, n=64, seed=0)                               # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import exports

if TYPE_CHECKING:
    from . import data as data
    from .card import Card as Card
    from .checkpoint import load as load
    from .checkpoint import save as save
    from .corruption.base import Corrupted as Corrupted
    from .corruption.base import Corruption as Corruption
    from .dae import DenoisingAutoencoder as DenoisingAutoencoder
    from .errors import InputError as InputError
    from .evaluation.report import evaluate as evaluate
    from .sampling import guidance as guidance
    from .sampling.functions import denoise as denoise
    from .sampling.functions import inpaint as inpaint
    from .sampling.functions import refine as refine
    from .sampling.functions import restore as restore
    from .sampling.functions import sample as sample
    from .training.loop import fit as fit
    from .training.progress import StopTraining as StopTraining
    from .training.recipe import Recipe as Recipe
    from .training.run import Run as Run

__version__ = "0.3.0"

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Card": "card",
        "Corrupted": "corruption.base",
        "Corruption": "corruption.base",
        "DenoisingAutoencoder": "dae",
        "InputError": "errors",
        "Recipe": "training.recipe",
        "Run": "training.run",
        "StopTraining": "training.progress",
        "data": "data",
        "denoise": "sampling.functions",
        "evaluate": "evaluation.report",
        "fit": "training.loop",
        "guidance": "sampling.guidance",
        "inpaint": "sampling.functions",
        "load": "checkpoint",
        "refine": "sampling.functions",
        "restore": "sampling.functions",
        "sample": "sampling.functions",
        "save": "checkpoint",
    },
)
