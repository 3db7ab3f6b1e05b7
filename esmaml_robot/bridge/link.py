"""A session with a controller: handshake, acknowledged commands, and nothing about robots.

Every command carries the session's number and a sequence number. A command whose answer does not come is sent again
under the same number; the controller carries it out once. Every wait has a deadline.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import identity
from ..errors import CheckpointError, ConfigError, LinkError, LinkLost, LinkTimeout, OperatorStop, SpecMismatch
from ..policy import PolicySpec
from ..policy_frozen import FrozenLayout
from ..robot_spec import RobotSpec
from .black_box import BlackBox
from .clock import ControllerClock
from .codec import Codec, Frame
from .framing import DELIMITER, FrameDecoder, encode_frame
from .messages import MESSAGES, PROTOCOL_VERSION, SCHEMA_HASH, Result, State
from .refusals import FROZEN, refusal
from .transport import Transport

#: Waits for an answer, in seconds; the command is sent again after each. A loaded computer may take its time.
RETRY_SECONDS = (0.025, 0.05, 0.1, 0.2, 0.4)
HELLO_SECONDS = 0.1
CONNECT_SECONDS = 12.0
#: Opening the port resets some boards, and a boot loader that meets a greeting takes it for the beginning of an upload.
#: That of the Arduino Mega then waits for the rest, and starts the firmware after 6.5 s in which nothing came.
LOADER_SECONDS = 7.5
_GREETING_SECONDS = 1.5
_DRAIN_SECONDS = 5.0
#: Questions for the clock: so many at the start, then one so often while a session waits for something else.
CLOCK_QUESTIONS = 8
CLOCK_SECONDS = 0.983
_TO_CONTROLLER = frozenset(m.name for m in MESSAGES if m.direction == "to_controller")


@dataclass(frozen=True)
class ControllerInfo:
    """Who answered the HELLO."""

    board: str
    firmware_id: int
    boot_id: int
    spec_hash: str
    layout_hash: str
    policy_hash: str
    state: State
    n_parameters: int
    control_period_us: int
    session_before: int


def controller_info(reply: dict[str, Any]) -> ControllerInfo:
    """Out of the fields of HELLO_REPLY."""
    return ControllerInfo(
        board=reply["board"],
        firmware_id=reply["firmware_id"],
        boot_id=reply["boot_id"],
        spec_hash=reply["spec_hash"],
        layout_hash=reply["layout_hash"],
        policy_hash=reply["policy_hash"],
        state=State(reply["state"]),
        n_parameters=reply["n_parameters"],
        control_period_us=reply["control_period_us"],
        session_before=reply["current_session"],
    )


class Link:
    """Messages over a transport, for one robot and one policy architecture.

    Args:
        spec, policy: what the controller must have been built for. With None it may be any; telemetry, whose length
            the robot decides, is then dropped.

    Attributes:
        info: the controller, after `connect`.
        other: frames received that belong to another session, or that nobody waited for.
        clock: what is known of the controller's clock; every STATUS_REPLY that comes tells it more.
        black_box: what went over the line last.
    """

    def __init__(self, transport: Transport, spec: RobotSpec | None, policy: PolicySpec | FrozenLayout | None) -> None:
        self.transport = transport
        self.spec = spec
        self.policy = policy
        self.info: ControllerInfo | None = None
        self.session = 0
        self.other = 0
        self._codec = Codec(0, 0) if spec is None else Codec.for_robot(spec)
        self._decoder = FrameDecoder()
        self._frames: deque[Frame] = deque()
        self._sequence = 0
        self._bytes = 0
        self._echoed = False
        self._asked_us = 0
        self.clock = ControllerClock()
        self.black_box = BlackBox(self._codec)

    @property
    def port(self) -> str:
        return self.transport.name

    @property
    def bad_frames(self) -> int:
        """Damaged frames received."""
        return self._decoder.bad

    def speak_to(self, spec: RobotSpec) -> None:
        """From now on the controller must be one of this robot, and its telemetry can be read."""
        self.spec = spec
        self._codec = self.black_box.codec = Codec.for_robot(spec)

    def now_us(self) -> int:
        return time.monotonic_ns() // 1000

    def next_sequence(self) -> int:
        self._sequence = (self._sequence + 1) & 0xFFFF
        return self._sequence

    def frame(self, name: str, sequence: int, at_us: int | None = None, **values: Any) -> bytes:
        t_us = self.now_us() if at_us is None else at_us
        return encode_frame(self._codec.encode(name, self.session, sequence, t_us, **values))

    @contextlib.contextmanager
    def recorded(self, place: Callable[[], Path]) -> Iterator[None]:
        """Keep the black box of whatever goes wrong in the block, as the file that `place` names.

        The error goes on as it was, with a note that names the file, or says why there is none. What is no matter of
        the line (bad settings, a run folder, a person who said stop, Ctrl-C) is not recorded.
        """
        try:
            yield
        except (ConfigError, CheckpointError, OperatorStop):
            raise
        except Exception as error:
            if self.black_box.used:
                error.add_note(self._keep_black_box(place, error))
            raise

    def _keep_black_box(self, place: Callable[[], Path], error: Exception) -> str:
        """Write it, and say where, or why not."""
        path: Path | None = None
        try:
            path = place()
            self.black_box.write(path, self.port, error, self._facts())
        except OSError as problem:
            where = f"as {path} " if path else ""
            return f"The last messages could not be kept {where}({problem.strerror or problem})."
        return f"The last messages are in {path}; `esmaml robot log {path}` shows them."

    def _facts(self) -> dict[str, Any]:
        """What the head of the black box says of this link."""
        facts: dict[str, Any] = {"session": self.session, "damaged": self.bad_frames, "other": self.other}
        if self.info is not None:
            facts |= {"board": self.info.board, "boot_id": f"{self.info.boot_id:08x}"}
        return facts

    def write(self, data: bytes) -> None:
        """Whole frames onto the line."""
        self.black_box.sent(data)
        self.transport.write(data)

    def send(self, name: str, **values: Any) -> None:
        """Send a message whose answer, if there is one, is waited for elsewhere."""
        self.write(self.frame(name, self.next_sequence(), **values))

    def receive(self, deadline: float, session: int | None = None) -> Frame | None:
        """The next message of this (or the given) session; None at `deadline`, time.monotonic(). Raises LinkLost."""
        wanted = self.session if session is None else session
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if frame.session == wanted:
                    return frame
                self.other += 1
            data = self.transport.read(deadline)
            if not data:
                return None
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Bytes that came: into frames, the black box, and the clock."""
        self._bytes += len(data)
        bad = self._decoder.bad
        payloads = self._decoder.feed(data)
        for _ in range(self._decoder.bad - bad):
            self.black_box.received(None)
        for payload in payloads:
            self.black_box.received(payload)
            decoded = self._codec.decode(payload)
            if decoded is None:
                self._decoder.bad += 1
                continue
            self._frames.append(decoded)
            self._echoed |= decoded.name in _TO_CONTROLLER
            if decoded.name == "status_reply" and decoded.session == self.session:
                self._tell_clock(decoded)

    def _tell_clock(self, frame: Frame) -> None:
        come = self.now_us()
        ago = (come - frame.values["asked_us"]) % 2**32
        self.clock.sample(come - ago, frame.values["received_us"], frame.t_us, come)

    def ask_clock(self) -> None:
        """Send a question for the clock, if it is time for one; the answer is taken when it comes, by whoever reads."""
        now = self.now_us()
        if now - self._asked_us >= 1e6 * CLOCK_SECONDS:
            self._asked_us = now
            self.send("status")

    def drain(self, quiet_seconds: float = 0.05) -> None:
        """Drop what is on its way, until nothing has come for so long: answers to questions that were asked twice."""
        end = time.monotonic() + _DRAIN_SECONDS
        while time.monotonic() < end and self.receive(time.monotonic() + quiet_seconds) is not None:
            pass

    def exchange(self, name: str, *, patience: float = 1.0, **values: Any) -> int:
        """Send a command until it is acknowledged; returns the detail of its ACK. `patience` is a factor on all waits.

        Raises the error that fits a refusal, LinkTimeout when no answer comes, LinkLost when the controller restarted.
        """
        sequence = self.next_sequence()
        data = self.frame(name, sequence, **values)
        for wait in RETRY_SECONDS:
            self.write(data)
            deadline = time.monotonic() + wait * patience
            while (frame := self.receive(deadline)) is not None:
                if frame.name == "ack" and frame.values["acknowledged_sequence"] == sequence:
                    return self.accept(name, frame)
        raise self.silence(name)

    def accept(self, name: str, ack: Frame) -> int:
        """The detail of an ACK, or the error of its refusal."""
        if ack.values["result"] != Result.OK:
            raise refusal(self.port, name, ack.values["result"], ack.values["detail"])
        return int(ack.values["detail"])

    def query(self, name: str, reply: str, **values: Any) -> dict[str, Any]:
        """Send a question until its reply comes; returns the reply's fields. Raises as `exchange`."""
        at_us = self.now_us()
        data = self.frame(name, self.next_sequence(), at_us, **values)
        for wait in RETRY_SECONDS:
            self.write(data)
            deadline = time.monotonic() + wait
            while (frame := self.receive(deadline)) is not None:
                # an answer that says which question it is for must be for this one: one for the clock may be on its way
                if frame.name == reply and frame.values.get("asked_us", at_us % 2**32) == at_us % 2**32:
                    return frame.values
        raise self.silence(name)

    def probe(self) -> dict[str, Any] | None:
        """Fields of HELLO_REPLY without opening a session, so nobody else's is touched; None when nobody answers."""
        for wait in RETRY_SECONDS:
            self.write(DELIMITER + self._hello(self.next_sequence(), session=0))
            deadline = time.monotonic() + wait
            while (frame := self.receive(deadline, session=0)) is not None:
                if frame.name == "hello_reply":
                    return frame.values
        return None

    def silence(self, name: str) -> LinkError:
        """The error for a controller that does not answer: restarted, held by another program, or silent."""
        missing = f"{self.port}: no answer to {name!r} in {sum(RETRY_SECONDS):.1f} s"
        reply = self.probe()
        if reply is None:
            return LinkTimeout(
                f"{missing}, nor to a greeting. Check power and cable, and that no other program reads from this port "
                "(`fuser` names it); a controller that hears nothing releases its actuators by itself."
            )
        if self.info is not None and reply["boot_id"] != self.info.boot_id:
            return LinkLost(
                f"{self.port}: the controller has restarted (brown-out, reset button or watchdog). It is disarmed and "
                "has its built-in parameters; connect again."
            )
        if self.info is not None and reply["current_session"] != self.session:
            return LinkLost(f"{self.port}: another program has taken the robot over. Close it and connect again.")
        return LinkTimeout(f"{missing}, though the controller is there. Try again.")

    def _hello(self, sequence: int, session: int | None = None) -> bytes:
        major, minor = PROTOCOL_VERSION
        return encode_frame(
            self._codec.encode(
                "hello",
                self.session if session is None else session,
                sequence,
                self.now_us(),
                protocol_major=major,
                protocol_minor=minor,
                schema=SCHEMA_HASH,
            )
        )

    def connect(self, seconds: float = CONNECT_SECONDS) -> ControllerInfo:
        """Open a session and check that both sides speak of the same robot and policy.

        Raises LinkTimeout, LinkError when another program holds the robot, SpecMismatch naming what differs.
        """
        self.session = secrets.randbelow(0xFFFF) + 1
        self._sequence = secrets.randbelow(0x10000)
        sequence = self.next_sequence()
        begun = time.monotonic()
        end = begun + seconds
        quiet = LOADER_SECONDS
        while time.monotonic() < end:
            # the zero ends whatever half a frame an earlier program left on the line
            self.write(DELIMITER + self._hello(sequence))
            wait = HELLO_SECONDS
            if quiet and time.monotonic() - begun > _GREETING_SECONDS:
                wait, quiet = quiet, 0.0
            pause = min(end, time.monotonic() + wait)
            while (frame := self.receive(pause)) is not None:
                if _is_busy(frame):
                    raise refusal(self.port, "hello", frame.values["result"], frame.values["detail"])
                if frame.name == "hello_reply":
                    known, self.info = self.info, self._check(frame.values)
                    if known is None or known.boot_id != self.info.boot_id:
                        self.clock.forget()
                    self._first_clock_samples()
                    return self.info
        raise self.nobody(seconds)

    def nobody(self, seconds: float = sum(RETRY_SECONDS)) -> LinkTimeout:
        """The error for a port at which nobody has answered a greeting, by what came in place of an answer."""
        if self._echoed:
            why = "What is sent comes back: receive and transmit are joined, or the port is a loop."
        elif not self._bytes:
            why = (
                "Not a byte came. Is it the right port (`esmaml robot list`), is the board powered, and does it run "
                "this project's firmware?"
            )
        elif not self._decoder.good:
            why = (
                f"{self._bytes} bytes came that are no frames: the baud rate is wrong (--baud), or the controller runs "
                "another firmware."
            )
        else:
            why = (
                f"{self._decoder.good} frames came, but none of them an answer: does another program use this port, "
                "or does the line lose bytes?"
            )
        return LinkTimeout(f"{self.port}: no controller answered in {seconds:.1f} s. {why}")

    def _first_clock_samples(self) -> None:
        """Some round trips right away; a line that loses one loses the rest, for they may be had later."""
        for _ in range(CLOCK_QUESTIONS):
            self._asked_us = self.now_us()
            self.send("status")
            deadline = time.monotonic() + HELLO_SECONDS
            while (frame := self.receive(deadline)) is not None and frame.name != "status_reply":
                pass
            if frame is None:
                return

    def _check(self, reply: dict[str, Any]) -> ControllerInfo:
        def match(what: str, ours: str, theirs: str, advice: str) -> None:
            identity.require_match(
                f"{self.port}: {what}",
                ours,
                theirs,
                our_name="this program",
                their_name="the controller",
                advice=advice,
            )

        flash = "Build and flash the firmware with this version."
        ours, theirs = PROTOCOL_VERSION[0], reply["protocol_major"]
        match("protocol version", f"{ours}.x", f"{theirs}.x", flash)
        match("message schema", f"{SCHEMA_HASH:08x}", f"{reply['schema']:08x}", flash)
        if self.spec is not None:
            robot = f"The firmware is not for this file of robot {self.spec.name!r}: choose its robot, or flash again."
            match("spec_hash (robot)", self.spec.spec_hash, reply["spec_hash"], robot)
        if self.policy is not None:
            if self.policy.dimension > 0 and reply["n_parameters"] == 0:
                raise SpecMismatch(
                    f"{self.port}: this program's policy is a {self.policy.describe()}, and the controller's cannot be "
                    f"changed: {FROZEN}."
                )
            layout = f"This program's policy is a {self.policy.describe()}: build and flash firmware for it."
            match("layout_hash (policy architecture)", self.policy.layout_hash, reply["layout_hash"], layout)
            match("number of parameters", str(self.policy.dimension), str(reply["n_parameters"]), layout)
        return controller_info(reply)


def _is_busy(frame: Frame) -> bool:
    return frame.name == "ack" and frame.values["result"] == Result.BUSY
