"""tanh, sigmoid, elu and softsign of generated networks over all float32: largest error, and what becomes of NaN.

    python -m benchmarks.float_functions                 all 2^32 bit patterns, some minutes
    python -m benchmarks.float_functions --stride 257    a part of them

The functions are those of a generated network.c, compiled here; what they are compared with is the C library in double.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from firmware_export.compiler import find_compiler, run
from firmware_export.float_c import render_network_c
from firmware_export.network import Activation, Dense, Network

SOURCE = Path(__file__).with_suffix(".c")
DEADLINE_S = 3600.0


@dataclass(frozen=True)
class Found:
    """Of one function: largest error in units of 2^-23, where, largest magnitude, NaN that is wrong or missing."""

    error: float
    where: float
    largest: float
    wrong_nan: int


def all_functions() -> Network:
    """A small network that uses each function once."""
    layers = []
    for kind in ("tanh", "sigmoid", "elu", "softsign"):
        layers += [Dense(np.eye(1, dtype=np.float32), np.zeros(1, np.float32)), Activation(kind, 1.0)]
    return Network(("x",), tuple(layers), ("y",))


def measure(stride: int, folder: Path) -> dict[str, Found]:
    """Compile in `folder` and run over every `stride`th float32."""
    for name, text in render_network_c(all_functions()).items():
        (folder / name).write_text(text)
    program = folder / "float_functions"
    flags = ["-std=c99", "-O2", "-ffp-contract=off", f"-I{folder}"]
    run([find_compiler(), *flags, SOURCE, "-lm", "-o", program], f"compiling {SOURCE.name}")
    printed = run([program, str(stride)], SOURCE.stem, deadline_s=DEADLINE_S).decode()
    found = {}
    for line in printed.splitlines():
        name, error, where, largest, wrong = line.split()
        found[name] = Found(float(error), float(where), float(largest), int(wrong))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stride", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, found in measure(options.stride, Path(folder)).items():
            print(
                f"{name:9} largest error {found.error:.3f} x 2^-23 at {found.where:.9g}, largest magnitude "
                f"{found.largest:.9g}, {found.wrong_nan} wrong NaN"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
