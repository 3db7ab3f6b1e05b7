"""The wheel as a user gets it: built, installed in an empty environment, run from another folder."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MINUTES = 60


def call(command, timeout=10 * MINUTES, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    # from a copy of what git tracks (or would): a build folder left over in the checkout must not leak into the wheel
    source = out / "source"
    files = call(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT).split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    call([sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(source)])
    (path,) = out.glob("*.whl")
    return path


def test_wheel_holds_the_packages_their_data_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {n.split("/")[0] for n in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {
        "esmaml_robot",
        "sim",
        "firmware_export",
        "hardware_configs",
    }
    for needed in (
        "esmaml_robot/py.typed",
        "hardware_configs/rover_uno.yaml",
        "firmware_export/runtime/firmware.c",
        "firmware_export/runtime/protocol.h",
        "firmware_export/boards/host/board.toml",
        "firmware_export/boards/host/hal_host.c",
        "firmware_export/dynamixel/servos.c",
        "firmware_export/dynamixel/servos.h",
        "firmware_export/templates/policy.c.j2",
    ):
        assert needed in names
    tracked = call(["git", "ls-files", "--cached", "--others", "--exclude-standard", "firmware_export"], cwd=ROOT)
    assert set(tracked.split()) <= set(names)


def test_installed_wheel_works_away_from_the_checkout(wheel, tmp_path):
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    esmaml = str(environment / "bin" / "esmaml")
    info = json.loads(call([esmaml, "info", "--json"], cwd=elsewhere, env=clean))
    assert set(info["robots"]) == {p.stem for p in (ROOT / "hardware_configs").glob("*.yaml")}
    summary = json.loads(call([esmaml, "demo", "--quick", "--json"], cwd=elsewhere, env=clean))
    assert summary["export"]["verify"]["bit_equal"] is True
    assert len(summary["adaptation"]["returns"]) == 21
    for name in ("story.png", "learning.png", "scores.png"):
        assert (elsewhere / "runs" / "demo" / name).read_bytes().startswith(b"\x89PNG")
    for name in ("policy.onnx", "policy.h", "policy.c"):
        assert (elsewhere / "runs" / "demo" / "export" / name).stat().st_size > 500


def test_a_foreign_sim_package_is_named(wheel, tmp_path):
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "__init__.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", "from esmaml_robot.cli.main import run; run()", "info"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=MINUTES,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert str(tmp_path / "sim") in done.stderr
    assert "Traceback" not in done.stderr
