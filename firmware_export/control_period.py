"""A control period of the Cortex-M4F in instructions: firmware_tick() of the real runtime, counted by QEMU.

Episodes that a controller has run are run again, from the same sensor counts, by the same sources compiled with the
same flags, in the harness that counts inferences (report_targets.py; measuring/period.c is the board). Every command
has to be the one that the controller gave, so what is counted is what it computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from esmaml_robot.bridge.codec import Codec
from esmaml_robot.bridge.framing import encode_frame
from esmaml_robot.bridge.messages import PROTOCOL_VERSION, SCHEMA_HASH
from esmaml_robot.errors import ExportError
from esmaml_robot.files import make_folder
from esmaml_robot.robot_spec import RobotSpec

from .board_file import load_board
from .build import GENERATED, GENERATED_FROZEN, RUNTIME, WARNINGS, runtime_sources
from .report_sources import Array, Sources
from .report_targets import HERE, TARGETS, build_image, require_tools, run_again

I32 = npt.NDArray[np.int32]

BOARD = "mps2_an386"
_SESSION = 1
(_TARGET,) = (target for target in TARGETS if target.name == "arm")


@dataclass(frozen=True, eq=False)
class Recorded:
    """An episode as a controller ran it.

    Attributes:
        sensors, actuators: counts (T + 1, n), as in an EpisodeRecord.
        direction_seed, sigma: the candidate.
    """

    sensors: I32
    actuators: I32
    direction_seed: int = 0
    sigma: float = 0.0


@dataclass(frozen=True)
class ControlPeriod:
    """Instructions of firmware_tick() with its call, without the board's own part (pins, bus, line).

    Attributes:
        periods: control periods with torque that were counted.
        least, mean, most: over those.
        ending: most of the periods that end an episode, which have no policy in them and a message more.
    """

    periods: int
    least: int
    mean: float
    most: int
    ending: int

    @property
    def most_us(self) -> float:
        """Microseconds of `most` at the chip's clock and an instruction a cycle: a lower bound."""
        assert _TARGET.hz is not None
        return 1e6 * self.most / _TARGET.hz


@dataclass(frozen=True, eq=False)
class _Periods:
    """The vectors of the harness."""

    inputs: Array
    outputs: Array


def _as_int32(values: Array) -> Array:
    return np.asarray(values, np.int32)


def _heard(spec: RobotSpec, episodes: Sequence[Recorded]) -> list[bytes]:
    """What a host sends in front of each control period: the start of an episode, or that it has seen the last one."""
    codec, pieces, sent = Codec.for_robot(spec), list[bytes](), 0

    def frame(name: str, **values: float) -> bytes:
        nonlocal sent
        sent += 1
        return encode_frame(codec.encode(name, _SESSION, sent, 0, **values))

    major, minor = PROTOCOL_VERSION
    opening = frame("hello", protocol_major=major, protocol_minor=minor, schema=SCHEMA_HASH) + frame("arm")
    for number, episode in enumerate(episodes):
        candidate = {"direction_seed": episode.direction_seed, "sigma": episode.sigma}
        pieces.append(opening + frame("run", episode_id=number, episode_seed=0, **candidate))
        opening = b""
        pieces += [frame("keep_alive", episode_id=number, tick=tick) for tick in range(len(episode.sensors) - 1)]
    return pieces


def _heard_header(pieces: Sequence[bytes]) -> str:
    ends = np.cumsum([len(piece) for piece in pieces]).tolist()
    return (
        f"static const uint8_t heard[] = {{{', '.join(map(str, b''.join(pieces)))}}};\n"
        f"static const uint32_t heard_ends[BENCH_VECTORS] = {{{', '.join(map(str, ends))}}};\n"
    )


def _sources(spec: RobotSpec, generated: Path, episodes: Sequence[Recorded], frozen: bool) -> Sources:
    parts = [*runtime_sources(frozen), *(generated / name for name in (GENERATED_FROZEN if frozen else GENERATED))]
    files = {path.name: path.read_text(encoding="utf-8") for path in parts}
    files["heard.h"] = _heard_header(_heard(spec, episodes))
    own = ("-DESMAML_FIRMWARE", "-DBENCH_BETWEEN", f"-I{RUNTIME}")
    adapter = (HERE / "period.c").read_text(encoding="utf-8")
    return Sources(files, adapter, "int32_t", "int32_t", _as_int32, flags=(*WARNINGS, *own))


def count_instructions(
    spec: RobotSpec, generated: Path, episodes: Sequence[Recorded], folder: Path, *, frozen: bool = False
) -> ControlPeriod:
    """Run episodes again on the Cortex-M4F and count the instructions of each control period.

    Args:
        spec: the robot.
        generated: folder with the generated policy and robot model, as for `build_firmware`.
        episodes: at least one, each to its end.
        folder: for sources, objects and image; created if missing.
        frozen: the policy in `generated` is one of integers.

    Raises:
        ToolMissing: no compiler or no QEMU. DidNotRun: it does not compile or crashed. RuntimeError: a command is not
            the one recorded, or torque not on from an episode's beginning to its end.
    """
    require_tools(_TARGET)
    make_folder(folder, error=ExportError)
    target = replace(_TARGET, flags=load_board(BOARD).settings.compile.flags)
    sources = _sources(spec, generated, episodes, frozen)
    sensors = np.concatenate([episode.sensors for episode in episodes])
    commands = np.concatenate([episode.actuators for episode in episodes])
    lasts = np.cumsum([len(episode.sensors) for episode in episodes]) - 1
    torque = np.ones((len(sensors), 1), np.int32)
    torque[lasts] = 0
    periods = _Periods(sensors, np.hstack([commands, torque]))
    run = run_again(target, periods, sources, folder, build_image(target, periods, sources, folder))
    different = np.flatnonzero((run.outputs != periods.outputs).any(axis=1))
    if len(different):
        at = int(different[0])
        raise RuntimeError(
            f"control period {at} of {len(sensors)} gave {run.outputs[at].tolist()} (actuators, torque) where the "
            f"episode has {periods.outputs[at].tolist()}; were policy and episodes of the same firmware?"
        )
    counts = np.rint(run.counts)
    driven = counts[torque[:, 0] == 1]
    return ControlPeriod(
        len(driven), int(driven.min()), float(driven.mean()), int(driven.max()), int(counts[lasts].max())
    )
