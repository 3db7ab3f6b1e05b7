"""Programs of this machine that boards need, out of their board.toml: which are there, and what installs the others."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .board_file import Board, known_boards, load_board
from .build import INCLUDES

_ASK_SECONDS = 20
_LIBRARY = "#include <string.h>\n#include <stdint.h>\n"


@dataclass(frozen=True)
class Tool:
    """One thing that boards need.

    Attributes:
        kind: compiler, emulator, boot loader or flasher.
        name: the program, or the file where it is none.
        package: Debian packages that bring it.
        boards: which need it.
        found: where it is; None: it is missing.
        version: what it says of itself, where it can be asked.
        problem: why it is of no use though it is there.
    """

    kind: str
    name: str
    package: str
    boards: tuple[str, ...]
    found: str | None
    version: str = ""
    problem: str = ""

    @property
    def usable(self) -> bool:
        return self.found is not None and not self.problem


def _ask(command: Sequence[str], text: str = "") -> tuple[int, str]:
    """Exit code and output of a program; a program that cannot be asked answers with an exit code of its own."""
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, errors="replace", timeout=_ASK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, done.stdout + done.stderr


def _version(path: str) -> str:
    """The first number with a dot in what the program prints about itself."""
    for option in ("--version", "-v"):
        _, printed = _ask([path, option])
        if found := re.search(r"(?<![\w.])\d+\.\d+(?:\.\d+)*", printed):
            return found.group(0)
    return ""


def _compiler(board: Board) -> tuple[str, str, str, str | None, str]:
    settings = board.settings.compile
    path = shutil.which(settings.compiler)
    problem = ""
    if path is not None:
        code, _ = _ask([path, *settings.flags, "-E", "-x", "c", "-"], _LIBRARY)
        problem = "" if code == 0 else "its C library is missing"
    return "compiler", settings.compiler, settings.package, path, problem


def _needs(board: Board) -> Iterable[tuple[str, str, str, str | None, str]]:
    """What one board needs: kind, name, package, where it is, and what is wrong with it."""
    yield _compiler(board)
    emulator, flasher = board.settings.emulator, board.settings.flasher
    if emulator is not None and emulator.program:
        yield "emulator", emulator.program, emulator.package, shutil.which(emulator.program), ""
    if emulator is not None and emulator.header:
        header = Path(INCLUDES) / emulator.header
        yield "emulator", emulator.header, emulator.package, str(header) if header.is_file() else None, ""
    if emulator is not None and emulator.bootloader is not None:
        loader = Path(emulator.bootloader.file)
        found = str(loader) if loader.is_file() else None
        yield "boot loader", loader.name, emulator.bootloader.package, found, ""
    if flasher is not None:
        paths = [path for path in map(shutil.which, flasher.programs) if path]
        yield "flasher", " or ".join(flasher.programs), flasher.package, paths[0] if paths else None, ""


def look_for_tools(boards: Sequence[str] = ()) -> list[Tool]:
    """Every tool that the boards (default: all) need, once each. Raises ExportError for a board that is not known."""
    users: dict[tuple[str, str, str, str | None, str], list[str]] = {}
    for name in boards or known_boards():
        for need in _needs(load_board(name)):
            users.setdefault(need, []).append(name)
    return [
        Tool(kind, name, package, tuple(who), found, _version(found) if found and shutil.which(found) else "", problem)
        for (kind, name, package, found, problem), who in users.items()
    ]


def install_command(tools: Iterable[Tool]) -> str:
    """One command that installs all that is missing; empty where nothing is."""
    packages = dict.fromkeys(p for tool in tools if not tool.usable for p in tool.package.split())
    return f"sudo apt-get install {' '.join(packages)}" if packages else ""
