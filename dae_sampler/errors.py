"""The one exception for bad input: its message is a sentence that names the cause and the cure."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Iterable
from typing import Any


class InputError(ValueError):
    """Something the caller can mend. The command line prints it and exits with code 2.

    A message names parameters in backquotes, `like_this`, which the command line shows as options, --like-this.
    """


UNTOLD = "this model knows no labels: train one with `labels` auto"


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """An error for a name outside ``known``, with the nearest match."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"
    return InputError(f"unknown {what} {name!r}: {hint}")


def import_name(text: str, parameter: str) -> Any:
    """What ``module:name`` names, imported, also from the current folder. Only for texts that the user wrote.

    Raises:
        InputError: there is no such module, it fails, or it has nothing of that name.
    """
    module, _, name = text.partition(":")
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # it is the user's code
        raise InputError(f"cannot import {text} ({type(error).__name__}: {error}): check `{parameter}`") from None
    finally:
        sys.path.remove(here)
