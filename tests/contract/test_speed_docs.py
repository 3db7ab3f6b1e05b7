"""docs/speed.md: the table of the loop beside the floor is what `benchmarks.sim_throughput` measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "speed.md").read_text(encoding="utf-8")
MEASURED = json.loads((DOCS / "results" / "sim_throughput.json").read_text(encoding="utf-8"))


def cells(family):
    """A row of the table out of the measurement, in the order of its columns."""
    m = MEASURED[family]
    one_each = f"x{m['over_one_each']:.1f}" if "over_one_each" in m else ""
    return [
        *(str(m["rows"]), str(m["robots_a_world"]), f"{m['ratio']:.2f}", f"{m['ratio_one_world']:.2f}", one_each),
        *(f"{m['useful']:.0%}".replace("%", " %"), f"{m['floor_2_over_1']:.2f}", f"{m['loop_2_over_1']:.2f}"),
    ]


def test_the_loop_beside_the_floor_is_as_measured():
    table = TEXT.partition("## The loop beside the floor")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [\w ,-]+ \((\w+_\w+)\) \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) == 7  # a row for each body
    for family, written in rows:
        assert [c.strip() for c in written.split("|")] == cells(family), family
