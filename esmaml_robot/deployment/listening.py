"""What the host hears of an adaptation on the controller alone, put together episode by episode."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..bridge.codec import Frame
from ..bridge.controller import RobotController, to_telemetry
from ..bridge.episode import EpisodeRecord, Recorder
from ..bridge.link import RETRY_SECONDS
from ..bridge.messages import Flag, Progress, Reason
from ..errors import LinkError, LinkTimeout, SafetyStop

#: Beyond a control period and the robot's own release time: a robot may be carried to its start between episodes.
_BETWEEN_SECONDS = 10.0
#: How often a person who wants a pause is looked for while nothing comes.
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Step:
    """After an episode: its record, how many there were, the return to beat, and the next step's sigma."""

    record: EpisodeRecord
    told: int
    pivot: float
    sigma: float


class Listener:
    """One adaptation, from its first episode on.

    Args:
        robot: has acknowledged ADAPT.
        first_episode: number of the first episode.
        on_step: called after each episode.

    Attributes:
        crc32: of the parameters that it ended with, or None while it goes on.
    """

    def __init__(self, robot: RobotController, first_episode: int, on_step: Callable[[Step], None] | None) -> None:
        self._robot, self._on_step = robot, on_step
        self._recorder = Recorder(robot.signals, first_episode, robot.link.clock)
        self._record: EpisodeRecord | None = None
        self._told = 0
        self.crc32: int | None = None

    def follow(self, pause_wanted: Callable[[], bool] | None) -> bool:
        """Listen to the end (True), or until somebody wants a pause (False).

        Raises LinkError where a message was lost, LinkTimeout where nothing comes any more, SafetyStop where the
        adaptation is over before its end.
        """
        robot = self._robot
        watchdog = robot.spec.watchdog.release_ms / 1000.0
        patience = watchdog + robot.spec.control_period_s + _BETWEEN_SECONDS
        heard = time.monotonic()
        while self.crc32 is None:
            if pause_wanted is not None and pause_wanted():
                return False
            frame = robot.link.receive(time.monotonic() + _LOOK_SECONDS)
            if frame is not None:
                heard = time.monotonic()
                self._take(frame)
            elif time.monotonic() > heard + patience:
                state = robot.status().state
                raise LinkTimeout(
                    f"{robot.port}: no word of the adaptation for {patience:.0f} s; it is in {state.name}."
                )
        return True

    def command(self, name: str) -> None:
        """Send PAUSE or RESUME until it is acknowledged, and take what comes meanwhile."""
        link = self._robot.link
        sequence = link.next_sequence()
        data = link.frame(name, sequence)
        for wait in RETRY_SECONDS:
            link.write(data)
            deadline = time.monotonic() + wait
            while (frame := link.receive(deadline)) is not None:
                if frame.name == "ack" and frame.values["acknowledged_sequence"] == sequence:
                    link.accept(name, frame)
                    return
                self._take(frame)
        raise link.silence(name)

    def _take(self, frame: Frame) -> None:
        robot, recorder = self._robot, self._recorder
        if frame.name == "telemetry" and frame.values["episode_id"] == recorder.episode_id:
            recorder.add(to_telemetry(frame), robot.link.now_us())
            robot.link.ask_clock()
            if not frame.values["flags"] & Flag.FINAL:
                # nobody waits for it, but an emulated controller's time need not slow down to that of a silent host
                robot.link.send("keep_alive", episode_id=recorder.episode_id, tick=frame.values["tick"])
        elif frame.name == "episode_end" and frame.values["episode_id"] == recorder.episode_id:
            record = recorder.finish(frame.values)
            if record.reason is Reason.PAUSED:  # the same episode begins anew
                self._recorder = Recorder(robot.signals, recorder.episode_id, robot.link.clock)
                return
            self._record = record
            self._recorder = Recorder(robot.signals, recorder.episode_id + 1, robot.link.clock)
            if record.reason not in (Reason.COMPLETED, Reason.ABORTED):
                raise SafetyStop(f"{robot.port}: the adaptation is over: {record.problem}.")
        elif frame.name == "adaptation":
            self._step(frame)

    def _step(self, frame: Frame) -> None:
        port, values = self._robot.port, frame.values
        if values["progress"] == Progress.ENDED:
            raise SafetyStop(
                f"{port}: the adaptation is over: a candidate or a return is not finite; lower sigma or alpha."
            )
        told = values["told"]
        self._told += 1
        if self._record is None or told != self._told:
            self._robot.leave()
            raise LinkError(
                f"{port}: what the controller said of episode {told - 1} was lost on the line, so its decisions cannot "
                "be checked. It goes on by itself: `esmaml robot watch` follows it, `esmaml robot params` reads the "
                "result."
            )
        step = Step(self._record, told, float(values["pivot"]), float(values["sigma"]))
        self._record = None
        if self._on_step is not None:
            self._on_step(step)
        if values["progress"] == Progress.DONE:
            self.crc32 = int(values["crc32"])
