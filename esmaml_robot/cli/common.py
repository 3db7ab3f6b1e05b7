"""What all commands share: consoles, errors as one line, exit codes, and the check for foreign packages."""

from __future__ import annotations

import functools
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ..baselines.pg_run import PGConfig
from ..checkpoint import RunConfig, RunFolder
from ..errors import ConfigError, EsmamlError, OperatorStop
from ..evaluation import TaskFamily
from ..identity import require_match
from ..items import FamilyFactory
from ..own_code import debugging, place_of, what_happened
from ..robot_spec import RobotSpec, known_robots, load_robot

P = ParamSpec("P")

#: Results go to standard output, everything said on the way to standard error.
out = Console()
err = Console(stderr=True)

EXIT_INTERRUPTED = 130


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """A command that ends with one line and the error's exit code instead of a traceback.

    So does an error out of the user's own code, a task family's; what our own code throws besides is a fault of ours
    and keeps its traceback. ESMAML_DEBUG=1 in the environment shows all tracebacks.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()  # here, and not at the program's end, where a failure is no error any more
        except EsmamlError as error:
            if debugging():
                raise
            sys.stdout.flush()
            print("esmaml:", error, *getattr(error, "__notes__", ()), file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except Exception as error:
            if debugging() or not place_of(error):
                raise
            sys.stdout.flush()
            print(f"esmaml: {what_happened(error)}; mend it there.", file=sys.stderr)
            raise typer.Exit(EsmamlError.exit_code) from error
        except KeyboardInterrupt as error:
            saved = "; what was finished is saved, go on with --resume" if "resume" in kwargs else ""
            print(f"\nesmaml: interrupted{saved}.", file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from error

    return run


def ask_person(question: str, answers: str = "Enter = yes, q = stop") -> bool:
    """Ask the person beside the robot. Raises OperatorStop where nobody can answer."""
    if not sys.stdin.isatty():
        raise OperatorStop(f"{question} Nobody can answer: standard input is no terminal. The robot was not moved.")
    return err.input(f"{question} [{answers}] ").strip().lower() in ("", "y", "yes")


def ask(question: str, refused: str = "stopped by the operator; nothing moves.") -> None:
    """Ask the person beside the robot; returns where the answer is yes. Raises OperatorStop on any other, or none."""
    if not ask_person(question):
        raise OperatorStop(refused)


def own_package(name: str) -> Any:
    """Import one of our top-level packages, `sim` or `firmware_export`, or say which foreign one is in the way."""
    module = importlib.import_module(name)
    if not getattr(module, "__esmaml_robot__", False):
        where = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ["?"])))
        raise ConfigError(
            f"the package {name!r} found at {where} is not the one of esmaml-robot; run from another folder, or "
            "uninstall the distribution that brought it and install esmaml-robot again."
        )
    return module


def family_factory() -> FamilyFactory:
    """`sim.tasks.make_family`, as a function that worker processes can import."""
    own_package("sim")
    factory: FamilyFactory = importlib.import_module("sim.tasks").make_family
    return factory


def require_outside(family: TaskFamily) -> None:
    """Refuse the split `outside` of a family whose laws have no range of their own for it. Raises ConfigError."""
    laws = getattr(family, "laws", None)  # a family without laws draws its tasks itself, and may know of the split
    if laws is not None and not any(law.describe_outside() for law in laws):
        raise ConfigError(
            f"task family {family.name} has no tasks outside the training range, because none of its laws has a second "
            "range; use its held-out tasks (split test), or declare a range (docs/your_own_robot.md)."
        )


def check_interface(config: RunConfig | PGConfig, interface_hash: str, owner: str) -> None:
    """Refuse a robot or family that is not the one that the run was made for. Raises SpecMismatch."""
    require_match(
        "spec_hash",
        config.spec_hash,
        interface_hash,
        our_name=f"the run (made for {config.robot or config.family})",
        their_name=owner,
        advice="Use the robot file that the run was made with, or train again for this one.",
    )


def family_of(config: RunConfig | PGConfig) -> TaskFamily:
    """The family of a run, checked against it."""
    family = family_factory()(config.family, config.options)
    owner = f"robot {family.spec.name}" if family.spec else f"family {config.family}"
    check_interface(config, family.interface_hash, owner)
    return family


def robot_of(run: Path, given: str | None) -> tuple[RobotSpec, str]:
    """The robot that a run is for, and its name or file: the one given, one that ships, or that of the run's family.

    Raises:
        ConfigError: there is no such robot, or the run's family has none.
    """
    config = RunFolder(run).newest().config
    name = given or config.robot
    if not name:
        raise ConfigError(f"{run} was trained on {config.family}, which has no robot: there is nothing to drive.")
    if given is None and name not in known_robots():
        family = family_of(config)
        name = getattr(family, "robot_file", lambda: name)()
    return load_robot(name), name


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, sort_keys=True))


def plain_table(*headings: str, words: int, title: str, caption: str | None = None) -> Table:
    """A table that shows names and figures whole in 80 columns; words in its first `words` columns, then numbers.

    Lines between columns would take the room, and a heading that could stay in one line would be given it.
    """
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for i, heading in enumerate(headings):
        numbers = i >= words
        lines = heading.replace(" ", "\n") if numbers else heading
        table.add_column(lines, justify="right" if numbers else "left", no_wrap=not numbers)
    return table


def progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
    )
