"""A Network in float32 as the generated C computes it, bit for bit, and what other float32 forms may differ by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from esmaml_robot import directions

from . import float_functions
from .network import Clip, Dense, Layer, Network, Scale

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


def forward32(network: Network, x: npt.ArrayLike) -> F32:
    """(batch, inputs) -> (batch, outputs), float32, products added to the bias in the order of the inputs."""
    values: F32 = np.atleast_2d(np.asarray(x, np.float32))
    with np.errstate(all="ignore"):
        for layer in network.layers:
            values = _apply(layer, values)
    return values


def _apply(layer: Layer, x: F32) -> F32:
    if isinstance(layer, Dense):
        total: F32 = np.broadcast_to(layer.bias, (len(x), len(layer.bias))).copy()
        for column, weights in zip(x.T, layer.weight.T, strict=True):
            total += column[:, None] * weights
        return total
    if isinstance(layer, Scale):
        return np.asarray((x - layer.centre) * layer.gain, np.float32)
    if isinstance(layer, Clip):
        raised = np.where(x < layer.low, layer.low, x)
        return np.where(raised > layer.high, layer.high, raised)
    return float_functions.activate(layer, x)


def tolerance(network: Network, x: F32) -> F64:
    """What two float32 forms of a network may differ by on inputs x (batch, inputs); shape (outputs,), above zero.

    32 times what rounding amounts to here, measured against the exact answer, plus a part in a million of the largest
    output. Another order of the sums, contraction and another runtime's tanh stay below it; a wrong weight does not.
    """
    exact = network.forward(x)
    off = np.abs(forward32(network, x) - exact).max(axis=0)
    tiny = float(np.finfo(np.float32).tiny)
    return np.asarray(32 * off + 2.0**-20 * np.abs(exact).max(axis=0) + tiny, np.float64)


def _reach(network: Network) -> tuple[F64, F64]:
    """Centre and half width of where the inputs of a network are likely to lie: what its first layer says of them."""
    n = len(network.inputs)
    first = network.layers[0] if network.layers else None
    if isinstance(first, Scale):
        gain = np.abs(first.gain.astype(np.float64))
        return first.centre.astype(np.float64), 2.0 / np.where(gain > 0, gain, 1.0)
    return np.zeros(n), np.full(n, 2.0)


def _probes(network: Network, u: F64) -> F32:
    """Rows of inputs out of rows of [0, 1): one in ten is ten times as far out, the first is all in the middle."""
    centre, half = _reach(network)
    far = np.where(np.arange(len(u)) % 10 == 9, 10.0, 1.0)[:, None]
    rows = centre + far * half * (2 * u - 1)
    rows[0] = centre
    return rows.astype(np.float32)


def probe_inputs(network: Network, rows: int, seed: int) -> F32:
    """Inputs to compare two forms of a network on, (rows, inputs): a function of the seed."""
    return _probes(network, np.random.default_rng(seed).random((rows, len(network.inputs))))


def make_vectors(network: Network, count: int) -> tuple[F32, F32]:
    """Test vectors for the device: inputs (count, inputs) and the outputs that they must give, (count, outputs)."""
    n = len(network.inputs)
    x = _probes(network, directions.uniforms(directions.fold(0, n), count * n).reshape(count, n))
    return x, forward32(network, x)
