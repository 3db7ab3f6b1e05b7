"""Kinds of ports: over TCP with the real firmware behind it, rates, and why one does not open."""

import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from esmaml_robot.bridge import port_problems
from esmaml_robot.bridge.controller import RobotController
from esmaml_robot.bridge.link import Link
from esmaml_robot.bridge.messages import Reason
from esmaml_robot.bridge.transport import open_port
from esmaml_robot.errors import LinkLost, LinkTimeout, PortError
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import build_firmware
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.virtual_robot.launcher import VirtualRobot

from .tcp_bridge import TcpBridge

SPEC = load_robot("rover_uno")
LAYOUT = PolicySpec(inputs=2, outputs=2, hidden=(8,))
THETA = np.random.default_rng(0).normal(scale=0.25, size=LAYOUT.dimension).astype(np.float32)


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    folder = tmp_path_factory.mktemp("firmware")
    write_policy_c(Policy(LAYOUT, THETA, Normaliser.identity(2)), SPEC, folder)
    write_robot_c(SPEC, folder)
    return build_firmware("host", SPEC, folder, folder / "out").command


def an_episode(port):
    with RobotController.open(port, SPEC, LAYOUT) as robot:
        robot.connect()
        robot.upload(THETA)
        robot.arm()
        record = robot.run_episode(1, 50, 4, 0.1)
        assert record.valid, record.problem
        return record.return_, record.sensors.tobytes(), record.actuators.tobytes()


@pytest.mark.parametrize("rfc2217", [False, True])
def test_an_episode_over_tcp_is_the_one_over_the_cable(firmware, rfc2217):
    with VirtualRobot("rover_uno", firmware, seed=2) as virtual:
        with TcpBridge(virtual.port, rfc2217=rfc2217) as bridge:
            over_tcp = an_episode(bridge.url)
            assert an_episode(bridge.url) == over_tcp, "a second program finds it again"
        assert an_episode(virtual.port) == over_tcp


@pytest.mark.parametrize("rfc2217", [False, True])
def test_a_terminal_server_that_goes_away_is_a_lost_link(firmware, rfc2217):
    with VirtualRobot("rover_uno", firmware, seed=2) as virtual:
        with TcpBridge(virtual.port, rfc2217=rfc2217) as bridge:
            robot = RobotController.open(bridge.url, SPEC, LAYOUT)
            robot.connect()
        with pytest.raises(LinkLost, match="the connection is gone"):
            robot.link.drain(5.0)
        robot.close()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("spy:///dev/null", "URLs that work here are socket://, rfc2217://, loop:// and sim://"),
        ("socket://localhost", "needs a host and a port number, as in socket://"),
        ("rfc2217://:77", "needs a host and a port number"),
        ("/dev/null", "this is no serial port"),
        ("/dev", "/dev: this is a folder. Give the path of a port"),
        ("", "no name: there is no such port"),
        ("sim://rover_uno", "a virtual robot gets its policy from a run, which this command does not take"),
    ],
)
def test_what_cannot_be_a_port_says_what_can(url, what):
    with pytest.raises(PortError, match=what):
        open_port(url)


def test_a_server_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"socket://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(PortError, match="Is the other end listening there"):
        open_port(url)


def test_a_loop_is_recognised():
    link = Link(open_port("loop://"), SPEC, LAYOUT)
    with pytest.raises(LinkTimeout, match="What is sent comes back"):
        link.connect(0.3)
    link.transport.close()


@pytest.fixture
def wire():
    """Both ends of a serial line: a descriptor and a path."""
    master, slave = os.openpty()
    yield master, os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_another_firmware_or_rate_is_told_from_a_dead_line(wire):
    master, path = wire
    link = Link(open_port(path), SPEC, LAYOUT)
    os.write(master, b"hello, I am a sketch\r\n")
    with pytest.raises(LinkTimeout, match="22 bytes came that are no frames: the baud rate is wrong"):
        link.connect(0.2)
    silent = Link(link.transport, SPEC, LAYOUT)
    with pytest.raises(LinkTimeout, match="Not a byte came"):
        silent.connect(0.2)
    link.transport.close()


@pytest.mark.parametrize("baud", [115_200, 230_400, 250_000, 500_000, 921_600, 1_000_000, 1_500_000, 2_000_000])
def test_common_rates_open(wire, baud):
    transport = open_port(wire[1], baud)
    assert transport.low_latency == "not offered by this driver"  # a pseudo-terminal collects nothing
    transport.close()


def test_a_rate_that_the_driver_takes_for_another_is_refused(wire, monkeypatch):
    monkeypatch.setattr("esmaml_robot.bridge.transport._baud_in_force", lambda fd, asked: 115_200)
    with pytest.raises(PortError, match=r"does not do 2000000 baud \(it set 115200 in its place\)"):
        open_port(wire[1], 2_000_000)
    open_port(wire[1], 115_200).close()  # and it is not held


def test_a_program_that_holds_the_port_is_named(wire):
    code = "import sys; from esmaml_robot.bridge.transport import open_port; port = open_port(sys.argv[1])"
    with subprocess.Popen(
        [sys.executable, "-c", code + "; print(1, flush=True); sys.stdin.read()", wire[1]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        other.stdout.readline()
        with pytest.raises(PortError, match=rf"another program holds this port: \S+ \(pid {other.pid}\)"):
            open_port(wire[1])
        other.stdin.close()
    open_port(wire[1]).close()


def test_no_permission_names_the_group(tmp_path, monkeypatch):
    path = tmp_path / "ttyUSB0"
    path.touch()
    group = port_problems._group_of(str(path))
    error = port_problems.explain(str(path), 115_200, PermissionError(13, "Permission denied"), [])
    assert f"belongs to group '{group}'" in str(error)
    assert f"usermod -aG {group}" in str(error)
    monkeypatch.setattr(port_problems, "_member_already", lambda group: True)
    error = port_problems.explain(str(path), 115_200, PermissionError(13, "Permission denied"), [])
    assert "not since this login" in str(error)


def test_the_clock_of_a_controller_in_real_time(firmware):
    with (
        VirtualRobot("rover_uno", firmware, seed=2, paced=True) as virtual,
        RobotController.open(virtual.port, SPEC, LAYOUT) as robot,
    ):
        robot.connect()
        clock = robot.link.clock
        assert clock.known
        robot.arm()
        came = []
        start_us = robot.link.now_us()

        def follow(telemetry):
            came.append(robot.link.now_us())
            if telemetry.tick == 25:  # long enough for two questions in mid-episode
                robot.link.send("stop")

        record = robot.run_episode(1, 50, 4, 0.1, on_telemetry=follow)
        end_us = robot.link.now_us()
        assert (record.reason, len(came)) == (Reason.STOPPED, 26)
        assert clock.restarts == 0
        assert clock.taken + clock.outliers == 8 + 2
        # both are the same crystal here: the truth is a rate of one
        assert abs(clock.rate_ppm) <= clock.rate_bound_ppm
        assert (record.host_times_us - record.host_bounds_us <= came).all()
        assert start_us - record.host_bounds_us[0] <= record.host_times_us[0]
        assert record.host_times_us[-1] <= end_us + record.host_bounds_us[-1]
        steps = np.diff(record.host_times_us) - np.diff(record.controller_times_us)
        assert np.abs(steps).max() <= 2 * record.host_bounds_us.max()


def test_virtual_time_is_found_out_and_gets_no_bound(firmware):
    with (
        VirtualRobot("rover_uno", firmware, seed=2) as virtual,
        RobotController.open(virtual.port, SPEC, LAYOUT) as robot,
    ):
        robot.connect()
        robot.arm()
        before = time.monotonic_ns() / 1000
        record = robot.run_episode(1, 50, 4, 0.1)
        robot.status()
        assert record.valid, record.problem
        assert robot.link.clock.restarts == 1
        assert np.isnan(record.host_bounds_us).all()
        assert (record.host_times_us >= before).all()
        assert (np.diff(record.host_times_us) >= 0).all()
