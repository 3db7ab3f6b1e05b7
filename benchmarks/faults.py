"""Faults on the line, injected at random points of episodes, and what came of each. Counts, not seconds.

    python -m benchmarks.faults                           1,000 of each kind on the host board; some ten minutes
    python -m benchmarks.faults --board mps2_an386 --count 50
    python -m benchmarks.faults --board atmega328p --count 50

Each injection is one episode on a virtual robot with one fault at a random message of it, towards the controller or
towards this program. Afterwards must hold, or the injection counts as a failure:

    released    the world saw no torque later than the watchdog's time (and a control period) after the last sign of
                life that reached the controller
    right       an episode that is called valid has the return, sensors and commands of the undisturbed one
    answered    what did not end as a valid episode ended as an invalid one that says why, or as an error that does
    recovered   the controller answers, and is armed and running again with at most one new session
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from cobs import cobs

from esmaml_robot.bridge.controller import RobotController
from esmaml_robot.bridge.episode import EpisodeRecord
from esmaml_robot.bridge.framing import encode_frame
from esmaml_robot.bridge.messages import SCHEMA_HASH, Codec, State
from esmaml_robot.bridge.transport import SerialTransport, open_port
from esmaml_robot.errors import EsmamlError
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import build_firmware
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.virtual_robot.launcher import VirtualRobot

SPEC = load_robot("rover_uno")
LAYOUT = PolicySpec(inputs=2, outputs=2, hidden=(8,))
THETA = np.random.default_rng(0).normal(scale=0.25, size=LAYOUT.dimension).astype(np.float32)
CODEC = Codec.for_robot(SPEC)
PERIOD_US, RELEASE_US = round(SPEC.control_period_s * 1e6), SPEC.watchdog.release_ms * 1000
OTHER_HOST = 0xBEEF

Spoil = Callable[["Line", bytes], bytes]


def flip(line: Line, data: bytes) -> bytes:
    at = line.rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << line.rng.randrange(8)]) + data[at + 1 :]


def drop(line: Line, data: bytes) -> bytes:
    return b""


def truncate(line: Line, data: bytes) -> bytes:
    return data[: line.rng.randrange(len(data))]


def duplicate(line: Line, data: bytes) -> bytes:
    return data * line.rng.randrange(2, 5)


def reorder(line: Line, data: bytes) -> bytes:
    line.kept = data  # comes behind the next piece
    return b""


def splice(line: Line, data: bytes) -> bytes:
    line.kept = b""
    line.glued = data[: line.rng.randrange(len(data)) + 1]  # runs into the next piece
    return b""


def delay(line: Line, data: bytes) -> bytes:
    time.sleep(line.rng.choice((0.02, 0.2, 0.4)))
    return data


def flood(line: Line, data: bytes) -> bytes:
    status = encode_frame(CODEC.encode("status", line.rng.randrange(1, 0x10000), 1, 0))
    return data + b"".join(line.rng.choice((status, line.rng.randbytes(40))) for _ in range(100)) + b"\0"


def second_host(line: Line, data: bytes) -> bytes:
    hello = CODEC.encode(
        "hello", OTHER_HOST, line.rng.randrange(0x10000), 0, protocol_major=1, protocol_minor=0, schema=SCHEMA_HASH
    )
    arm = CODEC.encode("arm", OTHER_HOST, line.rng.randrange(0x10000), 0)
    return data + encode_frame(hello) + encode_frame(arm)


def silence(line: Line, data: bytes) -> bytes:
    line.mute_until = time.monotonic() + RELEASE_US / 1e6 + 0.3
    return b""


#: kind -> what it does to a piece, and whether it may hit what comes towards us as well
KINDS: dict[str, tuple[Spoil, bool]] = {
    "bit flip": (flip, True),
    "drop": (drop, True),
    "truncation": (truncate, True),
    "duplicate": (duplicate, True),
    "reorder": (reorder, True),
    "splice": (splice, True),
    "delay": (delay, True),
    "flood": (flood, False),
    "second host": (second_host, False),
    "silent host": (silence, False),
    "noise before HELLO": (drop, False),
}


class Line:
    """A transport with one fault in waiting; remembers the last sign of life that went through whole."""

    def __init__(self, inner: SerialTransport, rng: random.Random) -> None:
        self.inner, self.rng, self.name = inner, rng, inner.name
        self.kept = self.glued = b""
        self.mute_until = 0.0
        self.heard_tick = 0
        self._spoil: Spoil | None = None
        self._left, self._inward = 0, False

    def arm(self, spoil: Spoil, after: int, inward: bool) -> None:
        self._spoil, self._left, self._inward = spoil, after, inward
        self.kept = self.glued = b""
        self.heard_tick = 0

    @property
    def fired(self) -> bool:
        return self._spoil is None

    def _through(self, data: bytes, inward: bool) -> bytes:
        if self.glued or self.kept:
            data, self.glued, self.kept = self.glued + data + self.kept, b"", b""
        if self._spoil is not None and self._inward == inward:
            self._left -= 1
            if self._left < 0:
                spoil, self._spoil = self._spoil, None
                return spoil(self, data)
        return data

    def write(self, data: bytes) -> None:
        out = self._through(data, False)
        if time.monotonic() < self.mute_until:
            return
        frame = CODEC.decode(_payload(data)) if out == data else None
        if frame is not None and frame.name == "keep_alive":
            self.heard_tick = frame.values["tick"]
        elif out != data:
            self.heard_tick += 1  # it may have been one, and may have come through
        if out:
            self.inner.write(out)

    def read(self, deadline: float) -> bytes:
        while time.monotonic() < deadline:
            data = self.inner.read(deadline)
            if not data or (data := self._through(data, True)):
                return data
        return b""

    def close(self) -> None:
        self.inner.close()


def _payload(frame: bytes) -> bytes:
    """The payload of a frame that is known to be whole."""
    try:
        return bytes(cobs.decode(frame.strip(b"\0"))[:-2])
    except cobs.DecodeError:
        return b""


class Bench:
    """One board, its log, and the undisturbed episode."""

    def __init__(self, board: str, folder: Path, rng: random.Random) -> None:
        write_policy_c(Policy(LAYOUT, THETA, Normaliser.identity(2)), SPEC, folder)
        write_robot_c(SPEC, folder)
        self.rng, self.folder = rng, folder
        self.firmware = build_firmware(board, SPEC, folder, folder / "firmware")
        self.log = folder / "plant.log"
        self._read = 0

    def start(self) -> VirtualRobot:
        self._read = 0
        return VirtualRobot("rover_uno", self.firmware.command, seed=2, log=self.log).__enter__()

    def new_records(self) -> list[dict[str, object]]:
        with self.log.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return [json.loads(row) for row in whole.splitlines()]

    def released(self, heard_tick: int) -> bool:
        """Whether torque went off in time after the last sign of life, by the controller's clock."""
        deadline = time.monotonic() + 3.0
        records = self.new_records()
        while (not records or records[-1]["torque_on"]) and time.monotonic() < deadline:
            time.sleep(0.005)
            records += self.new_records()
        last_reset = max((i for i, r in enumerate(records) if r["kind"] == "R"), default=0)
        moving = [int(str(r["time_us"])) for r in records[last_reset:] if r["torque_on"]]
        if not moving:
            return True
        if records[-1]["torque_on"]:
            return False
        # the first record with torque is that of control period 0, whenever after the reset it came
        return moving[-1] <= moving[0] + (heard_tick + 2) * PERIOD_US + RELEASE_US


def same(a: EpisodeRecord, b: EpisodeRecord) -> bool:
    return (a.return_, a.steps, a.sensors.tobytes(), a.actuators.tobytes()) == (
        b.return_,
        b.steps,
        b.sensors.tobytes(),
        b.actuators.tobytes(),
    )


def inject(bench: Bench, line: Line, kind: str, right: EpisodeRecord, number: int) -> tuple[str, list[str]]:
    """One injection: how it ended, and which promises were broken."""
    spoil, both_ways = KINDS[kind]
    robot = RobotController(line, SPEC, LAYOUT)
    broken, ending = [], "valid"
    if kind == "noise before HELLO":
        line.inner.write(bench.rng.randbytes(bench.rng.randrange(1, 400)))
    inward = both_ways and bench.rng.random() < 0.5
    try:
        robot.connect()
        robot.disarm()
        robot.arm()
        bench.new_records()
        line.arm(spoil, bench.rng.randrange(right.steps), inward)
        record = robot.run_episode(number, 50, 4, 0.1)
        ending = "valid" if record.valid else "invalid, repeated"
        if record.valid and not same(record, right):
            broken.append("right")
        if not record.valid and not record.problem:
            broken.append("answered")
    except EsmamlError as error:
        ending = type(error).__name__
        if not str(error):
            broken.append("answered")
    line.mute_until = 0.0
    if not bench.released(line.heard_tick):
        broken.append("released")
    line.arm(spoil, 10**9, False)
    with contextlib.suppress(EsmamlError):
        robot.disarm()  # where the session still stands; the other way, below, is to wait until it is given up
    try:
        again = RobotController(line, SPEC, LAYOUT)
        until = time.monotonic() + 3.0
        while True:  # a robot whose host was silent is free after its release time
            try:
                again.connect()
                break
            except EsmamlError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
        again.disarm()
        again.arm()
        if again.status().state is not State.ARMED:
            broken.append("recovered")
            print(f"{kind}, injection {number}: not armed", file=sys.stderr, flush=True)
        again.disarm()
    except EsmamlError as error:
        broken.append("recovered")
        print(f"{kind}, injection {number}: {error}", file=sys.stderr, flush=True)
    bench.new_records()
    return ending, broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", default="host")
    parser.add_argument("--count", type=int, default=1000, help="injections of each kind")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    failures = 0
    print(
        f"board {options.board}, {options.count} of each\n\n| fault | how it ended | promises broken |\n|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(options.board, Path(temporary), rng)
        robot = bench.start()
        try:
            line = Line(open_port(robot.port), rng)
            line.arm(drop, 10**9, False)
            with RobotController(line, SPEC, LAYOUT) as c:
                c.connect()
                c.arm()
                right = c.run_episode(0, 50, 4, 0.1)
                c.disarm()
                assert right.valid, right.problem
                for kind in options.kinds:
                    endings: Counter[str] = Counter()
                    broken: Counter[str] = Counter()
                    for number in range(1, options.count + 1):
                        ending, promises = inject(bench, line, kind, right, number)
                        endings[ending] += 1
                        broken.update(promises)
                    failures += sum(broken.values())
                    said = ", ".join(f"{k} {v}" for k, v in endings.most_common())
                    print(f"| {kind} | {said} | {dict(broken) or 'none'} |", flush=True)
        finally:
            robot.close()
    print(f"\n{failures} promises broken")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
