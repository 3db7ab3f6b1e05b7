"""What all commands share: consoles, errors as one line, exit codes, and the check for foreign packages."""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..errors import ConfigError, EsmamlError

P = ParamSpec("P")

#: Results go to standard output, everything said on the way to standard error.
out = Console()
err = Console(stderr=True)

EXIT_INTERRUPTED = 130


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """A command that ends with one line and the error's exit code instead of a traceback.

    ESMAML_DEBUG=1 in the environment shows the traceback.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except EsmamlError as error:
            if os.environ.get("ESMAML_DEBUG"):
                raise
            sys.stdout.flush()
            print(f"esmaml: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            print("\nesmaml: interrupted; what was finished is saved, go on with --resume.", file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from error

    return run


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


def family_factory() -> Callable[[str], Any]:
    """`sim.tasks.make_family`, as a function that worker processes can import."""
    own_package("sim")
    factory: Callable[[str], Any] = importlib.import_module("sim.tasks").make_family
    return factory


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, sort_keys=True))


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
