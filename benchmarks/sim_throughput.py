"""Robot-steps per second: the training loop beside the floor, a bare loop on the same 32-branch rover, in one run.

    python -m benchmarks.sim_throughput

The floor only commands (one array call), steps and reads (one array call) a 32-branch body. The training loop is what
a worker does: operators ask, candidates are made, episodes run with policy, quantisation, limits and reward, operators
are told. A robot-step is one control period of one robot; rows whose episode is over go on being stepped until the
batch is, and their share is printed. Both are timed by process CPU time, in turns, and the best of the rounds counts;
only the ratio is a result.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from esmaml_robot.cli.settings import run_config
from esmaml_robot.evaluation import EpisodeBatch
from esmaml_robot.executors import ItemRunner
from esmaml_robot.policy import initial_theta
from esmaml_robot.robot_spec import load_robot
from sim.robots.rover import LINKS
from sim.tasks import make_family
from sim.world import MAX_BRANCHES, BranchedWorld, bullet

#: An iteration of the preset has 128 items: all in one process, or 64 in each of two workers.
ROWS = (128, 64)


class Floor:
    """The bare loop, with nothing of ours between the three calls."""

    def __init__(self, physics_rate_hz: int) -> None:
        self._world = BranchedWorld(LINKS, MAX_BRANCHES, physics_rate_hz)
        joints = 2 * MAX_BRANCHES
        self._forces = [np.random.default_rng(i).uniform(-2, 2, joints).tolist() for i in range(50)]

    def run(self, steps: int) -> int:
        world, forces = self._world, self._forces
        body, joints, client = world._body, world._all, world._client
        for i in range(steps):
            bullet.setJointMotorControlArray(
                body, joints, bullet.TORQUE_CONTROL, forces=forces[i % 50], physicsClientId=client
            )
            bullet.stepSimulation(physicsClientId=client)
            bullet.getJointStates(body, joints, physicsClientId=client)
        return steps * MAX_BRANCHES


class Training:
    """One worker's share of a four-corners iteration: `items` adaptations with their final scores."""

    def __init__(self, items: int) -> None:
        self.items = items
        self._config = run_config("four_corners", load_robot("rover_uno"), seed=0)
        family = make_family("four_corners")
        self.simulated = self.useful = 0
        evaluate, step = family.evaluate, family.plant.step

        def counted_evaluate(*args: Any) -> EpisodeBatch:
            batch = evaluate(*args)
            self.useful += int(batch.steps.sum())
            return batch

        def counted_step(commands: Any, torque_on: bool = True) -> Any:
            self.simulated += commands.shape[1]
            return step(commands, torque_on)

        family.evaluate = counted_evaluate  # type: ignore[method-assign]
        family.plant.step = counted_step  # type: ignore[method-assign]
        self._runner = ItemRunner(self._config, lambda _: family)
        config = self._config
        self._theta = initial_theta(config.policy, config.initial, config.initial_gain, config.seed)

    def run(self, iteration: int) -> int:
        """Robot-steps simulated."""
        before = self.simulated
        self._runner.run(self._theta, iteration, 0, self.items)
        return self.simulated - before


def measure(rounds: int) -> dict[str, float]:
    """Best robot-steps/s of the floor and of the training loop, and the ratios."""
    rate = load_robot("rover_uno").physics_rate_hz // load_robot("rover_uno").control_rate_hz
    assert rate == 1, "a robot-step of the floor is one physics step; so must be a control period"
    floor = Floor(load_robot("rover_uno").physics_rate_hz)
    loops = {rows: Training(rows) for rows in ROWS}
    best: dict[str, float] = {}

    def keep(name: str, steps: int, seconds: float) -> None:
        best[name] = max(best.get(name, 0.0), steps / seconds)

    floor.run(200)
    for number in range(rounds):
        start = time.process_time()
        steps = floor.run(4000)
        keep("floor", steps, time.process_time() - start)
        for items, loop in loops.items():
            start = time.process_time()
            steps = loop.run(number)
            keep(f"training_{items}_rows", steps, time.process_time() - start)
    for items, loop in loops.items():
        best[f"ratio_{items}_rows"] = best[f"training_{items}_rows"] / best["floor"]
        best[f"useful_{items}_rows"] = loop.useful / loop.simulated
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.rounds)
    if options.json:
        print(json.dumps(result, indent=2))
        return 0
    print(f"floor, 32-branch body   {result['floor']:12.0f} robot-steps/s of one core")
    for rows in ROWS:
        print(
            f"training loop, {rows} rows  {result[f'training_{rows}_rows']:12.0f} robot-steps/s, "
            f"{result[f'useful_{rows}_rows']:.0%} of them before the end of their episode, "
            f"ratio to the floor {result[f'ratio_{rows}_rows']:.2f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
