"""What a training loop asks of PyBullet, recorded and played again with nothing between the calls: its floor.

A recording holds every call of one piece of work, with its arguments, in order. Played again it commands, steps and
reads the same worlds to the same states, so it is what the loop would cost if everything else were free.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from esmaml_robot.checkpoint import RunConfig
from esmaml_robot.cli.settings import run_config
from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import EpisodeBatch, TaskFamily
from esmaml_robot.items import ItemRunner, Outcome, Work
from esmaml_robot.policy import Normaliser, initial_theta
from sim.tasks import make_family
from sim.world import bullet

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_STEP = "stepSimulation"


@dataclass
class Recording:
    """Calls of one piece of work, batch of episodes by batch: those of its resets, those of its control periods."""

    resets: list[list[Call]] = field(default_factory=list)
    periods: list[list[Call]] = field(default_factory=list)

    def clients(self) -> list[int]:
        """Bullet's numbers of the worlds, in the order of their first step."""
        return list(dict.fromkeys(k["physicsClientId"] for calls in self.periods for _, _, k in calls))

    def only(self, client: int) -> Recording:
        """The part of one world."""

        def mine(parts: list[list[Call]]) -> list[list[Call]]:
            return [[c for c in calls if c[2]["physicsClientId"] == client] for calls in parts]

        return Recording(mine(self.resets), mine(self.periods))

    def steps(self) -> int:
        """Calls of stepSimulation."""
        return sum(f.__name__ == _STEP for calls in self.periods for f, _, _ in calls)

    def play(self, clock: Callable[[], float]) -> list[float]:
        """Seconds of `clock` that the control periods take, batch of episodes by batch."""
        seconds = []
        for reset, calls in zip(self.resets, self.periods, strict=True):
            for function, args, keywords in reset:
                function(*args, **keywords)
            start = clock()
            for function, args, keywords in calls:
                function(*args, **keywords)
            seconds.append(clock() - start)
        return seconds


@contextmanager
def _recorded(plant: Any, into: Recording) -> Iterator[None]:
    """Record every call into PyBullet until the end of the block."""
    plain = {n: f for n in dir(bullet) if callable(f := getattr(bullet, n)) and not n.startswith("_")}
    target: list[Call] = []
    reset = plant.reset

    def recorder(function: Callable[..., Any]) -> Callable[..., Any]:
        def record(*args: Any, **keywords: Any) -> Any:
            target.append((function, args, keywords))
            return function(*args, **keywords)

        return record

    def marked_reset(*args: Any) -> Any:
        nonlocal target
        target = []
        into.resets.append(target)
        out = reset(*args)
        target = []
        into.periods.append(target)
        return out

    plant.reset = marked_reset
    for name, function in plain.items():
        setattr(bullet, name, recorder(function))
    try:
        yield
    finally:
        for name, function in plain.items():
            setattr(bullet, name, function)
        del plant.reset


def require_plant(name: str) -> None:
    """Refuse a family without simulated robots, which has no loop to measure. Raises ConfigError."""
    if not hasattr(make_family(name), "make_plant"):
        raise ConfigError(f"task family {name} has no simulated robot, so there is no loop to measure.")


class Loop:
    """The training loop of a family on a number of items, always the same piece of work.

    Args:
        name: of the family.
        items: adaptations side by side; None for all of an iteration of the preset.
        settings: as `esmaml train --set` takes them.

    Attributes:
        rows: robots side by side.
        simulated: control periods of robots that were simulated in one run, those after an episode's end included.
        useful: those before the end of their episode.
    """

    def __init__(self, name: str, items: int | None, settings: tuple[str, ...]) -> None:
        self.config: RunConfig = run_config(name, seed=0, settings=settings)
        self.family: Any = make_family(name, self.config.options)
        self.items = min(items or 10**9, self.config.item_count("train"))
        self.rows = min(self.items, getattr(self.family, "width", None) or self.items)
        self._runner = ItemRunner(self.config, self._factory)
        config = self.config
        theta = initial_theta(config.policy, config.initial, config.initial_gain, config.seed)
        self.work = Work("train", theta, 0, Normaliser.identity(config.policy.inputs))
        self.simulated = self.useful = 0

    def _factory(self, name: str, options: Mapping[str, Any]) -> TaskFamily:
        family: TaskFamily = self.family
        return family

    def run(self) -> Outcome:
        return self._runner.run(self.work, 0, self.items)

    def seconds(self) -> list[float]:
        """Seconds of processor time that one run takes, in parts: from one batch of episodes to the next."""
        reset, marks = self.family.plant.reset, [time.process_time()]

        def marked(*args: Any) -> Any:
            marks.append(time.process_time())
            return reset(*args)

        self.family.plant.reset = marked
        self.run()
        del self.family.plant.reset
        marks.append(time.process_time())
        return np.diff(marks).tolist()

    def record(self) -> Recording:
        """Run once, recorded. The worlds exist before it, so that nothing is loaded in it."""
        self.run()
        evaluate, useful = self.family.evaluate, []

        def counted(*args: Any, **keywords: Any) -> EpisodeBatch:
            batch: EpisodeBatch = evaluate(*args, **keywords)
            useful.append(int(batch.steps.sum()))
            return batch

        recording = Recording()
        self.family.evaluate = counted
        with _recorded(self.family.plant, recording):
            self.run()
        del self.family.evaluate
        self.useful = int(np.sum(useful))
        worlds = len(recording.clients())
        if worlds:
            spec = self.family.spec
            substeps = spec.physics_rate_hz // spec.control_rate_hz
            self.simulated = recording.steps() * (self.rows // worlds) // substeps
        return recording

    def close(self) -> None:
        self.family.close()
