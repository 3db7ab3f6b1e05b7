"""Firmware with the policy in float32, int16 and int8: what each takes of a board, and of a control period.

    python -m benchmarks.frozen_firmware                     prints a table
    python -m benchmarks.frozen_firmware --json docs/results/frozen_firmware.json

The policy has the architecture of `four_corners` (2-8-2) and parameters drawn at random, on
rover_uno. Sizes are of the linked images; the stack is the bound of the worst case. A control period is
`firmware_tick()`: sensors, policy, limits, reward, telemetry. On an ATmega its cycles are the most of three
episodes, counted by simavr; on the Cortex-M4F its instructions are, counted by QEMU in the same episodes run again
without the board's own part, pins, bus and line (firmware_export/control_period.py). Exact counts, no times.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from esmaml_robot.bridge.controller import RobotController
from esmaml_robot.cli.settings import run_config
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.policy_frozen import ARITHMETICS, Arithmetic, FrozenLayout
from esmaml_robot.robot_spec import RobotSpec, load_robot
from firmware_export.build import Firmware, build_firmware
from firmware_export.control_period import BOARD as COUNTED_BOARD
from firmware_export.control_period import Recorded, count_instructions
from firmware_export.frozen_policy import freeze, write_frozen_c
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.virtual_robot.launcher import VirtualRobot

from .emulator_report import reporting

BOARDS = ("atmega328p", "atmega2560", "mps2_an386")
EPISODES = 3


def run_episodes(
    spec: RobotSpec, layout: PolicySpec | FrozenLayout, command: tuple[str, ...], board: str
) -> list[Recorded]:
    """Episodes on an emulated board."""
    episodes = []
    with (
        VirtualRobot(spec.name, command, seed=2) as robot,
        RobotController.open(robot.port, spec, layout) as controller,
    ):
        controller.connect()
        controller.arm()
        for episode in range(EPISODES):
            record = controller.run_episode(episode, 50 + episode, 0, 0.0)
            if not record.valid:
                raise RuntimeError(f"{board}: {record.problem}")
            episodes.append(Recorded(record.sensors, record.actuators))
    return episodes


def worst_period(firmware: Firmware, spec: RobotSpec, layout: PolicySpec | FrozenLayout, folder: Path) -> int:
    """Cycles of the longest control period, by the emulated chip's own account."""
    report = folder / "report.json"
    run_episodes(spec, layout, reporting(firmware, folder, report), firmware.board)
    cycles: int = json.loads(report.read_text())["worst_tick_cycles"]
    return cycles


def measure(board: str, arithmetic: Arithmetic, policy: Policy, spec: RobotSpec) -> dict[str, Any]:
    """One image."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        layout: PolicySpec | FrozenLayout = policy.spec
        if arithmetic == "float32":
            write_policy_c(policy, spec, folder)
        else:
            frozen = freeze(policy, spec, arithmetic)
            write_frozen_c(frozen, folder)
            layout = frozen.layout
        write_robot_c(spec, folder)
        firmware = build_firmware(board, spec, folder, folder / "out", stack=True, frozen=arithmetic != "float32")
        stack = firmware.stack.bytes if firmware.stack else None
        row: dict[str, Any] = {"board": board, "format": arithmetic, "flash": firmware.flash_bytes}
        row |= {"ram": firmware.ram_bytes, "stack_bound": stack}
        if board.startswith("atmega"):
            row["worst_period_cycles"] = worst_period(firmware, spec, layout, folder)
        elif board == COUNTED_BOARD:
            episodes = run_episodes(spec, layout, firmware.command, board)
            period = count_instructions(spec, folder, episodes, folder / "counted", frozen=arithmetic != "float32")
            row["period_instructions"] = {"least": period.least, "mean": round(period.mean), "most": period.most}
        return row


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = ["| board | format | flash | RAM without stack | stack bound | control period at most |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        counted = f"{row['worst_period_cycles']:,} cycles" if "worst_period_cycles" in row else ""
        if "period_instructions" in row:
            counted = f"{row['period_instructions']['most']:,} instructions"
        lines.append(
            f"| {row['board']} | {row['format']} | {row['flash']:,} B | {row['ram']:,} B | {row['stack_bound']:,} B "
            f"| {counted} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    layout = run_config("four_corners", seed=0).policy
    theta = np.random.default_rng(0).normal(scale=0.5, size=layout.dimension).astype(np.float32)
    policy = Policy(layout, theta, Normaliser.identity(layout.inputs))
    spec = load_robot("rover_uno")
    rows = [measure(board, arithmetic, policy, spec) for board in BOARDS for arithmetic in ARITHMETICS]
    print(table(rows))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
