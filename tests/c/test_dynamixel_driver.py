"""The firmware's servo driver, compiled here with sanitizers, on a line that ends at the emulated servos."""

import ctypes
import random
import re
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest
from dynamixel_sdk import Protocol2PacketHandler

from esmaml_robot.bridge.messages import Fault
from esmaml_robot.robot_spec import load_robot
from firmware_export import wiring
from firmware_export.board_file import BOARDS, load_board, render_bus, render_wiring
from firmware_export.build import RUNTIME, SANITIZERS, WARNINGS
from firmware_export.robot_c import write_robot_c
from firmware_export.wiring import BusWiring, bus_bytes
from sim.virtual_robot.dynamixel.body import ServoBody
from sim.virtual_robot.dynamixel.description import load_bus
from sim.virtual_robot.dynamixel.packets import Error, PacketReader, crc16, encode, status
from sim.virtual_robot.dynamixel.servo import OVERHEATING, OVERLOAD, Servo
from sim.virtual_robot.dynamixel.table import INDIRECT_ADDRESS, INDIRECT_DATA, SENSOR_REGISTERS, X_SERIES

SPEC = load_robot("ant")
BOARD = load_board("mps2_an386")
WIRING = BOARD.settings.wiring["ant"]
DRIVER = BOARDS.parent / "dynamixel"
HERE = Path(__file__).parent
PUBLISHED = {
    name: bytes.fromhex(text)
    for name, text in tomllib.loads((HERE.parent / "dynamixel_packets.toml").read_text()).items()
}
IDS = [11, 12, 21, 22, 31, 32, 41, 42]
SAFE = [0, 737, 0, -737, 0, -737, 0, 737]
CENTRE = 2048
LINE = ctypes.CFUNCTYPE(
    ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t
)


class Still:
    """A body that stands where its servos are told to."""

    def __init__(self):
        self.angles = np.zeros(8)
        self.counts = np.array([10, -20, 30, -32000, 32000], dtype=np.int32)
        self.efforts = [0.0] * 8

    def reset(self, episode_seed):
        return self.counts

    def step(self, actuators, torque_on):
        for i, on in enumerate(self.efforts):
            if torque_on and on:
                self.angles[i] = actuators[i] * 2 * np.pi / 4096
        return self.counts

    def limit(self, efforts):
        self.efforts = efforts

    def joints(self):
        return tuple(self.angles), (0.0,) * 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("driver")
    write_robot_c(SPEC, made)
    (made / "wiring.h").write_text(render_wiring(BOARD, SPEC))
    (made / "bus.json").write_text(render_bus(BOARD, SPEC))
    return made


def compile_driver(folder, main, *flags):
    out = folder / Path(main).stem
    subprocess.run(
        ["cc", "-std=c99", "-O1", *WARNINGS, *flags, f"-I{RUNTIME}", f"-I{DRIVER}", f"-I{folder}",
         *map(str, DRIVER.glob("*.c")), str(folder / "robot_model.c"), str(HERE / main), "-o", str(out)],
        check=True,
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def library(folder):
    flags = ("-fsanitize=undefined", "-fno-sanitize-recover=all", "-shared", "-fPIC")
    c = ctypes.CDLL(str(compile_driver(folder, "dynamixel_line.c", *flags)))
    for name in ("clock_us", "heard_too_late", "detail", "reused", "traffic", "bad"):
        getattr(c, name).restype = ctypes.c_uint32
    c.position.restype = ctypes.c_int32
    return c


@pytest.fixture(scope="module")
def program(folder):
    """tests/c/dynamixel_fuzz.c with all sanitizers: (mode, cases) -> lines."""
    made = compile_driver(folder, "dynamixel_fuzz.c", *SANITIZERS)

    def run(mode, cases):
        data = b"".join(len(case).to_bytes(4, "little") + case for case in cases)
        done = subprocess.run([made, mode], input=data, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().splitlines()

    return run


class Rig:
    """The driver and the servos. `damage` may change what the servos answer; `sent` is what the driver said."""

    def __init__(self, library, folder):
        self.c = library
        self.plant = Still()
        self.body = ServoBody(SPEC, self.plant, load_bus(folder / "bus.json", SPEC))
        self.damage = lambda asked, answer: answer
        self.sent = []
        self.body.reset(0)
        self._line = LINE(self._exchange)
        library.line(self._line)

    def _exchange(self, data, length, reply, capacity):
        asked = bytes(data[:length])
        self.sent.append(asked)
        answer = self.damage(asked, self.body.bus.exchange(asked))
        ctypes.memmove(reply, answer, min(len(answer), capacity))
        return len(answer)

    def servo(self, device_id):
        return self.body.bus.at(device_id)

    def start(self):
        self.c.start()
        return self

    def actuate(self, counts, on=True):
        self.c.actuate((ctypes.c_int32 * 8)(*counts), int(on))

    def sense(self):
        out = (ctypes.c_int32 * 5)()
        self.c.sense(out)
        return list(out)

    def tick(self, counts=SAFE):
        self.actuate(counts)
        self.body.step()
        return self.sense()

    @property
    def fault(self):
        return Fault(self.c.fault()), self.c.detail()


@pytest.fixture
def rig(library, folder):
    return Rig(library, folder)


class _Packet(ctypes.Structure):
    _fields_ = [("length", ctypes.c_size_t), ("full", ctypes.c_uint8), ("bytes", ctypes.c_uint8 * 320)]


class _Status(ctypes.Structure):
    _fields_ = [("id", ctypes.c_uint8), ("error", ctypes.c_uint8), ("length", ctypes.c_size_t),
                ("data", ctypes.c_uint8 * 64)]  # fmt: skip


class _Receiver(ctypes.Structure):
    _fields_ = [("used", ctypes.c_size_t), ("bad", ctypes.c_uint32), ("bytes", ctypes.c_uint8 * 100)]


def built(c, device, instruction, parameters):
    """A packet as the driver makes it."""
    packet = _Packet()
    c.dxl_begin(ctypes.byref(packet), device, instruction)
    for byte in parameters:
        c.dxl_u8(ctypes.byref(packet), byte)
    assert c.dxl_end(ctypes.byref(packet))
    return bytes(packet.bytes[: packet.length])


def parsed(c, data):
    """(id, error, data) of the status packets that the driver finds."""
    receiver, one, found = _Receiver(), _Status(), []
    for byte in data:
        c.dxl_push(ctypes.byref(receiver), byte)
        while c.dxl_take(ctypes.byref(receiver), ctypes.byref(one)):
            found.append((one.id, one.error, bytes(one.data[: one.length])))
    return found


# ---- packets ----


def test_the_driver_and_the_servos_make_the_published_packets(library):
    for packet in PUBLISHED.values():
        for make in (lambda *parts: built(library, *parts), encode):
            assert make(packet[4], packet[7], packet[8:-2]) == packet


def test_the_driver_and_the_servos_read_the_published_packets(library):
    for packet in PUBLISHED.values():
        (read,) = PacketReader().feed(packet)
        assert (read.id, read.instruction, read.parameters, read.intact) == (packet[4], packet[7], packet[8:-2], True)
        expected = [(packet[4], packet[8], packet[9:-2])] if packet[7] == 0x55 else []
        assert parsed(library, packet) == expected


def test_crc_and_stuffing_are_the_vendors(library):
    vendor = Protocol2PacketHandler()
    rng = random.Random(0)
    for _ in range(300):
        data = bytes(rng.choices((0xFF, 0xFD, 0x00, rng.randrange(256)), k=rng.randrange(1, 40)))
        assert crc16(data) == vendor.updateCRC(0, data, len(data))
        library.dxl_crc.restype = ctypes.c_uint16
        assert library.dxl_crc(0, data, len(data)) == crc16(data)
        plain = [0xFF, 0xFF, 0xFD, 0x00, 1, (len(data) + 3) & 0xFF, 0, 3, *data, 0, 0]
        stuffed = bytes(vendor.addStuffing(plain))[:-2]
        assert built(library, 1, 3, data)[:-2] == stuffed == encode(1, 3, data)[:-2]
        answer = status(7, 0, data)
        assert parsed(library, answer) == [(7, 0, data)]
        assert [p.parameters for p in PacketReader().feed(answer)] == [b"\0" + data]


def test_a_packet_too_long_for_the_buffer_is_not_sent(library):
    packet = _Packet()
    library.dxl_begin(ctypes.byref(packet), 1, 3)
    for _ in range(400):
        library.dxl_u8(ctypes.byref(packet), 1)
    assert not library.dxl_end(ctypes.byref(packet))


def noisy(rng):
    """Status packets with noise between them, as a line gives them, and which packets are among it."""
    out, packets = b"", []
    for _ in range(rng.randrange(1, 6)):
        out += bytes(rng.choices((0xFF, 0xFD, 0x00, 0x55, rng.randrange(256)), k=rng.randrange(0, 30)))
        data = bytes(rng.choices((0xFF, 0xFD, 0x01, rng.randrange(256)), k=rng.randrange(0, 20)))
        packet = status(rng.randrange(253), 0, data)
        kind = rng.randrange(4)
        if kind == 0:  # a bit
            at = rng.randrange(8 * len(packet))
            packet = bytes(b ^ (1 << at % 8 if i == at // 8 else 0) for i, b in enumerate(packet))
        elif kind == 1:  # cut, and what follows is not by chance the rest
            end = rng.randrange(len(packet))
            packet = packet[:end] + bytes([packet[end] ^ 0xFF])
        else:
            packets.append(packet)
        out += packet
    return out + b"\0" * 100, packets  # behind noise that announces a long packet, that many bytes bring the next


def test_the_parser_finds_every_intact_packet_in_any_noise_and_no_other(program):
    rng = random.Random(7)
    cases = [noisy(rng) for _ in range(3000)]
    cases += [(bytes(rng.randrange(256) for _ in range(300)), []) for _ in range(300)]
    lines = iter(program("parse", [data for data, _ in cases]))
    for data, packets in cases:
        found = []
        while (line := next(lines)) != ".":
            found.append(bytes.fromhex(line))
        expected = [p.parameters for packet in packets for p in PacketReader().feed(packet)]
        assert found == [bytes([packet[4]]) + e for packet, e in zip(packets, expected, strict=True)], data.hex()


def test_whatever_comes_over_the_line_the_driver_ends_and_takes_the_torque_off(program, rig):
    answers = []
    rig.damage = lambda asked, answer: (answers.append(answer), answer)[1]
    rig.start()
    for _ in range(12):
        rig.tick()
    rig.actuate(SAFE, on=False)
    session = b"".join(answers)
    rng = random.Random(3)
    cases = [session, b"", b"\xff" * 5000, b"\xff\xff\xfd\x00" * 1000]
    for _ in range(150):
        data = bytearray(session)
        for _ in range(rng.randrange(1, 60)):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] ^= 1 << rng.randrange(8)
                case 1:
                    del data[at : at + rng.randrange(40)]
                case 2:
                    data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(20)))
                case _:
                    data[at : at + 60] = data[rng.randrange(len(data)) :][:60]
        cases.append(bytes(data))
    assert len(program("drive", cases)) == len(cases)


# ---- servos ----


def test_at_the_start_servos_are_released_and_set_up(rig):
    for servo in rig.body.servos:
        servo["torque_enable"], servo["operating_mode"], servo["status_return_level"] = 1, 1, 0
    rig.start()
    assert rig.fault == (Fault.NONE, 0)
    for servo in rig.body.servos:
        assert (servo["torque_enable"], servo["operating_mode"], servo["return_delay_time"]) == (0, 3, 0)
    written = len(rig.sent)
    rig.c.check()
    eeprom = [p for p in rig.sent[written:] if p[7] == 0x03 and p[8] < 64]
    assert not eeprom  # it wears, so what is right already is not written


def test_counts_are_steps_and_sensors_are_registers(rig):
    rig.start()
    goals = [100, 900, -100, -900, 1, -800, -1, 700]
    assert rig.tick(goals) == rig.plant.counts.tolist()
    assert [servo["goal_position"] for servo in rig.body.servos] == [CENTRE + g for g in goals]
    assert rig.body.commands().tolist() == goals
    rig.sense()
    assert [rig.c.position(i) for i in range(8)] == goals
    assert rig.fault == (Fault.NONE, 0)
    assert (rig.c.reused(), rig.c.heard_too_late(), rig.c.bad()) == (0, 0, 0)


def wired(folder, **changes):
    """The driver of an ant that is wired otherwise, and its servos."""
    settings = BOARD.settings.model_copy(update={"wiring": {"ant": WIRING.model_copy(update=changes)}})
    board = type(BOARD)(settings, BOARD.folder)
    write_robot_c(SPEC, folder)
    (folder / "wiring.h").write_text(render_wiring(board, SPEC))
    (folder / "bus.json").write_text(render_bus(board, SPEC))
    flags = ("-fsanitize=undefined", "-fno-sanitize-recover=all", "-shared", "-fPIC")
    c = ctypes.CDLL(str(compile_driver(folder, "dynamixel_line.c", *flags)))
    c.detail.restype = ctypes.c_uint32
    return Rig(c, folder)


def test_a_limit_of_effort_is_in_force_whenever_there_is_torque(tmp_path):
    rig = wired(tmp_path, effort={"ankle_1": 0.4, "hip_4": 1.0}).start()
    rig.tick()
    assert rig.fault == (Fault.NONE, 0)
    assert rig.plant.efforts == [1.0, 0.4, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    rig.servo(12).reboot()  # which forgets it, and its torque
    assert rig.servo(12)["goal_pwm"] == 885
    rig.tick()
    rig.c.check()
    rig.tick()
    assert rig.fault == (Fault.NONE, 0)
    assert rig.servo(12)["goal_pwm"] == 354
    rig.actuate(SAFE, on=False)
    rig.body.step()
    assert rig.plant.efforts == [0.0] * 8


def test_a_servo_that_may_not_have_the_effort_asked_for_is_not_armed(tmp_path):
    rig = wired(tmp_path, effort={"ankle_1": 0.4})
    rig.servo(11)["pwm_limit"] = 100  # nothing is asked of that one
    rig.servo(12)["pwm_limit"] = 353
    rig.start()
    assert rig.fault == (Fault.SERVO_SETUP, 12)
    rig.servo(12)["pwm_limit"] = 354
    rig.c.check()
    assert rig.fault == (Fault.NONE, 0)


def test_a_servo_mounted_the_other_way_counts_down(tmp_path):
    rig = wired(tmp_path, reversed=("ankle_1", "hip_4")).start()
    rig.tick([100, 900, 0, 0, 0, 0, -50, 0])
    assert [rig.body.servos[i]["goal_position"] for i in (0, 1, 6)] == [2148, 1148, 2098]
    assert rig.body.commands().tolist() == [100, 900, 0, 0, 0, 0, -50, 0]
    rig.sense()
    assert [rig.c.position(i) for i in (0, 1, 6)] == [100, 900, -50]


def test_a_control_period_takes_the_bytes_that_the_build_reckons_with(rig):
    rig.start()
    rig.tick()
    before = rig.c.traffic()
    rig.tick()
    assert isinstance(WIRING, BusWiring)
    assert rig.c.traffic() - before == bus_bytes(WIRING, SPEC) == 300


def test_torque_is_on_only_between_being_switched_on_and_off(rig):
    rig.start()
    assert not rig.body.torque_on
    rig.sense()
    assert not rig.body.torque_on
    rig.tick()
    assert all(servo.powered for servo in rig.body.servos)
    assert all(servo["bus_watchdog"] == 15 for servo in rig.body.servos)  # ant.yaml: release_ms 300
    rig.actuate(SAFE, on=False)
    assert not rig.body.torque_on
    assert not any(rig.c.loose(i) for i in range(8))


def test_a_servo_has_its_goal_before_it_has_torque(rig):
    rig.start()
    goals = []

    def look(asked, answer):
        if asked[7:11] == bytes([0x03, 64, 0, 1]):
            goals.append(rig.servo(asked[4])["goal_position"])
        return answer

    rig.damage = look
    rig.tick()
    assert goals == [CENTRE + count for count in SAFE]


def test_noise_that_announces_a_packet_does_not_swallow_the_answer_behind_it(rig):
    rig.damage = lambda asked, answer: b"\xff\xff\xfd\x00\x0b\x50\x00" + answer if answer else b""
    rig.start()
    for _ in range(5):
        assert rig.tick() == rig.plant.counts.tolist()
    assert rig.fault == (Fault.NONE, 0)
    assert rig.c.reused() == 0
    assert rig.c.bad() > 0


def test_an_answer_that_is_lost_or_damaged_is_asked_for_again(rig):
    rig.start()
    rig.tick()
    rng = random.Random(5)
    hurt = []

    def damage(asked, answer):
        if asked[7] == 0x92 and answer:  # of BULK READ: nothing, a bit, the end, or noise in front
            hurt.append(rng.randrange(4))
            at = rng.randrange(len(answer))
            flipped = bytes(b ^ (0x10 if i == at else 0) for i, b in enumerate(answer))
            return (b"", flipped, answer[:at], b"\xff\xff\xfd\x00\x0b\x40" + answer)[hurt[-1]]
        return answer

    rig.damage = damage
    for k in range(60):
        rig.plant.counts = np.array([k, -k, 2 * k, 3, 4], dtype=np.int32)
        assert rig.tick([k] * 8) == rig.plant.counts.tolist()
    assert set(hurt) == {0, 1, 2, 3}
    assert rig.fault == (Fault.NONE, 0)
    assert rig.c.reused() == 0


def test_nothing_is_said_while_answers_are_still_coming(rig):
    rig.start()
    rig.tick()

    def damage(asked, answer):  # somebody answers what was not asked, and before all others
        return status(11, Error.RESULT_FAIL) + answer if asked[7] == 0x92 else answer

    rig.damage = damage
    said = len(rig.sent)
    assert rig.tick() == rig.plant.counts.tolist()
    assert [packet[7] for packet in rig.sent[said:]] == [0x83, 0x92]  # goals, question: none had to be asked again
    assert rig.c.heard_too_late() == 0


def test_last_values_stand_in_for_two_control_periods_and_the_third_is_a_fault(rig):
    rig.start()
    rig.tick()
    dead = rig.servo(100)
    for lost in (1, 2):
        rig.body.bus.pulled.add(dead)
        before = rig.c.reused()
        for _ in range(lost):
            rig.plant.counts = rig.plant.counts + 1
            expected = rig.plant.counts.tolist()
            seen = rig.tick()
            assert seen[3:] == expected[3:]  # of the tracker, which answers
            assert seen[:3] != expected[:3]
        assert rig.c.reused() - before == lost
        rig.body.bus.pulled.clear()
        assert rig.tick() == rig.plant.counts.tolist()
        assert rig.fault == (Fault.NONE, 0)
    rig.body.bus.pulled.add(dead)
    for _ in range(3):
        assert rig.fault == (Fault.NONE, 0)
        rig.tick()
    assert rig.fault == (Fault.BUS_LOST, 100)


@pytest.mark.parametrize("lost", [11, 31, 42])
def test_a_servo_that_is_lost_is_named_and_the_others_are_released(rig, lost):
    rig.start()
    for _ in range(5):
        rig.tick()
    rig.body.bus.pull(rig.servo(lost))
    for _ in range(3):
        rig.tick()
    assert rig.fault == (Fault.BUS_LOST, lost)
    rig.actuate(SAFE, on=False)
    assert not rig.body.torque_on
    assert [IDS[i] for i in range(8) if rig.c.loose(i)] == [lost]
    rig.actuate(SAFE)  # there is no torque while a fault stands
    assert not rig.body.torque_on


def test_a_bus_on_which_nobody_answers_is_named_as_that(rig):
    rig.start()
    rig.tick()
    rig.damage = lambda asked, answer: b""
    start = rig.c.clock_us()
    for _ in range(3):
        rig.tick()
    assert rig.fault == (Fault.BUS_LOST, 254)
    assert rig.c.clock_us() - start < 3 * SPEC.control_period_s * 1e6  # waiting has an end


def test_a_bus_that_is_dead_from_the_start(rig):
    rig.damage = lambda asked, answer: b""
    start = rig.c.clock_us()
    rig.start()
    assert rig.fault == (Fault.BUS_LOST, 254)
    assert rig.c.clock_us() - start < 40_000
    rig.damage = lambda asked, answer: answer
    rig.c.check()
    assert rig.fault == (Fault.NONE, 0)
    rig.tick()
    assert rig.body.torque_on


def test_a_servo_missing_at_the_start_is_named_and_found_when_it_is_plugged_in(rig):
    rig.body.bus.pulled.add(rig.servo(32))
    rig.start()
    assert rig.fault == (Fault.BUS_LOST, 32)
    rig.tick()
    assert not rig.body.torque_on
    rig.body.bus.pulled.clear()
    rig.c.check()
    assert rig.fault == (Fault.NONE, 0)


def test_noise_while_servos_are_set_up_is_no_fault(rig):
    count = [0]

    def damage(asked, answer):
        count[0] += 1
        return b"" if count[0] % 3 == 0 else answer

    rig.damage = damage
    rig.start()
    assert rig.fault == (Fault.NONE, 0)
    assert all(servo["return_delay_time"] == 0 for servo in rig.body.servos)


def test_a_servo_that_did_not_hear_of_its_release_is_told_until_it_has(rig):
    rig.start()
    rig.tick()
    deaf = rig.servo(22)
    rig.body.bus.pulled.add(deaf)  # its line is broken, its power is not
    rig.actuate(SAFE, on=False)
    assert deaf.powered
    assert rig.fault == (Fault.BUS_LOST, 22)
    rig.c.rest()
    rig.body.bus.pulled.clear()
    rig.c.rest()
    assert not deaf.powered
    assert not any(rig.c.loose(i) for i in range(8))


def test_a_hardware_error_is_named(rig):
    rig.start()
    rig.tick()
    rig.servo(32).fail(OVERLOAD | OVERHEATING)
    rig.tick()
    assert rig.fault == (Fault.SERVO_ALERT, 32 + 256 * (OVERLOAD | OVERHEATING))
    rig.actuate(SAFE, on=False)
    rig.c.check()
    assert rig.fault == (Fault.SERVO_ALERT, 32 + 256 * (OVERLOAD | OVERHEATING))  # it is still there
    rig.servo(32).reboot()
    rig.c.check()
    assert rig.fault == (Fault.NONE, 0)
    rig.tick()
    assert rig.servo(32).powered


@pytest.mark.parametrize("what", ["reboot", "watchdog"])
def test_a_servo_that_stopped_by_itself_is_named(rig, what):
    rig.start()
    rig.tick()
    if what == "reboot":
        rig.servo(41).reboot()
    else:
        rig.servo(41).pass_time(400_000)
        assert rig.servo(41).stopped
    rig.tick()
    assert rig.fault[0] is Fault.SERVO_STOPPED
    assert rig.fault[1] == 41
    rig.actuate(SAFE, on=False)
    rig.c.check()
    rig.tick()
    assert rig.fault == (Fault.NONE, 0)
    assert not rig.servo(41).stopped


def test_a_servo_whose_limits_cut_the_range_is_not_armed(rig):
    rig.servo(12)["max_position_limit"] = 3000
    rig.start()
    assert rig.fault == (Fault.SERVO_SETUP, 12)
    rig.servo(12)["max_position_limit"] = CENTRE + round(1.7453 / SPEC.actuators[1].scale)
    rig.c.check()
    assert rig.fault == (Fault.NONE, 0)


def test_servos_stop_by_themselves_when_the_controller_is_gone(rig):
    rig.start()
    rig.tick()
    rig.actuate([50] * 8)  # and no more
    for _ in range(8):
        rig.body.step()
    assert not any(servo.stopped for servo in rig.body.servos)
    for _ in range(2):
        rig.body.step()
    assert all(servo.stopped for servo in rig.body.servos)
    assert rig.body.commands().tolist() == [50] * 8  # where they are


# ---- one truth ----


def test_addresses_are_those_of_the_published_table():
    text = (DRIVER / "x_series.h").read_text()
    found = {name: int(value) for name, value in re.findall(r"#define (X_\w+|DEVICE_\w+) (\d+)", text)}
    table = {register.name: register.address for register in X_SERIES}
    assert found.pop("X_POSITION_CONTROL") == Servo(1)["operating_mode"]
    assert wiring.FULL_PWM == Servo(1)["pwm_limit"] == Servo(1)["goal_pwm"]
    assert found == {
        "X_RETURN_DELAY": table["return_delay_time"],
        "X_DRIVE_MODE": table["drive_mode"],
        "X_OPERATING_MODE": table["operating_mode"],
        "X_PWM_LIMIT": table["pwm_limit"],
        "X_MAX_POSITION": table["max_position_limit"],
        "X_MIN_POSITION": table["min_position_limit"],
        "X_TORQUE_ENABLE": table["torque_enable"],
        "X_STATUS_RETURN": table["status_return_level"],
        "X_HARDWARE_ERROR": table["hardware_error_status"],
        "X_BUS_WATCHDOG": table["bus_watchdog"],
        "X_GOAL_PWM": table["goal_pwm"],
        "X_PROFILE": table["profile_acceleration"],
        "X_GOAL_POSITION": table["goal_position"],
        "X_PRESENT_POSITION": table["present_position"],
        "X_INDIRECT_ADDRESS": INDIRECT_ADDRESS,
        "X_INDIRECT_DATA": INDIRECT_DATA,
        "DEVICE_REGISTERS": SENSOR_REGISTERS,
    }
