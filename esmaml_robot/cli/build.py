"""`esmaml build`: firmware for a board, with a policy in it, as the files that flashers want."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from ..checkpoint import RunFolder
from ..errors import ConfigError
from ..policy import Normaliser, Policy, PolicySpec
from ..robot_spec import RobotSpec, load_robot
from .common import err, guarded, out, own_package, print_json
from .export import policy_on_robot
from .freezing import arithmetic_of, frozen_policy

_UNTRAINED = (8,)


def untrained_policy(spec: RobotSpec) -> Policy:
    """A policy for a robot that nothing was trained for: all parameters 0, so every actuator is at its middle."""
    layout = PolicySpec(inputs=len(spec.observed), outputs=len(spec.actuators), hidden=_UNTRAINED)
    return Policy(layout, np.zeros(layout.dimension, np.float32), Normaliser.identity(layout.inputs))


def _trained(run: Path, session: str | None, meta: bool, robot: str | None) -> tuple[Policy, RobotSpec, Policy]:
    """The policy asked for, its robot, and the meta-policy of the run."""
    policy, spec = policy_on_robot(run, session, meta, robot)
    return policy, spec, RunFolder(run).newest().policy


def memory_lines(memory: Any) -> list[str]:
    """What an image takes of a board's memory, one statement a line."""

    def of(used: int, there: int | None) -> str:
        return f"{used:,} bytes" if there is None else f"{used:,} of {there:,} bytes ({100 * used / there:.0f} %)"

    lines = [f"flash {of(memory.flash, memory.flash_there)}", f"RAM {of(memory.ram, memory.ram_there)}"]
    if memory.stack is None:
        return [*lines, f"stack: no bound, {memory.stack_unknown}"]
    lines.append(f"stack up to {memory.stack:,} bytes: {' > '.join(memory.stack_chain)}")
    if memory.ram_free is not None:
        lines.append(f"RAM free at worst {of(memory.ram_free, memory.ram_there)}")
    return lines


@guarded
def build(
    board: Annotated[str, typer.Option(help="Board: by name, or the path of a folder of yours.")],
    run: Annotated[
        Path | None, typer.Argument(help="Run folder; without it, --robot's with an untrained policy.")
    ] = None,
    session: Annotated[str | None, typer.Option(help="Adaptation session whose policy goes in.")] = None,
    meta: Annotated[bool, typer.Option("--meta", help="The meta-policy, as trained, instead.")] = False,
    robot: Annotated[str | None, typer.Option(help="Robot by name, or its YAML file.")] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Where to; default RUN/firmware/BOARD[-FORMAT].")
    ] = None,
    arithmetic: Annotated[
        str, typer.Option("--format", help="float32, which adapts, or the policy frozen in integers: int16, int8.")
    ] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Compile firmware with a policy in it: .elf, .hex, .bin, and a manifest of hashes and sizes.

    What does not fit the board is refused, with the number of bytes. In integers, no float is between sensor and
    actuator; such firmware is smaller and faster, and takes no parameters any more.

    Example: esmaml build runs/first --board atmega328p --session robot --format int16

    Example: esmaml build runs/first --board atmega328p --session robot
    """
    form = arithmetic_of(arithmetic)
    base: Policy | None = None
    if run is not None:
        policy, spec, base = _trained(run, session, meta, robot)
        folder = out_folder or run / "firmware" / (board if form == "float32" else f"{board}-{form}")
    elif robot is None or session is not None or meta:
        raise ConfigError("give a run folder, or --robot alone for an image with an untrained policy.")
    elif out_folder is None:
        raise ConfigError("--robot without a run folder needs --out, the folder for the image.")
    else:
        spec = load_robot(robot)
        policy, folder = untrained_policy(spec), out_folder
    own_package("firmware_export")
    frozen = None
    if form != "float32":
        with err.status(f"running episodes that calibrate {form}"):
            frozen = frozen_policy(policy, spec, form, run)
    with err.status(f"compiling for {board}"):
        image = importlib.import_module("firmware_export.image").build_image(policy, spec, board, folder, base, frozen)
    if as_json:
        print_json(image.manifest.model_dump(mode="json") | {"folder": str(folder)})
        return
    layout = policy.spec if frozen is None else frozen.layout
    table = Table(title=f"{spec.name} on {board}: {layout.describe()}, policy {image.manifest.policy_hash}")
    table.add_column("file", overflow="fold")
    table.add_column("bytes", justify="right")
    table.add_column("SHA-256")
    for name, file in sorted(image.manifest.files.items()):
        table.add_row(str(folder / name), str(file.size), file.sha256[:16])
    out.print(table)
    for line in memory_lines(image.manifest.memory):
        out.print(line, highlight=False)
    if frozen is not None:
        out.print(f"largest error over the calibration rows: {frozen.plan.error:.1e} of an output's range")
    err.print(f"Next: esmaml flash {folder} --port PORT")
