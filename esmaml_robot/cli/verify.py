"""`esmaml verify`: an export's test vectors, replayed on this machine, on emulated chips, on the robot."""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ..bridge.transport import DEFAULT_BAUD
from ..errors import ConfigError
from ..robot_spec import RobotSpec, load_robot
from .common import err, guarded, out, own_package, print_json
from .flash import quiet_link

#: Boards by the emulator that they stand for.
EMULATORS = {"qemu": "mps2_an386", "simavr": "atmega328p"}
_JOIN_SECONDS = 10.0


@contextlib.contextmanager
def _running(command: tuple[str, ...], spec: RobotSpec) -> Iterator[str]:
    """The port of firmware that runs in a world where nothing moves: it is only asked."""
    own_package("sim")
    process = importlib.import_module("sim.virtual_robot.board_process").BoardProcess
    plant = importlib.import_module("sim.virtual_robot.plant").StandingPlant(len(spec.sensors))
    stop, say_stop = os.pipe()
    with process(command, spec, plant) as board:
        server = threading.Thread(target=board.serve, args=((stop,),), daemon=True)
        server.start()
        try:
            yield board.port
        finally:
            os.close(say_stop)
            server.join(_JOIN_SECONDS)
            os.close(stop)


def _on_board(replay: Any, export: Any, spec: RobotSpec, board: str) -> float:
    proofs = importlib.import_module("firmware_export.proof")
    with tempfile.TemporaryDirectory(prefix="esmaml-verify-") as scratch:
        firmware, expected = replay.firmware_with(export, spec, board, Path(scratch))
        with _running(firmware.command, spec) as port, quiet_link(port, DEFAULT_BAUD, 0.0) as link:
            return float(proofs.prove(link, expected).selftest_error)


def _on_robot(export: Any, port: str, baud: int) -> tuple[str, float]:
    proofs = importlib.import_module("firmware_export.proof")
    with quiet_link(port, baud, 0.0) as link:
        proof = proofs.prove(link, export.expected)
    return f"{proof.board} at {port}", float(proof.selftest_error)


@guarded
def verify(
    folder: Annotated[Path, typer.Argument(help="Folder of `esmaml export`.")],
    on: Annotated[
        list[str] | None, typer.Option(help="host, qemu, simavr, robot, or a board by name; may be repeated.")
    ] = None,
    port: Annotated[str | None, typer.Option(help="Serial port, for --on robot.")] = None,
    baud: Annotated[int, typer.Option(help="Baud rate of the port.", min=9600, max=4_000_000)] = DEFAULT_BAUD,
    robot: Annotated[str | None, typer.Option(help="Robot file, where it is not one that ships.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Replay the test vectors of an export: the largest error at each place. Exit code 0: all are within tolerance.

    C in fixed point is replayed on this machine, where it has to give the same bits.

    Example: esmaml verify runs/first/export --on host --on qemu --on simavr
    """
    own_package("firmware_export")
    replay = importlib.import_module("firmware_export.replay")
    boards = importlib.import_module("firmware_export.board_file").known_boards()
    export = replay.load_export(folder)
    places = list(dict.fromkeys(on or ["host"]))
    known = ["host", *EMULATORS, "robot", *(b for b in boards if b != "host")]
    for place in places:
        if place not in known:
            raise ConfigError(f"--on {place!r}: choose from {', '.join(known)}.")
    if ("robot" in places) != (port is not None):
        raise ConfigError("--on robot needs --port, the serial port of the robot, and --port needs --on robot.")
    if not export.has_policy and places != ["host"]:
        raise ConfigError(
            f"{folder} has fixed point only, whose test vectors are replayed on this machine; export c as well, or "
            "leave --on out."
        )
    rows: list[dict[str, Any]] = []
    if "host" in places and export.fixed:
        with err.status("replaying the test vectors of fixed point"):
            replay.replay_fixed_on_host(export)
    for place in places if export.has_policy else ():
        with err.status(f"replaying the test vectors: {place}"):
            if place == "host":
                where, error = "this machine's C compiler", replay.replay_on_host(export)
            elif place == "robot":
                assert port is not None
                where, error = _on_robot(export, port, baud)
            else:
                board = EMULATORS.get(place, place)
                where, error = board, _on_board(replay, export, load_robot(robot or export.robot), board)
        rows.append({"on": place, "where": where, "largest_error": error})
    if as_json:
        fixed = {"fixed": export.fixed} if "host" in places and export.fixed else {}
        print_json({"policy_hash": export.expected.policy_hash, "tolerance": export.tolerance, "results": rows} | fixed)
        return
    table = Table(title=f"policy {export.expected.policy_hash}, allowed {export.tolerance:g} half ranges")
    for column in ("on", "where", "largest error"):
        table.add_column(column)
    for row in rows:
        table.add_row(row["on"], row["where"], f"{row['largest_error']:.3g}")
    if rows:
        out.print(table)
    for name, fixed_hash in export.fixed.items() if "host" in places else ():
        out.print(f"{name}.c, {fixed_hash}: bit for bit on this machine", highlight=False, soft_wrap=True)
