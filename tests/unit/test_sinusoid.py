"""The sine waves: returns by hand, points out of the seed, moments of what was seen, and rows that are independent."""

from __future__ import annotations

import numpy as np
import pytest

from esmaml_robot.cli.settings import run_config
from esmaml_robot.evaluation import Task
from esmaml_robot.items import ItemRunner, Work
from esmaml_robot.policy import Normaliser, PolicySpec, initial_theta
from sim.tasks import make_family
from sim.tasks.sinusoid import POINTS, points

F = np.float32
LINEAR = PolicySpec(inputs=1, outputs=1, hidden=())
MLP = PolicySpec(inputs=1, outputs=1, hidden=(20, 20))
PLAIN = Normaliser.identity(1)


@pytest.fixture(scope="module")
def family():
    return make_family("sinusoid")


def wave(amplitude, phase):
    return Task("sinusoid", {"amplitude": amplitude, "phase": phase})


def one(family, theta, task, seed, policy=LINEAR):
    return family.evaluate(policy, PLAIN, np.array([theta], F), [task], np.array([seed], np.uint32)).returns[0]


def test_the_return_is_minus_the_mean_squared_error(family):
    for amplitude, phase, slope, offset, seed in (
        (3.0, 0.4, 0.0, 0.0, 1),
        (1.0, 3.0, 0.3, 0.1, 2),
        (5.0, 1.5, -0.5, 0.2, 3),
    ):
        x = points(seed).astype(np.float64)
        expected = -np.mean((5 * (slope * x + offset) - amplitude * np.sin(5 * x - phase)) ** 2)
        assert one(family, [slope, offset], wave(amplitude, phase), seed) == pytest.approx(expected, rel=1e-5)


def test_points_come_from_the_seed_and_fill_the_range(family):
    drawn = np.concatenate([points(s) for s in range(50)])
    assert points(3).shape == (POINTS,)
    assert -1 <= drawn.min() < -0.99
    assert 0.99 < drawn.max() < 1
    assert abs(drawn.mean()) < 4 / np.sqrt(3 * drawn.size)
    assert len(np.unique(drawn)) > 0.99 * drawn.size
    assert one(family, [0.1, 0], wave(2.0, 1.0), 5) == one(family, [0.1, 0], wave(2.0, 1.0), 5)
    assert one(family, [0.1, 0], wave(2.0, 1.0), 5) != one(family, [0.1, 0], wave(2.0, 1.0), 6)


def test_amplitude_and_phase_decide(family):
    flat = [one(family, [0, 0], wave(a, 0.0), 0) for a in (0.1, 2.0, 5.0)]
    assert flat == sorted(flat, reverse=True)
    assert flat[0] == pytest.approx(flat[2] * (0.1 / 5.0) ** 2, rel=1e-5)
    assert one(family, [0.2, 0], wave(2.0, 0.0), 0) != one(family, [0.2, 0], wave(2.0, 1.0), 0)


def test_rows_together_are_each_alone_bit_for_bit(family):
    thetas = np.random.default_rng(0).standard_normal((40, MLP.dimension)).astype(F)
    tasks, seeds = [family.sample("test", i) for i in range(40)], np.arange(40, dtype=np.uint32) // 2
    together = family.evaluate(MLP, PLAIN, thetas, tasks, seeds)
    assert together.valid.all()
    assert together.steps.tolist() == [1] * 40
    alone = [one(family, t, k, s, MLP) for t, k, s in zip(thetas, tasks, seeds, strict=True)]
    np.testing.assert_array_equal(alone, together.returns)
    assert len(set(alone)) == 40


def test_moments_are_of_what_the_policy_saw(family):
    seeds = np.array([4, 9], np.uint32)
    tasks = [family.sample("train", i) for i in range(2)]
    outcome = family.evaluate(LINEAR, PLAIN, np.zeros((2, 2), F), tasks, seeds, observe=True)
    for seed, moments in zip(seeds.tolist(), outcome.observed, strict=True):
        x = points(seed).astype(np.float64)
        assert moments.count == POINTS
        assert moments.mean[0] == pytest.approx(x.mean())
        assert moments.squares[0] == pytest.approx(((x - x.mean()) ** 2).sum())


def test_a_row_that_is_not_finite_is_invalid_alone(family):
    thetas = np.array([[0.1, 0], [np.nan, 0]], F)
    outcome = family.evaluate(LINEAR, PLAIN, thetas, [wave(1.0, 0.0)] * 2, np.zeros(2, np.uint32))
    assert outcome.valid.tolist() == [True, False]
    assert np.isfinite(outcome.returns[0])
    assert np.isnan(outcome.returns[1])


def test_laws_and_splits(family):
    drawn = {s: [family.sample(s, i).parameters for i in range(500)] for s in ("train", "validation", "test")}
    for name, low, high in (("amplitude", 0.1, 5.0), ("phase", 0.0, np.pi)):
        values = np.array([p[name] for p in drawn["test"]])
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
    assert len({tuple(p.values()) for split in drawn.values() for p in split}) == 1500


def test_it_trains_without_a_robot():
    config = run_config("sinusoid", seed=0, settings=("meta.pairs=2", "operator.queries=3", "policy.hidden=[4]"))
    assert config.robot == ""
    runner = ItemRunner(config, make_family)
    theta = initial_theta(config.policy, config.initial, config.initial_gain, 0)
    outcome = runner.run(Work("train", theta, 0, PLAIN), 0, 4)
    assert np.isfinite(outcome.values).all()
    assert outcome.episodes == 4 * (4 + 1)
