"""Firmware: runtime, generated policy and robot model, and a board's own part, compiled and linked.

The same portable C goes onto every board; what differs stands in boards/<board>/board.toml and the HAL beside it.
Compiled strictly: a warning is an error, here as on a user's machine.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from esmaml_robot.errors import ExportError, ToolMissing
from esmaml_robot.files import atomic_write_text, make_folder
from esmaml_robot.robot_spec import RobotSpec

from .board_file import BOARDS, Board, find_tool, hal_sources, load_board, render_bus, render_wiring
from .robot_c import write_robot_c
from .stack import StackBound, bound_stack, read_stack_usage

HERE = Path(__file__).parent
RUNTIME = HERE / "runtime"
FROZEN = RUNTIME / "frozen"
COMMON, VIRTUAL = BOARDS / "common", BOARDS / "virtual"

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
GENERATED = ("policy.c", "policy.h", "robot_model.c", "robot_model.h")
GENERATED_FROZEN = (*GENERATED, "fixed.c", "fixed.h")
#: Of the runtime, what a policy in integers has no use for: candidates and the operators that order them.
_ADAPTS = ("adaptation.c", "climb.c", "confirmed.c", "directions.c", "gradient.c", "moments.c")
_COMPILE_SECONDS = 120
INCLUDES = "/usr/include"


@dataclass(frozen=True)
class Firmware:
    """What was built.

    Attributes:
        board: its name.
        image: what goes onto the chip, or the program, where the board is this machine.
        command: the program of this machine that runs it, to be given --plant-fd; empty where there is none.
        flash_bytes, ram_bytes: what it takes up; RAM without the stack.
        bus: description of the servo bus for whoever plays the servos; None where the robot has none on this board.
        firmware_id: by which it is known in HELLO: a hash of sources and flags.
        stack: the worst case, where it was asked for.
    """

    board: str
    image: Path
    command: tuple[str, ...]
    flash_bytes: int
    ram_bytes: int
    bus: Path | None = None
    firmware_id: int = 0
    stack: StackBound | None = None


def run_compiler(command: Sequence[str], what: str) -> str:
    """Run a compiler or another tool; returns what it printed.

    Raises ExportError with its first lines if it fails or takes too long.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ExportError(f"compiling {what} took over {_COMPILE_SECONDS} s; is the machine overloaded?") from error
    if done.returncode != 0:
        lines = "\n".join((done.stderr or done.stdout).strip().splitlines()[:12])
        raise ExportError(f"compiling {what} failed ({' '.join(command[:1])} exit {done.returncode}):\n{lines}")
    return done.stdout


def runtime_sources(frozen: bool = False) -> list[Path]:
    """The portable core. With a frozen policy, a file in runtime/frozen takes the place of the one of its name."""
    plain = sorted(RUNTIME.glob("*.c"))
    if not frozen:
        return plain
    own = {path.name: path for path in FROZEN.glob("*.c")}
    return [own.get(path.name, path) for path in plain if path.name not in _ADAPTS]


def check_generated(generated: Path, frozen: bool = False) -> None:
    """Raise ExportError unless the folder holds the generated policy and robot model."""
    missing = [name for name in (GENERATED_FROZEN if frozen else GENERATED) if not (generated / name).is_file()]
    if missing:
        raise ExportError(f"{generated} lacks {', '.join(missing)}; export the policy into this folder first.")


def _firmware_id(sources: Sequence[Path], flags: Sequence[str]) -> int:
    """32-bit hash of all that goes into the firmware: the same sources have the same id."""
    h = hashlib.sha256(" ".join(flags).encode())
    for path in sorted(sources, key=lambda p: p.name):
        h.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return int.from_bytes(h.digest()[:4], "big")


def _check_memory(board: Board, flash: int, ram: int) -> None:
    memory = board.settings.memory
    if memory is None:
        return
    for what, used, there in (("flash", flash, memory.flash_bytes), ("RAM", ram, memory.ram_bytes)):
        if used > there:
            raise ExportError(
                f"the firmware takes {used} bytes of {what}, {used - there} more than board {board.name} has; "
                "use a smaller policy, or a larger board."
            )


def _sizes(board: Board, image: Path) -> tuple[int, int]:
    """Bytes of flash and of RAM (data and bss; the stack comes on top) of a linked image."""
    size = find_tool(board.settings.compile.size, board.settings.compile.package, board.name)
    printed = run_compiler([size, str(image)], "the size of the image")
    numbers = re.search(r"^\s*(\d+)\s+(\d+)\s+(\d+)\s", printed, re.MULTILINE)
    if numbers is None:
        raise ExportError(f"{size} printed no sizes for {image}: {printed[:200]!r}")
    text, data, bss = map(int, numbers.groups())
    return text + data, data + bss


def _stack(board: Board, image: Path, objects: Path) -> StackBound:
    """The worst case of a linked image's stack, from the compiler's reports beside the object files."""
    settings = board.settings.compile
    objdump = find_tool(settings.objdump, settings.package, board.name)
    code = run_compiler([objdump, "-d", str(image)], "the list of the image's code")
    return bound_stack(code, read_stack_usage(objects), settings.return_bytes, settings.interrupt_bytes)


def _check_stack(board: Board, ram: int, stack: StackBound) -> None:
    memory = board.settings.memory
    if memory is not None and stack.bytes is not None and ram + stack.bytes > memory.ram_bytes:
        raise ExportError(
            f"the firmware takes {ram} bytes of RAM and up to {stack.bytes} of stack, "
            f"{ram + stack.bytes - memory.ram_bytes} more than board {board.name} has; use a smaller policy, or a "
            "larger board."
        )


def _include_flags(board: Board, generated: Path) -> list[str]:
    own = (board.folder, *map(board.source, board.settings.compile.includes))
    return [f"-I{folder}" for folder in (RUNTIME, generated, COMMON, VIRTUAL, *own)]


def _build_emulator(board: Board, generated: Path, scratch: Path) -> Path | None:
    """The program that runs the board's image, or None where the image is a program itself."""
    emulator = board.settings.emulator
    if emulator is None:
        return None
    if emulator.program:
        find_tool(emulator.program, emulator.package, board.name)
    header = Path(INCLUDES) / emulator.header
    if emulator.header and not header.is_file():
        raise ToolMissing(
            f"the emulator of board {board.name!r} needs {emulator.header}, which is not installed. "
            f"On Debian or Ubuntu: sudo apt-get install {emulator.package}"
        )
    cc = find_tool("cc", "gcc libc6-dev", board.name)
    sources = [*map(board.source, emulator.sources), *sorted(COMMON.glob("*.c")), generated / "robot_model.c"]
    # a library's headers are not ours to be strict about
    system = ["-isystem", str(header.parent)] if emulator.header else []
    run_compiler(
        [cc, "-std=c99", "-O2", "-D_GNU_SOURCE", *WARNINGS, *system, *_include_flags(board, generated),
         *map(str, sources), *emulator.libraries, "-o", str(scratch / "emulator")],
        f"the emulator of board {board.name}",
    )  # fmt: skip
    return scratch / "emulator"


def _build_bootloader(board: Board, out: Path) -> Path:
    """The board's boot loader as an Intel HEX file: what its package brings, or what its source is compiled to."""
    emulator, compile_settings = board.settings.emulator, board.settings.compile
    loader = emulator.bootloader if emulator is not None else None
    if loader is None:
        raise ExportError(f"board {board.name} has no boot loader that could be emulated; choose another board.")
    source = Path(loader.file)
    if not source.is_file():
        raise ToolMissing(
            f"the boot loader of board {board.name!r}, {source}, is not installed. On Debian or Ubuntu: "
            f"sudo apt-get install {loader.package}"
        )
    if source.suffix == ".hex":
        return source
    compiler = find_tool(compile_settings.compiler, compile_settings.package, board.name)
    objcopy = find_tool(compile_settings.objcopy, compile_settings.package, board.name)
    linked, target = out / "bootloader.elf", out / "bootloader.hex"
    run_compiler([compiler, *loader.flags, str(source), "-o", str(linked)], f"the boot loader of board {board.name}")
    run_compiler([objcopy, "-O", "ihex", str(linked), str(target)], f"the boot loader of board {board.name}")
    return target


def build_bare_board(name: str, spec: RobotSpec, out: Path) -> tuple[str, ...]:
    """The command of an emulated board as it is bought, with no firmware of ours, wired for a robot.

    Args:
        name: of the board.
        spec: the robot that the board is wired for.
        out: folder for the emulator, the generated files that it needs, and the boot loader.

    Raises ToolMissing, and ExportError where the board is not wired for the robot, or has neither a boot loader nor a
    debugger's access in its emulator.
    """
    board = load_board(name)
    make_folder(out, error=ExportError)
    write_robot_c(spec, out)
    if board.settings.wiring:
        atomic_write_text(out / "wiring.h", render_wiring(board, spec), error=ExportError)
    flasher = board.settings.flasher
    if board.settings.emulator is None or flasher is None:
        raise ExportError(f"board {board.name} is a program of this machine: there is nothing to be flashed.")
    bare = "gdb" if flasher.tool == "gdb" else str(_build_bootloader(board, out))
    return str(_build_emulator(board, out, out)), bare


def build_firmware(
    name: str,
    spec: RobotSpec,
    generated: Path,
    out: Path,
    *,
    sanitize: bool = False,
    stack: bool = False,
    frozen: bool = False,
) -> Firmware:
    """Compile the firmware for a board, and the program that emulates the board, if it is not this machine.

    Args:
        name: of the board.
        spec: the robot.
        generated: folder with policy.{h,c} and robot_model.{h,c} of the same robot; wiring.h goes there as well.
        out: folder for firmware, or firmware.elf and emulator; each replaced only when everything compiled.
        sanitize: with address and undefined-behaviour sanitizers, which end the program at the first finding; for the
            host board.
        frozen: the policy in `generated` is one of integers (frozen_policy.py).
        stack: find the worst case of the stack as well, and refuse an image for which it is too much; for chips.

    Raises:
        ToolMissing: no compiler, or no emulator. ExportError: something does not compile or fit, a generated file is
            missing, or the board is not wired for the robot.
    """
    board = load_board(name)
    settings = board.settings.compile
    compiler = find_tool(settings.compiler, settings.package, board.name)
    check_generated(generated, frozen)
    own = [generated / part for part in (GENERATED_FROZEN if frozen else GENERATED)]
    headers = [*sorted(RUNTIME.glob("*.h")), *(path for path in own if path.suffix == ".h")]
    headers += [header for folder in settings.includes for header in sorted(board.source(folder).glob("*.h"))]
    if board.settings.wiring:
        headers.append(atomic_write_text(generated / "wiring.h", render_wiring(board, spec), error=ExportError))
    core = [*runtime_sources(frozen), *(path for path in own if path.suffix == ".c")]
    hal = hal_sources(board, spec)
    flags = (*settings.flags, *(SANITIZERS if sanitize else ()))
    firmware_id = _firmware_id([*core, *hal, *headers], flags)
    folders = _include_flags(board, generated)
    common = [compiler, *flags, *WARNINGS, "-fstack-usage", "-DESMAML_FIRMWARE", *folders]
    emulated = board.settings.emulator is not None
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".build-") as temporary:
            scratch = Path(temporary)
            objects = []
            for source in (*core, *hal):
                target = scratch / f"{source.stem}.o"
                extra = [*settings.hal_defines, f"-DFIRMWARE_ID=0x{firmware_id:08X}UL"] if source in hal else []
                run_compiler([*common, *extra, "-c", str(source), "-o", str(target)], source.name)
                objects.append(str(target))
            linked = scratch / ("firmware.elf" if emulated else "firmware")
            link = [board.fill(flag) for flag in settings.link_flags]
            run_compiler([compiler, *flags, *objects, *link, "-o", str(linked)], "the firmware (linking)")
            flash, ram = _sizes(board, linked)
            _check_memory(board, flash, ram)
            bound = _stack(board, linked, scratch) if stack else None
            if bound is not None:
                _check_stack(board, ram, bound)
            emulator = _build_emulator(board, generated, scratch)
            made = [path.replace(out / path.name) for path in (linked, emulator) if path is not None]
        bus = render_bus(board, spec)
        bus_file = None if bus is None else atomic_write_text(out / "bus.json", bus, error=ExportError)
    except OSError as error:
        raise ExportError(f"the firmware cannot be written to {out}: {error.strerror or error}.") from error
    return Firmware(board.name, made[0], tuple(map(str, reversed(made))), flash, ram, bus_file, firmware_id, bound)


def build_host_firmware(spec: RobotSpec, generated: Path, out: Path, *, sanitize: bool = False) -> Path:
    """`build_firmware` for the host board: the path of the program."""
    return build_firmware("host", spec, generated, out, sanitize=sanitize).image
