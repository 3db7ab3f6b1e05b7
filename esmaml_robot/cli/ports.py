"""Ports: a path or pyserial URL as it is, or sim://ROBOT?seed=N: a virtual robot with the real firmware."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..errors import ConfigError, ExportError
from ..files import make_folder
from ..policy import Policy
from ..robot_spec import RobotSpec
from .common import own_package

_SIM_KEYS = ("seed", "board", "task", "paced", "unplug_at", "log", "store", "servo_fault")


@dataclass(frozen=True)
class SimPort:
    """The parts of a sim:// port."""

    robot: str
    board: str
    seed: int
    task: str | None
    paced: bool
    unplug_at: str | None
    log: Path | None
    store: Path | None = None
    servo_fault: str | None = None


def parse_sim_port(url: str) -> SimPort | None:
    """The parts of a sim:// URL, or None if `url` is a port of another kind. Raises ConfigError."""
    if not url.startswith("sim:"):
        return None
    example = "expected for example sim://rover_uno?seed=3"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"port {url!r} is no URL ({error}); {example}") from error
    values = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not parts.netloc:
        raise ConfigError(f"port {url!r} names no robot; {example}")
    unknown = sorted(set(values) - set(_SIM_KEYS))
    if unknown:
        raise ConfigError(f"port {url!r}: unknown key {unknown[0]!r}; known: {', '.join(_SIM_KEYS)}")
    try:
        seed = int(values.get("seed", "0"))
    except ValueError as error:
        raise ConfigError(f"port {url!r}: seed is {values['seed']!r}, not a whole number; {example}") from error
    if not 0 <= seed < 2**32:
        raise ConfigError(f"port {url!r}: seed must be 0 to 4294967295")
    paced = values.get("paced", "0")
    if paced not in ("0", "1"):
        raise ConfigError(f"port {url!r}: paced is {paced!r}; it is 0 (as fast as possible) or 1 (real time)")
    log, store = (Path(values[key]) if key in values else None for key in ("log", "store"))
    board = values.get("board", "host")
    return SimPort(
        *(parts.netloc, board, seed, values.get("task"), paced == "1", values.get("unplug_at"), log, store),
        servo_fault=values.get("servo_fault"),
    )


@contextlib.contextmanager
def real_port(
    url: str,
    spec: RobotSpec,
    policy: Policy,
    build_folder: Path,
    robot_file: str | None = None,
    family: tuple[str, dict[str, Any]] | None = None,
) -> Iterator[str]:
    """A port that pyserial can open, for as long as the block lasts.

    For a sim:// URL the policy and the robot model are written as C into `build_folder` and compiled for the board
    asked for. The firmware then runs as a process of its own, in an emulator of the board if that is not this machine,
    with the robot's simulated body behind its pins. `robot_file` is where `spec` came from, if not from a file that
    ships; `family` (name, options) is what body and hidden task are drawn from, if not from the first family on that
    robot.
    """
    sim_port = parse_sim_port(url)
    if sim_port is None:
        yield url
        return
    if sim_port.robot != spec.name:
        raise ConfigError(
            f"port {url!r} is robot {sim_port.robot}, the one asked for is {spec.name}; make --robot and --port agree."
        )
    own_package("firmware_export")
    own_package("sim")
    try:
        importlib.import_module("firmware_export.board_file").load_board(sim_port.board)  # before anything is written
    except ExportError as error:
        raise ConfigError(f"port {url!r}: {error}") from error
    make_folder(build_folder)
    importlib.import_module("firmware_export.policy_c").write_policy_c(policy, spec, build_folder)
    importlib.import_module("firmware_export.robot_c").write_robot_c(spec, build_folder)
    build = importlib.import_module("firmware_export.build").build_firmware
    firmware = build(sim_port.board, spec, build_folder, build_folder / "firmware")
    command = [sys.executable, "-m", "sim.virtual_robot"]
    if family is not None:
        name, options = family
        command += ["--family", name, "--options", json.dumps(options)]
    virtual = importlib.import_module("sim.virtual_robot.launcher").VirtualRobot(
        robot_file or spec.name,
        firmware.command,
        seed=sim_port.seed,
        task=sim_port.task,
        log=sim_port.log,
        paced=sim_port.paced,
        unplug_at=sim_port.unplug_at,
        store=sim_port.store,
        bus=firmware.bus,
        servo_fault=sim_port.servo_fault,
        command=command,
    )
    with virtual as robot:
        yield robot.port
