"""The link as a user has it: real firmware in its own process, a pty, pyserial, and a plant behind the pins."""

import fcntl
import json
import os
import random
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from esmaml_robot.adaptation.base import Proposals, materialise
from esmaml_robot.bridge.codec import Codec
from esmaml_robot.bridge.controller import RobotController
from esmaml_robot.bridge.framing import encode_frame
from esmaml_robot.bridge.messages import Fault, Flag, Reason, State
from esmaml_robot.errors import (
    ConfigError,
    LinkError,
    LinkLost,
    LinkTimeout,
    PolicyError,
    PortError,
    SafetyStop,
    SpecMismatch,
)
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import build_host_firmware
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.virtual_robot.launcher import VirtualRobot
from sim.virtual_robot.server import parse_unplug

SPEC = load_robot("rover_uno")
POLICY = PolicySpec(inputs=2, outputs=2, hidden=(8,))
THETA = np.random.default_rng(0).normal(scale=0.7, size=POLICY.dimension).astype(np.float32)
PLANT = (sys.executable, str(Path(__file__).with_name("kinematic_robot.py")))
HOLD_US, RELEASE_US = 300_000, 600_000


def rebuilt(base, seed, sigma):
    """What the controller makes of (seed, sigma), made here."""
    one = Proposals(base, np.array([seed], np.uint32), np.array([sigma], np.float32), np.zeros(1, np.uint32))
    return materialise([one])[0]


@pytest.fixture(scope="session", params=["plain", "sanitized"])
def firmware(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"firmware_{request.param}")
    write_policy_c(Policy(POLICY, THETA, Normaliser.identity(POLICY.inputs)), SPEC, folder)
    write_robot_c(SPEC, folder)
    return build_host_firmware(SPEC, folder, folder / "firmware", sanitize=request.param == "sanitized")


@pytest.fixture
def start(firmware, tmp_path):
    """Starts virtual robots that end with the test."""
    running = []

    def start(**options) -> VirtualRobot:
        robot = VirtualRobot("rover_uno", firmware, seed=0, command=PLANT, log=tmp_path / "plant.log", **options)
        running.append(robot.__enter__())
        return robot

    yield start
    for robot in running:
        robot.close()


@pytest.fixture
def robot(start):
    with RobotController.open(start().port, SPEC, POLICY) as controller:
        controller.connect()
        yield controller


def plant_log(tmp_path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "plant.log").read_text().splitlines()]


def released_log(tmp_path):
    """The plant's log up to a step without torque: the host hears of an episode's end a moment before the plant."""
    deadline = time.monotonic() + 10.0
    while (log := plant_log(tmp_path))[-1]["torque_on"] and time.monotonic() < deadline:
        time.sleep(0.01)
    return log


def outcome(record):
    return (record.return_, record.steps, record.sensors.tobytes(), record.actuators.tobytes(), record.flags.tobytes())


def test_connect_upload_and_run_twice_gives_the_same_bits(robot, tmp_path):
    theta = np.random.default_rng(1).normal(scale=0.5, size=POLICY.dimension).astype(np.float32)
    crc = robot.upload(theta)
    assert robot.status().crc32 == crc
    assert robot.selftest() == 0.0
    robot.arm()
    first, second, other, third = (robot.run_episode(i, 50, 3, s) for i, s in enumerate((0.2, 0.2, 0.3, 0.2)))
    assert first.valid, first.problem
    assert outcome(first) == outcome(second) == outcome(third)
    assert outcome(first) != outcome(other)
    assert (first.reason, first.steps) == (Reason.COMPLETED, 100)
    assert first.sensors.shape == (101, 3)
    assert np.diff(first.controller_times_us).tolist() == [100_000] * 100
    assert first.flags[-1] == Flag.FINAL | Flag.RELEASED
    # the plant saw the commands that telemetry reports, and torque off behind the last of them
    steps = [r for r in released_log(tmp_path) if r["kind"] == "S"][-101:]
    assert [r["actuators"] for r in steps] == third.actuators.tolist()
    assert [r["torque_on"] for r in steps] == [True] * 100 + [False]


def test_the_return_is_the_policys_own_on_the_same_sensors(robot):
    robot.upload(THETA)
    robot.arm()
    record = robot.run_episode(1, 150, 9, 0.25)
    candidate = rebuilt(THETA, 9, 0.25)
    policy = Policy(POLICY, candidate, Normaliser.identity(POLICY.inputs))
    signals = robot.signals
    previous = signals.safe
    assert record.valid
    assert record.steps > 20
    for t in range(record.steps):
        action = policy.act(signals.observe(signals.to_si(record.sensors[t][:, None])).T).T
        previous = signals.limit(signals.to_counts(action), previous)
        assert record.actuators[t].tolist() == previous[:, 0].tolist()


def test_commit_moves_the_base_and_a_wrong_expectation_does_not(robot):
    robot.upload(THETA)
    moved = rebuilt(THETA, 4, -0.5)
    with pytest.raises(LinkError, match="not the ones announced"):
        robot.commit(5, -0.5, moved)
    crc = robot.commit(4, -0.5, moved)
    assert robot.commit(4, -0.5, moved) == crc == robot.status().crc32
    robot.arm()
    committed = robot.run_episode(1, 5, 0, 0.0)
    robot.upload(THETA)
    assert outcome(robot.run_episode(2, 5, 4, -0.5)) == outcome(committed)


def test_an_abort_is_a_valid_episode(robot):
    theta = np.zeros(POLICY.dimension, np.float32)
    theta[-2] = 1.0  # full speed along x: 4.5 m are behind it after 45 periods
    robot.upload(theta)
    robot.arm()
    record = robot.run_episode(1, 100, 0, 0.0)
    assert (record.valid, record.reason, record.abort_index, record.steps) == (True, Reason.ABORTED, 1, 46)
    assert robot.run_episode(2, 100, 0, 0.0).valid, "the robot stays armed"


def test_emergency_stop_latches(robot):
    robot.arm()
    seen = []

    def press(telemetry):
        seen.append(telemetry.tick)
        if telemetry.tick == 20:
            robot.link.send("estop")

    record = robot.run_episode(1, 0, 0, 0.0, on_telemetry=press)
    assert (record.valid, record.reason) == (False, Reason.ESTOPPED)
    assert seen[-1] < 30
    for refused in (robot.arm, robot.disarm, lambda: robot.run_episode(2, 0, 0, 0.0)):
        with pytest.raises(SafetyStop, match="latched"):
            refused()
    robot.clear_estop()
    robot.arm()
    assert robot.run_episode(3, 0, 0, 0.0).valid


def test_an_exception_in_mid_episode_leaves_the_robot_disarmed(start):
    port = start().port

    def interrupt(telemetry):
        if telemetry.tick == 10:
            raise KeyboardInterrupt

    def use():
        with RobotController.open(port, SPEC, POLICY) as robot:
            robot.connect()
            robot.arm()
            robot.run_episode(1, 0, 0, 0.0, on_telemetry=interrupt)

    with pytest.raises(KeyboardInterrupt):
        use()
    with RobotController.open(port, SPEC, POLICY) as robot:
        assert robot.connect().state is State.IDLE, "the port can be opened again"
        assert robot.status().watchdog_trips == 0


def test_not_armed(robot):
    with pytest.raises(SafetyStop, match="its state is IDLE"):
        robot.run_episode(1, 0, 0, 0.0)


@pytest.mark.parametrize("sigma", [float("nan"), float("inf"), 1e39])
def test_a_sigma_that_is_not_finite_is_refused_on_both_sides(robot, sigma):
    robot.arm()
    with pytest.raises(PolicyError, match="sigma"):
        robot.run_episode(1, 0, 0, sigma)
    nan = robot.link.exchange  # past the host's own check, to the controller's
    with pytest.raises(PolicyError, match="Nothing changed"):
        nan("run", episode_id=1, episode_seed=0, direction_seed=0, sigma=float("nan"))
    assert robot.status().state is State.ARMED


def test_nan_in_theta_is_refused_before_anything_is_sent(robot):
    before = robot.status().crc32
    theta = THETA.copy()
    theta[3] = np.nan
    with pytest.raises(PolicyError, match=r"theta\[3\]"):
        robot.upload(theta)
    assert robot.status().crc32 == before


def test_another_robot_or_another_policy_is_refused_with_both_values(start):
    port = start().port
    other = SPEC.model_copy(update={"control_rate_hz": 5})
    for spec, policy, what in (
        (other, POLICY, f"spec_hash.*{other.spec_hash}.*{SPEC.spec_hash}"),
        (SPEC, PolicySpec(inputs=2, outputs=2, hidden=(9,)), f"layout_hash.*{POLICY.layout_hash}"),
    ):
        with RobotController.open(port, spec, policy) as robot, pytest.raises(SpecMismatch, match=what):
            robot.connect()


class SecondOpener:
    """A transport over a path that somebody else has open: what a program does that asks for no lock."""

    def __init__(self, port: str) -> None:
        self.name, self._fd = port, os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def read(self, deadline: float) -> bytes:
        while time.monotonic() < deadline:
            with suppress(BlockingIOError):
                if data := os.read(self._fd, 4096):  # pyserial's settings: nothing there reads as nothing
                    return data
            time.sleep(0.001)
        return b""

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def close(self) -> None:
        os.close(self._fd)


def test_a_second_host_cannot_take_an_armed_robot_but_can_stop_it(robot):
    robot.arm()
    fcntl.ioctl(robot.link.transport._fd, termios.TIOCNXCL)  # whatever the user's rights: only the session protects
    second = RobotController(SecondOpener(robot.port), SPEC, POLICY)
    with pytest.raises(LinkError, match="another program holds the robot"):
        second.connect()
    assert robot.status().state is State.ARMED
    second.estop()
    second.link.transport.close()
    assert robot.status().state is State.ESTOP


def test_a_port_in_use_is_refused(robot):
    with pytest.raises(PortError, match="another program holds this port"):
        RobotController.open(robot.port, SPEC, POLICY)


def test_a_port_that_is_not_there(tmp_path):
    with pytest.raises(PortError, match="there is no such port"):
        RobotController.open(str(tmp_path / "ttyNONE"), SPEC, POLICY)
    with pytest.raises(PortError, match="cannot be opened"):
        RobotController.open("nonsense://here", SPEC, POLICY)


def test_nobody_answers():
    master, slave = os.openpty()
    try:
        robot = RobotController.open(os.ttyname(slave), SPEC, POLICY)
        with robot, pytest.raises(LinkTimeout, match=r"no controller answered in 0\.3 s"):
            robot.connect(seconds=0.3)
    finally:
        os.close(master)
        os.close(slave)


def released_within_time(log: list[dict], seen_tick: int, tolerance_us: int = 1_000) -> None:
    """In the plant's log of the last episode, whose host had seen `seen_tick`: policy, then hold, then safe, in time.

    In lock-step the tolerance is what the wall clock adds between two states; paced, the plant looks once a period.
    """
    at = max(i for i, r in enumerate(log) if r["kind"] == "R")
    seen_us = log[at]["time_us"] + seen_tick * 100_000
    episode = log[at + 1 :]
    held = [i for i, r in enumerate(episode) if r["torque_on"] and r["actuators"] == [0, 0]]
    off = [i for i, r in enumerate(episode) if not r["torque_on"]]
    assert held
    assert off
    assert all(r["torque_on"] and r["actuators"] == [500, -500] for r in episode[: held[0]])
    assert held == list(range(held[0], off[0])), "hold lasts until the release"
    assert off == list(range(off[0], len(episode))), "torque stays off"
    assert all(episode[i]["actuators"] == [0, 0] for i in off)
    assert episode[held[0]]["time_us"] <= seen_us + HOLD_US + tolerance_us
    assert episode[off[0]]["time_us"] <= seen_us + RELEASE_US + tolerance_us


def silent_theta() -> np.ndarray:
    theta = np.zeros(POLICY.dimension, np.float32)
    theta[-2:] = 0.5, -0.5
    return theta


@pytest.mark.parametrize("paced", [False, True])
def test_a_silent_host_means_hold_then_release(start, tmp_path, paced):
    with RobotController.open(start(paced=paced).port, SPEC, POLICY) as robot:
        robot.connect()
        robot.upload(silent_theta())
        robot.arm()

        def stall(telemetry):
            if telemetry.tick == 3:
                time.sleep(1.0)  # longer than release: keep-alives stop

        record = robot.run_episode(1, 0, 0, 0.0, on_telemetry=stall)
        assert (record.valid, record.reason) == (False, Reason.WATCHDOG)
        status = robot.status()
        assert (status.state, status.fault, status.watchdog_trips) == (State.FAULT, Fault.WATCHDOG, 1)
        released_within_time(plant_log(tmp_path), 3, 150_000 if paced else 1_000)
        with pytest.raises(SafetyStop, match="watchdog"):
            robot.arm()
        robot.disarm()
        robot.arm()
        assert robot.run_episode(2, 0, 0, 0.0).valid or paced


def test_unplugged_in_mid_episode(start, tmp_path):
    virtual = start(unplug_at="2:40")
    robot = RobotController.open(virtual.port, SPEC, POLICY)
    robot.connect()
    robot.upload(silent_theta())
    robot.arm()
    assert robot.run_episode(1, 0, 0, 0.0).valid
    with pytest.raises(LinkLost, match="releases its actuators by itself"):
        robot.run_episode(2, 0, 0, 0.0)
    robot.close()
    assert virtual.wait(5.0) == 0, "the controller goes on until its actuators are released"
    released_within_time(plant_log(tmp_path), 39)
    assert plant_log(tmp_path)[-1]["torque_on"] is False


def test_a_host_that_was_killed_leaves_a_robot_that_releases_and_can_be_reached_again(start, tmp_path):
    virtual = start()
    robot = RobotController.open(virtual.port, SPEC, POLICY)
    robot.connect()
    robot.upload(silent_theta())
    robot.arm()

    class Killed(Exception):
        pass

    robot.stop_quietly = lambda: None  # a killed program says nothing any more

    def die(telemetry):
        if telemetry.tick == 5:
            raise Killed

    with pytest.raises(Killed):
        robot.run_episode(1, 0, 0, 0.0, on_telemetry=die)
    robot.link.transport.close()
    time.sleep(0.9)
    released_within_time(plant_log(tmp_path), 5)
    with RobotController.open(virtual.port, SPEC, POLICY) as again:
        assert again.connect().state is State.FAULT
        again.disarm()
        again.arm()
        assert again.run_episode(1, 0, 0, 0.0).valid


class Noisy:
    """A transport that damages, drops and repeats bytes of its own accord."""

    def __init__(self, inner, seed: int, rate: float) -> None:
        self._inner, self._rng, self._rate = inner, random.Random(seed), rate
        self.name = inner.name

    def _spoil(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            dice = self._rng.random() / self._rate
            out += b"" if dice < 1 else bytes([byte ^ 1 << self._rng.randrange(8)]) if dice < 2 else bytes([byte])
        return bytes(out)

    def read(self, deadline: float) -> bytes:
        while time.monotonic() < deadline:
            data = self._inner.read(deadline)
            if not data or (data := self._spoil(data)):
                return data
        return b""

    def write(self, data: bytes) -> None:
        self._inner.write(self._spoil(data))

    def close(self) -> None:
        self._inner.close()


def test_a_noisy_line_costs_time_and_never_a_wrong_number(start):
    clean = RobotController.open(start().port, SPEC, POLICY)
    clean.connect()
    clean.upload(THETA)
    clean.arm()
    right = outcome(clean.run_episode(1, 9, 1, 0.1))
    clean.disarm()
    robot = RobotController(Noisy(clean.link.transport, 3, 0.00008), SPEC, POLICY)
    robot.connect()
    robot.upload(THETA)
    robot.arm()
    valid = 0
    for i in range(2, 14):
        try:
            record = robot.run_episode(i, 9, 1, 0.1)
        except LinkTimeout:
            continue
        if record.valid:
            valid += 1
            assert outcome(record) == right
        if robot.status().state is State.FAULT:
            robot.disarm()
            robot.arm()
    assert robot.link.bad_frames + robot.status().bad_frames > 0, "nothing was damaged: the test tests nothing"
    assert valid > 0, "no episode came through: the test tests nothing"
    clean.close()


def test_the_firmware_survives_garbage(robot):
    rng = random.Random(4)
    codec = Codec.for_robot(SPEC)
    whole = encode_frame(codec.encode("status", 1, 2, 3))
    for _ in range(200):
        piece = rng.choice(
            [rng.randbytes(rng.randrange(1, 300)), b"\xff" * 400, whole[: rng.randrange(len(whole))] + b"\0"]
        )
        robot.link.transport.write(piece)
    robot.link.transport.write(b"\0")
    assert robot.status().bad_frames > 50


@pytest.mark.parametrize("text", ["", "3", "0:1", "1:x", "-1:2", "1:2:3"])
def test_unplug_at_is_checked(text):
    with pytest.raises(ConfigError, match="EPISODE:TICK"):
        parse_unplug(text)


def test_a_virtual_robot_that_cannot_start_says_why(tmp_path):
    robot = VirtualRobot("rover_uno", tmp_path / "missing", command=PLANT)
    with pytest.raises(LinkError, match=r"did not start: the firmware .*missing cannot be started"):
        robot.__enter__()
    with pytest.raises(LinkError, match="no robot file 'rover_due'"):
        VirtualRobot("rover_due", tmp_path / "missing", command=PLANT).__enter__()
