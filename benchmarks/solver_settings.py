"""What a family's solver settings change, against Bullet's own: returns, their order, and where the robot is.

    python -m benchmarks.solver_settings
    python -m benchmarks.solver_settings --families cheetah_direction --run runs/cheetah --json solver.json

Families of robots with contacts run with fewer solver iterations and a friction pyramid. Three comparisons with
Bullet's defaults (50 iterations, friction cone), on the same tasks, seeds and policies:

    returns      of policies drawn around the start of a training run, or, with --run, around what it trained: rank
                 correlation (Spearman), mean difference and root-mean-square difference, both relative to the spread
                 (standard deviation) of the returns. Training reads returns and their order, so this is what counts.
    deviation    of the sensors in units of their range, root mean square over sensors, median over robots, after 0.1,
                 0.5 and 2 s. Contacts are chaotic, so trajectories part in any case: beside it, for scale, stands the
                 deviation that 0.1 % more in each parameter of the policy makes under the defaults.
    speed        processor time of the same episodes under the defaults over that under the settings. The robots that
                 stand side by side at first are not timed, since they wait for their worlds to be loaded: a speed
                 needs more policies than those.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from esmaml_robot import directions
from esmaml_robot.checkpoint import RunFolder
from esmaml_robot.cli.settings import run_config
from esmaml_robot.errors import ConfigError, EsmamlError
from esmaml_robot.evaluation import Task
from esmaml_robot.policy import Normaliser, PolicySpec, initial_theta
from sim.rollout import Tick
from sim.tasks import FAMILIES, make_family
from sim.world import PhysicsSettings

from .program import in_one_line, write_json

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

TIMES_S = (0.1, 0.5, 2.0)
_POLICIES = 0x534F4C56
#: Policies whose parameters are larger by this part, for scale.
_NUDGE = np.float32(1e-3)


def families_with_contacts() -> list[str]:
    """Names of the families whose solver settings are an option."""
    names = []
    for name in FAMILIES:
        try:
            family: Any = make_family(name)
        except EsmamlError:  # needs a package that is not installed
            continue
        if hasattr(getattr(family, "options", None), "physics"):
            names.append(name)
    return names


class _Policies:
    """Policies, tasks and seeds that both settings run: drawn around a centre, each in a task of its own."""

    def __init__(self, name: str, count: int, run: Path | None) -> None:
        if run is None:
            config = run_config(name, seed=0)
            centre = initial_theta(config.policy, config.initial, config.initial_gain, config.seed)
            normaliser = Normaliser.identity(config.policy.inputs)
        else:
            checkpoint = RunFolder(run).newest()
            config, centre, normaliser = checkpoint.config, checkpoint.policy.theta, checkpoint.policy.normaliser
        self.spec: PolicySpec = config.policy
        self.normaliser = normaliser
        sigma = np.float32(getattr(config.operator, "sigma", 0.1))
        seeds = directions.fold_many(_POLICIES, np.arange(count))
        self.params: F32 = centre + sigma * directions.directions(seeds, len(centre))
        family = make_family(name, config.options)
        self.tasks: list[Task] = [family.sample("validation", i) for i in range(count)]
        self.seeds = seeds


def _run(name: str, physics: PhysicsSettings, policies: _Policies, shift: np.float32) -> tuple[F64, F64, float]:
    """Returns (P,), sensors in units of their range (ticks, sensors, P), NaN after an end, and seconds."""
    family: Any = make_family(name, {"physics": physics.model_dump()})
    scale = family.signals.sensor_scale.astype(np.float64)[:, 0]
    span = np.array([s.range[1] - s.range[0] for s in family.spec.sensors])
    returns, paths, width, seconds = [], [], family.width, 0.0
    for first in range(0, len(policies.tasks), width):
        rows = slice(first, first + width)
        ticks: list[F64] = []

        def record(tick: Tick, into: list[F64] = ticks) -> None:
            into.append(tick.sensor_counts * (scale / span)[:, None])

        start = time.process_time()
        batch = family.evaluate(
            policies.spec, policies.normaliser, policies.params[rows] * (1 + shift), policies.tasks[rows],
            policies.seeds[rows], record=record,
        )  # fmt: skip
        if first:  # the first batch loads the worlds
            seconds += time.process_time() - start
        path = np.full((family.spec.episode.steps + 1, len(span), len(batch)), np.nan)
        path[: len(ticks)] = np.stack(ticks)
        path[np.broadcast_to((np.arange(len(path))[:, None] > batch.steps)[:, None, :], path.shape)] = np.nan
        returns.append(batch.returns.astype(np.float64))
        paths.append(path)
    family.close()
    return np.concatenate(returns), np.concatenate(paths, axis=2), seconds


def spearman(a: F64, b: F64) -> float:
    """Rank correlation of two samples; ties are rare among returns and broken by order."""
    one, two = (np.argsort(np.argsort(x, kind="stable"), kind="stable").astype(np.float64) for x in (a, b))
    return float(np.corrcoef(one, two)[0, 1])


def _deviation(a: F64, b: F64, rate_hz: int) -> dict[str, float]:
    """Root-mean-square over sensors, median over robots that run in both, at TIMES_S."""
    apart = np.sqrt(np.mean((a - b) ** 2, axis=1))
    at = {f"{t:g}": min(round(t * rate_hz), len(apart) - 1) for t in TIMES_S}
    return {key: float(np.nanmedian(apart[tick])) for key, tick in at.items()}


def require_settings(name: str) -> None:
    """Refuse a family without solver settings. Raises ConfigError."""
    if not hasattr(make_family(name).options, "physics"):
        raise ConfigError(
            f"task family {name} has no solver settings; those that have: {', '.join(families_with_contacts())}."
        )


def measure(name: str, count: int, run: Path | None) -> dict[str, Any]:
    """The settings of a family against Bullet's defaults."""
    family: Any = make_family(name)
    chosen: PhysicsSettings = family.options.physics
    usual = chosen.model_copy(
        update={key: getattr(PhysicsSettings(), key) for key in ("solver_iterations", "cone_friction")}
    )
    policies = _Policies(name, count, run)
    ours, our_path, our_seconds = _run(name, chosen, policies, np.float32(0))
    theirs, their_path, their_seconds = _run(name, usual, policies, np.float32(0))
    _, nudged_path, _ = _run(name, usual, policies, _NUDGE)
    spread = float(theirs.std())
    if spread == 0.0:
        raise EsmamlError(f"all {count} policies return {theirs[0]:g} on {name}: nothing to compare; add --policies.")
    rate = family.spec.control_rate_hz
    return {
        "physics": chosen.model_dump(),
        "policies": count,
        "around": "start" if run is None else run.name,
        "mean_return": [float(ours.mean()), float(theirs.mean())],
        "spread": spread,
        "rank_correlation": spearman(ours, theirs),
        "mean_difference": float((ours - theirs).mean()) / spread,
        "rms_difference": float(np.sqrt(np.mean((ours - theirs) ** 2))) / spread,
        "deviation": _deviation(our_path, their_path, rate),
        "deviation_of_nudge": _deviation(nudged_path, their_path, rate),
        "speed": their_seconds / our_seconds if our_seconds else None,
    }


def _table(results: dict[str, dict[str, Any]]) -> Table:
    table = Table(title="chosen solver settings against 50 iterations and the friction cone")
    for column in (
        "family", "around", "iterations", "cone", "rank correlation", "mean difference / spread", "rms / spread",
        "deviation after 0.1 / 0.5 / 2 s", "of 0.1 % in parameters", "speed",
    ):  # fmt: skip
        table.add_column(column, justify="left" if column in ("family", "around") else "right")
    for key, r in results.items():
        table.add_row(
            key.split(" ")[0], r["around"], str(r["physics"]["solver_iterations"]),
            "yes" if r["physics"]["cone_friction"] else "no", f"{r['rank_correlation']:.3f}",
            f"{r['mean_difference']:+.2f}", f"{r['rms_difference']:.2f}",
            *(" / ".join(f"{v:.1e}" for v in r[k].values()) for k in ("deviation", "deviation_of_nudge")),
            "not timed" if r["speed"] is None else f"x{r['speed']:.2f}",
        )  # fmt: skip
    return table


@in_one_line
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=None, help="default: all with contacts")
    parser.add_argument("--policies", type=int, default=64)
    parser.add_argument("--run", type=Path, nargs="*", default=[], help="run folders: around what they trained")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here as well")
    options = parser.parse_args()
    if options.policies < 2:
        raise ConfigError(f"--policies {options.policies}: an order of returns needs two or more.")
    trained = [(RunFolder(run).newest().config.family, run) for run in options.run]
    families = options.families or families_with_contacts()
    for name in [*families, *(name for name, _ in trained)]:  # all of them, before the first takes its time
        require_settings(name)
    console = Console(width=180)
    results: dict[str, dict[str, Any]] = {}
    for name in families:
        with console.status(name):
            results[name] = measure(name, options.policies, None)
    for name, run in trained:
        with console.status(f"{name} around {run}"):
            results[f"{name} {run.name}"] = measure(name, options.policies, run)
    console.print(_table(results))
    write_json(options.json, results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
