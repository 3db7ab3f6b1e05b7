"""A board of the user's own, in a folder of the user's own: the template, first as it is, then filled in."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from esmaml_robot.bridge.controller import RobotController
from esmaml_robot.bridge.messages import Fault, Reason
from esmaml_robot.errors import ExportError, LinkError, SafetyStop
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.board_file import TEMPLATE, load_board
from firmware_export.board_new import new_board
from firmware_export.build import build_firmware
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.virtual_robot import board_process
from sim.virtual_robot.launcher import VirtualRobot
from sim.virtual_robot.plants import make_plant

LAYOUT = PolicySpec(inputs=2, outputs=2, hidden=(8,))
THETA = np.random.default_rng(2).normal(scale=0.3, size=LAYOUT.dimension).astype(np.float32)
#: what the board has in place of a chip: parts of the boards that ship, found through {boards}
BOARD_TOML = {
    "hal_defines = []": 'hal_defines = ["-D_GNU_SOURCE"]',
    'hal_sources = ["board.c"]': 'hal_sources = ["board.c", "{boards}/common/line.c", "{boards}/common/options.c", '
    '"{boards}/common/world.c"]',
}
#: clock and line, so that it answers; and then what makes it a whole board
ANSWERS = {
    '#include "hal.h"\n': '#include "hal.h"\n#include "line.h"\n#include "options.h"\n#include "world.h"\n'
    "#include <string.h>\n#include <time.h>\n#include <unistd.h>\n",
    "static struct firmware firmware;\n": "static struct firmware firmware;\nstatic struct line line;\n"
    "static struct world world;\n",
    "    return 0; /* FILL IN */\n}\n\n/* Another": "    return (uint32_t)(wall_us() & 0xFFFFFFFFu);\n}\n\n/* Another",
    "    return 1; /* FILL IN */": "    return (uint32_t)getpid();",
    "    (void)data; /* FILL IN */\n    (void)capacity;\n    return 0;\n":
    "    return line_read(&line, data, capacity);\n",
    "    (void)data; /* FILL IN */\n    (void)length;\n    return 0;\n":
    "    return line_write(&line, data, length);\n",
    "FILLED_IN_CLOCK 0": "FILLED_IN_CLOCK 1",
    "FILLED_IN_UART 0": "FILLED_IN_UART 1",
    "FILLED_IN_STORE 0": "FILLED_IN_STORE 1",
    "static int turn(void)\n{\n": "static int turn(void)\n{\n    const struct timespec pause = {0, 100000};\n"
    "    (void)nanosleep(&pause, NULL);\n    line_drain(&line);\n",
    "int main(void)\n": "int main(int argc, char **argv)\n",
    "    start_board();\n": '    world.fd = options_parse(argc, argv, 1, "usage: --plant-fd N").plant_fd;\n'
    "    start_board();\n    line_open(&line);\n",
}  # fmt: skip
MOVES = {
    "/* ---- sense ----\n":
    "static int32_t applied[ROBOT_ACTUATORS];\nstatic int torque, fresh;\n\n/* ---- sense ----\n",
    "    int i;\n    for (i = 0; i < ROBOT_SENSORS; i++) {\n        sensors[i] = 0; /* FILL IN */\n    }\n":
    "    if (!fresh) {\n        world_request(&world, 'S', 0, wall_us(), applied, torque);\n    }\n    fresh = 0;\n"
    "    memcpy(sensors, world.sensors, sizeof world.sensors);\n",
    "    (void)actuators; /* FILL IN */\n    (void)torque_on;\n": "    memcpy(applied, actuators, sizeof applied);\n"
    "    if (torque && !torque_on) {\n        world_request(&world, 'S', 0, wall_us(), applied, 0);\n    }\n"
    "    torque = torque_on;\n",
    "    (void)episode_seed;\n":
    "    world_request(&world, 'R', episode_seed, wall_us(), applied, 0);\n    fresh = 1;\n",
    "FILLED_IN_SENSE 0": "FILLED_IN_SENSE 1",
    "FILLED_IN_ACTUATE 0": "FILLED_IN_ACTUATE 1",
}  # fmt: skip


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    """(spec, file, generated folder) of a rover whose episodes take two seconds."""
    folder = tmp_path_factory.mktemp("own")
    source = (TEMPLATE.parents[2] / "hardware_configs" / "rover_uno.yaml").read_text()
    assert source.count("steps: 100 ") == 1
    file = folder / "rover_uno.yaml"
    file.write_text(source.replace("steps: 100 ", "steps: 20 "))
    spec = load_robot(str(file))
    write_policy_c(Policy(LAYOUT, THETA, Normaliser.identity(2)), spec, folder)
    write_robot_c(spec, folder)
    return spec, file, folder


def fill_in(path, changes):
    text = path.read_text()
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)


def run_one(firmware, robot, **options):
    spec, file, _ = robot
    with (
        VirtualRobot(str(file), firmware.command, seed=2, **options) as virtual,
        RobotController.open(virtual.port, spec, LAYOUT) as controller,
    ):
        info = controller.connect()
        assert controller.selftest() <= 1e-5
        controller.arm()
        return info, controller.run_episode(1, 50, 4, 0.1)


def test_the_template_compiles_and_refuses_to_be_armed_until_it_is_filled_in(robot, tmp_path, monkeypatch):
    spec, file, generated = robot
    monkeypatch.chdir(tmp_path)
    new_board("bench", tmp_path / "bench")
    as_it_is = build_firmware("./bench", spec, generated, tmp_path / "as_it_is")
    assert as_it_is.flash_bytes > 10_000
    monkeypatch.setattr(board_process, "START_SECONDS", 0.5)
    with pytest.raises(LinkError, match="A board of your own has to open a pseudo-terminal"):
        board_process.BoardProcess(as_it_is.command, spec, make_plant(spec, 1, None))
    fill_in(tmp_path / "bench" / "board.toml", BOARD_TOML)
    fill_in(tmp_path / "bench" / "board.c", ANSWERS)
    half = build_firmware("./bench", spec, generated, tmp_path / "half")
    log = tmp_path / "plant.log"
    with (
        VirtualRobot(str(file), half.command, seed=2, log=log) as virtual,
        RobotController.open(virtual.port, spec, LAYOUT) as controller,
    ):
        assert controller.connect().board == "bench"
        assert controller.status().fault is Fault.NOT_WIRED
        assert controller.selftest() <= 1e-5  # the policy is not to blame, and passing lifts nothing
        controller.disarm()
        with pytest.raises(SafetyStop, match="does not say yet where sensors and motors are: fill that in and flash"):
            controller.arm()
    assert log.read_text() == ""  # the world was never touched


def test_a_board_that_is_filled_in_runs_the_episode_of_the_host_board(robot, tmp_path):
    spec, _, generated = robot
    new_board("bench", tmp_path / "bench")
    fill_in(tmp_path / "bench" / "board.toml", BOARD_TOML)
    fill_in(tmp_path / "bench" / "board.c", {**ANSWERS, **MOVES})
    own = build_firmware(str(tmp_path / "bench"), spec, generated, tmp_path / "out", sanitize=True)
    log = tmp_path / "plant.log"
    info, ours = run_one(own, robot, log=log)
    assert info.board == "bench"
    _, theirs = run_one(build_firmware("host", spec, generated, tmp_path / "host"), robot)
    assert ours.valid, ours.problem
    assert (ours.reason, ours.steps) == (theirs.reason, theirs.steps) == (Reason.COMPLETED, 20)
    assert ours.sensors.tolist() == theirs.sensors.tolist()
    assert ours.actuators.tolist() == theirs.actuators.tolist()
    assert np.float32(ours.return_) == np.float32(theirs.return_)
    assert json.loads(log.read_text().splitlines()[-1])["torque_on"] is False


def test_a_new_board_overwrites_nothing_and_has_a_name_of_its_own(tmp_path):
    made = new_board("bench", tmp_path / "bench")
    assert {p.name for p in made} == {"board.c", "board.toml", "README.md"}
    assert load_board(f"{tmp_path}/bench").name == "bench"
    assert not re.search("my_board", "".join(p.read_text() for p in made))
    before = {p.name: p.read_bytes() for p in made}
    for name, folder, words in (
        ("bench", "bench", "is there already; choose another folder"),
        ("host", "other", "there is a board 'host' already"),
        ("../up", "other", "is no name for a board"),
        ("sixteen-letters-", "other", "is no name for a board"),
    ):
        with pytest.raises(ExportError, match=words):
            new_board(name, tmp_path / folder)
    assert {p.name: p.read_bytes() for p in (tmp_path / "bench").iterdir()} == before
    assert not (tmp_path / "other").exists()
