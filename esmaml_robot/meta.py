"""Zero-order ES-MAML, the outer loop, as ask/tell with returned state.

Algorithm 1 of Song et al., "ES-MAML: Simple Hessian-Free Meta Learning" (ICLR 2020), maximising

    J(theta) = E_T f^T(U(theta, T))

with antithetic pairs: pair i has one direction g_i, one task T_i and one operator seed, shared by both halves, so
that the difference of the two returns is about the direction and nothing else. A pair with a failed half is dropped.

    for t = 0, 1, ...:   v_i(+-) = f^{T_i}( U(theta +- sigma g_i, T_i) )
                         theta  <- optimiser( 1/(2 n sigma) sum_i (v_i(+) - v_i(-)) g_i )

A work item is (iteration, pair, half): three numbers; everything else is a function of them and the run's seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from . import directions
from .errors import PolicyError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

_DIRECTION, _TASK, _OPERATOR, _SCORE = 1, 2, 3, 4


class MetaConfig(BaseModel):
    """Outer loop: pairs n; sigma; optimiser and learning rate; fitness shaping; averaging.

    learning_rate_final: the learning rate goes there linearly over the run; unset, it stays.

    averaging: the meta-policy is a running mean of theta over about that many iterations (Polyak and Juditsky,
    "Acceleration of stochastic approximation by averaging", 1992); 1 takes the last theta.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pairs: Annotated[int, Field(ge=1, le=100000)] = 64
    sigma: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 0.2
    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05
    learning_rate_final: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    second_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    shaping: Literal["std", "centred_ranks", "none"] = "std"
    averaging: Annotated[int, Field(ge=1, le=10000)] = 20

    def rate(self, progress: float) -> float:
        """Learning rate at `progress` (0 at the start of the run, 1 at its end)."""
        final = self.learning_rate if self.learning_rate_final is None else self.learning_rate_final
        return self.learning_rate + (final - self.learning_rate) * min(1.0, progress)


@dataclass(frozen=True)
class MetaState:
    """theta (d,) float64 master copy; its running mean (d,); optimiser moments (d,); iteration; episodes so far."""

    theta: F64
    mean: F64
    first: F64
    second: F64
    iteration: int
    episodes: int

    @property
    def params(self) -> F32:
        """Theta as float32: the point around which the next iteration evaluates."""
        return self.theta.astype(np.float32)

    @property
    def result(self) -> F32:
        """The running mean as float32: the meta-policy's parameters."""
        return self.mean.astype(np.float32)


@dataclass(frozen=True)
class WorkItem:
    """One half of a pair: the start of an adaptation and everything random about it."""

    direction_seed: int
    sign: int
    task_index: int
    operator_seed: int
    score_seed: int


def start(theta: F32) -> MetaState:
    t = theta.astype(np.float64)
    return MetaState(t, t.copy(), np.zeros_like(t), np.zeros_like(t), 0, 0)


def work_items(config: MetaConfig, run_seed: int, iteration: int) -> list[WorkItem]:
    """The 2 n items of an iteration; items 2 i and 2 i + 1 are the + and - half of pair i."""
    root = directions.fold(run_seed, iteration)
    places = np.arange(config.pairs)
    columns = [
        directions.fold_many(directions.fold(root, what), places) for what in (_DIRECTION, _TASK, _OPERATOR, _SCORE)
    ]
    return [
        WorkItem(int(direction), sign, int(task), int(operator), int(score))
        for direction, task, operator, score in zip(*columns, strict=True)
        for sign in (1, -1)
    ]


def perturbed(params: F32, sigma: float, items: list[WorkItem]) -> F32:
    """Theta + sign * sigma * g of each item, (len(items), d)."""
    rows = directions.directions([i.direction_seed for i in items], params.shape[0])
    signed = np.array([i.sign * sigma for i in items], dtype=np.float32)
    moved: F32 = params + signed[:, None] * rows
    return moved


def shape_fitness(values: F64, shaping: str) -> F64:
    """Values (n, 2) of whole pairs to fitness: over their standard deviation, centred ranks in +-1/2, or as is."""
    if shaping == "none":
        return values
    if shaping == "std":
        spread = float(np.std(values))
        return values / spread if spread > 0 else np.zeros_like(values)
    flat = values.ravel()
    ranks = np.empty(flat.size)
    ranks[np.argsort(flat, kind="stable")] = np.arange(flat.size)
    # equal values share the mean of their ranks: a flat objective gives no gradient
    _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
    ranks = (np.bincount(inverse, weights=ranks) / counts)[inverse]
    return (ranks / max(1, flat.size - 1) - 0.5).reshape(values.shape)


def tell(
    config: MetaConfig,
    state: MetaState,
    items: list[WorkItem],
    values: npt.ArrayLike,
    episodes: int,
    progress: float = 0.0,
) -> MetaState:
    """One ascent step.

    Args:
        values: returns after adaptation, (2 n,), in the order of `items`; NaN marks a failed half.
        episodes: episodes that the iteration took.
        progress: how far the run is, 0 to 1; decides the learning rate.

    Raises:
        PolicyError: no pair is whole, or the step would leave theta not finite.
    """
    v = np.asarray(values, dtype=np.float64).reshape(-1, 2)
    whole = np.isfinite(v).all(axis=1)
    if not whole.any():
        raise PolicyError(f"iteration {state.iteration}: every pair has a failed episode; look at the simulation.")
    fitness = shape_fitness(v[whole], config.shaping)
    seeds = np.array([i.direction_seed for i in items[::2]], dtype=np.uint32)[whole]
    rows = directions.directions(seeds, len(state.theta)).astype(np.float64)
    difference = fitness[:, 0] - fitness[:, 1]
    gradient = (difference[:, None] * rows).sum(axis=0) / (2.0 * len(seeds) * config.sigma)
    t, rate = state.iteration + 1, config.rate(progress)
    if config.optimiser == "adam":
        first = config.momentum * state.first + (1.0 - config.momentum) * gradient
        second = config.second_momentum * state.second + (1.0 - config.second_momentum) * gradient * gradient
        unbiased_first = first / (1.0 - config.momentum**t)
        unbiased_second = second / (1.0 - config.second_momentum**t)
        theta = state.theta + rate * unbiased_first / (np.sqrt(unbiased_second) + 1e-8)
    else:
        first, second = config.momentum * state.first + gradient, state.second
        theta = state.theta + rate * first
    if not np.isfinite(theta).all():
        raise PolicyError(f"iteration {state.iteration}: the step left theta not finite; lower the learning rate.")
    mean = state.mean + (theta - state.mean) / min(t, config.averaging)
    return replace(
        state, theta=theta, mean=mean, first=first, second=second, iteration=t, episodes=state.episodes + episodes
    )
