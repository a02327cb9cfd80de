"""Picture files read whole and written again: every page, the depth, the channels, the alpha and the metadata.

A restored picture comes out as it went in, but for its pixels.
"""

from ...lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "PictureFile": "picture",
        "default_suffix": "writing",
        "enlarged": "enlarging",
        "read_file": "reading",
        "write_like": "writing",
    },
)
