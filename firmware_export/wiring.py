"""Which sensor and motor of a robot is where on a board: pins of the chip, or members of a servo bus.

A bus is DYNAMIXEL Protocol 2.0 (dynamixel/servos.h): a servo for each actuator, and devices whose registers are the
sensors. A count of an actuator must be a step of its servo. A servo knows no smaller step, so a robot's file with finer
counts would promise what the servo rounds away, and the simulator would train what the robot cannot do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from esmaml_robot.errors import ExportError
from esmaml_robot.robot_spec import Actuator, RobotSpec, Sensor

from .c_source import render

#: Kinds of pins, in the order of their numbers in C.
KINDS = ("encoder", "adc", "pwm", "spi")
_SENSOR_KINDS = ("encoder", "adc", "spi")
_INT16 = (-(2**15), 2**15 - 1)

#: A register of a sensor device, bytes; and of the bus watchdog, microseconds.
_REGISTER_BYTES, _WATCHDOG_US, _WATCHDOG_MOST = 4, 20_000, 127
#: Registers of a device that fit a status packet (dynamixel/packet.h).
_REGISTERS_MOST = 16
#: Servos and devices that fit the longest packet (dynamixel/packet.h).
_MEMBERS_MOST = 32
#: Read of each servo in a control period (dynamixel/servos.c).
SERVO_BYTES = 7
#: Goal PWM of a servo that gives its motor all it has.
FULL_PWM = 885
#: Of a control period, what the bus may take up: the rest is for asking again, and for the policy.
BUS_SHARE = 0.5
_BITS_A_BYTE = 10
#: Steps by which counts and servo may differ over a turn: a fifth of a step is below what is rounded.
_TURN_TOLERANCE = 0.2

Id = Annotated[int, Field(ge=0, le=252)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PinWiring(_Part):
    """pwm_top, adc_top: counts of full power and of full voltage. sensors, actuators: KIND.NUMBER by the name in the
    robot's file.
    """

    pwm_top: int = Field(gt=0, le=65535)
    adc_top: int = Field(default=1023, gt=0, le=65535)
    sensors: Mapping[str, str]
    actuators: Mapping[str, str]


class BusWiring(_Part):
    """A servo bus.

    Attributes:
        baud: bits a second, of all members: one that servos can be set to.
        steps_per_turn, centre: of the servos; `centre` is the register's value at count 0.
        servos: id by actuator.
        effort: share of its greatest effort that a servo may use, by actuator; the others keep what they are set to.
        reversed: actuators whose servo is mounted the other way round: it counts down where the joint counts up.
        devices: id by a name of your own.
        sensors: DEVICE.REGISTER by sensor.
    """

    bus: Literal["dynamixel"]
    baud: Literal[9600, 57600, 115200, 1000000, 2000000, 3000000, 4000000, 4500000]
    steps_per_turn: int = Field(default=4096, gt=0)
    centre: int = Field(default=2048, ge=0)
    servos: Mapping[str, Id]
    effort: Mapping[str, Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]] = Field(default_factory=dict)
    reversed: tuple[str, ...] = ()
    devices: Mapping[str, Id] = Field(default_factory=dict)
    sensors: Mapping[str, str]


def _kind(value: Any) -> str:
    return "bus" if isinstance(value, BusWiring) or (isinstance(value, dict) and "bus" in value) else "pins"


Wiring = Annotated[
    Annotated[PinWiring, Tag("pins")] | Annotated[BusWiring, Tag("bus")],
    Discriminator(_kind),
]


@dataclass(frozen=True)
class Wire:
    """An input or output: `number` counts within its kind, and is the register's address for "spi"."""

    kind: str
    number: int


@dataclass(frozen=True)
class RobotWiring:
    """The wires of a robot's sensors and actuators, in the order of its file."""

    sensors: tuple[Wire, ...]
    actuators: tuple[Wire, ...]
    pwm_top: int

    def count(self, kind: str) -> int:
        """How many inputs or outputs of a kind there must be: one more than the highest number."""
        return max((w.number + 1 for w in (*self.sensors, *self.actuators) if w.kind == kind), default=0)


def _wire(board: str, robot: str, name: str, pin: str | None, allowed: tuple[str, ...]) -> Wire:
    if pin is None:
        raise ExportError(f"board {board}: the wiring of robot {robot} has no pin for {name!r}; add it.")
    kind, dot, number = pin.partition(".")
    if kind not in allowed or not dot or not number.isdecimal():
        raise ExportError(
            f"board {board}: the wiring of robot {robot} says {name} = {pin!r}; expected one of "
            f"{', '.join(f'{k}.0' for k in allowed)}, or a higher number."
        )
    return Wire(kind, int(number))


def _check_counts(board: str, robot: str, part: Sensor | Actuator, kind: str, allowed: tuple[int, int]) -> None:
    if not allowed[0] <= min(part.counts) <= max(part.counts) <= allowed[1]:
        raise ExportError(
            f"board {board}: {part.name} of robot {robot} has counts {list(part.counts)}; a pin of kind {kind!r} "
            f"has {list(allowed)}. Wire it to another kind, or change the counts in the robot's file."
        )


def robot_pins(board: str, wiring: PinWiring, spec: RobotSpec) -> RobotWiring:
    """The pins of a robot. Raises ExportError where they do not fit it."""
    sensors = tuple(_wire(board, spec.name, s.name, wiring.sensors.get(s.name), _SENSOR_KINDS) for s in spec.sensors)
    actuators = tuple(_wire(board, spec.name, a.name, wiring.actuators.get(a.name), ("pwm",)) for a in spec.actuators)
    for sensor, wire in zip(spec.sensors, sensors, strict=True):
        if wire.kind == "adc":
            _check_counts(board, spec.name, sensor, "adc", (0, wiring.adc_top))
        elif wire.kind == "spi":
            _check_counts(board, spec.name, sensor, "spi", _INT16)
    for actuator in spec.actuators:
        _check_counts(board, spec.name, actuator, "pwm", (-wiring.pwm_top, wiring.pwm_top))
    return RobotWiring(sensors, actuators, wiring.pwm_top)


def pins_header(board: str, wiring: PinWiring, spec: RobotSpec) -> str:
    """wiring.h of pins. Raises ExportError where they do not fit the robot."""
    pins = robot_pins(board, wiring, spec)
    return render(
        "wiring.h.j2",
        board=board,
        spec=spec,
        kinds=KINDS,
        pwm_top=pins.pwm_top,
        spi=pins.count("spi") > 0,
        tables=[("sensors", pins.sensors), ("actuators", pins.actuators)],
        names={"sensors": [s.name for s in spec.sensors], "actuators": [a.name for a in spec.actuators]},
    )


def bus_bytes(wiring: BusWiring, spec: RobotSpec) -> int:
    """Bytes on the bus in a control period in which everybody answers, none of them stuffed."""
    servos, members = len(spec.actuators), len(spec.actuators) + len(wiring.devices)
    goals, question = 14 + 5 * servos, 10 + 5 * members
    data = SERVO_BYTES * servos + _REGISTER_BYTES * sum(_registers(wiring).values())
    return goals + question + 11 * members + data


def _registers(wiring: BusWiring) -> dict[str, int]:
    """How many registers are read of each device."""
    places = [place.partition(".") for place in wiring.sensors.values()]
    return {device: 1 + max((int(n) for d, _, n in places if d == device), default=-1) for device in wiring.devices}


def _check_bus(board: str, wiring: BusWiring, spec: RobotSpec) -> None:
    at = f"board {board}: the bus of robot {spec.name}"
    for what, given, needed in (
        ("servos", set(wiring.servos), {a.name for a in spec.actuators}),
        ("sensors", set(wiring.sensors), {s.name for s in spec.sensors}),
    ):
        if missing := sorted(needed - given):
            raise ExportError(f"{at} has no entry in {what} for {missing[0]!r}; add it.")
        if unknown := sorted(given - needed):
            raise ExportError(f"{at} names {unknown[0]!r} in {what}, which the robot's file does not have.")
    if unknown := sorted(set(wiring.reversed) - set(wiring.servos)):
        raise ExportError(f"{at} reverses {unknown[0]!r}, which is no actuator.")
    if unknown := sorted(set(wiring.effort) - set(wiring.servos)):
        raise ExportError(f"{at} limits the effort of {unknown[0]!r}, which is no actuator.")
    ids = [*wiring.servos.values(), *wiring.devices.values()]
    if len(ids) > _MEMBERS_MOST:
        raise ExportError(f"{at} has {len(ids)} members; {_MEMBERS_MOST} is the most that one packet can ask.")
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise ExportError(f"{at} has id {twice[0]} twice; two that answer at once destroy each other's answers.")
    for name, place in wiring.sensors.items():
        device, dot, number = place.partition(".")
        if device not in wiring.devices or not dot or not number.isdecimal() or int(number) >= _REGISTERS_MOST:
            raise ExportError(
                f"{at} says {name} = {place!r}; expected DEVICE.REGISTER with one of {', '.join(wiring.devices)} and "
                f"0 to {_REGISTERS_MOST - 1}."
            )
    for device, count in _registers(wiring).items():
        if count == 0:
            raise ExportError(f"{at}: no sensor is on device {device!r}; leave the device out.")


def _check_steps(board: str, wiring: BusWiring, spec: RobotSpec) -> None:
    """A count is a step, and every step of the range is one that the servo has."""
    step = 2.0 * math.pi / wiring.steps_per_turn
    for actuator in spec.actuators:
        where = f"board {board}: {actuator.name} of robot {spec.name}"
        turn = 2.0 * math.pi / actuator.scale
        if actuator.unit != "rad" or actuator.offset != 0.0 or abs(turn - wiring.steps_per_turn) > _TURN_TOLERANCE:
            raise ExportError(
                f"{where} has counts of {actuator.scale!r} {actuator.unit} from {actuator.offset!r}; a step of its "
                f"servo is {step!r} rad. In the robot's file set unit: rad, scale: {step!r}, offset: 0.0."
            )
        sign = -1 if actuator.name in wiring.reversed else 1
        for end in actuator.range:
            goal = wiring.centre + sign * round(end / actuator.scale)
            if not 0 <= goal < wiring.steps_per_turn:
                raise ExportError(
                    f"{where} ends at {end} rad, step {goal} of its servo; it has 0 to {wiring.steps_per_turn - 1}. "
                    "Mount the horn another way and move `centre`, or narrow the range."
                )


def _check_time(board: str, wiring: BusWiring, spec: RobotSpec) -> None:
    count = bus_bytes(wiring, spec)
    taken, there = count * _BITS_A_BYTE / wiring.baud, spec.control_period_s
    if taken > BUS_SHARE * there:
        enough = count * _BITS_A_BYTE / (BUS_SHARE * there)
        raise ExportError(
            f"board {board}: the bus of robot {spec.name} needs {count} bytes a control period, {1000 * taken:.1f} ms "
            f"of {1000 * there:.1f} ms at {wiring.baud} baud; {100 * BUS_SHARE:.0f} % is what it may. "
            f"Use {enough:.0f} baud or more."
        )


def _watchdog(board: str, spec: RobotSpec) -> int:
    """Units of 20 ms after which a servo stops by itself: the robot's own release time, rounded up."""
    units = math.ceil(1000 * spec.watchdog.release_ms / _WATCHDOG_US)
    if units > _WATCHDOG_MOST:
        raise ExportError(
            f"board {board}: release_ms of robot {spec.name} is {spec.watchdog.release_ms}; a servo's watchdog waits "
            f"{_WATCHDOG_MOST * _WATCHDOG_US // 1000} ms at the most."
        )
    return units


def bus_header(board: str, wiring: BusWiring, spec: RobotSpec) -> str:
    """wiring.h of a bus. Raises ExportError where it does not fit the robot."""
    _check_bus(board, wiring, spec)
    _check_steps(board, wiring, spec)
    _check_time(board, wiring, spec)
    devices = list(wiring.devices)
    registers = _registers(wiring)
    places = [wiring.sensors[s.name].split(".") for s in spec.sensors]
    return render(
        "wiring_bus.h.j2",
        board=board,
        spec=spec,
        baud=wiring.baud,
        centre=wiring.centre,
        watchdog=_watchdog(board, spec),
        devices=devices,
        ids=[*(wiring.servos[a.name] for a in spec.actuators), *wiring.devices.values()],
        signs=[-1 if a.name in wiring.reversed else 1 for a in spec.actuators],
        efforts=[
            max(1, int(FULL_PWM * wiring.effort[a.name])) if a.name in wiring.effort else 0 for a in spec.actuators
        ],
        registers=[registers[device] for device in devices],
        sensor_devices=[devices.index(device) for device, _ in places],
        sensor_registers=[int(number) for _, number in places],
    )


def bus_description(wiring: BusWiring, spec: RobotSpec) -> str:
    """The same for whoever plays the servos, as JSON (sim/virtual_robot/dynamixel/description.py)."""
    registers = _registers(wiring)
    return json.dumps(
        {
            "baud": wiring.baud,
            "steps_per_turn": wiring.steps_per_turn,
            "centre": wiring.centre,
            "servos": [
                {"id": wiring.servos[a.name], "actuator": a.name, "reversed": a.name in wiring.reversed}
                for a in spec.actuators
            ],
            "devices": [{"id": i, "registers": registers[name]} for name, i in wiring.devices.items()],
            "sensors": [
                {"sensor": s.name, "device": wiring.devices[device], "number": int(number)}
                for s in spec.sensors
                for device, _, number in [wiring.sensors[s.name].partition(".")]
            ],
        },
        indent=1,
    )


def no_wiring_header(board: str, spec: RobotSpec) -> str:
    """wiring.h of a board that has the robot's whole world at the end of one line."""
    return render("wiring_none.h.j2", board=board, spec=spec)
