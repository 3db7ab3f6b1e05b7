"""A network as fixed-point C that has proven itself: quantised, written, compiled, held against the numpy model.

What export.py (a policy) and export_network.py (an ONNX file) share. The C has to give the model's bits in every row;
what the integers lose against float32 is measured and reported, not judged: how much is too much, only the robot says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ExportError
from esmaml_robot.files import atomic_write_text

from .c_source import render
from .compiler import compile_c, run
from .fixed_c import DEFAULT_VECTORS, render_fixed_c
from .fixed_counts import counts_of, limits_of
from .fixed_layer import Bits
from .fixed_model import input_values, output_values
from .fixed_model import run as run_model
from .fixed_plan import INT16, Counts, FixedNetwork
from .fixed_quantise import quantise
from .float_model import forward32
from .network import Network

F64 = npt.NDArray[np.float64]
I16 = npt.NDArray[np.int16]

#: Formats of `esmaml export`: bits of a weight.
FIXED_FORMATS: dict[str, Bits] = {"c-int16": 16, "c-int8": 8}


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a network is quantised with.

    Attributes:
        inputs, outputs: in counts.
        rows: values of the inputs, (rows, inputs).
        source: where the rows are from, in words.
    """

    inputs: tuple[Counts, ...]
    outputs: tuple[Counts, ...]
    rows: F64
    source: str


@dataclass(frozen=True)
class FixedReport:
    """One format, written and compared.

    Attributes:
        format: one of FIXED_FORMATS.
        name: of the files and functions.
        fixed_hash: of all that the bits depend on.
        rows, source: calibration rows, and where they are from.
        samples, seed: random rows of counts that C was compared on, beside the calibration rows; the bits were equal.
        error: largest |float32 - fixed| on the calibration rows, as a share of an output's range.
        error_counts: the same in counts of the output.
        error_anywhere: as `error`, on random counts within the inputs' limits.
        bounds: formats and accumulators, a line a layer.
        closed_loop: episodes in float32 and in fixed point, where there is a simulation.
    """

    format: str
    name: str
    fixed_hash: str
    rows: int
    source: str
    samples: int
    seed: int
    error: float
    error_counts: float
    error_anywhere: float
    bounds: tuple[str, ...]
    closed_loop: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"bounds": list(self.bounds)}

    def lines(self) -> list[str]:
        """The report for a terminal."""
        out = [
            f"{self.name}.c, calibrated with {self.rows} rows: {self.source}",
            f"  bit-equal to its numpy model in {self.samples + self.rows} rows, selftest passed",
            f"  max |float32 - {self.format[2:]}| = {self.error:.2g} of an output's range ({self.error_counts:.2g} "
            f"counts) on the calibration rows, {self.error_anywhere:.2g} anywhere",
            *(f"  {line}" for line in self.bounds),
        ]
        if self.closed_loop is not None:
            loop = self.closed_loop
            out.append(
                f"  return on {loop['tasks']} tasks of {loop['family']}: float32 {loop['float32']:.5g}, "
                f"{self.format[2:]} {loop['fixed']:.5g} (difference {loop['difference']:+.2g} ± "
                f"{loop['half_width_95']:.2g})"
            )
        return out


def random_counts(plan: FixedNetwork, samples: int, seed: int) -> I16:
    """Rows of counts (samples, inputs): within the limits, and one in four anywhere in 16 bits or at its ends."""
    rng = np.random.default_rng(seed)
    low, high = limits_of(plan.inputs)
    shape = (samples, len(plan.inputs))
    rows = rng.integers(low, high, shape, endpoint=True)
    rows[1::4] = rng.integers(*INT16, rows[1::4].shape, endpoint=True)
    rows[1::8] = rng.choice([*INT16, 0, -1, 1], rows[1::8].shape)
    return rows.astype(np.int16)


def run_fixed_c(folder: Path, name: str, rows: I16 | None = None) -> tuple[I16, str]:
    """Commands of the C in `folder`, compiled for this machine, one after another, and the hash that it gives.

    Without rows of counts only its selftest runs.

    Raises:
        ExportError: it does not compile, its selftest fails. ToolMissing: no compiler.
    """
    source = folder / f"{name}.c"
    with tempfile.TemporaryDirectory(prefix="esmaml-verify-") as scratch:
        main = Path(scratch) / "filter.c"
        main.write_text(render("fixed_filter.c.j2", name=name, NAME=name.upper()))
        # the user's compiler may know warnings that are not invented yet; the tests are where a warning is an error
        program = compile_c([source, main], Path(scratch) / "filter", include=[folder], extra=["-Wno-error"])
        result, fixed_hash = run([program, "selftest"], f"the selftest of {source.name}").decode().split()
        if result != "0":
            what = {"1": "a test vector is missed", "2": "constants are not those exported"}
            raise ExportError(
                f"the selftest of {source.name} fails ({what.get(result, 'vectors and constants')}); export it again."
            )
        raw = b"" if rows is None else run([program], f"running {source.name}", data=rows.astype("<i2").tobytes())
    return np.frombuffer(raw, "<i2").astype(np.int16), fixed_hash


def _error(network: Network, plan: FixedNetwork, counts: npt.ArrayLike) -> tuple[float, float]:
    """Largest difference to the network in float32: as a share of an output's range, and in counts."""
    low, high = limits_of(plan.outputs)
    scale = np.abs([o.scale for o in plan.outputs])
    exact = forward32(network, input_values(plan, counts)).astype(np.float64)
    off = np.abs(output_values(plan, run_model(plan, counts)) - exact) / scale
    if not np.isfinite(off).all():
        raise ExportError("an output in float32 is not finite for some inputs; nothing can be compared with it.")
    return float((off / (high - low)).max()), float(off.max())


def write_fixed(
    network: Network,
    given: Calibration,
    kind: str,
    folder: Path,
    prefix: str,
    samples: int,
    *,
    origin: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    clock: I16 | None = None,
    seed: int = 0,
) -> tuple[FixedReport, FixedNetwork, list[str]]:
    """Write PREFIX_int16.h and .c (or _int8) of a network into an existing folder, and compare them.

    Args:
        network: the network in float32.
        given: its counts and calibration rows.
        kind: one of FIXED_FORMATS.
        folder: where the files go; a stage, since they are written before they are compared.
        prefix: what the files' names begin with.
        samples: random rows of counts to compare on, at least 1.
        origin, notes, clock: as for `render_fixed_c`.

    Returns:
        The report, the network in integers, and the names of the files.

    Raises:
        ExportError: it does not fit its formats, or C and model differ. ToolMissing: no compiler.
    """
    if samples < 1:
        raise ExportError(f"samples is {samples}; at least 1 is needed.")
    plan = quantise(network, given.inputs, given.outputs, given.rows, FIXED_FORMATS[kind])
    name = f"{prefix}_{kind[2:]}"
    texts = render_fixed_c(plan, name, DEFAULT_VECTORS, origin=origin, notes=notes, clock=clock)
    for file, text in texts.items():
        atomic_write_text(folder / file, text, error=ExportError)
    # the calibration rows may lie beyond what the network's own clip lets through, hence the limits given
    seen = counts_of(given.inputs, given.rows)
    rows = np.concatenate([random_counts(plan, samples, seed), seen.astype(np.int16)])
    wanted = run_model(plan, rows)
    commands, fixed_hash = run_fixed_c(folder, name, rows)
    if commands.size != wanted.size:
        raise ExportError(f"{name}.c gave {commands.size} commands for {len(rows)} rows; nothing was written.")
    found = commands.reshape(wanted.shape)
    if fixed_hash != plan.fixed_hash or (found != wanted).any():
        row = int(np.argmax((found != wanted).any(axis=1)))
        raise ExportError(
            f"{name}.c and its numpy model differ: for the counts {rows[row].tolist()} C gives {found[row].tolist()} "
            f"and the model {wanted[row].tolist()}. Nothing was written; another compiler may do."
        )
    low, high = limits_of(plan.inputs)
    error, error_counts = _error(network, plan, seen)
    anywhere, _ = _error(network, plan, np.clip(rows[:samples], low, high))
    report = FixedReport(
        format=kind,
        name=name,
        fixed_hash=plan.fixed_hash,
        rows=len(seen),
        source=given.source,
        samples=samples,
        seed=seed,
        error=error,
        error_counts=error_counts,
        error_anywhere=anywhere,
        bounds=tuple(plan.describe()),
    )
    return report, plan, list(texts)
