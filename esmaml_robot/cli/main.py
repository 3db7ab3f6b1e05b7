"""`esmaml`: the composition root, the one place that brings method, simulator, link and export together."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from .. import __version__
from ..own_code import debugging
from .adapt import adapt
from .baselines import app as baselines
from .board import app as board
from .build import build
from .demo import demo
from .doctor import doctor
from .emulate import emulate
from .evaluate import evaluate
from .export import export
from .flash import flash
from .info import info
from .play import play
from .robot import app as robot
from .tasks import tasks
from .train import train
from .verify import verify

app = typer.Typer(
    name="esmaml",
    help="Meta-train a small robot policy in simulation, adapt it on the robot, export it as ONNX and C, flash it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"esmaml {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Options of the program itself; its help is the application's."""


app.command()(train)
app.command(name="eval")(evaluate)
app.add_typer(baselines, name="baseline")
app.command()(adapt)
app.command()(export)
app.command()(build)
app.command()(flash)
app.command()(verify)
app.command()(emulate)
app.add_typer(robot, name="robot")
app.add_typer(board, name="board")
app.command()(play)
app.command()(tasks)
app.command()(demo)
app.command()(info)
app.command()(doctor)


def run() -> None:
    """Entry point of the `esmaml` command. Output of any kind, help too, that finds no space is one line."""
    try:
        app()
    except OSError as error:
        # one with a name has been said better where it happened; output that nobody reads any more is typer's
        if error.errno != errno.ENOSPC or error.filename is not None or debugging():
            raise
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  what is left of the output would fail again at the end
        print("esmaml: no space left to write to; free some, or send the output elsewhere.", file=sys.stderr)
        sys.exit(1)
