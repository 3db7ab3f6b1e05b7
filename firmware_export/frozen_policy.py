"""A policy in integers on its robot, for firmware: policy.{h,c} around fixed.{h,c}, and the numpy twin.

What the firmware's runtime sees in these files is what it sees of a float32 policy, but for the parameters:
POLICY_FROZEN says that there are none to be changed. Sensor counts go in and actuator counts come out;
`FrozenPolicy.commands` gives the same bits, a control period at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ExportError
from esmaml_robot.files import atomic_write_text, make_folder
from esmaml_robot.policy import Policy
from esmaml_robot.policy_frozen import Arithmetic, FrozenLayout
from esmaml_robot.robot_spec import RobotSpec

from .c_source import int_literals, render
from .fixed_c import constants_crc, render_fixed_c
from .fixed_counts import rows_from_ranges
from .fixed_model import run
from .fixed_plan import INT16, FixedNetwork
from .fixed_policy import clock_counts, counts_of_robot, network_of_policy
from .fixed_quantise import quantise

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

BITS: dict[Arithmetic, Literal[16, 8]] = {"int16": 16, "int8": 8}
#: Rows over the whole range of the sensors, beside those that rollouts gave.
_ROWS_FROM_RANGES = 256


@dataclass(frozen=True, eq=False)
class FrozenPolicy:
    """A policy in integers on its robot.

    Attributes:
        spec: the robot.
        layout: what was quantised, and to what.
        plan: the integers.
    """

    spec: RobotSpec
    layout: FrozenLayout
    plan: FixedNetwork

    @property
    def policy_hash(self) -> str:
        return self.plan.fixed_hash

    @property
    def observed(self) -> list[int]:
        """Which of the robot's sensors the policy reads."""
        return [i for i, sensor in enumerate(self.spec.sensors) if sensor.observed]

    @cached_property
    def origins(self) -> tuple[I64, I64]:
        """What is subtracted from counts of the observed sensors, and added to those of the actuators."""
        sensors = self.plan.inputs[: len(self.observed)]
        return np.array([i.origin for i in sensors], np.int64), np.array(
            [o.origin for o in self.plan.outputs], np.int64
        )

    @property
    def ends(self) -> tuple[I64, I64]:
        """Least and most counts of the commands, (n_actuators,)."""
        last, origin = self.plan.layers[-1], self.origins[1]
        return last.low + origin, last.high + origin

    def commands(self, sensors: I32, tick: int) -> I32:
        """Counts of all sensors (n_sensors, B) in control period `tick` to counts of the actuators (n_actuators, B)."""
        counts = np.clip(sensors[self.observed].T - self.origins[0], *INT16)
        steps = self.layout.origin.clock_steps
        if steps is not None:
            clock = clock_counts(steps)[tick % steps]
            counts = np.concatenate([counts, np.broadcast_to(clock, (len(counts), 2))], axis=1)
        wanted: I32 = (run(self.plan, counts) + self.origins[1]).T.astype(np.int32)
        return wanted

    def clipped(self, wanted: I32) -> Bool:
        """Where a command is at an end of what the policy may ask for, which telemetry flags as CLIPPED; (B,)."""
        low, high = self.ends
        at_an_end: Bool = np.asarray(((low >= wanted.T) | (high <= wanted.T)).any(axis=1))
        return at_an_end


def freeze(policy: Policy, spec: RobotSpec, arithmetic: Arithmetic, seen: npt.ArrayLike | None = None) -> FrozenPolicy:
    """Quantise a policy on its robot.

    Args:
        policy: of float32.
        spec: its robot.
        arithmetic: "int16" or "int8".
        seen: what the observed sensors gave in episodes, in SI, (ticks, episodes, n_observed). Rows over the sensors'
            whole counts come on top, so that values that no episode reached have a place too.

    Raises:
        PolicyError: a parameter is not finite. ExportError: it has no form in integers; says why.
    """
    if arithmetic not in BITS:
        raise ExportError(f"{arithmetic!r} is no format of integers; choose from: {', '.join(BITS)}.")
    steps = policy.spec.clock_steps
    inputs, outputs = counts_of_robot(spec, steps is not None)
    network = network_of_policy(policy, spec)
    rows = rows_from_ranges(inputs, _ROWS_FROM_RANGES, seed=1)

    def clock(ticks: int) -> F64:
        """Sine and cosine of as many ticks, (ticks, 2)."""
        values: F64 = clock_counts(steps or 1)[np.arange(ticks) % (steps or 1)].astype(np.float64) * inputs[-1].scale
        return values

    if steps is not None:  # sine and cosine belong together
        rows[:, -2:] = clock(len(rows))
    if seen is not None:
        episodes = np.asarray(seen, np.float64)
        if steps is not None:
            turns = np.broadcast_to(clock(len(episodes))[:, None], (*episodes.shape[:2], 2))
            episodes = np.concatenate([episodes, turns], axis=2)
        rows = np.concatenate([episodes.reshape(-1, len(inputs)), rows])
    plan = quantise(network, inputs, outputs, rows, BITS[arithmetic])
    return FrozenPolicy(spec, FrozenLayout(policy.spec, arithmetic), plan)


def render_frozen_c(frozen: FrozenPolicy) -> dict[str, str]:
    """The four files by name, as text."""
    steps = frozen.layout.origin.clock_steps
    last, (into, out) = frozen.plan.layers[-1], frozen.origins
    context: dict[str, Any] = {
        "frozen": frozen,
        "spec": frozen.spec,
        "plan": frozen.plan,
        "layout": frozen.layout,
        "crc": constants_crc(frozen.plan),
        "observed": int_literals(frozen.observed, "sensor"),
        "into": int_literals(into, "origin of a sensor"),
        "out": int_literals(out, "origin of an actuator"),
        "shifted_in": bool(into.any()),
        "shifted_out": bool(out.any()),
        "low": int_literals(last.low, "limit"),
        "high": int_literals(last.high, "limit"),
        "clock": None if steps is None else int_literals(clock_counts(steps), "clock"),
    }
    files = {name: render(f"frozen_{name}.j2", **context) for name in ("policy.h", "policy.c")}
    return files | render_fixed_c(frozen.plan, "fixed")


def write_frozen_c(frozen: FrozenPolicy, folder: Path) -> list[Path]:
    """Write the four files into `folder` (created if missing). Raises ExportError where the disk refuses."""
    texts = render_frozen_c(frozen)
    folder = make_folder(Path(folder), error=ExportError)
    return [atomic_write_text(folder / name, text, error=ExportError) for name, text in texts.items()]
