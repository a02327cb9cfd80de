"""Whether images, model and recipe go together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from ..card import CODE
from ..dae import DenoisingAutoencoder
from ..data.crops import Crops
from ..data.dataset import Dataset, as_dataset
from ..data.items import Items
from ..errors import InputError
from ..nets import stages_of
from ..pixels import fits
from .recipe import Recipe


def fitting(
    dae: DenoisingAutoencoder, images: Any, damaged: Tensor | np.ndarray | None, target: str, recipe: Recipe
) -> tuple[Dataset | Crops | Items, Recipe]:
    """The images as a data set, if the model takes them, and the recipe as the corruption wants it.

    Raises:
        InputError: they do not go together.
    """
    q = dae.corruption
    dataset: Dataset | Crops | Items
    if isinstance(images, Dataset | Crops | Items):
        dataset = images
    elif isinstance(images, Tensor | np.ndarray):
        dataset = as_dataset(images, target="noisy" if q.self_supervised else target, damaged=damaged)
    else:
        dataset = Items.of(images)
    if q.paired != dataset.has_pairs:
        there = "images without partners: give these as `damaged`" if q.paired else "pairs: their `corruption` is given"
        raise InputError(f"{q} does not go with {there}")
    if recipe.binarise and (dataset.has_pairs or dataset.target != "clean"):
        raise InputError("pairs and noisy images cannot be made binary: leave out `binarise`")
    if not fits(dataset.shape, dae.shape):
        raise InputError(f"the images are {dataset.shape}, the model takes {dae.shape}: (C, H, W)")
    if recipe.l1 and CODE not in stages_of(dae.net):
        raise InputError(f"`l1` makes a code sparse, and {dae.card.net} has none: choose `net` conv or dense")
    labels = None if isinstance(dataset, Items) else dataset.labels
    if dae.card.labels and (labels is None or labels.names != dae.card.labels):
        given = "none" if labels is None else ", ".join(labels.names)
        raise InputError(f"the model knows the labels {', '.join(dae.card.labels)}, the images have {given}: give them")
    if labels and not isinstance(dataset, Items) and not dae.card.labels:
        dataset = replace(dataset, labels=None)
    if q.binary and not recipe.binarise:
        recipe = replace(recipe, binarise="dynamic")
    return dataset, recipe
