"""`esmaml baseline`: policy-gradient MAML, and learning each task from scratch, to measure a gain against."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ..baselines.pg_run import PGConfig, PGFolder, PGRun, parse_pg_config
from ..baselines.plain_es import best_curve, episodes_to_reach
from ..checkpoint import RunConfig, RunFolder
from ..comparison import SCORED, UNTRAINED, Row
from ..errors import ConfigError, ToolMissing
from ..evaluation import Split, TaskFamily
from ..policy import Normaliser, Policy, initial_theta
from .common import check_interface, err, family_of, guarded, out, plain_table, print_json, progress_bar
from .settings import assign, run_config
from .train import Settings, require_begun

if TYPE_CHECKING:
    from ..baselines.pg_maml import PGProgress

app = typer.Typer(
    help="Baselines to measure a gain against: policy-gradient MAML, and learning from scratch.\n\n"
    "Example: esmaml baseline pg-maml four_corners --out runs/pg",
    no_args_is_help=True,
)

#: Settings of the family and the policy; all other --set belong to policy-gradient MAML itself.
_SHARED = ("options.", "policy.")


def require_torch() -> None:
    """Raises ToolMissing where torch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise ToolMissing(
            "policy-gradient MAML needs torch, which is not installed; pip install 'esmaml-robot[baselines]'."
        )


def pg_config(
    family: str, *, seed: int, episodes: int | None, policy: str | None, settings: tuple[str, ...]
) -> PGConfig:
    """Settings on a family: its preset's policy and episode budgets, with overrides. Raises ConfigError."""
    shared = tuple(s for s in settings if s.startswith(_SHARED))
    base = run_config(family, seed=seed, episodes=episodes, policy=policy, settings=shared)
    values: dict[str, Any] = base.model_dump(
        mode="json", include={"family", "options", "robot", "spec_hash", "policy", "episodes", "seed"}
    )
    own: dict[str, Any] = {}
    for setting in settings:
        if setting not in shared:
            assign(own, setting)
    # as many episodes to adapt as the operator that ES-MAML is trained with
    steps = own.get("inner_steps", 1)
    rollouts = max(2, base.adaptation.build().episodes // (steps if isinstance(steps, int) and steps > 0 else 1))
    return parse_pg_config({**values, "rollouts": rollouts, **own})


def train_pg_maml(config: PGConfig, folder: PGFolder, family: TaskFamily, *, resume: bool, label: str) -> PGRun:
    """Train with a progress bar on standard error."""
    require_torch()
    from ..baselines.pg_maml import train

    with progress_bar() as bar:
        task = bar.add_task(label, total=config.iterations, note="")

        def show(p: PGProgress) -> None:
            note = f"before {p.before:8.2f}  after {p.after:8.2f}  {p.episodes} episodes"
            bar.update(task, completed=p.iteration, note=note)

        return train(config, family, folder, resume=resume, on_progress=show)


def pg_maml_rows(
    run: PGRun, family: TaskFamily, *, episodes: int, split: Split, tasks: int, choosing: int, seed: int
) -> list[Row]:
    """Lines of policy-gradient MAML for the comparison. Raises ToolMissing or SpecMismatch."""
    require_torch()
    from ..baselines.pg_score import pg_rows

    check_interface(run.config, family.interface_hash, f"family {family.name}")
    return pg_rows(run, family, episodes=episodes, split=split, tasks=tasks, choosing=choosing, seed=seed)


def pg_table(rows: list[Row], tasks: int, episodes: int) -> Table:
    table = plain_table(
        *("", "before", "after", "ended early", "inner rate", "training episodes"),
        words=1,
        title=f"Return on {tasks} {SCORED['test']}, mean ± 95 % interval; {episodes} adaptation episodes",
        caption="* at the inner learning rate that suits it best, chosen on validation tasks",
    )
    for row in rows:
        cells = (str(row.before), str(row.after), f"{row.ended_early:.0%}", f"{row.sigma:g}")
        table.add_row(row.label, *cells, str(row.training_episodes))
    return table


@app.command(name="pg-maml")
@guarded
def pg_maml(
    family_name: Annotated[
        str | None,
        typer.Argument(metavar="FAMILY", help="Task family, as for `esmaml train`.", show_default="four_corners"),
    ] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Run folder to make.")] = Path("runs/pg_maml"),
    seed: Annotated[int | None, typer.Option(help="Run seed.", min=0, show_default="0")] = None,
    episodes: Annotated[int | None, typer.Option(help="Total training episodes.", min=1)] = None,
    policy: Annotated[str | None, typer.Option(help="linear, mlp, or mlp:8-8 with hidden sizes.")] = None,
    settings: Settings = None,
    tasks: Annotated[int, typer.Option(help="Held-out tasks to score on afterwards.", min=2)] = 128,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Train policy-gradient MAML (Finn et al. 2017) and score it on held-out tasks. Needs torch.

    Example: esmaml baseline pg-maml nav2d --out runs/pg --episodes 60000 --set inner_rate=0.5
    """
    require_torch()
    folder = PGFolder(out_folder)
    if resume:
        require_begun(out_folder, folder.begun)
    said_anything = any(v is not None for v in (family_name, seed, episodes, policy)) or bool(settings)
    if resume and not said_anything and folder.file.exists():
        config = folder.load().config
    else:
        config = pg_config(
            family_name or "four_corners",
            seed=seed or 0,
            episodes=episodes,
            policy=policy,
            settings=tuple(settings or ()),
        )
        if config.episodes < config.episodes_per_iteration and not resume:
            raise ConfigError(
                f"episodes is {config.episodes}, too few for one iteration of policy-gradient MAML; give at least "
                f"{config.episodes_per_iteration}, or take fewer with --set tasks=... or --set rollouts=..."
            )
    family = family_of(config)
    what = f"{config.policy.describe()}, {config.adaptation_episodes} episodes to adapt, {config.episodes} in all"
    err.print(f"policy-gradient MAML: {what} -> {out_folder}")
    run = train_pg_maml(config, folder, family, resume=resume, label="PG-MAML")
    with err.status("evaluating on held-out tasks"):
        rows = pg_maml_rows(
            run, family, episodes=config.adaptation_episodes, split="test", tasks=tasks, choosing=tasks, seed=0
        )
    if as_json:
        print_json([{"split": "test", **row.to_json()} for row in rows])
    else:
        out.print(pg_table(rows, tasks, config.adaptation_episodes))


def untrained_policy(config: RunConfig) -> Policy:
    """What training with `config` starts from."""
    theta = initial_theta(config.policy, config.initial, config.initial_gain, config.seed)
    return Policy(config.policy, theta, Normaliser.identity(config.policy.inputs))


def scratch_row(
    family: TaskFamily, config: RunConfig, *, episodes: int, split: Split, tasks: int, choosing: int, seed: int
) -> Row:
    """The line of plain ES for the comparison: each task learnt by itself, from the start that training had."""
    before, after = best_curve(
        family, untrained_policy(config), [0, episodes], split=split, tasks=tasks, choosing=choosing, seed=seed
    )
    label = f"plain ES, {episodes} episodes a task *"
    return Row(label, after.sigma, 0, before.result, after.result, after.ended_early)


def default_marks(budget: int) -> list[int]:
    """21 episodes, as the presets adapt with, then about three a decade up to the budget."""
    decades = [m * 10**e for e in range(2, 8) for m in (1, 2, 5)]
    return [m for m in (21, *decades) if m < budget] + [budget]


@app.command()
@guarded
def scratch(
    family_name: Annotated[str, typer.Argument(metavar="FAMILY", help="Task family.")] = "four_corners",
    budget: Annotated[int, typer.Option(help="Episodes on each task, at most.", min=10)] = 1000,
    start_from: Annotated[
        Path | None, typer.Option("--from", help="Run whose policy to start from, instead of an untrained one.")
    ] = None,
    target: Annotated[float | None, typer.Option(help="Return to say the number of episodes for.")] = None,
    tasks: Annotated[int, typer.Option(help="Held-out tasks, each learnt by itself.", min=2)] = 32,
    choosing: Annotated[int, typer.Option(help="Validation tasks to choose the step sizes on.", min=1)] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the search directions.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the curve as JSON.")] = False,
) -> None:
    """How many episodes learning one task from scratch takes: plain ES on each held-out task by itself.

    Example: esmaml baseline scratch four_corners --budget 2000 --target -150
    """
    if start_from is not None:
        checkpoint = RunFolder(start_from).newest()
        if checkpoint.config.family != family_name:
            raise ConfigError(f"{start_from} is a run on {checkpoint.config.family}, not on {family_name}.")
        family, policy, label = family_of(checkpoint.config), checkpoint.policy, str(start_from)
    else:
        config = run_config(family_name, seed=seed)
        family = family_of(config)
        policy, label = untrained_policy(config), UNTRAINED
    with err.status("learning each task by itself"):
        marks = default_marks(budget)
        points = best_curve(family, policy, marks, split="test", tasks=tasks, choosing=choosing, seed=seed)
    reached = None if target is None else episodes_to_reach(points, target)
    if as_json:
        print_json(
            {"start": label, "target": target, "episodes_to_target": reached, "curve": [p.to_json() for p in points]}
        )
        return
    table = Table(
        title=f"plain ES on each of {tasks} held-out tasks by itself, from {label}: mean return ± 95 % interval",
        caption="each line at the step sizes that suit that number of episodes best, chosen on validation tasks",
    )
    for name in ("episodes", "return", "sigma", "learning rate"):
        table.add_column(name, justify="right")
    for p in points:
        table.add_row(str(p.episodes), str(p.result), f"{p.sigma:g}", f"{p.learning_rate:g}")
    out.print(table)
    if target is not None:
        said = f"not within {budget} episodes" if reached is None else f"within {reached} episodes"
        out.print(f"a mean return of {target:g} is reached {said} of each task")
