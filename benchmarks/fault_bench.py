"""One board with faults injected into its episodes, and the four promises checked after each: see faults.py."""

from __future__ import annotations

import contextlib
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from esmaml_robot.bridge.controller import RobotController
from esmaml_robot.bridge.episode import EpisodeRecord
from esmaml_robot.bridge.messages import State
from esmaml_robot.bridge.transport import open_port
from esmaml_robot.errors import EsmamlError
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from firmware_export.build import build_firmware
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.virtual_robot.launcher import VirtualRobot

from .fault_kinds import KINDS, PERIOD_US, RELEASE_US, SPEC, Cable, Line, drop

LAYOUT = PolicySpec(inputs=2, outputs=2, hidden=(8,))
THETA = np.random.default_rng(0).normal(scale=0.25, size=LAYOUT.dimension).astype(np.float32)
#: A robot whose host was silent is free after its release time; a chip in an emulator starts in a second.
_AGAIN_SECONDS = 5.0
#: Until a reset that was pressed has happened, on a loaded machine.
_RESET_SECONDS = 0.5


def build(board: str, folder: Path) -> tuple[str, ...]:
    """The command that runs the firmware of a board."""
    write_policy_c(Policy(LAYOUT, THETA, Normaliser.identity(2)), SPEC, folder)
    write_robot_c(SPEC, folder)
    return tuple(str(word) for word in build_firmware(board, SPEC, folder, folder / "firmware").command)


@dataclass
class Batch:
    """What came of some injections of one kind."""

    kind: str
    endings: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


class Bench:
    """One virtual robot, its log, the undisturbed episode, and a cable if this kind of fault needs one."""

    def __init__(self, command: Sequence[str], kind: str, folder: Path, rng: random.Random) -> None:
        self.kind, self.rng = kind, rng
        self.log = folder / "plant.log"
        self._read = 0
        self.robot = VirtualRobot("rover_uno", command, seed=2, log=self.log)
        self.cable: Cable | None = None

    def __enter__(self) -> Bench:
        self.robot.__enter__()
        if self.kind == "cable unplugged":
            self.cable = Cable(self.robot.port)
        self.line = self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.line.close()
        if self.cable is not None:
            self.cable.close()
        self.robot.close()

    def open(self) -> Line:
        """The host's end of the line."""
        if self.cable is None:
            line = Line(open_port(self.robot.port), self.rng, press_reset=self.robot.press_reset)
        else:
            line = Line(open_port(self.cable.plug()), self.rng, pull=self.cable.pull)
        line.arm(drop, 10**9, False)
        return line

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


def inject(bench: Bench, right: EpisodeRecord, number: int, notes: list[str]) -> tuple[str, list[str]]:
    """One injection: how it ended, and which promises were broken.

    "missed": its turn had not come when the episode was over, for several messages may come as one piece.
    """
    line, kind = bench.line, bench.kind
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
        ending = "missed" if not line.fired else "valid" if record.valid else "invalid, repeated"
        if record.valid and not same(record, right):
            broken.append("right")
        if not record.valid and not record.problem:
            broken.append("answered")
    except EsmamlError as error:
        ending = type(error).__name__
        if not str(error):
            broken.append("answered")
    line.mute_until = 0.0
    if kind == "reset of the controller" and ending in ("valid", "missed"):
        time.sleep(_RESET_SECONDS)  # it came at the very end; the next session must not be cut by it
    if not bench.released(line.heard_tick):
        broken.append("released")
    line.arm(spoil, 10**9, False)
    if bench.cable is not None:
        line.close()
        line = bench.line = bench.open()
        robot = RobotController(line, SPEC, LAYOUT)
    with contextlib.suppress(EsmamlError):
        robot.disarm()  # where the session still stands; the other way, below, is to wait until it is given up
    try:
        again = RobotController(line, SPEC, LAYOUT)
        until = time.monotonic() + _AGAIN_SECONDS
        while True:
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
            notes.append(f"{kind}, injection {number}: not armed")
        again.disarm()
    except EsmamlError as error:
        broken.append("recovered")
        notes.append(f"{kind}, injection {number}: {error}")
    bench.new_records()
    return ending, broken


def run_batch(command: Sequence[str], kind: str, count: int, seed: str) -> Batch:
    """`count` injections of a kind on a robot of their own; what is drawn is a function of `seed`."""
    batch, rng = Batch(kind), random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary, Bench(command, kind, Path(temporary), rng) as bench:
        right = undisturbed(bench)
        for number in range(1, count + 1):
            ending, broken = inject(bench, right, number, batch.notes)
            batch.endings[ending] += 1
            batch.broken.update(broken)
    return batch


def undisturbed(bench: Bench) -> EpisodeRecord:
    """The episode as it is without a fault."""
    robot = RobotController(bench.line, SPEC, LAYOUT)
    robot.connect()
    robot.arm()
    right = robot.run_episode(0, 50, 4, 0.1)
    robot.disarm()
    if not right.valid:
        raise RuntimeError(f"the undisturbed episode is not valid: {right.problem}")
    return right
