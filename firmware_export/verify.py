"""Is the exported file the policy? numpy, onnxruntime and the compiled C, side by side on the same sensor values.

The files in the folder are what is checked, not what was meant to be written: the ONNX file is read by onnxruntime,
the C is compiled with this machine's compiler and runs as a program of its own. Differences are in units of half an
actuator's range (firmware_export/reference.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from esmaml_robot import identity
from esmaml_robot.errors import EsmamlError, ExportError
from esmaml_robot.policy import Policy
from esmaml_robot.robot_spec import RobotSpec

from .c_source import TEMPLATES
from .compiler import compile_c, compiler_version, run
from .onnx_model import OUTPUT_NAME, feeds
from .policy_c import POLICY_FILES
from .reference import TOLERANCE, Memory, Reference, random_memory, random_sensors, reference_of

F32 = npt.NDArray[np.float32]

ONNX_FILE = "policy.onnx"
FORMATS = ("onnx", "c")

_ADVICE = "Export the policy again."
_SELFTEST_RESULTS = {
    1: "a test vector is missed",
    2: "the parameters are not those exported",
    3: "a test vector is missed and the parameters are not those exported",
}


@dataclass(frozen=True)
class VerifyReport:
    """What a comparison found. Differences are the largest ones, in half ranges; None where a format was not checked.

    Attributes:
        samples: sensor rows compared.
        seed: what they are a function of.
        tolerance: what the differences were held against.
        numpy_onnx, onnx_c, numpy_c: largest differences.
        bit_equal: numpy and the compiled C gave the same bits in every row.
        selftest_error: largest error that policy_selftest() found on its embedded vectors.
        compiler, runtime: versions of the C compiler and of onnxruntime.
    """

    samples: int
    seed: int
    tolerance: float
    numpy_onnx: float | None
    onnx_c: float | None
    numpy_c: float | None
    bit_equal: bool | None
    selftest_error: float | None
    compiler: str | None
    runtime: str | None

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report for a terminal, one statement a line; nothing where no float format was compared."""
        if self.compiler is None and self.runtime is None:
            return []
        out = [f"{self.samples} random observations, differences in half ranges, allowed {self.tolerance:g}:"]
        for label, value in (("numpy - onnx", self.numpy_onnx), ("onnx - C", self.onnx_c), ("numpy - C", self.numpy_c)):
            if value is not None:
                equal = ", bit-equal" if label == "numpy - C" and self.bit_equal else ""
                out.append(f"  max |{label}| = {value:.3g}{equal}")
        if self.selftest_error is not None:
            out.append(f"  policy_selftest() passed, largest error {self.selftest_error:.3g}")
        return out


def _need(path: Path) -> Path:
    if not path.is_file():
        raise ExportError(f"{path} does not exist, so it cannot be verified. {_ADVICE}")
    return path


def _require_hashes(reference: Reference, path: Path, found: dict[str, str]) -> None:
    """Raise SpecMismatch unless the file belongs to this robot and this policy."""
    expected = {
        "spec_hash": reference.spec.spec_hash,
        "layout_hash": reference.policy.spec.layout_hash,
        "policy_hash": reference.policy.policy_hash,
    }
    for name, ours in expected.items():
        identity.require_match(
            name, ours, found.get(name, "none"), our_name="the policy", their_name=str(path), advice=_ADVICE
        )


@contextmanager
def _refusal(path: Path) -> Iterator[None]:
    """Turn what onnxruntime raises, which has no common base class, into ExportError."""
    try:
        yield
    except EsmamlError:
        raise
    except Exception as problem:
        raise ExportError(f"onnxruntime refuses {path}: {str(problem).strip()}. {_ADVICE}") from problem


def _run_onnx(reference: Reference, path: Path, sensors: F32, memory: Memory) -> F32:
    """Commands (B, n_actuators) of the ONNX file, by onnxruntime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; they are raised as well
    with _refusal(path):
        session = onnxruntime.InferenceSession(str(_need(path)), options, providers=["CPUExecutionProvider"])
    _require_hashes(reference, path, dict(session.get_modelmeta().custom_metadata_map))
    with _refusal(path):
        commands: F32 = session.run([OUTPUT_NAME], feeds(reference.policy, sensors, memory))[0]
    return commands


def run_selftest(program: Path, source: Path, check: Callable[[dict[str, str]], None]) -> float:
    """Largest error of the test vectors in a compiled policy.c, whose hashes `check` accepts or refuses by an error.

    Args:
        program: `source` and templates/policy_filter.c, compiled.
        source: for messages.

    Raises ExportError where a vector is missed or the parameters are not those exported.
    """
    lines = run([program, "selftest"], f"policy_selftest() of {source}").decode().split()
    if len(lines) != 5:
        raise ExportError(f"policy_selftest() of {source} printed {lines}; five values were expected. {_ADVICE}")
    check(dict(zip(("spec_hash", "layout_hash", "policy_hash"), lines[2:], strict=True)))
    result, error = int(lines[0]), float(lines[1])
    if result != 0:
        raise ExportError(
            f"policy_selftest() of {source} fails: {_SELFTEST_RESULTS.get(result, 'unknown result')} "
            f"(result {result}), largest error {error:g}. {_ADVICE}"
        )
    return error


def _run_c(reference: Reference, folder: Path, sensors: F32, memory: Memory) -> tuple[F32, float]:
    """Commands (B, n_actuators) of the compiled policy.c, and the largest error of its selftest."""
    header, source = (_need(folder / name) for name in POLICY_FILES)
    with tempfile.TemporaryDirectory(prefix="esmaml-verify-") as scratch:
        # the user's compiler may know warnings that are not invented yet; the tests are where a warning is an error
        program = compile_c(
            [source, TEMPLATES / "policy_filter.c"],
            Path(scratch) / "policy_filter",
            include=[folder],
            extra=["-Wno-error"],
        )
        error = run_selftest(program, source, lambda hashes: _require_hashes(reference, header, hashes))
        rows = np.hstack([sensors, memory.ticks[:, None], memory.previous], dtype=np.float32, casting="same_kind")
        raw = run([program, "act"], f"running {source}", data=rows.astype("<f4").tobytes())
    commands = np.frombuffer(raw, dtype=np.float32)
    shape = (len(sensors), reference.policy.spec.outputs)
    if commands.size != shape[0] * shape[1]:
        raise ExportError(f"{source} gave {commands.size} commands for {shape[0]} rows of {shape[1]}. {_ADVICE}")
    return commands.reshape(shape), error


def _hold(reference: Reference, what: str, left: F32, right: F32, sensors: F32) -> float:
    """Largest difference of two arrays of commands; ExportError above the tolerance, and at any NaN."""
    value = reference.difference(left, right)
    if not value <= TOLERANCE:
        gap = np.abs(left.astype(np.float64) - right.astype(np.float64)).max(axis=1)
        row = int(np.argmax(np.where(np.isnan(gap), np.inf, gap)))
        raise ExportError(
            f"{what} differ by {value:g} half ranges, allowed {TOLERANCE:g}: for sensors {sensors[row].tolist()} they "
            f"give {left[row].tolist()} and {right[row].tolist()}. Weights as large as this policy's "
            f"({float(np.abs(reference.policy.theta).max()):.3g}) magnify rounding; otherwise export it again."
        )
    return value


def verify_export(
    policy: Policy,
    spec: RobotSpec,
    folder: Path,
    samples: int = 10000,
    seed: int = 0,
    formats: Iterable[str] = FORMATS,
) -> VerifyReport:
    """Compare the exported files in `folder` with the policy, on sensor values in range, beyond it and extreme.

    A policy with a clock or an action filter is compared at all steps of the clock and from random last actions.

    Args:
        policy: what was exported.
        spec: its robot.
        folder: holds policy.onnx, policy.h and policy.c, or those of `formats`.
        samples: sensor rows, at least 1.
        seed: which rows; the same seed gives the same rows.
        formats: what to compare with numpy, out of "onnx" and "c".

    Raises:
        ExportError: a file is missing or unreadable, the C does not compile, its selftest fails, a NaN sensor gives a
            finite command, or two forms differ by more than TOLERANCE; the message has the sensors and both results.
        SpecMismatch: a file is of another robot or policy.
        PolicyError: the policy itself holds NaN or infinity.
        ToolMissing: no C compiler; names the package.
    """
    if samples < 1:
        raise ExportError(f"samples is {samples}; at least 1 is needed.")
    wanted = tuple(formats)
    reference = reference_of(policy, spec)
    sensors = random_sensors(spec, samples, seed)
    memory = random_memory(policy.spec, samples + 1, seed)
    expected = reference.actuators(sensors, Memory(memory.ticks[:-1], memory.previous[:-1]))
    # the last row is NaN: no form of a policy may turn it into a command that looks sound
    with_nan = np.concatenate([sensors, np.full((1, sensors.shape[1]), np.nan, np.float32)])

    onnx_commands: F32 | None = None
    c_commands: F32 | None = None
    numpy_onnx = onnx_c = numpy_c = selftest_error = None
    if "onnx" in wanted:
        path = Path(folder) / ONNX_FILE
        onnx_commands = _without_nan(path, _run_onnx(reference, path, with_nan, memory))
        numpy_onnx = _hold(reference, "numpy and onnxruntime", expected, onnx_commands, sensors)
    if "c" in wanted:
        raw, selftest_error = _run_c(reference, Path(folder), with_nan, memory)
        c_commands = _without_nan(Path(folder) / POLICY_FILES[1], raw)
        numpy_c = _hold(reference, "numpy and C", expected, c_commands, sensors)
    if onnx_commands is not None and c_commands is not None:
        onnx_c = _hold(reference, "onnxruntime and C", onnx_commands, c_commands, sensors)
    return VerifyReport(
        samples=samples,
        seed=seed,
        tolerance=TOLERANCE,
        numpy_onnx=numpy_onnx,
        onnx_c=onnx_c,
        numpy_c=numpy_c,
        bit_equal=None if c_commands is None else c_commands.tobytes() == expected.tobytes(),
        selftest_error=selftest_error,
        compiler=None if c_commands is None else compiler_version(),
        runtime=None if onnx_commands is None else f"onnxruntime {onnxruntime.__version__}",
    )


def _without_nan(path: Path, commands: F32) -> F32:
    """The commands but for the last row, which was asked with NaN sensors and must be NaN."""
    if not np.isnan(commands[-1]).all():
        raise ExportError(f"{path}: a sensor that is NaN gives the command {commands[-1].tolist()}. {_ADVICE}")
    return commands[:-1]
