"""The numpy model of a fixed-point network: integers only, and the definition of the bits that the C gives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .fixed_plan import INT16, INT32, FixedLayer, FixedNetwork
from .fixed_table import TanhTable

I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


def condition(plan: FixedNetwork, counts: npt.ArrayLike) -> I64:
    """Counts (batch, inputs) to what the first layer multiplies."""
    low, high = (np.array([getattr(i, end) for i in plan.inputs], np.int64) for end in ("low", "high"))
    x: I64 = (np.clip(np.asarray(counts).astype(np.int64), low, high) - plan.centre) << plan.shift
    return x


def accumulate(layer: FixedLayer, x: I64) -> I64:
    """Bias + W x, (batch, columns) -> (batch, rows). Raises OverflowError where 32 bits would not hold it."""
    # products of integers below 2^53 are exact in float64, and its matrix product is the fast one
    products = x.astype(np.float64) @ layer.weight.T.astype(np.float64)
    a: I64 = products.astype(np.int64) + layer.bias
    if a.size and (a.min() < INT32[0] or a.max() > INT32[1]):
        raise OverflowError(f"layer {layer.number}: an accumulator is beyond 32 bits, which the plan had excluded")
    return a


def finish(layer: FixedLayer, table: TanhTable, a: I64) -> I64:
    """Accumulators (batch, rows) to what the next layer multiplies."""
    z: I64 = np.clip((a * layer.multiplier) >> layer.shift, *INT16)
    if layer.act == "tanh":
        z = table(z)
    elif layer.act == "leaky_relu":
        z = np.where(z < 0, (z * layer.alpha + 2**14) >> 15, z)
    y: I64 = np.minimum(np.maximum(z, layer.low), layer.high)
    return y


def run(plan: FixedNetwork, counts: npt.ArrayLike) -> I16:
    """Counts of the inputs (batch, inputs), any 16-bit integers, to counts of the outputs (batch, outputs)."""
    x = condition(plan, counts)
    for layer in plan.layers:
        x = finish(layer, plan.table, accumulate(layer, x))
    return x.astype(np.int16)


def input_values(plan: FixedNetwork, counts: npt.ArrayLike) -> F64:
    """What counts stand for: the inputs of the network that was quantised, (batch, inputs)."""
    low, high, scale, offset = (
        np.array([getattr(i, key) for i in plan.inputs]) for key in ("low", "high", "scale", "offset")
    )
    values: F64 = np.clip(np.asarray(counts).astype(np.int64), low, high) * scale + offset
    return values


def output_values(plan: FixedNetwork, counts: npt.ArrayLike) -> F64:
    """What the counts of the outputs stand for, (batch, outputs)."""
    scale, offset = (np.array([getattr(o, key) for o in plan.outputs]) for key in ("scale", "offset"))
    values: F64 = np.asarray(counts).astype(np.float64) * scale + offset
    return values
