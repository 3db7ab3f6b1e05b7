"""What a person reads in a terminal of 80 columns, and in a file that output is sent to."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from rich.console import Console
from typer.testing import CliRunner

from esmaml_robot import __version__
from esmaml_robot.cli.baselines import pg_table
from esmaml_robot.cli.common import plain_table
from esmaml_robot.cli.evaluate import comparison_table
from esmaml_robot.cli.main import app
from esmaml_robot.comparison import Row
from esmaml_robot.scoring import Estimate
from firmware_export.report import HEADINGS

LABELS = ("ES-MAML", "domain randomisation *", "untrained (initial theta) *")


def shown(table):
    said = io.StringIO()
    Console(width=80, file=said).print(table)
    return said.getvalue()


@pytest.mark.parametrize("table", [comparison_table, pg_table])
def test_labels_and_figures_of_a_comparison_are_whole(table):
    rows = [
        Row(label, 0.15, 1_000_000, Estimate(-1314.8, 131.9, 128), Estimate(-1214.5, 99.5, 128), 0.25)
        for label in LABELS
    ]
    text = shown(table(rows, 128, 21))
    assert "…" not in text
    for part in (*LABELS, "-1314.8", "131.9", "-1214.5", "1000000"):
        assert part in text


def test_a_report_of_each_chip_is_whole():
    table = plain_table(*HEADINGS, words=2, title="rover_uno")
    table.add_row(*("cortex-m4f", "float32", "11,568", "180", "no bound", "696 .. 704 instructions", "28.2", "5.0e-04"))
    table.add_row(
        *("atmega328p", "float32", "23,362", "1,178", "126", "136,431 .. 137,243 cycles", "12,328", "5.0e-04")
    )
    text = shown(table)
    assert "…" not in text
    for part in ("cortex-m4f", "atmega328p", "instructions", "137,243", "12,328", "5.0e-04"):
        assert part in text


def test_every_figure_of_the_installation_has_a_name():
    text = " ".join(CliRunner().invoke(app, ["info"]).stdout.split())
    assert "spec_hash 48c1730518cbb12e, control_rate_hz 10" in text
    assert "sinusoid: no robot" in text


@pytest.mark.parametrize(
    "command",
    [["robot", "list", "--json"], ["tasks"], ["tasks", "--json"], [], ["--help"], ["play", "--help"], ["--version"]],
)
def test_output_that_finds_no_space_is_one_line(command):
    with open("/dev/full", "w") as full:
        program = [sys.executable, "-c", "from esmaml_robot.cli.main import run; run()", *command]
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("esmaml: no space left to write to; ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "said"), [(("eval", "run"), "interrupted."), (("train",), "interrupted; what was finished is saved")]
)
def test_ctrl_c_promises_what_the_command_can_keep(monkeypatch, command, said):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("esmaml_robot.cli.evaluate.RunFolder", interrupted)
    monkeypatch.setattr("esmaml_robot.cli.train.run_config", interrupted)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 130
    assert said in done.stderr


def test_commands_begin_without_what_only_pictures_and_training_need():
    heavy = ("matplotlib", "pybullet", "onnxruntime", "torch", "sklearn", "gymnasium")
    program = f"import sys, esmaml_robot.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_version():
    done = subprocess.run(
        [sys.executable, "-c", "from esmaml_robot.cli.main import run; run()", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == f"esmaml {__version__}\n"
