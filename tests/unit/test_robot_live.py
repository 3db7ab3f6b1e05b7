"""What `esmaml robot monitor` shows of the control period and of the last fault."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from esmaml_robot.bridge.messages import Fault, State
from esmaml_robot.cli.robot_live import _view
from esmaml_robot.robot_spec import load_robot

SPEC = load_robot("rover_uno")
READINGS = {"state": State.IDLE, "sensors": [0] * len(SPEC.sensors), "actuators": [0] * len(SPEC.actuators)}


def picture(**changes) -> str:
    counters = ("overruns", "bad_frames", "stale", "watchdog_trips", "unsent", "reused")
    status = dict.fromkeys((*counters, "longest_tick_us", "fault", "fault_detail"), 0) | changes
    console = Console(width=200, file=io.StringIO())
    with console.capture() as seen:
        console.print(_view(SPEC, READINGS, status, 412.0, "clock: not known yet"))
    return " ".join(seen.get().split())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "control period 100 ms, longest computation not known yet, overruns 0"),
        ({"longest_tick_us": 2954, "overruns": 3}, "longest computation 2.95 ms (3.0 %), overruns 3"),
        ({"fault": Fault.WATCHDOG}, "last fault WATCHDOG: the watchdog ended the last episode"),
        ({"fault": Fault.SERVO_ALERT, "fault_detail": 22 + 256 * 0x20}, "last fault SERVO_ALERT: servo 22 on the bus"),
        ({"fault": 99}, "last fault 99: fault 99, unknown to this version"),
    ],
)
def test_loop_timing_and_the_last_fault_are_shown(changes, words):
    assert words in picture(**changes)


def test_nothing_is_said_of_a_fault_that_was_not():
    assert "fault" not in picture()
