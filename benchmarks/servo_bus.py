"""What a control period takes up on the ant's servo bus, by baud rate, and what the bus costs in the emulator. One run.

    python -m benchmarks.servo_bus
    python -m benchmarks.servo_bus --episodes 8 --json servo_bus.json

Bytes are those of the packets, counted; tests/c/test_dynamixel_driver.py counts the driver's traffic beside them. A
byte is ten bits, and servos answer without delay (return delay 0, which the driver sets). Episodes of the same
candidates run on the host board, whose world is a record, and over the bus in QEMU, in turns; both in virtual time.
Instructions are those of firmware_tick() in these episodes without the bus (firmware_export/control_period.py).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from esmaml_robot.bridge.controller import RobotController
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.board_file import load_board
from firmware_export.build import build_firmware
from firmware_export.control_period import Recorded, count_instructions
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from firmware_export.wiring import BUS_SHARE, BusWiring, bus_bytes
from sim.virtual_robot.launcher import VirtualRobot

BAUDS = (57_600, 115_200, 1_000_000, 2_000_000, 4_000_000)
SIGMA = 0.1


def on_the_wire() -> dict[str, Any]:
    """Bytes of a control period, and its share of the period at each baud rate."""
    spec = load_robot("ant")
    wiring = load_board("mps2_an386").settings.wiring["ant"]
    assert isinstance(wiring, BusWiring)
    count = bus_bytes(wiring, spec)
    rows = []
    for baud in BAUDS:
        taken = 10 * count / baud
        share = taken / spec.control_period_s
        rows.append({"baud": baud, "ms": 1000 * taken, "share": share, "accepted": share <= BUS_SHARE})
    return {"bytes": count, "period_ms": 1000 * spec.control_period_s, "bauds": rows}


def in_the_emulator(episodes: int) -> dict[str, Any]:
    """A control period on both boards: seconds, whether it came to the same bits, instructions of the Cortex-M4F."""
    spec = load_robot("ant")
    layout = PolicySpec(inputs=4, outputs=8, hidden=(), clock_steps=20)
    theta = np.random.default_rng(1).normal(scale=0.5, size=layout.dimension).astype(np.float32)
    seconds: dict[str, list[float]] = {"host": [], "mps2_an386": []}
    returns: dict[str, list[float]] = {"host": [], "mps2_an386": []}
    reused = 0
    over_the_bus: list[Recorded] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_policy_c(Policy(layout, theta, Normaliser.identity(4)), spec, folder)
        write_robot_c(spec, folder)
        built = {board: build_firmware(board, spec, folder, folder / board) for board in seconds}
        robots = {b: VirtualRobot("ant", f.command, seed=1, bus=f.bus) for b, f in built.items()}
        with robots["host"] as host, robots["mps2_an386"] as chip:
            lines = {b: RobotController.open(r.port, spec, layout) for b, r in (("host", host), ("mps2_an386", chip))}
            for line in lines.values():
                line.connect()
                line.arm()
            for number in range(episodes):
                for board, line in lines.items():
                    start = time.perf_counter()
                    record = line.run_episode(number + 1, 50 + number, number, SIGMA)
                    seconds[board].append((time.perf_counter() - start) / record.steps)
                    returns[board].append(record.return_)
                    if board == "mps2_an386":
                        over_the_bus.append(Recorded(record.sensors, record.actuators, number, SIGMA))
            reused = lines["mps2_an386"].status().reused
            for line in lines.values():
                line.close()
        period = count_instructions(spec, folder, over_the_bus, folder / "counted")
    medians = {board: float(np.median(values)) for board, values in seconds.items()}
    return {
        "episodes": episodes,
        "same_returns": returns["host"] == returns["mps2_an386"],
        "answers_missed": reused,
        "period_ms": {board: 1000 * value for board, value in medians.items()},
        "ratio": medians["mps2_an386"] / medians["host"],
        "instructions": asdict(period) | {"most_us": period.most_us},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    wire = on_the_wire()
    print(f"{wire['bytes']} bytes in a control period of {wire['period_ms']:.1f} ms\n")
    print("| baud | ms | share of the period | |\n|---|---|---|---|")
    for row in wire["bauds"]:
        verdict = "" if row["accepted"] else "refused"
        print(f"| {row['baud']:,} | {row['ms']:.1f} | {100 * row['share']:.0f} % | {verdict} |")
    print("\nepisodes on both boards ...", flush=True)
    found = in_the_emulator(options.episodes)
    same = "the same" if found["same_returns"] else "NOT the same"
    print(
        f"{found['episodes']} episodes, returns {same}, answers missed: {found['answers_missed']}; a control period "
        f"over the bus takes {found['ratio']:.1f} times that of the host board"
    )
    counted = found["instructions"]
    print(
        f"a control period without the bus is {counted['least']:,} to {counted['most']:,} instructions of the "
        f"Cortex-M4F, {counted['most_us']:.0f} us or more at 25 MHz"
    )
    if options.json is not None:
        options.json.write_text(json.dumps({"wire": wire, "emulator": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
