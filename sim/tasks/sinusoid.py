"""Task family without a robot: fit a sine wave that is known by its error alone.

The regression problem of Finn et al., "Model-Agnostic Meta-Learning" (ICML 2017), with es_maml's laws (Song et al.,
ICLR 2020, `SinusodialTask`), =U(a, b): set to a uniform draw:

    amplitude   =U(0.1, 5.0)
    phase       =U(0, pi) rad

An episode draws 100 points x =U(-5, 5) from its seed. The policy sees x / 5 and gives y / 5, since what it sees and
gives is within [-1, 1]; the return is minus the mean squared error of y against amplitude * sin(x - phase). One
episode is one step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from esmaml_robot import directions, identity
from esmaml_robot.evaluation import EpisodeBatch, Split, Task
from esmaml_robot.moments import Moments
from esmaml_robot.policy import Normaliser, PolicyBatch, PolicySpec

from ..family import FamilyOptions, parse_options
from ..laws import Law, Uniform, draw_parameters

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]

POINTS = 100
X_SCALE = Y_SCALE = 5.0


def points(episode_seed: int) -> F32:
    """The points of an episode as the policy sees them, (POINTS,), in [-1, 1)."""
    seen: F32 = (2.0 * directions.uniforms(episode_seed, POINTS) - 1.0).astype(np.float32)
    return seen


class Sinusoid:
    """Fit a sine wave of unknown amplitude and phase."""

    name = "sinusoid"
    spec = None
    inputs, outputs = 1, 1
    Options = FamilyOptions
    laws: ClassVar[tuple[Law, ...]] = (
        Uniform("amplitude", 0.1, 5.0, "1", "of the wave"),
        Uniform("phase", 0.0, float(np.pi), "rad", "of the wave"),
    )
    preset: Mapping[str, Any] = {
        "policy": {"hidden": [20, 20]},
        "initial": "scaled",
        "initial_gain": 2.0,
        "operator": {"name": "hill_climb", "queries": 20, "sigma": 0.1},
        "meta": {"pairs": 64, "sigma": 0.05, "learning_rate": 0.02, "learning_rate_final": 0.002},
        "episodes": 300_000,
    }

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options = parse_options(self.name, self.Options, options or {})

    @property
    def interface_hash(self) -> str:
        return identity.digest_json({"family": self.name, "inputs": ["x / 5"], "outputs": ["y / 5"]})

    def sample(self, split: Split, seed: int) -> Task:
        return Task(self.name, draw_parameters(self.laws, split, seed))

    def evaluate(
        self,
        policy: PolicySpec,
        normaliser: Normaliser,
        params: F32,
        tasks: Sequence[Task],
        episode_seeds: U32,
        observe: bool = False,
    ) -> EpisodeBatch:
        """One fit per row; see TaskFamily.evaluate."""
        batch = PolicyBatch(policy, params, normaliser)
        seeds, place = np.unique(episode_seeds, return_inverse=True)
        seen = np.stack([points(s) for s in seeds.tolist()])[place]
        amplitude, phase = (np.array([t.parameters[k] for t in tasks])[:, None] for k in ("amplitude", "phase"))
        wanted = amplitude * np.sin(X_SCALE * seen.astype(np.float64) - phase)
        given = np.stack([batch.act(x[None, :])[0] for x in seen.T], axis=1)
        error = Y_SCALE * given.astype(np.float64) - wanted
        # point after point, not pairwise: a row's bits do not depend on how numpy splits a sum
        returns = (-np.add.accumulate(error * error, axis=1)[:, -1] / POINTS).astype(np.float32)
        valid = np.isfinite(returns)
        returns[~valid] = np.nan
        observed = None
        if observe:
            wide = seen.astype(np.float64)
            observed = [Moments.of_sums(POINTS, row.sum(keepdims=True), (row * row).sum(keepdims=True)) for row in wide]
        return EpisodeBatch(returns, np.ones(len(params), np.int32), valid, observed)

    def episodes(self) -> SinusoidEpisodes:
        """A point a step, for whoever brings outputs of its own; the rewards add up to the return."""
        return SinusoidEpisodes()

    def close(self) -> None:
        """Nothing to free."""


class SinusoidEpisodes:
    """Episodes of a point a step; sim.rollout.Episodes describes methods and attributes."""

    length, rate_hz = POINTS, 10.0

    def begin(self, tasks: Sequence[Task], episode_seeds: U32) -> F32:
        count = len(tasks)
        self._amplitude, self._phase = (np.array([t.parameters[k] for t in tasks]) for k in ("amplitude", "phase"))
        self._points = np.stack([points(s) for s in episode_seeds.tolist()], axis=1)
        self.reward: F32 = np.zeros(count, np.float32)
        self.total: F32 = np.zeros(count, np.float32)
        self.steps = np.zeros(count, np.int32)
        self.valid, self.running = np.ones(count, bool), np.ones(count, bool)
        self.aborted = np.zeros(count, bool)
        self._tick = 0
        return self._points[:1].copy()

    def advance(self, actions: F32) -> F32:
        x = self._points[self._tick].astype(np.float64)
        error = Y_SCALE * actions[0].astype(np.float64) - self._amplitude * np.sin(X_SCALE * x - self._phase)
        self.valid &= ~self.running | np.isfinite(error)
        self.running &= self.valid
        self.reward = np.where(self.running, -(error * error) / POINTS, 0.0).astype(np.float32)
        self.total = self.total + self.reward
        self.steps += self.running
        self._tick += 1
        # behind the last point, it is shown once more
        seen: F32 = self._points[min(self._tick, POINTS - 1)][None, :].copy()
        return seen
