"""Four corners: ES-MAML beside domain randomisation and the untrained start, on three training seeds.

    python -m benchmarks.four_corners --out runs/bench_four_corners --json docs/results/four_corners.json

Each seed trains ES-MAML and, with the same total number of episodes, domain randomisation; both are adapted to the
same held-out tasks with the same operator. The control's inner sigmas are chosen on validation tasks. All seeds are
reported. Runs that are there already are read, not made again. About six minutes a seed on two cores.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from esmaml_robot.checkpoint import Checkpoint, RunConfig, RunFolder
from esmaml_robot.cli.evaluate import Row, compare
from esmaml_robot.cli.settings import baseline_config, run_config
from esmaml_robot.cli.train import train_with_bar
from esmaml_robot.robot_spec import load_robot
from esmaml_robot.scoring import estimate

BAR, MARGIN = -150.0, 50.0


def _run(config: RunConfig, folder: Path, label: str, workers: int) -> Checkpoint:
    return train_with_bar(config, RunFolder(folder), workers=workers, resume=folder.exists(), label=label)


def _report(per_seed: list[list[Row]], seeds: list[int], tasks: int, console: Console) -> list[dict[str, Any]]:
    table = Table(title=f"four corners, {tasks} held-out tasks, 21 adaptation episodes: mean return ± 95 % interval")
    table.add_column("")
    for seed in seeds:
        table.add_column(f"seed {seed}", justify="right")
    table.add_column("mean over seeds, interval over seeds", justify="right")
    rows = []
    for lines in zip(*per_seed, strict=True):
        over_seeds = estimate([line.after.mean for line in lines])
        cells = [f"{line.after} (sigma {line.sigma:g})" for line in lines]
        table.add_row(lines[0].label, *cells, str(over_seeds), style="bold" if lines[0].label == "ES-MAML" else "")
        rows.append(
            {
                "label": lines[0].label,
                "seeds": {str(s): line.to_json() for s, line in zip(seeds, lines, strict=True)},
                "over_seeds": over_seeds.to_json(),
            }
        )
    console.print(table)
    return rows


def _verdict(per_seed: list[list[Row]], console: Console) -> bool:
    """The issue's line, seed by seed: above the bar, 50 above each control, intervals apart."""
    good = True
    for number, lines in enumerate(per_seed):
        ours, controls = lines[0].after, [line.after for line in lines[1:]]
        best = max(controls, key=lambda e: e.mean)
        passed = ours.mean > BAR and ours.mean - best.mean >= MARGIN and ours.low > max(c.high for c in controls)
        good &= passed
        console.print(
            f"seed {number}: {ours} against the best control {best}: {ours.mean - best.mean:+.1f}, "
            f"{'reached' if passed else 'NOT reached'}"
        )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bench_four_corners"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", type=int, default=512)
    parser.add_argument("--episodes", type=int, default=None)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, default=None, help="write the table here as JSON")
    options = parser.parse_args()
    console = Console(width=150)
    spec = load_robot("rover_uno")
    per_seed = []
    for seed in options.seeds:
        config = run_config("four_corners", spec, seed=seed, episodes=options.episodes)
        folder = options.out / f"seed{seed}"
        run = _run(config, folder / "esmaml", f"seed {seed} ES-MAML", options.workers)
        control = _run(baseline_config(config), folder / "domain_randomisation", f"seed {seed} DR", options.workers)
        per_seed.append(compare(run, control, tasks=options.tasks, seed=0, validation_tasks=options.tasks))
    rows = _report(per_seed, options.seeds, options.tasks, console)
    reached = _verdict(per_seed, console)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        episodes = {line.label: line.training_episodes for line in per_seed[0]}
        content = {
            "tasks": options.tasks,
            "training_episodes": episodes,
            "rows": rows,
            "reached": bool(np.all(reached)),
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
