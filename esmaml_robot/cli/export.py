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
from .export_report import show_report, write_report
from .fixed import fixed_input

#: Formats that need to know what the inputs are like.
FIXED = {"c-int16", "c-int8"}


def stored_policy(run: Path, session: str | None) -> tuple[Policy, str, str]:
    """Policy, robot name and spec_hash: of a session's adapted policy, or of the meta-policy."""
    if session is None:
        checkpoint = RunFolder(run).newest()
        return checkpoint.policy, checkpoint.config.robot, checkpoint.config.spec_hash
    stored = load_policy(run / SESSIONS / session / "adapted.safetensors")
    return stored.policy, stored.robot, stored.spec_hash


def choose_session(run: Path, session: str | None, meta: bool) -> str | None:
    """The session asked for, or the only one; None for the meta-policy."""
    if meta:
        return None
    found = sorted(p.parent.name for p in (run / SESSIONS).glob("*/adapted.safetensors"))
    if session in found:
        return session
    if session is not None and found:
        raise CheckpointError(f"{run} has no adapted policy {session!r}; those that are there: {', '.join(found)}.")
    if len(found) > 1:
        raise ConfigError(f"{run} has several adapted policies ({', '.join(found)}); choose one with --session.")
    if not found:
        raise CheckpointError(
            f"{run} has no adapted policy; run `esmaml adapt {run} --port ...` first, or export the meta-policy "
            "with --meta."
        )
    return found[0]


def policy_on_robot(run: Path, session: str | None, meta: bool, robot: str | None) -> tuple[Policy, RobotSpec]:
    """The policy asked for and its robot. Raises SpecMismatch where the robot's file is another one by now."""
    spec, _ = robot_of(run, robot)  # first: it is what finds that there is no such run
    policy, name, spec_hash = stored_policy(run, choose_session(run, session, meta))
    if spec.spec_hash != spec_hash:
        raise SpecMismatch(
            f"spec_hash differs: the policy was made for {name} with {spec_hash}, robot {spec.name} now has "
            f"{spec.spec_hash}. Give the robot file it was made with, by --robot."
        )
    return policy, spec


def export_files(
    policy: Policy, spec: RobotSpec, folder: Path, formats: tuple[str, ...], samples: int, fixed: Any = None
) -> Any:
    """firmware_export.export.export_policy, with its report."""
    own_package("firmware_export")
    module = importlib.import_module("firmware_export.export")
    return module.export_policy(policy, spec, folder, formats, samples, fixed)


def _export_onnx(
    model: Path,
    folder: Path | None,
    name: str | None,
    output: str | None,
    samples: int,
    formats: tuple[str, ...],
    rows: Path | None,
    ranges: list[str],
) -> Any:
    """firmware_export.export_network.export_network, with its report."""
    own_package("firmware_export")
    given = importlib.import_module("firmware_export.calibration").InputsGiven(rows, tuple(ranges))
    target = folder or model.parent / f"{model.stem}-c"
    with err.status("exporting and comparing"):
        return importlib.import_module("firmware_export.export_network").export_network(
            model, target, name, output, samples, formats, given
        )


def _formats(text: str | None, only_c: bool, default: str) -> tuple[str, ...]:
    """The formats asked for. Raises ConfigError where --c and --formats contradict each other."""
    wanted = tuple(f.strip() for f in (text or ("c" if only_c else default)).split(","))
    if only_c and "onnx" in wanted:
        raise ConfigError("--c and --formats say different things; give one of them.")
    return wanted


def _show(title: str, report: Any, as_json: bool, measured: Any = None) -> None:
    if as_json:
        print_json(report.to_json() | ({} if measured is None else {"report": measured.to_json()}))
        return
    table = Table(title=title)
    table.add_column("file", overflow="fold")
    table.add_column("bytes", justify="right")
    for file in report.files:
        table.add_row(str(file.path), str(file.size))
    out.print(table)
    for line in report.lines():
        out.print(line, highlight=False, soft_wrap=True)


def _only_for(kind: str, **given: Any) -> None:
    """Raise ConfigError where an option is given that means nothing here."""
    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if named:
        raise ConfigError(f"{named[0]} is for {kind} only; leave it out.")


def _export_sketches(
    policy: Policy, spec: RobotSpec, folders: dict[str, Path | None], samples: int, as_json: bool
) -> None:
    """The firmware as a library for the Arduino IDE, as a PlatformIO project, or both."""
    own_package("firmware_export")
    export_arduino = importlib.import_module("firmware_export.arduino").export_arduino
    reports = []
    for layout, folder in folders.items():
        if folder is not None:
            with err.status(f"exporting and comparing: {layout}"):
                reports.append(export_arduino(policy, spec, folder.expanduser(), layout, samples))
    if as_json:
        print_json([report.to_json() for report in reports])
        return
    for report in reports:
        out.print(f"{report.folder}: {report.layout}, policy {policy.policy_hash}", highlight=False)
        wired = f"filled in for {', '.join(report.wired)}" if report.wired else "not filled in for any board"
        out.print(f"  pins are {wired}; README.md there says what to wire and how to upload", highlight=False)
        for board, why in report.left_out:
            out.print(f"  not for {board}: {why}", highlight=False)
        for name in report.kept:
            out.print(f"  kept as you changed it: {name}", highlight=False)


@guarded
def export(
    run: Annotated[Path, typer.Argument(help="Run folder, or an .onnx file from elsewhere.")],
    session: Annotated[str | None, typer.Option(help="Adaptation session whose policy to export.")] = None,
    meta: Annotated[bool, typer.Option("--meta", help="The meta-policy, as trained, instead.")] = False,
    robot: Annotated[str | None, typer.Option(help="Robot file, where it is not one that ships.")] = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Where to; default RUN/export or MODEL-c.")] = None,
    formats: Annotated[
        str | None, typer.Option(help="onnx, c, c-int16, c-int8, with commas. Default: onnx,c; of an .onnx file c.")
    ] = None,
    only_c: Annotated[bool, typer.Option("--c", help="C alone: --formats c, where no other C is named.")] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(help="For c-int16 and c-int8: rows of inputs, .npy or CSV. A run has rollouts of its own."),
    ] = None,
    input_range: Annotated[
        list[str] | None,
        typer.Option(help="For an .onnx file's c-int16 and c-int8: LOW:HIGH, or NAME=LOW:HIGH; may be repeated."),
    ] = None,
    tasks: Annotated[
        int,
        typer.Option(help="For a run's c-int16 and c-int8: held-out tasks to compare returns on; 0 for none.", min=0),
    ] = 32,
    samples: Annotated[int, typer.Option(help="Random observations to compare on.", min=1)] = 10_000,
    name: Annotated[str | None, typer.Option(help="Of an .onnx file's C: files and functions.")] = None,
    output: Annotated[str | None, typer.Option(help="Of an .onnx file with several outputs: which one.")] = None,
    arduino: Annotated[Path | None, typer.Option(help="Write an Arduino library with a sketch here instead.")] = None,
    platformio: Annotated[Path | None, typer.Option(help="Write a PlatformIO project here instead.")] = None,
    measure: Annotated[
        bool, typer.Option("--report", help="Measure flash, RAM, time and error on each chip, in each format.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Export a policy as ONNX and C; numpy, onnxruntime and the compiled C are compared before any file is placed.

    An .onnx file of any feed-forward network (PyTorch, Stable-Baselines3, scikit-learn) becomes C. c-int16 and c-int8
    are C in fixed point (docs/fixed_point.md). With --arduino or --platformio: as firmware for a board of your own,
    with the controller around it.

    Example: esmaml export runs/first --session robot --formats onnx,c,c-int16

    Example: esmaml export runs/first --session robot --report

    Example: esmaml export actor.onnx --c --out firmware/

    Example: esmaml export actor.onnx --formats c-int16 --calibration observations.npy

    Example: esmaml export runs/first --session robot --arduino ~/Arduino/libraries/esmaml_rover
    """
    if run.suffix == ".onnx" and not run.is_dir():
        _only_for("run folders", session=session, meta=meta, robot=robot, report=measure)
        _only_for("run folders", arduino=arduino, platformio=platformio)
        wanted = _formats(formats, only_c, "c")
        if "onnx" in wanted:
            raise ConfigError(f"--formats {formats}: an .onnx file becomes C; choose from c, c-int16, c-int8.")
        if not FIXED & set(wanted):
            _only_for("c-int16 and c-int8", calibration=calibration, input_range=input_range)
        report = _export_onnx(run, out_folder, name, output, samples, wanted, calibration, input_range or [])
        _show(f"{report.shape}, network {report.network_hash}", report, as_json)
        return
    _only_for(".onnx files", name=name, output=output, input_range=input_range)
    wanted = _formats(formats, only_c, "onnx,c")
    policy, spec = policy_on_robot(run, session, meta, robot)
    if arduino is not None or platformio is not None:
        _export_sketches(policy, spec, {"arduino": arduino, "platformio": platformio}, samples, as_json)
        return
    fixed = None
    if not FIXED & set(wanted):
        _only_for("c-int16 and c-int8", calibration=calibration)
    else:
        fixed = fixed_input(RunFolder(run).newest().config, policy, calibration, tasks)
    folder = out_folder or run / "export"
    with err.status("exporting and comparing" + (", in episodes too" if fixed is not None and tasks else "")):
        report = export_files(policy, spec, folder, wanted, samples, fixed)
    measured = write_report(policy, spec, run, folder) if measure else None
    _show(f"{policy.spec.describe()}, policy {policy.policy_hash}", report, as_json, measured)
    if measured is not None and not as_json:
        show_report(measured, folder)
