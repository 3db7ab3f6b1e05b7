"""Emulated chips: the image that would be flashed, in an emulator, its pins in the simulated world.

The host board is the reference: an episode of the same parameters and seeds has the same sensor counts, the same
commands and the same return on every board.
"""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from esmaml_robot.adaptation import OperatorConfig
from esmaml_robot.adaptation.base import Proposals, materialise
from esmaml_robot.adaptation.side_by_side import Item, adapt_many
from esmaml_robot.bridge.controller import RobotController, theta_crc32
from esmaml_robot.bridge.messages import Reason, State
from esmaml_robot.deployment.autonomous import adapt_alone
from esmaml_robot.errors import LinkLost, SafetyStop
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.board_file import load_board
from firmware_export.build import build_firmware
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.tasks import make_family
from sim.virtual_robot.launcher import VirtualRobot

SPEC = load_robot("rover_uno")
LAYOUT = PolicySpec(inputs=2, outputs=2, hidden=(8,))


def resting():
    """Parameters of a policy that steers to the middle: W1 (8, 2), b1, W2 (2, 8), b2."""
    w1, w2 = np.zeros((8, 2)), np.zeros((2, 8))
    w1[:2], w2[:, :2] = 2.0 * np.eye(2), -0.6 * np.eye(2)
    w1[2:], w2[:, 2:] = np.random.default_rng(0).normal(scale=0.1, size=(6, 2)), 0.05
    return np.concatenate([w1.ravel(), np.zeros(8), w2.ravel(), np.zeros(2)]).astype(np.float32)


THETA = resting()
#: seed and sigma of candidates: the policy itself, one that stays in the arena, one that leaves it
CANDIDATES = ((0, 0.0), (4, 0.1), (3, 0.9))
EMULATED = ("atmega328p", "atmega2560", "mps2_an386")


@pytest.fixture(scope="session", params=EMULATED)
def board(request):
    return request.param


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Firmware by board, built once."""
    made = {}

    def build(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            write_policy_c(Policy(LAYOUT, THETA, Normaliser.identity(LAYOUT.inputs)), SPEC, folder)
            write_robot_c(SPEC, folder)
            made[name] = build_firmware(name, SPEC, folder, folder / "out")
        return made[name]

    return build


def episodes(firmware, seed, candidates):
    """Records of episodes on a virtual robot whose hidden task is number `seed`."""
    with (
        VirtualRobot("rover_uno", firmware.command, seed=seed) as robot,
        RobotController.open(robot.port, SPEC, LAYOUT) as controller,
    ):
        controller.connect()
        assert controller.selftest() <= 1e-5
        controller.arm()
        return [controller.run_episode(i + 1, 50, *candidate) for i, candidate in enumerate(candidates)]


def test_an_episode_is_the_same_as_on_the_host_board(built, board):
    ours, theirs = (episodes(built(name), 2, CANDIDATES) for name in (board, "host"))
    assert {r.reason for r in theirs} == {Reason.COMPLETED, Reason.ABORTED}
    for here, there in zip(ours, theirs, strict=True):
        assert here.valid, here.problem
        assert (here.reason, here.steps) == (there.reason, there.steps)
        assert here.sensors.tolist() == there.sensors.tolist()
        assert here.actuators.tolist() == there.actuators.tolist()
        assert np.float32(here.return_) == np.float32(there.return_)
        # a tick comes within a millisecond of its time, counted from the first one, which waits for the robot to stand
        assert np.abs(np.diff(here.controller_times_us)[:-1] - 100_000).max() < 1000


def test_a_step_of_the_operator_makes_the_bits_that_numpy_makes(built, board):
    with (
        VirtualRobot("rover_uno", built(board).command, seed=0) as robot,
        RobotController.open(robot.port, SPEC, LAYOUT) as controller,
    ):
        info = controller.connect()
        assert (info.board, info.state) == (board, State.IDLE)
        theta = THETA
        rng = np.random.default_rng(3)
        # 42 draws a step; benchmarks/direction_bits.py makes a million of them
        drawn = zip(rng.integers(2**32, size=200).tolist(), rng.normal(size=200).tolist(), strict=True)
        for seed, wide in ((7, 0.15), (2**32 - 1, 0.4), *drawn):
            sigma = float(np.float32(wide))
            step = Proposals(theta, np.array([seed], np.uint32), np.array([sigma], np.float32), np.zeros(1, np.uint32))
            theta = materialise([step])[0]
            assert controller.commit(seed, sigma, theta) == theta_crc32(theta)


#: Full speed into a corner: episodes that leave the arena soon, and motors without PWM, at which simavr is quick.
FAST = np.zeros(LAYOUT.dimension, np.float32)
FAST[-2:] = 1.5
#: board, operator, and a seed with which it moves
ALONE = {
    "confirmed": ("atmega328p", OperatorConfig(name="confirmed_hill_climb", queries=5, sigma=0.6, shrink=0.8), 18),
    "gradient": ("atmega328p", OperatorConfig(name="es_gradient", queries=2, sigma=0.6, alpha=0.1), 7),
    "hill": ("atmega2560", OperatorConfig(queries=3, sigma=0.6, shrink=0.8), 18),
    "batch": ("mps2_an386", OperatorConfig(name="batch_hill_climb", queries=2, parallel=2, sigma=0.6), 18),
}


@pytest.mark.parametrize("name", ALONE)
def test_adaptation_on_the_chip_alone_ends_at_the_same_bits(built, name):
    board, config, seed = ALONE[name]
    operator, steps = config.build(), []
    with (
        VirtualRobot("rover_uno", built(board).command, seed=3) as robot,
        RobotController.open(robot.port, SPEC, LAYOUT) as controller,
    ):
        controller.connect()
        controller.upload(FAST)
        controller.arm()
        theta = adapt_alone(controller, operator, seed, on_step=steps.append)
        status = controller.status()
        assert status.state is State.IDLE
        with pytest.raises(SafetyStop, match="IDLE"):
            controller.run_episode(100, 50, 0, 0.0)  # disarmed: nothing moves before somebody arms it
    assert all(step.record.valid for step in steps)
    returns = np.float32([step.record.return_ for step in steps])
    state, told = operator.start(FAST, seed), 0
    while not operator.done(state):
        count = len(operator.ask(state))
        state, told = operator.tell(state, returns[told : told + count]), told + count
    if hasattr(state, "pivot"):
        sigma = getattr(state, "sigma", np.float32(config.sigma))
        assert (steps[-1].pivot, steps[-1].sigma) == (state.pivot, sigma)
    assert theta.tobytes() == operator.result(state).params.tobytes() != FAST.tobytes()
    family = make_family("four_corners")
    task = family.sample("test", 3)

    def evaluate(rows, tasks, seeds):
        return family.evaluate(LAYOUT, Normaliser.identity(LAYOUT.inputs), rows, tasks, seeds)

    (simulated,) = adapt_many(operator, evaluate, [Item(FAST, task, seed)])
    assert simulated.history == tuple(map(float, returns))
    assert simulated.params.tobytes() == theta.tobytes()
    # the painted stack, after episodes and an operator's own work
    assert status.stack_bytes > 0
    assert status.stack_left >= 0.25 * (load_board(board).settings.memory.ram_bytes if board == "atmega328p" else 0)


@pytest.mark.parametrize("name", ["host", "atmega328p", "atmega2560"])
def test_kept_parameters_outlive_a_power_cut(built, name, tmp_path):
    def plug_in():
        return VirtualRobot("rover_uno", built(name).command, seed=1, store=tmp_path / "memory")

    other = np.random.default_rng(5).normal(size=LAYOUT.dimension).astype(np.float32)
    with plug_in() as robot, RobotController.open(robot.port, SPEC, LAYOUT) as controller:
        first = controller.connect()
        assert controller.status().crc32 == theta_crc32(THETA)
        controller.upload(other)
        controller.store()
    with plug_in() as robot, RobotController.open(robot.port, SPEC, LAYOUT) as controller:
        assert controller.connect().boot_id != first.boot_id
        assert controller.read_parameters().tobytes() == other.tobytes()
        assert controller.selftest() <= 1e-5  # that of the policy compiled in
        controller.store(keep=False)
        assert controller.read_parameters().tobytes() == other.tobytes()  # in force until the power goes
    with plug_in() as robot, RobotController.open(robot.port, SPEC, LAYOUT) as controller:
        controller.connect()
        assert controller.read_parameters().tobytes() == THETA.tobytes()


def test_a_pulled_cable_releases_the_motors_in_time(built, board, tmp_path):
    log = tmp_path / "plant.log"
    with VirtualRobot("rover_uno", built(board).command, seed=0, log=log, unplug_at="1:20") as robot:
        with RobotController.open(robot.port, SPEC, LAYOUT) as controller:
            controller.connect()
            controller.arm()
            with pytest.raises(LinkLost):
                controller.run_episode(1, 50, 0, 0.0)
        assert robot.wait(20.0) == 0
    steps = [r for r in map(json.loads, log.read_text().splitlines()) if r["kind"] == "S"]
    assert steps[-1]["torque_on"] is False
    with_torque = [r["time_us"] for r in steps if r["torque_on"]]
    assert len(with_torque) > 20
    # the last sign of life was at tick 19 or 20; a period more, for what is applied only with the next tick
    release_us, period_us = 1000 * SPEC.watchdog.release_ms, 100_000
    assert steps[-1]["time_us"] - with_torque[0] <= 20 * period_us + release_us + period_us


def hanging(board, folder):
    """Firmware whose policy does not return from its 21st call of an episode."""
    write_policy_c(Policy(LAYOUT, THETA, Normaliser.identity(LAYOUT.inputs)), SPEC, folder)
    write_robot_c(SPEC, folder)
    text = (folder / "policy.c").read_text()
    head = "const float *observation, float *action)\n{\n"
    assert text.count(head) == 1
    # the self test makes 16 calls at each start
    hang = "    static int calls;\n    while (calls >= 36) { }\n    calls++;\n    {\n"
    body, _, rest = text.partition(head)
    end = rest.index("\n}\n") + 1
    (folder / "policy.c").write_text(body + head + hang + rest[:end] + "    }\n" + rest[end:])
    return build_firmware(board, SPEC, folder, folder / "out")


def steps_until_lost(firmware, log):
    """Seconds until the host knew of the restart, and what the world was asked for until then and a little longer."""
    with (
        VirtualRobot("rover_uno", firmware.command, seed=0, log=log) as robot,
        RobotController.open(robot.port, SPEC, LAYOUT) as controller,
    ):
        controller.connect()
        controller.arm()
        begun = time.monotonic()
        with pytest.raises(LinkLost, match="restarted"):
            controller.run_episode(1, 50, 0, 0.0)
        seconds = time.monotonic() - begun
    return seconds, [json.loads(line) for line in log.read_text().splitlines()]


def test_a_main_loop_that_hangs_is_reset_and_the_motors_are_off(tmp_path):
    _, records = steps_until_lost(hanging("atmega328p", tmp_path), tmp_path / "plant.log")
    steps = [r for r in records if r["kind"] == "S"]
    moving = [r["time_us"] for r in steps if r["torque_on"]]
    off = next(r["time_us"] for r in steps if not r["torque_on"] and r["time_us"] > moving[-1])
    # the period under way, the watchdog timer's 0.5 s (its oscillator is 10 % off at the most), a start
    assert off - moving[-1] < 100_000 + 550_000 + 250_000


def test_a_main_loop_that_hangs_is_reset_on_the_cortex_m4_too(tmp_path):
    seconds, records = steps_until_lost(hanging("mps2_an386", tmp_path), tmp_path / "plant.log")
    moving = [i for i, r in enumerate(records) if r["torque_on"]]
    assert len(moving) >= 19
    # its clock begins anew: the reset that a start asks the world for is what came next, and nothing moves after it
    assert [r["kind"] for r in records[moving[-1] + 1 :]][:1] == ["R"]
    assert seconds > 1.9, "not by the watchdog timer"


def test_the_chip_has_room_to_spare(built):
    uno = built("atmega328p")
    assert uno.flash_bytes < 0.88 * 32256
    # a stack of 530 bytes on top, as measured above, and a quarter of the 2048 bytes free
    assert uno.ram_bytes + 530 <= 0.75 * 2048


def test_a_robot_that_walks_on_a_cortex_m4(tmp_path):
    spec = load_robot("half_cheetah")
    layout = PolicySpec(inputs=3, outputs=6, clock_steps=12)
    theta = np.random.default_rng(1).normal(scale=0.3, size=layout.dimension).astype(np.float32)
    write_policy_c(Policy(layout, theta, Normaliser.identity(3)), spec, tmp_path)
    write_robot_c(spec, tmp_path)
    records = []
    for name in ("host", "mps2_an386"):
        firmware = build_firmware(name, spec, tmp_path, tmp_path / name)
        with (
            VirtualRobot("half_cheetah", firmware.command, seed=1) as robot,
            RobotController.open(robot.port, spec, layout) as controller,
        ):
            controller.connect()
            controller.arm()
            records.append(controller.run_episode(1, 50, 3, 0.1))
    host, chip = records
    assert chip.valid, chip.problem
    assert (chip.reason, chip.steps) == (Reason.COMPLETED, 60)
    assert chip.sensors.tolist() == host.sensors.tolist()
    assert np.float32(chip.return_) == np.float32(host.return_)


UPRIGHT = {"mounting_error": 0.05, "motor_gain": 1.0, "polarity": 1.0}
BALANCING = np.array([0.3, 0.9, 3.0, 1.5, 0.0], np.float32)  # a row of weights on position, speed, angle and gyro


@pytest.mark.parametrize("name", ["atmega328p", "atmega2560"])
def test_a_cart_pole_on_encoder_spi_and_pwm(tmp_path, name):
    spec = load_robot("cartpole")
    layout = PolicySpec(inputs=4, outputs=1, hidden=())
    write_policy_c(Policy(layout, BALANCING, Normaliser.identity(4)), spec, tmp_path)
    write_robot_c(spec, tmp_path)
    records = []
    for board in (name, "host"):
        firmware = build_firmware(board, spec, tmp_path, tmp_path / board)
        with (
            VirtualRobot("cartpole", firmware.command, seed=1, task=json.dumps(UPRIGHT)) as robot,
            RobotController.open(robot.port, spec, layout) as controller,
        ):
            controller.connect()
            assert controller.selftest() <= 1e-5
            controller.arm()
            records.append([controller.run_episode(i + 1, 50, *c) for i, c in enumerate(((0, 0.0), (1, 4.0)))])
    for ours, theirs in zip(*records, strict=True):
        assert ours.valid, ours.problem
        assert (ours.reason, ours.steps) == (theirs.reason, theirs.steps)
        assert ours.sensors.tolist() == theirs.sensors.tolist()
        assert ours.actuators.tolist() == theirs.actuators.tolist()
        assert np.float32(ours.return_) == np.float32(theirs.return_)
        # a command may be taken in when the period begins; an answer to a question waits until it is over
        assert np.abs(np.diff(ours.controller_times_us)[:-1] - 20_000).max() < 1000
    stood, fell = records[0]
    assert (stood.reason, stood.steps) == (Reason.COMPLETED, 150)
    assert fell.reason is Reason.ABORTED
    assert np.unique(stood.sensors, axis=0).shape[0] > 100  # it moved all the while


def test_two_robots_on_one_machine_do_not_share_a_boot_id(built, board):
    ids = []
    for _ in range(2):
        with (
            VirtualRobot("rover_uno", built(board).command, seed=0) as robot,
            RobotController.open(robot.port, SPEC, LAYOUT) as controller,
        ):
            ids.append(controller.connect().boot_id)
            time.sleep(0.01)
    assert ids[0] != ids[1]
