"""Zero-order ES-MAML, the outer loop, as ask/tell with returned state.

Algorithm 1 of Song et al., "ES-MAML: Simple Hessian-Free Meta Learning" (ICLR 2020), maximising

    J(theta) = E_T f^T(U(theta, T))

with antithetic pairs: pair i has one direction g_i, one task T_i and one operator seed, shared by both halves, so
that the difference of the two returns is about the direction and nothing else. A pair with a failed half is dropped.

    for t = 0, 1, ...:   v_i(+-) = f^{T_i}( U(theta +- sigma g_i, T_i) )
                         theta  <- optimiser( 1/(2 n sigma) sum_i (v_i(+) - v_i(-)) g_i )

A work item is (iteration, pair, half): three numbers; everything else is a function of them and the run's seed.
The first-order variants, which estimate a gradient at the adapted point instead, are in first_order.py and share the
configuration, the state and `ascend`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from . import directions
from .errors import PolicyError
from .search import DirectionKind, sample_directions

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

_DIRECTION, _TASK, _OPERATOR, _SCORE = 1, 2, 3, 4

#: Directions that dpp chooses as one set: time goes with the third power of a set, so that one of all pairs has no end.
DPP_BLOCK = 16


class MetaConfig(BaseModel):
    """Outer loop: method; pairs n; directions; sigma; optimiser and learning rate; fitness shaping; averaging.

    method: zero_order is Algorithm 1, the default. first_order estimates the gradient of f^T at the adapted
        parameters, first_order_hessian multiplies it with the derivative of an ES-gradient step (first_order.py).
    pairs: antithetic pairs an iteration; for the first-order methods a task.
    directions: how those of the pairs relate, see search.py; dpp chooses DPP_BLOCK at a time.
    tasks: tasks an iteration, for the first-order methods; with zero_order each pair has a task of its own.
    sigma_final, learning_rate_final: go there linearly over the run; unset, they stay.
    score_episodes: episodes whose mean return is the value of adapted parameters, for noisy tasks.

    averaging: the meta-policy is a running mean of theta over about that many iterations (Polyak and Juditsky,
    "Acceleration of stochastic approximation by averaging", 1992); 1 takes the last theta.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["zero_order", "first_order", "first_order_hessian"] = "zero_order"
    pairs: Annotated[int, Field(ge=1, le=100000)] = 64
    tasks: Annotated[int, Field(ge=1, le=100000)] = 8
    directions: DirectionKind = "gaussian"
    sigma: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 0.2
    sigma_final: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None
    score_episodes: Annotated[int, Field(ge=1, le=1000)] = 1
    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05
    learning_rate_final: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    second_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    shaping: Literal["std", "centred_ranks", "none"] = "std"
    averaging: Annotated[int, Field(ge=1, le=10000)] = 20

    @property
    def items(self) -> int:
        """Work items an iteration: halves of pairs, or tasks."""
        return 2 * self.pairs if self.method == "zero_order" else self.tasks

    def rate(self, progress: float) -> float:
        """Learning rate at `progress` (0 at the start of the run, 1 at its end)."""
        return _between(self.learning_rate, self.learning_rate_final, progress)

    def sigma_at(self, progress: float) -> float:
        """Outer sigma at `progress`."""
        return _between(self.sigma, self.sigma_final, progress)


def _between(first: float, final: float | None, progress: float) -> float:
    return first if final is None else first + (final - first) * min(1.0, progress)


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
    """One half of a pair: the start of an adaptation and everything random about it.

    root: seed of all directions of the iteration; `pair` is this one's number among them.
    """

    root: int
    pair: int
    direction_seed: int
    sign: int
    task_index: int
    operator_seed: int
    score_seed: int


def start(theta: F32 | F64) -> MetaState:
    t = theta.astype(np.float64)
    return MetaState(t, t.copy(), np.zeros_like(t), np.zeros_like(t), 0, 0)


def item_seeds(run_seed: int, iteration: int, count: int) -> list[tuple[int, int, int, int]]:
    """Seeds of direction, task, operator and score, for each of `count` places of an iteration."""
    root = directions.fold(run_seed, iteration)
    places = np.arange(count)
    columns = [
        directions.fold_many(directions.fold(root, what), places).tolist()
        for what in (_DIRECTION, _TASK, _OPERATOR, _SCORE)
    ]
    return list(zip(*columns, strict=True))


def work_items(config: MetaConfig, run_seed: int, iteration: int) -> list[WorkItem]:
    """The 2 n items of an iteration; items 2 i and 2 i + 1 are the + and - half of pair i."""
    direction_root = directions.fold(run_seed, iteration, _DIRECTION)
    return [
        WorkItem(direction_root, pair, direction, sign, task, operator, score)
        for pair, (direction, task, operator, score) in enumerate(item_seeds(run_seed, iteration, config.pairs))
        for sign in (1, -1)
    ]


def pair_directions(config: MetaConfig, seed: int, dimension: int) -> F32:
    """Directions of all pairs that share `seed`, (pairs, d); those of dpp in sets of DPP_BLOCK."""
    block = DPP_BLOCK if config.directions == "dpp" else None
    return sample_directions(config.directions, seed, config.pairs, dimension, block=block)


def _rows(config: MetaConfig, items: Sequence[WorkItem], dimension: int) -> F32:
    """The direction of each item, (len(items), d)."""
    if config.directions == "gaussian":  # each from its own seed: no need of the others
        return directions.directions([i.direction_seed for i in items], dimension)
    return pair_directions(config, items[0].root, dimension)[[i.pair for i in items]]


def perturbed(config: MetaConfig, params: F32, items: Sequence[WorkItem], progress: float = 0.0) -> F32:
    """Theta + sign * sigma * g of each item, (len(items), d)."""
    rows = _rows(config, items, params.shape[0])
    sigma = config.sigma_at(progress)
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
    items: Sequence[WorkItem],
    values: npt.ArrayLike,
    episodes: int,
    progress: float = 0.0,
) -> MetaState:
    """One ascent step of the zero-order method.

    Args:
        values: returns after adaptation, (2 n,), in the order of `items`; NaN marks a failed half.
        episodes: episodes that the iteration took.
        progress: how far the run is, 0 to 1; decides the learning rate and sigma.

    Raises:
        PolicyError: no pair is whole, or the step would leave theta not finite.
    """
    v = np.asarray(values, dtype=np.float64).reshape(-1, 2)
    whole = np.isfinite(v).all(axis=1)
    if not whole.any():
        raise PolicyError(f"iteration {state.iteration}: every pair has a failed episode; look at the simulation.")
    fitness = shape_fitness(v[whole], config.shaping)
    rows = _rows(config, items[::2], len(state.theta))[whole].astype(np.float64)
    difference = fitness[:, 0] - fitness[:, 1]
    gradient = (difference[:, None] * rows).sum(axis=0) / (2.0 * len(rows) * config.sigma_at(progress))
    return ascend(config, state, gradient, episodes, progress)


def ascend(config: MetaConfig, state: MetaState, gradient: F64, episodes: int, progress: float = 0.0) -> MetaState:
    """One step of the optimiser along `gradient` (d,). Raises PolicyError when theta would not stay finite."""
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
