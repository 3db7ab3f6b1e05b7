"""C source text: exact float constants, tables, comments that cannot break out, and the templates.

A float32 goes into C as a hexadecimal constant, which every C99 compiler reads back to the same 32 bits; a decimal
constant depends on how many digits were printed and on who rounds them. What is not finite has no constant, and is
refused here, so no caller can forget to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from esmaml_robot import __version__
from esmaml_robot.errors import ExportError

TEMPLATES = Path(__file__).parent / "templates"

#: Headers of the C library, which a file of the same name would hide.
_LIBRARY = {
    "assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale", "math",
    "setjmp", "signal", "stdalign", "stdarg", "stdatomic", "stdbool", "stddef", "stdint", "stdio", "stdlib",
    "stdnoreturn", "string", "tgmath", "threads", "time", "uchar", "wchar", "wctype",
}  # fmt: skip


def float_literal(value: float | np.float32, what: str) -> str:
    """A float32 as a hexadecimal C constant, for example 0x1.8p+1f.

    Args:
        value: a float32, or a Python float that is one already.
        what: what the number is, for the error message.

    Raises:
        ExportError: the number is NaN or infinite, or is not a float32 and would be rounded here.
    """
    number = float(value)
    if not np.isfinite(number):
        raise ExportError(f"{what} is {number} in float32; C has no constant for it. Correct it and export again.")
    if float(np.float32(number)) != number:
        raise ExportError(f"{what} is {number!r}, which is not a float32; convert it before it is exported.")
    mantissa, exponent = number.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}f"


def float_literals(values: Any, what: str) -> list[str]:
    """`float_literal` of each element of a float32 array, in C order; `what` is followed by the flat index."""
    flat = np.asarray(values)
    if flat.dtype != np.float32:
        raise ExportError(f"{what} has type {flat.dtype}; float32 is what is exported. Convert it first.")
    return [float_literal(v, f"{what}[{i}]") for i, v in enumerate(flat.ravel())]


def int_literals(values: Any, what: str) -> list[str]:
    """Integers as decimal C constants of 32 bits. Raises ExportError where one does not fit."""
    numbers = [int(v) for v in np.asarray(values).ravel()]
    for i, n in enumerate(numbers):
        if not -(2**31) < n < 2**31:
            raise ExportError(f"{what}[{i}] is {n}; it does not fit a signed 32-bit integer.")
    return [str(n) for n in numbers]


def comment(text: str) -> str:
    """`text` as part of one line of a C block comment: it can neither end the comment nor begin another one."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)
    # pairs that mean something to the preprocessor are taken apart: comment ends and trigraphs
    line = re.sub(r"\*(?=/)", "* ", line)
    line = re.sub(r"/(?=\*)", "/ ", line)
    line = re.sub(r"\?(?=\?)", "? ", line)
    return line + " " if line.endswith(("\\", "*", "/", "?")) else line


def rows(items: Sequence[str], width: int = 96) -> list[str]:
    """Constants joined by commas into lines of at most `width` characters, each with its comma at the end."""
    lines: list[str] = []
    line = ""
    for item in items:
        if line and len(line) + len(item) + 2 > width:
            lines.append(line)
            line = ""
        line += f"{' ' if line else ''}{item},"
    return [*lines, line] if line else lines


def check_name(name: str) -> str:
    """`name` if it can begin the names of C functions; else ExportError."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,50}", name):
        raise ExportError(f"the name {name!r} cannot begin a C function; use small letters, digits and _.")
    if name in _LIBRARY:
        raise ExportError(f"the name {name!r} is that of a header of the C library, which {name}.h would hide.")
    return name


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    # StrictUndefined: a name missing in the context is an error and not an empty string in a C file
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["comment"] = comment
    environment.filters["rows"] = rows
    return environment


def render(template: str, **context: Any) -> str:
    """The text of firmware_export/templates/`template` with `context` filled in."""
    return _environment().get_template(template).render(version=__version__, **context)
