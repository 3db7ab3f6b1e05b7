"""docs/inference.md is its JSON, rendered; docs/networks.md names the operators that are read."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks.inference.systems import SYSTEMS
from benchmarks.inference.table import render
from firmware_export.onnx_nodes import HANDLERS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_its_figures():
    results = json.loads((DOCS / "results" / "inference.json").read_text())
    assert (DOCS / "inference.md").read_text() == render(results)
    assert {row["system"] for row in results["rows"]} == set(SYSTEMS)


def test_the_table_of_operators_is_what_is_read():
    section = (DOCS / "networks.md").read_text().split("## What is read")[1].split("##")[0]
    first = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(first))) == set(HANDLERS)
