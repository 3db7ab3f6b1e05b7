"""`esmaml eval`: scores on held-out tasks, beside the controls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ..baselines.pg_run import PGFolder
from ..checkpoint import RunFolder
from ..comparison import ES_MAML, SCORED, Row, compare
from ..errors import ConfigError
from ..evaluation import Split
from .baselines import pg_maml_rows, scratch_row
from .common import check_interface, err, family_of, guarded, out, plain_table, print_json, require_outside


def comparison_table(rows: list[Row], tasks: int, episodes: int, split: Split = "test") -> Table:
    """The comparison for a terminal."""
    table = plain_table(
        *("", "before", "after", "ended early", "inner sigma", "training episodes"),
        words=1,
        title=f"Return on {tasks} {SCORED[split]}, mean ± 95 % interval; {episodes} adaptation episodes",
        caption="* at the step size that suits it best, chosen on validation tasks; PG-MAML's is a learning rate",
    )
    for row in rows:
        style = "bold" if row.label == ES_MAML else ""
        cells = (str(row.before), str(row.after), f"{row.ended_early:.0%}", f"{row.sigma:g}")
        table.add_row(row.label, *cells, str(row.training_episodes), style=style)
    return table


@guarded
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    beside: Annotated[Path | None, typer.Option(help="Run folder made with --baseline, to compare with.")] = None,
    pg_maml: Annotated[
        Path | None, typer.Option("--pg-maml", help="Run folder of `esmaml baseline pg-maml`, to compare with.")
    ] = None,
    scratch: Annotated[
        list[int] | None,
        typer.Option(
            "--scratch", help="Plain ES on each task by itself with so many episodes; may be repeated.", min=10
        ),
    ] = None,
    tasks: Annotated[int, typer.Option(help="Held-out tasks.", min=2, max=100_000)] = 128,
    queries: Annotated[
        int | None, typer.Option(help="Of the adaptation operator.", min=1, show_default="the run's own")
    ] = None,
    outside: Annotated[bool, typer.Option("--outside", help="Tasks outside the training range instead.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the operator's candidates.", min=0)] = 0,
    picture: Annotated[bool, typer.Option(help="Write RUN/scores.png, or scores-outside.png.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Score a run on held-out tasks, before and after adaptation, beside domain randomisation and the untrained start.

    Example: esmaml eval runs/first --beside runs/first_baseline --tasks 256
    """
    checkpoint = RunFolder(run).newest()
    other = RunFolder(beside).newest() if beside is not None else None
    if other is not None and other.config.operator.name != "none":
        raise ConfigError(
            f"--beside {beside} was trained with an operator ({other.config.operator.name}), so it is no domain "
            "randomisation; `esmaml train --baseline` makes one."
        )
    other_pg = PGFolder(pg_maml).load() if pg_maml is not None else None
    operator = checkpoint.config.adaptation
    changed = operator if queries is None else operator.model_copy(update={"queries": queries})
    budget = changed.build().episodes
    family = family_of(checkpoint.config)
    split: Split = "outside" if outside else "test"
    if outside:
        require_outside(family)
    if other is not None:
        check_interface(other.config, family.interface_hash, f"family {family.name}")
    with err.status("evaluating on held-out tasks") as status:
        rows = compare(
            family, checkpoint, other, tasks=tasks, seed=seed, split=split, queries=queries, on_line=status.update
        )
        if other_pg is not None:
            status.update("PG-MAML")
            rows += pg_maml_rows(other_pg, family, episodes=budget, split=split, tasks=tasks, choosing=tasks, seed=seed)
        for count in scratch or ():
            status.update(f"plain ES, {count} episodes a task")
            config = checkpoint.config
            choosing = min(8, tasks)
            rows.append(
                scratch_row(family, config, episodes=count, split=split, tasks=tasks, choosing=choosing, seed=seed)
            )
    if picture:
        from ..report.plots import plot_scores  # half of the time that a command takes to begin is matplotlib's

        name = "scores-outside.png" if outside else "scores.png"
        plot_scores(run / name, [row.bar() for row in rows], SCORED[split])
    if as_json:
        print_json([{"split": split, **row.to_json()} for row in rows])
    else:
        out.print(comparison_table(rows, tasks, budget, split))
