"""Adaptation on the controller alone, watched: the operator runs there, this side only listens.

The controller makes the same decisions from the same returns as esmaml_robot/adaptation/hill_climb.py, so who listened
to every episode knows the result without asking, and checks it. Whoever did not, because the cable was out, asks for
the parameters when it is back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..adaptation.base import Adapted
from ..adaptation.hill_climb import HillClimb
from ..bridge.controller import RobotController, theta_crc32, to_telemetry
from ..bridge.episode import EpisodeRecord, Recorder
from ..bridge.messages import Flag, Reason
from ..errors import CheckpointError, ConfigError, LinkError, LinkTimeout, SafetyStop
from .session import AdaptationSession, Person
from .telemetry import TelemetryLog

F32 = npt.NDArray[np.float32]

#: Beyond a control period and the robot's own release time: a robot may be carried to its start between episodes.
_BETWEEN_SECONDS = 10.0


@dataclass(frozen=True)
class Step:
    """After an episode: its record, how many there were, the best return so far, and the next step's sigma."""

    record: EpisodeRecord
    told: int
    pivot: float
    sigma: float


def check_operator(operator: object) -> HillClimb:
    """The operator, if the controller has it. Raises ConfigError."""
    if not isinstance(operator, HillClimb) or operator.search.kind != "gaussian":
        raise ConfigError(
            "adaptation on the controller alone is hill climbing with gaussian directions "
            "(--set operator.name=hill_climb --set operator.directions=gaussian); use another mode for other operators."
        )
    return operator


def adapt_alone(
    robot: RobotController,
    operator: HillClimb,
    seed: int,
    first_episode: int = 0,
    on_step: Callable[[Step], None] | None = None,
) -> F32:
    """Let an armed controller adapt its base parameters by itself; returns them, float32 (d,).

    Args:
        seed: of the operator, 32 bits.
        first_episode: number of the first episode.
        on_step: called after each episode; an exception out of it stops the robot.

    Raises:
        SafetyStop: not armed, or a fault ended it. LinkTimeout, LinkLost: the line broke; the controller goes on.
    """
    robot.link.exchange(
        "adapt",
        episode_id=first_episode,
        operator_seed=seed,
        queries=operator.queries,
        sigma=operator.sigma,
        shrink=operator.shrink,
    )
    try:
        crc = _listen(robot, first_episode, on_step)
    except LinkError:
        raise
    except BaseException:
        robot.stop_quietly()
        raise
    theta = robot.read_parameters()
    if theta_crc32(theta) != crc:
        raise LinkError(f"{robot.port}: the parameters read back are not those that the adaptation ended with.")
    return theta


def _listen(robot: RobotController, episode_id: int, on_step: Callable[[Step], None] | None) -> int:
    """Follow the episodes to the end; the CRC-32 of the result."""
    watchdog = robot.spec.watchdog.release_ms / 1000.0
    patience = watchdog + robot.spec.control_period_s + _BETWEEN_SECONDS
    recorder, record, steps = Recorder(robot.signals, episode_id, robot.link.clock), None, 0
    while True:
        frame = robot.link.receive(time.monotonic() + patience)
        if frame is None:
            state = robot.status().state
            raise LinkTimeout(f"{robot.port}: no word of the adaptation for {patience:.0f} s; it is in {state.name}.")
        if frame.name == "telemetry" and frame.values["episode_id"] == recorder.episode_id:
            recorder.add(to_telemetry(frame), robot.link.now_us())
            robot.link.ask_clock()
            if frame.values["flags"] & Flag.FINAL:
                continue
            # nobody waits for it, but an emulated controller's time need not slow down to that of a silent host
            robot.link.send("keep_alive", episode_id=recorder.episode_id, tick=frame.values["tick"])
        elif frame.name == "episode_end" and frame.values["episode_id"] == recorder.episode_id:
            record = recorder.finish(frame.values)
            recorder = Recorder(robot.signals, recorder.episode_id + 1, robot.link.clock)
            if record.reason not in (Reason.COMPLETED, Reason.ABORTED):
                raise SafetyStop(f"{robot.port}: the adaptation is over: {record.problem}.")
        elif frame.name == "adaptation":
            told, pivot, sigma = (frame.values[k] for k in ("told", "pivot", "sigma"))
            steps += 1
            if record is None or told != steps:
                raise LinkError(
                    f"{robot.port}: what the controller said of episode {told - 1} was lost on the line, so its "
                    "decisions cannot be checked. It goes on by itself; `esmaml robot params` reads the result."
                )
            if on_step is not None:
                on_step(Step(record, told, float(pivot), float(sigma)))
            record = None
            if frame.values["done"]:
                return int(frame.values["crc32"])


def run_alone(session: AdaptationSession, robot: RobotController, person: Person) -> Adapted:
    """An adaptation session in which the operator runs on the controller; returns its result, which is also saved.

    The same operator runs here beside it, on the returns that the controller reports: both must come to the same bits.
    Such a session is not resumed, for the controller may have gone on without us; its parameters can be read back.

    Raises:
        ConfigError: the operator is not one that the controller has.
        CheckpointError: the session has episodes already.
        SafetyStop, LinkError: as `adapt_alone`; also where the two come to different parameters.
    """
    operator = check_operator(session.operator)
    if session.journaled():
        raise CheckpointError(
            f"{session.folder}: an adaptation on the controller alone is not resumed; choose another --name."
        )
    state = operator.start(session.policy.theta, session.config.seed)
    robot.selftest()
    robot.upload(session.policy.theta)
    person.before_motion()
    robot.disarm()  # acknowledges what an earlier session left, now that somebody looked
    robot.arm()
    with TelemetryLog(session.folder / "telemetry.mcap", session.spec) as telemetry:

        def note(step: Step) -> None:
            nonlocal state
            index = step.told - 1
            telemetry.write(index, step.record)
            session.note(operator.ask(state), step.record, index)
            state = operator.tell(state, np.array([step.record.return_], np.float32))
            person.after_episode(index, operator.episodes, step.record, step.pivot)

        theta = adapt_alone(robot, operator, session.config.seed, on_step=note)
    adapted = operator.result(state)
    if adapted.params.tobytes() != theta.tobytes():
        raise LinkError(
            f"{robot.port}: the controller came to other parameters than the same operator here does from the same "
            "returns; build and flash the firmware with this version."
        )
    session.save(adapted)
    return adapted
