"""What the firmware takes on each board: flash, RAM, stack, time of a control period, round trips. One run.

    python -m benchmarks.boards
    python -m benchmarks.boards --json boards.json

Flash and RAM are those of the linked image of four_corners (policy 2-8-2, 42 parameters). Stack is what the controller
says of itself; on an emulated ATmega it is the lowest stack pointer that it ever had, and cycles are those from
the beginning to the end of firmware_tick() in control periods with torque. On the Cortex-M4F they are instructions, of
the same episodes run again without the board's own part (firmware_export/control_period.py); the microseconds are those
at 25 MHz and an instruction a cycle, a lower bound. Round trips are of a STATUS question; beside them stands a bare C
program that sends bytes back over a pseudo-terminal, asked in turns with it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from esmaml_robot.bridge.controller import RobotController
from esmaml_robot.cli.settings import run_config
from esmaml_robot.policy import Normaliser, Policy, initial_theta
from esmaml_robot.robot_spec import load_robot
from firmware_export.board_file import known_boards, load_board
from firmware_export.build import Firmware, build_firmware
from firmware_export.control_period import BOARD as COUNTED_BOARD
from firmware_export.control_period import Recorded, count_instructions
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.virtual_robot.launcher import VirtualRobot

from .emulator_report import reporting
from .link import Echo, in_turns

AVR_HZ = 16_000_000
SIGMA = 0.15


def measure(firmware: Firmware, policy: Policy, count: int, folder: Path, echo: Echo) -> dict[str, Any]:
    """One board: sizes, round trips, and three episodes on board."""
    spec = load_robot("rover_uno")
    memory = load_board(firmware.board).settings.memory
    result: dict[str, Any] = {"flash_bytes": firmware.flash_bytes, "ram_bytes": firmware.ram_bytes}
    if memory is not None:
        result |= {"flash_there": memory.flash_bytes, "ram_there": memory.ram_bytes}
    report = folder / f"{firmware.board}.json"
    command = firmware.command
    if firmware.board.startswith("atmega"):
        command = reporting(firmware, folder, report)
    with (
        VirtualRobot("rover_uno", command, seed=2) as robot,
        RobotController.open(robot.port, spec, policy.spec) as controller,
    ):
        controller.connect()
        result["link"] = in_turns(controller, echo, count)
        controller.arm()
        start = time.perf_counter()
        episodes = []
        for episode in range(3):
            record = controller.run_episode(episode, 50, episode, SIGMA)
            if not record.valid:
                raise RuntimeError(f"{firmware.board}: {record.problem}")
            episodes.append(Recorded(record.sensors, record.actuators, episode, SIGMA))
        result["three_episodes_s"] = time.perf_counter() - start
        painted = controller.status().stack_bytes
        if painted:
            result["stack_bytes"] = painted
    if report.is_file():
        result |= json.loads(report.read_text())
        result["rate_possible_hz"] = AVR_HZ / result["worst_tick_cycles"]
        result["ram_free_share"] = 1.0 - (result["ram_bytes"] + result["stack_bytes"]) / result["ram_there"]
    if firmware.board == COUNTED_BOARD:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            period = count_instructions(spec, folder, episodes, Path(scratch))
        result["tick_instructions"] = asdict(period) | {"most_us": period.most_us}
    return result


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "| board | flash | RAM without stack | stack | free RAM | worst control period | rate possible "
        "| round trip p50 / p99 | the echo's | p50 / echo |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, r in results["boards"].items():
        stack = f"{r['stack_bytes']} B" if "stack_bytes" in r else ""
        free = f"{r['ram_free_share']:.0%}" if "ram_free_share" in r else ""
        worst = f"{r['worst_tick_cycles']:,} cycles" if "worst_tick_cycles" in r else ""
        if "tick_instructions" in r:
            counted = r["tick_instructions"]
            worst = f"{counted['most']:,} instructions, {counted['most_us']:.0f} µs or more"
        rate = f"{r['rate_possible_hz']:.0f} Hz" if "rate_possible_hz" in r else ""
        link = r["link"]
        lines.append(
            f"| {name} | {r['flash_bytes']:,} B | {r['ram_bytes']:,} B | {stack} | {free} | {worst} | {rate} | "
            f"{link['board_us'][0]:.0f} / {link['board_us'][1]:.0f} µs | "
            f"{link['echo_us'][0]:.0f} / {link['echo_us'][1]:.0f} µs | {link['ratio'][0]:.1f} |"
        )
    for name, r in results["boards"].items():
        if "tick_instructions" in r:
            counted = r["tick_instructions"]
            lines.append(
                f"\n{name}: {counted['periods']} control periods of {counted['least']:,} to {counted['most']:,} "
                f"instructions, mean {counted['mean']:,.0f}; one that ends an episode, {counted['ending']:,} at most"
            )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--round-trips", type=int, default=10_000)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    config = run_config("four_corners", seed=0)
    theta = initial_theta(config.policy, config.initial, config.initial_gain, 0)
    policy = Policy(config.policy, theta, Normaliser.identity(config.policy.inputs))
    spec = load_robot("rover_uno")
    results: dict[str, Any] = {"boards": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_policy_c(policy, spec, folder)
        write_robot_c(spec, folder)
        with contextlib.closing(Echo(folder)) as echo:
            for name in known_boards():
                firmware = build_firmware(name, spec, folder, folder / name)
                results["boards"][name] = measure(firmware, policy, options.round_trips, folder, echo)
    print(table(results))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
