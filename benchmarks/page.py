"""Tables in the pages of docs/, each between ``<!-- name -->`` and ``<!-- end -->``, written by what measured them."""

import json
from collections.abc import Iterable
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def fill(page: Path, name: str, header: Iterable[str], rows: Iterable[Iterable[object]], seconds: float = 0) -> None:
    """Write a table into ``page``, and print it, for machines too."""
    header, rows = list(header), [list(row) for row in rows]
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
    before, found, rest = page.read_text().partition(f"<!-- {name} -->\n")
    if not found:
        raise SystemExit(f"{page} has no place for the table {name}")
    made = f"\n\nMade in {seconds:.0f} s." if seconds else ""
    page.write_text(f"{before}{found}{table}{made}\n<!-- end -->{rest.partition('<!-- end -->')[2]}")
    print(table)
    print(json.dumps({name: {"header": header, "rows": rows, "seconds": seconds}}, ensure_ascii=False), flush=True)
