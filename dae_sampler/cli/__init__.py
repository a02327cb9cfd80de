"""The command line: it words things. Each command resolves its options, calls the library, and shows what it returned.

torch is imported inside the commands, so that ``--help`` need not wait for it.
"""

from __future__ import annotations

from .app import main

__all__ = ["main"]
