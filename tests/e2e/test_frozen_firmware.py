"""Firmware whose policy is in integers: the same episode to the bit on three boards and in numpy, and no parameters.

The images are those that `esmaml build --format int16` makes; the numpy twin drives the simulator's own body.
"""

import json
import subprocess

import numpy as np
import pytest

from esmaml_robot.adaptation import OperatorConfig
from esmaml_robot.bridge.controller import RobotController, theta_crc32
from esmaml_robot.bridge.messages import Flag, Reason
from esmaml_robot.checkpoint import RunFolder
from esmaml_robot.cli.freezing import frozen_policy
from esmaml_robot.deployment.autonomous import adapt_alone
from esmaml_robot.errors import ConfigError, SpecMismatch
from esmaml_robot.robot_spec import load_robot
from firmware_export.board_file import load_board
from firmware_export.build import build_firmware
from firmware_export.frozen_policy import write_frozen_c
from firmware_export.image import load_image
from firmware_export.robot_c import write_robot_c
from sim.rollout import run_on_counts
from sim.tasks import make_family
from sim.virtual_robot.launcher import VirtualRobot

SPEC = load_robot("rover_uno")
BOARDS = ("host", "mps2_an386", "atmega328p")
#: hidden task and episode seed: one whose commands are at their ends for a while
TASK, SEED = 2, 50


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("frozen") / "run")


@pytest.fixture(scope="module")
def frozen(run):
    """The policy in int16, as the command quantises it."""
    return frozen_policy(RunFolder(run).newest().policy, SPEC, "int16", run)


@pytest.fixture(scope="module")
def built(frozen, tmp_path_factory):
    made = {}

    def build(board):
        if board not in made:
            folder = tmp_path_factory.mktemp(board)
            write_frozen_c(frozen, folder)
            write_robot_c(SPEC, folder)
            chip = load_board(board).settings.memory is not None
            made[board] = build_firmware(
                board, SPEC, folder, folder / "out", stack=chip, frozen=True, sanitize=not chip
            )
        return made[board]

    return build


def in_numpy(frozen):
    """Records (tick, flags, sensors, actuators) of the episode, steps and return."""
    family, records = make_family("four_corners"), []
    family_task = family.sample("test", TASK)
    ticks = []
    batch = run_on_counts(
        family.plant, family.signals, frozen.commands, [family_task], np.array([SEED], np.uint32), ticks.append
    )
    family.close()
    for tick in ticks[:-1]:
        wanted = frozen.commands(tick.sensor_counts, tick.index)
        flags = Flag.CLIPPED * int(frozen.clipped(wanted)[0])
        flags |= Flag.RATE_LIMITED * int((wanted != tick.commands).any())
        records.append((tick.index, int(flags), tick.sensor_counts[:, 0].tolist(), tick.commands[:, 0].tolist()))
    last = ticks[-1]
    flags = int(Flag.FINAL | Flag.RELEASED)
    records.append((last.index, flags, last.sensor_counts[:, 0].tolist(), last.commands[:, 0].tolist()))
    return records, int(batch.steps[0]), np.float32(batch.returns[0])


def on_board(firmware, frozen):
    records = []
    with (
        VirtualRobot("rover_uno", firmware.command, seed=TASK) as robot,
        RobotController.open(robot.port, SPEC, frozen.layout) as controller,
    ):
        info = controller.connect()
        assert (info.layout_hash, info.policy_hash) == (frozen.layout.layout_hash, frozen.policy_hash)
        assert controller.selftest() == 0.0
        controller.arm()
        episode = controller.run_episode(1, SEED, 0, 0.0, records.append)
        status = controller.status()
    assert episode.valid, episode.problem
    assert episode.reason is Reason.COMPLETED
    seen = [(r.tick, int(r.flags), list(r.sensors), list(r.actuators)) for r in records]
    return (seen, episode.steps, np.float32(episode.return_)), status


def test_an_episode_in_int16_has_the_same_bits_on_three_boards_and_in_numpy(frozen, built):
    expected = in_numpy(frozen)
    records, steps, total = expected
    assert steps == SPEC.episode.steps == len(records) - 1
    assert len({tuple(r[3]) for r in records}) > 20, "an episode in which something happens"
    assert {r[1] & Flag.CLIPPED for r in records} == {0, Flag.CLIPPED}
    for board in BOARDS:
        found, status = on_board(built(board), frozen)
        assert found[0] == records, board
        assert (found[1], found[2].tobytes()) == (steps, total.tobytes()), board
        if board == "atmega328p":
            assert status.stack_left >= 0.25 * load_board(board).settings.memory.ram_bytes


def test_each_chip_has_its_kernel_and_the_uno_a_quarter_of_its_memory_free(built):
    def code(board):
        firmware = built(board)
        objdump = load_board(board).settings.compile.objdump
        return subprocess.run([objdump, "-d", firmware.image], capture_output=True, text=True, check=True).stdout

    assert "\tsmlad\t" in code("mps2_an386")
    assert "<fixed_dense>:" in code("atmega328p")  # plain C would have no function of this name
    for board in BOARDS:
        # nothing of a float policy is left in it
        assert (
            "policy_forward"
            not in subprocess.run(["strings", built(board).image], capture_output=True, text=True, check=True).stdout
        )
    uno = built("atmega328p")
    assert uno.stack.bytes is not None, uno.stack.why
    assert uno.ram_bytes + uno.stack.bytes <= 0.75 * 2048


def test_what_would_change_parameters_is_refused_by_the_firmware_by_name(frozen, built):
    with (
        VirtualRobot("rover_uno", built("host").command, seed=TASK) as robot,
        RobotController.open(robot.port, SPEC, frozen.layout) as controller,
    ):
        controller.connect()
        before = controller.status().crc32
        theta = np.ones(42, np.float32)
        for call in (lambda: controller.upload(theta), lambda: controller.commit(1, 0.1, theta)):
            with pytest.raises(ConfigError, match=r"compiled in as integers.*esmaml build RUN"):
                call()
        link = controller.link
        for name, fields in {
            "params_begin": {"count": 42, "crc32": theta_crc32(theta)},
            "params_chunk": {"offset": 0, "used": 1, "values": [1.0] * 16},
            "params_end": {},
            "commit": {"direction_seed": 1, "sigma": 0.1, "crc32": 7},
            "params_store": {"keep": 1},
        }.items():
            with pytest.raises(ConfigError, match=f"refused '{name}': .*compiled in as integers"):
                link.exchange(name, **fields)
        controller.arm()
        for sigma in (0.1, -0.1):
            with pytest.raises(ConfigError, match=r"refused 'run': .*no candidates"):
                controller.run_episode(1, SEED, 4, sigma)
        with pytest.raises(ConfigError, match=r"refused 'adapt': .*no adaptation"):
            adapt_alone(controller, OperatorConfig(queries=2).build(), 0)
        assert controller.status().crc32 == before
        assert controller.run_episode(2, SEED, 0, 0.0).valid


def test_the_command_builds_an_image_that_proves_itself_and_does_not_adapt(run, esmaml, frozen):
    built = json.loads(esmaml("build", run, "--meta", "--board", "host", "--format", "int16", "--json").stdout)
    image = load_image(run / "firmware" / "host-int16")
    assert (built["arithmetic"], built["parameters"]) == ("int16", 0)
    assert (image.manifest.layout_hash, image.manifest.policy_hash) == (frozen.layout.layout_hash, frozen.policy_hash)
    said = esmaml("build", run, "--meta", "--board", "host", "--format", "int12", check=False)
    assert said.returncode != 0
    assert "float32, int16, int8" in said.stderr
    with VirtualRobot("rover_uno", (str(image.folder / "firmware"),), seed=1) as robot:
        done = esmaml("adapt", run, "--port", robot.port, "--yes", "--name", "frozen", check=False)
        assert done.returncode == SpecMismatch("").exit_code, done.stderr
        assert "compiled in as integers" in " ".join(done.stderr.split())
        done = esmaml("robot", "params", "--port", robot.port, check=False)
        assert done.returncode == ConfigError("").exit_code, done.stdout
        assert "compiled in as integers" in " ".join(done.stderr.split())


def test_an_image_is_flashed_onto_a_uno_and_proves_itself(run, esmaml, desk, tmp_path):
    built = json.loads(esmaml("build", run, "--meta", "--board", "atmega328p", "--format", "int16", "--json").stdout)
    with desk.board("atmega328p") as board:
        flashed = json.loads(esmaml("flash", built["folder"], "--port", board["port"], "--json").stdout)
        assert flashed["policy_hash"] == built["policy_hash"]
        assert flashed["selftest_error"] == 0
        done = esmaml("flash", built["folder"], "--port", board["port"], "--parameters-only", check=False)
        assert done.returncode == SpecMismatch("").exit_code
        assert "frozen in int16" in " ".join(done.stderr.split())
