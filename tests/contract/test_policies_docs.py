"""docs/policies.md against the code: every field is there, and the numbers of parameters are right."""

from __future__ import annotations

import re
from pathlib import Path

from esmaml_robot.policy import PolicySpec
from firmware_export.onnx_model import ACTION_NAME, CLOCK_NAME, PREVIOUS_NAME

TEXT = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")


def test_every_field_is_documented():
    table = TEXT.split("## What is computed")[0]
    documented = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert documented == [name for name in PolicySpec.model_fields if name not in ("inputs", "outputs")]


def test_numbers_of_parameters_are_right():
    kinds = [{}, {"layers": "toeplitz"}, {"layers": "low_displacement", "displacement_rank": 1}]
    counted = [PolicySpec(inputs=28, outputs=8, hidden=(32, 32), **kind).dimension for kind in kinds]
    table = TEXT.split("## Compact layers")[1].split("Z_f(v)")[0]
    assert [int(n) for n in re.findall(r"\| (\d+)(?: parameters| for r = 1)? \|$", table, re.MULTILINE)] == counted


def test_inputs_and_outputs_of_the_graph_are_documented():
    table = TEXT.split("## In ONNX")[1].split("## In C")[0]
    assert re.findall(r"^\| (?:input|output) `(\w+)` \|", table, re.MULTILINE) == [
        CLOCK_NAME,
        PREVIOUS_NAME,
        ACTION_NAME,
    ]
