"""The emulated servos against the vendor's own library over a pseudo-terminal, and what only a device can show."""

import os
import pty
import threading
import tomllib
import tty
from pathlib import Path

import dynamixel_sdk as sdk
import pytest

from sim.virtual_robot.dynamixel.bus import Bus
from sim.virtual_robot.dynamixel.packets import Error, encode, status
from sim.virtual_robot.dynamixel.sensor import SensorDevice
from sim.virtual_robot.dynamixel.servo import INPUT_VOLTAGE, OVERLOAD, Servo
from sim.virtual_robot.dynamixel.table import FIRMWARE_VERSION, SENSOR_MODEL, XL430_W250

PUBLISHED = {
    name: bytes.fromhex(text)
    for name, text in tomllib.loads((Path(__file__).parents[1] / "dynamixel_packets.toml").read_text()).items()
}
TORQUE, ERROR_STATUS, WATCHDOG, GOAL, VELOCITY, POSITION = 64, 70, 98, 116, 128, 132


# ---- the published examples ----


@pytest.fixture
def examples():
    """The two servos of the examples."""
    servos = [Servo(1), Servo(2)]
    for servo, position in zip(servos, (166, 2079), strict=True):
        servo["model_number"], servo["firmware_version"] = 1030, 38
        servo.move(position, 0)
    servos[0]["present_input_voltage"], servos[1]["present_temperature"] = 119, 36
    return servos


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ("ping", ["ping_1"]),
        ("ping_all", ["ping_1", "ping_2"]),
        ("read", ["read_1"]),
        ("sync_read", ["read_1", "sync_read_2"]),
        ("bulk_read", ["bulk_read_1", "bulk_read_2"]),
        ("write", ["done_1"]),
        ("reg_write", ["done_1"]),
        ("reboot", ["done_1"]),
        ("factory_reset", ["done_1"]),
        ("sync_write", []),
    ],
)
def test_published_instructions_get_the_published_answers(examples, asked, answers):
    assert Bus(examples).exchange(PUBLISHED[asked]) == b"".join(PUBLISHED[a] for a in answers)


def test_published_writes_do_what_they_say(examples):
    bus = Bus(examples)
    bus.exchange(PUBLISHED["write"])
    assert examples[0]["goal_position"] == 512
    bus.exchange(PUBLISHED["reg_write"])
    assert examples[0]["goal_velocity"] != 200
    assert bus.exchange(PUBLISHED["action"]) == PUBLISHED["done_1"]
    assert examples[0]["goal_velocity"] == 200
    assert bus.exchange(PUBLISHED["action"]) == status(1, Error.INSTRUCTION)  # nothing is registered any more
    bus.exchange(PUBLISHED["sync_write"])
    assert [servo["goal_position"] for servo in examples] == [150, 170]
    bus.exchange(PUBLISHED["bulk_write"])
    assert examples[1]["temperature_limit"] == 80
    assert examples[0]["max_voltage_limit"] == 140  # 16 V is more than an XL430 allows


# ---- the vendor's library ----


class Line:
    """A bus at a pseudo-terminal, served by a thread that counts what it has heard and said."""

    def __init__(self, bus):
        self.bus = bus
        self.heard, self.said = 0, 0
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while (data := os.read(self._master, 1024)) != b"end":
            answer = self.bus.exchange(data)
            os.write(self._master, answer)
            self.said += len(answer)
            self.heard += len(data)

    def close(self):
        os.write(self._slave, b"end")
        self._thread.join(5.0)
        os.close(self._slave)
        os.close(self._master)


class Port(sdk.PortHandler):
    """The library's port, but for when to give up: when all has been heard and all that was said is here."""

    def __init__(self, line):
        super().__init__(line.port)
        self._line = line
        self._wrote, self._read = 0, 0

    def writePort(self, packet):  # noqa: N802
        count = super().writePort(packet)
        self._wrote += count
        return count

    def readPort(self, length):  # noqa: N802
        data = super().readPort(length)
        self._read += len(data)
        return data

    def isPacketTimeout(self):  # noqa: N802
        return self._line.heard == self._wrote and self._line.said == self._read


@pytest.fixture
def servos():
    return [Servo(11), Servo(12), Servo(21)]


@pytest.fixture
def imu():
    return SensorDevice(100, 3)


@pytest.fixture
def port(servos, imu):
    line = Line(Bus([*servos, imu]))
    handler = Port(line)
    assert handler.openPort()
    assert handler.setBaudRate(1_000_000)
    yield handler
    handler.closePort()
    line.close()


@pytest.fixture
def vendor():
    return sdk.PacketHandler(2.0)


OK = (sdk.COMM_SUCCESS, 0)


def test_ping_and_broadcast_ping(port, vendor):
    assert vendor.ping(port, 12) == (XL430_W250, *OK)
    assert vendor.ping(port, 100) == (SENSOR_MODEL, *OK)
    assert vendor.ping(port, 99)[1] == sdk.COMM_RX_TIMEOUT
    found, result = vendor.broadcastPing(port)
    assert result == sdk.COMM_SUCCESS
    assert found == {
        **{servo: [XL430_W250, FIRMWARE_VERSION] for servo in (11, 12, 21)},
        100: [SENSOR_MODEL, 1],
    }


def test_read_and_write(port, vendor, servos):
    servos[0].move(-5, -40)
    assert vendor.write4ByteTxRx(port, 11, GOAL, 3000) == OK
    assert vendor.read4ByteTxRx(port, 11, GOAL) == (3000, *OK)
    assert vendor.read4ByteTxRx(port, 11, POSITION) == (2**32 - 5, *OK)
    assert vendor.read4ByteTxRx(port, 11, VELOCITY) == (2**32 - 40, *OK)
    assert vendor.write1ByteTxRx(port, 11, TORQUE, 1) == OK
    assert servos[0].powered
    assert vendor.reboot(port, 11) == OK
    assert not servos[0].powered


def test_what_looks_like_a_header_within_the_data_arrives_whole(port, vendor, servos, imu):
    header = int.from_bytes(b"\xff\xff\xfd\x00", "little")
    imu.show([header, -1, 5])
    assert vendor.read4ByteTxRx(port, 100, 128) == (header, *OK)
    assert vendor.readTxRx(port, 100, 128, 12)[0] == list(b"\xff\xff\xfd\x00\xff\xff\xff\xff\x05\x00\x00\x00")
    # version 4.1.0 of the library stuffs what it sends into a copy that it does not send, so this one is ours
    looks = b"\xff\xff\xfd\xfd\x00\x01"
    assert Bus(servos).exchange(encode(21, 0x03, b"\xe0\x00" + looks)) == status(21, 0)
    assert vendor.readTxRx(port, 21, 224, 6)[0] == list(looks)


def test_sync_write_and_sync_read(port, vendor, servos):
    write = sdk.GroupSyncWrite(port, vendor, GOAL, 4)
    for servo, goal in ((11, 1000), (12, 2000), (21, 3000)):
        assert write.addParam(servo, list(goal.to_bytes(4, "little")))
    assert write.txPacket() == sdk.COMM_SUCCESS
    read = sdk.GroupSyncRead(port, vendor, GOAL, 4)
    for servo in (21, 11, 12):
        assert read.addParam(servo)
    assert read.txRxPacket() == sdk.COMM_SUCCESS
    assert [read.getData(servo, GOAL, 4) for servo in (11, 12, 21)] == [1000, 2000, 3000]


def test_bulk_read_and_bulk_write(port, vendor, servos, imu):
    imu.show([7, -8, 9])
    write = sdk.GroupBulkWrite(port, vendor)
    assert write.addParam(11, GOAL, 4, list((1234).to_bytes(4, "little")))
    assert write.addParam(12, WATCHDOG, 1, [5])
    assert write.txPacket() == sdk.COMM_SUCCESS
    read = sdk.GroupBulkRead(port, vendor)
    for place in ((11, GOAL, 4), (12, WATCHDOG, 1), (100, 128, 12)):
        assert read.addParam(*place)
    assert read.txRxPacket() == sdk.COMM_SUCCESS
    assert read.getData(11, GOAL, 4) == 1234
    assert read.getData(12, WATCHDOG, 1) == 5
    assert [read.getData(100, 128 + 4 * i, 4) for i in range(3)] == [7, 2**32 - 8, 9]


def test_behind_a_missing_servo_all_are_silent(port, vendor, servos):
    read = sdk.GroupSyncRead(port, vendor, POSITION, 4)
    for servo in (11, 13, 12):
        assert read.addParam(servo)
    assert read.txRxPacket() == sdk.COMM_RX_TIMEOUT


def test_indirect_addresses_gather_what_is_apart(port, vendor, servos):
    servos[0].move(0x01020304, 0)
    where = [TORQUE, ERROR_STATUS, POSITION, POSITION + 1, POSITION + 2, POSITION + 3]
    data = [byte for address in where for byte in address.to_bytes(2, "little")]
    assert vendor.writeTxRx(port, 11, 168, len(data), data) == OK
    assert vendor.write1ByteTxRx(port, 11, 224, 1) == OK  # writes torque enable
    assert vendor.readTxRx(port, 11, 224, 6)[0] == [1, 0, 4, 3, 2, 1]
    assert vendor.write2ByteTxRx(port, 11, 168, 70)[1] == Error.ACCESS  # not under torque


def test_errors_as_the_protocol_has_them(port, vendor, servos):
    def error(answer):
        result, number = answer[-2:]
        assert result == sdk.COMM_SUCCESS
        return number

    assert error(vendor.write4ByteTxRx(port, 11, GOAL, 4096)) == sdk.ERRNUM_DATA_LIMIT
    assert error(vendor.write1ByteTxRx(port, 11, TORQUE, 2)) == sdk.ERRNUM_DATA_RANGE
    assert error(vendor.write2ByteTxRx(port, 11, GOAL, 5)) == sdk.ERRNUM_DATA_LENGTH
    assert error(vendor.write4ByteTxRx(port, 11, POSITION, 5)) == sdk.ERRNUM_ACCESS
    assert error(vendor.write1ByteTxRx(port, 11, 17, 5)) == sdk.ERRNUM_ACCESS  # no such register
    assert error(vendor.readTxRx(port, 11, 660, 10)) == sdk.ERRNUM_ACCESS
    assert error(vendor.write1ByteTxRx(port, 11, 9, 0)) == 0
    assert error(vendor.write1ByteTxRx(port, 11, TORQUE, 1)) == 0
    assert error(vendor.write1ByteTxRx(port, 11, 9, 10)) == sdk.ERRNUM_ACCESS  # EEPROM under torque
    assert servos[0]["return_delay_time"] == 0


def test_wrong_crc_and_wrong_instruction():
    servo = Servo(5)
    bus = Bus([servo])
    damaged = bytearray(encode(5, 0x03, b"\x74\x00\x00\x02\x00\x00"))
    damaged[-1] ^= 1
    assert bus.exchange(bytes(damaged)) == status(5, Error.CRC)
    assert servo["goal_position"] == 0
    assert bus.exchange(encode(5, 0x77, b"")) == status(5, Error.INSTRUCTION)
    assert bus.exchange(encode(5, 0x02, b"\x00")) == status(5, Error.DATA_LENGTH)
    assert bus.exchange(b"\xff\xff\xfd\x00\x05" + encode(5, 0x01, b"")[:4]) == b""  # not whole yet


def test_goals_beyond_the_limits_of_one_servo(port, vendor, servos):
    servos[1]["max_position_limit"], servos[1]["min_position_limit"] = 3000, 1000
    assert vendor.write4ByteTxRx(port, 12, GOAL, 3001)[1] == sdk.ERRNUM_DATA_LIMIT
    assert vendor.write4ByteTxRx(port, 12, GOAL, 999)[1] == sdk.ERRNUM_DATA_LIMIT
    assert vendor.write4ByteTxRx(port, 12, GOAL, 1000) == OK


def test_the_bus_watchdog_stops_a_servo_that_hears_nothing(port, vendor, servos):
    servo = servos[0]
    servo.move(1500, 0)
    assert vendor.write1ByteTxRx(port, 11, WATCHDOG, 5) == OK
    assert vendor.write4ByteTxRx(port, 11, GOAL, 2000) == OK
    servo.pass_time(1_000_000)  # without torque it does not count
    assert vendor.write1ByteTxRx(port, 11, TORQUE, 1) == OK
    servo.pass_time(100_000)
    assert vendor.ping(port, 12)[1] == sdk.COMM_SUCCESS  # any instruction is a sign of life
    servo.pass_time(100_000)
    assert (servo.stopped, servo.target) == (False, 2000)
    servo.pass_time(20_000)
    assert (servo.stopped, servo.target, servo.powered) == (True, 1500, True)
    assert vendor.read1ByteTxRx(port, 11, WATCHDOG) == (255, *OK)
    assert vendor.write4ByteTxRx(port, 11, GOAL, 2000)[1] == sdk.ERRNUM_DATA_RANGE
    assert vendor.write1ByteTxRx(port, 11, WATCHDOG, 0) == OK
    assert vendor.write4ByteTxRx(port, 11, GOAL, 2100) == OK
    assert servo.target == 2100


def test_a_hardware_error_is_in_every_answer_and_may_take_the_torque(port, vendor, servos):
    assert vendor.write1ByteTxRx(port, 21, TORQUE, 1) == OK
    servos[2].fail(INPUT_VOLTAGE)  # not one that shuts it down
    assert vendor.read1ByteTxRx(port, 21, TORQUE) == (1, sdk.COMM_SUCCESS, 0x80)
    servos[2].fail(OVERLOAD)
    assert vendor.read1ByteTxRx(port, 21, ERROR_STATUS)[0] == INPUT_VOLTAGE | OVERLOAD
    assert vendor.read1ByteTxRx(port, 21, TORQUE)[0] == 0
    assert vendor.write1ByteTxRx(port, 21, TORQUE, 1)[1] & 0x7F == sdk.ERRNUM_RESULT_FAIL
    assert vendor.reboot(port, 21)[0] == sdk.COMM_SUCCESS
    assert vendor.write1ByteTxRx(port, 21, TORQUE, 1) == OK


def test_status_return_level(port, vendor, servos):
    assert vendor.write1ByteTxRx(port, 11, 68, 1)[0] == sdk.COMM_RX_TIMEOUT  # carried out, not acknowledged
    assert vendor.read1ByteTxRx(port, 11, 68) == (1, *OK)
    assert vendor.write1ByteTxRx(port, 11, 68, 0)[0] == sdk.COMM_RX_TIMEOUT
    assert vendor.read1ByteTxRx(port, 11, 68)[1] == sdk.COMM_RX_TIMEOUT
    assert vendor.ping(port, 11) == (XL430_W250, *OK)


def test_factory_reset_keeps_what_it_is_told_to(port, vendor, servos):
    servos[0]["return_delay_time"] = 0
    assert vendor.factoryReset(port, 11, 0x01) == OK
    assert (servos[0]["id"], servos[0]["return_delay_time"]) == (11, 250)


def test_an_id_can_be_changed(port, vendor, servos):
    assert vendor.write1ByteTxRx(port, 11, 7, 44) == OK
    assert vendor.ping(port, 44) == (XL430_W250, *OK)
