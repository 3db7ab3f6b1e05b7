"""Adaptation on the controller alone: every operator it has, paused, left alone, watched again, and a lost message."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from esmaml_robot.adaptation import OperatorConfig
from esmaml_robot.adaptation.side_by_side import Item, adapt_many
from esmaml_robot.bridge.controller import RobotController
from esmaml_robot.bridge.framing import FrameDecoder, encode_frame
from esmaml_robot.bridge.messages import BY_NAME, Progress, State
from esmaml_robot.bridge.transport import open_port
from esmaml_robot.checkpoint import RunFolder
from esmaml_robot.deployment.autonomous import adapt_alone, controller_settings
from esmaml_robot.deployment.journal import read_journal
from esmaml_robot.errors import ConfigError, LinkError
from esmaml_robot.policy_file import load_policy
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import build_host_firmware
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.tasks import make_family
from sim.virtual_robot.launcher import VirtualRobot

SPEC = load_robot("rover_uno")
SEED = 5
OPERATORS = {
    "confirmed": OperatorConfig(name="confirmed_hill_climb", queries=10, sigma=0.25, shrink=0.8),
    "gradient": OperatorConfig(name="es_gradient", queries=6, sigma=0.25, alpha=0.05),
}


def side_by_side(policy, config, seed, task=2):
    """What the operator comes to in the simulator."""
    family = make_family("four_corners")

    def evaluate(rows, tasks, seeds):
        return family.evaluate(policy.spec, policy.normaliser, rows, tasks, seeds)

    (adapted,) = adapt_many(config.build(), evaluate, [Item(policy.theta, family.sample("test", task), seed)])
    return adapted


@pytest.mark.parametrize("name", OPERATORS)
def test_it_ends_where_the_simulator_ends(esmaml, make_run, tmp_path, name):
    run = make_run(tmp_path / "run", operator=OPERATORS[name])
    policy = RunFolder(run).newest().policy
    expected = side_by_side(policy, OPERATORS[name], SEED)
    for board in ("host", "mps2_an386"):
        port = f"sim://rover_uno?seed=2&board={board}"
        done = esmaml("adapt", run, "--port", port, "--mode", "alone", "--name", board, "--seed", SEED, "--json")
        assert tuple(json.loads(done.stdout)["returns"]) == expected.history
        theta = load_policy(run / "adapted" / board / "adapted.safetensors").policy.theta
        assert theta.tobytes() == expected.params.tobytes()
    assert theta.tobytes() != policy.theta.tobytes()


@pytest.mark.parametrize(
    "config",
    [
        OperatorConfig(name="es_ascent"),
        OperatorConfig(name="es_gradient", directions="orthogonal"),
        OperatorConfig(directions="dpp"),
        OperatorConfig(name="none"),
    ],
)
def test_an_operator_that_no_controller_has_is_named(config):
    with pytest.raises(ConfigError, match=config.name):
        controller_settings(config.build())


@pytest.fixture(scope="module")
def policy(make_run, tmp_path_factory):
    return RunFolder(make_run(tmp_path_factory.mktemp("policy") / "run")).newest().policy


@pytest.fixture(scope="module")
def firmware(policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("firmware")
    write_policy_c(policy, SPEC, folder)
    write_robot_c(SPEC, folder)
    return build_host_firmware(SPEC, folder, folder / "firmware")


HILL = OperatorConfig(queries=3, sigma=0.25)


class Thrice:
    """Wants a pause three times, some messages apart, and looks at the robot meanwhile."""

    def __init__(self, robot: RobotController) -> None:
        self.robot, self.asked, self.pauses = robot, 0, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def wanted(self):
        self.asked += 1
        return self.asked in (40, 140, 240)

    def over(self):
        self.pauses += 1
        assert self.robot.status().state is State.ARMED
        assert self.robot.link.query("progress", "adaptation")["progress"] == Progress.PAUSED
        return True


def test_a_paused_adaptation_comes_to_the_same_returns_and_parameters(policy, firmware, tmp_path):
    expected, log, steps = side_by_side(policy, HILL, 9), tmp_path / "plant.log", []
    with (
        VirtualRobot("rover_uno", firmware, seed=2, log=log) as robot,
        RobotController.open(robot.port, SPEC, policy.spec) as controller,
    ):
        controller.connect()
        controller.arm()
        pauses = Thrice(controller)
        theta = adapt_alone(controller, HILL.build(), 9, on_step=steps.append, pauses=pauses)
    assert pauses.pauses == 3
    assert theta.tobytes() == expected.params.tobytes()
    assert tuple(s.record.return_ for s in steps) == expected.history
    assert all(s.record.valid and s.record.episode_id == i for i, s in enumerate(steps))
    # one at the start, four episodes that counted, and those that were dropped: a pause may fall between two
    resets = [r for r in map(json.loads, log.read_text().splitlines()) if r["kind"] == "R"]
    assert 1 + 4 + 1 <= len(resets) <= 1 + 4 + 3


class Losing:
    """A line that loses the nth ADAPTATION."""

    def __init__(self, port, nth):
        self._inner, self._nth, self._decoder = open_port(port), nth, FrameDecoder()
        self.name = port

    def read(self, deadline):
        kept = b""
        for payload in self._decoder.feed(self._inner.read(deadline)):
            self._nth -= payload[0] == BY_NAME["adaptation"].id
            if self._nth == 0 and payload[0] == BY_NAME["adaptation"].id:
                continue
            kept += encode_frame(payload)
        return kept or self.read(deadline) if time.monotonic() < deadline else kept

    def write(self, data):
        self._inner.write(data)

    def close(self):
        self._inner.close()


def test_a_lost_message_is_named_and_the_robot_is_left_to_go_on(policy, firmware):
    with VirtualRobot("rover_uno", firmware, seed=2) as robot:
        with RobotController(Losing(robot.port, 2), SPEC, policy.spec) as controller:
            controller.connect()
            controller.arm()
            with pytest.raises(LinkError, match=r"said of episode 2 was lost on the line.*goes on by itself"):
                adapt_alone(controller, HILL.build(), 9)
        with RobotController.open(robot.port, SPEC, policy.spec) as again:
            time.sleep(1.0)
            assert again.connect().state in (State.RUN, State.ARMED)
            again.disarm()
            assert again.status().state is State.IDLE


def test_a_computer_that_comes_back_watches_pauses_and_resumes(esmaml, policy, firmware, tmp_path):
    with VirtualRobot("rover_uno", firmware, seed=2) as robot:
        port = robot.port
        with RobotController.open(port, SPEC, policy.spec) as controller:
            controller.connect()
            controller.arm()
            fields = controller_settings(HILL.build())
            controller.link.exchange("adapt", episode_id=0, operator_seed=9, **fields)
            controller.leave()  # as if the cable were pulled
        time.sleep(1.0)
        esmaml("robot", "pause", "--port", port)
        assert json.loads(esmaml("robot", "info", "--port", port, "--json").stdout)["state"] == "ARMED"
        time.sleep(1.0)  # a pause outlives its host too
        seen = json.loads(esmaml("robot", "watch", "--port", port, "--seconds", "0.1", "--json").stdout)
        assert (seen["progress"], seen["operator"], seen["episodes"]) == ("PAUSED", "HILL_CLIMB", 4)
        refused = esmaml("robot", "resume", "--port", port, check=False)
        assert refused.returncode == 7
        assert "Nobody can answer" in refused.stderr
        esmaml("robot", "resume", "--yes", "--port", port)
        time.sleep(1.0)
        watched = esmaml("robot", "watch", "--port", port, "--json")
        assert json.loads(watched.stdout)["progress"] == "DONE"
        esmaml("robot", "params", "--port", port, "--save", tmp_path / "theta.npy")
        nothing = esmaml("robot", "pause", "--port", port, check=False)
        assert nothing.returncode == 7
        assert "no adaptation" in nothing.stderr
    expected = side_by_side(policy, HILL, 9)
    assert np.load(tmp_path / "theta.npy").tobytes() == expected.params.tobytes()


@pytest.mark.parametrize(("answer", "code"), [("\n", 0), ("q\n", 130)])
def test_ctrl_c_pauses_and_asks(make_run, tmp_path, answer, code):
    run = make_run(tmp_path / "run", operator=OperatorConfig(queries=6, sigma=0.25))
    arguments = ["adapt", str(run), "--port", "sim://rover_uno?seed=2", "--mode", "alone", "--seed", "9"]
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-c", "from esmaml_robot.cli.main import run; run()", *arguments]
    process = subprocess.Popen(command, stdin=terminal, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        journal, said = run / "adapted" / "robot" / "journal", b""
        end = time.monotonic() + 120
        while len(read_journal(journal)) < 3 and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        while b"Go on" not in said and time.monotonic() < end:
            if select.select([process.stderr], [], [], 0.1)[0]:
                said += os.read(process.stderr.fileno(), 4096)
        assert b"holds without torque" in said
        held = len(read_journal(journal))
        time.sleep(0.3)
        assert len(read_journal(journal)) == held
        os.write(keyboard, answer.encode())
        assert process.wait(max(1.0, end - time.monotonic())) == code
    finally:
        process.kill()
        process.stderr.close()
        os.close(keyboard)
        os.close(terminal)
    episodes = [r["return"] for r in read_journal(journal) if r["kind"] == "episode"]
    expected = side_by_side(RunFolder(run).newest().policy, OperatorConfig(queries=6, sigma=0.25), 9)
    assert tuple(episodes) == expected.history[: len(episodes)]
    assert len(episodes) == (7 if code == 0 else held - 1)
