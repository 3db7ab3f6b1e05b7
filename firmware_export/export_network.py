"""An ONNX file as C: read, rendered, compiled, compared with onnxruntime and with exact arithmetic, then placed.

As for a policy (export.py): what is refused leaves the folder as it was, and export.json names every file.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from esmaml_robot import __version__
from esmaml_robot.errors import ExportError
from esmaml_robot.files import atomic_write_text, make_folder

from .c_source import check_name, render
from .calibration import InputsGiven, calibration_of
from .compiler import compile_c, compiler_version, run
from .export import MANIFEST_FILE, ExportedFile
from .fixed_export import FIXED_FORMATS, FixedReport, write_fixed
from .float_c import network_hash, render_network_c
from .float_model import forward32, probe_inputs, tolerance
from .network import Network
from .onnx_reader import OnnxModel, read_onnx
from .staging import publish, stage_in

F32 = npt.NDArray[np.float32]

#: What an .onnx file may become.
NETWORK_FORMATS = ("c", *FIXED_FORMATS)


@dataclass(frozen=True)
class NetworkVerify:
    """What the comparison found on `samples` rows of inputs.

    Attributes:
        samples, seed: how many rows, and what they are a function of.
        onnx_c: largest |onnxruntime - C|.
        exact_c: largest |float64 - C|.
        worst: the larger of the two in units of what rounding allows for that output; at most 1.
        bit_equal: C gave the bits of the numpy twin in every row.
        selftest_error: of the embedded vectors, in units of what is allowed.
        compiler, runtime: versions.
    """

    samples: int
    seed: int
    onnx_c: float
    exact_c: float
    worst: float
    bit_equal: bool
    selftest_error: float
    compiler: str
    runtime: str

    def lines(self) -> list[str]:
        """The report for a terminal."""
        return [
            f"{self.samples} random inputs:",
            f"  max |onnxruntime - C| = {self.onnx_c:.3g}, max |float64 - C| = {self.exact_c:.3g}",
            f"  at most {self.worst:.2g} of what rounding allows"
            + (", C bit-equal to its numpy twin" if self.bit_equal else ""),
            f"  selftest passed, largest error {self.selftest_error:.3g}",
        ]


@dataclass(frozen=True)
class NetworkReport:
    """What was exported."""

    folder: Path
    model: Path
    name: str
    shape: str
    network_hash: str
    notes: tuple[str, ...]
    files: tuple[ExportedFile, ...]
    verify: NetworkVerify | None
    fixed: tuple[FixedReport, ...] = ()

    def lines(self) -> list[str]:
        """The report for a terminal."""
        of_float = self.verify.lines() if self.verify is not None else []
        return of_float + [line for report in self.fixed for line in report.lines()]

    def to_json(self) -> dict[str, Any]:
        """The content of export.json; the same export gives the same content, wherever it lies."""
        return {
            "format": 1,
            "producer": f"esmaml-robot {__version__}",
            "model": self.model.name,
            "network": self.shape,
            "network_hash": self.network_hash,
            "notes": list(self.notes),
            "files": {f.path.name: {"size": f.size, "sha256": f.sha256} for f in self.files},
            "verify": None if self.verify is None else asdict(self.verify),
            **({"fixed": [report.to_json() for report in self.fixed]} if self.fixed else {}),
        }


def name_of(path: Path) -> str:
    """A name for C out of a file's name: model-2.onnx becomes model_2."""
    name = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")[:40]
    return name if name[:1].isalpha() else f"net_{name}".rstrip("_")


def _run_onnx(model: OnnxModel, path: Path, x: F32) -> F32:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; they are raised as well
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        many = all(source.batched for source in model.sources) and not _fixed_batch(session)
        rows = [x] if many else [x[i : i + 1] for i in range(len(x))]
        found = [np.asarray(session.run([model.output], model.feeds(row))[0], np.float32) for row in rows]
    except Exception as problem:  # onnxruntime's errors have no common base class
        first = str(problem).strip().splitlines()[0]
        raise ExportError(f"onnxruntime refuses {path}: {first}. Nothing was written.") from problem
    # skl2onnx's networks of several outputs put them under one another
    return np.concatenate([part.reshape(len(row), -1) for part, row in zip(found, rows, strict=True)])


def _fixed_batch(session: onnxruntime.InferenceSession) -> bool:
    return any(isinstance(value.shape[0], int) for value in session.get_inputs())


def _run_c(name: str, folder: Path, network: Network, x: F32) -> tuple[F32, float]:
    """Outputs of the compiled C, and the largest error of its selftest."""
    source = folder / f"{name}.c"
    with tempfile.TemporaryDirectory(prefix="esmaml-verify-") as scratch:
        main = Path(scratch) / "filter.c"
        main.write_text(render("network_filter.c.j2", name=name, NAME=name.upper()))
        # the user's compiler may know warnings that are not invented yet; the tests are where a warning is an error
        program = compile_c([source, main], Path(scratch) / "filter", include=[folder], extra=["-Wno-error"])
        result, worst = run([program, "selftest"], f"the selftest of {source.name}").split()
        if int(result) != 0:
            raise ExportError(
                f"the selftest of {source.name} fails, largest error {float(worst):g}. Nothing was written."
            )
        raw = run([program], f"running {source.name}", data=x.astype("<f4").tobytes())
    return np.frombuffer(raw, np.float32).reshape(len(x), len(network.outputs)), float(worst)


def verify_network(model: OnnxModel, path: Path, name: str, folder: Path, samples: int, seed: int = 0) -> NetworkVerify:
    """Compare the C in `folder` with the ONNX file on random inputs.

    Raises ExportError where they differ by more than rounding explains, where NaN does not come out as NaN, and where
    the C does not compile or its selftest fails; ToolMissing without a compiler.
    """
    if samples < 1:
        raise ExportError(f"samples is {samples}; at least 1 is needed.")
    network = model.network
    x = probe_inputs(network, samples, seed)
    of_onnx = _run_onnx(model, path, x)
    with_nan = np.concatenate([x, np.full((1, x.shape[1]), np.nan, np.float32)])
    raw, selftest = _run_c(name, folder, network, with_nan)
    of_c, of_nan = raw[:-1], raw[-1]
    # an output that depends on no input need not be NaN: its numpy twin tells
    if np.isnan(of_nan).tolist() != np.isnan(forward32(network, with_nan[-1:])[0]).tolist():
        raise ExportError(f"{name}.c: inputs that are NaN give {of_nan.tolist()}. Nothing was written.")
    if not np.isfinite(of_c).all():
        row = int(np.flatnonzero(~np.isfinite(of_c).all(axis=1))[0])
        raise ExportError(
            f"an output is not finite for the inputs {x[row].tolist()}: a sum overflows float32. Nothing was written."
        )
    exact, allowed = network.forward(x), tolerance(network, x)
    gaps = {"onnxruntime": np.abs(of_onnx.astype(np.float64) - of_c), "float64": np.abs(exact - of_c)}
    for what, gap in gaps.items():
        if not (gap <= allowed).all():
            row = int(np.argmax((gap / allowed).max(axis=1)))
            raise ExportError(
                f"{what} and C differ by up to {np.nanmax(gap):g}, rounding allows {allowed.tolist()}: for the inputs "
                f"{x[row].tolist()} C gives {of_c[row].tolist()}. Nothing was written; weights of very different sizes "
                "magnify rounding."
            )
    return NetworkVerify(
        samples=samples,
        seed=seed,
        onnx_c=float(gaps["onnxruntime"].max()),
        exact_c=float(gaps["float64"].max()),
        worst=float(max((gap / allowed).max() for gap in gaps.values())),
        bit_equal=of_c.tobytes() == forward32(network, x).tobytes(),
        selftest_error=selftest,
        compiler=compiler_version(),
        runtime=f"onnxruntime {onnxruntime.__version__}",
    )


def check_reading(model: OnnxModel, path: Path, samples: int, seed: int = 0) -> None:
    """Raise ExportError unless the network that was read gives what onnxruntime gives; for formats other than C's."""
    x = probe_inputs(model.network, max(samples, 1), seed)
    gap = np.abs(_run_onnx(model, path, x) - model.network.forward(x))
    if not (gap <= tolerance(model.network, x)).all():
        row = int(np.argmax(np.where(np.isnan(gap), np.inf, gap).max(axis=1)))
        raise ExportError(
            f"onnxruntime and what was read of {path} differ by {gap[row].max():g} for the inputs {x[row].tolist()}. "
            "Nothing was written."
        )


def export_network(
    path: Path,
    folder: Path,
    name: str | None = None,
    output: str | None = None,
    samples: int = 10_000,
    formats: Sequence[str] = ("c",),
    given: InputsGiven | None = None,
) -> NetworkReport:
    """Write an ONNX file as C into `folder`, verified, and export.json.

    Args:
        path: the ONNX file.
        folder: where to; created if missing.
        name: of the files and functions; made of the file's name where it is not given.
        output: which output of the graph, where it has several.
        samples: rows of random inputs to compare on.
        formats: "c" (name.h, name.c), "c-int16" (name_int16.h, name_int16.c), "c-int8"; one or more.
        given: what the inputs are like, which the last two need.

    Raises:
        ExportError, ToolMissing: as `read_onnx`, `render_network_c` and `verify_network`; or the disk refuses. The
            files in `folder` are then those that were there before.
    """
    path = Path(path)
    wanted = tuple(dict.fromkeys(formats))
    if not wanted or not set(wanted) <= set(NETWORK_FORMATS):
        raise ExportError(
            f"formats are {list(wanted)}; an .onnx file becomes C: choose from {', '.join(NETWORK_FORMATS)}."
        )
    name = check_name(name or name_of(path))
    model = read_onnx(path, output)
    source = hashlib.sha256(path.read_bytes()).hexdigest()
    integers = [f for f in wanted if f in FIXED_FORMATS]
    calibration = calibration_of(model.network, given or InputsGiven()) if integers else None
    origin = f"{path.name}, SHA-256 {source[:16]}"
    texts = render_network_c(model.network, name, origin, model.notes) if "c" in wanted else {}
    folder = make_folder(Path(folder), error=ExportError)
    stage = stage_in(folder)
    try:
        names = list(texts)
        for file, text in texts.items():
            atomic_write_text(stage / file, text, error=ExportError)
        report = verify_network(model, path, name, stage, samples) if texts else None
        if not texts:
            check_reading(model, path, samples)
        reports: list[FixedReport] = []
        for kind in integers:
            assert calibration is not None
            notes = (f"Made from {origin}.", *model.notes)
            hashes = {"network_hash": network_hash(model.network)}
            one, _, written = write_fixed(
                model.network, calibration, kind, stage, name, samples, origin=hashes, notes=notes
            )
            reports.append(one)
            names += written
        contents = {file: (stage / file).read_bytes() for file in names}
        publish(stage, folder, names)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    result = NetworkReport(
        folder=folder,
        model=path,
        name=name,
        shape=model.network.describe(),
        network_hash=network_hash(model.network),
        notes=model.notes,
        files=tuple(ExportedFile(folder / n, len(d), hashlib.sha256(d).hexdigest()) for n, d in contents.items()),
        verify=report,
        fixed=tuple(reports),
    )
    manifest = json.dumps(result.to_json(), indent=2, allow_nan=False) + "\n"
    atomic_write_text(folder / MANIFEST_FILE, manifest, error=ExportError)
    return result
