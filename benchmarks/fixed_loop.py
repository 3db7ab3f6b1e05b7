"""Episodes of adapted policies, float32 beside int16 and int8: what fixed point costs where it counts, in return.

    python -m benchmarks.fixed_loop runs/first --tasks 32
    python -m benchmarks.fixed_loop runs/first runs/other --json docs/results/fixed_loop.json

The meta-policy of a run folder is adapted to held-out tasks in simulation, in float32, with the run's own operator.
Each adapted policy then runs the same episode again: as it is, and as integers that read the sensors' counts and give
the actuators' counts. It is calibrated with the counts of another episode of its own. Needs no compiler: what runs is
the numpy model, whose bits the C has (tests/c/test_fixed_c.py).

The control is float32 with every command moved at random by at most one count: an adapted policy was chosen for what
it did in an episode, and where episodes are chaotic, any other bits do a little worse.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esmaml_robot.adaptation.base import Adapted
from esmaml_robot.adaptation.side_by_side import Item, adapt_many
from esmaml_robot.checkpoint import RunFolder
from esmaml_robot.evaluation import EpisodeBatch, Task
from esmaml_robot.policy import Policy, PolicyBatch
from esmaml_robot.scoring import operator_seeds, score_seeds
from firmware_export.fixed_plan import FixedNetwork
from firmware_export.fixed_policy import (
    calibration_rows,
    command_counts,
    counts_of_robot,
    network_of_policy,
    pin_counts,
)
from firmware_export.fixed_quantise import quantise
from sim.counted import observed_counts, run_counted
from sim.family import RobotFamily
from sim.tasks import make_family

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]

#: Seed of the episodes that calibrate: not those that score.
CALIBRATION_SEED = 77
#: Seed of what moves the commands of the control.
MOVING_SEED = 78
MOVED = "float32, moved"


def quantised(family: RobotFamily, policy: Policy, seen: Sequence[I32], bits: Any) -> FixedNetwork:
    """The policy in integers, calibrated with the counts of an episode."""
    inputs, outputs = counts_of_robot(family.spec, policy.spec.clock_steps is not None)
    rows = calibration_rows(policy.spec, family.spec, seen)
    return quantise(network_of_policy(policy, family.spec), inputs, outputs, rows, bits)


def fixed_returns(
    family: RobotFamily, policies: Sequence[Policy], plans: Sequence[FixedNetwork], tasks: Sequence[Task], seeds: U32
) -> F32:
    """Returns of one episode each, every policy as integers."""

    def controller(tick: int, rows: range, counts: I32) -> I32:
        inputs = pin_counts(policies[0].spec, counts, tick)
        return np.concatenate([command_counts(plans[i], inputs[k : k + 1]) for k, i in enumerate(rows)])

    return run_counted(family, controller, tasks, seeds)


def moved_returns(family: RobotFamily, meta: Policy, params: F32, tasks: Sequence[Task], seeds: U32) -> F32:
    """Returns of one episode each in float32, every command moved at random by -1, 0 or 1 counts."""
    signals, batches = family.signals, dict[int, PolicyBatch]()
    rng = np.random.default_rng(MOVING_SEED)

    def controller(tick: int, rows: range, counts: I32) -> I32:
        if rows.start not in batches:
            batches[rows.start] = PolicyBatch(meta.spec, params[rows.start : rows.stop], meta.normaliser)
        whole = np.zeros((len(family.spec.sensors), len(rows)), np.int32)
        whole[signals.observed] = counts.T
        commands = signals.to_counts(batches[rows.start].act(signals.observe(signals.to_si(whole)), tick))
        moved = commands + rng.integers(-1, 2, commands.shape)
        return np.clip(moved, signals.actuator_low, signals.actuator_high).astype(np.int32).T

    return run_counted(family, controller, tasks, seeds)


def compare(folder: Path, tasks: int) -> dict[str, Any]:
    """Mean returns in float32, int16 and int8 over held-out tasks, with the run's own operator."""
    run_folder = RunFolder(folder)
    checkpoint = run_folder.newest()
    config = checkpoint.config
    family = make_family(config.family, config.options)
    assert isinstance(family, RobotFamily)
    meta = checkpoint.policy
    sampled = [family.sample("test", i) for i in range(tasks)]

    def evaluate(rows: F32, row_tasks: Sequence[Task], seeds: U32) -> EpisodeBatch:
        return family.evaluate(meta.spec, meta.normaliser, rows, row_tasks, seeds)

    items = [Item(meta.theta, t, int(s)) for t, s in zip(sampled, operator_seeds(0, tasks), strict=True)]
    adapted = [a for a in adapt_many(config.adaptation.build(), evaluate, items) if isinstance(a, Adapted)]
    if len(adapted) < tasks:
        raise RuntimeError("an episode was invalid")
    policies = [Policy(meta.spec, a.params, meta.normaliser) for a in adapted]
    params, seeds = np.stack([p.theta for p in policies]), score_seeds(0, tasks)
    returns: dict[str, F32] = {"float32": evaluate(params, sampled, seeds).returns}
    returns[MOVED] = moved_returns(family, meta, params, sampled, seeds)
    calibrating = score_seeds(CALIBRATION_SEED, tasks)
    seen = observed_counts(family, meta.spec, meta.normaliser, params, sampled, calibrating)
    largest: dict[str, float] = {}
    for bits in (16, 8):
        plans = [quantised(family, policy, rows, bits) for policy, rows in zip(policies, seen, strict=True)]
        largest[f"int{bits}"] = max(plan.error for plan in plans)
        returns[f"int{bits}"] = fixed_returns(family, policies, plans, sampled, seeds)
    family.close()
    means = {name: float(values.mean()) for name, values in returns.items()}
    gaps = {
        name: {
            "mean": means[name],
            "of_float32_percent": 100 * (means[name] - means["float32"]) / abs(means["float32"]),
            "standard_error_of_difference": float((values - returns["float32"]).std(ddof=1) / np.sqrt(tasks)),
            "largest_output_error": largest.get(name, 0.0),
        }
        for name, values in returns.items()
    }
    return {"family": config.family, "policy": meta.spec.describe(), "tasks": tasks, "returns": gaps}


def table(results: Sequence[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| family | policy | tasks | float32 | float32, commands moved by a count | int16 | int8 |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        rows = result["returns"]
        cells = [f"{rows['float32']['mean']:.4g}"]
        for name in (MOVED, "int16", "int8"):
            row = rows[name]
            cells.append(
                f"{row['mean']:.4g} ({row['of_float32_percent']:+.2f} % ± "
                f"{196 * row['standard_error_of_difference'] / abs(rows['float32']['mean']):.2f})"
            )
        lines.append(f"| {result['family']} | {result['policy']} | {result['tasks']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--tasks", type=int, default=32, help="held-out tasks")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    results = []
    for folder in arguments.runs:
        results.append(compare(folder, arguments.tasks))
        print(f"{results[-1]['family']}, {results[-1]['policy']}, {arguments.tasks} tasks")
        for name, row in results[-1]["returns"].items():
            print(
                f"  {name:14} {row['mean']:10.4f}  {row['of_float32_percent']:+6.2f} %  (difference +- "
                f"{1.96 * row['standard_error_of_difference']:.4f}; outputs within {row['largest_output_error']:.1e})",
                flush=True,
            )
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
