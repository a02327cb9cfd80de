"""Sampling: a model's samplers, applied to noise or to images.

:mod:`.samplers` has the samplers and the one table that names them, :mod:`.plan` what is decided before the first step,
:mod:`.tasks` the tasks as iterators of batches, :mod:`.functions` the public functions that collect them.
"""

from __future__ import annotations

from ..lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Plan": "plan",
        "resolve": "plan",
        "State": "samplers",
        "SAMPLERS": "samplers",
        "Guided": "guidance",
        "KnownPixels": "guidance",
        "Measured": "guidance",
        "Operator": "linear",
        "Pair": "linear",
        "Mask": "operators",
        "denoise": "functions",
        "inpaint": "functions",
        "refine": "functions",
        "restore": "functions",
        "sample": "functions",
    },
)
