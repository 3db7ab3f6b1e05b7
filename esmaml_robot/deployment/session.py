"""Adapting a robot: the same operator as in training, one episode after the other, over the link.

The controller holds the base parameters and rebuilds each candidate from (seed, sigma); a candidate that no seed gives
is uploaded. An episode counts only when
it is valid and on disk; an invalid one is repeated with the same candidate and the same seed, a bounded number of
times, and is never scored. After a crash, a pulled cable or a Ctrl-C, `resume` tells the operator the journaled
returns again and goes on with the same candidate; the adapted parameters are those of an undisturbed session.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..adaptation import OperatorConfig
from ..adaptation.base import Adapted, Operator, Proposals, materialise
from ..bridge.episode import EpisodeRecord
from ..errors import CheckpointError, SafetyStop
from ..files import make_folder
from ..policy import Policy
from ..policy_file import StoredPolicy, save_policy
from ..robot_spec import RobotSpec
from .journal import Journal
from .telemetry import TelemetryLog

F32 = npt.NDArray[np.float32]

MAX_REPEATS = 5


class Robot(Protocol):
    """What a session needs of a controller; RobotController is the one there is."""

    def selftest(self) -> float: ...

    def upload(self, theta: F32) -> int: ...

    def arm(self) -> None: ...

    def disarm(self) -> None: ...

    def commit(self, seed: int, sigma: float, expected_theta: F32) -> int: ...

    def run_episode(self, episode_id: int, episode_seed: int, direction_seed: int, sigma: float) -> EpisodeRecord: ...


class Person(Protocol):
    """What the person beside the robot is asked and told; answers come back as exceptions (SafetyStop) or None."""

    def before_motion(self) -> None:
        """Called once before the robot is armed."""
        ...

    def before_episode(self, index: int, total: int) -> None:
        """Called before each episode: the place to put the robot back to its start."""
        ...

    def after_episode(self, index: int, total: int, record: EpisodeRecord, best: float) -> None: ...


@dataclass(frozen=True)
class SessionConfig:
    """What decides the bits of a session, besides the robot itself."""

    operator: OperatorConfig
    seed: int
    policy_hash: str
    spec_hash: str

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "session",
            "operator": self.operator.model_dump(mode="json"),
            "seed": self.seed,
            "policy_hash": self.policy_hash,
            "spec_hash": self.spec_hash,
        }


class AdaptationSession:
    """One adaptation of one robot, in a folder of its own.

    Args:
        folder: holds journal, telemetry.mcap and, at the end, adapted.safetensors.
        resume: go on with a journal that is there; without it, a journal that is there is an error.
    """

    def __init__(
        self, folder: Path, spec: RobotSpec, policy: Policy, config: SessionConfig, *, resume: bool = False
    ) -> None:
        self.folder, self.spec, self.policy, self.config = folder, spec, policy, config
        make_folder(folder, error=CheckpointError)
        self.journal_file = folder / "journal"
        if self.journal_file.exists() and not resume:
            raise CheckpointError(
                f"{folder} holds an adaptation session already; add --resume to go on, or choose another --name."
            )
        self._begun_here = not self.journal_file.exists()
        self.journal = Journal(self.journal_file)
        head = config.to_json()
        if not self.journal.records:
            self.journal.append(head)
        elif self.journal.records[0] != head:
            different = sorted(k for k in head if self.journal.records[0].get(k) != head[k])
            self.journal.close()
            raise CheckpointError(
                f"{self.journal_file} was made with other settings ({', '.join(different)}); resume it with its own, "
                "or choose another --name."
            )
        self.operator: Operator = config.operator.build()

    @property
    def episodes_total(self) -> int:
        return self.operator.episodes

    def journaled(self) -> list[dict[str, Any]]:
        return [r for r in self.journal.records if r["kind"] == "episode"]

    def run(self, robot: Robot, person: Person) -> Adapted:
        """Adapt until the operator is done; returns its result, which is also saved.

        Raises:
            SafetyStop: an episode stayed invalid MAX_REPEATS times, or the person stopped.
            LinkError: the link broke; the journal keeps every whole episode.
        """
        operator = self.operator
        told = [r for r in self.journaled() if r["valid"]]
        state = operator.start(self.policy.theta, self.config.seed)
        on_robot: F32 | None = None
        last: Proposals | None = None
        done = 0  # valid episodes so far
        armed = False
        with TelemetryLog(self.folder / "telemetry.mcap", self.spec) as telemetry:
            try:
                while not operator.done(state):
                    asked = operator.ask(state)
                    returns: list[float] = []
                    for row in range(len(asked)):
                        if done < len(told):
                            _check_same_episode(told[done], asked, row, self.journal_file)
                            returns.append(told[done]["return"])
                            done += 1
                            continue
                        one = asked.row(row)
                        wanted = materialise([one])[0] if _is_uploaded(one) else asked.base
                        if not armed:
                            robot.selftest()
                            robot.upload(wanted)
                            on_robot = wanted
                            person.before_motion()
                            robot.disarm()  # acknowledges what an earlier session left, now that somebody looked
                            robot.arm()
                            armed = True
                        elif on_robot is None or not np.array_equal(on_robot, wanted):
                            on_robot = _move_base(robot, last, wanted)
                        last = one
                        best = max(returns, default=_best(state))
                        record = self._episode(robot, person, telemetry, last, done, best)
                        returns.append(record.return_)
                        done += 1
                    state = operator.tell(state, np.array(returns, dtype=np.float32))
            finally:
                if armed:
                    robot.disarm()
        adapted = operator.result(state)
        self.save(adapted)
        return adapted

    def _episode(
        self,
        robot: Robot,
        person: Person,
        telemetry: TelemetryLog,
        candidate: Proposals,
        index: int,
        best: float,
    ) -> EpisodeRecord:
        for attempt in range(MAX_REPEATS):
            person.before_episode(index, self.episodes_total)
            episode_id = len(self.journaled())
            uploaded = _is_uploaded(candidate)
            direction = (0, 0.0) if uploaded else (int(candidate.seeds[0]), float(candidate.sigmas[0]))
            record = robot.run_episode(episode_id, int(candidate.episode_seeds[0]), *direction)
            telemetry.write(episode_id, record)
            self.note(candidate, record, index, attempt)
            if record.valid:
                person.after_episode(index, self.episodes_total, record, max(best, record.return_))
                return record
        raise SafetyStop(
            f"episode {index} was invalid {MAX_REPEATS} times (last: {record.problem or record.reason}); "
            "look at the robot and the cable, then go on with --resume."
        )

    def note(self, candidate: Proposals, record: EpisodeRecord, index: int, attempt: int = 0) -> None:
        """An episode into the journal, and to the disk."""
        self.journal.append(
            {
                "kind": "episode",
                "index": index,
                "attempt": attempt,
                "episode_seed": int(candidate.episode_seeds[0]),
                "direction_seed": int(candidate.seeds[0]),
                "sigma": float(candidate.sigmas[0]),
                "uploaded": _is_uploaded(candidate),
                "return": record.return_ if record.valid else None,
                "steps": record.steps,
                "valid": record.valid,
                "reason": record.reason.name.lower() if record.reason is not None else "lost",
                "problem": record.problem,
            }
        )

    def save(self, adapted: Adapted) -> None:
        """The adapted policy into the folder, and the end of the session into the journal."""
        origin = self.config.to_json() | {"kind": "adapted"}
        origin |= {"estimate": adapted.estimate, "episodes": adapted.episodes}
        policy = Policy(self.policy.spec, adapted.params, self.policy.normaliser)
        stored = StoredPolicy(policy, self.spec.name, self.spec.spec_hash, origin)
        save_policy(self.folder / "adapted.safetensors", stored)
        if self.journal.records[-1]["kind"] != "adapted":
            self.journal.append(
                {
                    "kind": "adapted",
                    "policy_hash": policy.policy_hash,
                    "estimate": adapted.estimate,
                    "episodes": adapted.episodes,
                    "invalid": sum(not r["valid"] for r in self.journaled()),
                }
            )

    def close(self) -> None:
        """Close the journal. A session that came to no episode, of a mistyped port say, does not keep its name."""
        self.journal.close()
        if self._begun_here and len(self.journal.records) == 1:
            with suppress(OSError):
                self.journal_file.unlink()
                self.folder.rmdir()  # unless a black box is in it

    def __enter__(self) -> AdaptationSession:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _is_uploaded(one: Proposals) -> bool:
    """Whether the controller is sent this candidate whole, as its base."""
    return one.offsets is not None and bool(one.sigmas[0] != 0)


def _best(state: Any) -> float:
    """The pivot of a hill climber, for the operator's display; -inf where the state has none or it is not told yet."""
    pivot = getattr(state, "pivot", None)
    return float(pivot) if pivot is not None and len(getattr(state, "history", ())) else float("-inf")


def _move_base(robot: Robot, last: Proposals | None, wanted: F32) -> F32:
    """Bring the controller's base to `wanted`: by eight bytes if it is the last candidate, else by an upload."""
    if last is not None and not _is_uploaded(last) and np.array_equal(materialise([last])[0], wanted):
        robot.commit(int(last.seeds[0]), float(last.sigmas[0]), wanted)
    else:
        robot.upload(wanted)
    return wanted


def _check_same_episode(record: dict[str, Any], asked: Proposals, row: int, path: Path) -> None:
    expected = (int(asked.seeds[row]), float(asked.sigmas[row]), int(asked.episode_seeds[row]))
    found = (record["direction_seed"], record["sigma"], record["episode_seed"])
    if expected != found:
        raise CheckpointError(
            f"{path}: episode {record['index']} has candidate {found}, this operator would run {expected}; the journal "
            "comes from another version: adapt again under another --name."
        )
