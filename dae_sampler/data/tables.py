"""Tables that commands write: a row for each picture, first the column ``file``."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import check_writable, replacing

FORMATS = (".npz", ".csv", ".parquet")


def check(path: Path, formats: Sequence[str] = FORMATS) -> None:
    """Refuse a table that cannot be written, before the work for it is done.

    Raises:
        InputError: it has another extension, its package is missing, or its place cannot be written.
    """
    if path.suffix.lower() not in formats:
        raise InputError(f"cannot write a table to {path}: name it with {' or '.join(formats)}")
    if path.suffix.lower() == ".parquet" and not find_spec("pyarrow"):
        raise InputError("parquet needs the extra: pip install 'dae-sampler[parquet]'")
    check_writable(path)


def write_features(path: Path, names: Sequence[str], features: np.ndarray) -> None:
    """Write features (N, ...) of the files of these names, float32.

    ``.npz`` holds the arrays ``file`` (N,) and ``features``; ``.csv`` and ``.parquet`` have the column ``file`` and one
    for each of F features, ``f0``, ``f1`` and so on.

    Raises:
        InputError: the features are maps, which only ``.npz`` holds.
    """
    kind = path.suffix.lower()
    if kind == ".npz":
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:  # savez takes no name "file"
            for key, array in (("file", np.array(names)), ("features", features)):
                with archive.open(f"{key}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)
        return
    if features.ndim != 2:
        raise InputError(f"{path} holds one number a column, but maps were asked for: name an .npz file, or pool them")
    header = ["file", *(f"f{i}" for i in range(features.shape[1]))]
    if kind == ".csv":
        write_csv(path, header, ((name, *row) for name, row in zip(names, features.tolist(), strict=True)))
        return
    pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    readable = [name.encode(errors="backslashreplace").decode() for name in names]  # file names need not be text
    table = pyarrow.table([pyarrow.array(readable), *(pyarrow.array(column) for column in features.T)], header)
    with replacing(path) as temporary:
        parquet.write_table(table, temporary)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV; floats with seven digits, which is what float32 holds."""
    with replacing(path) as temporary, temporary.open("w", newline="", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([f"{v:.7g}" if isinstance(v, float) else v for v in row] for row in rows)
