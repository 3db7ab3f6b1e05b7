"""Operators under noise: what they report and whether they move where there is nothing to gain, and what they gain.

    python -m benchmarks.operator_noise --json docs/results/operator_noise.json

Closed-form returns, no simulator. Flat: the return is noise of standard deviation 1 and nothing else, so every move is
an error and every reported gain is luck. Quadratic: the return is -|x|^2 / R^2 from a start at distance R, so 1 is all
there is to gain, without noise and with. All operators have the same number of episodes in total, pivots and
confirmations included. Gains are true ones, of the parameters returned, not what the operator saw.
About a minute and a half on two cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from esmaml_robot.adaptation import OperatorConfig
from esmaml_robot.adaptation.base import Adapted
from esmaml_robot.adaptation.side_by_side import Item, adapt_many
from esmaml_robot.directions import directions, fold_many
from esmaml_robot.evaluation import EpisodeBatch, Task

F64 = npt.NDArray[np.float64]

#: Bars on the noise-aware operator: bias in standard deviations, share that leaves a flat place, gain beside published.
MOST_BIAS, MOST_LEAVING, LEAST_SHARE = 0.2, 0.05, 0.9
BUDGETS = (21, 50)
OURS, PUBLISHED = "confirmed_hill_climb", "hill_climb"


def operators(episodes: int) -> dict[str, dict[str, Any]]:
    """Settings by label, each of at most `episodes` episodes and as near to it as it comes."""
    rounds = episodes // 5 - 1
    per_step = (episodes - 1) // 2
    return {
        OURS: {"name": OURS, "queries": episodes - 1},
        PUBLISHED: {"name": PUBLISHED, "queries": episodes - 1},
        "batch_hill_climb, batch": {"name": "batch_hill_climb", "queries": rounds, "mode": "batch"},
        "batch_hill_climb, average": {"name": "batch_hill_climb", "queries": rounds, "mode": "average"},
        "es_gradient, antithetic": {"name": "es_gradient", "queries": (episodes - 1) // 2 * 2},
        "es_ascent, 2 steps": {"name": "es_ascent", "steps": 2, "pairs": (per_step - 1) // 2},
    }


@dataclass(frozen=True)
class Place:
    """One objective: dimension, distance R of the start from the top (0: flat), noise, inner sigma."""

    dimension: int
    distance: float
    noise: float
    sigma: float

    def value(self, params: F64) -> F64:
        """True returns (B,) of parameters (B, d)."""
        if self.distance == 0:
            return np.zeros(len(params))
        return -(params * params).sum(axis=1) / self.distance**2

    def evaluate(self) -> Callable[..., EpisodeBatch]:
        def run(rows: npt.NDArray[np.float32], _: Any, seeds: npt.NDArray[np.uint32]) -> EpisodeBatch:
            noise = directions(fold_many(7, seeds), 1)[:, 0].astype(np.float64)
            returns = (self.value(rows.astype(np.float64)) + self.noise * noise).astype(np.float32)
            return EpisodeBatch(returns, np.ones(len(rows), np.int32), np.ones(len(rows), np.bool_))

        return run

    def start(self) -> npt.NDArray[np.float32]:
        theta = np.zeros(self.dimension, np.float32)
        theta[0] = self.distance
        return theta


@dataclass(frozen=True)
class Outcome:
    """Means over runs: true gain and its error, bias of the estimate, share that left, error that is reported."""

    gain: float
    gain_error: float
    bias: float
    left: float
    reported_error: float


def measure(settings: dict[str, Any], place: Place, runs: int) -> Outcome:
    """Adapt `runs` times from the same start, each with its own operator seed."""
    operator = OperatorConfig.model_validate(settings | {"sigma": place.sigma}).build()
    theta, task = place.start(), Task("closed form", {})
    adapted = adapt_many(operator, place.evaluate(), [Item(theta, task, seed) for seed in range(runs)])
    whole = [a for a in adapted if isinstance(a, Adapted)]
    params = np.stack([a.params for a in whole]).astype(np.float64)
    true = place.value(params)
    gains = true - place.value(theta[None, :].astype(np.float64))
    bias = float((np.array([a.estimate for a in whole]) - true).mean())
    left = float((params != theta).any(axis=1).mean())
    reported = float(np.mean([a.standard_error for a in whole]))
    return Outcome(float(gains.mean()), float(gains.std() / np.sqrt(runs)), bias, left, reported)


@dataclass(frozen=True)
class Section:
    """One table: places by column, operators by row."""

    title: str
    places: dict[str, Place]
    rows: dict[str, dict[str, Any]]
    runs: int


def sections(runs: int) -> dict[str, Section]:
    """All tables by name."""
    flat = {"flat": Place(10, 0.0, 1.0, 0.1)}
    exact = {f"d {d}, sigma {s:g} R": Place(d, 1.0, 0.0, s) for d, s in ((10, 0.03), (10, 0.1), (42, 0.02), (42, 0.05))}
    noisy = {f"d {d}, noise {n:g}": Place(d, 1.0, n, 1.0 / d) for d in (10, 42) for n in (0.05, 0.2)}
    found = {}
    for episodes in BUDGETS:
        every = operators(episodes)
        climbers = {name: every[name] for name in (OURS, PUBLISHED)}
        found[f"flat_{episodes}"] = Section(f"flat, noise sd 1, {episodes} episodes", flat, every, runs)
        found[f"exact_{episodes}"] = Section(f"quadratic without noise, {episodes} episodes", exact, climbers, runs)
        found[f"noisy_{episodes}"] = Section(f"quadratic with noise, {episodes} episodes", noisy, every, runs // 5)
    return found


def run_all(parts: dict[str, Section], workers: int) -> dict[str, dict[str, dict[str, Outcome]]]:
    """Outcomes by section, operator and place."""
    cells = [(s, o, p) for s, part in parts.items() for o in part.rows for p in part.places]
    settings = [parts[section].rows[operator] for section, operator, _ in cells]
    places = [parts[section].places[place] for section, _, place in cells]
    runs = [parts[section].runs for section, _, _ in cells]
    outcomes: dict[str, dict[str, dict[str, Outcome]]] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for (section, operator, place), outcome in zip(cells, pool.map(measure, settings, places, runs), strict=True):
            outcomes.setdefault(section, {}).setdefault(operator, {})[place] = outcome
    return outcomes


def show_flat(part: Section, outcomes: dict[str, dict[str, Outcome]], console: Console) -> bool:
    """What is reported and done where there is nothing to gain; whether ours is within its bars."""
    table = Table(title=f"{part.title}, {part.runs} runs")
    for column in ("operator", "bias of the estimate (sd)", "leaves theta", "standard error reported"):
        table.add_column(column, justify="left" if column == "operator" else "right")
    for name, row in outcomes.items():
        one = row["flat"]
        table.add_row(name, f"{one.bias:+.2f}", f"{100 * one.left:.1f} %", f"{one.reported_error:.2f}")
    console.print(table)
    ours = outcomes[OURS]["flat"]
    return abs(ours.bias) <= MOST_BIAS and ours.left <= MOST_LEAVING


def show_hill(part: Section, outcomes: dict[str, dict[str, Outcome]], console: Console) -> float:
    """True gains; returns the least share of the published climber's gain that ours has."""
    table = Table(title=f"{part.title}, {part.runs} runs: true gain, 1 is the top")
    table.add_column("operator", no_wrap=True)
    for place in part.places:
        table.add_column(place, justify="right")
    for name, row in outcomes.items():
        table.add_row(name, *(f"{o.gain:.3f} ± {1.96 * o.gain_error:.3f}" for o in row.values()))
    console.print(table)
    return min(outcomes[OURS][place].gain / outcomes[PUBLISHED][place].gain for place in part.places)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="a fifth of it on noisy hills")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, default=None, help="write the tables here as JSON")
    options = parser.parse_args()
    console = Console(width=140)
    parts = sections(options.runs)
    outcomes = run_all(parts, options.workers)
    good = True
    for name, part in parts.items():
        if name.startswith("flat"):
            good &= show_flat(part, outcomes[name], console)
            continue
        share = show_hill(part, outcomes[name], console)
        if name.startswith("exact"):
            good &= share >= LEAST_SHARE
            console.print(f"{OURS} has {100 * share:.1f} % of the gain of {PUBLISHED} or more")
    console.print(f"bars {'reached' if good else 'NOT reached'}")
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        tables = {s: {o: {p: asdict(c) for p, c in r.items()} for o, r in t.items()} for s, t in outcomes.items()}
        content = {"runs": {name: part.runs for name, part in parts.items()}, "tables": tables, "reached": good}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
