"""An X series servo: torque, goals, limits, hardware errors, and the bus watchdog, by its published table."""

from __future__ import annotations

from .device import Device
from .packets import Error
from .table import FULL_PWM, INDIRECT_ADDRESS, INDIRECT_COUNT, INDIRECT_DATA, X_SERIES, Register

#: Bits of the hardware error status.
INPUT_VOLTAGE, OVERHEATING, ENCODER, ELECTRICAL_SHOCK, OVERLOAD = 0x01, 0x04, 0x08, 0x10, 0x20

_WATCHDOG_US = 20_000
_TRIPPED = 255
_GOALS = ("goal_pwm", "goal_velocity", "goal_position")


class Servo(Device):
    """A servo in position control. Where its horn is, the simulator tells it; what it wants, `target` says.

    The goal is followed under torque only. The bus watchdog counts while there is torque: when no instruction has been
    on the bus for its time, the servo stops where it is, keeps its torque, and takes no goal until 0 is written to it.
    A hardware error that `shutdown` names takes the torque off, and none can be had before a reboot.
    """

    def __init__(self, servo_id: int) -> None:
        super().__init__(X_SERIES, servo_id)
        self._silent_us = 0
        self._shut_down = False
        self._held = 0

    @property
    def powered(self) -> bool:
        """Whether its motor acts."""
        return self["torque_enable"] == 1

    @property
    def effort(self) -> float:
        """Share of its greatest effort that its motor may use; 0 without torque."""
        return abs(self["goal_pwm"]) / FULL_PWM if self.powered else 0.0

    @property
    def stopped(self) -> bool:
        """Whether its bus watchdog has stopped it."""
        return self["bus_watchdog"] == _TRIPPED

    @property
    def watchdog_us(self) -> int:
        """Silence after which its bus watchdog stops it; 0 while that is off, or has done so."""
        return 0 if self.stopped else self["bus_watchdog"] * _WATCHDOG_US

    @property
    def target(self) -> int:
        """Where it goes to under torque, steps."""
        return self._held if self.stopped else self["goal_position"]

    def move(self, position: int, velocity: int) -> None:
        """Where the horn is (steps) and how fast it turns (0.229 rev/min)."""
        self["present_position"], self["present_velocity"] = position, velocity
        self["moving"] = int(abs(velocity) > self["moving_threshold"])

    def heard(self) -> None:
        """An instruction has been on the bus."""
        self._silent_us = 0

    def pass_time(self, microseconds: int) -> None:
        """Time has gone by in which nothing was on the bus."""
        self["realtime_tick"] = (self["realtime_tick"] + microseconds // 1000) % 32768
        limit_us = self.watchdog_us
        if not self.powered or limit_us == 0:
            self._silent_us = 0
            return
        self._silent_us += microseconds
        if self._silent_us > limit_us:
            self["bus_watchdog"] = _TRIPPED
            self._held = self["present_position"]

    def fail(self, bits: int) -> None:
        """A hardware error."""
        self["hardware_error_status"] |= bits
        if bits & self["shutdown"]:
            self._shut_down = True
            self["torque_enable"] = 0

    # ---- Device ----

    @property
    def alert(self) -> bool:
        return self["hardware_error_status"] != 0

    @property
    def locked(self) -> bool:
        return self.powered

    @property
    def return_level(self) -> int:
        return self["status_return_level"]

    def translate(self, address: int) -> int:
        slot = address - INDIRECT_DATA
        return self[f"indirect_address_{slot + 1}"] if 0 <= slot < INDIRECT_COUNT else address

    def refuses(self, register: Register, value: int) -> Error:
        if register.name in _GOALS and self.stopped:
            return Error.DATA_RANGE
        if register.name == "goal_position":
            inside = self["min_position_limit"] <= value <= self["max_position_limit"]
            return Error.NONE if inside else Error.DATA_LIMIT
        if register.name == "goal_pwm":
            return Error.NONE if abs(value) <= self["pwm_limit"] else Error.DATA_LIMIT
        if register.name == "torque_enable" and value == 1 and self._shut_down:
            return Error.RESULT_FAIL
        if INDIRECT_ADDRESS <= register.address < INDIRECT_DATA and self.powered:
            return Error.ACCESS
        return Error.NONE

    def written(self, register: Register) -> None:
        if register.name in ("bus_watchdog", "torque_enable"):
            self._silent_us = 0

    def reboot(self) -> None:
        where = self["present_position"]
        super().reboot()
        self["present_position"] = where
        self._shut_down = False
        self._silent_us = 0
