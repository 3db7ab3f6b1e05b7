"""The table "After each fault" of docs/safety.md, read row by row: each fault is brought about, and leaves the state
and the actuators that the row names, and an error with its exit code.

A row has a scenario here, or the test that brings it about where a chip, a cable or a servo is needed for it.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from esmaml_robot.bridge.messages import Fault, Flag, Result, State
from esmaml_robot.bridge.refusals import refusal
from esmaml_robot.errors import EsmamlError

PERIOD, HOLD, RELEASE = 100_000, 300_000, 600_000
SAFE, DRIVEN = [0, 0, 0], [500, -250, 1]
OTHER = 0x2222
DOCS = Path(__file__).parents[2] / "docs" / "safety.md"
E2E = Path(__file__).parents[1] / "e2e"


class Row(NamedTuple):
    fault: str
    actuators: str
    state: str
    seen: str
    advice: str


def table() -> dict[str, Row]:
    section = DOCS.read_text(encoding="utf-8").partition("## After each fault")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    rows = [Row(*(cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|")))) for line in lines]
    return {row.fault: row for row in rows}


ROWS = table()


def error_of(board, name, **values) -> EsmamlError:
    """What the host makes of the controller's refusal."""
    (ack,) = [f for f in board.send(name, **values) if f.name == "ack"]
    assert ack.values["result"] != Result.OK
    return refusal("port", name, ack.values["result"], ack.values["detail"])


def next_run(board) -> EsmamlError:
    return error_of(board, "run", episode_id=9, episode_seed=1, direction_seed=0, sigma=0.0)


def running(board):
    board.hello()
    assert board.command("arm") == Result.OK
    assert board.run() == Result.OK
    board.tick(alive=True)
    assert board.outputs == DRIVEN
    return board


def silent(board):
    running(board).c.advance(HOLD)
    board.c.poll()
    assert board.outputs == [0, 0, 1], "hold"
    board.c.advance(RELEASE - HOLD)
    board.c.poll()
    return board, next_run(board)


def restarted(board):
    return running(board).again()


def not_finite(board):
    running(board).c.break_policy()
    board.tick()
    return board, next_run(board)


def sigma_not_finite(board):
    board.hello()
    board.command("arm")
    return board, error_of(board, "run", episode_id=1, episode_seed=1, direction_seed=1, sigma=float("inf"))


def not_filled_in(board):
    board.c.firmware_unfit(ctypes.byref(ctypes.c_char.in_dll(board.c, "firmware")), ctypes.c_uint8(Fault.NOT_WIRED))
    board.hello()
    return board, error_of(board, "arm")


def aborted(board):
    running(board).c.sense(1, -4501)
    board.tick()
    return board


def stopped(board):
    running(board).send("estop")
    return board, next_run(board)


def second_host(board):
    (ack,) = running(board).hello(OTHER)
    return board, refusal("port", "hello", ack.values["result"], ack.values["detail"])


def noise(board):
    running(board).raw(b"\x07noise on the line\0" * 20)
    return board


def line_full(board):
    running(board).c.line_full(1)
    board.tick()
    board.c.line_full(0)
    assert board.status()["unsent"] > 0
    return board


def action_late(board):
    board.hello()
    board.command("arm")
    board.command("run_hosted", episode_id=4, episode_seed=78)
    board.tick(0)
    board.send("action", episode_id=4, tick=0, actuators=list(DRIVEN[:2]))
    board.c.advance(PERIOD)
    board.tick()
    assert board.tick(0)[0].values["flags"] == Flag.LATE
    return board


def power_cut(board):
    board.hello()
    board.c.store_cut(ctypes.c_long(7))
    assert board.command("params_store", keep=1) == Result.NOT_STORED
    board.c.store_cut(ctypes.c_long(-1))
    return board.again()


def device(fault: Fault, detail: int) -> Callable:
    def fails(board):
        running(board).c.devices(fault, detail, 0)
        board.tick()
        error = next_run(board)
        assert str(detail & 0xFF) in str(error), "its id"
        return board, error

    return fails


def set_up_otherwise(board):
    board.hello()
    board.c.devices(Fault.SERVO_SETUP, 31, 0)
    error = error_of(board, "arm")
    assert "31" in str(error)
    return board, error


SCENARIOS: dict[str, Callable] = {
    "host too slow, for a moment": silent,
    "host killed or hung": lambda board: silent(board)[0],
    "cable pulled": lambda board: silent(board)[0],
    "controller restarted": restarted,
    "policy gives NaN": not_finite,
    "parameters not finite": sigma_not_finite,
    "board or sketch not filled in": not_filled_in,
    "abort condition": aborted,
    "emergency stop": stopped,
    "second host": second_host,
    "noise on the line": noise,
    "telemetry lost": line_full,
    "action late (`--mode host`)": action_late,
    "power cut while parameters are kept": power_cut,
    "servo or sensor lost on the bus": device(Fault.BUS_LOST, 22),
    "servo alert": device(Fault.SERVO_ALERT, 31 + 256 * 0x20),
    "servo stopped by itself": device(Fault.SERVO_STOPPED, 12),
    "servo set up otherwise": set_up_otherwise,
    "line full": line_full,
}
#: Rows that no scenario here brings about, and the tests that do.
ELSEWHERE = {
    "start-up check failed": ("../c/test_firmware_builds.py", "a_wrong_build_boots_into_fault_and_cannot_be_armed"),
    "firmware of another robot": ("test_link.py", "another_robot_or_another_policy_is_refused_with_both_values"),
    "firmware with a policy in integers": (
        "test_frozen_firmware.py", "the_command_builds_an_image_that_proves_itself_and_does_not_adapt",
    ),
    "main loop hangs": ("test_boards.py", "a_main_loop_that_hangs_is_reset_on_the_cortex_m4_too"),
    "controller of a servo bus dead": ("test_servo_bus.py", "servos_stop_by_themselves_when_the_controller_dies"),
}  # fmt: skip
#: The end of what a row says of the actuators, and what the pins then say; None: what they said before.
PINS = {
    "hold, then safe": SAFE,
    "safe, torque off": SAFE,
    "torque off": SAFE,
    "off": SAFE,
    "driven": DRIVEN,
    "the last ones": DRIVEN,
    "the last values for two periods; then safe, torque off": SAFE,
    "as they were": None,
}


def test_every_row_is_brought_about_somewhere():
    assert set(ROWS) == SCENARIOS.keys() | ELSEWHERE.keys()
    assert not SCENARIOS.keys() & ELSEWHERE.keys()
    for file, name in ELSEWHERE.values():
        assert f"def test_{name}(" in (E2E / file).read_text(encoding="utf-8"), f"{file}: {name}"


@pytest.mark.parametrize("fault", SCENARIOS)
def test_what_a_fault_leaves_is_what_its_row_says(boot, fault):
    row = ROWS[fault]
    made = SCENARIOS[fault](boot())
    board, error = made if isinstance(made, tuple) else (made, None)
    named = row.state.removeprefix("after: ")
    before = State.RUN if fault == "second host" else State.ARMED
    assert board.state is (before if named == "as it was" else State[named])
    pins = PINS[row.actuators]
    assert board.outputs == (DRIVEN if pins is None and before is State.RUN else pins or SAFE)
    codes = [int(code) for code in re.findall(r"exit (\d+)", row.seen)]
    if error is not None:
        assert codes == [error.exit_code], error
