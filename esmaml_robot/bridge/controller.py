"""RobotController: a robot behind a serial port, as the host sees it.

    with RobotController.open("/dev/ttyACM0", spec, policy.spec) as robot:
        robot.connect()
        robot.upload(policy.theta)
        robot.arm()
        record = robot.run_episode(1, episode_seed=7, direction_seed=0, sigma=0.0)

The controller owns safety: whatever this program does, it clips, limits, and releases its actuators when it hears
nothing. Leaving the `with` block, by Ctrl-C too, disarms the robot.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..errors import ConfigError, EsmamlError, LinkError, LinkTimeout, PolicyError
from ..policy import PolicySpec, check_theta
from ..policy_frozen import FrozenLayout
from ..robot_spec import RobotSpec
from ..signals import F32, I32, Signals
from .codec import Frame
from .episode import EpisodeRecord, Recorder, Telemetry
from .link import CONNECT_SECONDS, RETRY_SECONDS, ControllerInfo, Link
from .messages import Fault, Flag, Reason, State
from .parameters import keep_parameters, read_parameters, write_parameters
from .parameters import theta_crc32 as theta_crc32
from .refusals import FROZEN, fault_text
from .transport import DEFAULT_BAUD, Transport, open_port

#: Patience beyond the robot's own release time: a computer under load must not take a slow plant for a dead one.
_GRACE_SECONDS = 1.0


@dataclass(frozen=True)
class Status:
    """The controller's state and its counters since the start."""

    state: State
    fault: Fault
    fault_detail: int
    bad_frames: int
    wrong_session: int
    stale: int
    watchdog_trips: int
    overruns: int
    unsent: int
    reused: int
    crc32: int
    longest_tick_us: int
    stack_bytes: int
    stack_left: int


class RobotController:
    """One robot, one policy architecture, one session. Not for use by several threads.

    Args:
        transport: an open byte stream; closed by `close`.
        spec: the robot; its hash must be the controller's.
        policy: the policy architecture; its hash must be the controller's. With a FrozenLayout there are episodes and
            the self test; what would change parameters is refused.
    """

    def __init__(self, transport: Transport, spec: RobotSpec, policy: PolicySpec | FrozenLayout) -> None:
        self.spec = spec
        self.policy = policy
        self.link = Link(transport, spec, policy)
        self.signals = Signals(spec)
        self._closed = False
        self._left = False

    @classmethod
    def open(cls, port: str, spec: RobotSpec, policy: PolicySpec | FrozenLayout, baud: int = DEFAULT_BAUD) -> Self:
        """A controller at a port (path or pyserial URL), not connected yet. Raises PortError."""
        return cls(open_port(port, baud), spec, policy)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def port(self) -> str:
        return self.link.port

    def connect(self, seconds: float = CONNECT_SECONDS) -> ControllerInfo:
        """Handshake. Raises LinkTimeout, LinkError (another program holds the robot), SpecMismatch."""
        return self.link.connect(seconds)

    def status(self) -> Status:
        """Ask for state and counters. Does not feed the watchdog."""
        reply = self.link.query("status", "status_reply")
        values = {f.name: reply[f.name] for f in fields(Status)}
        return Status(**{**values, "state": State(reply["state"]), "fault": Fault(reply["fault"])})

    def _adaptable(self, what: str) -> PolicySpec:
        """The architecture, where there are parameters; else ConfigError."""
        if isinstance(self.policy, FrozenLayout):
            raise ConfigError(f"{self.port}: parameters: {what} is impossible: {FROZEN}.")
        return self.policy

    def upload(self, theta: F32) -> int:
        """Make `theta`, float32 (d,), the controller's base parameters; returns their CRC-32.

        The old base stays until everything came and its CRC fits. Raises PolicyError where theta is not finite.
        """
        return write_parameters(self.link, check_theta(self._adaptable("upload"), theta))

    def read_parameters(self) -> F32:
        """The controller's base parameters, float32 (d,)."""
        return read_parameters(self.link, self._adaptable("read").dimension)

    def store(self, keep: bool = True) -> None:
        """Keep the base parameters over power off, or forget those kept. Raises LinkError where the board cannot."""
        keep_parameters(self.link, keep)

    def commit(self, seed: int, sigma: float, expected_theta: F32) -> int:
        """Add sigma * direction(seed) to the controller's base, which must become `expected_theta`; returns its CRC.

        Raises LinkError and changes nothing where the controller comes to other bits; ConfigError where its parameters
        are frozen.
        """
        vector = check_theta(self._adaptable("commit"), expected_theta)
        crc = theta_crc32(vector)
        self.link.exchange("commit", direction_seed=seed, sigma=_finite(sigma), crc32=crc)
        return crc

    def selftest(self) -> float:
        """Replay the policy's test vectors on the controller; returns the largest error. Raises PolicyError."""
        detail = self.link.exchange("selftest")
        return float(np.uint32(detail).view(np.float32))

    def arm(self) -> None:
        """Allow episodes. Raises SafetyStop while a fault or the emergency stop is latched."""
        self.link.exchange("arm")

    def disarm(self) -> None:
        """Back to IDLE; ends a running episode and acknowledges a fault. Raises SafetyStop in emergency stop."""
        self.link.exchange("disarm")

    def stop(self) -> None:
        """End the running episode; the robot stays armed."""
        self.link.exchange("stop")

    def estop(self) -> None:
        """Emergency stop, latched; works before `connect` and while another program holds the robot."""
        self.link.exchange("estop")

    def clear_estop(self) -> None:
        """Leave the emergency stop, to IDLE."""
        self.link.exchange("clear_estop")

    def run_episode(
        self,
        episode_id: int,
        episode_seed: int,
        direction_seed: int,
        sigma: float,
        on_telemetry: Callable[[Telemetry], None] | None = None,
    ) -> EpisodeRecord:
        """Run one episode on the controller with base + sigma * direction(direction_seed).

        Args:
            episode_id: a number that tells this episode from the one before, 32 bits.
            episode_seed: what varies between episodes of a task, 32 bits.
            direction_seed: seed of the search direction, 32 bits; of no effect where sigma is 0.
            sigma: float32.
            on_telemetry: called with each control period; an exception out of it ends the episode.

        Returns:
            The record; where `valid` is False, repeat with the same seeds.

        Raises:
            SafetyStop: not armed. PolicyError: the candidate is not finite. LinkTimeout, LinkLost.
        """
        sequence = self.link.next_sequence()
        command = self.link.frame(
            "run",
            sequence,
            episode_id=episode_id,
            episode_seed=episode_seed,
            direction_seed=direction_seed,
            sigma=_finite(sigma),
        )
        recorder = Recorder(self.signals, episode_id, self.link.clock)
        frame = self._start(command, sequence, episode_id)
        try:
            return self._follow(recorder, frame, on_telemetry)
        except LinkError:
            raise
        except BaseException:
            self.stop_quietly()
            raise

    def run_hosted(self, episode_id: int, episode_seed: int, act: Callable[[int, I32], I32]) -> EpisodeRecord:
        """Run one episode whose actions come from this program.

        Args:
            episode_id, episode_seed: as `run_episode`.
            act: control period and sensor counts (n_sensors,) to actuator counts (n_actuators,); it has about a control
                period's time. An exception out of it ends the episode.

        Returns:
            The record; invalid also where too many actions came too late.
        """
        sequence = self.link.next_sequence()
        command = self.link.frame("run_hosted", sequence, episode_id=episode_id, episode_seed=episode_seed)
        recorder = Recorder(self.signals, episode_id, self.link.clock)
        frame = self._start(command, sequence, episode_id)
        try:
            return self._follow(recorder, frame, None, act)
        except LinkError:
            raise
        except BaseException:
            self.stop_quietly()
            raise

    def _start(self, command: bytes, sequence: int, episode_id: int) -> Frame | None:
        """Send RUN until the episode runs. Returns its first frame if that came in place of a lost ACK."""
        for wait in RETRY_SECONDS:
            self.link.write(command)
            deadline = time.monotonic() + wait
            while (frame := self.link.receive(deadline)) is not None:
                if frame.name == "ack" and frame.values["acknowledged_sequence"] == sequence:
                    self.link.accept("run", frame)
                    return None
                if frame.values.get("episode_id") == episode_id:
                    return frame
        raise self.link.silence("run")

    def _follow(
        self,
        recorder: Recorder,
        frame: Frame | None,
        on_telemetry: Callable[[Telemetry], None] | None,
        act: Callable[[int, I32], I32] | None = None,
    ) -> EpisodeRecord:
        link, episode_id = self.link, recorder.episode_id
        patience = self.spec.watchdog.release_ms / 1000.0 + self.spec.control_period_s + _GRACE_SECONDS
        while True:
            if frame is None:
                frame = link.receive(time.monotonic() + patience)
            if frame is None:
                return self._after_silence(recorder, patience)
            if frame.name == "telemetry" and frame.values["episode_id"] == episode_id:
                tick = frame.values["tick"]
                if act is None and not frame.values["flags"] & Flag.FINAL:
                    link.send("keep_alive", episode_id=episode_id, tick=tick)
                record = to_telemetry(frame)
                recorder.add(record, link.now_us())
                link.ask_clock()
                if on_telemetry is not None:
                    on_telemetry(record)
            elif act is not None and frame.name == "sensed" and frame.values["episode_id"] == episode_id:
                tick = frame.values["tick"]
                wanted = act(tick, np.array(frame.values["sensors"], dtype=np.int32))
                link.send("action", episode_id=episode_id, tick=tick, actuators=wanted.tolist())
            elif frame.name == "episode_end" and frame.values["episode_id"] == episode_id:
                return recorder.finish(frame.values, self._why(frame.values["reason"]))
            frame = None

    def _why(self, reason: int) -> str:
        """What the fault is that ended an episode; empty where none did."""
        if reason != Reason.FAULTED:
            return ""
        try:
            status = self.status()
        except LinkTimeout:  # the episode is lost in any case, and the next one will be refused with the reason
            return "it did not say why in time"
        return fault_text(status.fault, status.fault_detail)

    def _after_silence(self, recorder: Recorder, patience: float) -> EpisodeRecord:
        """The end of the episode never came: make sure that it is over, or find out that nobody is there."""
        if self.status().state in (State.RUN, State.HOLD):
            self.stop()
        return recorder.lost(f"nothing came from the controller for {patience:.1f} s, though it is there")

    def stop_quietly(self) -> None:
        """`stop`, where an exception that is under way says more than one of its own would."""
        try:
            self.stop()
        except EsmamlError:
            # the exception under way says more; without keep-alives the controller stops by itself
            return

    def leave(self) -> None:
        """Let `close` only close the port: what the controller does alone goes on."""
        self._left = True

    def close(self) -> None:
        """Disarm, as far as the controller can be reached, unless it is to be left alone, and close the port."""
        if self._closed:
            return
        self._closed = True
        try:
            if self.link.info is not None and not self._left:
                self.disarm()
        except EsmamlError:
            # unplugged, or in emergency stop: in both cases its actuators are released already
            pass
        finally:
            self.link.transport.close()


def _finite(sigma: float) -> float:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused below
        value = float(np.float32(sigma))
    if not np.isfinite(value):
        raise PolicyError(f"sigma is {sigma}; a step size must be a finite number. Nothing was sent.")
    return value


def to_telemetry(frame: Frame) -> Telemetry:
    """The record in a telemetry message."""
    values: dict[str, Any] = frame.values
    return Telemetry(values["tick"], Flag(values["flags"]), values["sensors"], values["actuators"], frame.t_us)
