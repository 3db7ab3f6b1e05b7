"""Episodes of stochastic policies on any step-wise family, and the advantages of what they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .. import directions
from ..errors import ConfigError, PolicyError
from ..evaluation import Task, TaskFamily
from ..float32 import clock_table
from ..robot_spec import RobotSpec
from .gaussian_policy import GaussianPolicy

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U32 = npt.NDArray[np.uint32]
Bool = npt.NDArray[np.bool_]

_NOISE = 0x4E4F4953
#: Ridge of the linear value function, as in the code published with MAML.
RIDGE = 1e-5


class StepwiseEpisodes(Protocol):
    """Episodes side by side, a control period at a time; arrays have the batch as their last axis."""

    reward: F32
    total: F32
    running: Bool
    aborted: Bool
    valid: Bool

    def begin(self, tasks: Sequence[Task], episode_seeds: U32) -> F32: ...

    def advance(self, actions: F32) -> F32: ...


@runtime_checkable
class StepwiseFamily(TaskFamily, Protocol):
    """A family that takes actions as well as policies, at most `width` episodes at once."""

    width: int | None

    def episodes(self) -> StepwiseEpisodes: ...


def stepwise(family: TaskFamily) -> tuple[StepwiseFamily, RobotSpec]:
    """The family as one that takes actions, with its robot. Raises ConfigError where it is none."""
    if not isinstance(family, StepwiseFamily) or family.spec is None:
        raise ConfigError(
            f"task family {family.name}: policy gradients need a family on a robot, whose episodes take actions "
            "(sim.family.RobotFamily); this one only runs whole policies."
        )
    return family, family.spec


@dataclass(frozen=True)
class Rollouts:
    """K episodes of each of P policies, H control periods long at most; float64, zero where an episode is over.

    Attributes:
        inputs: (P, K, H, network_inputs), what the network saw.
        actions: (P, K, H, outputs), as drawn, before clipping and filter.
        rewards: (P, K, H).
        alive: (P, K, H), 1 while the episode ran.
        returns: float32 (P, K).
        ended_early: bool (P, K), an abort ended the episode.
    """

    inputs: Tensor
    actions: Tensor
    rewards: Tensor
    alive: Tensor
    returns: F32
    ended_early: Bool

    def flat(self, values: Tensor) -> Tensor:
        """(P, K, H, n) as (P, K H, n)."""
        return values.flatten(1, 2)


def collect(
    family: TaskFamily, policy: GaussianPolicy, params: Tensor, tasks: Sequence[Task], episode_seeds: U32
) -> Rollouts:
    """Run policy p in task p, once for each seed of row p of `episode_seeds` (P, K).

    The seed decides the noise of the actions as well as what the family draws from it.

    Raises:
        ConfigError: the family does not take actions.
        PolicyError: a parameter or an action is not finite.
    """
    steps_family, robot = stepwise(family)
    if not bool(torch.isfinite(params).all()):
        raise PolicyError("a parameter of the stochastic policy is not finite; lower the learning rates.")
    seeds = episode_seeds.ravel()
    owner = np.repeat(np.arange(len(tasks)), episode_seeds.shape[1])
    width = steps_family.width or len(seeds)
    store = _Store(len(seeds), robot.episode.steps, policy)
    with torch.no_grad():
        for first in range(0, len(seeds), width):
            rows = slice(first, first + width)
            own = [tasks[i] for i in owner[rows]]
            _run(steps_family.episodes(), policy, params[owner[rows]], own, seeds[rows], store, rows)
    return store.rollouts(*episode_seeds.shape)


class _Store:
    """Room for the episodes, (rows, H, ...)."""

    def __init__(self, rows: int, horizon: int, policy: GaussianPolicy) -> None:
        self.horizon = horizon
        self.inputs: F64 = np.zeros((rows, horizon, policy.spec.network_inputs))
        self.actions: F64 = np.zeros((rows, horizon, policy.spec.outputs))
        self.rewards: F64 = np.zeros((rows, horizon))
        self.alive: F64 = np.zeros((rows, horizon))
        self.returns: F32 = np.zeros(rows, np.float32)
        self.ended_early: Bool = np.zeros(rows, bool)

    def rollouts(self, policies: int, count: int) -> Rollouts:
        inputs, actions, rewards, alive = (
            torch.from_numpy(a.reshape(policies, count, *a.shape[1:]))
            for a in (self.inputs, self.actions, self.rewards, self.alive)
        )
        shape = (policies, count)
        return Rollouts(inputs, actions, rewards, alive, self.returns.reshape(shape), self.ended_early.reshape(shape))


def _run(
    episodes: StepwiseEpisodes,
    policy: GaussianPolicy,
    params: Tensor,
    tasks: Sequence[Task],
    seeds: U32,
    store: _Store,
    rows: slice,
) -> None:
    """One batch of episodes into `rows` of the store; params (B, d + outputs), a policy a row."""
    spec, horizon = policy.spec, store.horizon
    network = policy.network(params)
    noise_seeds = [directions.fold(int(s), _NOISE) for s in seeds]
    noise = directions.directions(noise_seeds, horizon * spec.outputs).reshape(len(seeds), horizon, spec.outputs)
    scaled = noise * torch.exp(policy.log_std(params)).numpy()[:, None, :]
    clock = None if spec.clock_steps is None else clock_table(spec.clock_steps)
    applied = np.zeros((len(seeds), spec.outputs))
    seen = episodes.begin(tasks, seeds)
    for tick in range(horizon):
        inputs = store.inputs[rows, tick]
        inputs[:, : spec.inputs] = seen.T
        if clock is not None:
            inputs[:, spec.inputs :] = clock[:, tick % clock.shape[1]]
        drawn = network.mean(torch.from_numpy(inputs[:, None, :])).numpy()[:, 0, :] + scaled[:, tick]
        clipped = np.clip(drawn, -1.0, 1.0)
        applied = clipped if spec.action_filter is None else applied + spec.action_filter * (clipped - applied)
        running = episodes.running.copy()
        store.alive[rows, tick] = running
        store.actions[rows, tick] = drawn
        seen = episodes.advance(np.ascontiguousarray(applied.T, dtype=np.float32))
        store.rewards[rows, tick] = episodes.reward
        if not episodes.running.any():
            break
    if not episodes.valid.all():
        raise PolicyError("an action of the stochastic policy was not finite; lower the learning rates.")
    store.returns[rows] = episodes.total
    store.ended_early[rows] = episodes.aborted


def advantages(batch: Rollouts, observed: int, discount: float, trace: float) -> Tensor:
    """Generalised advantage estimates over a linear value function fitted to the batch, (P, K, H).

    Value function: ridge regression of discounted returns on [o, o^2, t, t^2, t^3, 1], one a policy (Duan et al.,
    "Benchmarking deep reinforcement learning for continuous control", ICML 2016). Advantages: Schulman et al.,
    "High-dimensional continuous control using generalized advantage estimation", ICLR 2016; brought to mean 0 and
    standard deviation 1 over the periods of a policy. Episodes that all return the same say nothing: zeros.

    Args:
        observed: so many of the inputs are sensors; a clock's are a function of t.
        discount, trace: gamma and lambda.
    """
    policies, count, horizon = batch.rewards.shape
    ahead = torch.zeros_like(batch.rewards)
    running = torch.zeros(policies, count, dtype=torch.float64)
    for t in reversed(range(horizon)):
        running = batch.rewards[:, :, t] + discount * running
        ahead[:, :, t] = running
    time = (torch.arange(horizon, dtype=torch.float64) / 100.0).expand(policies, count, horizon)
    sensors = batch.inputs[..., :observed]
    powers = torch.stack([time, time**2, time**3, torch.ones_like(time)], dim=3)
    features = batch.flat(torch.cat([sensors, sensors**2, powers], dim=3) * batch.alive[..., None])
    transposed = features.transpose(1, 2)
    gram = transposed @ features + RIDGE * torch.eye(features.shape[2], dtype=torch.float64)
    weights = torch.linalg.solve(gram, transposed @ (ahead * batch.alive).reshape(policies, -1, 1))
    values = (features @ weights).reshape(policies, count, horizon)
    following = torch.cat([values[:, :, 1:], torch.zeros(policies, count, 1, dtype=torch.float64)], dim=2)
    surprise = (batch.rewards + discount * following - values) * batch.alive
    estimate = torch.zeros_like(surprise)
    running = torch.zeros(policies, count, dtype=torch.float64)
    for t in reversed(range(horizon)):
        running = surprise[:, :, t] + discount * trace * running
        estimate[:, :, t] = running
    return _standardised(estimate * batch.alive, batch)


def _standardised(estimate: Tensor, batch: Rollouts) -> Tensor:
    """Mean 0 and standard deviation 1 over the periods that ran; 0 for a policy whose episodes all return the same."""
    periods = batch.alive.sum(dim=(1, 2), keepdim=True)
    centred = (estimate - estimate.sum(dim=(1, 2), keepdim=True) / periods) * batch.alive
    deviation = torch.sqrt((centred**2).sum(dim=(1, 2), keepdim=True) / periods)
    differ = torch.from_numpy(np.ptp(batch.returns, axis=1) > 0)[:, None, None]
    return torch.where(differ, centred / (deviation + 1e-8), torch.zeros_like(centred))
