"""A benchmark as a program: an error of its user's is one line, and its figures are a JSON file that is whole."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esmaml_robot.errors import ConfigError, EsmamlError
from esmaml_robot.files import atomic_write_text, make_folder


def in_one_line(main: Callable[[], int]) -> Callable[[], int]:
    """`main` that ends an EsmamlError in one line on standard error: exit code 2 where an option is wrong, else 1."""

    @functools.wraps(main)
    def run() -> int:
        try:
            return main()
        except EsmamlError as error:
            print("esmaml:", error, file=sys.stderr)
            return 2 if isinstance(error, ConfigError) else 1

    return run


def write_json(path: Path | None, figures: Any) -> None:
    """Write the figures to the file that --json names, where it does. Raises EsmamlError."""
    if path is not None:
        make_folder(path.parent)
        atomic_write_text(path, json.dumps(figures, indent=2) + "\n")
