"""Folders for the Arduino IDE and PlatformIO: the same bytes twice, whole or not there, nothing of the user's lost."""

from __future__ import annotations

import errno
import hashlib
import json
import os

import numpy as np
import pytest

from esmaml_robot import files
from esmaml_robot.errors import ExportError
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.arduino import export_arduino, render_arduino
from firmware_export.board_file import load_board, render_wiring, wiring_of

ROVER = load_robot("rover_uno")
LAYOUTS = ("arduino", "platformio")


def policy(seed=1, hidden=(8,), spec=ROVER):
    layout = PolicySpec(inputs=len(spec.observed), outputs=len(spec.actuators), hidden=hidden)
    theta = np.random.default_rng(seed).normal(scale=0.3, size=layout.dimension).astype(np.float32)
    return Policy(layout, theta, Normaliser.identity(layout.inputs))


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def write(folder, layout="arduino", seed=1, **options):
    return export_arduino(policy(seed, **options), options.get("spec", ROVER), folder, layout, samples=20)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_twice_the_same_bytes_and_a_manifest_of_them(layout, tmp_path):
    report = write(tmp_path / "a", layout)
    write(tmp_path / "deep" / "b", layout)
    first = contents(tmp_path / "a")
    assert first == contents(tmp_path / "deep" / "b")
    assert report.verify.bit_equal is True
    manifest = json.loads(first.pop("export.json"))
    assert manifest["policy_hash"] == policy().policy_hash
    assert {n: e["sha256"] for n, e in manifest["files"].items()} == {
        n: hashlib.sha256(data).hexdigest() for n, data in first.items()
    }
    root = "" if layout == "arduino" else "lib/esmaml_rover_uno/"
    assert {f"{root}library.properties", f"{root}src/core/policy.c", f"{root}src/esmaml_rover_uno.h"} <= set(first)
    assert ("platformio.ini" in first) == (layout == "platformio")
    assert not list(tmp_path.glob(".esmaml-*"))
    assert oct((tmp_path / "a").stat().st_mode & 0o777) == oct((tmp_path / "deep").stat().st_mode & 0o777)


def test_a_new_policy_replaces_the_old_one_and_keeps_what_the_user_changed(tmp_path):
    write(tmp_path / "a")
    pins = tmp_path / "a" / "examples" / "rover_uno" / "pins.h"
    pins.write_text(pins.read_text().replace("pin_x_a = 2;", "pin_x_a = 12;"))
    before = contents(tmp_path / "a")
    for seed in (2, 3):  # kept the second time as well
        report = write(tmp_path / "a", seed=seed)
        assert report.kept == ("examples/rover_uno/pins.h",)
        after = contents(tmp_path / "a")
        assert after["examples/rover_uno/pins.h"] == before["examples/rover_uno/pins.h"]
        assert policy(seed).policy_hash.encode() in after["src/core/policy.c"]
    write(tmp_path / "fresh", seed=3)
    fresh = contents(tmp_path / "fresh")
    assert {n for n in after if after[n] != fresh[n]} == {"examples/rover_uno/pins.h"}


def test_what_would_be_lost_or_does_not_belong_is_refused(tmp_path):
    write(tmp_path / "a")
    core = tmp_path / "a" / "src" / "core" / "safety.c"
    core.write_text(core.read_text() + "/* mine */\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years")
    for folder, words in (("a", "changed by hand, and would be lost"), ("full", "not empty and not an export")):
        before = contents(tmp_path / folder)
        with pytest.raises(ExportError, match=words):
            write(tmp_path / folder, seed=2)
        assert contents(tmp_path / folder) == before
    write(tmp_path / "b")
    sketch = tmp_path / "b" / "examples" / "rover_uno" / "rover_uno.ino"
    sketch.write_text(sketch.read_text() + "// mine\n")
    before = contents(tmp_path / "b")
    other = ROVER.model_copy(update={"control_rate_hz": 5})
    with pytest.raises(ExportError, match=r"changed by hand, for robot rover_uno with spec_hash .*another folder"):
        write(tmp_path / "b", spec=other)
    assert contents(tmp_path / "b") == before


def test_another_robot_leaves_nothing_of_the_old_one(tmp_path):
    write(tmp_path / "a")
    cartpole = load_robot("cartpole")
    write(tmp_path / "a", spec=cartpole, hidden=(4,))
    write(tmp_path / "b", spec=cartpole, hidden=(4,))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("at", [1, 7, 30])
@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_what_was_there(at, there, tmp_path, monkeypatch):
    if there:
        write(tmp_path / "a")
    before = contents(tmp_path)
    real, calls = os.write, []

    def fills_up(handle, data):
        calls.append(handle)
        if len(calls) >= at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data)

    monkeypatch.setattr(files.os, "write", fills_up)
    with pytest.raises(ExportError, match="no space left"):
        write(tmp_path / "a", seed=2)
    monkeypatch.undo()
    assert contents(tmp_path) == before
    assert not list(tmp_path.glob(".esmaml-*"))


def test_a_policy_too_large_for_a_board_leaves_it_out_and_for_all_is_refused(tmp_path):
    texts, said = render_arduino(policy(hidden=(40,)), ROVER, "platformio")
    assert [name for name, _ in said["left_out"]] == ["uno"]
    assert "[env:uno]" not in texts["platformio.ini"]
    assert "default_envs = megaatmega2560" in texts["platformio.ini"]
    assert "uno is left out: it has 2048 bytes of RAM, this takes" in texts["README.md"]
    with pytest.raises(ExportError, match="bytes of RAM on the controller; the largest has 98304"):
        write(tmp_path / "a", hidden=(200, 200))
    assert not (tmp_path / "a").exists()


def test_a_robot_that_nobody_wired_has_a_place_to_fill_in(tmp_path):
    ant = load_robot("ant")
    texts, said = render_arduino(policy(hidden=(), spec=ant), ant, "arduino")
    assert said["wired"] == ()
    assert "const bool all_wired = false;" in texts["examples/ant/pins.h"]
    sketch = texts["examples/ant/ant.ino"]
    assert all(f"sensors[{i}] = 0; /* {s.name}," in sketch for i, s in enumerate(ant.sensors))


def test_counts_that_a_pin_does_not_have_are_refused():
    board = load_board("atmega328p")
    cartpole = load_robot("cartpole")
    wiring = board.settings.wiring["cartpole"]
    for pins, words in (
        (
            {"angle": "adc.1"},
            r"angle of robot cartpole has counts \[-32000, 32000\]; a pin of kind 'adc' has \[0, 1023\]",
        ),
        ({"angle": "pwm.1"}, "expected one of encoder.0, adc.0, spi.0"),
        ({"angle": "spi"}, "says angle = 'spi'; expected one of"),
    ):
        changed = wiring.model_copy(update={"sensors": {**wiring.sensors, **pins}})
        settings = board.settings.model_copy(update={"wiring": {"cartpole": changed}})
        with pytest.raises(ExportError, match=words):
            render_wiring(type(board)(settings, board.folder), cartpole)
    assert [w.kind for w in wiring_of(board, cartpole).sensors] == ["encoder", "spi", "spi", "spi", "spi"]
