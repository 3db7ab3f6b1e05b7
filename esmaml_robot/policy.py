"""Policies: specification, flat parameter layout, float32 forward pass, frozen observation normaliser.

Flat layout of theta, the same in checkpoint, ONNX, C and on the wire: layer after layer, for each layer the weight
matrix W[out, in] row by row, then the bias b[out]. A policy 2-8-2 has 8*2 + 8 + 2*8 + 2 = 42 parameters.

The forward pass maps observations in [-1, 1] to actions in [-1, 1]:

    x = clip((obs - mean) * inverse_std, -10, 10)            the normaliser, frozen after training
    x = tanh(b + W x)                                        each hidden layer
    a = clip(b + W x, -1, 1)                                 output layer

It is written so that C repeats it bit for bit: float32, one rounding an operation, products added to the bias in the
order of the inputs, and a tanh made of additions, products and one division.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from . import directions, identity
from .errors import PolicyError

F32 = npt.NDArray[np.float32]

NORMALISER_CLIP = 10.0

#: Observations are in [-1, 1]: with weights of this size a tanh unit saturates within their range.
FEATURE_SCALE = 3.0

_INITIAL_STREAM = 0x494E4954

# tanh(x) ~ x P(x^2) / Q(x^2) on |x| <= TANH_LIMIT, a weighted least-squares fit driven to equal ripple (relative
# error 1.5e-7 before rounding; 4.2e-7 absolute in float32, largest at |x| ~ 3). Lowest power first.
TANH_LIMIT = 8.0
TANH_P = (0.9999998807907104, 0.12925657629966736, 0.0029510182794183493, 1.142836390499724e-05)
TANH_Q = (1.0, 0.46258872747421265, 0.02381553128361702, 0.00023866837727837265, 2.4591921032879327e-07)


class PolicySpec(BaseModel):
    """Architecture of a policy: sizes and activation, nothing that training changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: Annotated[int, Field(ge=1, le=256)]
    outputs: Annotated[int, Field(ge=1, le=64)]
    hidden: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = (8,)
    activation: Literal["tanh"] = "tanh"

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.inputs, *self.hidden, self.outputs)

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each layer."""
        return tuple(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return sum(n_in * n_out + n_out for n_in, n_out in self.layers)

    @property
    def layout_hash(self) -> str:
        return identity.digest_json(self.model_dump(mode="json"))

    def describe(self) -> str:
        kind = "linear" if not self.hidden else f"{self.activation} MLP"
        return f"{kind} {'-'.join(map(str, self.sizes))}, {self.dimension} parameters"


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


@dataclass(frozen=True)
class Policy:
    """A policy with its parameters: what is deployed.

    Raises PolicyError when theta has the wrong size or holds NaN or infinity.
    """

    spec: PolicySpec
    theta: F32
    normaliser: Normaliser

    def __post_init__(self) -> None:
        object.__setattr__(self, "theta", check_theta(self.spec, self.theta))
        for name in ("mean", "inverse_std"):
            values = np.asarray(getattr(self.normaliser, name))
            if values.shape != (self.spec.inputs,) or not np.isfinite(values).all():
                raise PolicyError(f"the normaliser's {name} needs {self.spec.inputs} finite numbers; train again.")

    @property
    def policy_hash(self) -> str:
        parts = (self.theta, self.normaliser.mean, self.normaliser.inverse_std)
        data = b"".join(np.ascontiguousarray(p, dtype="<f4").tobytes() for p in parts)
        return identity.digest(self.spec.layout_hash.encode() + data)

    def act(self, observations: F32) -> F32:
        """Observations (B, inputs) in [-1, 1] to actions (B, outputs) in [-1, 1]."""
        batch = PolicyBatch(self.spec, self.theta[None, :], self.normaliser)
        return batch.act(np.ascontiguousarray(np.asarray(observations, np.float32).T)).T.copy()


def check_theta(spec: PolicySpec, theta: npt.ArrayLike) -> F32:
    """`theta` as a contiguous float32 vector of the right size, or PolicyError."""
    vector = np.ascontiguousarray(theta, dtype=np.float32)
    if vector.shape != (spec.dimension,):
        raise PolicyError(f"theta has shape {vector.shape}; {spec.describe()} needs ({spec.dimension},).")
    bad = np.flatnonzero(~np.isfinite(vector))
    if bad.size:
        raise PolicyError(
            f"theta[{bad[0]}] is {vector[bad[0]]} ({bad.size} of {vector.size} parameters are not finite); "
            "this policy cannot be used: go back to an earlier checkpoint or lower the step size."
        )
    return vector


_ONE = np.float32(1)
_LIMIT = np.float32(TANH_LIMIT)
_P = tuple(np.float32(c) for c in TANH_P)
_Q = tuple(np.float32(c) for c in TANH_Q)


def clamp(x: F32, low: np.float32, high: np.float32) -> F32:
    """`x` limited to [low, high]; NaN stays NaN. Two ufuncs, which numpy runs three times faster than its clip."""
    limited: F32 = np.minimum(np.maximum(x, low), high)
    return limited


def tanh32(x: F32) -> F32:
    """Tanh in float32 out of +, *, / and clip: the same bits as the C runtime's."""
    x = clamp(x, -_LIMIT, _LIMIT)
    t = x * x
    p = t * _P[-1]
    for c in _P[-2:0:-1]:
        p += c
        p *= t
    p += _P[0]
    q = t * _Q[-1]
    for c in _Q[-2:0:-1]:
        q += c
        q *= t
    q += _Q[0]
    p *= x
    p /= q
    return p


class PolicyBatch:
    """Many parameter vectors of one architecture, run side by side.

    Args:
        params: float32, shape (B, d), or (1, d) for one policy on many observations.
    """

    def __init__(self, spec: PolicySpec, params: F32, normaliser: Normaliser) -> None:
        if params.ndim != 2 or params.shape[1] != spec.dimension:
            raise PolicyError(f"params have shape {params.shape}; {spec.describe()} needs (B, {spec.dimension}).")
        columns = np.ascontiguousarray(params.T, dtype=np.float32)
        batch = columns.shape[1]
        self._layers: list[tuple[F32, F32]] = []  # weights (in, out, B), bias (out, B): the batch runs contiguously
        at = 0
        for n_in, n_out in spec.layers:
            w = columns[at : at + n_in * n_out].reshape(n_out, n_in, batch).swapaxes(0, 1)
            at += n_in * n_out
            self._layers.append((np.ascontiguousarray(w), columns[at : at + n_out]))
            at += n_out
        self._normaliser = None if normaliser.is_identity else normaliser

    def act(self, observations: F32) -> F32:
        """Observations (inputs, B) in [-1, 1] to actions (outputs, B) in [-1, 1]."""
        x = observations
        if self._normaliser is not None:
            x = (x - self._normaliser.mean[:, None]) * self._normaliser.inverse_std[:, None]
            x = clamp(x, np.float32(-NORMALISER_CLIP), np.float32(NORMALISER_CLIP))
        for index, (weights, bias) in enumerate(self._layers):
            products = weights * x[:, None, :]
            total = bias + products[0]
            for product in products[1:]:  # in the order of the inputs, one rounding each, as C does it
                total += product
            x = tanh32(total) if index < len(self._layers) - 1 else total
        return clamp(x, -_ONE, _ONE)


InitialScheme = Literal["zeros", "scaled", "rest"]


def initial_theta(spec: PolicySpec, scheme: InitialScheme, gain: float, seed: int) -> F32:
    """Initial parameters, shape (d,).

    zeros: all zero.
    scaled: weights N(0, gain^2 / in), biases zero, in every layer.
    rest: the robot rests whatever it observes, and yet a small perturbation moves it, which is what an operator
        explores with. Half of the first hidden layer has orthogonal input weights of size FEATURE_SCALE (root mean
        square) and is not read yet: features for the outer loop to pick up, spread over all directions. The other
        half has input weights zero and is read with gain times orthonormal rows (Saxe, McClelland, Ganguli, ICLR
        2014): it amplifies perturbations of its inputs. Layers above are orthonormal. Without a hidden layer it is
        zeros.
    """
    theta = np.zeros(spec.dimension, dtype=np.float32)
    if scheme == "zeros":
        return theta
    draws = directions.directions([directions.fold(seed, _INITIAL_STREAM)], spec.dimension)[0].astype(np.float64)
    at = 0
    for layer, (n_in, n_out) in enumerate(spec.layers):
        here = slice(at, at + n_in * n_out)
        drawn = draws[here].reshape(n_out, n_in)
        weights = np.zeros_like(drawn)
        if scheme == "scaled":
            weights = drawn * (gain / n_in**0.5)
        elif layer == 0 and spec.hidden:
            features = drawn[: n_out // 2]
            weights[: n_out // 2] = FEATURE_SCALE * max(features.shape) ** 0.5 * orthogonal(features)
        elif layer == 1:
            weights[:, n_in // 2 :] = gain * orthogonal(drawn[:, n_in // 2 :])
        elif layer > 1:
            weights = orthogonal(drawn)
        theta[here] = weights.ravel()
        at += n_in * n_out + n_out
    return theta


def orthogonal(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The rows of a full-rank matrix (the columns, if those are fewer) made orthonormal, by modified Gram-Schmidt."""
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    rows: list[npt.NDArray[np.float64]] = []
    for row in matrix:
        rest = row.copy()
        for done in rows:
            rest = rest - (rest * done).sum() * done
        rows.append(rest / np.sqrt((rest * rest).sum()))
    return np.stack(rows)
