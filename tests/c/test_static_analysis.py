"""cppcheck, its MISRA C:2012 addon and clang-tidy on the controller's C: what a compiler does not see.

Each finding is mended, or listed in docs/misra.md with its reason. What is found and not listed fails, and so does what
is listed and not found.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fixed_nets import random_case
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.board_file import BOARDS, load_board, render_wiring
from firmware_export.build import FROZEN, RUNTIME
from firmware_export.fixed_c import write_fixed_c
from firmware_export.fixed_quantise import quantise
from firmware_export.float_c import render_network_c
from firmware_export.frozen_policy import freeze, write_frozen_c
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c

ROOT = Path(__file__).parents[2]
EXPORT = RUNTIME.parent
DRIVER = EXPORT / "dynamixel"
AVR, MPS2 = BOARDS / "avr", BOARDS / "mps2_an386"
#: robot, board that it is wired on, and a policy of its own
ROBOTS = {"rover_uno": ("atmega328p", PolicySpec(inputs=2, outputs=2, hidden=(8,))),
          "ant": ("mps2_an386", PolicySpec(inputs=4, outputs=8, hidden=(8,)))}  # fmt: skip
CPPCHECK = ("cppcheck", "--std=c99", "--enable=warning,performance,portability,style", "--quiet",
            "--template={file}:{line}: {id}", "-DESMAML_FIRMWARE", "-DFIRMWARE_ID=1")  # fmt: skip
MISRA = (*CPPCHECK, "--addon=misra", "-j2")
TIDY_C = ("-std=c99", "-DESMAML_FIRMWARE", "-DFIRMWARE_ID=1")
AVR_DEFINES = ("-DF_CPU=16000000UL", "-DBAUD_RATE=1000000UL")


@dataclass(frozen=True)
class Row:
    """A row of docs/misra.md: findings that are there for a reason."""

    rule: str
    files: tuple[str, ...]
    with_text: tuple[str, ...]

    def covers(self, finding: tuple[str, str, str], file: str) -> bool:
        rule, found_in, line = finding
        return rule == self.rule and fnmatch(found_in, file) and any(text in line for text in self.with_text or ("",))


def quoted(cell):
    return tuple(re.findall(r"`([^`]+)`", cell))


def listed():
    """Rows of the document's two tables: rules that are not applied at all, and deviations."""
    text = (ROOT / "docs" / "misra.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    assert all(len(cells[-1]) > 20 for cells in rows), "a row without a reason"
    return [
        Row(rule, quoted(cells[1]), quoted(cells[2])) if len(cells) == 4 else Row(rule, ("*",), ())
        for cells in rows
        for rule in quoted(cells[0])
    ]


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """By robot, the folder of its generated C; the rover's has the two exports of networks as well."""
    folders = {}
    for robot, (board, layout) in ROBOTS.items():
        folder = folders[robot] = tmp_path_factory.mktemp(robot)
        spec = load_robot(robot)
        write_policy_c(
            Policy(layout, np.zeros(layout.dimension, np.float32), Normaliser.identity(layout.inputs)), spec, folder
        )
        write_robot_c(spec, folder)
        (folder / "wiring.h").write_text(render_wiring(load_board(board), spec))
    case = random_case(0)
    write_fixed_c(quantise(case.network, case.inputs, case.outputs, case.calibration, 16), folders["rover_uno"])
    for name, text in render_network_c(case.network).items():
        (folders["rover_uno"] / name).write_text(text)
    return folders


def analyse(command):
    """What a tool found, in our files: (rule, file, text of the line)."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    found = set()
    for path, number, rest in re.findall(r"^(/\S+?):(\d+):(.*)$", done.stdout + done.stderr, re.MULTILINE):
        if path.startswith("/usr/"):  # a compiler's and a library's own headers
            continue
        file = Path(path)
        where = str(file.relative_to(EXPORT)) if file.is_relative_to(EXPORT) else file.name
        line = file.read_text().splitlines()[int(number) - 1]
        if command[0] == "clang-tidy":
            rules = re.findall(r"\[([\w.-]+)[\w.,-]*\]$", rest)  # the first of its names
        else:
            rules = [rest.strip().removeprefix("misra-c2012-")]
        found.update((rule, where, line) for rule in rules)
    # clang refuses assembler of avr-libc's; all else would mean that something was not looked at
    assert done.returncode == 0 or "/avr/wdt.h" in done.stdout, done.stdout + done.stderr
    return found


def includes(generated, robot, *folders):
    return [f"-I{f}" for f in (RUNTIME, BOARDS / "common", BOARDS / "virtual", DRIVER, *folders, generated[robot])]


@pytest.fixture(scope="module")
def findings(generated):
    rover, ant = includes(generated, "rover_uno", AVR, BOARDS / "atmega328p"), includes(generated, "ant", MPS2)
    core = sorted(RUNTIME.glob("*.c"))
    generated_c = sorted(generated["rover_uno"].glob("*.c"))
    common = [*sorted((BOARDS / "common").glob("*.c")), BOARDS / "host" / "hal_host.c"]
    bus = [BOARDS / "virtual" / "lockstep.c", *sorted(DRIVER.glob("*.c"))]
    mps2 = [MPS2 / name for name in ("hal_mps2.c", "start.c", "world_bus.c", "world_record.c")]
    # robot_model.c is left to clang-tidy: cppcheck 2.10 misreads hexadecimal floats
    readable = [path for path in generated_c if path.name != "robot_model.c"]
    # few states a function: the servos' loops within loops alone would take seconds, and nothing more was found in them
    limit = [f"--extra-arg={word}" for word in ("-Xclang", "-analyzer-config", "-Xclang", "max-nodes=20000")]
    tidy = ["clang-tidy", "--quiet", f"--config-file={ROOT / '.clang-tidy'}", *limit]
    runs = [
        [*MISRA, *rover, *core, *readable],
        [*MISRA, *ant, *bus, *mps2],
        [*MISRA, "--platform=avr8", "--library=avr", "-D__AVR__", "-D__AVR_ATmega328P__", *AVR_DEFINES, *rover,
         AVR / "hal_avr.c"],
        [*CPPCHECK, "-D_GNU_SOURCE", *rover, *common],
        [*tidy, *core, *generated_c, *common, "--", *TIDY_C, "-D_GNU_SOURCE", *rover],
        [*tidy, *bus, *mps2, "--", *TIDY_C, "--target=arm-none-eabi", "-mcpu=cortex-m4", "-isystem",
         "/usr/lib/arm-none-eabi/include", *ant],
        [*tidy, AVR / "hal_avr.c", "--", *TIDY_C, "--target=avr", "-mmcu=atmega328p", "-isystem",
         "/usr/lib/avr/include", *AVR_DEFINES, *rover],
    ]  # fmt: skip
    return set().union(*(analyse([str(word) for word in run]) for run in runs))


def test_every_finding_has_its_reason_in_the_document(findings):
    rows = listed()
    unlisted = {f for f in findings if not any(row.covers(f, file) for row in rows for file in row.files)}
    assert not unlisted, "\n".join(f"{rule} {where}: {line.strip()}" for rule, where, line in sorted(unlisted))


def test_every_row_of_the_document_is_of_use(findings):
    unused = [
        (row.rule, file) for row in listed() for file in row.files if not any(row.covers(f, file) for f in findings)
    ]
    assert not unused
    texts = [(row, text) for row in listed() for text in row.with_text]
    assert not [
        (row.rule, text)
        for row, text in texts
        if not any(Row(row.rule, row.files, (text,)).covers(f, file) for f in findings for file in row.files)
    ]


def test_what_a_frozen_policy_has_in_place_of_the_core_is_clean(tmp_path):
    robot, (_, layout) = next(iter(ROBOTS.items()))
    spec = load_robot(robot)
    theta = np.random.default_rng(0).normal(size=layout.dimension).astype(np.float32)
    write_frozen_c(freeze(Policy(layout, theta, Normaliser.identity(layout.inputs)), spec, "int16"), tmp_path)
    write_robot_c(spec, tmp_path)
    core = [FROZEN, *(RUNTIME / name for name in ("firmware.c", "commands.c", "answers.c")), tmp_path / "policy.c"]
    assert analyse([*CPPCHECK, f"-I{RUNTIME}", f"-I{tmp_path}", *map(str, core)]) == set()
