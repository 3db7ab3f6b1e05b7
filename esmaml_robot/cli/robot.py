"""`esmaml robot`: look at a controller, stop it, test it, without a run folder."""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..bridge.link import ControllerInfo, Link, controller_info
from ..bridge.messages import State
from ..bridge.parameters import keep_parameters, read_parameters
from ..bridge.refusals import FROZEN, fault_name, fault_text
from ..bridge.transport import listed_ports
from ..errors import ConfigError
from ..files import atomic_write_bytes
from .common import err, guarded, out, print_json
from .robot_alone import pause, resume, watch
from .robot_arm import arm
from .robot_live import latency, monitor
from .robot_log import log
from .robot_port import AsJson, at_port, greeted, robot_name, short_floats, show

app = typer.Typer(
    help="Look at a controller, stop it, test it.\n\nExample: esmaml robot info --port /dev/ttyACM0",
    no_args_is_help=True,
)


@app.command(name="list")
@guarded
def list_ports(as_json: AsJson = False) -> None:
    """Serial ports of this machine, those with a stable name first, and what is plugged in.

    Example: esmaml robot list
    """
    ports = listed_ports()
    if as_json:
        print_json([asdict(listed) for listed in ports])
        return
    for listed in ports:
        more = [f"now {listed.device}"] if listed.device != listed.port else []
        more += [listed.what] if listed.what else []
        line = f"{listed.port}  ({', '.join(more)})" if more else listed.port
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    if not ports:
        err.print("no serial port here; plug the board in")


def _facts(info: ControllerInfo) -> dict[str, Any]:
    return {
        "board": info.board,
        "robot": robot_name(info.spec_hash),
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


@app.command()
@at_port
def info(link: Link, as_json: AsJson = False) -> None:
    """Who is at a port: board, robot, policy, state. Opens no session, so nobody else's is touched.

    Example: esmaml robot info --port /dev/ttyACM0
    """
    reply = greeted(link)
    low_latency = link.transport.low_latency
    show(f"controller at {link.port}", _facts(controller_info(reply)) | {"low_latency_mode": low_latency}, as_json)


@app.command()
@at_port
def status(link: Link, as_json: AsJson = False) -> None:
    """State, last fault and counters since the start.

    Example: esmaml robot status --port /dev/ttyACM0
    """
    link.connect()
    values = link.query("status", "status_reply")
    values["state"], fault = State(values["state"]).name, values["fault"]
    values["fault"] = fault_name(fault)
    values["crc32"] = f"{values['crc32']:08x}"
    del values["asked_us"], values["received_us"]  # of the question, not of the controller
    show(f"controller at {link.port}", values, as_json)
    if not as_json and (advice := fault_text(fault, values["fault_detail"])):
        err.print(advice)


@app.command()
@at_port
def estop(link: Link) -> None:
    """Emergency stop, latched. Works while another program holds the robot, if not while it holds the port.

    Example: esmaml robot estop --port /dev/ttyACM0
    """
    link.exchange("estop")
    err.print("emergency stop: the actuators are released. `esmaml robot clear-estop` leaves it.")


@app.command(name="clear-estop")
@at_port
def clear_estop(link: Link) -> None:
    """Leave the emergency stop, to IDLE; nothing is armed by it.

    Example: esmaml robot clear-estop --port /dev/ttyACM0
    """
    link.connect()
    link.exchange("clear_estop")
    err.print("the controller is in IDLE.")


@app.command()
@at_port
def stop(link: Link) -> None:
    """Disarm: end whatever runs, release the actuators, acknowledge a fault.

    Example: esmaml robot stop --port /dev/ttyACM0
    """
    link.connect()
    link.exchange("disarm")
    err.print("the controller is in IDLE.")


@app.command()
@at_port
def selftest(link: Link, as_json: AsJson = False) -> None:
    """Replay the test vectors of the policy that was compiled in.

    Example: esmaml robot selftest --port /dev/ttyACM0
    """
    found = link.connect()
    (error,) = short_floats([np.uint32(link.exchange("selftest")).view(np.float32)])
    show("self test passed", {"policy_hash": found.policy_hash, "largest_error": error}, as_json)


@app.command()
@at_port
def params(
    link: Link,
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
    found = link.connect()
    if found.n_parameters == 0:
        raise ConfigError(f"{link.port}: there are no parameters to read or keep: {FROZEN}.")
    theta = read_parameters(link, found.n_parameters)
    if keep or forget:
        keep_parameters(link, keep)
    if save is not None:
        whole = io.BytesIO()
        np.save(whole, theta)  # into a file by its path numpy would add .npy to the name
        atomic_write_bytes(save, whole.getvalue(), error=ConfigError)
    values: dict[str, Any] = {"parameters": short_floats(theta)} if as_json else {"parameters": theta.size}
    (norm,) = short_floats([np.linalg.norm(theta.astype(np.float64))])
    values |= {"norm": norm, "kept": keep, "forgotten": forget}
    show(f"parameters at {link.port}", values, as_json)


for command in (monitor, latency, arm, watch, pause, resume, log):
    app.command()(command)
