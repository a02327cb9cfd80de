"""The one exception for bad input: its message is a sentence that names the cause and the cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the caller can mend. The command line prints it and exits with code 2."""


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """An error for a name outside ``known``, with the nearest match."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"
    return InputError(f"unknown {what} {name!r}: {hint}")
