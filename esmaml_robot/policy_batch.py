"""The float32 forward pass of many policies of one architecture side by side. It is described in policy.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import PolicyError
from .float32 import Scratch, clamp, clock_table, relu_in_place, tanh_in_place
from .policy_layers import Stage, stages_of
from .policy_spec import PolicySpec

F32 = npt.NDArray[np.float32]
Ticks = int | npt.NDArray[np.integer]
Rows = slice | npt.NDArray[np.intp] | npt.NDArray[np.bool_]

NORMALISER_CLIP = 10.0

_ALL = slice(None)
_ONE = np.array(1, dtype=np.float32)
_CLIP = np.array(NORMALISER_CLIP, dtype=np.float32)


@dataclass(frozen=True)
class Normaliser:
    """Mean and inverse standard deviation of the observations, float32, shape (inputs,); frozen after training."""

    mean: F32
    inverse_std: F32

    def __post_init__(self) -> None:
        for name in ("mean", "inverse_std"):  # float64 here would change the bits of every action
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=np.float32))

    @staticmethod
    def identity(inputs: int) -> Normaliser:
        return Normaliser(np.zeros(inputs, np.float32), np.ones(inputs, np.float32))

    @property
    def is_identity(self) -> bool:
        return not self.mean.any() and bool((self.inverse_std == 1).all())


class _Run:
    """A stage at work: its matrices, the batch as their last axis, and room for its results.

    Attributes:
        total: (n_out, width), the result, overwritten by the next call.
        as_input: the same numbers as the next stage takes them, (n_out, 1, width).
    """

    def __init__(self, stage: Stage, columns: F32) -> None:
        n_out, n_in = stage.index.shape
        batch = columns.shape[1]
        self.stage = stage
        self._weights: F32 = np.empty((n_in, n_out, batch), dtype=np.float32)
        self._bias: F32 = np.zeros((n_out, batch), dtype=np.float32)
        self.resize(batch)
        self.load(_ALL, columns)

    def resize(self, width: int) -> None:
        """Make room for results of `width` rows."""
        n_in, n_out, _ = self._weights.shape
        # the bias lies before the products, so that one reduction adds up all of them in their order
        self._terms: F32 = np.empty((n_in + 1, n_out, width), dtype=np.float32)
        self._terms[0] = self._bias
        self._products = self._terms[1:]
        self.total: F32 = np.empty((n_out, width), dtype=np.float32)
        self.as_input = self.total[:, None, :]
        self._scratch = Scratch(self.total.shape)

    def load(self, rows: Rows, columns: F32) -> None:
        """Take the parameters (d, k) of k rows."""
        self._weights[:, :, rows] = self.stage.weights(columns).swapaxes(0, 1)
        if self.stage.bias is not None:
            self._bias[:, rows] = columns[self.stage.bias]
            self._terms[0] = self._bias

    def multiply(self, x: F32) -> None:
        """`total` = b + W x for x (n_in, 1, width)."""
        np.multiply(self._weights, x, self._products)
        if self.total.size > 1:
            np.add.reduce(self._terms, axis=0, out=self.total)  # over the outermost axis: in order, one rounding each
        else:  # a single column numpy would add up in pairs
            self.total[0] = np.add.accumulate(self._terms[:, 0, 0])[-1]

    def tanh(self) -> None:
        tanh_in_place(self.total, self._scratch)

    def relu(self) -> None:
        relu_in_place(self.total)


class PolicyBatch:
    """Many parameter vectors of one architecture, run side by side; rows do not influence one another.

    With an action filter a batch has a state, the last action of each row: zero in a new batch and after `reset`.

    Args:
        spec: the architecture.
        params: float32, shape (B, d), or (1, d) for one policy on any number of observations.
        normaliser: of the observations.

    Raises:
        PolicyError: `params` has another shape.
    """

    def __init__(self, spec: PolicySpec, params: F32, normaliser: Normaliser) -> None:
        self._spec = spec
        columns = self._columns(params)
        self._batch = columns.shape[1]
        self._runs = [_Run(stage, columns) for stage in stages_of(spec)]
        self._activate = _Run.tanh if spec.activation == "tanh" else _Run.relu
        self._normalise = not normaliser.is_identity
        self._mean, self._inverse_std = normaliser.mean[:, None], normaliser.inverse_std[:, None]
        self._clock = None if spec.clock_steps is None else clock_table(spec.clock_steps)
        self._alpha = None if spec.action_filter is None else np.array(spec.action_filter, dtype=np.float32)
        self._make_room(self._batch)

    def _columns(self, params: F32) -> F32:
        if params.ndim != 2 or params.shape[1] != self._spec.dimension:
            raise PolicyError(
                f"params have shape {params.shape}; {self._spec.describe()} needs (B, {self._spec.dimension})."
            )
        return np.ascontiguousarray(params.T, dtype=np.float32)

    def _make_room(self, width: int) -> None:
        self._width = width
        self._input: F32 = np.empty((self._spec.network_inputs, width), dtype=np.float32)
        self._previous: F32 = np.zeros((self._spec.outputs, width), dtype=np.float32)

    def _resize(self, width: int) -> None:
        """One policy on another number of observations; its filter begins anew."""
        if self._batch != 1:
            raise PolicyError(
                f"{width} observations were given to a batch of {self._batch} policies; give one to each."
            )
        self._make_room(width)
        for run in self._runs:
            run.resize(width)

    def set_params(self, rows: Rows, params: F32) -> None:
        """Put other parameters into single rows; their filter goes on, so `reset` them where an episode begins.

        Args:
            rows: which rows: an array of k indices, a mask (B,), or a slice.
            params: float32, shape (k, d).

        Raises:
            PolicyError: `params` has another shape.
        """
        columns = self._columns(params)
        for run in self._runs:
            run.load(rows, columns)

    def reset(self, rows: Rows = _ALL) -> None:
        """Begin an episode in `rows` (indices, mask or slice; all of them if not given): their last action is zero."""
        self._previous[:, rows] = 0

    def resume(self, actions: F32) -> None:
        """Let the filter go on from these last actions, shape (outputs, B)."""
        if actions.shape[1] != self._width:
            self._resize(actions.shape[1])
        self._previous[...] = actions

    def act(self, observations: F32, ticks: Ticks = 0) -> F32:
        """One control period of every row.

        Args:
            observations: in [-1, 1], float32, shape (inputs, B).
            ticks: index of the control period in its episode, one for all rows or shape (B,); the clock reads it.

        Returns:
            Actions in [-1, 1], float32, shape (outputs, B); a new array.

        Raises:
            PolicyError: the batch holds another number of policies than there are observations.
        """
        if observations.shape[1] != self._width:
            self._resize(observations.shape[1])
        x = self._network_input(observations, ticks)[:, None, :]
        for run in self._runs:
            run.multiply(x)
            if run.stage.activated:
                self._activate(run)
            x = run.as_input
        actions = clamp(self._runs[-1].total, -_ONE, _ONE)
        if self._alpha is None:
            return actions
        actions -= self._previous
        actions *= self._alpha
        self._previous += actions
        return self._previous.copy()

    def _network_input(self, observations: F32, ticks: Ticks) -> F32:
        if self._clock is None and not self._normalise:
            return observations
        sensors = self._input[: self._spec.inputs]
        if self._normalise:
            np.subtract(observations, self._mean, sensors)
            np.multiply(sensors, self._inverse_std, sensors)
            clamp(sensors, -_CLIP, _CLIP, out=sensors)
        else:
            sensors[...] = observations
        if self._clock is not None:
            self._input[self._spec.inputs :] = self._clock.take(ticks, axis=1, mode="wrap").reshape(2, -1)
        return self._input
