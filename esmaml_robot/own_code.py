"""Errors out of code that is not ours: a user's own task family, an environment that somebody wrote.

They become one line of ours that says type and text of the error and the line of that code. In a worker process the
traceback would be lost on the way to the parent; with ESMAML_DEBUG in the environment it is written under the error.
"""

from __future__ import annotations

import multiprocessing
import os
import sysconfig
import traceback
from pathlib import Path
from types import FrameType
from typing import TypeVar

from .errors import EsmamlError, SimulationError

E = TypeVar("E", bound=EsmamlError)

#: The top-level packages that are ours; folders of what is installed, and of Python's own library.
_OURS = ("esmaml_robot", "sim", "firmware_export")
_INSTALLED = ("site-packages", "dist-packages")
_LIBRARY = sysconfig.get_path("stdlib")
#: No text of an error is shown at greater length.
LONGEST = 300


def debugging() -> bool:
    """Whether the user asked for tracebacks."""
    return bool(os.environ.get("ESMAML_DEBUG"))


def short(file: str) -> str:
    """A file as the user would name it: from the folder that the program runs in, where it lies in there."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _is_ours(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    # the console script itself is a __main__ that holds nothing
    return name.partition(".")[0] in (*_OURS, "__main__")


def _is_the_users(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    installed = file.startswith(("<", _LIBRARY)) or any(f"/{folder}/" in file for folder in _INSTALLED)
    return not installed and not _is_ours(frame)


def place_of(error: BaseException) -> str | None:
    """Line of the user's own code in which an error came up: "crawler.py:44 in sense"; None where it was elsewhere."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{short(error.filename)}:{error.lineno}"
    lines = [(f, n) for f, n in traceback.walk_tb(error.__traceback__) if _is_the_users(f)]
    return _said(*lines[-1]) if lines else None


def _foreign_place(error: BaseException) -> str | None:
    """The same for an error that came up in an installed package alone."""
    lines = [(f, n) for f, n in traceback.walk_tb(error.__traceback__) if not _is_ours(f)]
    return _said(*lines[-1]) if lines else None


def _said(frame: FrameType, line: int) -> str:
    code = frame.f_code
    return f"{short(code.co_filename)}:{line}" + ("" if code.co_name == "<module>" else f" in {code.co_name}")


def what_happened(error: BaseException) -> str:
    """Type, text and line of an error in one line: "KeyError: 'gripp', at crawler.py:44 in prepare"."""
    text = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    text = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    kind = type(error)
    name = kind.__name__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__name__}"
    said = f"{name}: {text}" if text else name
    place = place_of(error) or _foreign_place(error)
    return f"{said}, at {place}" if place else said


def failure(kind: type[E], message: str, error: BaseException) -> E:
    """An error of ours, to be raised from `error`, which came out of code that is not."""
    made = kind(message)
    if debugging() and multiprocessing.parent_process() is not None:
        made.add_note("".join(traceback.format_exception(error)))  # alone it is lost on the way to the parent
    return made


def episode_failure(error: BaseException, family: str, episode: str) -> SimulationError:
    """The same for an error in an episode; `episode` says in which."""
    said = f"task family {family}: {what_happened(error)}; {episode}. ESMAML_DEBUG=1 shows the whole traceback."
    return failure(SimulationError, said, error)
