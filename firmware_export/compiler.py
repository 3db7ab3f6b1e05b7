"""The host's C compiler: found, or named with the package to install; run with a deadline and strict warnings."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from esmaml_robot.errors import ExportError, ToolMissing

#: What every C file of this project compiles with, warnings being errors.
STRICT_FLAGS = (
    "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wstrict-prototypes",
    "-Wmissing-prototypes", "-Wdouble-promotion", "-Werror",
)  # fmt: skip
#: What makes float arithmetic the same as numpy's.
FLOAT_FLAGS = ("-O2", "-ffp-contract=off")

_DEADLINE_S = 120.0
_COMPILERS = ("cc", "gcc", "clang")


def find_compiler() -> str:
    """Path of the host's C compiler. Raises ToolMissing, naming the Debian packages."""
    for name in _COMPILERS:
        if path := shutil.which(name):
            return path
    raise ToolMissing(
        f"no C compiler found (looked for {', '.join(_COMPILERS)}); on Debian or Ubuntu: sudo apt install gcc libc6-dev"
    )


def run(command: Sequence[str | Path], what: str, *, data: bytes = b"", deadline_s: float = _DEADLINE_S) -> bytes:
    """Run a program with `data` on its standard input and return its standard output.

    Raises:
        ExportError: it could not be started, ended with another code than 0, or took longer than `deadline_s`.
    """
    try:
        # messages in English: the first line with "error" in it is what the user gets to see
        environment = {**os.environ, "LC_ALL": "C"}
        words = [str(c) for c in command]
        done = subprocess.run(words, input=data, capture_output=True, timeout=deadline_s, env=environment)
    except subprocess.TimeoutExpired as problem:
        raise ExportError(
            f"{what} took longer than {deadline_s:.0f} s and was stopped; is the machine busy?"
        ) from problem
    except OSError as problem:
        raise ExportError(
            f"{what}: {command[0]} cannot be started: {problem.strerror}; check its installation."
        ) from problem
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines() or done.stdout.decode(errors="replace").splitlines()
        first = next((line for line in lines if "error" in line), lines[0] if lines else "no message")
        ending = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise ExportError(f"{what} failed ({ending}): {first.strip()}; the command was: {' '.join(map(str, command))}")
    return done.stdout


def compile_c(
    sources: Sequence[Path],
    output: Path,
    *,
    include: Sequence[Path] = (),
    shared: bool = False,
    extra: Sequence[str] = (),
) -> Path:
    """Compile C99 sources for this host into a program, or into a shared library.

    Args:
        sources: the .c files.
        output: the program or library to write.
        include: folders of headers.
        shared: make a library for ctypes.
        extra: further flags, after the strict ones.

    Returns:
        `output`.

    Raises:
        ToolMissing: no compiler. ExportError: it refused a file; the message holds its first error.
    """
    kind = ("-fPIC", "-shared") if shared else ()
    folders = [f"-I{folder}" for folder in include]
    names = ", ".join(source.name for source in sources)
    command = [find_compiler(), *STRICT_FLAGS, *FLOAT_FLAGS, *kind, *folders, *extra, *sources, "-o", output]
    run(command, f"compiling {names}")
    return output


def compiler_version() -> str:
    """First line of what the compiler says of itself."""
    return run([find_compiler(), "--version"], "asking the C compiler for its version").decode().splitlines()[0]
