"""Training: the recipe, the loop that follows it, the run folder it leaves behind, and the job that ties them."""

from __future__ import annotations

from ..lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Job": "recipe",
        "Recipe": "recipe",
        "Run": "run",
        "StopTraining": "progress",
        "TrainingInterrupted": "progress",
        "fit": "loop",
        "validate": "validation",
    },
)
