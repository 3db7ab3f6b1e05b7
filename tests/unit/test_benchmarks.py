"""Benchmarks as programs: an error of the user's in one line, all figures as JSON, no file named that is not there."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import peers, pg_maml, program, solver_settings
from benchmarks.emulator_report import reporting
from esmaml_robot import meta
from esmaml_robot.checkpoint import Checkpoint, RunFolder, save_checkpoint
from esmaml_robot.cli.settings import run_config
from esmaml_robot.moments import Moments
from esmaml_robot.policy import Normaliser
from esmaml_robot.report.adaptations import MethodPaths

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sinusoid(tmp_path):
    """A run on a family that no benchmark of robots can use."""
    config = run_config("sinusoid", seed=0)
    folder = RunFolder(tmp_path / "sinusoid")
    folder.create(config)
    state = meta.start(np.zeros(config.policy.dimension, np.float32))
    save_checkpoint(folder.checkpoint_file(0), Checkpoint(config, state, Normaliser.identity(1), Moments.empty(1)))
    return folder.path


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("sim_throughput --families four_corners nope", 2, "no task family 'nope'"),
        ("sim_throughput --families sinusoid", 2, "sinusoid has no simulated robot"),
        ("solver_settings --families ant_direction nope", 2, "no task family 'nope'"),
        ("solver_settings --families four_corners", 2, "those that have: cheetah_direction, "),
        ("solver_settings --families ant_direction --policies 1", 2, "--policies 1"),
        ("solver_settings --run {tmp}/missing", 1, "missing holds no checkpoint"),
        ("pg_maml --es {tmp}/missing", 1, "missing holds no checkpoint"),
        ("pg_maml --es {tmp}/sinusoid", 2, "is a run on sinusoid"),
        ("peers --venv /proc/x", 2, "--venv /proc/x: no virtual environment can be made there"),
        ("peers --venv {tmp}/venv --families nope", 2, "no task family 'nope'"),
        ("peers --venv {tmp}/venv --families sinusoid", 2, "sinusoid has no simulated robot"),
    ],
)
def test_an_error_of_the_user_s_is_one_line(command, code, says, sinusoid, tmp_path, monkeypatch, capsys):
    name, *arguments = command.format(tmp=tmp_path).split()
    monkeypatch.setattr(sys, "argv", [name, *arguments, "--json", str(tmp_path / "figures.json")])
    assert importlib.import_module(f"benchmarks.{name}").main() == code
    said = capsys.readouterr().err
    assert said.startswith("esmaml: ")
    assert says in said
    assert said.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["sinusoid"]


def test_solver_settings_of_few_policies_have_no_speed(tmp_path, monkeypatch, capsys):
    """All of them stand side by side in the first batch, which is not timed."""
    ticks = np.zeros((101, 10, 2))
    runs = iter([([0.1, 0.3], 0.0), ([0.2, 0.3], 0.0), ([0.2, 0.3], 0.0)])
    monkeypatch.setattr(
        solver_settings, "_run", lambda *_: (lambda returns, s: (np.array(returns), ticks, s))(*next(runs))
    )
    file = tmp_path / "new" / "solver.json"
    arguments = ["--families", "quadruped_direction", "--policies", "2", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["solver_settings", *arguments])
    assert solver_settings.main() == 0
    assert "not timed" in capsys.readouterr().out
    figures = json.loads(file.read_text())["quadruped_direction"]
    assert figures["speed"] is None
    assert figures["rms_difference"] == pytest.approx(np.sqrt(0.01 / 2) / 0.05)


def test_figures_that_cannot_be_written_are_one_line(capsys):
    @program.in_one_line
    def main():
        program.write_json(Path("/proc/x/figures.json"), {})
        return 0

    assert main() == 1
    assert capsys.readouterr().err.startswith("esmaml: cannot create the folder /proc/x: ")


def test_the_peers_figures_come_with_their_versions(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "prepare", lambda folder: {})
    monkeypatch.setattr(
        peers, "measure", lambda *_: {"esmaml-robot": 200.0, "evotorch": 100.0, "evosax": "does not start"}
    )
    listed = json.dumps([{"name": "evotorch", "version": "0.6.1"}, {"name": "numpy", "version": "2"}])
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=listed))
    file = tmp_path / "peers.json"
    monkeypatch.setattr(
        sys, "argv", ["peers", "--venv", str(tmp_path), "--families", "four_corners", "--json", str(file)]
    )
    assert peers.main() == 0
    figures = json.loads(file.read_text())
    assert figures["versions"] == {"evotorch": "0.6.1"}
    assert figures["steps_per_second"]["four_corners"]["evotorch"] == 100.0


def test_what_the_text_says_of_the_picture_of_four_corners():
    path = np.array([[1.0, 1.0], [1.0, 2.0], [4.0, 5.0]], np.float32)
    before, after = np.float32([-400, -400, -399, -300]), np.float32([-400, -100, -99, -30])
    method = MethodPaths("PG-MAML", "", "", path, [], [], [], before, after)
    assert pg_maml.explored(method, -400.0) == {
        "label": "PG-MAML",
        "centre_ends_m_from_start": 5.0,
        "share_at_lowest_return": {"before": 0.5, "after": 0.25},
    }


def test_the_emulator_is_asked_for_its_report_beside_its_own_options(tmp_path):
    firmware = SimpleNamespace(command=("/bin/echo", "an image"))
    (script,) = reporting(firmware, tmp_path, tmp_path / "a report.json")
    said = subprocess.run([script, "--plant-fd", "3"], capture_output=True, text=True, check=True).stdout
    assert said.strip() == f"an image --report {tmp_path}/a report.json --plant-fd 3"


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks").rglob("*.py")), ids=lambda file: file.stem)
def test_results_that_a_benchmark_names_are_there(file):
    for named in re.findall(r"docs/results/\w+\.json", file.read_text(encoding="utf-8")):
        assert (ROOT / named).is_file(), named
