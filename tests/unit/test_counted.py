"""Episodes in counts are the episodes of rollouts: the same policy, fed and read at the pins, has the same returns."""

from __future__ import annotations

import numpy as np
import pytest

from esmaml_robot import directions
from esmaml_robot.policy import Normaliser, PolicyBatch, PolicySpec
from esmaml_robot.scoring import score_seeds
from sim.counted import observed_counts, run_counted
from sim.tasks import make_family

TASKS = 5


def setting(name, **kind):
    family = make_family(name)
    layout = PolicySpec(inputs=family.inputs, outputs=family.outputs, hidden=(), **kind)
    params = directions.directions(list(range(1, TASKS + 1)), layout.dimension) * np.float32(0.5)
    tasks = [family.sample("validation", i) for i in range(TASKS)]
    return family, layout, params, tasks, score_seeds(3, TASKS)


@pytest.mark.parametrize(("name", "width"), [("four_corners", None), ("four_corners", 2), ("cartpole_sensors", 3)])
def test_returns_are_those_of_a_rollout(name, width, monkeypatch):
    family, layout, params, tasks, seeds = setting(name)
    monkeypatch.setattr(type(family), "width", width)
    normaliser, signals = Normaliser.identity(layout.inputs), family.signals
    wanted = family.evaluate(layout, normaliser, params, tasks, seeds).returns
    batches = {}

    def controller(tick, rows, counts):
        batch = batches.setdefault(rows, PolicyBatch(layout, params[rows.start : rows.stop], normaliser))
        whole = np.zeros((len(family.spec.sensors), len(rows)), np.int32)
        whole[signals.observed] = counts.T
        return signals.to_counts(batch.act(signals.observe(signals.to_si(whole)), tick)).T

    np.testing.assert_array_equal(run_counted(family, controller, tasks, seeds), wanted)
    assert len(batches) == (1 if width is None else -(-TASKS // width))
    assert len(set(wanted.tolist())) >= 3
    family.close()


def test_counts_are_recorded_until_an_episode_ends():
    family, layout, params, tasks, seeds = setting("cartpole_sensors")
    normaliser = Normaliser.identity(layout.inputs)
    steps = family.evaluate(layout, normaliser, params, tasks, seeds).steps
    seen = observed_counts(family, layout, normaliser, params, tasks, seeds)
    assert [len(rows) for rows in seen] == steps.tolist()
    assert steps.min() < family.spec.episode.steps  # one at least falls
    shown = []
    family.evaluate(layout, normaliser, params, tasks, seeds, record=lambda tick: shown.append(tick.sensor_counts))
    for row, counts in enumerate(seen):
        np.testing.assert_array_equal(
            np.concatenate(counts), [tick[family.signals.observed, row] for tick in shown[: len(counts)]]
        )
    family.close()
