"""Tables that commands read and write: a row for each picture, first the column ``file``."""

from __future__ import annotations

import csv
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import check_writable, replacing
from .folder import bare

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


def read_column(path: Path, column: str) -> dict[str, str]:
    """The values of ``column`` in a CSV whose first column is ``file``, by file.

    Raises:
        InputError: it cannot be read, has other columns, or names a file twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            names = rows.fieldnames or []
            if names[:1] != ["file"] or column not in names:
                raise InputError(f"{path} begins with {','.join(names)!r}: its first line has to be file,{column}")
            found: dict[str, str] = {}
            for row in rows:
                name = Path(row["file"] or "").as_posix()
                if name in found:
                    raise InputError(f"{path} names {name} twice: leave one of them")
                found[name] = row[column] or ""
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path} as a CSV file ({error}): give a text file file,{column}") from None
    return found


class Table:
    """The values of a column by picture.

    Args:
        path: the CSV file; ``file`` is a path relative to the folder of pictures, or the index in an array.
        column: its name.

    Raises:
        InputError: the file cannot be read, has other columns, or names a file twice.
    """

    def __init__(self, path: Path, column: str) -> None:
        self.path, self.values = path, read_column(path, column)
        seen = Counter(map(bare, self.values))
        self.bare = {bare(name): value for name, value in self.values.items() if seen[bare(name)] == 1}

    def __getitem__(self, name: str) -> str:
        """The value of a picture, whose ``name`` may be with or without its extension.

        Raises:
            InputError: the file does not name it.
        """
        index = str(int(name)) if name.isdecimal() else name
        for values, key in ((self.values, name), (self.values, index), (self.bare, name), (self.bare, bare(name))):
            if key in values:
                return values[key]
        raise InputError(f"{self.path} has no line for {name}: add one")
