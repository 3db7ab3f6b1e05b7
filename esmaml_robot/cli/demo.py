"""`esmaml demo`: the whole path on four corners, from training to C, in one command."""

from __future__ import annotations

import importlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from ..adaptation.base import Proposals, episode_seeds, materialise
from ..checkpoint import Checkpoint, RunFolder, metrics_until
from ..comparison import SCORED, SIGMA_GRID, Row, compare
from ..files import atomic_write_text
from ..policy_file import load_policy
from ..robot_spec import RobotSpec, load_robot
from ..search import candidate_seeds
from ..signals import Signals
from .adapt import SESSIONS, AdaptOutcome, adapt_on_robot
from .common import err, family_of, guarded, out, own_package, print_json
from .evaluate import comparison_table
from .export import export_files
from .settings import baseline_config, run_config
from .train import DEFAULT_WORKERS, Workers, train_with_bar

if TYPE_CHECKING:
    from ..report.plots import Story

F32 = npt.NDArray[np.float32]

ROBOT = "rover_uno"
#: Training episodes of the demonstration, half of the preset's: minutes in place of results.
DEMO_EPISODES = 300_000
#: Training episodes of `--quick`: enough to see every part work, too few for a good policy.
QUICK_EPISODES = 2_816
QUICK_GRID = (0.1, 0.3)
FAN = 24


def _paths_of(family: Any, checkpoint: Checkpoint, params: F32, hidden_task: int) -> list[F32]:
    trajectories = importlib.import_module("sim.trajectories")
    tasks = [family.sample("test", hidden_task)] * len(params)
    policy = checkpoint.policy
    paths, _ = trajectories.sensor_paths(family, policy.spec, policy.normaliser, params, tasks)
    return [np.array(paths[:, :2, i]) for i in range(len(params))]


def _story(checkpoint: Checkpoint, outcome: AdaptOutcome, spec: RobotSpec, hidden_task: int, seed: int) -> Story:
    """The picture's data: simulated paths of the meta-policy, telemetry of the robot's episodes."""
    from ..report.plots import Story

    family = family_of(checkpoint.config)
    corners = importlib.import_module("sim.tasks.beacon").CORNERS
    theta = checkpoint.policy.theta
    sigma = np.full(FAN, checkpoint.config.operator.sigma, dtype=np.float32)
    fan = materialise([Proposals(theta, candidate_seeds(seed, FAN), sigma, episode_seeds(seed, FAN))])
    signals = Signals(spec)
    tried = [np.array(signals.to_si(r.sensors.T)[:2].T) for r in outcome.records]
    returns = [r.return_ for r in outcome.records]
    best = tried[int(np.argmax(returns))] if tried else np.zeros((1, 2), np.float32)
    return Story(
        meta_path=_paths_of(family, checkpoint, theta[None, :], hidden_task)[0],
        fan=_paths_of(family, checkpoint, fan, hidden_task),
        tried=tried,
        tried_returns=returns,
        adapted=best,
        goals=corners,
        target=hidden_task % len(corners),
    )


def _nearest_corner(path: F32) -> tuple[int, float]:
    """Index of the corner nearest to the end of a path, and the distance in m."""
    corners = np.array(importlib.import_module("sim.tasks.beacon").CORNERS)
    distances = np.linalg.norm(corners - path[-1, :2], axis=1)
    return int(np.argmin(distances)), float(distances.min())


def _free_name(path: Path) -> Path:
    """`path`, or path-2, path-3, ...: the first that is not there yet."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


@guarded
def demo(
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Folder to make; default runs/demo, runs/demo-2, ...")
    ] = None,
    seed: Annotated[int, typer.Option(help="Run seed.", min=0)] = 0,
    hidden: Annotated[int, typer.Option(help="Which test task is hidden in the virtual robot.", min=0)] = 2,
    workers: Workers = DEFAULT_WORKERS,
    quick: Annotated[bool, typer.Option("--quick", help="Ten seconds: every part runs, little is learned.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with training that was cut short.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Train, evaluate, adapt on a virtual robot over a serial line, export, and show it, in under five minutes.

    Example: esmaml demo --out runs/demo
    """
    if out_folder is None:
        out_folder = _free_name(Path("runs/demo")) if not resume else Path("runs/demo")
    started = time.monotonic()
    own_package("sim")
    spec = load_robot(ROBOT)
    config = run_config("four_corners", seed=seed, episodes=QUICK_EPISODES if quick else DEMO_EPISODES)
    run, baseline = RunFolder(out_folder / "esmaml"), RunFolder(out_folder / "domain_randomisation")
    err.print(f"[bold]1 Train[/bold]  {config.policy.describe()}, {config.episodes} episodes each")
    checkpoint = train_with_bar(config, run, workers=workers, resume=resume, label="ES-MAML")
    control = train_with_bar(
        baseline_config(config), baseline, workers=workers, resume=resume, label="domain randomisation"
    )

    err.print("[bold]2 Evaluate[/bold]  on held-out tasks")
    tasks, choosing, grid = (8, 4, QUICK_GRID) if quick else (128, 64, SIGMA_GRID)
    with err.status("evaluating"):
        rows = compare(
            family_of(config), checkpoint, control, tasks=tasks, seed=seed, validation_tasks=choosing, grid=grid
        )
    if not as_json:
        out.print(comparison_table(rows, tasks, config.operator.build().episodes))

    port = f"sim://{ROBOT}?seed={hidden}"
    err.print(f"[bold]3 Adapt on the robot[/bold]  {port}: firmware on a pty, a corner the host is not told")
    session = _free_name(run.path / SESSIONS / "robot").name
    outcome = adapt_on_robot(run.path, spec, port, name=session, seed=seed)

    err.print("[bold]4 Export[/bold]  the adapted policy")
    adapted = load_policy(outcome.folder / "adapted.safetensors").policy
    with err.status("exporting and comparing"):
        report = export_files(adapted, spec, out_folder / "export", ("onnx", "c"), 10_000)
    for line in report.lines():
        err.print(line, highlight=False)

    err.print("[bold]5 Show[/bold]")
    summary = _write_pictures(out_folder, checkpoint, run, baseline, rows, outcome, spec, hidden, seed)
    summary |= {
        "adaptation": {"returns": list(outcome.adapted.history), "estimate": outcome.adapted.estimate},
        "export": report.to_json(),
        "seconds": round(time.monotonic() - started, 1),
    }
    atomic_write_text(out_folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    if as_json:
        print_json(summary)
        return
    out.print(
        f"adapted on the robot in {outcome.adapted.episodes} episodes: return "
        f"{outcome.adapted.history[0]:.1f} -> {outcome.adapted.estimate:.1f}"
    )
    out.print(f"pictures: {out_folder}/story.png, learning.png, scores.png", soft_wrap=True)
    out.print(f"exported: {out_folder}/export/policy.onnx, policy.h, policy.c", soft_wrap=True)
    out.print(f"took {summary['seconds']} s")


def _write_pictures(
    folder: Path,
    checkpoint: Checkpoint,
    run: RunFolder,
    baseline: RunFolder,
    rows: list[Row],
    outcome: AdaptOutcome,
    spec: RobotSpec,
    hidden: int,
    seed: int,
) -> dict[str, Any]:
    """story.png, learning.png and scores.png; returns the summary's part on them."""
    from ..report.plots import plot_learning, plot_scores, plot_story  # here: matplotlib takes long to load

    story = _story(checkpoint, outcome, spec, hidden, seed)
    plot_story(folder / "story.png", story)
    everything = 2**62
    curves = {
        "ES-MAML (after adaptation)": metrics_until(run.metrics_file, everything),
        "domain randomisation (no adaptation)": metrics_until(baseline.metrics_file, everything),
    }
    untrained = max((r for r in rows if r.training_episodes == 0), key=lambda r: r.after.mean)
    plot_learning(folder / "learning.png", curves, ("untrained start, adapted", untrained.after.mean))
    plot_scores(folder / "scores.png", [row.bar() for row in rows], SCORED["test"])
    corner, distance = _nearest_corner(story.adapted)
    return {
        "scores": [r.to_json() for r in rows],
        "corner_reached": {"nearest": corner, "distance_m": distance, "hidden": hidden % 4},
        "operator": asdict(checkpoint.config.operator.build()),  # type: ignore[call-overload]
    }
