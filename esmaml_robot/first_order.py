"""First-order ES-MAML, for comparison: the gradient of f^T at the adapted parameters, averaged over tasks.

Song et al., "ES-MAML: Simple Hessian-Free Meta Learning" (ICLR 2020), section on first-order variants:

    theta'_T = U(theta, T)
    g_T      = ESGrad(f^T, theta'_T)                      antithetic pairs of the outer sigma
    theta   <- optimiser( mean over T of g_T )                                   first_order
    theta   <- optimiser( mean over T of (I + alpha H_T) g_T )                   first_order_hessian

H_T, the Hessian of the smoothed f^T at theta, comes from the returns that an ES-gradient operator has asked for anyway:

    H v = 1/(n sigma^2) sum_i (f_i - mean f) (g_i . v) g_i

in products with v only, O(n d) in place of a d x d matrix. A work item is a task: its adaptation and its 2 n rollouts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .adaptation.base import materialise
from .adaptation.es_gradient import ESGradient
from .errors import PolicyError
from .meta import MetaConfig, MetaState, ascend, item_seeds, pair_directions

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U32 = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class TaskItem:
    """One task of an iteration and everything random about it."""

    direction_seed: int
    task_index: int
    operator_seed: int
    score_seed: int


def task_items(config: MetaConfig, run_seed: int, iteration: int) -> list[TaskItem]:
    """The tasks of an iteration."""
    return [TaskItem(*seeds) for seeds in item_seeds(run_seed, iteration, config.tasks)]


def pair_rows(config: MetaConfig, item: TaskItem, dimension: int) -> F32:
    """Directions of the item's pairs, (pairs, d)."""
    return pair_directions(config, item.direction_seed, dimension)


def pair_params(adapted: F32, rows: F32, sigma: float) -> F32:
    """The 2 n points around adapted parameters (d,): first all + halves, then all - halves."""
    offsets = np.float32(sigma) * rows
    points: F32 = np.concatenate([adapted + offsets, adapted - offsets])
    return points


def gradient(rows: F32, values: npt.ArrayLike, sigma: float) -> F64:
    """Antithetic ES gradient out of values (2 n,) at `pair_params`; NaN where a value is not finite."""
    v = np.asarray(values, dtype=np.float64)
    n = len(rows)
    difference = v[:n] - v[n:]
    estimate: F64 = (difference[:, None] * rows.astype(np.float64)).sum(axis=0) / (2.0 * n * sigma)
    return estimate


def hessian_product(operator: ESGradient, theta: F32, operator_seed: int, returns: npt.ArrayLike, vector: F64) -> F64:
    """H v of the smoothed objective at theta (d,), out of what an ES-gradient operator was told there.

    Args:
        returns: of the operator's episodes in the order asked for, the pivot first (`Adapted.history`).

    Where the operator divides returns by their standard deviation, so does this.
    """
    asked = operator.ask(operator.start(theta, operator_seed))
    rows = (materialise([asked])[1:].astype(np.float64) - theta) / operator.sigma
    values = np.asarray(returns, dtype=np.float64)
    spread = float(np.std(values))
    if spread == 0.0:
        return np.zeros_like(vector)
    around = values[1:] - values[1:].mean()
    if operator.normalise:
        around = around / spread
    projections = (rows * vector).sum(axis=1)
    product: F64 = ((around * projections)[:, None] * rows).sum(axis=0) / (len(rows) * operator.sigma**2)
    return product


def tell_gradients(
    config: MetaConfig, state: MetaState, gradients: npt.ArrayLike, episodes: int, progress: float = 0.0
) -> MetaState:
    """One ascent step along the mean of the tasks' gradients (tasks, d); a task with NaN is left out.

    Unless shaping is `none`, the mean is divided by the root mean square of the gradients' components, which makes the
    step independent of the scale of rewards. Raises PolicyError when every task failed.
    """
    g = np.asarray(gradients, dtype=np.float64)
    whole = g[np.isfinite(g).all(axis=1)]
    if not len(whole):
        raise PolicyError(f"iteration {state.iteration}: every task has a failed episode; look at the simulation.")
    mean = whole.mean(axis=0)
    if config.shaping != "none":
        scale = float(np.sqrt((whole * whole).mean()))
        mean = mean / scale if scale > 0 else mean
    return ascend(config, state, mean, episodes, progress)
