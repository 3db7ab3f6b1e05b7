"""`esmaml robot`: look at a controller, stop it, test it, without a run folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.live import Live
from rich.progress import track
from rich.table import Table

from ..bridge.link import ControllerInfo, Link, controller_info
from ..bridge.messages import Fault, State
from ..bridge.parameters import keep_parameters, read_parameters
from ..bridge.refusals import fault_text
from ..bridge.transport import DEFAULT_BAUD, available_ports, open_port
from ..checkpoint import RunFolder
from ..errors import ConfigError, LinkTimeout
from ..robot_spec import RobotSpec, known_robots, load_robot
from ..signals import Signals
from .common import err, guarded, out, print_json
from .ports import parse_sim_port, real_port

app = typer.Typer(help="Look at a controller, stop it, test it.", no_args_is_help=True)

_MONITOR_SECONDS = 0.1

Port = Annotated[str, typer.Option(help="Serial port, pyserial URL, or sim://ROBOT?seed=N with --run.")]
Baud = Annotated[int, typer.Option(help="Baud rate.", min=9600, max=4_000_000)]
Run = Annotated[Path | None, typer.Option(help="Run whose policy a sim:// robot gets.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@contextlib.contextmanager
def _link(port: str, baud: int, run: Path | None) -> Iterator[Link]:
    """A link without a session to whatever controller is at the port."""
    virtual = parse_sim_port(port)
    with contextlib.ExitStack() as stack:
        path = port
        if virtual is not None:
            if run is None:
                raise ConfigError(f"port {port!r}: a virtual robot needs --run, the run folder whose policy it gets")
            policy = RunFolder(run).newest().policy
            folder = run / "virtual"
            path = stack.enter_context(real_port(port, load_robot(virtual.robot), policy, folder))
        transport = open_port(path, baud)
        stack.callback(transport.close)
        yield Link(transport, None, None)


def _robot_name(spec_hash: str) -> str:
    """The robot that ships with this hash, or the hash itself."""
    for name in known_robots():
        if load_robot(name).spec_hash == spec_hash:
            return name
    return f"unknown here ({spec_hash}): give --robot"


def _facts(info: ControllerInfo) -> dict[str, Any]:
    return {
        "board": info.board,
        "robot": _robot_name(info.spec_hash),
        "state": info.state.name,
        "spec_hash": info.spec_hash,
        "layout_hash": info.layout_hash,
        "policy_hash": info.policy_hash,
        "parameters": info.n_parameters,
        "control_rate_hz": round(1e6 / info.control_period_us, 3),
        "firmware_id": f"{info.firmware_id:08x}",
        "boot_id": f"{info.boot_id:08x}",
        "session": info.session_before,
    }


def _show(title: str, values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(values)
        return
    table = Table(title=title, show_header=False)
    for key, value in values.items():
        table.add_row(key.replace("_", " "), str(value))
    out.print(table)


@app.command(name="list")
@guarded
def list_ports(as_json: AsJson = False) -> None:
    """Serial ports of this machine, those with a stable name first.

    Example: esmaml robot list
    """
    ports = available_ports()
    if as_json:
        print_json(ports)
    elif ports:
        out.print("\n".join(ports))
    else:
        err.print("no serial port here; plug the board in")


@app.command()
@guarded
def info(port: Port, baud: Baud = DEFAULT_BAUD, run: Run = None, as_json: AsJson = False) -> None:
    """Who is at a port: board, robot, policy, state. Opens no session, so nobody else's is touched.

    Example: esmaml robot info --port /dev/ttyACM0
    """
    with _link(port, baud, run) as link:
        reply = link.probe()
        if reply is None:
            raise LinkTimeout(f"{link.port}: no controller answered. Is it the right port, and the right baud rate?")
        _show(f"controller at {link.port}", _facts(controller_info(reply)), as_json)


@app.command()
@guarded
def status(port: Port, baud: Baud = DEFAULT_BAUD, run: Run = None, as_json: AsJson = False) -> None:
    """State, last fault and counters since the start.

    Example: esmaml robot status --port /dev/ttyACM0
    """
    with _link(port, baud, run) as link:
        link.connect()
        values = link.query("status", "status_reply")
        values["state"], fault = State(values["state"]).name, values["fault"]
        values["fault"] = Fault(fault).name if fault in set(Fault) else str(fault)
        values["crc32"] = f"{values['crc32']:08x}"
        _show(f"controller at {link.port}", values, as_json)
        if not as_json and (advice := fault_text(fault)):
            err.print(advice)


def _view(spec: RobotSpec, readings: dict[str, Any], status: dict[str, Any], trip_us: float) -> Table:
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
    counters = ("overruns", "bad_frames", "stale", "watchdog_trips", "unsent")
    table.caption = ", ".join(f"{name.replace('_', ' ')} {status[name]}" for name in counters)
    return table


@app.command()
@guarded
def monitor(
    port: Port,
    baud: Baud = DEFAULT_BAUD,
    run: Run = None,
    robot: Annotated[
        str | None, typer.Option(help="Robot by name, or its YAML file; default: the one that ships with its hash.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Stop after so long; 0: at Ctrl-C.", min=0.0)] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Sensors, actuators, state and counters, live, in any state: the place to look whether the wiring is right.

    Example: esmaml robot monitor --port /dev/ttyACM0
    """
    with _link(port, baud, run) as link:
        reply = link.probe()
        if reply is None:
            raise LinkTimeout(f"{link.port}: no controller answered. Is it the right port, and the right baud rate?")
        spec = load_robot(robot or _robot_name(reply["spec_hash"]))
        watched = Link(link.transport, spec, None)
        watched.connect()
        end = time.monotonic() + seconds if seconds else float("inf")
        with contextlib.suppress(KeyboardInterrupt), Live(console=err, auto_refresh=False, transient=as_json) as live:
            while True:
                start = time.perf_counter()
                readings = watched.query("read", "readings")
                trip_us = 1e6 * (time.perf_counter() - start)
                status = watched.query("status", "status_reply")
                live.update(_view(spec, readings, status, trip_us), refresh=True)
                if time.monotonic() > end:
                    break
                time.sleep(_MONITOR_SECONDS)
        if as_json:
            names = [s.name for s in spec.sensors], [a.name for a in spec.actuators]
            values = {
                kind: dict(zip(found, readings[kind], strict=True))
                for kind, found in zip(("sensors", "actuators"), names, strict=True)
            }
            print_json({"robot": spec.name, "state": State(readings["state"]).name, **values})


@app.command()
@guarded
def estop(port: Port, baud: Baud = DEFAULT_BAUD) -> None:
    """Emergency stop, latched. Works while another program holds the robot, if not while it holds the port.

    Example: esmaml robot estop --port /dev/ttyACM0
    """
    with _link(port, baud, None) as link:
        link.exchange("estop")
        err.print("emergency stop: the actuators are released. `esmaml robot clear-estop` leaves it.")


@app.command(name="clear-estop")
@guarded
def clear_estop(port: Port, baud: Baud = DEFAULT_BAUD) -> None:
    """Leave the emergency stop, to IDLE; nothing is armed by it.

    Example: esmaml robot clear-estop --port /dev/ttyACM0
    """
    with _link(port, baud, None) as link:
        link.connect()
        link.exchange("clear_estop")
        err.print("the controller is in IDLE.")


@app.command()
@guarded
def stop(port: Port, baud: Baud = DEFAULT_BAUD) -> None:
    """Disarm: end whatever runs, release the actuators, acknowledge a fault.

    Example: esmaml robot stop --port /dev/ttyACM0
    """
    with _link(port, baud, None) as link:
        link.connect()
        link.exchange("disarm")
        err.print("the controller is in IDLE.")


@app.command()
@guarded
def selftest(port: Port, baud: Baud = DEFAULT_BAUD, run: Run = None, as_json: AsJson = False) -> None:
    """Replay the test vectors of the policy that was compiled in.

    Example: esmaml robot selftest --port /dev/ttyACM0
    """
    with _link(port, baud, run) as link:
        found = link.connect()
        error = float(np.uint32(link.exchange("selftest")).view(np.float32))
        _show("self test passed", {"policy_hash": found.policy_hash, "largest_error": error}, as_json)


@app.command()
@guarded
def params(
    port: Port,
    baud: Baud = DEFAULT_BAUD,
    run: Run = None,
    save: Annotated[Path | None, typer.Option("--save", help="Write them as a .npy file.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Make the controller keep them over power off.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Forget those kept: next start with the built-in.")] = False,
    as_json: AsJson = False,
) -> None:
    """The base parameters in force: read them, keep them over power off, or forget those kept.

    Example: esmaml robot params --port /dev/ttyACM0 --save theta.npy
    """
    if keep and forget:
        raise ConfigError("--keep and --forget: one of the two")
    with _link(port, baud, run) as link:
        found = link.connect()
        theta = read_parameters(link, found.n_parameters)
        if keep or forget:
            keep_parameters(link, keep)
        if save is not None:
            np.save(save, theta)
        values: dict[str, Any] = {"parameters": theta.tolist()} if as_json else {"parameters": theta.size}
        values |= {"norm": float(np.linalg.norm(theta.astype(np.float64))), "kept": keep, "forgotten": forget}
        _show(f"parameters at {link.port}", values, as_json)


@app.command()
@guarded
def latency(
    port: Port,
    baud: Baud = DEFAULT_BAUD,
    run: Run = None,
    count: Annotated[int, typer.Option(help="Questions to ask.", min=10, max=1_000_000)] = 1000,
    as_json: AsJson = False,
) -> None:
    """How long a question and its answer take over the line.

    Example: esmaml robot latency --port /dev/ttyACM0
    """
    with _link(port, baud, run) as link:
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
        _show(f"round trips at {link.port}", values, as_json)
