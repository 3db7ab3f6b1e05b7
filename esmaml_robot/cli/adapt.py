"""`esmaml adapt`: adapt a meta-policy on a robot, over a serial port or a virtual one."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import Progress, TaskID

from ..adaptation.base import Adapted
from ..bridge.controller import RobotController
from ..bridge.episode import EpisodeRecord
from ..bridge.transport import DEFAULT_BAUD
from ..checkpoint import RunFolder
from ..deployment.autonomous import run_alone
from ..deployment.hosted import HostedRobot
from ..deployment.session import AdaptationSession, SessionConfig
from ..errors import ConfigError
from ..files import free_name
from ..robot_spec import RobotSpec
from .common import ask, ask_person, check_interface, err, guarded, print_json, progress_bar, robot_of
from .pauses import CtrlC
from .ports import parse_sim_port, real_port

SESSIONS = "adapted"
#: In the session's folder, once something went wrong.
BLACK_BOX = "blackbox.jsonl"


class Mode(StrEnum):
    """Who runs what: the controller the policy and this program the operator, the controller both, or this program."""

    ON_BOARD = "on-board"
    ALONE = "alone"
    HOST = "host"


@dataclass
class Beside:
    """The person beside the robot, asked in the terminal; a virtual robot needs nobody.

    Keeps the records of the episodes that counted, for the report.
    """

    bar: Progress
    task: TaskID
    ask_before_motion: bool
    ask_reset: bool
    records: list[EpisodeRecord] = field(default_factory=list)

    def _ask(self, question: str) -> None:
        self.bar.stop()
        ask(question, "stopped by the operator; go on with --resume when the robot is ready.")
        self.bar.start()

    def goes_on(self) -> bool:
        """Asked while a robot that adapts alone holds, after Ctrl-C."""
        if not sys.stdin.isatty():
            return False
        self.bar.stop()
        yes = ask_person("The robot holds without torque. Go on with the same episode?", "Enter = go on, q = stop")
        self.bar.start()
        return yes

    def before_motion(self) -> None:
        if self.ask_before_motion:
            self._ask("The robot is about to be armed and will move. Is the space around it free?")

    def before_episode(self, index: int, total: int) -> None:
        if self.ask_reset:
            self._ask(f"Episode {index + 1} of {total}: is the robot back at its start?")

    def after_episode(self, index: int, total: int, record: EpisodeRecord, best: float) -> None:
        self.records.append(record)
        note = f"return {record.return_:8.2f}  best {best:8.2f}"
        self.bar.update(self.task, completed=index + 1, total=total, note=note)


@dataclass(frozen=True)
class AdaptOutcome:
    """What an adaptation gave: result, session folder, and the episodes of this call (a resumed one has fewer)."""

    adapted: Adapted
    folder: Path
    records: list[EpisodeRecord]


def adapt_on_robot(
    run: Path,
    spec: RobotSpec,
    port: str,
    *,
    name: str,
    seed: int,
    mode: Mode = Mode.ON_BOARD,
    baud: int = DEFAULT_BAUD,
    resume: bool = False,
    assume_yes: bool = False,
    robot_file: str | None = None,
) -> AdaptOutcome:
    """Adapt the newest meta-policy of `run` on the robot at `port`; the flow behind `esmaml adapt`."""
    checkpoint = RunFolder(run).newest()
    check_interface(checkpoint.config, spec.spec_hash, f"robot {spec.name}")
    virtual = parse_sim_port(port) is not None
    if mode is Mode.ALONE and not virtual and spec.episode.reset == "operator":
        raise ConfigError(
            f"robot {spec.name} has to be carried back to its start after each episode (episode.reset: operator), and "
            "a controller alone cannot know when it is there; use --mode on-board."
        )
    policy = checkpoint.policy
    config = SessionConfig(checkpoint.config.adaptation, seed, policy.policy_hash, spec.spec_hash)
    folder = run / SESSIONS / name
    family = checkpoint.config.family, dict(checkpoint.config.options)
    with (
        AdaptationSession(folder, spec, policy, config, resume=resume) as session,
        real_port(port, spec, policy, folder / "firmware", robot_file, family) as path,
        RobotController.open(path, spec, policy.spec, baud) as robot,
        robot.link.recorded(lambda: free_name(folder / BLACK_BOX)),
        progress_bar() as bar,
    ):
        task = bar.add_task(f"adapting {spec.name}", total=session.episodes_total, note="connecting")
        info = robot.connect()
        bar.update(task, note=f"board {info.board}, boot {info.boot_id:08x}")
        person = Beside(
            bar,
            task,
            ask_before_motion=not (virtual or assume_yes),
            ask_reset=not virtual and spec.episode.reset == "operator",
        )
        if mode is Mode.ALONE:
            adapted = run_alone(session, robot, person, CtrlC(person.goes_on))
        else:
            adapted = session.run(HostedRobot(robot, policy) if mode is Mode.HOST else robot, person)
    return AdaptOutcome(adapted, folder, person.records)


@guarded
def adapt(
    run: Annotated[Path, typer.Argument(help="Run folder of `esmaml train`.")],
    port: Annotated[str, typer.Option(help="Serial port, pyserial URL, or sim://ROBOT?seed=N.")],
    robot: Annotated[
        str | None, typer.Option(help="Robot by name, or its YAML file; default: the one the run was trained for.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of this session; its folder is RUN/adapted/NAME.")] = "robot",
    seed: Annotated[int, typer.Option(help="Seed of the operator's candidates.", min=0)] = 0,
    mode: Annotated[
        Mode,
        typer.Option(
            help="on-board: the controller runs episodes, this program the operator. alone: the controller runs both, "
            "and keeps the result when the power goes. host: this program runs both; the controller senses and drives."
        ),
    ] = Mode.ON_BOARD,
    baud: Annotated[int, typer.Option(help="Baud rate of the port.", min=9600, max=4_000_000)] = DEFAULT_BAUD,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a session that was cut short.")] = False,
    assume_yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the robot is armed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Adapt the meta-policy on the robot: the same operator as in training, over the serial link.

    Example: esmaml adapt runs/first --robot rover_uno --port sim://rover_uno?seed=3
    """
    if "/" in name or name.startswith("."):
        raise ConfigError(f"--name {name!r}: a plain word is needed, it becomes a folder")
    spec, robot_file = robot_of(run, robot)
    outcome = adapt_on_robot(
        run,
        spec,
        port,
        name=name,
        seed=seed,
        mode=mode,
        baud=baud,
        resume=resume,
        assume_yes=assume_yes,
        robot_file=robot_file,
    )
    result: dict[str, Any] = {
        "session": str(outcome.folder),
        "episodes": outcome.adapted.episodes,
        "first_return": outcome.adapted.history[0],
        "estimate": outcome.adapted.estimate,
        "returns": list(outcome.adapted.history),
        "theta_norm": float(np.linalg.norm(outcome.adapted.params.astype(np.float64))),
    }
    if as_json:
        print_json(result)
    else:
        err.print(
            f"adapted in {result['episodes']} episodes: return {result['first_return']:.1f} -> "
            f"{result['estimate']:.1f}. Next: esmaml export {run} --session {name}"
        )
