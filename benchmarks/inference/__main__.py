"""One inference on a Cortex-M4F and an ATmega328P: instructions, cycles, flash, RAM, stack. One run, exact counts.

    python -m benchmarks.inference                          writes docs/results/inference.json and docs/inference.md
    python -m benchmarks.inference --systems emlearn --nets mlp8_32_4 --targets arm      prints only

Needs the cross compilers and emulators of `scripts/packages tools`, and `pip install '.[peers]'`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from firmware_export.report_sources import Refused
from firmware_export.report_targets import TARGETS, DidNotRun, measure

from .nets import SHAPES, VECTORS, make_net
from .systems import SYSTEMS
from .table import render

DOCS = Path(__file__).parents[2] / "docs"
PACKAGES = ("emlearn", "m2cgen", "scikit-learn")


def _tool_version(command: str) -> str:
    printed = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    found = re.search(r"\d+\.\d+(\.\d+)?", printed.split(")")[-1]) or re.search(r"\d+\.\d+(\.\d+)?", printed)
    return found[0] if found else printed


def versions() -> dict[str, str]:
    """Of everything that decides the figures."""
    tools = {name: _tool_version(name) for name in ("arm-none-eabi-gcc", "avr-gcc", "qemu-system-arm")}
    return tools | {name: importlib.metadata.version(name) for name in PACKAGES}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [target.name for target in TARGETS]
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--nets", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--targets", nargs="+", default=names, choices=names)
    options = parser.parse_args()
    targets = [target for target in TARGETS if target.name in options.targets]
    rows: list[dict[str, Any]] = []
    for net in map(make_net, options.nets):
        for system in options.systems:
            for target in targets:
                row: dict[str, Any] = {"net": net.name, "system": system, "target": target.name}
                try:
                    with tempfile.TemporaryDirectory() as folder:
                        row |= asdict(measure(target, net, SYSTEMS[system](net, target.name), Path(folder)))
                except (Refused, DidNotRun) as problem:
                    row["failed"] = str(problem)
                rows.append(row)
                print(row, flush=True)
    if (options.systems, options.nets, options.targets) != (list(SYSTEMS), list(SHAPES), names):
        return 0  # a part of it: the page stays what it is
    results = {
        "versions": versions(),
        "vectors": VECTORS,
        "targets": {target.name: {"title": target.title, "unit": target.unit} for target in targets},
        "rows": rows,
    }
    (DOCS / "results" / "inference.json").write_text(json.dumps(results, indent=2) + "\n")
    (DOCS / "inference.md").write_text(render(results))
    return 0


raise SystemExit(main())
