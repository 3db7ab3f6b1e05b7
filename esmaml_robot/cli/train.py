"""`esmaml train`: meta-train a policy in simulation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..checkpoint import Checkpoint, RunConfig, RunFolder
from ..training import Progress
from ..training import train as run_training
from .common import err, family_factory, guarded, print_json, progress_bar
from .settings import baseline_config, check_robot, run_config

DEFAULT_WORKERS = min(2, os.cpu_count() or 1)
Workers = Annotated[int, typer.Option(help="Worker processes; any number gives the same bits.", min=1, max=256)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Any setting, e.g. --set operator.sigma=0.2; may be repeated.")
]


def train_with_bar(config: RunConfig, folder: RunFolder, *, workers: int, resume: bool, label: str) -> Checkpoint:
    """Train with a progress bar on standard error."""
    with progress_bar() as bar:
        task = bar.add_task(label, total=config.iterations, note="")

        def show(p: Progress) -> None:
            bar.update(task, completed=p.iteration, note=f"return {p.mean_return:8.1f}  {p.episodes} episodes")

        return run_training(config, folder, family_factory(), workers=workers, resume=resume, on_progress=show)


@guarded
def train(
    family: Annotated[
        str | None, typer.Argument(help="Task family: four_corners or nav2d.", show_default="four_corners")
    ] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Run folder to make.")] = Path("runs/four_corners"),
    seed: Annotated[
        int | None, typer.Option(help="Run seed: decides every random number.", min=0, show_default="0")
    ] = None,
    episodes: Annotated[int | None, typer.Option(help="Total training episodes.", min=1)] = None,
    policy: Annotated[str | None, typer.Option(help="linear, mlp, or mlp:8-8 with hidden sizes.")] = None,
    workers: Workers = DEFAULT_WORKERS,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Domain randomisation instead: no adaptation in training.")
    ] = False,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Meta-train a policy in simulation with ES-MAML.

    Example: esmaml train four_corners --out runs/first --seed 0

    With --resume and nothing but --out, the run goes on with its own settings.
    """
    folder = RunFolder(out_folder)
    said_anything = baseline or any(v is not None for v in (family, seed, episodes, policy)) or bool(settings)
    if resume and not said_anything and folder.newest_file() is not None:
        config = folder.newest().config
        check_robot(config, family_factory()(config.family).spec)
    else:
        name = family or "four_corners"
        spec = family_factory()(name).spec
        config = run_config(
            name, spec, seed=seed or 0, episodes=episodes, policy=policy, settings=tuple(settings or ())
        )
        config = baseline_config(config) if baseline else config
    label = "domain randomisation" if config.operator.name == "none" else "ES-MAML"
    what = f"{config.policy.describe()}, {config.operator.name}, {config.episodes} episodes"
    err.print(f"{label}: {what} -> {out_folder}")
    checkpoint = train_with_bar(config, folder, workers=workers, resume=resume, label=label)
    result = {
        "run": str(out_folder),
        "iterations": checkpoint.state.iteration,
        "episodes": checkpoint.state.episodes,
        "policy_hash": checkpoint.policy.policy_hash,
    }
    if as_json:
        print_json(result)
    else:
        err.print(
            f"done: {result['episodes']} episodes, policy {result['policy_hash']}. "
            f"Next: esmaml eval {out_folder}, or esmaml adapt {out_folder} --port sim://{config.robot}?seed=0"
        )
