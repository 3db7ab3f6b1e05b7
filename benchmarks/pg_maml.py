"""Four corners: ES-MAML beside policy-gradient MAML, before and after adaptation, as a table and a picture.

    python -m benchmarks.pg_maml --es runs/first --out runs/bench_pg_maml
    python -m benchmarks.pg_maml --es runs/s0 runs/s1 runs/s2 --out runs/bench_pg_maml --json pg_maml.json

Each --es is a run folder of `esmaml train four_corners`. Beside each, policy-gradient MAML is trained with the same
seed and as many whole iterations as fit the same total of episodes, one at least; the table has the totals. It is
adapted with the same number of episodes to the same held-out tasks.
Its inner learning rate may also be the one that suits it best on validation tasks (*). Runs that are there already are
read, not made again. Five minutes a seed on one core for 300,000 episodes, and two for the scores. Needs torch.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from esmaml_robot import directions
from esmaml_robot.adaptation.side_by_side import Item, adapt_many
from esmaml_robot.baselines.pg_maml import Learner, one_thread
from esmaml_robot.baselines.pg_run import PGFolder, PGRun
from esmaml_robot.baselines.pg_score import PG_MAML, RATE_GRID, adapted_params, pg_rows, score, with_budget
from esmaml_robot.checkpoint import Checkpoint, RunFolder
from esmaml_robot.cli.baselines import pg_config, train_pg_maml
from esmaml_robot.comparison import ES_MAML, Row
from esmaml_robot.errors import ConfigError
from esmaml_robot.policy import Normaliser
from esmaml_robot.report.adaptations import MethodPaths, plot_adaptations
from esmaml_robot.scoring import estimate
from esmaml_robot.scoring import score as es_score
from sim.family import RobotFamily
from sim.tasks.beacon import CORNERS, FourCorners
from sim.trajectories import sensor_paths

from .program import in_one_line, write_json

F32 = npt.NDArray[np.float32]

#: Held-out tasks whose adapted paths are drawn; eight for each corner.
DRAWN = 32


def train_beside(es: Checkpoint, seed: int, folder: Path, settings: tuple[str, ...]) -> PGRun:
    """Policy-gradient MAML with the seed's number and the episodes of an ES-MAML run."""
    config = pg_config("four_corners", seed=seed, episodes=es.state.episodes, policy=None, settings=settings)
    run = PGFolder(folder)
    return train_pg_maml(config, run, FourCorners(), resume=run.file.exists(), label=f"seed {seed} PG-MAML")


def lines(family: FourCorners, es: Checkpoint, pg: PGRun, tasks: int, choosing: int) -> list[Row]:
    """ES-MAML, then the lines of policy-gradient MAML, on the same tasks."""
    operator = es.config.adaptation
    result = es_score(family, es.policy, operator, "test", tasks, 0)
    ours = Row(ES_MAML, operator.sigma, es.state.episodes, *result.summary(), result.ended_early)
    budget = operator.build().episodes
    return [ours, *pg_rows(pg, family, episodes=budget, split="test", tasks=tasks, choosing=choosing, seed=0)]


def _split(paths: F32) -> list[F32]:
    """(T + 1, sensors, B) to a path of positions (T + 1, 2) for each row."""
    return [paths[:, :2, i] for i in range(paths.shape[2])]


def es_paths(family: FourCorners, es: Checkpoint, tasks: int) -> MethodPaths:
    """The perturbations that its operator begins with, and adapted policies."""
    policy, operator = es.policy, es.config.adaptation.build()
    drawn = [family.sample("test", i) for i in range(DRAWN)]
    rows = directions.directions(directions.fold_many(1, np.arange(operator.episodes - 1)), policy.spec.dimension)
    fan = np.concatenate([policy.theta[None], policy.theta + np.float32(es.config.adaptation.sigma) * rows])

    def evaluate(params: F32, row_tasks: Any, seeds: Any) -> Any:
        return family.evaluate(policy.spec, policy.normaliser, params, row_tasks, seeds)

    adapted = adapt_many(operator, evaluate, [Item(policy.theta, t, i) for i, t in enumerate(drawn)])
    found = np.stack([a.params for a in adapted if a is not None])
    explored = _split(sensor_paths(family, policy.spec, policy.normaliser, fan, [drawn[0]] * len(fan))[0])
    after = _split(sensor_paths(family, policy.spec, policy.normaliser, found, drawn)[0])
    result = es_score(family, policy, es.config.adaptation, "test", tasks, 0)
    return MethodPaths(
        ES_MAML,
        f"the policy and {len(rows)} perturbations of it",
        f"{operator.episodes} episodes each, {DRAWN} tasks",
        explored[0],
        explored[1:],
        after,
        [i % len(CORNERS) for i in range(DRAWN)],
        result.before,
        result.after,
    )


def replayed(family: RobotFamily, task: Any, seeds: Any, actions: npt.NDArray[np.float64]) -> list[F32]:
    """Paths of the episodes in which these actions (B, H, outputs) were drawn."""
    episodes = family.episodes()
    episodes.begin([task] * len(actions), seeds)
    seen = [family.signals.to_si(episodes.counts)]
    for t in range(actions.shape[1]):
        episodes.advance(np.ascontiguousarray(np.clip(actions[:, t], -1.0, 1.0).T, dtype=np.float32))
        seen.append(family.signals.to_si(episodes.counts))
    return _split(np.stack(seen))


def pg_paths(family: FourCorners, pg: PGRun, tasks: int) -> MethodPaths:
    """The noisy episodes that it begins with, and adapted policies, acting at their mean."""
    config, drawn = pg.config, [family.sample("test", i) for i in range(DRAWN)]
    with one_thread():
        learner = Learner(config, family)
        batch = learner.collect(torch.tensor(pg.params)[None], drawn[:1], range(1), 0, 0)
    explored = replayed(family, drawn[0], np.zeros(config.rollouts, np.uint32), batch.actions[0].numpy())
    normaliser = Normaliser.identity(config.policy.inputs)
    centre = sensor_paths(family, config.policy, normaliser, pg.policy.theta[None], drawn[:1])[0]
    theta = adapted_params(pg, family, drawn, 0)[:, : config.policy.dimension].astype(np.float32)
    result = score(pg, family, "test", tasks, 0)
    return MethodPaths(
        PG_MAML,
        f"the mean action and {config.rollouts} noisy episodes",
        f"{config.adaptation_episodes} episodes each, {DRAWN} tasks, mean action",
        _split(centre)[0],
        explored,
        _split(sensor_paths(family, config.policy, normaliser, theta, drawn)[0]),
        [i % len(CORNERS) for i in range(DRAWN)],
        result.before_mean.returns,
        result.after_mean.returns,
    )


def four_corners_run(folder: Path) -> Checkpoint:
    """The newest checkpoint of a run of ES-MAML on four corners. Raises CheckpointError or ConfigError."""
    checkpoint = RunFolder(folder).newest()
    if checkpoint.config.family != FourCorners.name:
        raise ConfigError(
            f"--es {folder} is a run on {checkpoint.config.family}; this comparison is on four corners: "
            f"`esmaml train {FourCorners.name}` makes one."
        )
    return checkpoint


def explored(method: MethodPaths, lowest: float) -> dict[str, Any]:
    """What the text says of a method's picture.

    Args:
        lowest: the return of an episode that never hears its beacon.
    """
    return {
        "label": method.label,
        "centre_ends_m_from_start": float(np.linalg.norm(method.centre[-1] - method.centre[0])),
        "share_at_lowest_return": {
            "before": float((method.before <= lowest).mean()),
            "after": float((method.after <= lowest).mean()),
        },
    }


def report(per_seed: list[list[Row]], seeds: list[int], tasks: int, console: Console) -> list[dict[str, Any]]:
    """The table on the console; its rows as plain values."""
    table = Table(title=f"four corners, {tasks} held-out tasks: mean return ± 95 % interval")
    table.add_column("")
    table.add_column("training episodes", justify="right")
    for seed in seeds:
        for when in ("before", "after"):
            table.add_column(f"seed {seed} {when}", justify="right")
    if len(seeds) > 1:
        table.add_column("after, mean and interval of seeds", justify="right")
    rows = []
    for same in zip(*per_seed, strict=True):
        over_seeds = estimate([row.after.mean for row in same])
        cells = [str(e) for row in same for e in (row.before, row.after)]
        trained = ", ".join(f"{n:,}" for n in dict.fromkeys(row.training_episodes for row in same))
        table.add_row(same[0].label, trained, *cells, *([str(over_seeds)] if len(seeds) > 1 else []))
        seeds_json = {str(s): row.to_json() for s, row in zip(seeds, same, strict=True)}
        rows.append({"label": same[0].label, "seeds": seeds_json, "over_seeds": over_seeds.to_json()})
    console.print(table)
    return rows


@in_one_line
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--es", type=Path, nargs="+", required=True, help="run folders of ES-MAML, one a seed")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_pg_maml"))
    parser.add_argument("--tasks", type=int, default=256)
    parser.add_argument("--choosing", type=int, default=64, help="validation tasks")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="of policy-gradient MAML")
    parser.add_argument("--json", type=Path, default=None, help="write the table here as JSON")
    options = parser.parse_args()
    console, family = Console(width=150), FourCorners()
    checkpoints = [four_corners_run(folder) for folder in options.es]  # all of them, before the first takes its time
    seeds, per_seed = list(range(len(checkpoints))), []
    figures: dict[str, Any] = {
        "tasks": options.tasks,
        "adaptation_episodes": [es.config.adaptation.build().episodes for es in checkpoints],
        "inner_rates": list(RATE_GRID),
    }
    for seed, es in zip(seeds, checkpoints, strict=True):
        pg = train_beside(es, seed, options.out / f"pg_maml_seed{seed}", tuple(options.settings))
        per_seed.append(lines(family, es, pg, options.tasks, options.choosing))
        if seed == 0:
            budgeted = PGRun(with_budget(pg.config, es.config.adaptation.build().episodes), pg.state)
            methods = [es_paths(family, es, options.tasks), pg_paths(family, budgeted, options.tasks)]
            silent = sum(term.weight for term in family.spec.reward.terms if term.kind == "constant")
            lowest = silent * family.spec.episode.steps
            figures["picture_of_seed_0"] = [explored(method, lowest) for method in methods]
            console.print(f"picture: {plot_adaptations(options.out / 'four_corners.png', methods, CORNERS)}")
    write_json(options.json, figures | {"rows": report(per_seed, seeds, options.tasks, console)})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
