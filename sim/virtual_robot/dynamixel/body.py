"""A simulated body whose joints are servos of a bus and whose sensors are devices on it.

What the firmware wants is what the servos' registers say, and what it knows is what it has read: between firmware and
body there is nothing but the bus. The time of the body is the firmware's (virtual/lockstep.h).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from esmaml_robot.errors import ConfigError
from esmaml_robot.robot_spec import RobotSpec

from ..plant import I32, Plant
from .bus import Bus
from .description import BusDescription
from .sensor import SensorDevice
from .servo import OVERLOAD, Servo

#: rad/s of a unit of a servo's velocity, 0.229 rev/min
_VELOCITY_UNIT = 0.229 * 2.0 * math.pi / 60.0


@runtime_checkable
class ServoPlant(Plant, Protocol):
    """A plant whose actuators are position servos, each with a torque of its own."""

    def limit(self, efforts: list[float]) -> None:
        """Share of its force that each actuator has from now on, in the order of the robot's file; 0: none."""
        ...

    def joints(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Angles (rad) and velocities (rad/s) of the actuators' joints."""
        ...


@dataclass(frozen=True)
class ServoFault:
    """Something that happens on the bus in mid-episode, episodes counted from 1, control periods from 0.

    `kind` is "unplug": the plug of a device comes out; or "overload": a servo shuts itself down.
    """

    kind: str
    device: int
    episode: int
    tick: int

    @staticmethod
    def parse(text: str) -> ServoFault:
        """KIND:ID:EPISODE:TICK. Raises ConfigError."""
        kind, *numbers = text.split(":")
        if kind not in ("unplug", "overload") or len(numbers) != 3 or not all(n.isdecimal() for n in numbers):
            raise ConfigError(f"a servo fault is {text!r}; it must be unplug or overload, then :ID:EPISODE:TICK.")
        device, episode, tick = map(int, numbers)
        return ServoFault(kind, device, episode, tick)


class ServoBody:
    """A plant behind a bus.

    Args:
        spec: the robot.
        plant: its body.
        description: who is on the bus.
        fault: what happens to one of the servos, or None.

    Attributes:
        bus: the line.
        servos: in the order of the actuators.
        period_us: a control period.
    """

    def __init__(
        self, spec: RobotSpec, plant: Plant, description: BusDescription, fault: ServoFault | None = None
    ) -> None:
        if not isinstance(plant, ServoPlant):
            raise ConfigError(f"the simulated body of {spec.name} has no position servos that a bus could drive.")
        self._plant, self._description, self._fault = plant, description, fault
        self.period_us = round(1e6 * spec.control_period_s)
        self._step_rad = 2.0 * math.pi / description.steps_per_turn
        self._signs = [-1 if place.reversed else 1 for place in description.servos]
        self._episode, self._tick = 0, 0
        self.servos = [Servo(place.id) for place in description.servos]
        self._devices = [SensorDevice(place.id, place.registers) for place in description.devices]
        self.bus = Bus([*self.servos, *self._devices])
        if fault is not None and self.bus.at(fault.device) not in (
            self.bus.devices if fault.kind == "unplug" else self.servos
        ):
            raise ConfigError(f"servo fault: the bus of {spec.name} has nothing to {fault.kind} at id {fault.device}.")

    @property
    def torque_on(self) -> bool:
        """Whether any servo has torque."""
        return any(servo.powered for servo in self.servos)

    @property
    def watchdog_periods(self) -> int:
        """Control periods after which every servo with torque that hears nothing has stopped by itself."""
        longest = max(servo.watchdog_us for servo in self.servos)
        return 2 + longest // self.period_us

    def commands(self) -> I32:
        """Where the servos go, as actuator counts."""
        centre = self._description.centre
        wanted = [s * (servo.target - centre) for s, servo in zip(self._signs, self.servos, strict=True)]
        return np.array(wanted, dtype=np.int32)

    def record(self) -> dict[str, list[int]]:
        """For the log: ids of the servos that have torque, and of those that have stopped by themselves."""
        return {
            "powered": [servo["id"] for servo in self.servos if servo.powered],
            "stopped": [servo["id"] for servo in self.servos if servo.stopped],
        }

    def reset(self, episode_seed: int) -> I32:
        """Put the body to its start; the sensor counts, which the devices show from now on."""
        self._episode, self._tick = self._episode + 1, 0
        return self._show(self._plant.reset(episode_seed))

    def step(self) -> I32:
        """One control period under what the servos have been told."""
        fault = self._fault
        # the first reset is that of the start, before any episode
        if fault is not None and (fault.episode, fault.tick) == (self._episode - 1, self._tick):
            self._happen(fault)
        self._tick += self.torque_on
        self._plant.limit([servo.effort for servo in self.servos])
        counts = self._show(self._plant.step(self.commands(), self.torque_on))
        for servo in self.servos:
            servo.pass_time(self.period_us)
        return counts

    def _happen(self, fault: ServoFault) -> None:
        self._fault = None
        device = self.bus.at(fault.device)
        assert device is not None
        if isinstance(device, Servo) and fault.kind == "overload":
            device.fail(OVERLOAD)
        else:
            self.bus.pull(device)

    def _show(self, counts: I32) -> I32:
        angles, rates = self._plant.joints()
        for sign, servo, angle, rate in zip(self._signs, self.servos, angles, rates, strict=True):
            position = self._description.centre + sign * round(angle / self._step_rad)
            servo.move(position, sign * round(rate / _VELOCITY_UNIT))
        for place, device in zip(self._description.devices, self._devices, strict=True):
            shown = [0] * place.registers
            for sensor, count in zip(self._description.sensors, counts.tolist(), strict=True):
                if sensor.device == place.id:
                    shown[sensor.number] = count
            device.show(shown)
        return counts
