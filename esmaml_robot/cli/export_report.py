"""`esmaml export --report`: what the policy takes on each chip in each format, written beside the export."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..policy import Policy
from ..policy_frozen import Arithmetic
from ..robot_spec import RobotSpec
from .common import err, out, own_package, plain_table
from .freezing import observed_in_episodes


def write_report(policy: Policy, spec: RobotSpec, run: Path, folder: Path) -> Any:
    """firmware_export.report's Report of a policy, written into `folder`."""
    own_package("firmware_export")
    reporting = importlib.import_module("firmware_export.report")
    freeze = importlib.import_module("firmware_export.frozen_policy").freeze
    with err.status("running episodes that calibrate int16 and int8") as status:
        seen = observed_in_episodes(policy, run)

        def frozen(arithmetic: Arithmetic) -> Any:
            return freeze(policy, spec, arithmetic, seen)

        report = reporting.measure_policy(policy, spec, frozen, told=status.update)
    reporting.write_report(report, folder)
    return report


def show_report(report: Any, folder: Path) -> None:
    """The table, and where it lies."""
    reporting = importlib.import_module("firmware_export.report")
    table = plain_table(*reporting.HEADINGS, words=2, title=f"{report.robot}: counts to counts, measured")
    missing = [row for row in report.rows if row.missing]
    for row in report.rows:
        if not row.missing:
            table.add_row(*reporting.cells_of(row))
    out.print(table)
    for row in missing:
        out.print(f"{row.target}, {row.arithmetic}: {row.missing}", highlight=False, markup=False)
    out.print(f"{folder / 'report.md'}: the same with its terms, report.json and report.png beside it", highlight=False)
