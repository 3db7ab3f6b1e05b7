"""A Network as two C99 files, float32: what is frozen at export, arranged for speed.

Weights are interleaved in blocks of rows, so that one kernel with independent sums reads them in a straight line. Each
row still adds its products in the order of the inputs, so the bits are those of firmware_export/float_model.py.
Elementwise layers in a row become one loop. Activations live in one buffer, which the caller owns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from esmaml_robot import identity
from esmaml_robot.errors import ExportError

from . import float_functions as functions
from .c_source import check_name, float_literal, float_literals, render
from .float_model import make_vectors, tolerance
from .network import Activation, Clip, Dense, Layer, Network, Scale

F32 = npt.NDArray[np.float32]

DEFAULT_VECTORS = 16
#: Rows side by side, largest first: eight sums, eight products and an input fit the registers of a Cortex-M4F.
BLOCKS = (8, 4, 2, 1)

_FUNCTIONS = {"tanh": "tanh_of", "sigmoid": "sigmoid_of", "elu": "elu_of", "softsign": "softsign_of"}


def network_hash(network: Network) -> str:
    """What a network is known by: 16 hex digits of names, layers and numbers."""
    parts = ["\n".join((*network.inputs, "->", *network.outputs)).encode()]
    for layer in network.layers:
        parts.append(type(layer).__name__.encode())
        parts += [
            v.astype("<f4").tobytes() if isinstance(v, np.ndarray) else repr(v).encode() for v in vars(layer).values()
        ]
    return identity.digest(b"\0".join(parts))


def blocks_of(rows: int) -> list[tuple[int, int]]:
    """(rows of a block, where it begins), largest blocks first."""
    found, at = [], 0
    for size in BLOCKS:
        while rows - at >= size:
            found.append((size, at))
            at += size
    return found


def interleaved(layer: Dense) -> F32:
    """Bias and weights as the kernels read them: for each block its biases, then input by input its weights."""
    parts = []
    for size, at in blocks_of(len(layer.bias)):
        parts += [layer.bias[at : at + size], layer.weight[at : at + size].T.ravel()]
    return np.concatenate(parts).astype(np.float32)


@dataclass
class _Plan:
    """Steps and tables in the making; `needs` are the functions in use, `work` the floats of the buffer."""

    tables: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    needs: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(("expm1", *_FUNCTIONS), False))
    blocks: set[int] = field(default_factory=set)
    work: int = 0

    def table(self, name: str, values: F32, what: str) -> str:
        literals = float_literals(np.ascontiguousarray(values), f"{what}, {name}")
        self.tables.append({"name": name, "size": len(literals), "values": literals, "what": what})
        return name

    def operand(self, name: str, values: F32, what: str) -> str:
        """A constant where all entries are the same bits, else an entry of a table."""
        if len(set(values.view(np.uint32).tolist())) == 1:
            return float_literal(values[0], what)
        return f"rom_f32(&{self.table(name, values, what)}[i])"


def _lines(plan: _Plan, number: int, layer: Layer) -> list[str]:
    """What an elementwise layer does to v, in C."""
    out: list[str] = []
    if isinstance(layer, Scale):
        if layer.centre.any():
            out.append(f"v = v - {plan.operand(f'centre{number}', layer.centre, f'layer {number}: centre')};")
        if not (layer.gain == 1).all():
            out.append(f"v = v * {plan.operand(f'gain{number}', layer.gain, f'layer {number}: gain')};")
    elif isinstance(layer, Clip):
        for name, values, sign in (("low", layer.low, "<"), ("high", layer.high, ">")):
            if np.isinf(values).all():
                continue
            # a limit that is infinite has no constant in C; the largest float32 lets everything through but infinity
            largest = np.float32(np.finfo(np.float32).max)
            finite = np.clip(values, -largest, largest).astype(np.float32)
            bound = plan.operand(f"{name}{number}", finite, f"layer {number}: {name}")
            out.append(f"v = v {sign} {bound} ? {bound} : v;")
    elif isinstance(layer, Activation):
        if layer.kind == "relu":
            out.append("v = v <= 0.0f ? 0.0f : v;")
        elif layer.kind == "leaky_relu":
            out.append(f"v = v < 0.0f ? v * {_alpha(layer)} : v;")
        else:
            plan.needs[layer.kind] = True
            plan.needs["expm1"] |= layer.kind != "softsign"
            argument = f", {_alpha(layer, 2)}" if layer.kind == "elu" else ""
            out.append(f"v = {_FUNCTIONS[layer.kind]}(v{argument});")
    return out


def _alpha(layer: Activation, times: int = 1) -> str:
    return float_literal(np.float32(times) * np.float32(layer.alpha), f"alpha of {layer.kind}")


def describe(layer: Layer) -> str:
    """One layer in words."""
    if isinstance(layer, Dense):
        return f"dense, {layer.weight.shape[1]} to {layer.weight.shape[0]}"
    if isinstance(layer, Scale):
        return "(x - centre) * gain"
    if isinstance(layer, Clip):
        low, high = (sorted({float(v) for v in values}) for values in (layer.low, layer.high))
        return f"clip to [{low[0]:g}, {high[-1]:g}]" + (", limits differ" if len(low) + len(high) > 2 else "")
    return layer.kind + (f", alpha {layer.alpha:g}" if layer.kind in ("leaky_relu", "elu") else "")


def _make_plan(network: Network) -> _Plan:
    """Tables and steps. Vectors between two steps lie in the buffer, at its two ends in turn."""
    plan, widths = _Plan(), network.widths
    indexed = list(enumerate(network.layers))
    groups = [list(g) for _, g in groupby(indexed, lambda item: item[0] if isinstance(item[1], Dense) else -1)]
    last_dense = max((n for n, layer in indexed if isinstance(layer, Dense)), default=-1)
    held: list[int] = []  # widths of the vectors in the buffer, in the order in which they are made
    source: str | int = "x"
    for group in groups:
        number, layer = group[0]
        width = widths[group[-1][0] + 1]
        step: dict[str, Any] = {"what": "; ".join(f"layer {n}: {describe(one)}" for n, one in group), "source": source}
        in_place = not isinstance(layer, Dense) and source != "x"
        if number >= last_dense:
            target: str | int = "y"
        elif in_place:
            target = source
        else:
            target = len(held)
            held.append(width)
        if isinstance(layer, Dense):
            sizes = blocks_of(width)
            plan.blocks |= {size for size, _ in sizes}
            table = plan.table(f"weights{number}", interleaved(layer), f"layer {number}: blocks of biases and weights")
            step |= {"kind": "dense", "table": table, "blocks": sizes, "inputs": widths[number]}
        else:
            lines = [line for n, one in group for line in _lines(plan, n, one)]
            step |= {"kind": "loop", "width": width, "lines": lines}
        plan.steps.append(step | {"target": target})
        source = target
    if source != "y":
        plan.steps.append(
            {"what": "nothing to compute", "source": source, "target": "y", "kind": "loop", "width": widths[-1],
             "lines": []}
        )  # fmt: skip
    plan.work = max((a + b for a, b in pairwise([*held, 0])), default=0)
    for step in plan.steps:
        for end in ("source", "target"):
            if isinstance(step[end], int):
                offset = plan.work - held[step[end]] if step[end] % 2 else 0
                step[end] = f"(work + {offset})" if offset else "work"
    return plan


def render_network_c(
    network: Network,
    name: str = "network",
    origin: str = "a network",
    notes: Sequence[str] = (),
    vectors: int = DEFAULT_VECTORS,
) -> dict[str, str]:
    """The two files, name.h and name.c, as text.

    Args:
        network: what to export; it has checked that its numbers are finite.
        name: of the files and what the functions begin with.
        origin: what it was made from, for the header's comment.
        notes: lines for the header's comment.
        vectors: test vectors that the selftest replays.

    Raises:
        ExportError: the name cannot begin a C function, there is nothing to compute, or an output of a test vector is
            not finite.
    """
    check_name(name)
    if not network.layers:
        raise ExportError("the network has no layers; there is nothing to export.")
    plan = _make_plan(network)
    x, y = make_vectors(network, vectors)
    if not np.isfinite(y).all():
        row = int(np.flatnonzero(~np.isfinite(y).all(axis=1))[0])
        raise ExportError(f"an output is not finite for the inputs {x[row].tolist()}: a sum overflows float32.")
    constants = {
        "polynomial": [float_literal(np.float32(c), "polynomial") for c in functions.POLYNOMIAL],
        "two_over_ln2": float_literal(functions.TWO_OVER_LN2, "2 / ln 2"),
        "half_ln2": float_literal(functions.HALF_LN2, "ln(2) / 2"),
        "round": float_literal(functions.ROUND, "rounding constant"),
        "tanh_limit_bits": f"0x{np.float32(functions.TANH_LIMIT).view(np.uint32):08X}",
        "lowest": float_literal(functions.LOWEST, "lowest exponent"),
        "highest": float_literal(functions.HIGHEST, "highest exponent"),
    }
    context: dict[str, Any] = {
        "name": name,
        "NAME": name.upper(),
        "origin": origin,
        "notes": list(notes),
        "shape": network.describe(),
        "layers_are": [f"{describe(layer)}" for layer in network.layers],
        "inputs": network.inputs,
        "outputs": network.outputs,
        "hash": network_hash(network),
        "work": max(plan.work, 1),
        "work_used": plan.work > 0,
        "tables": plan.tables,
        "steps": plan.steps,
        "loops": any(step["kind"] == "loop" for step in plan.steps),
        "needs": plan.needs,
        "dense": bool(plan.blocks),
        "blocks": sorted(plan.blocks, reverse=True),
        "constants": constants,
        "vectors": [
            (float_literals(a, "test vector"), float_literals(b, "test vector")) for a, b in zip(x, y, strict=True)
        ],
        "inverse_tolerance": float_literals((1 / tolerance(network, x)).astype(np.float32), "1 / tolerance"),
        "constant_bytes": 4 * sum(t["size"] for t in plan.tables),
        "vector_bytes": 4 * (x.size + y.size + y.shape[1]),
        "products": network.products,
        "functions": sum(
            width for width, layer in zip(network.widths[1:], network.layers, strict=True)
            if isinstance(layer, Activation) and layer.kind in _FUNCTIONS
        ),
    }  # fmt: skip
    return {f"{name}.{end}": render(f"network.{end}.j2", **context) for end in ("h", "c")}
