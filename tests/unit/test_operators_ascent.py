"""Several ES-gradient steps: mirrored pairs, bounded steps, and no step that its trial does not justify."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from esmaml_robot.adaptation.base import materialise
from esmaml_robot.adaptation.decode import Decoder
from esmaml_robot.adaptation.es_ascent import ESAscent
from esmaml_robot.directions import directions
from esmaml_robot.search import Search, sample_directions

F = np.float32
D = 6
THETA = np.linspace(-1, 1, D).astype(F)


NORMALS = directions([3], 2**16)[0].astype(float).tolist()


def noise(seed):
    return NORMALS[seed % 2**16]


def bowl(params):
    return -float((params.astype(np.float64) ** 2).sum())


def ascend(operator, value, seed=0):
    """Adapt with value(params, episode seed); the result and, call by call, (candidates, returns)."""
    state, calls = operator.start(THETA, seed), []
    while not operator.done(state):
        asked = operator.ask(state)
        rows = materialise([asked])
        returns = np.array([value(r, int(s)) for r, s in zip(rows, asked.episode_seeds, strict=True)], F)
        calls.append((rows, returns.astype(np.float64)))
        state = operator.tell(state, returns)
    return operator.result(state), calls


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["gaussian", "orthogonal", "dpp"])
def test_against_a_few_independent_lines(seed, kind):
    steps, pairs, sigma, length = 4, 3, 0.1, 0.7
    operator = ESAscent(steps, pairs, sigma, length, Search(kind))
    value = lambda p, s: bowl(p) + 0.3 * noise(s)  # noqa: E731
    found, calls = ascend(operator, value, seed)
    drawn = Search(kind).draw(seed, steps * pairs, D, block=pairs).matrix(D).astype(np.float64)

    x, scale, seen, plus, minus, moves = THETA, 1.0, [], [], [], 0
    for step in range(steps):
        rows, values = calls[2 * step]
        g = drawn[step * pairs : (step + 1) * pairs]
        np.testing.assert_allclose(rows, np.concatenate([x + sigma * g, x - sigma * g]), atol=1e-6)
        seen, plus, minus = [*seen, *g], [*plus, *values[:pairs]], [*minus, *values[pairs:]]
        slope = np.mean([(a - b) / 2 * d for a, b, d in zip(plus, minus, seen, strict=True)], axis=0)
        trial = x + scale * length * sigma * np.sqrt(D) * slope / np.linalg.norm(slope)
        (tried,), (returned,) = calls[2 * step + 1]
        np.testing.assert_allclose(tried, trial, atol=1e-6)
        means = (np.array(plus) + np.array(minus)) / 2
        if returned > means.mean() + np.sqrt(2) * means.std(ddof=1):
            x, scale, seen, plus, minus, moves = tried, min(1.0, 2 * scale), [], [], [], moves + 1
        else:
            scale /= 2
    np.testing.assert_array_equal(calls[-1][0][0], x)
    assert found.params.tobytes() == x.tobytes()
    assert found.estimate == calls[-1][1][0] == found.history[-1]
    assert found.episodes == steps * (2 * pairs + 1) + 1 == operator.episodes


def test_both_outcomes_of_a_trial_occur_in_the_reference_above():
    moved = []
    for seed in range(6):
        _, calls = ascend(ESAscent(4, 3, 0.1, 0.7), lambda p, s: bowl(p) + 0.3 * noise(s), seed)
        centres = [rows[:3].mean(axis=0) / 2 + rows[3:].mean(axis=0) / 2 for rows, _ in calls[:-1:2]]
        moved += [not np.allclose(a, b, atol=1e-5) for a, b in itertools.pairwise(centres)]
    assert 0 < sum(moved) < len(moved)


@pytest.mark.parametrize("length", [0.3, 1.0, 2.0])
def test_no_step_is_longer_than_allowed(length):
    for seed in range(5):
        found, calls = ascend(ESAscent(5, 4, 0.1, length), lambda p, s: 100 * bowl(p), seed)
        points = [rows[:4].mean(axis=0) / 2 + rows[4:].mean(axis=0) / 2 for rows, _ in calls[:-1:2]] + [found.params]
        jumps = [np.linalg.norm(b - a) for a, b in itertools.pairwise(points)]
        assert max(jumps) == pytest.approx(length * 0.1 * np.sqrt(D), rel=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_scale_of_returns_does_not_change_the_path(scale):
    found, _ = ascend(ESAscent(5, 4, 0.1), lambda p, s: scale * bowl(p))
    plain, _ = ascend(ESAscent(5, 4, 0.1), lambda p, s: bowl(p))
    np.testing.assert_allclose(found.params, plain.params, atol=1e-4)


def test_it_climbs():
    ends = [bowl(ascend(ESAscent(12, 4, 0.1), lambda p, s: bowl(p), seed)[0].params) for seed in range(10)]
    assert np.mean(ends) > 0.1 * bowl(THETA)
    assert max(ends) < 0


def test_on_nothing_but_noise_most_trials_fail_and_the_estimate_is_honest():
    found = [ascend(ESAscent(2, 4, 0.1), lambda p, s: noise(s), seed)[0] for seed in range(300)]
    moved = np.mean([f.params.tobytes() != THETA.tobytes() for f in found])
    assert 0.1 < moved < 0.5
    assert abs(np.mean([f.estimate for f in found])) < 0.2


def test_one_pair_a_step_is_enough_to_run():
    found, _ = ascend(ESAscent(20, 1, 0.1), lambda p, s: bowl(p))
    assert bowl(found.params) > bowl(THETA)


def test_the_decoder_gives_the_direction():
    slope = np.array([0, 5.0, 0, 0, 0, 0])
    value = lambda p, s: slope @ p.astype(np.float64)  # noqa: E731
    _, calls = ascend(ESAscent(1, 8, 0.1, decoder=Decoder("lasso", 0.1)), value)
    step = calls[1][0][0] - THETA
    np.testing.assert_allclose(np.delete(step, 1), 0, atol=1e-6)
    assert step[1] == pytest.approx(0.1 * np.sqrt(D), rel=1e-5)


def test_rows_of_a_step_are_drawn_together():
    _, calls = ascend(ESAscent(3, 2, 0.1, search=Search("orthogonal")), lambda p, s: -400.0, 8)
    for rows, _ in calls[:-1:2]:
        a, b = (rows[:2] - THETA).astype(np.float64)
        assert abs(a @ b) < 1e-4 * np.linalg.norm(a) * np.linalg.norm(b)
    first = (calls[0][0][:2] - THETA) / 0.1
    np.testing.assert_allclose(first, sample_directions("orthogonal", 8, 2, D), atol=1e-4)
