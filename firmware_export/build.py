"""The host firmware: runtime, generated policy and robot model, and the host board, compiled into one program.

The same portable C goes onto every board; what differs stands in boards/<board>/board.toml and the HAL beside it.
Compiled strictly: a warning is an error, here as on a user's machine.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esmaml_robot.errors import ExportError, ToolMissing

HERE = Path(__file__).parent
RUNTIME = HERE / "runtime"
BOARDS = HERE / "boards"

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
GENERATED = ("policy.c", "policy.h", "robot_model.c", "robot_model.h")
_COMPILE_SECONDS = 120


@dataclass(frozen=True)
class Board:
    """boards/<name>/board.toml: how firmware for this board is compiled."""

    name: str
    folder: Path
    compiler: str
    package: str
    flags: tuple[str, ...]
    hal_defines: tuple[str, ...]
    hal_sources: tuple[str, ...]


def load_board(name: str) -> Board:
    """Read a board's file. Raises ExportError if there is no such board or its file is incomplete."""
    folder = BOARDS / name
    try:
        raw: dict[str, Any] = tomllib.loads((folder / "board.toml").read_text(encoding="utf-8"))
        part = raw["compile"]
        return Board(
            name=raw["name"],
            folder=folder,
            compiler=part["compiler"],
            package=part["package"],
            flags=tuple(part["flags"]),
            hal_defines=tuple(part["hal_defines"]),
            hal_sources=tuple(part["hal_sources"]),
        )
    except FileNotFoundError as error:
        known = ", ".join(sorted(p.parent.name for p in BOARDS.glob("*/board.toml")))
        raise ExportError(f"no board {name!r}; known boards: {known}.") from error
    except (KeyError, tomllib.TOMLDecodeError) as error:
        raise ExportError(f"{folder / 'board.toml'}: incomplete or not TOML: {error}.") from error


def find_compiler(board: Board) -> str:
    """Path of the board's compiler, or ToolMissing with the packages that bring it."""
    path = shutil.which(board.compiler)
    if path is None:
        raise ToolMissing(
            f"the compiler {board.compiler!r} is not installed; the firmware for board {board.name!r} needs it. "
            f"On Debian or Ubuntu: sudo apt-get install {board.package}"
        )
    return path


def run_compiler(command: list[str], what: str) -> None:
    """Run a compiler. Raises ExportError with its first lines if it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ExportError(f"compiling {what} took over {_COMPILE_SECONDS} s; is the machine overloaded?") from error
    if done.returncode != 0:
        lines = "\n".join((done.stderr or done.stdout).strip().splitlines()[:12])
        raise ExportError(f"compiling {what} failed ({' '.join(command[:1])} exit {done.returncode}):\n{lines}")


def check_generated(generated: Path) -> None:
    """Raise ExportError unless the folder holds the generated policy and robot model."""
    missing = [name for name in GENERATED if not (generated / name).is_file()]
    if missing:
        raise ExportError(f"{generated} lacks {', '.join(missing)}; export the policy into this folder first.")


def _firmware_id(sources: list[Path], flags: tuple[str, ...]) -> int:
    """32-bit hash of all that goes into the firmware: the same sources have the same id."""
    h = hashlib.sha256(" ".join(flags).encode())
    for path in sorted(sources, key=lambda p: p.name):
        h.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return int.from_bytes(h.digest()[:4], "big")


def build_host_firmware(generated: Path, out: Path, *, sanitize: bool = False) -> Path:
    """Compile the firmware for the host board.

    Args:
        generated: folder with policy.{h,c} and robot_model.{h,c} of the same robot.
        out: file to write; replaced only when everything compiled.
        sanitize: with address and undefined-behaviour sanitizers, which end the program at the first finding.

    Returns:
        `out`.

    Raises:
        ToolMissing: no C compiler. ExportError: something does not compile, or a generated file is missing.
    """
    board = load_board("host")
    compiler = find_compiler(board)
    check_generated(generated)
    core = [*sorted(RUNTIME.glob("*.c")), generated / "policy.c", generated / "robot_model.c"]
    hal = [board.folder / name for name in board.hal_sources]
    headers = [*sorted(RUNTIME.glob("*.h")), generated / "policy.h", generated / "robot_model.h"]
    flags = (*board.flags, *(SANITIZERS if sanitize else ()))
    firmware_id = _firmware_id([*core, *hal, *headers], flags)
    common = [compiler, *flags, *WARNINGS, "-DESMAML_FIRMWARE", f"-I{RUNTIME}", f"-I{generated}"]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".build-") as scratch:
            objects = []
            for source in (*core, *hal):
                target = Path(scratch) / f"{source.stem}.o"
                extra = [*board.hal_defines, f"-DFIRMWARE_ID=0x{firmware_id:08X}UL"] if source in hal else []
                run_compiler([*common, *extra, "-c", str(source), "-o", str(target)], source.name)
                objects.append(str(target))
            program = Path(scratch) / "firmware"
            run_compiler([compiler, *flags, *objects, "-o", str(program)], "the firmware (linking)")
            program.replace(out)
    except OSError as error:
        raise ExportError(f"the firmware cannot be written to {out}: {error.strerror or error}.") from error
    return out
