"""`esmaml`: the composition root, the one place that brings method, simulator, link and export together."""

from __future__ import annotations

import typer

from .adapt import adapt
from .baselines import app as baselines
from .demo import demo
from .evaluate import evaluate
from .export import export
from .info import info
from .play import play
from .robot import app as robot
from .tasks import tasks
from .train import train

app = typer.Typer(
    name="esmaml",
    help="Meta-train a small robot policy in simulation, adapt it on the robot, export it as ONNX and C.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

app.command()(train)
app.command(name="eval")(evaluate)
app.add_typer(baselines, name="baseline")
app.command()(adapt)
app.command()(export)
app.add_typer(robot, name="robot")
app.command()(play)
app.command()(tasks)
app.command()(demo)
app.command()(info)


def run() -> None:
    """Entry point of the `esmaml` command."""
    app()
