"""`esmaml emulate`: a board as it is bought, to practise flashing: boot loader, chip, a robot at its pins."""

from __future__ import annotations

import importlib
import json
import signal
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from ..errors import LinkError
from ..robot_spec import load_robot
from .common import err, guarded, own_package

_LOOK_SECONDS = 0.2


def _end(*_: object) -> None:
    raise KeyboardInterrupt


@guarded
def emulate(
    robot: Annotated[str, typer.Option(help="Robot that the board is wired for: by name, or its YAML file.")],
    board: Annotated[str, typer.Option(help="Board, by name.")],
    seed: Annotated[int, typer.Option(help="What is hidden in the simulated world.", min=0, max=2**32 - 1)] = 0,
    store: Annotated[Path | None, typer.Option(help="File for the EEPROM, which then outlives this command.")] = None,
    gdb_port: Annotated[
        int, typer.Option(help="TCP port for GDB, of a board that is loaded by a debugger.", min=1, max=65535)
    ] = 3333,
    paced: Annotated[bool, typer.Option("--paced", help="Real time in place of as fast as possible.")] = False,
) -> None:
    """A board without firmware on a pseudo-terminal, until Ctrl-C or SIGTERM. Opening its port resets it, as by USB.

    Prints one JSON line with "port" and, where a debugger loads the board, "gdb".

    Example: esmaml emulate --robot rover_uno --board atmega328p
    """
    signal.signal(signal.SIGTERM, _end)  # a script that started it in the background ends it like Ctrl-C
    spec = load_robot(robot)
    own_package("firmware_export")
    own_package("sim")
    with tempfile.TemporaryDirectory(prefix="esmaml-board-") as folder:
        with err.status(f"making an emulated {board}"):
            command, bare = importlib.import_module("firmware_export.build").build_bare_board(board, spec, Path(folder))
        by_debugger = bare == "gdb"
        if by_debugger:
            bare = f"gdb:{gdb_port}"
        virtual = importlib.import_module("sim.virtual_robot.launcher").VirtualRobot(
            robot, (command, bare), seed=seed, store=store, paced=paced
        )
        with virtual as plugged:
            gdb = {"gdb": f"127.0.0.1:{gdb_port}"} if by_debugger else {}
            print(json.dumps({"port": plugged.port, **gdb}), flush=True)
            extra = f" --gdb {gdb['gdb']}" if gdb else ""
            err.print(f"Next: esmaml flash IMAGE --port {plugged.port}{extra}; Ctrl-C ends the board.", highlight=False)
            try:
                while plugged.exit_code is None:
                    time.sleep(_LOOK_SECONDS)
            except KeyboardInterrupt:
                err.print("unplugged.")
                return
            if plugged.exit_code:
                raise LinkError(f"the emulated board has ended with exit code {plugged.exit_code}; start it again.")
