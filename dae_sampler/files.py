"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from .errors import InputError

PREFIX = ".dae-sampler-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; on success it is synced to disk and renamed to ``path``.

    Whatever interrupts the block, ``path`` holds either its old content or all of the new. Only a killed process
    leaves its temporary file; :func:`sweep` removes it.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=PREFIX, suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose another place with --out") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot write {path}: {reason}; free some space or choose another place") from None
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes left in ``folder``, at any depth."""
    for left in folder.rglob(f"{PREFIX}*"):
        left.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_writable(path: Path) -> None:
    """Refuse a place that cannot be written, before the work for it is done.

    Raises:
        InputError: naming the folder that is in the way.
    """
    place = next(p for p in path.absolute().parents if p.exists())
    if not os.access(place, os.W_OK):
        raise InputError(f"cannot write {path}: {place} is not yours to write to; choose another --out")


@contextmanager
def locked(folder: Path, wait: bool) -> Iterator[None]:
    """Keep other processes that ask for the lock of ``folder`` out; released however this process ends.

    Raises:
        BlockingIOError: another process has it, and ``wait`` is false.
        InputError: the file system has no locks.
    """
    import fcntl

    handle = os.open(folder, os.O_RDONLY)  # the folder itself, so that no lock file is left behind
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError as error:
            raise InputError(f"cannot lock {folder}: {error.strerror}; choose a folder on a local disk") from None
        yield
    finally:
        os.close(handle)
