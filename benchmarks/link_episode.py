"""How long an episode over the serial link takes, beside the same episode in the simulator alone, in one run.

    python -m benchmarks.link_episode

The link's episode is the real firmware on a pty, driven through pyserial, with the PyBullet rover behind its pins in
lock-step: 101 telemetry records, keep-alives, and a plant request over a socket for each control period. The floor is
the simulator with a batch of one. Wall-clock times of a shared machine vary; the ratio is the result.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from esmaml_robot.bridge.controller import RobotController
from esmaml_robot.cli.ports import real_port
from esmaml_robot.policy import Normaliser, Policy, PolicySpec, initial_theta
from esmaml_robot.robot_spec import load_robot
from sim.tasks import make_family


def measure(episodes: int) -> dict[str, float]:
    """Median seconds of an episode in the simulator and over the link, and their ratio."""
    spec = load_robot("rover_uno")
    layout = PolicySpec(inputs=2, outputs=2)
    policy = Policy(layout, initial_theta(layout, "rest", 8.0, 0), Normaliser.identity(2))
    family = make_family("four_corners")
    task, seed = [family.sample("test", 0)], np.zeros(1, np.uint32)
    alone, linked = [], []
    with tempfile.TemporaryDirectory() as scratch:  # noqa: SIM117 - the port needs the folder
        with (
            real_port("sim://rover_uno?seed=0", spec, policy, Path(scratch)) as port,
            RobotController.open(port, spec, layout) as robot,
        ):
            robot.connect()
            robot.upload(policy.theta)
            robot.arm()
            for number in range(episodes):
                start = time.perf_counter()
                family.evaluate(layout, policy.normaliser, policy.theta[None, :], task, seed)
                alone.append(time.perf_counter() - start)
                start = time.perf_counter()
                record = robot.run_episode(number, 0, 0, 0.0)
                linked.append(time.perf_counter() - start)
                if not record.valid:
                    raise SystemExit(f"episode {number} was not valid: {record.problem}")
    medians = float(np.median(alone)), float(np.median(linked))
    return {
        "simulator_s": medians[0],
        "link_s": medians[1],
        "link_max_s": max(linked),
        "ratio": medians[1] / medians[0],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.episodes)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"100 control periods, median: simulator alone {result['simulator_s'] * 1e3:.1f} ms, over the link "
            f"{result['link_s'] * 1e3:.1f} ms (worst {result['link_max_s'] * 1e3:.1f}), ratio {result['ratio']:.1f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
