"""The shape of the `esmaml robot` commands: a port, whoever is there, and a black box of what went wrong."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.table import Table

from ..bridge.link import LOADER_SECONDS, Link
from ..bridge.transport import DEFAULT_BAUD, open_port
from ..checkpoint import RunFolder
from ..errors import ConfigError
from ..files import free_name
from ..robot_spec import known_robots, load_robot
from .common import err, guarded, out, print_json
from .ports import parse_sim_port, real_port

Port = Annotated[str, typer.Option(help="Serial port, pyserial URL, or sim://ROBOT?seed=N with --run.")]
Baud = Annotated[int, typer.Option(help="Baud rate.", min=9600, max=4_000_000)]
Run = Annotated[Path | None, typer.Option(help="Run whose policy a sim:// robot gets.")]
BlackBoxFile = Annotated[
    Path | None,
    typer.Option(help="Where the last messages go if something goes wrong; default: a file in the temporary folder."),
]
RobotName = Annotated[
    str | None, typer.Option(help="Robot by name, or its YAML file; default: the one that ships with its hash.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def _black_box_file(asked: Path | None) -> Path:
    if asked is None:
        handle, name = tempfile.mkstemp(prefix="esmaml-blackbox-", suffix=".jsonl")
        os.close(handle)
        return Path(name)
    return free_name(asked) if asked.is_file() else asked


@contextlib.contextmanager
def _link(port: str, baud: int, run: Path | None, black_box: Path | None) -> Iterator[Link]:
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
        link = Link(transport, None, None)
        stack.enter_context(link.recorded(lambda: _black_box_file(black_box)))
        yield link


def at_port(command: Callable[..., None]) -> Callable[..., None]:
    """A command at a port: `command(link, its own options)` becomes one that takes --port, --baud, --run, --black-box.

    The link has no session yet. An error leaves a black box, and ends the command as `guarded` says.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    def option(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)

    shared = [
        option("port", Port),
        option("baud", Baud, DEFAULT_BAUD),
        option("run", Run, None),
        option("black_box", BlackBoxFile, None),
    ]

    @functools.wraps(command)
    def at(*, port: str, baud: int, run: Path | None, black_box: Path | None, **options: Any) -> None:
        with _link(port, baud, run, black_box) as link:
            command(link, **options)

    parameters = [*shared[:3], *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), shared[3]]
    at.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    at.__annotations__ = {p.name: p.annotation for p in parameters}
    return guarded(at)


def greeted(link: Link) -> dict[str, Any]:
    """Who is there, without a session; a boot loader that took the question for its own gets time to go on."""
    reply = link.probe()
    if reply is None:
        with err.status("no answer yet: waiting in case a boot loader is still at work"):
            time.sleep(LOADER_SECONDS)
            reply = link.probe()
    if reply is None:
        raise link.nobody()
    return reply


def shipped_robot(spec_hash: str) -> str | None:
    """The robot that ships with this hash, if one does."""
    return next((name for name in known_robots() if load_robot(name).spec_hash == spec_hash), None)


def robot_name(spec_hash: str) -> str:
    """The robot that ships with this hash, or the hash itself."""
    return shipped_robot(spec_hash) or f"unknown here ({spec_hash}): give --robot"


def short_floats(values: npt.ArrayLike) -> list[float]:
    """float32 values (n,) as floats that print with no more digits than float32 needs to come back bit for bit."""
    return [float(str(value)) for value in np.asarray(values, np.float32).ravel()]


def show(title: str, values: dict[str, Any], as_json: bool) -> None:
    """A result: a table for a person, or JSON."""
    if as_json:
        print_json(values)
        return
    table = Table(title=title, show_header=False)
    for key, value in values.items():
        table.add_row(key.replace("_", " "), str(value))
    out.print(table)
