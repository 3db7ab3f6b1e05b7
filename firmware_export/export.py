"""Export of a policy: written beside its place, verified there, and only then moved in.

A policy that is refused, a disk that is full or a comparison that fails leaves the folder as it was. export.json comes
last and names every file with size and SHA-256, so a folder in which a power cut mixed two exports can be told.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esmaml_robot import __version__
from esmaml_robot.errors import ExportError
from esmaml_robot.files import atomic_write_text, make_folder
from esmaml_robot.policy import Policy
from esmaml_robot.robot_spec import RobotSpec

from .onnx_model import write_onnx
from .policy_c import POLICY_FILES, write_policy_c
from .staging import publish, stage_in
from .verify import FORMATS, ONNX_FILE, VerifyReport, verify_export

MANIFEST_FILE = "export.json"


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
        }


def export_policy(
    policy: Policy, spec: RobotSpec, folder: Path, formats: Sequence[str] = FORMATS, samples: int = 10000
) -> ExportReport:
    """Write a policy in the formats asked for, verify the files, and write export.json.

    Args:
        policy: what to export.
        spec: its robot.
        folder: where to; created if missing. Files of formats not asked for are left as they are.
        formats: "onnx" (policy.onnx), "c" (policy.h, policy.c), or both.
        samples: random sensor rows on which the files are compared with numpy.

    Raises:
        PolicyError: a parameter is NaN or infinite. SpecMismatch, ExportError, ToolMissing: as `verify_export`; or the
            format is not known, or the disk refuses. The files in `folder` are then those that were there before.
    """
    wanted = tuple(dict.fromkeys(formats))
    unknown = [f for f in wanted if f not in FORMATS]
    if unknown or not wanted:
        raise ExportError(f"formats are {list(wanted)}; choose from: {', '.join(FORMATS)}.")
    folder = make_folder(Path(folder), error=ExportError)
    stage = stage_in(folder)
    try:
        names: list[str] = []
        if "onnx" in wanted:
            names.append(write_onnx(policy, spec, stage / ONNX_FILE).name)
        if "c" in wanted:
            names += [path.name for path in write_policy_c(policy, spec, stage)]
        report = verify_export(policy, spec, stage, samples=samples, formats=wanted)
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
    )
    manifest = json.dumps(result.to_json(), indent=2, allow_nan=False) + "\n"
    atomic_write_text(folder / MANIFEST_FILE, manifest, error=ExportError)
    return result


__all__ = ["MANIFEST_FILE", "ONNX_FILE", "POLICY_FILES", "ExportReport", "ExportedFile", "export_policy"]
