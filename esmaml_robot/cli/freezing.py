"""A policy quantised for its robot, calibrated with episodes that it drives in simulation."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checkpoint import RunFolder
from ..errors import ConfigError
from ..policy import Policy
from ..policy_frozen import ARITHMETICS, Arithmetic
from ..robot_spec import RobotSpec
from ..scoring import score_seeds
from .common import own_package

F32 = npt.NDArray[np.float32]

#: Episodes that calibrate: one in each of so many training tasks.
_EPISODES = 16
_SEED = 77


def arithmetic_of(name: str) -> Arithmetic:
    """The format of that name, or ConfigError."""
    for known in ARITHMETICS:
        if name == known:
            return known
    raise ConfigError(f"--format {name!r}: choose from {', '.join(ARITHMETICS)}.")


def observed_in_episodes(policy: Policy, run: Path) -> F32 | None:
    """What the observed sensors of the run's robot give while the policy drives, in SI, (ticks, episodes, n_observed).

    None where the run's family is none of a robot in this simulator.
    """
    own_package("sim")
    config = RunFolder(run).newest().config
    family: Any = importlib.import_module("sim.tasks").make_family(config.family, config.options)
    if not hasattr(family, "signals"):
        return None
    count = min(_EPISODES, family.width or _EPISODES)
    rows: list[F32] = []

    def record(tick: Any) -> None:
        rows.append(family.signals.to_si(tick.sensor_counts)[family.signals.observed].T)

    tasks = [family.sample("train", i) for i in range(count)]
    theta = np.repeat(policy.theta[None], count, axis=0)
    try:
        family.evaluate(policy.spec, policy.normaliser, theta, tasks, score_seeds(_SEED, count), record=record)
    finally:
        family.close()
    return np.stack(rows)


def frozen_policy(policy: Policy, spec: RobotSpec, arithmetic: Arithmetic, run: Path | None) -> Any:
    """firmware_export.frozen_policy.freeze, calibrated with episodes where there is a run to say in which tasks."""
    seen = None if run is None else observed_in_episodes(policy, run)
    own_package("firmware_export")
    return importlib.import_module("firmware_export.frozen_policy").freeze(policy, spec, arithmetic, seen)
