"""`esmaml robot arm`: hold a robot armed, and never leave it so."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Annotated

import typer
from rich.live import Live

from ..bridge.link import Link
from ..bridge.messages import Fault, State
from ..bridge.refusals import fault_text
from ..errors import LinkError, SafetyStop, SpecMismatch
from .common import ask, err
from .robot_port import AsJson, at_port, show

#: Well below any robot's release time, so that nobody else can take an armed robot.
_ASK_SECONDS = 0.1
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_MEANING = (
    "Armed means that an episode may start: from then on the motors can move at any moment. Torque stays off until one "
    "does. Keep hands, hair and cables away, and the stop button in reach."
)


@contextlib.contextmanager
def _told_to_end() -> Iterator[list[int]]:
    """Ctrl-C, a closed terminal and `kill` as numbers in a list: none of them may come between armed and disarmed."""
    told: list[int] = []

    def tell(number: int, frame: FrameType | None) -> None:
        told.append(number)

    before = {one: signal.signal(one, tell) for one in _ENDING}
    try:
        yield told
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _hold(link: Link, seconds: float, told: list[int]) -> None:
    """Until the time is over or somebody says so, with a live line. Raises SafetyStop where it is armed no longer."""
    end = time.monotonic() + seconds
    err.print(f"ARMED for {seconds:g} s; Ctrl-C disarms")
    with Live(console=err, auto_refresh=False, transient=True) as live:
        while not told and (left := end - time.monotonic()) > 0:
            status = link.query("status", "status_reply")
            if status["state"] != State.ARMED:
                state, why = State(status["state"]).name, fault_text(status["fault"], status["fault_detail"])
                because = f": {why}" if why and status["fault"] != Fault.NONE else ""
                raise SafetyStop(f"{link.port}: the robot is armed no longer, its state is {state}{because}.")
            live.update(f"{left:.0f} s left", refresh=True)
            time.sleep(min(_ASK_SECONDS, left))


def _disarm(link: Link) -> None:
    """Disarm, and make sure. Raises LinkError where the controller cannot be reached."""
    try:
        link.exchange("disarm")
        state = State(link.query("status", "status_reply")["state"])
    except LinkError as error:
        raise LinkError(
            f"{error} So it could not be DISARMED from here. An armed robot has no torque, and nobody can start an "
            "episode without greeting it first, which disarms it; cut its power all the same, or `esmaml robot stop`."
        ) from error
    if state is not State.IDLE:
        raise SafetyStop(f"{link.port}: disarmed, but its state is {state.name}.")


@at_port
def arm(
    link: Link,
    seconds: Annotated[float, typer.Option(help="Disarm after so long.", min=0.1, max=3600.0)] = 60.0,
    assume_yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the robot is armed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Arm the robot, hold it armed while this command runs, and disarm it: to see that it arms, and what refuses.

    While it is held, no other program can take the robot. It is disarmed after --seconds, at Ctrl-C, and when the
    terminal closes or the command is told to end.

    Example: esmaml robot arm --port /dev/ttyACM0 --seconds 30
    """
    found = link.connect()
    err.print(_MEANING)
    if not assume_yes:
        ask(f"Arm the robot at {link.port} (board {found.board}) for {seconds:g} s?")
    start = time.monotonic()
    with _told_to_end() as told:
        try:
            link.exchange("arm")
            _hold(link, seconds, told)
        except (SafetyStop, SpecMismatch):
            raise  # it is not armed, and DISARM would acknowledge a fault that nobody has looked at
        except BaseException:
            _disarm(link)  # what got no answer may have been carried out all the same
            raise
        held = time.monotonic() - start
        _disarm(link)
    show("disarmed", {"state": State.IDLE.name, "held_seconds": round(held, 3)}, as_json)
    if told and told[0] != signal.SIGINT:
        raise typer.Exit(128 + told[0])
