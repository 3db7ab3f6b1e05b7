"""Confirmed hill climbing: quick where returns repeat, honest where they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from esmaml_robot.adaptation.base import materialise
from esmaml_robot.adaptation.confirmed_hill_climb import PATIENCE, ConfirmedHillClimb
from esmaml_robot.adaptation.hill_climb import HillClimb
from esmaml_robot.adaptation.side_by_side import Item, adapt_many
from esmaml_robot.adaptation.student import t975
from esmaml_robot.directions import directions
from esmaml_robot.evaluation import EpisodeBatch, Task

F = np.float32
D = 10
THETA = np.zeros(D, F)
THETA[0] = 1


def hill(params):
    return -float((params.astype(np.float64) ** 2).sum())


NORMALS = directions([3], 2**16)[0].astype(float).tolist()


def noise(seed):
    return NORMALS[seed % 2**16]


def climb(operator, value, seed=0):
    """Adapt with value(params, episode seed); the result and what was run, in order."""
    state, episodes = operator.start(THETA, seed), []
    while not operator.done(state):
        asked = operator.ask(state)
        assert len(asked) == 1
        row = materialise([asked])[0]
        returned = F(value(row, int(asked.episode_seeds[0])))
        episodes.append((row.tobytes(), float(returned)))
        state = operator.tell(state, np.array([returned]))
    return operator.result(state), episodes


# --- returns that repeat


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("queries", "shrink"), [(20, 1.0), (49, 1.0), (20, 0.8)])
def test_where_returns_repeat_it_is_the_published_climber_but_for_an_episode_or_two(seed, queries, shrink):
    found, episodes = climb(ConfirmedHillClimb(queries, 0.1, shrink=shrink), lambda p, s: hill(p), seed)
    published = [
        climb(HillClimb(q, 0.1, shrink=shrink), lambda p, s: hill(p), seed) for q in (queries - 1, queries - 2)
    ]
    first_gain = next(i for i, e in enumerate(published[0][1]) if e[1] > hill(THETA))
    late = 1 if first_gain > PATIENCE else 0
    assert found.params.tobytes() == published[late][0].params.tobytes()
    assert found.estimate == published[late][0].estimate
    assert found.standard_error == 0.0
    tried = [e for e, _ in episodes]
    assert len(tried) - len(set(tried)) == 1 + late


def test_flat_and_exact_costs_two_repeats_of_theta():
    found, episodes = climb(ConfirmedHillClimb(30, 0.1), lambda p, s: -400.0)
    assert found.params.tobytes() == THETA.tobytes()
    assert (found.estimate, found.standard_error) == (-400.0, 0.0)
    assert len({e for e, _ in episodes}) == 31 - 2


def test_a_start_that_rests_does_not_hide_the_noise_of_what_moves():
    # theta gives -400 each time; candidates are better by 20 in the mean and noisy by 1
    def value(params, seed):
        return -400.0 if params.tobytes() == THETA.tobytes() else -380.0 + noise(seed)

    found, _ = climb(ConfirmedHillClimb(20, 0.1), value)
    assert found.params.tobytes() != THETA.tobytes()
    assert found.estimate == pytest.approx(-380, abs=3)
    assert found.standard_error > 0


# --- luck


def test_one_lucky_episode_neither_ends_the_search_nor_is_reported():
    calls = []

    def value(params, seed):
        calls.append(params.tobytes())
        return 50.0 if len(calls) == 3 else 0.5 * noise(seed)

    found, episodes = climb(ConfirmedHillClimb(49, 0.1), value)
    lucky = episodes[2][0]
    assert sum(e == lucky for e, _ in episodes) > 1  # it had to run again
    assert found.params.tobytes() == THETA.tobytes()
    assert abs(found.estimate) < 1
    later = [e for e, _ in episodes].index(lucky, 3)
    assert later <= 3 + PATIENCE + 1


def many(operator, height, noise_sd, runs):
    """Results of `runs` adaptations with returns height(params) + noise, side by side."""

    def evaluate(rows, tasks, seeds):
        returns = np.array([height(r) for r in rows]) + noise_sd * np.array([noise(int(s)) for s in seeds])
        return EpisodeBatch(returns.astype(F), np.ones(len(rows), np.int32), np.ones(len(rows), bool))

    return adapt_many(operator, evaluate, [Item(THETA, Task("closed form", {}), seed) for seed in range(runs)])


@pytest.mark.parametrize("queries", [20, 49])
def test_on_nothing_but_noise_it_stays_and_reports_no_gain(queries):
    found = many(ConfirmedHillClimb(queries, 0.1), lambda p: 0.0, 1.0, 300)
    estimates = np.array([f.estimate for f in found])
    assert np.mean([f.params.tobytes() != THETA.tobytes() for f in found]) <= 0.05
    assert abs(estimates.mean()) <= 0.2
    # the reported error is the one there is, or on the safe side
    assert 0.9 < np.mean([f.standard_error**2 for f in found]) / estimates.var() < 1.6


@pytest.mark.parametrize("queries", [10, 20, 49])
def test_the_estimate_is_the_mean_of_episodes_that_decided_nothing_before(queries):
    confirmed = 0
    for seed in range(30):
        operator = ConfirmedHillClimb(queries, 0.15)
        found, episodes = climb(operator, lambda p, s: hill(p) + 0.05 * noise(s), seed)
        if found.params.tobytes() == THETA.tobytes():
            mine = [v for e, v in episodes if e == THETA.tobytes()]
            assert found.estimate == pytest.approx(np.mean(mine), rel=1e-6, abs=1e-7)
            continue
        confirmed += 1
        # the confirmation is the tail in which nothing but theta and the incumbent runs
        tail = len(episodes)
        while tail and episodes[tail - 1][0] in (THETA.tobytes(), found.params.tobytes()):
            tail -= 1
        fresh = [v for e, v in episodes[tail:] if e == found.params.tobytes()]
        assert any(found.estimate == pytest.approx(np.mean(fresh[-n:]), rel=1e-6) for n in range(1, len(fresh) + 1))
        assert found.estimate != pytest.approx(np.mean([v for e, v in episodes if e == found.params.tobytes()]))
        assert found.standard_error > 0
    assert confirmed > 10


# --- gain


def test_a_plain_gain_takes_few_episodes_to_confirm():
    found, episodes = climb(ConfirmedHillClimb(49, 0.1), lambda p, s: hill(p) + 0.001 * noise(s), 3)
    tried = [e for e, _ in episodes]
    assert len(tried) - len(set(tried)) <= 6
    assert hill(found.params) > -0.4
    assert found.estimate == pytest.approx(hill(found.params), abs=0.005)


def test_a_gain_under_noise_is_kept():
    found = many(ConfirmedHillClimb(49, 0.1), hill, 0.05, 100)
    gains = np.array([hill(f.params) + 1 for f in found])
    assert gains.mean() > 0.6  # published climbing gains 0.75 here
    assert gains.min() > -0.1
    assert np.mean([f.estimate - hill(f.params) for f in found]) == pytest.approx(0, abs=0.01)


def test_confirmation_takes_turns_with_theta():
    # a gain of two standard deviations needs all the episodes there are
    def value(params, seed):
        return noise(seed) + (2.0 if params.tobytes() != THETA.tobytes() else 0.0)

    _, episodes = climb(ConfirmedHillClimb(49, 0.1), value, 1)
    last = [e for e, _ in episodes[-10:]]
    both = {THETA.tobytes(), last[0] if last[0] != THETA.tobytes() else last[1]}
    assert set(last) == both
    assert 4 <= last.count(THETA.tobytes()) <= 6
    assert max(len(group) for group in _runs(last)) <= 3


def _runs(values):
    start = 0
    for i in range(1, len(values) + 1):
        if i == len(values) or values[i] != values[start]:
            yield values[start:i]
            start = i


def test_quantiles_of_students_t():
    # by the numerical integral of the density
    for df in (1, 2, 5, 15, 16, 30, 200):
        grid = np.linspace(0, t975(df), 200_001)
        constant = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
        density = constant * (1 + grid**2 / df) ** (-(df + 1) / 2)
        below = 0.5 + float(((density[1:] + density[:-1]) / 2).sum()) * (grid[1] - grid[0])
        assert below == pytest.approx(0.975, abs=5e-5), df
