"""An image onto a board, by the program that its board.toml names; each way in which that fails, as one error.

What ends in the middle leaves a board that still has its boot loader or its debugger: do it again.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from esmaml_robot.errors import ExportError, FlashError, ToolMissing

from .board_file import Board
from .flasher_file import AvrdudeFlasher, FlasherSettings, GdbFlasher
from .image import Image

#: An Uno takes six seconds, a full Mega half a minute.
_UPLOAD_SECONDS = 180.0
#: A boot loader listens for a second only and avrdude waits for its answers not much longer: a loaded computer may miss
#: either. Where nobody answers for longer than this, avrdude has asked often enough.
_TRIES = 3
_SILENCE_SECONDS = 8.0
_AGAIN = "The board can be flashed again: its boot loader was not touched."


def flasher_of(board: Board) -> FlasherSettings:
    """What flashes a board. Raises ExportError where nothing does."""
    if board.settings.flasher is None:
        raise ExportError(
            f"board {board.name} is not flashed by anything: {board.settings.summary}. Add [flasher] to its board.toml."
        )
    return board.settings.flasher


def find_flasher(flasher: FlasherSettings, board: str) -> str:
    """Path of the program that flashes a board. Raises ToolMissing, with the package that brings it."""
    for name in flasher.programs:
        if path := shutil.which(name):
            return path
    raise ToolMissing(
        f"{' or '.join(flasher.programs)} is not installed; board {board!r} is flashed with it. "
        f"On Debian or Ubuntu: sudo apt-get install {flasher.package}"
    )


def _run(command: Sequence[str], what: str) -> tuple[int, str]:
    """Exit code, and all that was printed. The program ends with this one, however that ends."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except OSError as error:
        raise ToolMissing(f"{command[0]} cannot be started: {error.strerror}; check its installation.") from error
    try:
        printed, _ = process.communicate(timeout=_UPLOAD_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise FlashError(
            f"{what} was not done in {_UPLOAD_SECONDS:.0f} s and was stopped. Check the cable, then try again. {_AGAIN}"
        ) from error
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return process.returncode, printed


def _last_words(printed: str) -> str:
    """What a flashing program said of its failure, on one line."""
    lines = [line.strip() for line in printed.splitlines() if line.strip() and "in sourced command file" not in line]
    errors = [line for line in lines if re.search(r"error|fail|refused|mis-?match", line, re.IGNORECASE)]
    return "; ".join((errors or lines)[-2:]) or "it said nothing"


def _avrdude_error(printed: str, flasher: AvrdudeFlasher, board: Board, port: str) -> FlashError:
    said = _last_words(printed)
    found = re.search(r"device signature = (0x[0-9a-f]+)(?: \(probably ([^)]+)\))?", printed)
    if "expected signature" in printed:
        chip = f"{found.group(2) or found.group(1)}" if found else "another one"
        return FlashError(
            f"{port}: the chip there is {chip}, the image is for board {board.name} ({flasher.part}). Nothing was "
            "written. Build for the board that is there, or choose the other port."
        )
    if re.search(r"verification (mismatch|error)|content mismatch", printed):
        return FlashError(f"{port}: what was read back is not the image: {said}. Try again. {_AGAIN}")
    if found is None:
        return FlashError(
            f"{port}: no boot loader of board {board.name} answers (avrdude -c {flasher.programmer} -b {flasher.baud}: "
            f"{said}). Is another board at this port, or does something else hold its reset line? Press the board's "
            "reset button as the upload begins if it does not restart by itself."
        )
    return FlashError(f"{port}: the upload broke off: {said}. Check the cable, then flash again. {_AGAIN}")


def _avrdude(flasher: AvrdudeFlasher, board: Board, image: Image, port: str) -> None:
    """Upload through the boot loader on the serial line, and read it back."""
    file = image.file(flasher.file).resolve()
    command = [
        find_flasher(flasher, board.name), "-p", flasher.part, "-c", flasher.programmer, "-P", port,
        "-b", str(flasher.baud), "-D", "-U", f"flash:w:{file}:i",
    ]  # fmt: skip
    for left in reversed(range(_TRIES)):
        begun = time.monotonic()
        code, printed = _run(command, f"the upload to {port}")
        if code == 0:
            return
        nobody = "device signature" not in printed and time.monotonic() - begun > _SILENCE_SECONDS
        if code < 0 or nobody or "expected signature" in printed or not left:
            break
    raise _avrdude_error(printed, flasher, board, port)


def _gdb(flasher: GdbFlasher, board: Board, image: Image, target: str) -> None:
    """Load through a debugger's remote protocol, compare, and restart the chip."""
    host, colon, number = target.rpartition(":")
    if not colon or not number.isdecimal():
        raise FlashError(f"--gdb {target!r}: expected host:port, for example 127.0.0.1:3333.")
    script = [
        "set confirm off", "set pagination off", "set tcp connect-timeout 5", "set remotetimeout 10",
        f"target extended-remote {host or '127.0.0.1'}:{number}", *flasher.before, "load", "compare-sections",
        *flasher.after, "detach",
    ]  # fmt: skip
    program = find_flasher(flasher, board.name)
    with tempfile.TemporaryDirectory(prefix="esmaml-gdb-") as folder:
        path = Path(folder) / "load.gdb"
        path.write_text("\n".join(script) + "\n", encoding="utf-8")
        file = image.file(flasher.file).resolve()
        code, printed = _run([program, "-nx", "-batch", "-x", str(path), str(file)], f"the upload to {target}")
    if code == 0:
        return
    said = _last_words(printed)
    if "could not connect" in printed or "Connection refused" in printed or "timed out" in printed:
        raise FlashError(
            f"{target}: nothing there speaks GDB's remote protocol ({said}). Start OpenOCD, pyOCD, or the emulator "
            "(`esmaml emulate`), and give its address."
        )
    if "MIS-MATCHED" in printed:
        raise FlashError(f"{target}: what was read back is not the image: {said}. Is the flash write-protected?")
    raise FlashError(f"{target}: loading failed: {said}. Try again; if it stays, power the board off and on.")


def upload(image: Image, board: Board, port: str, gdb: str | None) -> None:
    """Put an image onto a board.

    Args:
        image: what `build_image` made.
        board: the one that the image is for.
        port: its serial port, free at this moment.
        gdb: host:port of a debugger's remote protocol, for a board that is loaded by one.

    Raises:
        FlashError: no boot loader or debugger answers, another chip is there, the upload broke off or reads back as
            something else. ToolMissing: the program is not installed. ExportError: nothing flashes this board.
    """
    flasher = flasher_of(board)
    if isinstance(flasher, GdbFlasher):
        if gdb is None:
            raise FlashError(
                f"board {board.name} is loaded through a debugger: give its address, for example --gdb 127.0.0.1:3333."
            )
        _gdb(flasher, board, image, gdb)
        return
    if gdb is not None:
        raise FlashError(f"board {board.name} is flashed through its serial port with {flasher.tool}; leave --gdb out.")
    _avrdude(flasher, board, image, port)
