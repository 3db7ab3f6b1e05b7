"""`esmaml train`: meta-train a policy in simulation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..checkpoint import Checkpoint, RunConfig, RunFolder, parse_run_config
from ..errors import CheckpointError
from ..training import Progress
from ..training import train as run_training
from .common import err, family_factory, family_of, guarded, print_json, progress_bar
from .settings import baseline_config, run_config

DEFAULT_WORKERS = min(2, os.cpu_count() or 1)
Workers = Annotated[int, typer.Option(help="Worker processes; any number gives the same bits.", min=1, max=256)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Any setting, e.g. --set operator.sigma=0.2; may be repeated.")
]


def train_with_bar(
    config: RunConfig, folder: RunFolder, *, workers: int, resume: bool, label: str, warm: Checkpoint | None = None
) -> Checkpoint:
    """Train with a progress bar on standard error."""
    with progress_bar() as bar:
        task = bar.add_task(label, total=config.iterations, note="")

        def show(p: Progress) -> None:
            value = "" if p.mean_return is None else f"return {p.mean_return:8.2f}  "
            if p.validation_return is not None:
                value += f"validation {p.validation_return:8.2f}  "
            bar.update(task, completed=p.iteration, note=f"{value}{p.episodes} episodes")

        def note(text: str) -> None:
            err.print(f"esmaml: {text}", soft_wrap=True, highlight=False, markup=False)

        return run_training(
            config, folder, family_factory(), workers=workers, resume=resume, warm=warm, on_progress=show, on_note=note
        )


def require_begun(folder: Path, begun: bool) -> None:
    """A mistyped name is no wish for a new run. Raises CheckpointError."""
    if not begun:
        raise CheckpointError(f"{folder} holds no run to resume; leave out --resume to begin one, or check --out.")


def _own_config(folder: RunFolder) -> RunConfig | None:
    """Settings of the run that was begun in `folder`; None where it was killed before it wrote any."""
    if folder.newest_file() is None:
        return folder.described()
    checkpoint, damaged = folder.newest_whole()
    # a checkpoint from before the run was given more episodes does not know of them
    return (folder.described() if damaged else None) or checkpoint.config


def ending(checkpoint: Checkpoint) -> str:
    """How training ended, and with validation what it kept."""
    config, state, best = checkpoint.config, checkpoint.state, checkpoint.best
    words = f"{state.episodes} episodes"
    if checkpoint.stopped_early:
        words += f", stopped early after {state.iteration} of {config.iterations} iterations"
        words += f" (validations without a new best: {best.stale})"
    if checkpoint.best_iteration is not None:
        words += f", kept what it was after iteration {checkpoint.best_iteration} (validation return {best.score:.2f})"
    elif config.validation.every:
        words += ", kept the last iteration's (every validation failed)"
    return words


def warm_config(config: RunConfig, run: str, start: Checkpoint) -> RunConfig:
    """`config` started from the policy of another run, whose episodes count. Raises ConfigError."""
    warm = {"run": run, "policy_hash": start.policy.policy_hash, "episodes": start.state.episodes}
    return parse_run_config({**config.model_dump(mode="json"), "warm_start": warm})


@guarded
def train(
    family: Annotated[
        str | None,
        typer.Argument(help="Task family by name, or module:Class of your own.", show_default="four_corners"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to make.", show_default="runs/FAMILY")] = None,
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
    start_from: Annotated[
        Path | None, typer.Option("--from", help="Run whose policy to start from; its episodes count as this one's.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Meta-train a policy in simulation with ES-MAML.

    Example: esmaml train four_corners --out runs/first --seed 0

    A task family of your own: esmaml train my_module:MyFamily --out runs/mine

    With --resume and nothing but --out, the run goes on with its own settings. With --episodes as well it goes on until
    it has had so many, and is the run that it would have been with as many from the start.
    """
    name = family or "four_corners"
    out_folder = out or Path("runs") / name.rpartition(":")[2]
    folder = RunFolder(out_folder)
    said_anything = baseline or any(v is not None for v in (family, seed, policy, start_from)) or bool(settings)
    start = None
    if resume:
        require_begun(out_folder, folder.begun)
    own = _own_config(folder) if resume and not said_anything else None
    if own is not None:
        config = own
        family_of(config)
        if episodes is not None:
            config = parse_run_config({**config.model_dump(mode="json"), "episodes": episodes})
    else:
        config = run_config(name, seed=seed or 0, episodes=episodes, policy=policy, settings=tuple(settings or ()))
        config = baseline_config(config) if baseline else config
        if start_from is not None:
            start = RunFolder(start_from).newest()
            config = warm_config(config, str(start_from), start)
    label = "domain randomisation" if config.operator.name == "none" else "ES-MAML"
    what = f"{config.policy.describe()}, {config.operator.name}, {config.episodes} episodes"
    err.print(f"{label}: {what} -> {out_folder}")
    checkpoint = train_with_bar(config, folder, workers=workers, resume=resume, label=label, warm=start)
    result = {
        "run": str(out_folder),
        "iterations": checkpoint.state.iteration,
        "episodes": checkpoint.state.episodes,
        "policy_hash": checkpoint.policy.policy_hash,
        "stopped_early": checkpoint.stopped_early,
        "best_iteration": checkpoint.best_iteration,
        "validation_return": None if checkpoint.best.theta is None else checkpoint.best.score,
    }
    if as_json:
        print_json(result)
    else:
        err.print(
            f"done: {ending(checkpoint)}, policy {result['policy_hash']}. "
            f"Next: esmaml eval {out_folder}, or esmaml play {out_folder}"
        )
