"""Episodes in counts: what a policy's sensors gave, and episodes of a controller that takes counts and gives counts.

That is what firmware does in integers: no observation in [-1, 1], no action in float32 between the pins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from esmaml_robot.evaluation import Task
from esmaml_robot.policy import Normaliser, PolicyBatch, PolicySpec

from .family import RobotFamily
from .rollout import run_on_counts

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]

#: Tick, rows (numbers of the tasks), counts of their observed sensors (rows, sensors) -> commands (rows, actuators).
CountsController = Callable[[int, range, I32], I32]


def _batches(family: RobotFamily, count: int) -> list[range]:
    width = family.width or count
    return [range(start, min(start + width, count)) for start in range(0, count, width)]


def observed_counts(
    family: RobotFamily,
    policy: PolicySpec,
    normaliser: Normaliser,
    params: F32,
    tasks: Sequence[Task],
    episode_seeds: U32,
) -> list[list[I32]]:
    """For each task what the policy saw in an episode of its own: for each control period the counts (1, sensors).

    Args:
        params: (B, dimension), a policy for each task.
    """
    seen: list[list[I32]] = [[] for _ in tasks]
    for rows in _batches(family, len(tasks)):
        part = slice(rows.start, rows.stop)
        episodes, batch = family.episodes(), PolicyBatch(policy, params[part], normaliser)
        observation = episodes.begin(tasks[part], episode_seeds[part])
        batch.reset()
        for tick in range(episodes.length):
            counts = episodes.counts[family.signals.observed].T
            for i in np.flatnonzero(episodes.running).tolist():
                seen[rows[i]].append(counts[i : i + 1].copy())
            observation = episodes.advance(batch.act(observation, tick))
            if not episodes.running.any():
                break
    return seen


def run_counted(family: RobotFamily, controller: CountsController, tasks: Sequence[Task], episode_seeds: U32) -> F32:
    """Returns of one episode a task, (B,). What is commanded is limited in range and rate, as on a robot."""
    observed = family.signals.observed
    returns = []
    for rows in _batches(family, len(tasks)):
        part = slice(rows.start, rows.stop)

        def act(counts: I32, tick: int, rows: range = rows) -> I32:
            return np.ascontiguousarray(controller(tick, rows, counts[observed].T).T)

        returns.append(run_on_counts(family.plant, family.signals, act, tasks[part], episode_seeds[part]).returns)
    return np.concatenate(returns)
