"""A board of the user's own: the template, copied out of the package under another name."""

from __future__ import annotations

import re
from pathlib import Path

from esmaml_robot.errors import ExportError
from esmaml_robot.files import atomic_write_text, make_folder

from .board_file import TEMPLATE, known_boards

#: HELLO has 16 bytes for it, and one is a zero.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,14}")


def new_board(name: str, folder: Path) -> list[Path]:
    """Copy the template into `folder` (created if missing); returns the files.

    Raises ExportError for a name that is no name or that of a board that ships, for a folder that has one of the files
    already, and where the disk refuses.
    """
    if not _NAME.fullmatch(name):
        raise ExportError(f"{name!r} is no name for a board: up to 15 letters, digits, - and _, a letter first.")
    if name in known_boards():
        raise ExportError(f"there is a board {name!r} already; choose another name.")
    sources = [path for path in sorted(TEMPLATE.iterdir()) if path.is_file()]
    for source in sources:
        if (folder / source.name).exists():
            raise ExportError(f"{folder / source.name} is there already; choose another folder, or move it.")
    make_folder(folder, error=ExportError)
    return [
        atomic_write_text(
            folder / source.name, source.read_text(encoding="utf-8").replace("my_board", name), error=ExportError
        )
        for source in sources
    ]
