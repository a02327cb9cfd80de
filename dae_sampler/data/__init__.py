"""Images read for training and for a model: named sets, folders, pictures and arrays."""

from ..lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__, {"NAMED": "named", "Batch": "dataset", "Dataset": "dataset", "load": "named"}
)
