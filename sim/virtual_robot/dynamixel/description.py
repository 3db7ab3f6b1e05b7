"""Who is on a robot's bus: the file that goes with a firmware image (firmware_export.wiring.bus_description)."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from esmaml_robot.errors import ConfigError
from esmaml_robot.first_problem import first_problem
from esmaml_robot.robot_spec import RobotSpec


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServoPlace(_Part):
    id: int
    actuator: str
    reversed: bool


class DevicePlace(_Part):
    id: int
    registers: int


class SensorPlace(_Part):
    sensor: str
    device: int
    number: int


class BusDescription(_Part):
    """Baud rate, steps of the servos' turn and the one at count 0, members, and which register each sensor is."""

    baud: int
    steps_per_turn: int
    centre: int
    servos: tuple[ServoPlace, ...]
    devices: tuple[DevicePlace, ...]
    sensors: tuple[SensorPlace, ...]


def load_bus(path: Path, spec: RobotSpec) -> BusDescription:
    """Read a description. Raises ConfigError where it cannot be read or is that of another robot."""
    try:
        bus = BusDescription.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        what = first_problem(error, BusDescription) if isinstance(error, ValidationError) else error
        raise ConfigError(f"{path} is no description of a servo bus: {what}. Build the firmware again.") from error
    ours = [a.name for a in spec.actuators], [s.name for s in spec.sensors]
    if ours != ([s.actuator for s in bus.servos], [s.sensor for s in bus.sensors]):
        raise ConfigError(f"{path} describes the bus of another robot than {spec.name}. Build the firmware again.")
    return bus
