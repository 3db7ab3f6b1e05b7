"""Control tables: which registers a device has, and what may be written to them.

`X_SERIES` is the table that the maker publishes for the XL430-W250, as far as a controller of positions can meet it;
the XM430 shares all of it but for the current that it measures at the place of the load.
"""

from __future__ import annotations

from dataclasses import dataclass

#: From here on registers are in RAM: a reboot sets them back, and they may be written under torque.
RAM = 64
X_SERIES_END = 662
XL430_W250 = 1060
FIRMWARE_VERSION = 45

#: Goal PWM of a motor that gets all there is.
FULL_PWM = 885
INDIRECT_ADDRESS, INDIRECT_DATA, INDIRECT_COUNT = 168, 224, 28
#: What an indirect address may point to.
INDIRECT_RANGE = (64, 661)


@dataclass(frozen=True)
class Register:
    """A register: little endian, two's complement where `low` is negative.

    Attributes:
        low, high: what may be written; the number -1 of a register of one byte is 255.
        writable: by an instruction.
    """

    address: int
    size: int
    name: str
    initial: int = 0
    low: int = 0
    high: int = 0
    writable: bool = True

    @property
    def signed(self) -> bool:
        return self.low < 0

    def decode(self, data: bytes | bytearray) -> int:
        return int.from_bytes(data, "little", signed=self.signed)

    def encode(self, value: int) -> bytes:
        return (value & ((1 << 8 * self.size) - 1)).to_bytes(self.size, "little")


def _read_only(address: int, size: int, name: str, initial: int = 0, signed: bool = False) -> Register:
    return Register(address, size, name, initial, -1 if signed else 0, 0, writable=False)


_TURNS = 1_044_479  # 256 turns

X_SERIES = (
    _read_only(0, 2, "model_number", XL430_W250),
    _read_only(2, 4, "model_information"),
    _read_only(6, 1, "firmware_version", FIRMWARE_VERSION),
    Register(7, 1, "id", 1, 0, 252),
    Register(8, 1, "baud_rate", 1, 0, 7),
    Register(9, 1, "return_delay_time", 250, 0, 254),
    Register(10, 1, "drive_mode", 0, 0, 13),
    Register(11, 1, "operating_mode", 3, 0, 16),
    Register(12, 1, "secondary_id", 255, 0, 255),
    Register(13, 1, "protocol_type", 2, 1, 2),
    Register(20, 4, "homing_offset", 0, -_TURNS, _TURNS),
    Register(24, 4, "moving_threshold", 10, 0, 1023),
    Register(31, 1, "temperature_limit", 72, 0, 100),
    Register(32, 2, "max_voltage_limit", 140, 60, 140),
    Register(34, 2, "min_voltage_limit", 60, 60, 140),
    Register(36, 2, "pwm_limit", FULL_PWM, 0, FULL_PWM),
    Register(44, 4, "velocity_limit", 265, 0, 1023),
    Register(48, 4, "max_position_limit", 4095, 0, 4095),
    Register(52, 4, "min_position_limit", 0, 0, 4095),
    Register(60, 1, "startup_configuration", 0, 0, 3),
    Register(63, 1, "shutdown", 52, 0, 255),
    Register(64, 1, "torque_enable", 0, 0, 1),
    Register(65, 1, "led", 0, 0, 1),
    Register(68, 1, "status_return_level", 2, 0, 2),
    _read_only(69, 1, "registered_instruction"),
    _read_only(70, 1, "hardware_error_status"),
    Register(76, 2, "velocity_i_gain", 1000, 0, 16383),
    Register(78, 2, "velocity_p_gain", 100, 0, 16383),
    Register(80, 2, "position_d_gain", 4000, 0, 16383),
    Register(82, 2, "position_i_gain", 0, 0, 16383),
    Register(84, 2, "position_p_gain", 640, 0, 16383),
    Register(88, 2, "feedforward_2nd_gain", 0, 0, 16383),
    Register(90, 2, "feedforward_1st_gain", 0, 0, 16383),
    Register(98, 1, "bus_watchdog", 0, 0, 127),
    Register(100, 2, "goal_pwm", FULL_PWM, -FULL_PWM, FULL_PWM),
    Register(104, 4, "goal_velocity", 265, -1023, 1023),
    Register(108, 4, "profile_acceleration", 0, 0, 32767),
    Register(112, 4, "profile_velocity", 0, 0, 32767),
    Register(116, 4, "goal_position", 0, -_TURNS, _TURNS),
    _read_only(120, 2, "realtime_tick"),
    _read_only(122, 1, "moving"),
    _read_only(123, 1, "moving_status"),
    _read_only(124, 2, "present_pwm", signed=True),
    _read_only(126, 2, "present_load", signed=True),
    _read_only(128, 4, "present_velocity", signed=True),
    _read_only(132, 4, "present_position", signed=True),
    _read_only(136, 4, "velocity_trajectory", signed=True),
    _read_only(140, 4, "position_trajectory", signed=True),
    _read_only(144, 2, "present_input_voltage", 111),
    _read_only(146, 1, "present_temperature", 30),
    _read_only(147, 1, "backup_ready"),
    *(
        Register(INDIRECT_ADDRESS + 2 * i, 2, f"indirect_address_{i + 1}", INDIRECT_DATA + i, *INDIRECT_RANGE)
        for i in range(INDIRECT_COUNT)
    ),
    *(Register(INDIRECT_DATA + i, 1, f"indirect_data_{i + 1}", 0, 0, 255) for i in range(INDIRECT_COUNT)),
)

#: A sensor on the bus: a microcontroller that speaks the protocol. Not the servo maker's, so under no number of theirs.
SENSOR_MODEL = 60001
SENSOR_REGISTERS = 128


def sensor_table(count: int) -> tuple[Register, ...]:
    """Registers of a sensor device with `count` sensors."""
    return (
        _read_only(0, 2, "model_number", SENSOR_MODEL),
        _read_only(2, 4, "model_information"),
        _read_only(6, 1, "firmware_version", 1),
        Register(7, 1, "id", 1, 0, 252),
        *(_read_only(SENSOR_REGISTERS + 4 * i, 4, f"sensor_{i}", signed=True) for i in range(count)),
    )
