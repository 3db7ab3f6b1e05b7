"""`esmaml eval`: scores on held-out tasks, beside the controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ..adaptation import OperatorConfig
from ..checkpoint import Checkpoint, RunFolder
from ..policy import InitialScheme, Normaliser, Policy, initial_theta
from ..report.plots import plot_scores
from ..scoring import Estimate, best_sigma, score
from .common import err, family_factory, guarded, out, print_json
from .settings import check_robot

#: Inner sigmas from which each control may take the one that suits it best, chosen on validation tasks.
SIGMA_GRID = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8)


@dataclass(frozen=True)
class Row:
    """One line of the comparison."""

    label: str
    sigma: float
    training_episodes: int
    before: Estimate
    after: Estimate

    def bar(self) -> tuple[str, float, float, float, float]:
        """As report.plots.plot_scores takes it."""
        before, after = self.before, self.after
        return self.label.replace(" ", "\n", 1), before.mean, before.half_width, after.mean, after.half_width

    def to_json(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "inner_sigma": self.sigma,
            "training_episodes": self.training_episodes,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
        }


def compare(
    run: Checkpoint,
    beside: Checkpoint | None,
    *,
    tasks: int,
    seed: int,
    validation_tasks: int | None = None,
    grid: Sequence[float] = SIGMA_GRID,
) -> list[Row]:
    """Scores on test tasks: the run, domain randomisation, and the untrained starts.

    The run and domain randomisation use the inner sigma of the run; domain randomisation also gets the best one of
    the grid, and so do the untrained starts.
    """
    config = run.config
    family = family_factory()(config.family)
    check_robot(config, family.spec)
    choosing = validation_tasks or tasks
    operator = config.adaptation

    def line(label: str, policy: Policy, chosen: OperatorConfig, episodes: int) -> Row:
        before, after = score(family, policy, chosen, "test", tasks, seed).summary()
        return Row(label, chosen.sigma, episodes, before, after)

    def at_best_sigma(label: str, policy: Policy, operator: OperatorConfig, episodes: int) -> Row:
        sigma, _ = best_sigma(family, policy, operator, grid, choosing, seed + 1)
        return line(label, policy, operator.model_copy(update={"sigma": sigma}), episodes)

    label = "domain randomisation (this run)" if config.operator.name == "none" else "ES-MAML"
    rows = [line(label, run.policy, operator, run.state.episodes)]
    if beside is not None:
        episodes = beside.state.episodes
        rows.append(line("domain randomisation", beside.policy, operator, episodes))
        rows.append(at_best_sigma("domain randomisation *", beside.policy, operator, episodes))
    starts: tuple[tuple[str, InitialScheme], ...] = (("untrained (theta = 0)", "zeros"),)
    if config.initial != "zeros":
        starts += (("untrained (initial theta)", config.initial),)
    for label, scheme in starts:
        theta = initial_theta(config.policy, scheme, config.initial_gain, config.seed)
        rows.append(
            at_best_sigma(
                f"{label} *",
                Policy(config.policy, theta, Normaliser.identity(config.policy.inputs)),
                operator,
                0,
            )
        )
    return rows


def comparison_table(rows: list[Row], tasks: int, episodes: int) -> Table:
    """The comparison for a terminal."""
    table = Table(
        title=f"Return on {tasks} held-out tasks, mean ± 95 % interval; {episodes} adaptation episodes",
        caption="* at the inner sigma that suits it best, chosen on validation tasks",
    )
    for name in ("", "before", "after", "inner sigma", "training episodes"):
        table.add_column(name, justify="left" if not name else "right")
    for row in rows:
        style = "bold" if row.label == "ES-MAML" else ""
        table.add_row(
            row.label, str(row.before), str(row.after), f"{row.sigma:g}", str(row.training_episodes), style=style
        )
    return table


@guarded
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    beside: Annotated[Path | None, typer.Option(help="Run folder made with --baseline, to compare with.")] = None,
    tasks: Annotated[int, typer.Option(help="Held-out tasks.", min=2, max=100_000)] = 128,
    seed: Annotated[int, typer.Option(help="Seed of the operator's candidates.", min=0)] = 0,
    picture: Annotated[bool, typer.Option(help="Write RUN/scores.png.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Score a run on held-out tasks, before and after adaptation, beside domain randomisation and the untrained start.

    Example: esmaml eval runs/first --beside runs/first_baseline --tasks 256
    """
    checkpoint = RunFolder(run).newest()
    other = RunFolder(beside).newest() if beside is not None else None
    with err.status("evaluating on held-out tasks"):
        rows = compare(checkpoint, other, tasks=tasks, seed=seed)
    if picture:
        plot_scores(run / "scores.png", [row.bar() for row in rows])
    if as_json:
        print_json([row.to_json() for row in rows])
    else:
        out.print(comparison_table(rows, tasks, checkpoint.config.adaptation.build().episodes))
