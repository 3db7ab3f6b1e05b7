"""Episodes in simulation: sense, act, step, reward; the same order of operations as the firmware's episode.c."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import EsmamlError, SimulationError
from esmaml_robot.evaluation import EpisodeBatch, Task
from esmaml_robot.moments import Moments
from esmaml_robot.own_code import episode_failure
from esmaml_robot.policy import PolicyBatch
from esmaml_robot.signals import Signals

from .plant import BatchedPlant
from .tables import lanes_of

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Tick:
    """What one control period shows to a recorder: counts at its start and the command given, (signals, B)."""

    index: int
    sensor_counts: I32
    commands: I32


def _all_finite(values: F32 | F64) -> bool:
    """True if all are finite, in one call; False otherwise, and where squares overflow, for a closer look."""
    return math.isfinite(np.vdot(values, values))


class Episodes:
    """B episodes side by side, a control period at a time. Rows do not influence one another.

    `begin` returns the first observations, `advance` takes actions and returns the next; both (signals, B). It is what
    rollouts, Gymnasium environments and stochastic policies share.

    Attributes after `begin` (arrays over the batch):
        tick: control periods run so far.
        reward: float32 (B,), of the last period; what an abort costs included.
        total: float32 (B,), sum of rewards so far.
        running, aborted: bool (B,). Rows that aborted or were given a non-finite action do not run.
        commands: int32, of the actuators during the last period.
    """

    def __init__(self, plant: BatchedPlant, signals: Signals) -> None:
        self._plant, self._signals = plant, signals

    @property
    def length(self) -> int:
        """Control periods of an episode that nothing ends early."""
        return self._signals.spec.episode.steps

    @property
    def rate_hz(self) -> float:
        """Control periods a second."""
        return self._signals.spec.control_rate_hz

    @property
    def counts(self) -> I32:
        """Sensors at the end of the last period, (n_sensors, B)."""
        return self._lanes.counts(self._places)

    def begin(self, tasks: Sequence[Task], episode_seeds: U32) -> F32:
        """Reset the robots; returns observations in [-1, 1]."""
        batch = len(tasks)
        self._tasks, self._seeds = tasks, episode_seeds
        self.tick = 0
        self.reward = np.zeros(batch, dtype=np.float32)
        self.total = np.zeros(batch, dtype=np.float32)
        self.steps = np.zeros(batch, dtype=np.int32)
        self.valid = np.ones(batch, dtype=bool)
        self.running = np.ones(batch, dtype=bool)
        self.aborted = np.zeros(batch, dtype=bool)
        self._all_running = True
        self._lanes = lanes_of(self._signals, batch)
        self.commands: I32 = self._lanes.safe
        try:
            truth = self._plant.reset(tasks, episode_seeds)
        except EsmamlError:
            raise
        except Exception as error:
            raise self._failed(error) from error
        self._places = self._lanes.places(self._checked(truth, 0))
        return self._lanes.observe(self._places)

    def advance(self, actions: F32) -> F32:
        """Run one control period under actions in [-1, 1]; returns the observations at its end.

        A row with a non-finite action becomes invalid and stops. Raises SimulationError when the body of a running
        row yields a sensor value that is not finite.
        """
        if not _all_finite(actions):
            actions = self._without_broken(actions)
        return self._apply(self._lanes.commands(actions, self.commands))

    def command(self, wanted: I32) -> F32:
        """`advance` for a policy that gives counts itself, (n_actuators, B): range and rate are limited as ever."""
        return self._apply(self._lanes.limited(wanted, self.commands))

    def _apply(self, commands: I32) -> F32:
        lanes = self._lanes
        running = None if self._all_running else self.running
        if running is not None:
            commands = np.where(running, commands, lanes.safe)
        self.commands = commands
        try:
            truth = self._plant.step(lanes.commands_si(commands), True, running)
        except EsmamlError:
            raise
        except Exception as error:
            raise self._failed(error) from error
        truth = self._checked(truth, self.tick + 1)
        previous, self._places = self._places, lanes.places(truth)
        reward = lanes.reward(self._places, previous, commands)
        if running is not None:
            reward *= running
        self.reward = reward
        self.total += reward
        self.steps += 1 if running is None else running
        self.tick += 1
        ends = lanes.aborted(self._places, running)
        if ends is not None:
            self._end(ends)
        return lanes.observe(self._places)

    def _without_broken(self, actions: F32) -> F32:
        finite = np.isfinite(actions)
        broken = ~finite.all(axis=0) & self.running
        if broken.any():
            self.valid &= ~broken
            self.running &= ~broken
            self._all_running = False
        return np.where(finite, actions, np.float32(0))

    def _end(self, ends: Bool) -> None:
        after = np.float32(self._signals.spec.reward.after_abort)
        left = self._signals.spec.episode.steps - self.tick
        if after != 0:
            sums = np.full((left + 1, np.count_nonzero(ends)), after)
            sums[0] = self.total[ends]
            # one by one, as the controller adds them in float32
            self.total[ends] = np.add.accumulate(sums, axis=0, dtype=np.float32)[-1]
            self.reward[ends] += np.float32(left * after)
        self.running &= ~ends
        self.aborted |= ends
        self._all_running = False

    def _failed(self, error: Exception) -> SimulationError:
        """What a plant raised, as one line; which of the rows it was is the plant's to know, so the first stands for
        them.
        """
        task, count = self._tasks[0], len(self._tasks)
        which = "an episode" if count == 1 else f"one of {count} episodes, the first"
        where = f"in {which} with seed {int(self._seeds[0])} in task {task.parameters}"
        return episode_failure(error, task.family, where)

    def _checked(self, truth: F64, period: int) -> F64:
        """Sensors after control period `period` (0: at the start); zero where rows that ended are not finite.

        Raises SimulationError where a running row has a value that is not finite.
        """
        if _all_finite(truth):
            return truth
        finite = np.isfinite(truth)
        bad = ~finite & self.running
        if bad.any():
            sensor, row = (int(i) for i in np.argwhere(bad)[0])
            task = self._tasks[row]
            name = self._signals.spec.sensors[sensor].name
            raise SimulationError(
                f"task family {task.family}: sensor {name!r} is {truth[sensor, row]} after control period {period} "
                f"of an episode with seed {int(self._seeds[row])} in task {task.parameters}; the simulated body is "
                "unstable: raise physics_rate_hz, or lower its gains."
            )
        return np.where(finite, truth, 0.0)


def run_episodes(
    plant: BatchedPlant,
    signals: Signals,
    policies: PolicyBatch,
    tasks: Sequence[Task],
    episode_seeds: U32,
    record: Callable[[Tick], None] | None = None,
    observe: bool = False,
) -> EpisodeBatch:
    """Run one episode per task, all side by side.

    Args:
        record: called with each control period's counts and commands, and once more at the end.
        observe: collect the moments of what each row's policy saw.

    A row whose policy yields a value that is not finite is invalid: its return is NaN and it is stopped. Raises
    SimulationError when a body does.
    """
    episodes = Episodes(plant, signals)
    seen = episodes.begin(tasks, episode_seeds)
    policies.reset()
    total, total_squares = np.zeros(seen.shape), np.zeros(seen.shape)
    count = np.zeros(len(tasks), dtype=np.int64)
    for tick in range(signals.spec.episode.steps):
        if observe:
            shown = np.where(episodes.running, seen, np.float32(0)).astype(np.float64)
            total += shown
            total_squares += shown * shown
            count += episodes.running
        before = episodes.counts if record is not None else None
        seen = episodes.advance(policies.act(seen, tick))
        if record is not None and before is not None:
            record(Tick(tick, before, episodes.commands))
        if not episodes.running.any():
            break
    if record is not None:
        record(Tick(signals.spec.episode.steps, episodes.counts, np.repeat(signals.safe, len(tasks), axis=1)))
    returns, valid = episodes.total, episodes.valid
    returns[~valid] = np.nan
    observed = None
    if observe:
        observed = [Moments.of_sums(n, total[:, i], total_squares[:, i]) for i, n in enumerate(count.tolist())]
    return EpisodeBatch(returns, episodes.steps, valid, observed)


def run_on_counts(
    plant: BatchedPlant,
    signals: Signals,
    act: Callable[[I32, int], I32],
    tasks: Sequence[Task],
    episode_seeds: U32,
    record: Callable[[Tick], None] | None = None,
) -> EpisodeBatch:
    """`run_episodes` for a policy in integers, bit for bit what firmware with it does.

    Args:
        act: counts of all sensors (n_sensors, B) and the control period to the counts (n_actuators, B) that are wanted
            of the actuators; range and rate are limited here.
        record: as in `run_episodes`; the last tick is the one after the last period.
    """
    episodes = Episodes(plant, signals)
    episodes.begin(tasks, episode_seeds)
    while episodes.tick < episodes.length and episodes.running.any():
        before = episodes.counts
        episodes.command(act(before, episodes.tick))
        if record is not None:
            record(Tick(episodes.tick - 1, before, episodes.commands))
    if record is not None:
        record(Tick(episodes.tick, episodes.counts, np.repeat(signals.safe, len(tasks), axis=1)))
    return EpisodeBatch(episodes.total, episodes.steps, episodes.valid, None)
