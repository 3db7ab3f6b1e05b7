"""`esmaml info`: what is installed, what robots and tasks there are, or what a run folder holds."""

from __future__ import annotations

import importlib
import platform
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from .. import __version__
from ..bridge.transport import available_ports
from ..checkpoint import RunFolder
from ..robot_spec import known_robots, load_robot
from .adapt import SESSIONS
from .common import guarded, out, own_package, print_json


def _installation() -> dict[str, Any]:
    own_package("sim")
    tasks = importlib.import_module("sim.tasks")
    robots = {}
    for name in known_robots():
        spec = load_robot(name)
        robots[name] = {"summary": spec.summary, "spec_hash": spec.spec_hash, "control_rate_hz": spec.control_rate_hz}
    return {
        "version": __version__,
        "python": platform.python_version(),
        "families": {name: getattr(tasks.family_class(name), "robot", None) for name in tasks.FAMILIES},
        "robots": robots,
        "c_compiler": shutil.which("cc"),
        "serial_ports": available_ports(),
    }


def _run(path: Path) -> dict[str, Any]:
    checkpoint = RunFolder(path).newest()
    config = checkpoint.config
    sessions = sorted(p.parent.name for p in (path / SESSIONS).glob("*/journal"))
    return {
        "run": str(path),
        "family": config.family,
        "robot": config.robot,
        "policy": config.policy.describe(),
        "operator": config.operator.model_dump(mode="json"),
        "seed": config.seed,
        "iteration": checkpoint.state.iteration,
        "iterations": config.iterations,
        "episodes": checkpoint.state.episodes,
        "stopped_early": checkpoint.stopped_early,
        "best_iteration": checkpoint.best_iteration,
        "spec_hash": config.spec_hash,
        "layout_hash": config.policy.layout_hash,
        "policy_hash": checkpoint.policy.policy_hash,
        "sessions": sessions,
    }


def _words(value: Any) -> str:
    """One entry of a table within the table."""
    if isinstance(value, dict):
        return ", ".join(str(v) if k == "summary" else f"{k} {v}" for k, v in value.items())
    return "no robot" if value is None else str(value)


@guarded
def info(
    run: Annotated[Path | None, typer.Argument(help="Run folder to describe; without it, the installation.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say what is installed, or what a run folder holds.

    Example: esmaml info runs/first
    """
    values = _installation() if run is None else _run(run)
    if as_json:
        print_json(values)
        return
    table = Table(show_header=False, box=None)
    for key, value in values.items():
        if isinstance(value, dict):
            text = "\n".join(f"{k}: {_words(v)}" for k, v in value.items())
        elif isinstance(value, list):
            text = ", ".join(map(str, value)) or "none"
        else:
            text = "not found: install one to export C (Debian: apt install gcc)" if value is None else str(value)
        table.add_row(f"[bold]{key}[/bold]", text)
    out.print(table)
