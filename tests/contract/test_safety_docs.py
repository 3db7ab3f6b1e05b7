"""docs/safety.md shows the safety machine as it is compiled, and the numbers of rover_uno as they are in its file."""

import ctypes
import re
import subprocess
from pathlib import Path

import pytest

from esmaml_robot.bridge.messages import State
from esmaml_robot.robot_spec import load_robot
from esmaml_robot.signals import Signals
from firmware_export.build import RUNTIME, WARNINGS
from firmware_export.robot_c import write_robot_c

SPEC = load_robot("rover_uno")
DOCUMENT = Path(__file__).parents[2] / "docs" / "safety.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
REFUSED = 0xFF


def rows(text: str) -> list[list[str]]:
    """Cells of the rows of one table, its rule left out."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


TABLE = rows(TEXT.partition("<!-- table: safety -->")[2].partition("<!-- end: safety -->")[0])


def events() -> dict[str, int]:
    """Names and numbers of the events as safety.h declares them."""
    found = re.findall(r"EVENT_(\w+) = (\d+)", (RUNTIME / "safety.h").read_text(encoding="ascii"))
    return {name: int(number) for name, number in found}


@pytest.fixture(scope="module")
def safety(tmp_path_factory):
    folder = tmp_path_factory.mktemp("safety")
    write_robot_c(SPEC, folder)
    library = folder / "safety.so"
    subprocess.run(
        ["cc", "-std=c99", *WARNINGS, "-shared", "-fPIC", f"-I{RUNTIME}", f"-I{folder}", str(RUNTIME / "safety.c"),
         "-o", str(library)],
        check=True, timeout=60,
    )  # fmt: skip
    loaded = ctypes.CDLL(str(library))
    loaded.safety_next.restype = ctypes.c_uint8
    return loaded


def test_the_documented_table_is_the_compiled_one(safety):
    head, *body = TABLE
    assert head[1:] == sorted(events(), key=events().__getitem__)
    assert [row[0] for row in body] == [state.name for state in State]
    for state, *cells in body:
        for event, documented in zip(head[1:], cells, strict=True):
            found = safety.safety_next(int(State[state]), events()[event])
            compiled = "-" if found == REFUSED else State(found).name
            assert documented == compiled, f"{state} x {event}: docs/safety.md says {documented}, safety.c {compiled}"


def test_the_documented_torque_is_the_compiled_one(safety):
    after = TEXT.partition("## States")[2]
    states = {row[0]: row[2] for row in rows(after.partition("The machine")[0])[1:]}
    assert list(states) == [state.name for state in State]
    for name, torque in states.items():
        assert torque == ("on" if safety.safety_torque(int(State[name])) else "off"), name


def test_the_numbers_of_the_robot_are_those_of_its_file():
    watchdog = SPEC.watchdog
    assert f"| {watchdog.hold_ms} ms (`hold_ms`, three control periods) | hold |" in TEXT
    assert watchdog.hold_ms * SPEC.control_rate_hz == 3000
    assert f"| {watchdog.release_ms} ms (`release_ms`) | release |" in TEXT
    assert {(a.hold, a.safe, a.range, a.rate_limit) for a in SPEC.actuators} == {(0.0, 0.0, (-1.0, 1.0), 20.0)}
    assert {a.allowed for a in SPEC.abort} == {(-4.5, 4.5)}
    # "it limits nothing there": a whole range fits into one control period
    signals = Signals(SPEC)
    assert (signals.slew >= signals.actuator_high - signals.actuator_low).all()
