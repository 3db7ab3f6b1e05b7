"""Fixed-point networks as programs: on this machine, on a Cortex-M4F in QEMU, on an ATmega328P in simavr.

All run the same image (fixed_image/main.c): for each network its selftest, a number that depends on every output of
every row, and the fewest and most instructions (QEMU) or cycles (simavr) of a call. `expected` has the number as the
numpy model makes it. One image holds many networks, because an emulator takes longer to start than to run them.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from firmware_export.board_file import load_board
from firmware_export.compiler import STRICT_FLAGS
from firmware_export.fixed_c import write_fixed_c
from firmware_export.fixed_model import run
from firmware_export.fixed_plan import FixedNetwork

HERE = Path(__file__).parent / "fixed_image"
SEED = 12345
#: Kernels: what FIXED_PLAIN takes everywhere, and what the compiler's target has.
KERNELS = ("plain", "fast")
#: Test vectors of a network in an image: an ATmega328P has 32 KB for all of them.
VECTORS = 8
#: Emulated ones; "host" is this machine, where both kernels are the same plain C.
MACHINES = ("cortex_m4f", "atmega328p")
_PORTS = {"cortex_m4f": "port_mps2", "atmega328p": "port_avr", "host": "port_host"}

I16 = npt.NDArray[np.int16]
U32 = npt.NDArray[np.uint32]

_EXTREMES = np.array([-32768, 32767, 0, -1, 1, 32766, -32767, 256], np.int16)
_LINE = re.compile(r"^(\w+) (\d+) (\d+) (\d+) (\d+) (?:(\d+) (\d+))?$", re.MULTILINE)
_MPS2 = load_board("mps2_an386")


def mixed(value: U32) -> U32:
    """A 32-bit number whose bits depend on all bits of another."""
    value = value ^ (value >> np.uint32(16))
    value = value * np.uint32(0x85EBCA6B)
    value = value ^ (value >> np.uint32(13))
    value = value * np.uint32(0xC2B2AE35)
    return value ^ (value >> np.uint32(16))


def rows_of(width: int, rows: int) -> I16:
    """The rows that the image makes, (rows, width): random, small, and extremes."""
    number = np.arange(rows, dtype=np.uint32)[:, None]
    bits = mixed(np.uint32(SEED) + number * np.uint32(64) + np.arange(width, dtype=np.uint32))
    whole = (bits >> np.uint32(16)).astype(np.uint16).view(np.int16)
    kind = number % 4
    return np.where(kind == 2, _EXTREMES[bits & np.uint32(7)], np.where(kind == 3, whole >> 6, whole))


def expected(plan: FixedNetwork, rows: int) -> int:
    """The number that the image gives when every output of every row is that of the numpy model."""
    out = run(plan, rows_of(len(plan.inputs), rows)).astype(np.int16).view(np.uint16).ravel().astype(np.uint32)
    place = np.arange(out.size, dtype=np.uint32) * np.uint32(0x9E3779B1)
    return int(mixed(place ^ out).sum(dtype=np.uint32))


@dataclass(frozen=True)
class Outcome:
    """What one network did in an image: selftest's result, the sum over its outputs, what a call takes."""

    selftest: int
    total: int
    least: int
    most: int


def _command(command: Sequence[str | Path], what: str, seconds: float) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{what} failed ({done.returncode}): {(done.stderr or done.stdout)[:2000]}")
    return done.stdout + done.stderr  # QEMU writes what semihosting says to the latter


def _flags(machine: str) -> list[str]:
    if machine == "host":
        return ["cc", "-O2", *STRICT_FLAGS]
    if machine == "atmega328p":
        return ["avr-gcc", "-mmcu=atmega328p", "-Os", "-ffunction-sections", "-fdata-sections", *STRICT_FLAGS]
    return ["arm-none-eabi-gcc", *_MPS2.settings.compile.flags, *STRICT_FLAGS]


def build_image(
    machine: str, plans: Mapping[str, FixedNetwork], folder: Path, rows: int, kernels: Sequence[str] = KERNELS
) -> Path:
    """An image with every network, once for each kernel; names in it are NAME_KERNEL. Returns its path."""
    objects: list[Path] = []
    flags = _flags(machine)
    nets: list[str] = []
    for kernel in kernels:
        for name, plan in plans.items():
            whole = f"{name}_{kernel}"
            write_fixed_c(plan, folder, whole, VECTORS)
            objects.append(folder / f"{whole}.o")
            plain = ["-DFIXED_PLAIN"] if kernel == "plain" else []
            _command([*flags, *plain, "-c", folder / f"{whole}.c", "-o", objects[-1]], f"compiling {whole}.c", 120)
            nets.append(whole)
    lines = [f'#include "{net}.h"' for net in nets]
    lines += [f"#define SEED {SEED}u", f"#define ROWS {rows}u"]
    for what in ("inputs", "outputs"):
        lines.append(f"#define MOST_{what.upper()} {max(len(getattr(plan, what)) for plan in plans.values())}")
    lines += ["#define NETS(X) " + " ".join(f"X({net}, {net.upper()})" for net in nets), ""]
    (folder / "nets.h").write_text("\n".join(lines))
    for source in ("main", _PORTS[machine]):
        objects.append(folder / f"{source}.o")
        strict = [f for f in flags if f != "-Wpedantic"]  # semihosting's registers
        _command([*strict, f"-I{folder}", f"-I{HERE}", "-c", HERE / f"{source}.c", "-o", objects[-1]], source, 120)
    image = folder / f"{machine}.elf"
    link = ["-Wl,--gc-sections"]
    if machine == "cortex_m4f":
        link += ["-nostartfiles", "--specs=nano.specs", f"-T{_MPS2.folder / 'mps2_an386.ld'}"]
    _command([*flags, *objects, *link, "-o", image], "linking", 120)
    return image


def build_runner(folder: Path) -> Path:
    """The program that runs AVR images."""
    runner = folder / "runner_avr"
    command = ["cc", "-std=c99", "-O2", "-D_GNU_SOURCE", "-isystem", "/usr/include/simavr", HERE / "runner_avr.c"]
    _command([*command, "-lsimavr", "-lelf", "-o", runner], "compiling runner_avr.c", 120)
    return runner


def run_image(machine: str, image: Path, seconds: int = 120, runner: Path | None = None) -> dict[str, Outcome]:
    """Run an image in its emulator: what each network did, by name. Raises RuntimeError if it does not end well."""
    command: list[str | Path]
    if machine == "host":
        command = [image]
    elif machine == "atmega328p":
        command = [runner or build_runner(image.parent), image, machine, str(seconds)]
    else:
        quiet = ["-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"]
        command = ["qemu-system-arm", "-M", "mps2-an386", *quiet, "-icount", "shift=6", "-kernel", image]
    printed = _command(command, f"running {image.name}", seconds + 10)
    found = {}
    for name, selftest, total, least, most, cycles, most_cycles in _LINE.findall(printed):
        found[name] = Outcome(int(selftest), int(total), int(cycles or least), int(most_cycles or most))
    return found
