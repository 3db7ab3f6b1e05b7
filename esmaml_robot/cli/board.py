"""`esmaml board`: boards that firmware is built for, those that ship and a user's own."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from .common import guarded, out, own_package, print_json

app = typer.Typer(help="Boards that firmware is built for.\n\nExample: esmaml board new my_board", no_args_is_help=True)


@app.command("list")
@guarded
def list_boards(as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False) -> None:
    """List the boards that ship, and the robots that they are wired for.

    Example: esmaml board list
    """
    own_package("firmware_export")
    boards = importlib.import_module("firmware_export.board_file")
    settings = [boards.load_board(name).settings for name in boards.known_boards()]
    if as_json:
        print_json([{"name": s.name, "summary": s.summary, "robots": sorted(s.wiring) or None} for s in settings])
        return
    table = Table()
    for title in ("board", "what it is", "robots"):
        table.add_column(title)
    for s in settings:
        table.add_row(s.name, s.summary, ", ".join(sorted(s.wiring)) or "any")
    out.print(table)


@app.command()
@guarded
def new(
    name: Annotated[str, typer.Argument(help="Name of the board, up to 15 characters.")],
    out_folder: Annotated[Path | None, typer.Option("--out", help="Where to; default ./NAME.")] = None,
) -> None:
    """Make a folder for a board of your own, with functions to fill in.

    It compiles as it is, and refuses to be armed until it is filled in. Then: --port "sim://ROBOT?board=./NAME".

    Example: esmaml board new my_board --out boards/my_board
    """
    own_package("firmware_export")
    folder = out_folder or Path(name)
    for path in importlib.import_module("firmware_export.board_new").new_board(name, folder):
        out.print(str(path), highlight=False)
