"""Small CSV files that say one thing of each picture: a header, the column ``file``, and the one that is wanted."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from ..errors import InputError


class Table:
    """The values of a column by picture.

    Args:
        path: the CSV file; ``file`` is a path relative to the folder of pictures, or the index in an array.
        column: its name.

    Raises:
        InputError: the file cannot be read, has other columns, or names a file twice.
    """

    def __init__(self, path: Path, column: str) -> None:
        self.path, self.values = path, _read(path, column)
        seen = Counter(_bare(name) for name in self.values)
        self.bare = {_bare(name): value for name, value in self.values.items() if seen[_bare(name)] == 1}

    def __getitem__(self, name: str) -> str:
        """The value of a picture, whose ``name`` may be with or without its extension.

        Raises:
            InputError: the file does not name it.
        """
        index = str(int(name)) if name.isdecimal() else name
        for values, key in ((self.values, name), (self.values, index), (self.bare, name), (self.bare, _bare(name))):
            if key in values:
                return values[key]
        raise InputError(f"{self.path} has no line for {name}: add one")


def _bare(name: str) -> str:
    return Path(name).with_suffix("").as_posix()


def _read(path: Path, column: str) -> dict[str, str]:
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
