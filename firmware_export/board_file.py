"""Boards: what boards/<name>/board.toml says of one, and which of its pins are which sensors and motors of a robot."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from esmaml_robot.errors import ExportError, ToolMissing
from esmaml_robot.robot_spec import RobotSpec

from .c_source import render

BOARDS = Path(__file__).parent / "boards"
#: Kinds of pins, in the order of their numbers in C.
KINDS = ("encoder", "adc", "pwm")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CompileSettings(_Part):
    """compiler, and the Debian packages that bring it; flags of every file, and of linking, where {board} is the
    board's folder; folders of headers beside the board's own; what the HAL sees besides; its sources; the program that
    reads sizes out of an image.
    """

    compiler: str
    package: str
    flags: tuple[str, ...]
    link_flags: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    hal_defines: tuple[str, ...] = ()
    hal_sources: tuple[str, ...]
    size: str = "size"


class MemorySettings(_Part):
    flash_bytes: int = Field(gt=0)
    ram_bytes: int = Field(gt=0)


class EmulatorSettings(_Part):
    """A program of this machine that runs the image: its sources and libraries, and the header or program that says
    whether what it needs is there.
    """

    sources: tuple[str, ...]
    package: str
    header: str = ""
    program: str = ""
    libraries: tuple[str, ...] = ()


class Wiring(_Part):
    """pwm_top: counts of full power. sensors, actuators: KIND.NUMBER by the name in the robot's file."""

    pwm_top: int = Field(gt=0, le=65535)
    sensors: Mapping[str, str]
    actuators: Mapping[str, str]


class BoardSettings(_Part):
    """board.toml. Without `memory` the board has this machine's; without `emulator` its image runs by itself."""

    name: str
    summary: str
    compile: CompileSettings
    memory: MemorySettings | None = None
    emulator: EmulatorSettings | None = None
    wiring: Mapping[str, Wiring] = Field(default_factory=dict)


@dataclass(frozen=True)
class Board:
    """A board and the folder of its files."""

    settings: BoardSettings
    folder: Path = field(repr=False)

    @property
    def name(self) -> str:
        return self.settings.name

    def source(self, name: str) -> Path:
        """A file that board.toml names."""
        return (self.folder / name).resolve()


def known_boards() -> list[str]:
    return sorted(path.parent.name for path in BOARDS.glob("*/board.toml"))


def load_board(name: str) -> Board:
    """Read a board's file. Raises ExportError if there is no such board or its file is not as it must be."""
    path = BOARDS / name / "board.toml"
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return Board(BoardSettings.model_validate(raw), path.parent)
    except FileNotFoundError as error:
        raise ExportError(f"no board {name!r}; known boards: {', '.join(known_boards())}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ExportError(f"{path}: not TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ExportError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error


def find_tool(program: str, package: str, board: str) -> str:
    """Path of a program that the board's tool chain needs, or ToolMissing with the packages that bring it."""
    path = shutil.which(program)
    if path is None:
        raise ToolMissing(
            f"{program!r} is not installed; the firmware for board {board!r} needs it. "
            f"On Debian or Ubuntu: sudo apt-get install {package}"
        )
    return path


def _wire(board: Board, robot: str, name: str, pin: str | None, allowed: tuple[str, ...]) -> tuple[str, int]:
    if pin is None:
        raise ExportError(f"board {board.name}: the wiring of robot {robot} has no pin for {name!r}; add it.")
    kind, dot, number = pin.partition(".")
    if kind not in allowed or not dot or not number.isdecimal():
        raise ExportError(
            f"board {board.name}: the wiring of robot {robot} says {name} = {pin!r}; expected one of "
            f"{', '.join(f'{k}.0' for k in allowed)}, or a higher number."
        )
    return kind, int(number)


def render_wiring(board: Board, spec: RobotSpec) -> str:
    """wiring.h of a robot on a board.

    Raises ExportError where the board has no wiring for the robot, or one that does not fit it.
    """
    wiring = board.settings.wiring.get(spec.name)
    if wiring is None:
        known = ", ".join(sorted(board.settings.wiring)) or "none"
        raise ExportError(
            f"board {board.name} is not wired for robot {spec.name}; it is for: {known}. Add [wiring.{spec.name}] to "
            f"{board.folder / 'board.toml'}."
        )
    sensors = [_wire(board, spec.name, s.name, wiring.sensors.get(s.name), ("encoder", "adc")) for s in spec.sensors]
    actuators = [_wire(board, spec.name, a.name, wiring.actuators.get(a.name), ("pwm",)) for a in spec.actuators]
    for actuator in spec.actuators:
        if max(abs(c) for c in actuator.counts) > wiring.pwm_top:
            raise ExportError(
                f"board {board.name}: {actuator.name} of robot {spec.name} has counts {list(actuator.counts)}; its PWM "
                f"has {wiring.pwm_top} steps to each side."
            )
    return render(
        "wiring.h.j2",
        board=board.name,
        spec=spec,
        kinds=KINDS,
        pwm_top=wiring.pwm_top,
        tables=[("sensors", sensors), ("actuators", actuators)],
        names={"sensors": [s.name for s in spec.sensors], "actuators": [a.name for a in spec.actuators]},
    )
