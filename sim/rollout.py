"""Episodes in simulation: sense, act, step, reward; the same order of operations as the firmware's episode.c."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from esmaml_robot.evaluation import EpisodeBatch, Task
from esmaml_robot.policy import PolicyBatch
from esmaml_robot.signals import Signals

from .plant import BatchedPlant

I32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Tick:
    """What one control period shows to a recorder: counts at its start and the command given, (signals, B)."""

    index: int
    sensor_counts: I32
    commands: I32


def _stop_broken(values: npt.NDArray[Any], valid: Bool, running: Bool) -> tuple[npt.NDArray[Any], bool]:
    """`values` (signals, B) with zeros for what is not finite, its rows marked in `valid` and `running`; all finite?"""
    finite = np.isfinite(values)
    if finite.all():
        return values, True
    broken = ~finite.all(axis=0) & running
    valid &= ~broken
    running &= ~broken
    return np.where(finite, values, values.dtype.type(0)), False


def run_episodes(
    plant: BatchedPlant,
    signals: Signals,
    policies: PolicyBatch,
    tasks: Sequence[Task],
    episode_seeds: npt.NDArray[np.uint32],
    record: Callable[[Tick], None] | None = None,
) -> EpisodeBatch:
    """Run one episode per task, all side by side; rows do not influence one another.

    A row whose policy or body yields a value that is not finite is invalid: its return is NaN and it is stopped.
    """
    spec = signals.spec
    batch = len(tasks)
    counts = signals.quantise(plant.reset(tasks, episode_seeds))
    si = signals.to_si(counts)
    commands: I32 = np.repeat(signals.safe, batch, axis=1)
    total = np.zeros(batch, dtype=np.float32)
    steps = np.zeros(batch, dtype=np.int32)
    valid = np.ones(batch, dtype=bool)
    running = np.ones(batch, dtype=bool)
    all_running = True
    after_abort = np.float32(spec.reward.after_abort)
    for tick in range(spec.episode.steps):
        action, whole = _stop_broken(policies.act(signals.observe(si)), valid, running)
        all_running &= whole
        commands = signals.limit(signals.to_counts(action), commands)
        if not all_running:
            commands = np.where(running, commands, signals.safe)
        if record is not None:
            record(Tick(tick, counts, commands))
        truth, whole = _stop_broken(plant.step(signals.commands_si(commands)), valid, running)
        all_running &= whole
        counts = signals.quantise(truth)
        previous, si = si, signals.to_si(counts)
        reward = signals.reward(si, previous, commands)
        aborted = signals.aborted(si)
        if all_running:
            total += reward
            steps += 1
        else:
            np.add(total, reward, out=total, where=running)
            steps += running
        ends = aborted & running
        if ends.any():
            for _ in range(spec.episode.steps - tick - 1):  # one by one: float32 sums as on the controller
                total[ends] += after_abort
            running &= ~ends
            all_running = False
            if not running.any():
                break
    if record is not None:
        record(Tick(spec.episode.steps, counts, np.repeat(signals.safe, batch, axis=1)))
    total[~valid] = np.nan
    return EpisodeBatch(total, steps, valid)
