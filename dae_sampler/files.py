"""Files written whole or not at all."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from .errors import InputError

PREFIX = ".dae-sampler-"
FEW = 8
"""Files up to which each is synced by itself: a sync of the file system waits for what other programs write, too."""


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A temporary path beside ``path`` to write to; on success it is synced to disk and renamed to ``path``.

    Whatever interrupts the block, ``path`` holds either its old content or all of the new. Only a killed process
    leaves its temporary file; :func:`sweep` removes it.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    with replacing_all() as place:
        yield place(path)


@contextmanager
def replacing_all() -> Generator[Callable[[Path], Path]]:
    """:func:`replacing` for many files, which share the wait for the disk.

    The block gets a function from the path of a file to its temporary path. On success all are synced to disk at once
    and then renamed one after the other: each path holds either its old content or all of the new.

    Raises:
        InputError: the disk is full, or a folder cannot be written.
    """
    pairs: list[tuple[Path, Path]] = []
    path = Path()

    def place(wanted: Path) -> Path:
        nonlocal path
        path = wanted
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=PREFIX, suffix=path.suffix, dir=path.parent)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}; choose another place") from None
        os.close(handle)
        pairs.append((path, Path(name)))
        return pairs[-1][1]

    try:
        yield place
        _sync([temporary for _, temporary in pairs])
        mode = 0o666 & ~_umask()
        for path, temporary in pairs:
            temporary.chmod(mode)
            temporary.replace(path)
        for folder in {path.parent for path, _ in pairs}:
            _sync_folder(folder)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot write {path}: {reason}; free some space or choose another place") from None
    finally:
        for _, temporary in pairs:
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes left in ``folder``, at any depth."""
    for left in folder.rglob(f"{PREFIX}*"):
        left.unlink(missing_ok=True)


def _sync(files: Sequence[Path]) -> None:
    """Have the content of new files on the disk: of a few one by one, of many by one sync of their file systems."""
    if len(files) <= FEW:
        for path in files:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        return
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)  # Linux; it reports what could not be written
    if syncfs is None:
        os.sync()
        return
    for folder in {path.parent.stat().st_dev: path.parent for path in files}.values():
        handle = os.open(folder, os.O_RDONLY)
        failed = syncfs(handle)
        os.close(handle)
        if failed:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


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
        raise InputError(f"cannot write {path}: {place} is not yours to write to; choose another place")


def check_apart(read: Iterable[Path], written: Iterable[Path]) -> None:
    """Refuse to write over what is read, also where it has another name (a link, other spelling).

    Args:
        read: the input files.
        written: the files to be written, which need not exist; the inputs are only looked at where some do.

    Raises:
        InputError: naming the output and the input that are one file.
    """
    places = {}
    for path in written:
        if found := _identity(path):
            places[found] = path
    for path in read if places else ():
        identity = _identity(path)
        if identity and (place := places.get(identity)):
            raise InputError(f"writing {place} would destroy the input {path}: choose another place for the results")


def _identity(path: Path) -> tuple[int, int] | None:
    """What two names of one file have in common; None without a file."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


@contextmanager
def locked(folder: Path, wait: bool) -> Generator[None]:
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


def is_for_file(out: Path) -> bool:
    """Whether results of this name go into one file: it has an extension, and is no folder."""
    return bool(out.suffix) and not out.is_dir()
