"""Boards: what the board.toml of one says. Boards that ship are folders here; a user's own is a folder anywhere."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from esmaml_robot.errors import ExportError, ToolMissing
from esmaml_robot.first_problem import first_problem
from esmaml_robot.robot_spec import RobotSpec

from .flasher_file import FlasherSettings
from .wiring import (
    BusWiring,
    PinWiring,
    RobotWiring,
    Wiring,
    bus_description,
    bus_header,
    no_wiring_header,
    pins_header,
    robot_pins,
)

BOARDS = Path(__file__).parent / "boards"
#: A board to be copied and filled in (`esmaml board new`); it is no board itself.
TEMPLATE = BOARDS / "template"
_FILE = "board.toml"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CompileSettings(_Part):
    """compiler, and the Debian packages that bring it; flags of every file, and of linking; folders of headers beside
    the board's own; what the HAL sees besides; its sources, those of a robot that is wired by a bus, and those of one
    that is not wired, where the board can do without; the programs that read sizes out of an image, that make .hex and
    .bin of it (none: the image is a program), and that list its code; what the processor puts on the stack for an
    interrupt, beyond what -fstack-usage counts, and for a call.

    Paths are from the board's folder; {board} is that folder, {boards} the one of the boards that ship.
    """

    compiler: str
    package: str
    flags: tuple[str, ...]
    link_flags: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    hal_defines: tuple[str, ...] = ()
    hal_sources: tuple[str, ...]
    bus_sources: tuple[str, ...] = ()
    unwired_sources: tuple[str, ...] = ()
    size: str = "size"
    objcopy: str = ""
    objdump: str = "objdump"
    interrupt_bytes: int = Field(default=0, ge=0)
    return_bytes: int = Field(default=0, ge=0)


class MemorySettings(_Part):
    flash_bytes: int = Field(gt=0)
    ram_bytes: int = Field(gt=0)


class BootloaderSettings(_Part):
    """The board's boot loader, for an emulated board as it is bought: an Intel HEX file, or a source to be compiled by
    the board's compiler with these flags; and the Debian package that brings the file.
    """

    file: str
    package: str
    flags: tuple[str, ...] = ()


class EmulatorSettings(_Part):
    """A program of this machine that runs the image: its sources and libraries, and the header or program that says
    whether what it needs is there.
    """

    sources: tuple[str, ...]
    package: str
    header: str = ""
    program: str = ""
    libraries: tuple[str, ...] = ()
    bootloader: BootloaderSettings | None = None


class ArduinoPins(_Part):
    """The same pins by their names on an Arduino, for a sketch: see arduino.py.

    macro: what the Arduino core of this board defines. platform, board: PlatformIO's names. encoder: (A, B) of each.
    pwm: (PWM, direction) of each motor. heartbeat toggles once a control period.
    """

    macro: str
    platform: str
    board: str
    encoder: tuple[tuple[str, str], ...]
    adc: tuple[str, ...]
    pwm: tuple[tuple[str, str], ...]
    spi_select: str
    power_stage: str
    heartbeat: str


class BoardSettings(_Part):
    """board.toml. Without `memory` the board has this machine's; without `emulator` its image runs by itself; without
    `flasher` nothing is written onto it.
    """

    name: str
    summary: str
    compile: CompileSettings
    memory: MemorySettings | None = None
    emulator: EmulatorSettings | None = None
    flasher: FlasherSettings | None = None
    wiring: Mapping[str, Wiring] = Field(default_factory=dict)
    arduino: ArduinoPins | None = None


@dataclass(frozen=True)
class Board:
    """A board and the folder of its files."""

    settings: BoardSettings
    folder: Path = field(repr=False)

    @property
    def name(self) -> str:
        return self.settings.name

    def source(self, name: str) -> Path:
        """A file or folder that board.toml names."""
        return (self.folder / self.fill(name)).resolve()

    def fill(self, text: str) -> str:
        """`text` with the folders that it may name in braces."""
        return text.replace("{boards}", str(BOARDS)).replace("{board}", str(self.folder))


def known_boards() -> list[str]:
    """Names of the boards that ship."""
    return sorted(path.parent.name for path in BOARDS.glob(f"*/{_FILE}") if path.parent != TEMPLATE)


def load_board(name: str) -> Board:
    """Read a board's file: of a board that ships, by name, or of one in a folder of the user's, by a path with a "/".

    Raises ExportError if there is no such board or its file is not as it must be.
    """
    own = "/" in name
    path = (Path(name).expanduser().resolve() if own else BOARDS / name) / _FILE
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return Board(BoardSettings.model_validate(raw), path.parent)
    except FileNotFoundError as error:
        if own:
            raise ExportError(f"there is no {path}; `esmaml board new` makes a folder with one.") from error
        raise ExportError(
            f"no board {name!r}; known boards: {', '.join(known_boards())}; one of your own is a folder, given as a "
            "path with a slash, like ./my_board."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ExportError(f"{path}: not TOML: {error}.") from error
    except ValidationError as error:
        raise ExportError(f"{path}: {first_problem(error, BoardSettings)}.") from error


def find_tool(program: str, package: str, board: str) -> str:
    """Path of a program that the board's tool chain needs, or ToolMissing with the packages that bring it."""
    path = shutil.which(program)
    if path is None:
        raise ToolMissing(
            f"{program!r} is not installed; the firmware for board {board!r} needs it. "
            f"On Debian or Ubuntu: sudo apt-get install {package}"
        )
    return path


def bus_of(board: Board, spec: RobotSpec) -> BusWiring | None:
    """The servo bus that the robot has on a board, or None for pins or nothing."""
    wiring = board.settings.wiring.get(spec.name)
    return wiring if isinstance(wiring, BusWiring) else None


def hal_sources(board: Board, spec: RobotSpec) -> list[Path]:
    """The board's own sources for a robot."""
    names = board.settings.compile.hal_sources
    if bus_of(board, spec) is not None:
        names += board.settings.compile.bus_sources
    elif spec.name not in board.settings.wiring:
        names += board.settings.compile.unwired_sources
    return [board.source(name) for name in names]


def _unwired(board: Board, spec: RobotSpec) -> ExportError:
    known = ", ".join(sorted(board.settings.wiring)) or "none"
    return ExportError(
        f"board {board.name} is not wired for robot {spec.name}; it is for: {known}. Add [wiring.{spec.name}] to "
        f"{board.folder / _FILE}."
    )


def wiring_of(board: Board, spec: RobotSpec) -> RobotWiring:
    """The pins of a robot on a board. Raises ExportError where it has none, or some that do not fit it."""
    wiring = board.settings.wiring.get(spec.name)
    if not isinstance(wiring, PinWiring):
        raise _unwired(board, spec)
    return robot_pins(board.name, wiring, spec)


def render_wiring(board: Board, spec: RobotSpec) -> str:
    """wiring.h of a robot on a board.

    Raises ExportError where the board has no wiring for the robot and needs one, or has one that does not fit it.
    """
    wiring = board.settings.wiring.get(spec.name)
    if wiring is None:
        if board.settings.compile.unwired_sources:
            return no_wiring_header(board.name, spec)
        raise _unwired(board, spec)
    if isinstance(wiring, BusWiring):
        return bus_header(board.name, wiring, spec)
    return pins_header(board.name, wiring, spec)


def render_bus(board: Board, spec: RobotSpec) -> str | None:
    """The robot's servo bus for whoever plays the servos, as JSON; None where there is none."""
    wiring = bus_of(board, spec)
    return None if wiring is None else bus_description(wiring, spec)
