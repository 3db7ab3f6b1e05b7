"""One family on one training seed: trains what is missing, compares, writes one JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from esmaml_robot.checkpoint import Checkpoint, RunConfig, RunFolder
from esmaml_robot.cli.common import family_of
from esmaml_robot.cli.settings import baseline_config, run_config
from esmaml_robot.cli.train import train_with_bar, warm_config
from esmaml_robot.comparison import compare
from esmaml_robot.errors import CheckpointError
from esmaml_robot.files import atomic_write_text

from .experiments import EXPERIMENTS, Experiment


def _trained(config: RunConfig, folder: Path, label: str, workers: int, warm: Checkpoint | None = None) -> Checkpoint:
    """The run in `folder`: finished if it was begun, also with more episodes; read if it is there, made otherwise."""
    return train_with_bar(config, RunFolder(folder), workers=workers, resume=folder.exists(), label=label, warm=warm)


def train_seed(
    experiment: Experiment, seed: int, out: Path, workers: int, episodes: int | None
) -> tuple[Checkpoint, Checkpoint]:
    """ES-MAML and domain randomisation with the same total number of episodes."""
    folder = out / experiment.family / f"seed{seed}"
    name = f"{experiment.family} seed {seed}"
    config = run_config(experiment.family, seed=seed, episodes=episodes, settings=experiment.settings)
    warm = None
    if experiment.robust_episodes:
        robust = baseline_config(config).model_copy(update={"episodes": experiment.robust_episodes})
        warm = _trained(robust, folder / "robust", f"{name} robust start", workers)
        config = warm_config(config, "robust", warm)  # both go on from there, to the same total
    ours = _trained(config, folder / "es_maml", f"{name} ES-MAML", workers, warm)
    control = _trained(baseline_config(config), folder / "domain_randomisation", f"{name} control", workers, warm)
    return ours, control


def compare_seed(experiment: Experiment, seed: int, ours: Checkpoint, control: Checkpoint, out: Path) -> Path:
    """All tables of an experiment on one training seed, as JSON."""
    family = family_of(ours.config)
    tables: list[dict[str, Any]] = []
    choices: dict[tuple[str, int], float] = {}
    for table in experiment.tables:
        rows = compare(
            family,
            ours,
            control,
            tasks=experiment.tasks,
            seed=seed,
            split=table.split,
            queries=table.queries,
            validation_tasks=experiment.validation_tasks,
            grid=experiment.grid,
            choices=choices,
            on_line=lambda label: print(f"{experiment.family} seed {seed}: {label}", flush=True),
        )
        tables.append({"queries": table.queries, "split": table.split, "rows": [r.to_json() for r in rows]})
    content = {
        "family": experiment.family,
        "seed": seed,
        "policy": ours.config.policy.describe(),
        "parameters": ours.config.policy.dimension,
        "policy_hash": ours.policy.policy_hash,
        "control_hash": control.policy.policy_hash,
        "tasks": experiment.tasks,
        "tables": tables,
    }
    path = out / f"{experiment.family}_seed{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return atomic_write_text(path, json.dumps(content, indent=1) + "\n", error=CheckpointError)


def run_seed(family: str, seed: int, out: Path, results: Path, workers: int, episodes: int | None) -> str:
    """Train and compare one family on one seed; the path of its JSON file."""
    experiment = EXPERIMENTS[family]
    ours, control = train_seed(experiment, seed, out, workers, episodes)
    return str(compare_seed(experiment, seed, ours, control, results))
