"""The sketch that `esmaml export --arduino` writes: compiled with Arduino's own core, run in simavr."""

from __future__ import annotations

import configparser
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from esmaml_robot.bridge.controller import RobotController, theta_crc32
from esmaml_robot.bridge.messages import Fault, Reason, State
from esmaml_robot.errors import ExportError, SafetyStop
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.arduino import export_arduino
from firmware_export.build import build_firmware
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.virtual_robot.launcher import VirtualRobot

sys.path.insert(0, str(Path(__file__).parent))
from arduino_ide import MEGA, UNO, call, compile_sketch, sizes

ROVER = load_robot("rover_uno")
LAYOUT = PolicySpec(inputs=2, outputs=2, hidden=(8,))
THETA = np.random.default_rng(2).normal(scale=0.3, size=LAYOUT.dimension).astype(np.float32)
POLICY = Policy(LAYOUT, THETA, Normaliser.identity(2))
#: seed and sigma: the policy itself, and one that leaves the arena
CANDIDATES = ((0, 0.0), (3, 0.9))
IDE = {"atmega328p": UNO, "atmega2560": MEGA}


def firmware_of(folder, policy, spec, board):
    write_policy_c(policy, spec, folder)
    write_robot_c(spec, folder)
    return build_firmware(board, spec, folder, folder / board)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return firmware_of(tmp_path_factory.mktemp("host"), POLICY, ROVER, "host")


@pytest.fixture(scope="module", params=sorted(IDE))
def sketch(request, tmp_path_factory):
    """(board, image, command) of the rover's sketch, on an Uno and on a Mega."""
    folder = tmp_path_factory.mktemp("arduino")
    report = export_arduino(POLICY, ROVER, folder / "library", "arduino", samples=50)
    assert report.wired == ("atmega328p", "atmega2560")
    source = folder / "library" / "examples" / "rover_uno" / "rover_uno.ino"
    image = compile_sketch(IDE[request.param], source, [folder / "library" / "src"], folder / "ide")
    emulator = firmware_of(folder, POLICY, ROVER, request.param).command[0]
    return request.param, image, (emulator, str(image))


def records(robot, command, spec, layout, candidates, **options):
    with (
        VirtualRobot(robot, command, seed=2, **options) as virtual,
        RobotController.open(virtual.port, spec, layout) as controller,
    ):
        controller.connect()
        assert controller.selftest() <= 1e-5
        controller.arm()
        return [controller.run_episode(i + 1, 50, *candidate) for i, candidate in enumerate(candidates)]


def assert_same(ours, theirs, period_us):
    for here, there in zip(ours, theirs, strict=True):
        assert here.valid, here.problem
        assert (here.reason, here.steps) == (there.reason, there.steps)
        assert here.sensors.tolist() == there.sensors.tolist()
        assert here.actuators.tolist() == there.actuators.tolist()
        assert np.float32(here.return_) == np.float32(there.return_)
        assert np.abs(np.diff(here.controller_times_us)[:-1] - period_us).max() < 1000


def test_an_episode_of_the_sketch_is_that_of_the_host_board_and_an_uno_has_room_for_it(sketch, host, tmp_path):
    name, image, command = sketch
    report, script = tmp_path / "report.json", tmp_path / "emulator"
    script.write_text(f'#!/bin/sh\nexec {command[0]} "$@" --report {report}\n')
    script.chmod(0o755)
    ours = records("rover_uno", (str(script), str(image)), ROVER, LAYOUT, CANDIDATES)
    theirs = records("rover_uno", host.command, ROVER, LAYOUT, CANDIDATES)
    assert {r.reason for r in theirs} == {Reason.COMPLETED, Reason.ABORTED}, name
    assert_same(ours, theirs, 100_000)
    measured = json.loads(report.read_text())
    assert measured["ticks"] >= sum(r.steps for r in ours)
    flash, ram = sizes(image)
    flash_bytes, ram_bytes = {"atmega328p": (32256, 2048), "atmega2560": (253952, 8192)}[name]
    assert flash < 0.82 * flash_bytes
    assert ram + measured["stack_bytes"] <= 0.75 * ram_bytes


def test_the_sketch_says_who_it_is_and_keeps_parameters(sketch, tmp_path):
    name, _, command = sketch
    ids = []
    other = np.random.default_rng(5).normal(size=LAYOUT.dimension).astype(np.float32)
    for expected in (THETA, other):
        with (
            VirtualRobot("rover_uno", command, seed=0, store=tmp_path / "memory") as robot,
            RobotController.open(robot.port, ROVER, LAYOUT) as controller,
        ):
            info = controller.connect()
            assert info.board == {"atmega328p": "uno", "atmega2560": "megaatmega2560"}[name]
            assert (info.state, info.spec_hash) == (State.IDLE, ROVER.spec_hash)
            assert (info.layout_hash, info.policy_hash) == (LAYOUT.layout_hash, POLICY.policy_hash)
            assert controller.read_parameters().tobytes() == expected.tobytes()
            ids.append(info.boot_id)
            controller.upload(other)
            controller.store()
            assert controller.status().crc32 == theta_crc32(other)
    assert ids[0] != ids[1]


def test_a_sketch_that_nobody_wired_answers_and_refuses_to_be_armed(tmp_path):
    export_arduino(POLICY, ROVER, tmp_path / "library", "arduino", samples=50)
    folder = tmp_path / "library" / "examples" / "rover_uno"
    pins = folder / "pins.h"
    text = pins.read_text()
    assert text.count("pin_vy_pwm = 10;") == 1
    pins.write_text(text.replace("pin_vy_pwm = 10;", "pin_vy_pwm = NOT_WIRED;"))
    image = compile_sketch(UNO, folder / "rover_uno.ino", [tmp_path / "library" / "src"], tmp_path / "ide")
    emulator = firmware_of(tmp_path, POLICY, ROVER, "atmega328p").command[0]
    log = tmp_path / "plant.log"
    with (
        VirtualRobot("rover_uno", (emulator, str(image)), seed=0, log=log) as robot,
        RobotController.open(robot.port, ROVER, LAYOUT) as controller,
    ):
        controller.connect()
        assert controller.status().fault is Fault.NOT_WIRED
        assert controller.selftest() <= 1e-5  # the policy is not to blame
        controller.disarm()
        with pytest.raises(SafetyStop, match="does not say yet where sensors and motors are"):
            controller.arm()
    assert not any(json.loads(line)["torque_on"] for line in log.read_text().splitlines())


def test_a_cart_pole_by_a_platformio_project(tmp_path):
    spec, layout = load_robot("cartpole"), PolicySpec(inputs=4, outputs=1, hidden=(4,))
    theta = np.random.default_rng(2).normal(scale=0.8, size=layout.dimension).astype(np.float32)
    policy = Policy(layout, theta, Normaliser.identity(4))
    project = tmp_path / "project"
    export_arduino(policy, spec, project, "platformio", samples=50)
    settings = configparser.ConfigParser()
    settings.read(project / "platformio.ini")
    assert {s.removeprefix("env:") for s in settings if s.startswith("env:")} == {
        "uno", "megaatmega2560", "nucleo_f401re",
    }  # fmt: skip
    library = project / "lib" / "esmaml_cartpole" / "src"
    image = compile_sketch(UNO, project / "src" / "main.cpp", [library], tmp_path / "ide")
    made = {name: firmware_of(tmp_path, policy, spec, name) for name in ("atmega328p", "host")}
    candidates = ((0, 0.0), (1, 0.6), (2, 1.2))
    ours = records("cartpole", (made["atmega328p"].command[0], str(image)), spec, layout, candidates)
    assert_same(ours, records("cartpole", made["host"].command, spec, layout, candidates), 20_000)


#: as Arduino cores for an STM32F4 compile it: fused multiply-add is there and on, unless the files say otherwise
CORTEX_M = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-Os", "-Wall", "-Wextra", "-Werror"]
#: of Arduino's documented functions those that board.cpp and pins.cpp call; no core for Arm is packaged for Debian
ARDUINO_H = """
#include <stddef.h>
#include <stdint.h>
enum { LOW, HIGH, INPUT, OUTPUT, INPUT_PULLUP, CHANGE, A0 = 14 };
extern "C" {
void pinMode(uint32_t, uint32_t); void digitalWrite(uint32_t, uint32_t); int digitalRead(uint32_t);
uint32_t analogRead(uint32_t); void analogWrite(uint32_t, int); uint32_t micros(void);
}
void attachInterrupt(uint32_t, void (*)(void), int);
#define digitalPinToInterrupt(pin) (pin)
void noInterrupts(void); void interrupts(void);
struct Port { void begin(unsigned long); int available(); int read(); int availableForWrite(); size_t write(uint8_t); };
extern Port Serial;
"""


def test_on_a_cortex_m_no_two_roundings_become_one(tmp_path):
    export_arduino(POLICY, ROVER, tmp_path / "library", "arduino", samples=50)
    source, headers = tmp_path / "library" / "src", tmp_path / "headers"
    headers.mkdir()
    (headers / "Arduino.h").write_text(ARDUINO_H)
    with_floats = 0
    for file in sorted((source / "core").glob("*.c")):
        target = tmp_path / f"{file.stem}.o"
        call(["arm-none-eabi-gcc", *CORTEX_M, "-std=gnu11", "-c", str(file), "-o", str(target)])
        code = call(["arm-none-eabi-objdump", "-d", str(target)]).stdout
        with_floats += "vmul.f32" in code
        assert "vfm" not in code, file.name
        assert "vfnm" not in code, file.name
    assert with_floats >= 3
    for name in ("board", "pins"):
        call(["arm-none-eabi-g++", *CORTEX_M, "-std=gnu++14", f"-I{headers}", "-c", str(source / f"{name}.cpp"),
              "-o", str(tmp_path / f"{name}.o")])  # fmt: skip


def test_the_command_says_what_it_wrote_and_what_it_kept(esmaml, make_run, tmp_path):
    run = make_run(tmp_path / "run")
    words = ["export", run, "--meta", "--arduino", tmp_path / "arduino", "--platformio", tmp_path / "project"]
    said = " ".join(esmaml(*words, "--samples", "50").stdout.split())
    assert said.count("filled in for atmega328p, atmega2560; README.md there says what to wire") == 2
    assert not (run / "export").exists()
    (tmp_path / "arduino" / "examples" / "rover_uno" / "pins.h").write_text("// mine\n")
    first, second = json.loads(esmaml(*words, "--samples", "50", "--json").stdout)
    assert (first["layout"], first["kept"]) == ("arduino", ["examples/rover_uno/pins.h"])
    assert (second["layout"], second["kept"]) == ("platformio", [])
    (tmp_path / "arduino" / "export.json").write_text("{}")
    refused = esmaml("export", run, "--meta", "--arduino", tmp_path / "arduino", check=False)
    assert refused.returncode == ExportError.exit_code
    assert "not an export of this kind; choose a folder that is new or empty" in refused.stderr


def test_boards_are_listed_and_a_new_one_is_made(esmaml, tmp_path):
    listed = {b["name"]: b["robots"] for b in json.loads(esmaml("board", "list", "--json").stdout)}
    assert listed["host"] is None
    assert listed["atmega328p"] == ["cartpole", "rover_uno"]
    assert "template" not in listed
    assert "bench/board.c" in esmaml("board", "new", "bench", cwd=tmp_path).stdout.replace("\n", "")
    refused = esmaml("board", "new", "bench", cwd=tmp_path, check=False)
    assert refused.returncode == ExportError.exit_code
    assert "is there already" in refused.stderr
