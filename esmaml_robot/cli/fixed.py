"""What fixed point needs of a run: calibration rows from its own rollouts, and episodes to compare returns."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import directions
from ..checkpoint import RunConfig
from ..errors import ConfigError, SimulationError
from ..policy import Policy
from ..scoring import estimate, score_seeds
from .common import err, family_of, own_package

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]

#: Episodes that calibrate, on validation tasks: returns are compared on others. Of their rows at most so many are used.
CALIBRATION_TASKS = 16
CALIBRATION_ROWS = 4000
_CALIBRATION_STREAM = 0x43414C49


def _robot_family(config: RunConfig) -> Any:
    """The run's family, which has to be one of robots."""
    own_package("sim")
    family = family_of(config)
    if not isinstance(family, importlib.import_module("sim.family").RobotFamily):
        raise ConfigError(
            f"task family {config.family} is no RobotFamily: its episodes cannot be run in counts, which is what "
            "c-int16 and c-int8 are calibrated with. Export onnx and c, or give --calibration."
        )
    return family


def calibration_rows(family: Any, policy: Policy) -> tuple[Any, str]:
    """Values of the policy's inputs in rollouts of its own (rows, inputs), and where they are from, in words."""
    sim = importlib.import_module("sim.counted")
    fixed = importlib.import_module("firmware_export.fixed_policy")
    tasks = [family.sample("validation", i) for i in range(CALIBRATION_TASKS)]
    seeds = score_seeds(_CALIBRATION_STREAM, len(tasks))
    params = np.repeat(policy.theta[None, :], len(tasks), axis=0)
    episodes = sim.observed_counts(family, policy.spec, policy.normaliser, params, tasks, seeds)
    rows = np.concatenate([fixed.calibration_rows(policy.spec, family.spec, seen) for seen in episodes])
    if len(rows) > CALIBRATION_ROWS:
        # not every n-th: a clock's turn might be a multiple of it
        order = np.argsort(directions.uniforms(_CALIBRATION_STREAM, len(rows)), kind="stable")
        rows = rows[np.sort(order[:CALIBRATION_ROWS])]
    return rows, f"{len(tasks)} episodes of {family.name} in simulation"


def closed_loop(family: Any, policy: Policy, plan: Any, tasks: int) -> dict[str, Any]:
    """Mean return of the policy in float32 and as integers, one episode on each held-out task, the same for both."""
    sim = importlib.import_module("sim.counted")
    fixed = importlib.import_module("firmware_export.fixed_policy")
    sampled = [family.sample("test", i) for i in range(tasks)]
    seeds = score_seeds(0, tasks)
    params = np.repeat(policy.theta[None, :], tasks, axis=0)
    exact = family.evaluate(policy.spec, policy.normaliser, params, sampled, seeds)
    if not exact.valid.all():
        raise SimulationError(
            f"task {int(np.argmin(exact.valid))} of {family.name} gave an invalid episode in float32; the policy "
            "cannot be compared in closed loop. Leave that out with --tasks 0."
        )

    def controller(tick: int, _: range, counts: I32) -> I32:
        commands: I32 = fixed.command_counts(plan, fixed.pin_counts(policy.spec, counts, tick))
        return commands

    returns = sim.run_counted(family, controller, sampled, seeds)
    difference = estimate(returns.astype(np.float64) - exact.returns)
    return {
        "family": family.name,
        "tasks": tasks,
        "float32": float(exact.returns.mean()),
        "fixed": float(returns.mean()),
        "difference": difference.mean,
        "half_width_95": difference.half_width,
    }


def fixed_input(config: RunConfig, policy: Policy, calibration: Path | None, tasks: int) -> Any:
    """firmware_export.export.FixedInput of a run's policy, with a live line on what takes long.

    Args:
        calibration: rows of inputs in SI, instead of rollouts.
        tasks: on which returns are compared; 0 for none.
    """
    if tasks == 1:
        raise ConfigError("--tasks 1 says nothing of a difference; give 2 or more, or 0 for none.")
    made = importlib.import_module("firmware_export.export").FixedInput
    family = _robot_family(config) if calibration is None or tasks else None
    with err.status("calibrating: episodes of the policy in simulation"):
        if calibration is not None:
            read = importlib.import_module("firmware_export.calibration").read_rows
            rows, source = read(calibration, policy.spec.network_inputs), calibration.name
        else:
            rows, source = calibration_rows(family, policy)

    def judge(plan: Any) -> dict[str, Any]:
        return closed_loop(family, policy, plan, tasks)

    return made(rows, source, judge if tasks else None)
