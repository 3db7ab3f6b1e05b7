"""Adaptation on the controller alone, watched: the operator runs there, this side only listens.

The controller makes the same decisions from the same returns as esmaml_robot/adaptation, so who listened to every
episode knows the result without asking, and checks it. Whoever did not, because the cable was out, asks for the
parameters when it is back.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..adaptation.base import Adapted, Operator
from ..adaptation.batch_hill_climb import BatchHillClimb
from ..adaptation.confirmed_hill_climb import ConfirmedHillClimb
from ..adaptation.es_gradient import ESGradient
from ..adaptation.hill_climb import HillClimb
from ..bridge import messages
from ..bridge.controller import RobotController, theta_crc32
from ..bridge.messages import Option
from ..errors import CheckpointError, ConfigError, LinkError
from .listening import Listener, Step
from .session import AdaptationSession, Person
from .telemetry import TelemetryLog

F32 = npt.NDArray[np.float32]


class Pauses(Protocol):
    """Who may want the robot to hold for a while; a context that lasts as long as it may be asked."""

    def __enter__(self) -> Any: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def wanted(self) -> bool:
        """Asked again and again while the robot adapts; True once for each pause."""
        ...

    def over(self) -> bool:
        """The robot holds, without torque: returns when it may go on (True) or is to stop (False)."""
        ...


def controller_settings(operator: Operator) -> dict[str, Any]:
    """What ADAPT says of an operator. Raises ConfigError where no controller has it."""
    numbers: dict[str, Any] = {"options": 0, "parallel": 1, "shrink": 1.0, "alpha": 0.0}
    search = getattr(operator, "search", None)
    if search is None or search.kind != "gaussian" or getattr(getattr(operator, "decoder", None), "kind", "mc") != "mc":
        raise _not_there(operator)
    match operator:
        case HillClimb() | ConfirmedHillClimb():
            numbers |= {"shrink": operator.shrink}
        case BatchHillClimb():
            numbers |= {"parallel": operator.parallel, "options": Option.AVERAGE * (operator.mode == "average")}
        case ESGradient():
            options = Option.ANTITHETIC * (operator.kind == "antithetic") | Option.NORMALISE * operator.normalise
            numbers |= {"alpha": operator.alpha, "options": options}
        case _:
            raise _not_there(operator)
    code = messages.Operator[operator.name.upper()]
    return numbers | {"operator_code": code, "queries": operator.queries, "sigma": operator.sigma}


def _not_there(operator: Operator) -> ConfigError:
    known = ", ".join(o.name.lower() for o in messages.Operator)
    return ConfigError(
        f"the operator of this run, {operator.name}, is none that a controller has as it is set. Alone it runs "
        f"{known}, with gaussian directions and the decoder mc; use --mode on-board for others."
    )


def adapt_alone(
    robot: RobotController,
    operator: Operator,
    seed: int,
    first_episode: int = 0,
    on_step: Callable[[Step], None] | None = None,
    pauses: Pauses | None = None,
) -> F32:
    """Let an armed controller adapt its base parameters by itself; returns them, float32 (d,).

    Args:
        operator: one that `controller_settings` knows; the controller may still refuse it, for want of memory.
        seed: of the operator, 32 bits.
        first_episode: number of the first episode.
        on_step: called after each episode; an exception out of it stops the robot.
        pauses: without it, nobody pauses.

    Raises:
        ConfigError: the controller does not have the operator. KeyboardInterrupt: stopped in a pause.
        SafetyStop: not armed, or a fault ended it. LinkTimeout, LinkLost: the line broke; the controller goes on.
    """
    wanted = controller_settings(operator)
    robot.link.exchange("adapt", episode_id=first_episode, operator_seed=seed, **wanted)
    listener = Listener(robot, first_episode, on_step)
    try:
        if pauses is None:
            listener.follow(None)
        else:
            with pauses:
                _with_pauses(listener, pauses)
    except LinkError:
        raise
    except BaseException:
        robot.stop_quietly()
        raise
    theta = robot.read_parameters()
    if theta_crc32(theta) != listener.crc32:
        raise LinkError(f"{robot.port}: the parameters read back are not those that the adaptation ended with.")
    return theta


def _with_pauses(listener: Listener, pauses: Pauses) -> None:
    while not listener.follow(pauses.wanted):
        listener.command("pause")
        if not pauses.over():
            raise KeyboardInterrupt
        listener.command("resume")


class _Beside:
    """The same operator here, told what the controller reports."""

    def __init__(self, session: AdaptationSession, telemetry: TelemetryLog, person: Person) -> None:
        self._session, self._telemetry, self._person = session, telemetry, person
        self._state = session.operator.start(session.policy.theta, session.config.seed)
        self._asked = session.operator.ask(self._state)
        self._returns: list[float] = []

    def note(self, step: Step) -> None:
        """An episode into telemetry, journal and operator."""
        operator, index = self._session.operator, step.told - 1
        self._telemetry.write(index, step.record)
        self._session.note(self._asked.row(len(self._returns)), step.record, index)
        self._returns.append(step.record.return_)
        if len(self._returns) == len(self._asked):
            self._state = operator.tell(self._state, np.array(self._returns, np.float32))
            self._returns = []
            if not operator.done(self._state):
                self._asked = operator.ask(self._state)
        self._person.after_episode(index, operator.episodes, step.record, step.pivot)

    def result(self) -> Adapted:
        return self._session.operator.result(self._state)


def run_alone(
    session: AdaptationSession, robot: RobotController, person: Person, pauses: Pauses | None = None
) -> Adapted:
    """An adaptation session in which the operator runs on the controller; returns its result, which is also saved.

    The same operator runs here beside it, on the returns that the controller reports: both must come to the same bits.
    Such a session is not resumed, for the controller may have gone on without us; its parameters can be read back.

    Raises:
        ConfigError: the operator is not one that the controller has.
        CheckpointError: the session has episodes already.
        SafetyStop, LinkError: as `adapt_alone`; also where the two come to different parameters.
    """
    controller_settings(session.operator)
    if session.journaled():
        raise CheckpointError(
            f"{session.folder}: an adaptation on the controller alone is not resumed; choose another --name."
        )
    robot.selftest()
    robot.upload(session.policy.theta)
    person.before_motion()
    robot.disarm()  # acknowledges what an earlier session left, now that somebody looked
    robot.arm()
    with TelemetryLog(session.folder / "telemetry.mcap", session.spec) as telemetry:
        beside = _Beside(session, telemetry, person)
        theta = adapt_alone(robot, session.operator, session.config.seed, on_step=beside.note, pauses=pauses)
    adapted = beside.result()
    if adapted.params.tobytes() != theta.tobytes():
        raise LinkError(
            f"{robot.port}: the controller came to other parameters than the same operator here does from the same "
            "returns; build and flash the firmware with this version."
        )
    session.save(adapted)
    return adapted
