"""One episode as the host saw it: the record, and the check of the controller's return against its telemetry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..signals import Signals
from .clock import ControllerClock
from .messages import Flag, Reason

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


#: Of an episode's control periods, those in which a late action does not yet make it another episode.
LATE_SHARE = 0.02
#: The same of those in which a device of the servo bus did not answer.
REUSED_SHARE = 0.02


@dataclass(frozen=True)
class Telemetry:
    """One control period: counts as read, counts as applied from then on, controller's clock (wraps)."""

    tick: int
    flags: Flag
    sensors: tuple[int, ...]
    actuators: tuple[int, ...]
    t_us: int


@dataclass(frozen=True)
class EpisodeRecord:
    """What came of an episode that ran on the controller.

    Attributes:
        return_: the controller's sum of rewards (float32 value).
        steps: control periods run; T.
        valid: the return may be told to an operator; False means: repeat with the same candidate and seed.
        reason: why it ended; None where the controller's last message was lost.
        problem: why it is not valid, as a sentence; empty if it is.
        abort_index: 1 + index of the abort condition met, or 0.
        sensors: int32 (T + 1, n_sensors), counts; row t was read at tick t.
        actuators: int32 (T + 1, n_actuators), counts as applied from tick t on; the last row is the safe values.
        flags: (T + 1,), messages.Flag.
        controller_times_us: int64 (T + 1,), the controller's clock at each tick, wraps removed.
        host_times_us: float64 (T + 1,), the same moments by this computer's time.monotonic().
        host_bounds_us: float64 (T + 1,), how far off these may be; NaN where the controller's clock did not run evenly,
            as virtual time does not: its times are then those at which the records came.
    """

    episode_id: int
    return_: float
    steps: int
    valid: bool
    reason: Reason | None
    problem: str
    abort_index: int
    sensors: I32
    actuators: I32
    flags: npt.NDArray[np.uint8]
    controller_times_us: I64
    host_times_us: F64
    host_bounds_us: F64


@dataclass
class Recorder:
    """Gathers the telemetry of one episode and turns it into an EpisodeRecord."""

    signals: Signals
    episode_id: int
    clock: ControllerClock
    rows: list[Telemetry] = field(default_factory=list)
    came_us: list[int] = field(default_factory=list)
    gap: str = ""

    def __post_init__(self) -> None:
        self._restarts = self.clock.restarts

    def add(self, record: Telemetry, came_us: int) -> None:
        """A record, and when it came by time.monotonic()."""
        expected = len(self.rows)
        if record.tick != expected and not self.gap:
            self.gap = f"telemetry of control period {expected} was lost on the line (next came {record.tick})"
        self.rows.append(record)
        self.came_us.append(came_us)

    def lost(self, problem: str) -> EpisodeRecord:
        """The record of an episode whose end never came."""
        return self._record(float("nan"), max(len(self.rows) - 1, 0), None, 0, problem)

    def finish(self, end: dict[str, Any], fault: str = "") -> EpisodeRecord:
        """The record of an episode, out of the fields of its EPISODE_END and, where a fault ended it, which one."""
        reason = Reason(end["reason"]) if end["reason"] in set(Reason) else None
        value = np.float32(end["episode_return"])
        return self._record(
            float(value), end["steps"], reason, end["abort_index"], self._check(value, end, reason, fault)
        )

    def _check(self, value: np.float32, end: dict[str, Any], reason: Reason | None, fault: str) -> str:
        if reason is Reason.FAULTED:
            return f"the controller released its actuators: {fault}"
        if reason not in (Reason.COMPLETED, Reason.ABORTED):
            return _ENDINGS.get(reason, "the controller ended the episode for a reason that this version does not know")
        if self.gap:
            return self.gap
        if len(self.rows) != end["steps"] + 1:
            return f"{len(self.rows)} telemetry records came for {end['steps']} control periods"
        late = sum(bool(r.flags & Flag.LATE) for r in self.rows)
        if late > LATE_SHARE * len(self.rows):
            return f"{late} of {len(self.rows)} actions of this program came later than their control period"
        reused = sum(bool(r.flags & Flag.REUSED) for r in self.rows)
        if reused > REUSED_SHARE * len(self.rows):
            return f"in {reused} of {len(self.rows)} control periods a device of the servo bus did not answer"
        sensors = np.array([r.sensors for r in self.rows], dtype=np.int32)
        commands = np.array([r.actuators for r in self.rows], dtype=np.int32)
        ours = episode_return(self.signals, sensors, commands, aborted=reason is Reason.ABORTED)
        if not np.isfinite(value) or ours.tobytes() != value.tobytes():
            return f"the controller's return {value!r} is not the one that its telemetry gives, {ours!r}"
        return ""

    def _record(self, value: float, steps: int, reason: Reason | None, abort: int, problem: str) -> EpisodeRecord:
        spec = self.signals.spec
        count = len(self.rows)
        times = np.array([r.t_us for r in self.rows], dtype=np.int64)
        times[1:] += np.cumsum(np.diff(times) < -(2**31)) * 2**32
        host, bounds = self._host_times()
        return EpisodeRecord(
            episode_id=self.episode_id,
            return_=value,
            steps=steps,
            valid=not problem,
            reason=reason,
            problem=problem,
            abort_index=abort,
            sensors=np.array([r.sensors for r in self.rows], dtype=np.int32).reshape(count, len(spec.sensors)),
            actuators=np.array([r.actuators for r in self.rows], dtype=np.int32).reshape(count, len(spec.actuators)),
            flags=np.array([int(r.flags) for r in self.rows], dtype=np.uint8),
            controller_times_us=times,
            host_times_us=host,
            host_bounds_us=bounds,
        )

    def _host_times(self) -> tuple[F64, F64]:
        """When the records were made, by this computer's clock, and the bounds of that."""
        came = np.array(self.came_us, dtype=np.float64)
        times, bounds = came.copy(), np.full(len(came), np.nan)
        if self.clock.restarts != self._restarts:
            return times, bounds
        for i in reversed(range(len(came))):  # virtual time is furthest off at the end
            found = self.clock.host_time(self.rows[i].t_us, self.came_us[i])
            if found is None or found.host_us - found.bound_us > came[i]:
                # nothing comes before it was sent: this clock did not run evenly
                return came, np.full(len(came), np.nan)
            times[i], bounds[i] = found.host_us, found.bound_us
        return times, bounds


_ENDINGS: dict[Reason | None, str] = {
    Reason.STOPPED: "the episode was stopped",
    Reason.DISARMED: "the robot was disarmed in mid-episode",
    Reason.ESTOPPED: "the emergency stop was pressed",
    Reason.WATCHDOG: "the controller heard nothing from this program for too long and released its actuators",
    Reason.PAUSED: "the adaptation was paused in mid-episode",
}


def episode_return(signals: Signals, sensors: I32, actuators: I32, *, aborted: bool) -> np.float32:
    """The return that telemetry gives: float32, in the order in which the controller sums.

    Args:
        sensors: int32 (T + 1, n_sensors), counts.
        actuators: int32 (T + 1, n_actuators), counts; row t is applied from tick t to t + 1.
        aborted: an abort condition ended the episode at tick T.
    """
    si = signals.to_si(np.ascontiguousarray(sensors.T))
    commands = np.ascontiguousarray(actuators[:-1].T)
    rewards = signals.reward(si[:, 1:], si[:, :-1], commands)
    after = signals.spec.episode.steps - len(rewards) if aborted else 0
    total = np.float32(0)
    for reward in (*rewards, *(np.float32(signals.spec.reward.after_abort),) * after):
        total = total + reward
    return total
