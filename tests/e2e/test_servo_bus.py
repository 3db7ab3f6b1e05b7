"""The ant on its servo bus: the Cortex-M4's image in QEMU, DYNAMIXEL packets on its second UART, servos in PyBullet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from esmaml_robot.bridge.controller import RobotController
from esmaml_robot.bridge.messages import Fault, Flag, Reason, State
from esmaml_robot.cli.ports import real_port
from esmaml_robot.errors import LinkError, SafetyStop
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import build_firmware
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.virtual_robot.board_process import BoardProcess
from sim.virtual_robot.launcher import VirtualRobot
from sim.virtual_robot.plants import make_plant

SPEC = load_robot("ant")
LAYOUT = PolicySpec(inputs=4, outputs=8, hidden=(), clock_steps=20)
THETA = np.random.default_rng(1).normal(scale=0.5, size=LAYOUT.dimension).astype(np.float32)
ROBOTS = Path(__file__).parents[2] / "hardware_configs"
POLICY = Policy(LAYOUT, THETA, Normaliser.identity(4))
IDS = [11, 12, 21, 22, 31, 32, 41, 42]


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """The ant's file with a watchdog that bears a machine under load: those tests are about other faults."""
    text = (ROBOTS / "ant.yaml").read_text()
    path = tmp_path_factory.mktemp("robot") / "ant.yaml"
    path.write_text(text.replace("hold_ms: 100 ", "hold_ms: 2000 ").replace("release_ms: 300 ", "release_ms: 2400 "))
    return path


@pytest.fixture(scope="module")
def spec(patient):
    found = load_robot(str(patient))
    assert found.watchdog.release_ms == 2400
    return found


@pytest.fixture(scope="module")
def firmware(spec, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ant")
    write_policy_c(POLICY, spec, folder)
    write_robot_c(spec, folder)
    return build_firmware("mps2_an386", spec, folder, folder / "out")


def valid_episode(controller, *seeds):
    """An episode; again where this machine was too busy for the watchdog or the servos, as a session would."""
    for _ in range(10):
        record = controller.run_episode(*seeds)
        if record.reason is not Reason.WATCHDOG and not (record.flags & Flag.REUSED).any():
            break
        controller.disarm()
        controller.arm()
    return record


def episodes(port):
    with RobotController.open(port, SPEC, LAYOUT) as controller:
        controller.connect()
        controller.arm()
        candidates = ((3, 0.1), (8, 2.0))
        return [valid_episode(controller, i + 1, 50 + i, *candidate) for i, candidate in enumerate(candidates)]


def test_an_episode_over_the_bus_is_that_of_the_host_board_bit_for_bit(tmp_path):
    records = []
    for board in ("host", "mps2_an386"):
        with real_port(f"sim://ant?board={board}&seed=1", SPEC, POLICY, tmp_path / board) as port:
            records.append(episodes(port))
    for host, chip in zip(*records, strict=True):
        assert chip.valid, chip.problem
        assert (chip.reason, chip.steps) == (host.reason, host.steps)
        assert chip.sensors.tolist() == host.sensors.tolist()
        assert chip.actuators.tolist() == host.actuators.tolist()
        assert np.float32(chip.return_) == np.float32(host.return_)
    assert len({r.return_ for r in records[0]}) == 2
    assert np.ptp(records[0][0].actuators, axis=0).min() > 100  # every servo moved


def steps(log):
    return [row for row in map(json.loads, log.read_text().splitlines()) if row["kind"] == "S"]


def test_a_servo_that_is_unplugged_ends_the_episode_with_all_others_released(firmware, patient, spec, tmp_path):
    log = tmp_path / "plant.log"
    with (
        VirtualRobot(str(patient), firmware.command, bus=firmware.bus, log=log, servo_fault="unplug:22:1:20") as robot,
        RobotController.open(robot.port, spec, LAYOUT) as controller,
    ):
        controller.connect()
        controller.arm()
        record = controller.run_episode(1, 50, 3, 0.1)
        assert not record.valid
        assert record.reason is Reason.FAULTED
        assert "device 22 on the servo bus does not answer" in record.problem
        assert [bool(f & Flag.REUSED) for f in record.flags[-3:].tolist()] == [False, True, True]
        status = controller.status()
        assert (status.state, status.fault, status.fault_detail) == (State.FAULT, Fault.BUS_LOST, 22)
        with pytest.raises(SafetyStop, match="device 22"):
            controller.run_episode(2, 50, 3, 0.1)
        controller.disarm()
        with pytest.raises(SafetyStop, match="device 22"):  # looked at anew, and still not there
            controller.arm()
        assert controller.status().state is State.IDLE
    rows = steps(log)
    with_torque = [row for row in rows if row["torque_on"]]
    assert with_torque[19]["powered"] == IDS
    # unplugged at 20; two periods are borne, in the third it is lost
    assert [row["powered"] for row in with_torque[20:]] == [[i for i in IDS if i != 22]] * 3
    assert rows[-1]["powered"] == []


def test_a_servo_that_shuts_itself_down_ends_the_episode_at_once(firmware, patient, spec, tmp_path):
    log = tmp_path / "plant.log"
    with (
        VirtualRobot(str(patient), firmware.command, bus=firmware.bus, log=log, servo_fault="overload:31:1:5") as robot,
        RobotController.open(robot.port, spec, LAYOUT) as controller,
    ):
        controller.connect()
        controller.arm()
        record = controller.run_episode(1, 50, 3, 0.1)
        assert "servo 31 on the bus reports a hardware error (overload)" in record.problem
        controller.disarm()
        with pytest.raises(SafetyStop, match="servo 31"):
            controller.arm()
    assert len([row for row in steps(log) if row["torque_on"]]) == 6
    assert steps(log)[-1]["powered"] == []


def test_an_emergency_stop_releases_all_servos(firmware, patient, spec, tmp_path):
    log = tmp_path / "plant.log"

    with (
        VirtualRobot(str(patient), firmware.command, bus=firmware.bus, log=log) as robot,
        RobotController.open(robot.port, spec, LAYOUT) as controller,
    ):
        controller.connect()
        controller.arm()
        assert not any(row["powered"] for row in steps(log))  # armed is not powered
        controller.run_episode(1, 50, 3, 0.1, lambda record: controller.estop() if record.tick == 10 else None)
        assert controller.status().state is State.ESTOP
    rows = steps(log)
    assert any(row["powered"] == IDS for row in rows)
    assert rows[-1]["powered"] == []


def test_servos_stop_by_themselves_when_the_controller_dies(firmware, spec, tmp_path):
    log = tmp_path / "plant.log"
    plant = make_plant(spec, 1, None)
    with BoardProcess(firmware.command, spec, plant, log=log, bus=firmware.bus) as board:
        served = threading.Thread(target=board.serve, daemon=True)
        served.start()
        with RobotController.open(board.port, spec, LAYOUT) as controller:
            controller.connect()
            controller.arm()
            with pytest.raises(LinkError):
                controller.run_episode(
                    1, 50, 3, 0.1, lambda record: os.kill(board.pid, signal.SIGKILL) if record.tick == 10 else None
                )
        served.join(20.0)
        assert not served.is_alive()
    rows = steps(log)
    alone = [row["time_us"] for row in rows if row["stopped"]]
    last_goal = max(
        i for i, row in enumerate(rows) if row["actuators"] != rows[i - 1]["actuators"] and not row["stopped"]
    )
    assert rows[-1]["stopped"] == IDS
    # the robot's release time in units of 20 ms, and the control periods at both ends of it
    silence = alone[0] - rows[last_goal]["time_us"]
    assert abs(silence - 1000 * spec.watchdog.release_ms) < 2 * 33_400


def test_a_board_that_is_closed_by_another_thread_is_served_no_more(firmware, spec):
    with BoardProcess(firmware.command, spec, make_plant(spec, 1, None), bus=firmware.bus) as board:
        served = threading.Thread(target=board.serve, daemon=True)
        served.start()
        with RobotController.open(board.port, spec, LAYOUT) as controller:
            controller.connect()
    served.join(10.0)
    assert not served.is_alive()


def test_a_servo_fault_without_a_bus_and_a_bus_without_its_description_are_refused(firmware, tmp_path):
    with pytest.raises(LinkError, match="needs a servo bus"):
        VirtualRobot("ant", tmp_path / "missing", servo_fault="unplug:22:1:20").__enter__()
    done = subprocess.run([*firmware.command, "--plant-fd", "0"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert b"--bus-fd is missing" in done.stderr
    with pytest.raises(LinkError, match="nothing to overload at id 100"):
        VirtualRobot("ant", firmware.command, bus=firmware.bus, servo_fault="overload:100:1:20").__enter__()
