"""A run beside its controls, on held-out tasks: the table that a claim of a gain has to come with.

Every line gets the same operator and the same number of adaptation episodes. ES-MAML uses the inner sigma of its
training. A control may choose the inner sigma that suits it best out of a grid, on validation tasks (label with a *);
so may ES-MAML, in a line of its own. Test tasks decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from .adaptation import OperatorConfig
from .checkpoint import Checkpoint
from .evaluation import Split, TaskFamily
from .policy import InitialScheme, Normaliser, Policy, initial_theta
from .scoring import Estimate, best_sigma, score

#: Inner sigmas to choose from.
SIGMA_GRID = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8)

#: The tasks of each split that is scored, in the words of titles.
SCORED: dict[Split, str] = {
    "test": "held-out tasks (split test)",
    "outside": "tasks outside the training range (split outside)",
}

ES_MAML, DOMAIN_RANDOMISATION, UNTRAINED = "ES-MAML", "domain randomisation", "untrained"


@dataclass(frozen=True)
class Row:
    """One line of the comparison; ended_early is the share of final episodes that an abort ended."""

    label: str
    sigma: float
    training_episodes: int
    before: Estimate
    after: Estimate
    ended_early: float

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
            "ended_early": self.ended_early,
        }


def compare(
    family: TaskFamily,
    run: Checkpoint,
    beside: Checkpoint | None,
    *,
    tasks: int,
    seed: int,
    split: Split = "test",
    queries: int | None = None,
    validation_tasks: int | None = None,
    grid: Sequence[float] = SIGMA_GRID,
    choices: MutableMapping[tuple[str, int], float] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> list[Row]:
    """Scores on `tasks` tasks of a split: the run, domain randomisation (`beside`), and the untrained starts.

    Args:
        queries: of the operator; the run's own by default. The same for every line.
        validation_tasks: on which inner sigmas are chosen; as many as `tasks` by default. Always of the validation
            split, also where the scores are of tasks outside the training range.
        choices: inner sigmas chosen so far, by label and queries; filled and read, so that tables of one run on several
            splits choose once.
        on_line: called with the label of each line before it is computed.
    """
    config = run.config
    operator = config.adaptation
    if queries is not None:
        operator = operator.model_copy(update={"queries": queries})
    choosing = validation_tasks or tasks
    chosen = {} if choices is None else choices
    rows: list[Row] = []

    def line(label: str, policy: Policy, own: OperatorConfig, episodes: int) -> None:
        if on_line is not None:
            on_line(label)
        result = score(family, policy, own, split, tasks, seed)
        rows.append(Row(label, own.sigma, episodes, *result.summary(), result.ended_early))

    def at_best_sigma(label: str, policy: Policy, episodes: int) -> None:
        key = (label, operator.queries)
        if key not in chosen:
            if on_line is not None:
                on_line(f"{label}: inner sigma")
            chosen[key], _ = best_sigma(family, policy, operator, grid, choosing, seed + 1)
        line(f"{label} *", policy, operator.model_copy(update={"sigma": chosen[key]}), episodes)

    label = f"{DOMAIN_RANDOMISATION} (this run)" if config.operator.name == "none" else ES_MAML
    line(label, run.policy, operator, run.state.episodes)
    at_best_sigma(label, run.policy, run.state.episodes)
    if beside is not None:
        line(DOMAIN_RANDOMISATION, beside.policy, operator, beside.state.episodes)
        at_best_sigma(DOMAIN_RANDOMISATION, beside.policy, beside.state.episodes)
    starts: tuple[tuple[str, InitialScheme], ...] = ((f"{UNTRAINED} (theta = 0)", "zeros"),)
    if config.initial != "zeros":
        starts += ((f"{UNTRAINED} (initial theta)", config.initial),)
    for label, scheme in starts:
        theta = initial_theta(config.policy, scheme, config.initial_gain, config.seed)
        at_best_sigma(label, Policy(config.policy, theta, Normaliser.identity(config.policy.inputs)), 0)
    return rows
