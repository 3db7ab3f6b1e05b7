"""`esmaml robot watch`, `pause` and `resume`: an adaptation that runs on the controller alone, from a computer that was
not there when it began, or that was unplugged.
"""

from __future__ import annotations

import contextlib
import time
from typing import Annotated, Any

import typer
from rich.live import Live

from ..bridge.link import Link
from ..bridge.messages import Flag, Operator, Progress
from ..errors import SafetyStop
from ..robot_spec import load_robot
from .common import ask, err, print_json
from .robot_port import AsJson, RobotName, at_port, greeted, shipped_robot

#: How often it is asked how far it is; also what keeps other programs out.
_ASK_SECONDS = 0.25


def _watched(link: Link, robot: str | None) -> Link:
    """The same line with the messages of the robot at its other end, if that is a known one, and a session."""
    reply = greeted(link)
    name = robot or shipped_robot(reply["spec_hash"])
    watched = Link(link.transport, None if name is None else load_robot(name), None)
    watched.connect()
    return watched


def _line(values: dict[str, Any]) -> str:
    operator = Operator(values["operator_code"]).name.lower()
    state = Progress(values["progress"]).name.lower()
    return (
        f"{operator} {state}: episode {values['told']} of {values['episodes']}, return to beat {values['pivot']:.2f}, "
        f"sigma {values['sigma']:.4g}"
    )


def _follow(link: Link, seconds: float, live: Live) -> dict[str, Any]:
    """Fields of the newest ADAPTATION, once it is over or the time is up."""
    end = time.monotonic() + seconds if seconds else float("inf")
    values = link.query("progress", "adaptation")
    asked = time.monotonic()
    while values["progress"] in (Progress.RUNNING, Progress.PAUSED) and time.monotonic() < end:
        live.update(_line(values), refresh=True)
        if time.monotonic() > asked + _ASK_SECONDS:
            values, asked = link.query("progress", "adaptation"), time.monotonic()
        frame = link.receive(time.monotonic() + _ASK_SECONDS)
        if frame is not None and frame.name == "adaptation":
            values = frame.values
        elif frame is not None and frame.name == "telemetry" and not frame.values["flags"] & Flag.FINAL:
            # an emulated controller's time need not slow down to that of a silent host
            link.send("keep_alive", episode_id=frame.values["episode_id"], tick=frame.values["tick"])
    return values


@at_port
def watch(
    link: Link,
    robot: RobotName = None,
    seconds: Annotated[float, typer.Option(help="Stop watching after so long; 0: at its end.", min=0.0)] = 0.0,
    as_json: AsJson = False,
) -> None:
    """How far an adaptation is that the controller runs alone; Ctrl-C stops watching, and it goes on.

    Example: esmaml robot watch --port /dev/ttyACM0
    """
    watched, values = _watched(link, robot), None
    with contextlib.suppress(KeyboardInterrupt), Live(console=err, auto_refresh=False) as live:
        values = _follow(watched, seconds, live)
    if values is None:
        err.print("no longer watched; it goes on by itself.")
        return
    if as_json:
        names = {"progress": Progress(values["progress"]).name, "operator": Operator(values["operator_code"]).name}
        print_json(values | names | {"crc32": f"{values['crc32']:08x}"})
    else:
        err.print(_line(values))
    port = link.port
    match values["progress"]:
        case Progress.DONE:
            err.print(f"its parameters are in force and kept: esmaml robot params --port {port} --save theta.npy")
        case Progress.ENDED:
            raise SafetyStop(f"{port}: the adaptation was ended before its time. `esmaml robot status` says more.")
        case Progress.NONE:
            raise SafetyStop(f"{port}: no adaptation has run on this controller since its start.")


@at_port
def pause(link: Link) -> None:
    """Make an adaptation on the controller alone hold, without torque; the running episode is dropped.

    Example: esmaml robot pause --port /dev/ttyACM0
    """
    link.connect()
    link.exchange("pause")
    err.print("the robot holds without torque. `esmaml robot resume` goes on, `esmaml robot stop` ends it.")


@at_port
def resume(
    link: Link,
    assume_yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the robot moves.")] = False,
) -> None:
    """Go on with an adaptation that was paused: the same episode begins anew.

    Example: esmaml robot resume --port /dev/ttyACM0
    """
    if not assume_yes:
        ask("The robot is about to move. Is the space around it free?", "the robot was left in its pause.")
    link.connect()
    link.exchange("resume")
    err.print("it goes on. `esmaml robot watch` shows how far it is.")
