"""A fixed-point network as two C99 files that need nothing else, with the vectors to prove themselves."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esmaml_robot import directions
from esmaml_robot.errors import ExportError
from esmaml_robot.files import atomic_write_text, make_folder

from .c_source import check_name, int_literals, render
from .fixed_model import run
from .fixed_plan import INT16, FixedLayer, FixedNetwork
from .fixed_table import DOMAIN

I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]

DEFAULT_VECTORS = 16
#: Vectors that every network has: limits, beyond them, middle, in turns.
_FIXED_VECTORS = 7


def _even(size: int) -> int:
    return size + size % 2


def _padded(values: I64, *shape: int) -> I64:
    """Zeros behind the values."""
    return np.pad(values, [(0, to - have) for to, have in zip(shape, values.shape, strict=True)])


def stored_weights(layer: FixedLayer, bits: int) -> I64:
    """The weights in the order in which the kernels read them, with zeros where rows or columns are odd."""
    rows, columns = layer.weight.shape
    padded = _padded(layer.weight, _even(rows), _even(columns))
    blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)  # row pair, row, column pair, column
    order = (0, 2, 1, 3) if bits == 16 else (0, 2, 3, 1)
    return blocks.transpose(order).ravel()


def _crc(plan: FixedNetwork, layers: list[dict[str, Any]]) -> int:
    data = b""
    for layer in layers:
        data += layer["stored"].astype("<i2" if plan.bits == 16 else "i1").tobytes()
        for bias, multiplier in zip(layer["stored_bias"], layer["stored_multiplier"], strict=True):
            data += int(bias).to_bytes(4, "little", signed=True) + int(multiplier).to_bytes(2, "little")
    if plan.has_tanh:
        data += plan.table.values.astype("<u2").tobytes()
    return zlib.crc32(data)


def constants_crc(plan: FixedNetwork) -> int:
    """CRC-32 of the constants, as NAME_selftest sums them up."""
    return _crc(plan, _layers(plan)[0])


def make_vectors(plan: FixedNetwork, count: int) -> tuple[I16, I16]:
    """Test vectors: counts (count, inputs), and what they must give (count, outputs).

    First the limits of the inputs and what lies beyond, then the inputs that drive rows of the first layer to their
    largest sums, the rest random, those first that reach no limit of an output: it would hide a wrong weight.
    """
    if count < _FIXED_VECTORS + 1:
        raise ExportError(f"{count} test vectors were asked for; at least {_FIXED_VECTORS + 1} are needed.")
    low, high = (np.array([getattr(i, end) for i in plan.inputs], np.int64) for end in ("low", "high"))
    even = np.arange(len(low)) % 2 == 0
    middle = (low + high) >> 1
    fixed = [low, high, middle, np.where(even, low, high), np.where(even, high, low)]
    fixed += [np.full(len(low), end, np.int64) for end in INT16]
    first = plan.layers[0].weight
    driven = [np.where(first[row] > 0, high, low) for row in range(min(len(first), (count - len(fixed)) // 2))]
    left = count - len(fixed) - len(driven)
    u = directions.uniforms(directions.fold(0, len(low)), 8 * left * len(low)).reshape(-1, len(low))
    pool = np.rint(low + u * (high - low)).astype(np.int64)
    out, last = run(plan, pool), plan.layers[-1]
    limited = ((out <= last.low) | (out >= last.high)).sum(axis=1)
    chosen = pool[np.argsort(limited, kind="stable")[:left]]
    counts = np.concatenate([np.array(fixed + driven), chosen]).astype(np.int16)
    return counts, run(plan, counts)


def _same(values: I64) -> bool:
    return bool((values == values[0]).all())


def _layers(plan: FixedNetwork) -> tuple[list[dict[str, Any]], list[int]]:
    """What the template needs of each layer, and how large ping and pong are."""
    names = ("ping", "pong")
    sizes = [_even(len(plan.inputs)), 2]
    found = []
    for number, layer in enumerate(plan.layers):
        rows, columns = layer.weight.shape
        turn = 1 - number % 2
        sizes[turn] = max(sizes[turn], _even(rows))
        free = bool((layer.low <= INT16[0]).all() and (layer.high >= INT16[1]).all())
        together = _same(layer.low) and _same(layer.high)
        stored = stored_weights(layer, plan.bits)
        bias, multiplier = _padded(layer.bias, _even(rows)), _padded(layer.multiplier, _even(rows))
        found.append(
            {
                "number": layer.number,
                "rows": rows,
                "columns": columns,
                "pairs": _even(columns) // 2,
                "row_pairs": _even(rows) // 2,
                "shift": layer.shift,
                "act": layer.act,
                "alpha": layer.alpha,
                "limit": "none" if free else "all" if together else "each",
                "low": int(layer.low[0]) if together else int_literals(layer.low, "limit"),
                "high": int(layer.high[0]) if together else int_literals(layer.high, "limit"),
                "source": names[1 - turn],
                "target": names[turn],
                "stored": stored,
                "stored_bias": bias,
                "stored_multiplier": multiplier,
                "weights": int_literals(stored, "weight"),
                "bias": int_literals(bias, "bias"),
                "multiplier": int_literals(multiplier, "multiplier"),
            }
        )
    return found, sizes


def _conditions(plan: FixedNetwork) -> dict[str, str | list[str]]:
    """Limits, centre and gain of the inputs: one constant where they are the same for all, else a list."""
    arrays = {
        "low": np.array([i.low for i in plan.inputs]),
        "high": np.array([i.high for i in plan.inputs]),
        "centre": plan.centre,
        "gain": 1 << plan.shift,
    }
    return {
        name: str(int(values[0])) if _same(values) else int_literals(values, name) for name, values in arrays.items()
    }


def _as_strings(assembler: str) -> list[str]:
    """Lines of assembler as what stands between the quotes of C strings; comments stay in the template."""
    lines = (line.split(";")[0].strip() for line in assembler.splitlines())
    return [line.replace('"', '\\"') for line in lines if line]


def render_fixed_c(
    plan: FixedNetwork,
    name: str = "fixed",
    vectors: int = DEFAULT_VECTORS,
    *,
    origin: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    clock: npt.NDArray[np.int16] | None = None,
) -> dict[str, str]:
    """The two files by name, as text.

    Args:
        plan, name, vectors: as for `write_fixed_c`.
        origin: what the network was made from; NAME_KEY "value" in the header, for each.
        notes: lines for the header's comment.
        clock: counts of the last two inputs in each tick of a clock, (steps, 2).

    Raises as `write_fixed_c` does, but for the disk.
    """
    check_name(name)
    plan.check()
    counts, commands = make_vectors(plan, vectors)
    layers, (ping, pong) = _layers(plan)
    condition = _conditions(plan)
    last = plan.layers[-1]
    smlad, avr = (_as_strings(render(f"fixed_dense_{k}.s.j2", name=name, bits=plan.bits)) for k in ("smlad", "avr"))
    constants = sum(layer["stored"].size * plan.bits // 8 + 6 * layer["stored_bias"].size for layer in layers) + (
        2 * len(plan.table.values) if plan.has_tanh else 0
    )
    context: dict[str, Any] = {
        "name": name,
        "NAME": name.upper(),
        "plan": plan,
        "inputs": len(plan.inputs),
        "outputs": len(plan.outputs),
        "widths": "-".join(map(str, [len(plan.inputs), *(len(layer.bias) for layer in plan.layers)])),
        "low": last.low.tolist(),
        "high": last.high.tolist(),
        "layers": layers,
        "order": "a0 a1 b0 b1" if plan.bits == 16 else "a0 b0 a1 b1",
        "limits": {layer["limit"] for layer in layers},
        "leaky": any(layer["act"] == "leaky_relu" for layer in layers),
        "condition": condition,
        "tanh": int_literals(plan.table.values, "tanh"),
        "domain": DOMAIN,
        "ping": ping,
        "pong": pong,
        "buffer_bytes": sum((2 * size + 3) // 4 * 4 for size in (ping, pong)),
        "rom_bytes": constants,
        "vectors": len(counts),
        "vector_counts": [int_literals(row, "vector") for row in counts],
        "vector_commands": [int_literals(row, "vector") for row in commands],
        "vector_bytes": 2 * (counts.size + commands.size),
        "crc": f"0x{_crc(plan, layers):08x}",
        "smlad": smlad,
        "avr": avr,
        "origin": dict(origin or {}),
        "notes": list(notes),
        "clock": [] if clock is None else int_literals(clock, "clock"),
    }
    return {f"{name}.h": render("fixed.h.j2", **context), f"{name}.c": render("fixed.c.j2", **context)}


def write_fixed_c(plan: FixedNetwork, folder: Path, name: str = "fixed", vectors: int = DEFAULT_VECTORS) -> list[Path]:
    """Write NAME.h and NAME.c into `folder` (created if missing); each file is whole or unchanged.

    Args:
        plan: the network in integers.
        folder: where the files go.
        name: of the files, and what their functions begin with.
        vectors: number of test vectors that NAME_selftest replays, at least 8.

    Returns:
        The two paths, header first.

    Raises:
        ExportError: the plan does not fit its formats, or the files cannot be written.
    """
    texts = render_fixed_c(plan, name, vectors)
    folder = make_folder(Path(folder), error=ExportError)
    return [atomic_write_text(folder / file, text, error=ExportError) for file, text in texts.items()]
