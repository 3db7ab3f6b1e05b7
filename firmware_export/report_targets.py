"""Chips, and this machine: compile, link, run, read the figures of one inference."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ExportError, ToolMissing

from .board_file import BOARDS
from .build import INCLUDES
from .report_sources import Case, Sources
from .stack import bound_function, read_stack_usage

HERE = Path(__file__).parent / "measuring"
SECONDS = 120
TICKS_PER_INSTRUCTION = 25.6  # port_arm.c
_DTYPES = {"float": "<f4", "int32_t": "<i4", "int16_t": "<i2", "int8_t": "<i1"}


class DidNotRun(Exception):
    """It does not compile, does not fit the chip, or crashed there."""


@dataclass(frozen=True)
class Target:
    """A chip with its compiler, its emulator, and the unit of its figures.

    Attributes:
        name: of its port_NAME.c.
        package: Debian packages of compiler and emulator; programs: what they bring that is called.
        hz: of its clock; None where the figures are times, in ns.
        return_bytes: what a call puts on the stack.
    """

    name: str
    title: str
    unit: str
    prefix: str
    flags: tuple[str, ...]
    link: tuple[str, ...]
    flash: int
    ram: int
    package: str
    programs: tuple[str, ...]
    hz: int | None
    return_bytes: int


TARGETS = (
    Target(
        "arm", "Cortex-M4F (mps2-an386 in QEMU), -O2", "instructions", "arm-none-eabi-",
        ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-O2", "-ffunction-sections",
         "-fdata-sections"),
        ("-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", f"-T{BOARDS / 'mps2_an386' / 'mps2_an386.ld'}"),
        4 << 20, 4 << 20,
        "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm", ("arm-none-eabi-gcc", "qemu-system-arm"),
        25_000_000, 0,
    ),
    Target(
        "avr", "ATmega328P (simavr), -Os", "cycles", "avr-",
        ("-mmcu=atmega328p", "-Os", "-ffunction-sections", "-fdata-sections", "-DF_CPU=16000000UL"),
        ("-Wl,--gc-sections",),
        32768, 2048,
        "gcc-avr avr-libc libsimavr-dev libelf-dev", ("avr-gcc", "cc"),
        16_000_000, 2,
    ),
)  # fmt: skip
#: This machine; its figures are times.
HOST = Target(
    "host", "this machine, -O2", "ns", "", ("-O2", "-ffunction-sections", "-fdata-sections", "-D_GNU_SOURCE"),
    ("-Wl,--gc-sections",), 1 << 30, 1 << 30, "gcc libc6-dev binutils", ("cc",), None, 8,
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One net by one system on one chip.

    Attributes:
        flash, ram: bytes that the linked image has more than one with an empty inference: code, constants, library
            functions; and data with bss. Without the stack.
        stack: deepest that was seen, in bytes; 0 on this machine, where nobody looks.
        stack_bound: the worst case, from the compiler's own figures (-fstack-usage); None where there is no bound.
        least, most: instructions or cycles over the vectors.
        max_error: largest difference from the exact outputs.
    """

    flash: int
    ram: int
    stack: int
    stack_bound: int | None
    least: int
    most: int
    max_error: float


def _run(command: list[str], what: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as problem:
        raise DidNotRun(f"{what} took over {SECONDS} s") from problem
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        if any("overflowed" in line or "not within region" in line for line in lines):
            raise DidNotRun("does not fit into the chip")
        found = next((line for line in lines if "error" in line), lines[0] if lines else f"exit code {done.returncode}")
        raise DidNotRun(f"{what}: {found}")
    return done.stdout


def _literals(values: npt.NDArray[Any], c_type: str) -> str:
    rows = (
        "{" + ", ".join(f"{float(v).hex()}f" if c_type == "float" else str(int(v)) for v in row) + "}" for row in values
    )
    return ",\n    ".join(rows)


def _write(folder: Path, net: Case, sources: Sources) -> None:
    rom = "#include <avr/pgmspace.h>\n#define VECTORS_ROM PROGMEM\n"
    (folder / "types.h").write_text(
        f"typedef {sources.input} bench_input;\ntypedef {sources.output} bench_output;\n"
        f"#define BENCH_INPUTS {net.inputs.shape[1]}\n#define BENCH_OUTPUTS {net.outputs.shape[1]}\n"
        f"#define BENCH_VECTORS {len(net.inputs)}\n"
    )
    (folder / "vectors.h").write_text(
        f"#ifdef __AVR__\n{rom}#else\n#define VECTORS_ROM\n#endif\n"
        "static const bench_input vectors[BENCH_VECTORS][BENCH_INPUTS] VECTORS_ROM = {\n    "
        f"{_literals(sources.encode(net.inputs), sources.input)}\n}};\n"
    )
    for name, text in sources.files.items():
        (folder / name).write_text(text)
    (folder / "adapter.c").write_text(sources.adapter)


def _sizes(target: Target, image: Path) -> tuple[int, int]:
    printed = _run([f"{target.prefix}size", str(image)], "the size")
    text, data, bss = (int(n) for n in printed.splitlines()[1].split()[:3])
    return text + data, data + bss


def _compiler(target: Target) -> str:
    return f"{target.prefix}gcc" if target.prefix else "cc"


def _link(target: Target, folder: Path, sources: list[Path], flags: tuple[str, ...], output: Path) -> None:
    """Compile file by file, so that the compiler's figures of the stack lie beside the object files, and link."""
    common = [_compiler(target), *target.flags, *flags, "-fstack-usage", f"-I{folder}", f"-I{HERE}"]
    objects = []
    for source in (HERE / "main.c", HERE / f"port_{target.name}.c", *sources):
        objects.append(str(folder / f"{output.stem}-{source.stem}.o"))
        _run([*common, "-c", str(source), "-o", objects[-1]], "compiling")
    _run([*common, *objects, *target.link, "-lm", "-o", str(output)], "linking")


def _execute(target: Target, folder: Path, image: Path) -> list[tuple[str, int]]:
    """What the program printed: kind of line, number."""
    if target.name == "host":
        command, base = [str(image)], 10
    elif target.name == "arm":
        command = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none",
                   "-icount", "shift=10", "-semihosting-config", "enable=on,target=native",
                   "-kernel", str(image)]  # fmt: skip
        base = 16
    else:
        runner = folder / "avr_runner"
        _run(["cc", "-O2", str(HERE / "avr_runner.c"), "-lsimavr", "-lelf", "-o", str(runner)], "the runner")
        command, base = [str(runner), str(image)], 10
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as problem:
        raise DidNotRun(f"did not end within {SECONDS} s") from problem
    lines = re.findall(r"^([ntsbef]) ?([0-9a-f]+)$", done.stdout + "\n" + done.stderr, re.MULTILINE)
    found = [(kind, int(number, base)) for kind, number in lines]
    if not found or found[-1][0] != "e":
        raise DidNotRun(f"crashed in the emulator after {sum(kind == 't' for kind, _ in found)} inferences")
    return found


@dataclass(frozen=True, eq=False)
class Run:
    """What the inferences of one image gave: outputs as integers or float32 (vectors, outputs), counts, stacks."""

    outputs: npt.NDArray[Any]
    counts: list[float]
    stacks: list[int]


def run_image(target: Target, net: Case, sources: Sources, folder: Path) -> tuple[Run, Path]:
    """Compile, link and run; the image as well. Raises DidNotRun."""
    image = build_image(target, net, sources, folder)
    return run_again(target, net, sources, folder, image), image


def build_image(target: Target, net: Case, sources: Sources, folder: Path) -> Path:
    """Compile and link into `folder`. Raises DidNotRun, also where it does not fit the chip."""
    _write(folder, net, sources)
    image = folder / "image.elf"
    generated = [folder / name for name in sources.files if name.endswith(".c")]
    _link(target, folder, [*generated, folder / "adapter.c"], sources.flags, image)
    flash, ram = _sizes(target, image)
    if flash > target.flash or ram > target.ram:
        raise DidNotRun(f"does not fit into the chip: {flash} bytes of flash, {ram} of RAM")
    return image


def run_again(target: Target, net: Case, sources: Sources, folder: Path, image: Path) -> Run:
    """What an image of `build_image` gives. Raises DidNotRun."""
    found = _execute(target, folder, image)
    per_unit = TICKS_PER_INSTRUCTION if target.name == "arm" else 1.0
    counts = [number / per_unit for kind, number in found if kind == "t"]
    stacks = [number for kind, number in found if kind == "s"]
    if target.name == "arm":
        known = next(number for kind, number in found if kind == "n") / per_unit
        if abs(known - 1000) > 0.1:
            raise RuntimeError(f"QEMU counted {known} instructions where there are 1000; is -icount in force?")
    elif target.name == "avr":  # the first pair of marks has nothing between them
        counts, stacks = [count - counts[0] for count in counts[1:]], stacks[1:]
    raw = bytes(number for kind, number in found if kind == "b")
    return Run(np.frombuffer(raw, _DTYPES[sources.output]).reshape(len(net.inputs), -1), counts, stacks)


def _bound(target: Target, folder: Path, image: Path) -> int | None:
    """The worst case of bench_infer's stack."""
    printed = _run([f"{target.prefix}objdump", "-d", str(image)], "the list of the code")
    try:
        return bound_function(printed, read_stack_usage(folder), target.return_bytes, "bench_infer").bytes
    except ExportError:
        return None


def require_tools(target: Target) -> None:
    """Raise ToolMissing, with the command that installs it, where a compiler or emulator of the target is not there."""
    missing = [program for program in target.programs if shutil.which(program) is None]
    if target.name == "avr" and not (Path(INCLUDES) / "simavr" / "sim_avr.h").is_file():
        missing.append("simavr/sim_avr.h")
    if missing:
        raise ToolMissing(
            f"{', '.join(missing)} not installed; on Debian or Ubuntu: sudo apt-get install {target.package}"
        )


def measure(target: Target, net: Case, sources: Sources, folder: Path) -> Measured:
    """Compile, run, and read the figures. Raises DidNotRun."""
    run, image = run_image(target, net, sources, folder)
    (folder / "nothing.c").write_text(
        '#include "bench.h"\nvoid bench_prepare(void) {}\n'
        "void bench_infer(const bench_input *x, bench_output *y)\n{\n    (void)x;\n    (void)y;\n}\n"
    )
    _link(target, folder, [folder / "nothing.c"], (), folder / "bare.elf")
    flash, ram = _sizes(target, image)
    empty_flash, empty_ram = _sizes(target, folder / "bare.elf")
    difference = np.abs(sources.decode(run.outputs) - sources.expected(net.outputs))
    worst = float(difference.max()) if np.isfinite(difference).all() else float("nan")
    return Measured(
        flash - empty_flash,
        ram - empty_ram,
        max(run.stacks, default=0),
        _bound(target, folder, image),
        round(min(run.counts)),
        round(max(run.counts)),
        worst,
    )
