"""`esmaml doctor`: what this machine has of what building, flashing and connecting need, and what installs the rest."""

from __future__ import annotations

import grp
import importlib
import os
import platform
from importlib import metadata
from typing import Annotated, Any

import typer
from rich.table import Table

from .. import __version__
from ..bridge.transport import available_ports
from ..errors import PortError, ToolMissing
from .common import err, guarded, out, own_package, print_json

#: Optional parts of the package, and the distribution that each brings.
EXTRAS = {"regression": "scikit-learn", "baselines": "torch", "video": "imageio-ffmpeg"}


def _extras() -> dict[str, str | None]:
    """Version of each optional distribution, None where it is not installed."""
    found: dict[str, str | None] = {}
    for extra, distribution in EXTRAS.items():
        try:
            found[extra] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            found[extra] = None
    return found


def _port(path: str) -> dict[str, Any]:
    """May this user open a serial port, and which group would let him?"""
    try:
        group = grp.getgrgid(os.stat(path).st_gid).gr_name
    except (OSError, KeyError):
        group = "dialout"
    return {"port": path, "usable": os.access(path, os.R_OK | os.W_OK), "group": group}


def _table(tools: list[Any]) -> Table:
    table = Table(title="tools")
    for column in ("", "what", "name", "version", "for", "Debian package"):
        table.add_column(column, overflow="fold")
    for tool in tools:
        there = "yes" if tool.usable else (tool.problem or "missing")
        table.add_row(there, tool.kind, tool.name, tool.version, ", ".join(tool.boards), tool.package)
    return table


@guarded
def doctor(
    board: Annotated[list[str] | None, typer.Option(help="Only what this board needs; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Compilers, emulators, flashers, serial ports: what is there, and the one command that installs what is missing.

    Exit code 0: all there; 9: a tool is missing; 6: a serial port is there that this user may not open.

    Example: esmaml doctor --board atmega328p
    """
    own_package("firmware_export")
    module = importlib.import_module("firmware_export.tools")
    with err.status("asking compilers, emulators and flashers"):
        tools = module.look_for_tools(tuple(board or ()))
    ports = [_port(path) for path in available_ports()]
    extras, install = _extras(), module.install_command(tools)
    forbidden = sorted({port["group"] for port in ports if not port["usable"]})
    if as_json:
        rows = [
            {"kind": t.kind, "name": t.name, "package": t.package, "boards": list(t.boards), "path": t.found,
             "version": t.version, "usable": t.usable, "problem": t.problem}
            for t in tools
        ]  # fmt: skip
        values = {"tools": rows, "install": install, "ports": ports, "extras": extras}
        print_json(values | {"python": platform.python_version(), "esmaml_robot": __version__})
    else:
        out.print(_table(tools))
        for extra, version in extras.items():
            there = f"{EXTRAS[extra]} {version}" if version else f"not installed: pip install 'esmaml-robot[{extra}]'"
            out.print(f"optional {extra}: {there}", highlight=False, markup=False)
        for port in ports:
            may = "may be opened" if port["usable"] else f"may not be opened: it is for group {port['group']}"
            out.print(f"serial port {port['port']}: {may}", highlight=False)
        if not ports:
            out.print("no serial port here")
    if install:
        raise ToolMissing(f"something is missing; this installs it: {install}")
    if forbidden:
        groups = ",".join(forbidden)
        raise PortError(f"a serial port may not be opened: sudo usermod -aG {groups} $USER, then log in anew.")
