"""docs/fixed_point.md says what the code does and what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fixed_loop import table as loop_table
from benchmarks.fixed_point import figures, proven
from benchmarks.frozen_firmware import table as frozen_table
from esmaml_robot.policy import Normaliser, Policy, PolicySpec, initial_theta
from esmaml_robot.robot_spec import load_robot
from firmware_export.fixed_stages import KINDS
from firmware_export.fixed_table import DOMAIN, SEGMENTS, tanh_table

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/fixed_point.md").read_text()


def results(name):
    return json.loads((ROOT / f"docs/results/{name}.json").read_text())


def test_figures_are_those_of_the_results():
    measured = results("fixed_point")
    assert figures(measured["measured"]) in DOCUMENT
    assert proven(measured["proofs"]) in DOCUMENT
    assert loop_table(results("fixed_loop")) in DOCUMENT
    assert frozen_table(results("frozen_firmware")) in DOCUMENT


def test_every_program_gave_the_bits_of_the_model():
    measured = results("fixed_point")
    assert {p["machine"] for p in measured["proofs"]} == {"host", "cortex_m4f", "atmega328p"}
    for proof in measured["proofs"]:
        assert proof["networks"] == 200
        assert proof["different"] == proof["selftests_failed"] == []


@pytest.mark.parametrize("fraction", [15, 14, 13, 12])
def test_the_errors_of_the_table(fraction):
    head, row = re.search(r"\| bits behind the point (.*)\n\|[-|]+\n\| error (.*)\n", DOCUMENT).groups()
    said = dict(zip(*([cell.strip() for cell in line.strip("| ").split("|")] for line in (head, row)), strict=True))
    assert float(said[str(fraction)]) == pytest.approx(tanh_table(fraction).error, rel=0.04)  # two digits


def test_what_the_table_and_the_refusals_say():
    assert f"tanh on [\N{MINUS SIGN}{DOMAIN:.0f}, {DOMAIN:.0f}] in {SEGMENTS} segments" in DOCUMENT
    for kind in KINDS:
        assert f"| {kind.replace('_', ' ')} |" in DOCUMENT


def test_the_example_runs(tmp_path):
    spec = load_robot("rover_uno")
    layout = PolicySpec(inputs=2, outputs=2, hidden=(8,))
    policy = Policy(layout, initial_theta(layout, "scaled", 1.0, 3), Normaliser.identity(2))
    code = re.search(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)[1]
    printed: list[str] = []
    exec(code, {"spec": spec, "policy": policy, "folder": tmp_path, "print": lambda *a, **_: printed.extend(a)})
    assert (tmp_path / "fixed.c").is_file()
    assert any("% of 32 bits" in line for line in printed)
    assert np.isfinite(policy.theta).all()
