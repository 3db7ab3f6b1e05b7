"""Parameters to begin training with."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from . import directions
from .errors import PolicyError
from .policy_layers import Layer, layers_of
from .policy_spec import PolicySpec
from .search import orthogonal

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

#: Observations are in [-1, 1]: with weights of this size a tanh unit saturates within their range.
FEATURE_SCALE = 3.0

_INITIAL_STREAM = 0x494E4954

InitialScheme = Literal["zeros", "scaled", "rest"]


def initial_theta(spec: PolicySpec, scheme: InitialScheme, gain: float, seed: int) -> F32:
    """Initial parameters, shape (d,); biases are zero in all schemes.

    zeros: all zero. Of low-displacement layers, being products, a first step away from it moves the biases alone.
    scaled: entries of every weight matrix N(0, gain^2 / in), dependent on one another where the layers are compact.
    rest: the robot rests whatever it observes, and yet a small perturbation moves it, which is what an operator
        explores with.
        Dense: half of the first hidden layer has orthogonal input weights of size FEATURE_SCALE (root mean square)
        and is not read yet: features for the outer loop to pick up, spread over all directions. The other half has
        input weights zero and is read with gain times orthonormal rows (Saxe, McClelland, Ganguli, ICLR 2014): it
        amplifies perturbations of its inputs. Layers above are orthonormal. Without a hidden layer it is zeros.
        Toeplitz: the same, with normal deviates times FEATURE_SCALE for the features, and one diagonal for each
        matrix that is to be orthonormal; a Toeplitz matrix with orthonormal rows has no more than that.
        Low displacement: hidden layers are as `scaled`, with FEATURE_SCALE for the gain in the first and 1 above. In
        the output layer g is zero and each Z_-1(h) is gain times the identity: what is added to g is amplified.

    Raises:
        PolicyError: `rest` in Toeplitz layers that are too narrow to carry one diagonal from half of the first hidden
            layer to every output.
    """
    theta = np.zeros(spec.dimension, dtype=np.float32)
    if scheme == "zeros":
        return theta
    draws = directions.directions([directions.fold(seed, _INITIAL_STREAM)], spec.dimension)[0].astype(np.float64)
    layers = layers_of(spec)
    if scheme == "rest" and spec.layers == "toeplitz":
        _require_room(spec)
    for number, layer in enumerate(layers):
        drawn = draws[layer.at : layer.bias_at]
        if spec.displacement_rank is not None:
            if scheme == "scaled":
                weights = _scaled_product(layer, gain, drawn)
            elif layer is layers[-1]:
                weights = _resting_product(spec.displacement_rank, layer, gain)
            else:
                weights = _scaled_product(layer, FEATURE_SCALE if number == 0 else 1.0, drawn)
        elif scheme == "scaled":
            weights = drawn * (gain / layer.inputs**0.5)
        elif not spec.hidden:
            weights = np.zeros_like(drawn)
        elif spec.layers == "toeplitz":
            weights = _resting_toeplitz(number, layer, gain, drawn)
        else:
            weights = _resting_dense(number, gain, drawn.reshape(layer.outputs, layer.inputs)).ravel()
        theta[layer.at : layer.bias_at] = weights
    return theta


def _resting_dense(number: int, gain: float, drawn: F64) -> F64:
    weights = np.zeros_like(drawn)
    n_out, n_in = drawn.shape
    if number == 0:
        features = drawn[: n_out // 2]
        if features.size:
            weights[: n_out // 2] = FEATURE_SCALE * max(features.shape) ** 0.5 * orthogonal(features)
    elif number == 1:
        weights[:, n_in // 2 :] = gain * orthogonal(drawn[:, n_in // 2 :])
    else:
        weights = orthogonal(drawn)
    return weights


def _resting_toeplitz(number: int, layer: Layer, gain: float, drawn: F64) -> F64:
    weights = np.zeros_like(drawn)
    if number == 0:
        # rows from the half on read t[half:] alone, so they are the ones at rest
        half = layer.outputs // 2
        weights[:half] = FEATURE_SCALE * drawn[:half]
    else:
        # W[i, i + skipped]: in the second layer row i reads the i-th unit of those at rest
        skipped = layer.inputs // 2 if number == 1 else 0
        weights[layer.inputs - 1 - skipped] = gain if number == 1 else 1.0
    return weights


def _require_room(spec: PolicySpec) -> None:
    """Every output must be reached from the resting half of the first hidden layer, one unit a layer each."""
    if spec.hidden and spec.outputs > min(spec.hidden[0] - spec.hidden[0] // 2, *spec.hidden):
        raise PolicyError(
            f"initial scheme 'rest' needs hidden Toeplitz layers as wide as the {spec.outputs} outputs, the first one "
            f"twice as wide; the policy is {spec.describe()}. Widen them, or begin with 'scaled' or 'zeros'."
        )


def _scaled_product(layer: Layer, gain: float, drawn: F64) -> F64:
    """Z_-1(h) keeps the size of its input, the sum over Z_1(g) multiplies it by gain."""
    g, h = drawn.reshape(2, -1)
    return np.concatenate([g * (gain / g.size**0.5), h / layer.inputs**0.5])


def _resting_product(rank: int, layer: Layer, gain: float) -> F64:
    weights = np.zeros((2, rank, layer.size))
    weights[1, :, 0] = gain
    return weights.ravel()
