"""`esmaml export`: a policy as ONNX and as C, verified."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ..checkpoint import RunFolder
from ..errors import CheckpointError, ConfigError, SpecMismatch
from ..policy import Policy
from ..policy_file import load_policy
from ..robot_spec import RobotSpec
from .adapt import SESSIONS
from .common import err, guarded, out, own_package, print_json, robot_of


def stored_policy(run: Path, session: str | None) -> tuple[Policy, str, str]:
    """Policy, robot name and spec_hash: of a session's adapted policy, or of the meta-policy."""
    if session is None:
        checkpoint = RunFolder(run).newest()
        return checkpoint.policy, checkpoint.config.robot, checkpoint.config.spec_hash
    stored = load_policy(run / SESSIONS / session / "adapted.safetensors")
    return stored.policy, stored.robot, stored.spec_hash


def _choose_session(run: Path, session: str | None, meta: bool) -> str | None:
    if meta:
        return None
    if session is not None:
        return session
    found = sorted(p.parent.name for p in (run / SESSIONS).glob("*/adapted.safetensors"))
    if len(found) > 1:
        raise ConfigError(f"{run} has several adapted policies ({', '.join(found)}); choose one with --session.")
    if not found:
        raise CheckpointError(
            f"{run} has no adapted policy; run `esmaml adapt {run} --port ...` first, or export the meta-policy "
            "with --meta."
        )
    return found[0]


def export_files(policy: Policy, spec: RobotSpec, folder: Path, formats: tuple[str, ...], samples: int) -> Any:
    """firmware_export.export.export_policy, with its report."""
    own_package("firmware_export")
    return importlib.import_module("firmware_export.export").export_policy(policy, spec, folder, formats, samples)


@guarded
def export(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    session: Annotated[str | None, typer.Option(help="Adaptation session whose policy to export.")] = None,
    meta: Annotated[bool, typer.Option("--meta", help="The meta-policy, as trained, instead.")] = False,
    robot: Annotated[str | None, typer.Option(help="Robot file, where it is not one that ships.")] = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Where to; default RUN/export.")] = None,
    formats: Annotated[str, typer.Option(help="onnx, c, or both with a comma.")] = "onnx,c",
    samples: Annotated[int, typer.Option(help="Random observations to compare on.", min=1)] = 10_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Export a policy as ONNX and C; numpy, onnxruntime and the compiled C are compared before any file is placed.

    Example: esmaml export runs/first --session robot --formats onnx,c
    """
    policy, name, spec_hash = stored_policy(run, _choose_session(run, session, meta))
    spec, _ = robot_of(run, robot)
    if spec.spec_hash != spec_hash:
        raise SpecMismatch(
            f"spec_hash differs: the policy was made for {name} with {spec_hash}, robot {spec.name} now has "
            f"{spec.spec_hash}. Give the robot file it was made with, by --robot."
        )
    folder = out_folder or run / "export"
    with err.status("exporting and comparing"):
        report = export_files(policy, spec, folder, tuple(f.strip() for f in formats.split(",")), samples)
    if as_json:
        print_json(report.to_json())
        return
    table = Table(title=f"{policy.spec.describe()}, policy {policy.policy_hash}")
    table.add_column("file")
    table.add_column("bytes", justify="right")
    for file in report.files:
        table.add_row(str(file.path), str(file.size))
    out.print(table)
    for line in report.verify.lines():
        out.print(line, highlight=False)
