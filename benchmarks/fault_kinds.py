"""Faults on the line: a transport that waits for its moment, and what it then does. Used by benchmarks/faults.py."""

from __future__ import annotations

import os
import random
import select
import threading
import time
import tty
from collections.abc import Callable

from cobs import cobs

from esmaml_robot.bridge.codec import Codec
from esmaml_robot.bridge.framing import encode_frame
from esmaml_robot.bridge.messages import PROTOCOL_VERSION, SCHEMA_HASH
from esmaml_robot.bridge.transport import Transport
from esmaml_robot.robot_spec import load_robot

SPEC = load_robot("rover_uno")
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
    number = line.rng.randrange(0x10000)
    major, minor = PROTOCOL_VERSION
    version = {"protocol_major": major, "protocol_minor": minor, "schema": SCHEMA_HASH}
    hello = CODEC.encode("hello", OTHER_HOST, number, 0, **version)
    arm = CODEC.encode("arm", OTHER_HOST, line.rng.randrange(0x10000), 0)
    return data + encode_frame(hello) + encode_frame(arm)


def silence(line: Line, data: bytes) -> bytes:
    line.mute_until = time.monotonic() + RELEASE_US / 1e6 + 0.3
    return b""


def reset(line: Line, data: bytes) -> bytes:
    line.press_reset()
    return data


def unplug(line: Line, data: bytes) -> bytes:
    line.pull()
    return data


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
    "reset of the controller": (reset, True),
    "cable unplugged": (unplug, True),
}


class Line:
    """A transport with one fault in waiting; remembers the last sign of life that went through whole."""

    def __init__(
        self,
        inner: Transport,
        rng: random.Random,
        press_reset: Callable[[], None] = lambda: None,
        pull: Callable[[], None] = lambda: None,
    ) -> None:
        self.inner, self.rng, self.press_reset, self.pull = inner, rng, press_reset, pull
        self.name, self.low_latency = inner.name, inner.low_latency
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


class Cable:
    """A cable that can be pulled: bytes both ways between a board's port and a pseudo-terminal that a host opens.

    Pulled, the host's end is gone as a USB adapter's is, and the board talks to nobody; `plug` makes a new end.
    """

    def __init__(self, board: str) -> None:
        self._board = os.open(board, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._board)
        self._lock = threading.Lock()
        self._master: int | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def plug(self) -> str:
        """Path of the host's end."""
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        name = os.ttyname(slave)
        os.close(slave)
        with self._lock:
            self._master = master
        return name

    def pull(self) -> None:
        with self._lock:
            if self._master is not None:
                os.close(self._master)
                self._master = None

    def _pass_on(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                master = self._master
            ends = [self._board] if master is None else [self._board, master]
            try:
                ready = select.select(ends, [], [], 0.01)[0]
            except OSError:
                continue  # pulled while it was looked at
            with self._lock:
                if self._master != master:
                    continue
                self._move(self._board, master, self._board in ready)
                if master is not None:
                    self._move(master, self._board, master in ready)

    @staticmethod
    def _move(source: int, sink: int | None, ready: bool) -> None:
        if not ready:
            return
        try:
            data = os.read(source, 4096)
            if sink is not None:
                os.write(sink, data)
        except OSError:  # nobody has opened the host's end yet, or not any more
            time.sleep(0.001)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self.pull()
        os.close(self._board)
