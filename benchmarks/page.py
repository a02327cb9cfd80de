"""Tables in the pages of docs/, each between ``<!-- name -->`` and ``<!-- end -->``.

A script that measures a table writes it, and says in its ``TABLES`` which page each of its tables is on.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def fill(
    tables: Mapping[str, Path],
    name: str,
    header: Iterable[str],
    rows: Iterable[Iterable[object]],
    seconds: float = 0,
) -> None:
    """Write the table ``name`` into its page, and print it, once as it is and once as JSON."""
    page, header, rows = tables[name], list(header), [list(row) for row in rows]
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
    before, found, rest = page.read_text().partition(mark(name))
    if not found:
        raise SystemExit(f"{page} has no place for the table {name}")
    made = f"\n\nMade in {seconds:.0f} s." if seconds else ""
    page.write_text(f"{before}{found}{table}{made}\n<!-- end -->{rest.partition('<!-- end -->')[2]}")
    print(table)
    print(json.dumps({name: {"header": header, "rows": rows, "seconds": seconds}}, ensure_ascii=False), flush=True)


def mark(name: str) -> str:
    """The line in a page after which a table begins."""
    return f"<!-- {name} -->\n"
