"""The firmware for a user's Arduino: a library with a sketch for the IDE, or a PlatformIO project.

Both hold the same files in other places: the portable core and the generated policy, helpers on Arduino's own functions
(boards/arduino/), and a sketch in which hal_sense() and hal_actuate() stand in the open. The pins come from the
[arduino] and [wiring.ROBOT] of the boards that have both; on other controllers, and for robots that nobody has wired
yet, they are left out, and the firmware refuses to be armed until they are filled in.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esmaml_robot import __version__
from esmaml_robot.bridge.codec import Codec
from esmaml_robot.bridge.messages import MESSAGES
from esmaml_robot.errors import ExportError, LinkError
from esmaml_robot.policy import Policy
from esmaml_robot.robot_spec import RobotSpec

from .board_file import BOARDS, ArduinoPins, Board, known_boards, load_board, wiring_of
from .build import RUNTIME
from .c_source import render
from .exported_folder import publish, sha256_of
from .policy_c import render_policy_c, write_policy_c
from .robot_c import render_robot_c
from .verify import VerifyReport, verify_export
from .wiring import RobotWiring, Wire

#: What the controller needs beside the two copies of the parameters that it holds: core, Arduino's core, stack.
RAM_BESIDE_PARAMETERS = 900
_CORE = "core"
_HELPERS = BOARDS / "arduino"


@dataclass(frozen=True)
class Environment:
    """A controller that PlatformIO knows: its names for it, and bytes of RAM."""

    platform: str
    board: str
    ram_bytes: int


#: A Cortex-M4F, beside the boards that ship: its pins are the user's to fill in.
CORTEX_M = Environment("ststm32", "nucleo_f401re", 98304)


@dataclass(frozen=True)
class ArduinoReport:
    """What was written.

    Attributes:
        folder: where.
        layout: "arduino" or "platformio".
        wired: names of the boards whose pins are filled in.
        left_out: (board, why) of boards on which this does not fit.
        kept: files that the user had changed, left as they are.
        verify: comparison of the exported C with numpy.
    """

    folder: Path
    layout: str
    wired: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    kept: tuple[str, ...]
    verify: VerifyReport

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "layout": self.layout,
            "wired": list(self.wired),
            "left_out": [list(pair) for pair in self.left_out],
            "kept": list(self.kept),
            "verify": self.verify.to_json(),
        }


@dataclass(frozen=True)
class _Wired:
    """A board with Arduino names for its pins, and the robot's wiring on it."""

    board: Board
    pins: ArduinoPins
    wiring: RobotWiring


def _longest_message(spec: RobotSpec) -> int:
    try:
        codec = Codec.for_robot(spec)
    except LinkError as error:
        raise ExportError(
            f"robot {spec.name} has too many sensors and actuators for the serial line: {error}"
        ) from error
    return max(codec.size(message.name) for message in MESSAGES)


def _wired_boards(spec: RobotSpec) -> list[_Wired]:
    """Boards on which the robot is wired and whose pins have Arduino names; all with the kinds of the first."""
    found: list[_Wired] = []
    for name in known_boards():
        board = load_board(name)
        if board.settings.arduino is None or spec.name not in board.settings.wiring:
            continue
        wired = _Wired(board, board.settings.arduino, wiring_of(board, spec))
        if not found or _kinds(wired.wiring) == _kinds(found[0].wiring):
            found.append(wired)
    return sorted(found, key=lambda w: w.board.settings.memory.ram_bytes if w.board.settings.memory else 0)


def _kinds(wiring: RobotWiring) -> tuple[Any, ...]:
    """What decides how the sketch reads and drives: for "spi", the register as well."""
    return tuple((w.kind, w.number if w.kind in ("spi", "encoder") else None) for w in wiring.sensors), wiring.pwm_top


def _pin_names(spec: RobotSpec, wiring: RobotWiring) -> list[tuple[str, str]]:
    """Constants of pins.h, each with what it is."""
    names: list[tuple[str, str]] = []
    for sensor, wire in zip(spec.sensors, wiring.sensors, strict=True):
        if wire.kind == "encoder":
            names += [(f"pin_{sensor.name}_{c.lower()}", f"{sensor.name}: encoder, channel {c}") for c in "AB"]
        elif wire.kind == "adc":
            names.append((f"pin_{sensor.name}", f"{sensor.name}: voltage, 0 to the supply"))
    if wiring.count("spi"):
        names.append(("pin_spi_select", "chip select of the sensors at SPI"))
    for actuator in spec.actuators:
        names.append((f"pin_{actuator.name}_pwm", f"{actuator.name}: PWM"))
        names.append((f"pin_{actuator.name}_reverse", f"{actuator.name}: direction, high is backwards"))
    return [
        *names,
        ("pin_power_stage", "power stage: high while there is torque"),
        ("pin_heartbeat", "toggles once a control period; not needed"),
    ]


def _nth(pins: tuple[Any, ...], wire: Wire, board: str) -> Any:
    if wire.number >= len(pins):
        raise ExportError(
            f"board {board} has {len(pins)} pins of kind {wire.kind!r} in [arduino], not {wire.number + 1}."
        )
    return pins[wire.number]


def _pin_values(spec: RobotSpec, wired: _Wired) -> dict[str, str]:
    """The constants of pins.h on a board."""
    pins, name = wired.pins, wired.board.name
    values = {
        "pin_spi_select": pins.spi_select,
        "pin_power_stage": pins.power_stage,
        "pin_heartbeat": pins.heartbeat,
    }
    for sensor, wire in zip(spec.sensors, wired.wiring.sensors, strict=True):
        if wire.kind == "encoder":
            a, b = _nth(pins.encoder, wire, name)
            values |= {f"pin_{sensor.name}_a": a, f"pin_{sensor.name}_b": b}
        elif wire.kind == "adc":
            values[f"pin_{sensor.name}"] = _nth(pins.adc, wire, name)
    for actuator, wire in zip(spec.actuators, wired.wiring.actuators, strict=True):
        pwm, reverse = _nth(pins.pwm, wire, name)
        values |= {f"pin_{actuator.name}_pwm": pwm, f"pin_{actuator.name}_reverse": reverse}
    return values


def _sketch(spec: RobotSpec, wiring: RobotWiring | None) -> dict[str, Any]:
    """How the sketch reads each sensor, drives each motor, and starts them."""
    if wiring is None:
        return {
            "sensors": [(s, "0") for s in spec.sensors],
            "actuators": [(a, f"(void)actuators[{i}];") for i, a in enumerate(spec.actuators)],
            "start": ["/* start sensors and motors here, without torque */"],
        }
    sensors, start = [], []
    for sensor, wire in zip(spec.sensors, wiring.sensors, strict=True):
        if wire.kind == "encoder":
            sensors.append((sensor, f"esmaml::encoder({wire.number})"))
            start.append(f"esmaml::encoder_begin({wire.number}, pin_{sensor.name}_a, pin_{sensor.name}_b);")
        elif wire.kind == "adc":
            sensors.append((sensor, f"esmaml::analog(pin_{sensor.name})"))
        else:
            sensors.append((sensor, f"esmaml::spi_register(pin_spi_select, {wire.number})"))
    if wiring.count("spi"):
        start.append("esmaml::spi_begin(pin_spi_select);")
    actuators = []
    for i, actuator in enumerate(spec.actuators):
        pins = f"pin_{actuator.name}_pwm, pin_{actuator.name}_reverse"
        actuators.append((actuator, f"esmaml::motor({pins}, actuators[{i}]);"))
        start.append(f"esmaml::motor_begin({pins}, {wiring.pwm_top});")
    return {"sensors": sensors, "actuators": actuators, "start": start}


def _core(policy: Policy, spec: RobotSpec) -> dict[str, str]:
    """The portable core and the generated files, each source with build.h in front."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(RUNTIME.glob("*.[ch]"))}
    texts |= render_policy_c(policy, spec) | render_robot_c(spec)
    return {
        name: f'#include "build.h" /* added by the export */\n{text}' if name.endswith(".c") else text
        for name, text in texts.items()
    }


def render_arduino(policy: Policy, spec: RobotSpec, layout: str) -> tuple[dict[str, str], Mapping[str, Any]]:
    """All files by their path in the folder, and what else there is to say of them.

    Raises ExportError where robot or policy do not fit on any of the controllers.
    """
    library = f"esmaml_{spec.name}"
    wired = _wired_boards(spec)
    wiring = wired[0].wiring if wired else None
    needed = 8 * policy.spec.dimension + RAM_BESIDE_PARAMETERS
    controllers = [
        *(
            Environment(w.pins.platform, w.pins.board, w.board.settings.memory.ram_bytes)
            for w in wired
            if w.board.settings.memory
        ),
        CORTEX_M,
    ]
    fitting = [e for e in controllers if needed <= e.ram_bytes]
    left_out = tuple(
        (e.board, f"it has {e.ram_bytes} bytes of RAM, this takes {needed}") for e in controllers if e not in fitting
    )
    if not fitting:
        raise ExportError(
            f"a policy with {policy.spec.dimension} parameters takes {needed} bytes of RAM on the controller; the "
            f"largest has {max(e.ram_bytes for e in controllers)}. Choose a smaller policy."
        )
    platformio = layout == "platformio"
    root = f"lib/{library}/" if platformio else ""
    source = f"{root}src"
    sketch_folder = "src" if platformio else f"examples/{spec.name}"
    sketch = "main.cpp" if platformio else f"{spec.name}.ino"
    boards = [(w.pins, _pin_values(spec, w)) for w in wired]
    context: dict[str, Any] = {
        "policy": policy,
        "spec": spec,
        "library": library,
        "sketch": sketch,
        "sketch_folder": sketch_folder,
        "source_folder": source,
        "period_us": round(1e6 / spec.control_rate_hz),
        "pins": _pin_names(spec, wiring) if wiring else [],
        "boards": boards,
        "spi": wiring is not None and wiring.count("spi") > 0,
        "envs": fitting,
        "left_out": left_out,
        "platformio": platformio,
        **_sketch(spec, wiring),
    }
    parts = {f"{_CORE}/{name}": text for name, text in _core(policy, spec).items()}
    helpers = ["board.h", "board.cpp", "pins.cpp", *(["spi.cpp"] if context["spi"] else [])]
    parts |= {name: (_HELPERS / name).read_text(encoding="utf-8") for name in helpers}
    parts[f"{library}.h"] = render("arduino_library.h.j2", **context)
    digest = hashlib.sha256("".join(f"{name} {sha256_of(text)}\n" for name, text in sorted(parts.items())).encode())
    parts[f"{_CORE}/build.h"] = render(
        "arduino_build.h.j2",
        firmware_id=int.from_bytes(digest.digest()[:4], "big"),
        longest=_longest_message(spec),
        encoders=wiring.count("encoder") if wiring else 0,
        boards=[pins for pins, _ in boards],
    )
    texts = {f"{source}/{name}": text for name, text in parts.items()}
    texts[f"{root}library.properties"] = render("arduino_library.properties.j2", **context)
    texts[f"{sketch_folder}/{sketch}"] = render("arduino_sketch.ino.j2", **context)
    texts[f"{sketch_folder}/pins.h"] = render("arduino_pins.h.j2", **context)
    texts["README.md"] = render("arduino_readme.md.j2", **context)
    if platformio:
        texts["platformio.ini"] = render("platformio.ini.j2", **context)
    return texts, {"wired": tuple(w.board.name for w in wired), "left_out": left_out}


def export_arduino(policy: Policy, spec: RobotSpec, folder: Path, layout: str, samples: int = 10000) -> ArduinoReport:
    """Write an Arduino library or a PlatformIO project, once the policy's C has been compared with numpy.

    Args:
        policy: what to export.
        spec: its robot.
        folder: new, empty, or one that was exported before: then files that the user has changed are kept.
        layout: "arduino" or "platformio".
        samples: random sensor rows of the comparison.

    Raises:
        ExportError: it does not fit, the folder holds something else, the comparison fails, or the disk refuses.
        PolicyError: a parameter is NaN or infinite. ToolMissing: no C compiler for the comparison.
    """
    texts, said = render_arduino(policy, spec, layout)
    with tempfile.TemporaryDirectory(prefix="esmaml-arduino-") as scratch:
        write_policy_c(policy, spec, Path(scratch))
        report = verify_export(policy, spec, Path(scratch), samples=samples, formats=("c",))
    facts = {
        "producer": f"esmaml-robot {__version__}",
        "layout": layout,
        "robot": spec.name,
        "spec_hash": spec.spec_hash,
        "layout_hash": policy.spec.layout_hash,
        "policy_hash": policy.policy_hash,
    }
    kept = publish(Path(folder), texts, facts, fixed=f"/{_CORE}/")
    return ArduinoReport(Path(folder), layout, said["wired"], said["left_out"], tuple(kept), report)
