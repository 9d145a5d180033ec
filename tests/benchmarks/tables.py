"""Write the tables of docs/benchmarks.md anew, from the committed rows.

    python tests/benchmarks/tables.py

A test says when page and rows differ.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import balance, degradation, eurosat, floods, reliability, strength, worldcover

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BOARDS: dict[str, Callable[[], str]] = {
    "floods, few labels": partial(floods.table, "few labels"),
    "floods, one sensor": partial(floods.table, "one sensor"),
    "floods, all labels": partial(floods.table, "all labels"),
    "floods, some folds": floods.partial_table,
    "floods, across sensors": partial(floods.table, "across sensors"),
    "reliability": reliability.table,
    "strength": strength.table,
    "balance": balance.table,
    "land cover": worldcover.table,
    "pictures": eurosat.table,
    "degradation": degradation.table,
}


def fill(page: str) -> str:
    """Put each table between its marks."""
    for name, table in BOARDS.items():
        between = re.compile(f"(<!-- {name} -->\n)(?:.*?\n)??(<!-- end -->)", re.DOTALL)
        page, found = between.subn(lambda m, t=table: f"{m[1]}\n{t()}\n\n{m[2]}", page)  # type: ignore[misc]
        if found != 1:
            raise ValueError(f"docs/benchmarks.md has {found} places for {name}, not 1")
    return page


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text()))
