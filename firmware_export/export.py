"""Export of a policy: written beside its place, verified there, and only then moved in.

A policy that is refused, a disk that is full or a comparison that fails leaves the folder as it was. export.json comes
last and names every file with size and SHA-256, so a folder in which a power cut mixed two exports can be told.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esmaml_robot import __version__
from esmaml_robot.errors import ExportError
from esmaml_robot.files import atomic_write_text, make_folder
from esmaml_robot.policy import Policy
from esmaml_robot.robot_spec import RobotSpec

from .fixed_export import FIXED_FORMATS, Calibration, FixedReport, write_fixed
from .fixed_plan import FixedNetwork
from .fixed_policy import clock_counts, counts_of_robot, network_of_policy
from .onnx_model import write_onnx
from .policy_c import POLICY_FILES, write_policy_c
from .staging import publish, stage_in
from .verify import FORMATS, ONNX_FILE, VerifyReport, verify_export

F64 = npt.NDArray[np.float64]

MANIFEST_FILE = "export.json"
#: Every format of a policy.
POLICY_FORMATS = (*FORMATS, *FIXED_FORMATS)


@dataclass(frozen=True)
class ExportedFile:
    """One file of an export: its path, size in bytes and SHA-256 (64 hex digits)."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and what the comparison found."""

    folder: Path
    robot: str
    spec_hash: str
    layout_hash: str
    policy_hash: str
    files: tuple[ExportedFile, ...]
    verify: VerifyReport
    fixed: tuple[FixedReport, ...] = ()

    def lines(self) -> list[str]:
        """The report for a terminal."""
        return self.verify.lines() + [line for report in self.fixed for line in report.lines()]

    def to_json(self) -> dict[str, Any]:
        """The content of export.json; the same export gives the same content, wherever it lies."""
        return {
            "format": 1,
            "producer": f"esmaml-robot {__version__}",
            "robot": self.robot,
            "spec_hash": self.spec_hash,
            "layout_hash": self.layout_hash,
            "policy_hash": self.policy_hash,
            "files": {f.path.name: {"size": f.size, "sha256": f.sha256} for f in self.files},
            "verify": self.verify.to_json(),
            **({"fixed": [report.to_json() for report in self.fixed]} if self.fixed else {}),
        }


@dataclass(frozen=True, eq=False)
class FixedInput:
    """What fixed point needs beside the policy.

    Attributes:
        rows: values of the policy's inputs, (rows, inputs), as `fixed_policy.calibration_rows` makes them.
        source: where they are from, in words.
        judge: what of an episode in fixed point goes into the report, where there is a simulation.
    """

    rows: F64
    source: str
    judge: Callable[[FixedNetwork], dict[str, Any]] | None = None


def _write_fixed(
    policy: Policy, spec: RobotSpec, kind: str, given: FixedInput, stage: Path, samples: int
) -> tuple[FixedReport, list[str]]:
    steps = policy.spec.clock_steps
    origin = {
        "robot": spec.name,
        "spec_hash": spec.spec_hash,
        "layout_hash": policy.spec.layout_hash,
        "policy_hash": policy.policy_hash,
    }
    notes = [
        f"The policy of the robot {spec.name}: {policy.spec.describe()}. A control period is "
        f"{1_000_000 // spec.control_rate_hz} us ({spec.control_rate_hz} Hz)."
    ]
    if steps is not None:
        notes.append(f"The last two inputs are a clock: policy_{kind[2:]}_clock below fills them.")
    inputs, outputs = counts_of_robot(spec, steps is not None)
    report, plan, names = write_fixed(
        network_of_policy(policy, spec),
        Calibration(inputs, outputs, given.rows, given.source),
        kind,
        stage,
        "policy",
        samples,
        origin=origin,
        notes=notes,
        clock=None if steps is None else clock_counts(steps),
    )
    return (report if given.judge is None else replace(report, closed_loop=given.judge(plan))), names


def export_policy(
    policy: Policy,
    spec: RobotSpec,
    folder: Path,
    formats: Sequence[str] = FORMATS,
    samples: int = 10000,
    fixed: FixedInput | None = None,
) -> ExportReport:
    """Write a policy in the formats asked for, verify the files, and write export.json.

    Args:
        policy: what to export.
        spec: its robot.
        folder: where to; created if missing. Files of formats not asked for are left as they are.
        formats: some of "onnx" (policy.onnx), "c" (policy.h, policy.c), "c-int16" (policy_int16.h, policy_int16.c) and
            "c-int8".
        samples: random sensor rows on which the files are compared with numpy.
        fixed: what the last two need.

    Raises:
        PolicyError: a parameter is NaN or infinite. SpecMismatch, ExportError, ToolMissing: as `verify_export`; or the
            format is not known, or the disk refuses. The files in `folder` are then those that were there before.
    """
    wanted = tuple(dict.fromkeys(formats))
    unknown = [f for f in wanted if f not in POLICY_FORMATS]
    if unknown or not wanted:
        raise ExportError(f"formats are {list(wanted)}; choose from: {', '.join(POLICY_FORMATS)}.")
    integers = [f for f in wanted if f in FIXED_FORMATS]
    if integers and fixed is None:
        raise ExportError(f"{integers[0]} needs calibration rows: what the policy's inputs were in rollouts.")
    folder = make_folder(Path(folder), error=ExportError)
    stage = stage_in(folder)
    try:
        names: list[str] = []
        if "onnx" in wanted:
            names.append(write_onnx(policy, spec, stage / ONNX_FILE).name)
        if "c" in wanted:
            names += [path.name for path in write_policy_c(policy, spec, stage)]
        report = verify_export(policy, spec, stage, samples=samples, formats=wanted)
        reports: list[FixedReport] = []
        for kind in integers:
            assert fixed is not None
            one, written = _write_fixed(policy, spec, kind, fixed, stage, samples)
            reports.append(one)
            names += written
        contents = {name: (stage / name).read_bytes() for name in names}
        publish(stage, folder, names)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    files = tuple(ExportedFile(folder / n, len(data), hashlib.sha256(data).hexdigest()) for n, data in contents.items())
    result = ExportReport(
        folder=folder,
        robot=spec.name,
        spec_hash=spec.spec_hash,
        layout_hash=policy.spec.layout_hash,
        policy_hash=policy.policy_hash,
        files=files,
        verify=report,
        fixed=tuple(reports),
    )
    manifest = json.dumps(result.to_json(), indent=2, allow_nan=False) + "\n"
    atomic_write_text(folder / MANIFEST_FILE, manifest, error=ExportError)
    return result


__all__ = ["MANIFEST_FILE", "ONNX_FILE", "POLICY_FILES", "ExportReport", "ExportedFile", "export_policy"]
