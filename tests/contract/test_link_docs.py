"""The tables of docs/link.md are what the results beside them say, and the page's numbers are the code's."""

import json

from benchmarks import faults, link
from esmaml_robot.bridge import black_box, clock

TEXT = faults.DOCUMENT.read_text(encoding="utf-8")


def test_the_tables_are_rendered_from_the_results():
    assert faults.table(json.loads(faults.RESULTS.read_text(encoding="utf-8"))) in TEXT
    assert link.tables(json.loads(link.RESULTS.read_text(encoding="utf-8"))) in TEXT


def test_no_published_fault_broke_a_promise():
    for board, rows in json.loads(faults.RESULTS.read_text(encoding="utf-8")).items():
        for kind, row in rows.items():
            assert not row["broken"], (board, kind)
            assert sum(row["endings"].values()) == row["injected"]


def test_numbers_of_the_page():
    assert f"the last {black_box.REMEMBERED} messages of each direction" in TEXT
    assert f"over the last {clock.KEPT} samples" in TEXT
    assert f"never less than {1e6 * clock.WANDER:.0f} ppm" in " ".join(TEXT.split())
    assert f"{clock.UNKNOWN_RATE:.0%} before anything is known".replace("%", " %") in " ".join(TEXT.split())
