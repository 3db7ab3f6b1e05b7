"""The whole firmware with a HAL of the tests' own: its clock, its line, its sensors. No process, no waiting."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from esmaml_robot.bridge.codec import Codec
from esmaml_robot.bridge.framing import FrameDecoder, encode_frame
from esmaml_robot.bridge.messages import SCHEMA_HASH, Result, State
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import RUNTIME, WARNINGS
from firmware_export.compiler import FLOAT_FLAGS, STRICT_FLAGS
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c

SPEC = load_robot("rover_uno")
POLICY = PolicySpec(inputs=2, outputs=2, hidden=())
#: vx 0.5 m/s, vy -0.25 m/s, whatever is observed
THETA = np.array([0, 0, 0, 0, 0.5, -0.25], np.float32)
CODEC = Codec.for_robot(SPEC)
PERIOD = 100_000
HOST = 0x1111

HAL = Path(__file__).with_name("hal_test.c")


def generate(folder):
    write_policy_c(Policy(POLICY, THETA, Normaliser.identity(POLICY.inputs)), SPEC, folder)
    write_robot_c(SPEC, folder)


def build(folder, name, *flags):
    """The library made of the generated files in `folder`."""
    sources = [*RUNTIME.glob("*.c"), folder / "policy.c", folder / "robot_model.c", HAL]
    subprocess.run(
        ["cc", "-std=c99", "-O1", "-ffp-contract=off", *WARNINGS, "-fsanitize=undefined", "-fno-sanitize-recover=all",
         "-DESMAML_FIRMWARE", "-shared", "-fPIC", *flags, f"-I{RUNTIME}", f"-I{folder}", *map(str, sources), "-o",
         str(folder / name)],
        check=True,
    )  # fmt: skip
    c = ctypes.CDLL(str(folder / name))
    c.sent.restype = ctypes.c_size_t
    c.actuators.restype = ctypes.POINTER(ctypes.c_int32)
    c.seed.restype = ctypes.c_uint32
    return c


class Board:
    """A booted firmware, and one side of its line; of a new chip, or of one that was switched off and on."""

    codec, policy, theta = CODEC, POLICY, THETA

    def __init__(self, c, now: int = 0, new: bool = True) -> None:
        self.c = c
        self.decoder = FrameDecoder()
        self.sequence = 0
        if new:
            c.new_chip()
        c.boot(ctypes.c_uint32(now))

    def again(self) -> Board:
        """After power off and on."""
        return Board(self.c, new=False)

    def frames(self):
        out = ctypes.create_string_buffer(65536)
        used = self.c.sent(out)
        return [CODEC.decode(p) for p in self.decoder.feed(out.raw[:used])]

    def raw(self, data: bytes):
        self.c.receive(data, ctypes.c_size_t(len(data)))
        return self.frames()

    def send(self, name, session=HOST, sequence=None, **values):
        if sequence is None:
            self.sequence = sequence = (self.sequence + 1) % 0x10000
        return self.raw(encode_frame(CODEC.encode(name, session, sequence, 0, **values)))

    def hello(self, session=HOST, schema=SCHEMA_HASH, major=1):
        return self.send("hello", session, protocol_major=major, protocol_minor=0, schema=schema)

    def command(self, name, **values) -> Result:
        ack = self.send(name, **values)[0]
        assert ack.name == "ack"
        return Result(ack.values["result"])

    def run(self, episode_id=1, sigma=0.0) -> Result:
        return self.command("run", episode_id=episode_id, episode_seed=77, direction_seed=3, sigma=sigma)

    def tick(self, us=PERIOD, alive=False):
        """What a board's main loop does in a control period; then time moves on."""
        self.c.poll()
        self.c.tick()
        frames = self.frames()
        if alive:
            for f in frames:
                if f.name == "telemetry":
                    self.send("keep_alive", episode_id=f.values["episode_id"], tick=f.values["tick"])
        self.c.advance(us)
        return frames

    def status(self):
        """The answer to STATUS; where a control period is due, it goes first, as in a main loop."""
        frames = self.send("status")
        if not frames:
            self.c.tick()
            self.c.poll()
            frames = self.frames()
        (reply,) = (f for f in frames if f.name == "status_reply")
        return reply.values

    @property
    def state(self):
        return State(self.c.state())

    @property
    def outputs(self):
        return [*self.c.actuators()[:2], self.c.torque()]


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("firmware")
    generate(folder)
    return build(folder, "fw.so")


@pytest.fixture
def boot(library):
    """A function of the clock: firmware on a new chip."""
    return lambda now=0: Board(library, now)


@pytest.fixture
def make(tmp_path):
    """A function that builds firmware anew, with compiler flags, from generated files that `change` has changed."""

    def made(*flags, change=None) -> Board:
        generate(tmp_path)
        if change is not None:
            change(tmp_path)
        return Board(build(tmp_path, f"fw_{len(list(tmp_path.glob('*.so')))}.so", *flags))

    return made


@pytest.fixture
def board(boot):
    made = boot()
    (reply,) = made.hello()
    assert reply.name == "hello_reply"
    assert reply.values["board"] == "test board"
    return made


@pytest.fixture
def running(board):
    assert board.command("arm") == Result.OK
    assert board.outputs == [0, 0, 0]
    assert board.run() == Result.OK
    assert board.c.seed() == 77
    return board


@pytest.fixture
def serves_cpp(tmp_path):
    """A check that the generated NAME.h serves C++, and that NAME.c needs no function of a library.

    Called with the name and the statements of a main() that returns 0 where the self-test passes.
    """

    def check(name, statements):
        include = f'#include "{name}.h"\n'
        (tmp_path / "main.cpp").write_text(f"{include}{include}int main() {{ {statements} }}\n")
        commands = (
            ["gcc", *STRICT_FLAGS, *FLOAT_FLAGS, "-c", f"{name}.c"],
            ["g++", "-std=c++17", *WARNINGS, "main.cpp", f"{name}.o", "-o", "main"],
            [tmp_path / "main"],
        )
        for command in commands:
            subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
        listed = subprocess.run(["nm", "-u", f"{name}.o"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        symbols = {line.split()[-1] for line in listed.stdout.splitlines()}
        assert not symbols - {"__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}

    return check
