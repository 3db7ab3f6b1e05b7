"""Robot-steps per second of each body: the floor, the training loop, their ratio; one process against two. One run.

    python -m benchmarks.sim_throughput
    python -m benchmarks.sim_throughput --families four_corners cheetah_direction --json throughput.json

The floor is the same calls to PyBullet (commands, stepSimulation, read-out; same worlds, same solver settings),
recorded from the loop and played again with nothing between them; `one world` is that of a single world, which has
the processor's caches for itself. The training loop is what a worker does: operators ask, candidates are made, robots
are reset, episodes run with policy, quantisation, limits and reward, operators are told. A robot-step is one control
period of one robot. Floor and loop take turns; of each batch of episodes the best round counts. Ratios of one process
are of its processor time, those of two processes of wall-clock time, which other programs disturb.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import sim.world.branches
from esmaml_robot.errors import EsmamlError
from sim.tasks import FAMILIES, make_family
from sim.world import MAX_BRANCHES

from .bare_loop import Loop, require_plant
from .program import in_one_line, write_json

#: Robots with contacts cost milliseconds a control period: short adaptations measure them as well as long ones.
SHORT = ("operator.queries=3",)
#: Worlds of one robot that are compared with one world of many; more would be a gigabyte.
ONE_EACH = 32

BAR_ARTICULATED, BAR_BRANCHES, BAR_ONE_EACH, BAR_PROCESSES = 0.90, 0.70, 2.0, 1.9


def bodies() -> list[str]:
    """A family for each robot that ships, the first of each."""
    first: dict[str, str] = {}
    for name in FAMILIES:
        try:
            family = make_family(name)
        except EsmamlError:  # needs a package that is not installed, or a file that the user brings
            continue
        if family.spec is not None and hasattr(family, "make_plant"):
            first.setdefault(family.spec.name, name)
    return list(first.values())


def _loop(name: str, rows: int | None = None) -> Loop:
    family: Any = make_family(name)
    return Loop(name, rows or family.width, SHORT if family.width else ())


class _Best:
    """Least seconds of several things measured in turns, part by part: other programs disturb a part, hardly all."""

    def __init__(self) -> None:
        self._seconds: dict[str, npt.NDArray[np.float64]] = {}
        self._steps: dict[str, float] = {}

    def note(self, name: str, steps: float, seconds: list[float]) -> None:
        self._seconds[name] = np.minimum(self._seconds.get(name, np.inf), seconds)
        self._steps[name] = steps

    def rates(self) -> dict[str, float]:
        return {name: self._steps[name] / float(seconds.sum()) for name, seconds in self._seconds.items()}


def measure_one(name: str, rows: int | None, rounds: int) -> dict[str, float] | None:
    """One process: rates and ratios of a family; None where the loop asks nothing of PyBullet."""
    loop = _loop(name, rows)
    recording = loop.record()
    worlds = recording.clients()
    if not worlds:
        return None
    alone = recording.only(worlds[0])
    best = _Best()
    for _ in range(rounds):
        best.note("floor", loop.simulated, recording.play(time.process_time))
        best.note("floor_one_world", loop.simulated / len(worlds), alone.play(time.process_time))
        best.note("loop", loop.simulated, loop.seconds())
    loop.close()
    rates = best.rates()
    return rates | {
        "rows": loop.rows,
        "robots_a_world": loop.rows // len(worlds),
        "ratio": rates["loop"] / rates["floor"],
        "ratio_one_world": rates["loop"] / rates["floor_one_world"],
        "useful": loop.useful / loop.simulated,
    }


def measure_one_each(name: str, rounds: int) -> float:
    """Robot-steps/s of the loop when each robot has a world of its own, of a body that could share."""
    sim.world.branches.MAX_BRANCHES = 1
    try:
        loop = _loop(name, ONE_EACH)
        loop.record()
        best = _Best()
        for _ in range(rounds):
            best.note("loop", loop.simulated, loop.seconds())
        loop.close()
        return best.rates()["loop"]
    finally:
        sim.world.branches.MAX_BRANCHES = MAX_BRANCHES


def _serve(link: Connection, name: str, rows: int | None) -> None:
    """A process that plays the floor or runs the loop whenever it is told to."""
    loop = _loop(name, rows)
    recording = loop.record()
    work: dict[str, Callable[[], object]] = {"floor": lambda: recording.play(time.perf_counter), "loop": loop.run}
    link.send(loop.simulated)
    while (what := link.recv()) is not None:
        work[what]()
        link.send(True)


def measure_two(name: str, rows: int | None, rounds: int) -> dict[str, float]:
    """Rate of two processes over that of one, of the floor and of the loop, wall-clock time."""
    context = multiprocessing.get_context("spawn")
    links, processes = [], []
    for _ in range(2):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=_serve, args=(theirs, name, rows), daemon=True))
        processes[-1].start()
        links.append(ours)
    steps = [link.recv() for link in links]
    best = _Best()
    for _ in range(rounds):
        for what in ("floor", "loop"):
            for count in (1, 2):
                start = time.perf_counter()
                for link in links[:count]:
                    link.send(what)
                for link in links[:count]:
                    link.recv()
                best.note(f"{what}_{count}", sum(steps[:count]), [time.perf_counter() - start])
    for link in links:
        link.send(None)
    r = best.rates()
    for process in processes:
        process.join()
    return {"floor_2_over_1": r["floor_2"] / r["floor_1"], "loop_2_over_1": r["loop_2"] / r["loop_1"]}


def measure(name: str, rows: int | None, rounds: int, processes: bool) -> dict[str, float] | None:
    """Everything about one family; None where the loop asks nothing of PyBullet."""
    result = measure_one(name, rows, rounds)
    if result is None:
        return None
    if result["robots_a_world"] > 1:
        result["loop_one_each"] = measure_one_each(name, rounds)
        result["over_one_each"] = result["loop"] / result["loop_one_each"]
    if processes:
        result |= measure_two(name, rows, rounds)
    return result


def _table(results: dict[str, dict[str, float]]) -> Table:
    table = Table(title="robot-steps per second of one core, and ratios; bold: the bar is reached")
    for column in (
        "family", "rows", "robots a world", "floor", "one world", "loop", "useful", "loop / floor", "loop / one world",
        "loop / one world each", "2 processes / 1: floor", "loop",
    ):  # fmt: skip
        table.add_column(column, justify="left" if column == "family" else "right")

    def ratio(r: dict[str, float], key: str, bar: float | None) -> str:
        if key not in r:
            return ""
        return f"[bold]{r[key]:.2f}[/]" if bar is not None and r[key] >= bar else f"{r[key]:.2f}"

    for name, r in results.items():
        bar = BAR_BRANCHES if r["robots_a_world"] > 1 else BAR_ARTICULATED
        table.add_row(
            name,
            *(f"{r[k]:.0f}" for k in ("rows", "robots_a_world", "floor", "floor_one_world", "loop")),
            f"{r['useful']:.0%}",
            ratio(r, "ratio", bar),
            ratio(r, "ratio_one_world", bar),
            ratio(r, "over_one_each", BAR_ONE_EACH),
            ratio(r, "floor_2_over_1", None),
            ratio(r, "loop_2_over_1", BAR_PROCESSES),
        )
    return table


@in_one_line
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=None, help="default: one for each robot")
    parser.add_argument("--rows", type=int, default=None, help="robots side by side; default: as training does")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one-process", action="store_true", help="leave out the two processes")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here as well")
    options = parser.parse_args()
    families = options.families or bodies()
    for name in families:  # all of them, before the first takes its time
        require_plant(name)
    console = Console(width=170)
    results = {}
    for name in families:
        with console.status(name):
            result = measure(name, options.rows, options.rounds, not options.one_process)
        if result is None:
            console.print(f"{name}: asks nothing of PyBullet")
        else:
            results[name] = result
    console.print(_table(results))
    write_json(options.json, results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
