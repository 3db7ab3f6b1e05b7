"""The report of an export: real compilers and emulators, and what it says where one of them is not there."""

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import RobotSpec, load_robot
from firmware_export import report as reporting
from firmware_export.frozen_policy import freeze
from firmware_export.report import CHIPS, measure_policy, write_report
from firmware_export.report_policy import case_of

FORMATS = ("float32", "int16", "int8")


def measured(policy, spec, *targets):
    report = measure_policy(policy, spec, lambda arithmetic: freeze(policy, spec, arithmetic), targets)
    return report, {(row.target, row.arithmetic): row for row in report.rows}


def random_policy(spec, **layout):
    layout = PolicySpec(inputs=len(spec.observed), outputs=len(spec.actuators), **layout)
    theta = np.random.default_rng(3).normal(scale=0.4, size=layout.dimension).astype(np.float32)
    return Policy(layout, theta, Normaliser.identity(layout.inputs))


def test_the_command_measures_every_chip_in_every_format(make_run, esmaml, tmp_path):
    run = make_run(tmp_path / "run")
    printed = json.loads(esmaml("export", run, "--meta", "--c", "--samples", "100", "--report", "--json").stdout)
    folder = run / "export"
    stored = json.loads((folder / "report.json").read_text())
    assert printed["report"] == stored
    rows = {(row["target"], row["arithmetic"]): row for row in stored["rows"]}
    assert list(rows) == [(target, form) for target in CHIPS for form in FORMATS]
    text = (folder / "report.md").read_text()
    for row in rows.values():
        assert not row["missing"], row
        assert row["flash"] > 500
        assert row["stack"] > 0
        assert f"| {row['target']} | {row['arithmetic']} | {row['flash']:,} |" in text
    uno = {form: rows["atmega328p", form] for form in FORMATS}
    # the kernel in assembler takes the same path always; limits are comparisons
    assert uno["int16"]["least"] > 0.99 * uno["int16"]["most"]
    assert uno["float32"]["least"] > 8 * uno["int16"]["most"]
    assert uno["int16"]["microseconds"] == pytest.approx(uno["int16"]["most"] / 16)
    m4 = {form: rows["cortex-m4f", form] for form in FORMATS}
    assert m4["int16"]["most"] < m4["float32"]["most"]
    for form in FORMATS:  # the same bits have the same error
        assert len({rows[target, form]["max_error"] for target in CHIPS}) == 1
    # float32 is exact but for the rounding to counts, which all formats have
    assert 0.9 < uno["float32"]["max_error"] / stored["half_count"] < 1.001
    assert stored["half_count"] < uno["int16"]["max_error"] < uno["int8"]["max_error"] < 0.05
    assert imread(io.BytesIO((folder / "report.png").read_bytes()), format="png").shape[1] > 1000


def test_a_missing_tool_leaves_its_rows_out_with_the_command_that_installs_it(tmp_path, monkeypatch):
    for program in ("cc", "gcc", "as", "ld", "size", "objdump"):
        (tmp_path / program).symlink_to(shutil.which(program))
    monkeypatch.setenv("PATH", str(tmp_path))
    spec = load_robot("rover_uno")
    report, rows = measured(random_policy(spec, hidden=(4,)), spec, *CHIPS)
    for form in FORMATS:
        assert rows["host", form].flash > 0
        assert "sudo apt-get install gcc-avr avr-libc" in rows["atmega328p", form].missing
        assert "sudo apt-get install gcc-arm-none-eabi" in rows["cortex-m4f", form].missing
    (text, _, _) = write_report(report, tmp_path / "out")
    assert "avr-gcc not installed" in text.read_text()


def test_a_clock_and_unsigned_counts_have_the_same_bits_on_chips(tmp_path):
    cheetah = load_robot("half_cheetah")
    report, rows = measured(random_policy(cheetah, hidden=(6,), clock_steps=12), cheetah, "cortex-m4f")
    assert not any(row.missing for row in report.rows), report.rows
    assert rows["cortex-m4f", "int16"].max_error < 0.01
    part = {"unit": "1", "scale": 1e-4}
    spec = RobotSpec.model_validate(
        {
            "format": 1, "name": "unsigned", "control_rate_hz": 100, "physics_rate_hz": 100,
            "episode": {"steps": 10, "reset": "self"}, "watchdog": {"hold_ms": 20, "release_ms": 40},
            "sensors": [
                part | {"name": n, "source": f"s.{n}", "observed": True, "counts": [0, 65535], "offset": -3.0,
                        "range": [-2.5, 3.0]} for n in "ab"
            ],
            "actuators": [
                part | {"name": n, "sink": f"a.{n}", "rate_limit": 1000, "hold": "last", "safe": 0,
                        "offset": -3.0, "counts": [0, 65535], "range": [-2.0, 3.0]} for n in "uv"
            ],
            "reward": {"terms": [{"kind": "constant", "weight": 1.0}]},
        }
    )  # fmt: skip
    report, rows = measured(random_policy(spec, hidden=(5,)), spec, "atmega328p")
    assert not any(row.missing for row in report.rows), report.rows
    assert rows["atmega328p", "int16"].max_error < 1e-3


def test_what_has_no_form_in_integers_says_so(tmp_path):
    spec = load_robot("rover_uno")
    report, rows = measured(random_policy(spec, hidden=(4,), action_filter=0.3), spec, "host")
    assert "action filter" in rows["host", "int16"].missing
    assert "action filter" in rows["host", "int8"].missing
    assert rows["host", "float32"].max_error < 1.001 * report.half_count


def test_other_bits_than_those_of_numpy_are_no_figures(monkeypatch):
    def spoilt(policy, spec, frozen):
        case = case_of(policy, spec, frozen)
        outputs = case.outputs.copy()
        outputs[5, 1] += 1
        return replace(case, outputs=outputs)

    monkeypatch.setattr(reporting, "case_of", spoilt)
    spec = load_robot("rover_uno")
    _, rows = measured(random_policy(spec, hidden=(4,)), spec, "host")
    assert all("other bits than numpy" in row.missing and row.flash == 0 for row in rows.values())
