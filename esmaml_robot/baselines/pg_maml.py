"""Policy-gradient MAML: the method that ES-MAML is an alternative to, as a baseline.

Finn, Abbeel, Levine, "Model-agnostic meta-learning for fast adaptation of deep networks" (ICML 2017), for
reinforcement learning, with the derivative of the inner step corrected as in surrogate.py:

    for each task T:   K episodes with the stochastic policy pi_theta,   theta_T = theta + rate * grad L_T(theta)
                       K episodes with pi_theta_T
    theta  <- Adam( mean over T of  d/dtheta L'_T(theta_T(theta)) )

What differs from the publication: Adam takes the outer step in place of TRPO's line search, as ProMP's authors do with
their vanilla policy gradient (Rothfuss et al., ICLR 2019). Inner step, value function and advantages are the usual
ones: one step of 0.1, a linear value function a task, gamma 0.99, lambda 1.

Torch differentiates and nothing else: every random number comes from esmaml_robot.directions, in one thread, so that
a run's bits follow from its configuration.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .. import directions
from ..checkpoint import config_differences, metrics_until
from ..errors import CheckpointError
from ..evaluation import Task, TaskFamily
from ..files import atomic_write_text
from ..meta import MetaState, ascend, start
from .gaussian_policy import GaussianPolicy
from .pg_run import PGConfig, PGFolder, PGRun
from .rollouts import Rollouts, advantages, collect, stepwise
from .surrogate import Curvature, surrogate

U32 = npt.NDArray[np.uint32]

_TASKS, _EPISODES = 1, 2

#: Tasks that are differentiated together: enough rows for a batch of robots, and little memory.
CHUNK = 8


@dataclass(frozen=True)
class PGProgress:
    """What an iteration has to say: mean returns of the episodes before and after adaptation."""

    iteration: int
    iterations: int
    episodes: int
    before: float
    after: float


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in an order that does not depend on how many cores there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def episode_seeds(seed: int, stage: int, numbers: range, rollouts: int) -> U32:
    """Seeds of the episodes of one stage of the adaptations to tasks of these numbers, (len(numbers), rollouts)."""
    places = np.arange(numbers.start * rollouts, numbers.stop * rollouts)
    return directions.fold_many(directions.fold(seed, _EPISODES, stage), places).reshape(-1, rollouts)


def chunks(tasks: int) -> Iterator[range]:
    """The numbers 0 .. tasks - 1, CHUNK at a time."""
    for first in range(0, tasks, CHUNK):
        yield range(first, min(first + CHUNK, tasks))


class Learner:
    """The adaptation and its derivative, of one configuration on one family. ConfigError: it takes no actions."""

    def __init__(self, config: PGConfig, family: TaskFamily) -> None:
        stepwise(family)  # others are refused before a folder is made
        self.config, self.family = config, family
        self.policy = GaussianPolicy(config.policy)

    def objective(self, params: Tensor, batch: Rollouts) -> Tensor:
        """The surrogate of each policy on its episodes, (P,)."""
        config = self.config
        advantage = advantages(batch, config.policy.inputs, config.discount, config.trace)
        flat = self.policy.log_likelihood(params, batch.flat(batch.inputs), batch.flat(batch.actions))
        curvature: Curvature = "dice" if config.curvature == "dice" else "lvc"
        return surrogate(flat.reshape(batch.rewards.shape), advantage, batch.alive, curvature)

    def collect(self, params: Tensor, tasks: Sequence[Task], numbers: range, seed: int, stage: int) -> Rollouts:
        """Episodes of params (P, d + outputs) in `tasks` (P), which have these numbers among those of the seed."""
        seeds = episode_seeds(seed, stage, numbers, self.config.rollouts)
        return collect(self.family, self.policy, params.detach(), tasks, seeds)

    def adapt(self, params: Tensor, tasks: Sequence[Task], numbers: range, seed: int) -> tuple[Tensor, Rollouts]:
        """Adapted parameters (P, d + outputs) as a function of `params` (d + outputs,), and the first episodes.

        Differentiable where `params` requires a gradient.
        """
        second = params.requires_grad and self.config.curvature != "first_order"
        point = params.expand(len(tasks), -1)
        if not point.requires_grad:
            point = point.clone().requires_grad_()
        first = None
        for stage in range(self.config.inner_steps):
            batch = self.collect(point, tasks, numbers, seed, stage)
            first = first or batch
            (slope,) = torch.autograd.grad(self.objective(point, batch).sum(), point, create_graph=second)
            point = point + self.config.inner_rate * slope
        assert first is not None  # inner_steps is 1 or more
        return point, first

    def step(self, state: MetaState) -> tuple[MetaState, PGProgress]:
        """One iteration of the outer loop."""
        config = self.config
        root = directions.fold(config.seed, state.iteration)
        gradient = np.zeros_like(state.theta)
        returns: list[tuple[float, float]] = []
        with one_thread():
            for numbers in chunks(config.tasks):
                seeds = directions.fold_many(directions.fold(root, _TASKS), np.array(numbers))
                tasks = [self.family.sample("train", int(s)) for s in seeds]
                theta = torch.tensor(state.theta, requires_grad=True)
                adapted, before = self.adapt(theta, tasks, numbers, root)
                after = self.collect(adapted, tasks, numbers, root, config.inner_steps)
                (slope,) = torch.autograd.grad(self.objective(adapted, after).sum(), theta)
                gradient += slope.numpy() / config.tasks
                means = (b.returns.astype(np.float64).mean(axis=1).tolist() for b in (before, after))
                returns += zip(*means, strict=True)
        progress = state.iteration / config.iterations
        state = ascend(config.outer, state, gradient, config.episodes_per_iteration, progress)
        mean = np.mean(returns, axis=0)
        return state, PGProgress(state.iteration, config.iterations, state.episodes, float(mean[0]), float(mean[1]))


def train(
    config: PGConfig,
    family: TaskFamily,
    folder: PGFolder,
    *,
    resume: bool = False,
    save_seconds: float = 5.0,
    on_progress: Callable[[PGProgress], None] | None = None,
) -> PGRun:
    """Train until the episode budget is used. The result depends on `config` alone, not on interruptions.

    Raises:
        CheckpointError: the folder holds a run and `resume` is not set, or one of another configuration.
    """
    learner = Learner(config, family)
    if resume and folder.file.exists():
        run = folder.load()
        different = config_differences(run.config, config)
        if different:
            raise CheckpointError(
                f"{folder.path} was made with other settings ({', '.join(different)}); resume it with its own, or "
                "choose another --out."
            )
    else:
        folder.create(config, again=resume)  # a run that was killed before its first checkpoint begins anew
        run = PGRun(config, _initial(learner))
        folder.save(run)
    rows = metrics_until(folder.metrics_file, run.state.iteration)
    lines = [json.dumps(row) + "\n" for row in rows]
    saved = time.monotonic()
    while run.state.iteration < config.iterations:
        state, progress = learner.step(run.state)
        run = PGRun(config, state)
        log_std = state.theta[config.policy.dimension :].mean()
        row = {
            "iteration": progress.iteration,
            "episodes": progress.episodes,
            "mean_return": progress.after,
            "before": progress.before,
            "log_std": float(log_std),
        }
        lines.append(json.dumps(row) + "\n")
        if time.monotonic() - saved >= save_seconds or state.iteration == config.iterations:
            saved = time.monotonic()
            atomic_write_text(folder.metrics_file, "".join(lines), error=CheckpointError)
            folder.save(run)
        if on_progress is not None:
            on_progress(progress)
    return run


def _initial(learner: Learner) -> MetaState:
    config = learner.config
    return start(learner.policy.start(config.initial, config.initial_gain, config.initial_log_std, config.seed))
