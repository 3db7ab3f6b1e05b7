"""`esmaml robot monitor` and `latency`: the controller as it is now, and how long the way to it is."""

from __future__ import annotations

import contextlib
import time
from typing import Annotated, Any

import numpy as np
import typer
from rich.live import Live
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from ..bridge.clock import ControllerClock
from ..bridge.link import Link
from ..bridge.messages import Fault, State
from ..bridge.refusals import fault_name, fault_text
from ..errors import LinkTimeout
from ..robot_spec import RobotSpec, load_robot
from ..signals import Signals
from .common import err, print_json
from .robot_port import AsJson, RobotName, at_port, greeted, robot_name, show

_MONITOR_SECONDS = 0.1


def _clock(clock: ControllerClock, now_us: int) -> str:
    """What is known of the controller's clock, as a sentence for a person."""
    offset = clock.offset(now_us)
    if offset is None:
        return "clock: not known yet"
    uneven = f", began anew {clock.restarts} times: its time is virtual" if clock.restarts else ""
    return (
        f"clock: controller minus host {offset[0] / 1e6:.6f} s ± {offset[1]:.0f} us, rate {clock.rate_ppm:+.1f} ± "
        f"{clock.rate_bound_ppm:.0f} ppm{uneven}"
    )


def _timing(spec: RobotSpec, status: dict[str, Any]) -> str:
    """How much of a control period the controller needs, and how often that was too much."""
    period_us = 1e6 / spec.control_rate_hz
    longest = status["longest_tick_us"]
    needs = f"{longest / 1e3:.3g} ms ({100 * longest / period_us:.1f} %)" if longest else "not known yet"
    late = f"overruns {status['overruns']}"
    return f"control period {period_us / 1e3:g} ms, longest computation {needs}, {late}"


def _last_fault(status: dict[str, Any]) -> str:
    """The fault that is latched or was the last one, with what to do; nothing where there was none."""
    code = status["fault"]
    if code == Fault.NONE:
        return ""
    return f"\nlast fault {fault_name(code)}: {fault_text(code, status['fault_detail'])}"


def _view(spec: RobotSpec, readings: dict[str, Any], status: dict[str, Any], trip_us: float, clock: str) -> Table:
    """One picture of `monitor`."""
    signals = Signals(spec)
    state = State(readings["state"]).name
    table = Table(title=f"{spec.name}: {state}, round trip {trip_us:.0f} us", show_lines=False)
    for column in ("", "name", "counts", "value", "range"):
        table.add_column(column, justify="left" if column in ("", "name") else "right")
    sensors = signals.to_si(np.array(readings["sensors"], np.int32)[:, None])[:, 0]
    commands = signals.commands_si(np.array(readings["actuators"], np.int32)[:, None])[:, 0]
    for kind, parts, counts, values in (
        ("sensor", spec.sensors, readings["sensors"], sensors),
        ("actuator", spec.actuators, readings["actuators"], commands),
    ):
        for part, count, value in zip(parts, counts, values.tolist(), strict=True):
            low, high = part.range
            table.add_row(kind, part.name, str(count), f"{value:.4g} {part.unit}", f"{low:g} .. {high:g}")
    counters = ("bad_frames", "stale", "watchdog_trips", "unsent", "reused")
    counted = ", ".join(f"{name.replace('_', ' ')} {status[name]}" for name in counters)
    table.caption = escape(f"{_timing(spec, status)}\n{counted}\n{clock}{_last_fault(status)}")
    return table


@at_port
def monitor(
    link: Link,
    robot: RobotName = None,
    seconds: Annotated[float, typer.Option(help="Stop after so long; 0: at Ctrl-C.", min=0.0)] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Sensors, actuators, state and loop timing, live, in any state: the place to look whether the wiring is right.

    Example: esmaml robot monitor --port /dev/ttyACM0
    """
    reply = greeted(link)
    spec = load_robot(robot or robot_name(reply["spec_hash"]))
    link.speak_to(spec)
    link.connect()
    end = time.monotonic() + seconds if seconds else float("inf")
    with contextlib.suppress(KeyboardInterrupt), Live(console=err, auto_refresh=False, transient=as_json) as live:
        while True:
            start = time.perf_counter()
            readings = link.query("read", "readings")
            trip_us = 1e6 * (time.perf_counter() - start)
            status = link.query("status", "status_reply")
            live.update(_view(spec, readings, status, trip_us, _clock(link.clock, link.now_us())), refresh=True)
            if time.monotonic() > end:
                break
            time.sleep(_MONITOR_SECONDS)
    if as_json:
        names = [s.name for s in spec.sensors], [a.name for a in spec.actuators]
        values = {
            kind: dict(zip(found, readings[kind], strict=True))
            for kind, found in zip(("sensors", "actuators"), names, strict=True)
        }
        timing = {"control_period_us": round(1e6 / spec.control_rate_hz, 3), "round_trip_us": round(trip_us, 1)}
        timing |= {name: status[name] for name in ("longest_tick_us", "overruns")}
        state = {"robot": spec.name, "state": State(readings["state"]).name, "fault": fault_name(status["fault"])}
        print_json({**state, **values, **timing, **link.clock.facts(link.now_us())})


@at_port
def latency(
    link: Link,
    count: Annotated[int, typer.Option(help="Questions to ask.", min=10, max=1_000_000)] = 1000,
    as_json: AsJson = False,
) -> None:
    """How long a question and its answer take over the line, and what that tells of the controller's clock.

    Example: esmaml robot latency --port /dev/ttyACM0
    """
    link.connect()
    seconds, lost = [], 0
    link.drain()
    for _ in track(range(count), description="asking", console=err, transient=True):
        start = time.perf_counter()
        link.send("status")
        frame = link.receive(time.monotonic() + 1.0)
        if frame is None or frame.name != "status_reply":
            lost += 1
        else:
            seconds.append(time.perf_counter() - start)
    if not seconds:
        raise LinkTimeout(f"{link.port}: none of {count} questions was answered.")
    micros = 1e6 * np.array(seconds)
    values: dict[str, Any] = {"asked": count, "lost": lost}
    values |= {f"p{p:g}_us": round(float(np.percentile(micros, p)), 1) for p in (50, 90, 99, 99.9, 100)}
    values |= link.clock.facts(link.now_us())
    show(f"round trips at {link.port}", values, as_json)
    if not as_json:
        err.print(_clock(link.clock, link.now_us()))
