"""Adaptation operators, each against a few independent lines, and what all of them promise."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as from_safetensors
from safetensors.numpy import save as to_safetensors

from esmaml_robot import directions
from esmaml_robot.adaptation.base import Proposals, episode_seeds, materialise, state_from_arrays, state_to_arrays
from esmaml_robot.adaptation.batch_hill_climb import BatchHillClimb
from esmaml_robot.adaptation.confirmed_hill_climb import ConfirmedHillClimb
from esmaml_robot.adaptation.es_ascent import ESAscent
from esmaml_robot.adaptation.es_gradient import ESGradient
from esmaml_robot.adaptation.hill_climb import HillClimb
from esmaml_robot.adaptation.none import NoAdaptation
from esmaml_robot.adaptation.side_by_side import Item, adapt_many
from esmaml_robot.errors import PolicyError
from esmaml_robot.evaluation import EpisodeBatch, FunctionEvaluator, Task
from esmaml_robot.search import Search, candidate_seeds

F = np.float32
D = 7
THETA = np.linspace(-1, 1, D).astype(F)
GOAL = np.linspace(0.5, -0.5, D)
ORTHOGONAL, DPP = Search("orthogonal"), Search("dpp", 3)
OPERATORS = {
    "hill": HillClimb(12, 0.1),
    "batch": BatchHillClimb(4, 3, 0.1, "batch"),
    "average": BatchHillClimb(4, 3, 0.1, "average"),
    "batch of one": BatchHillClimb(5, 1, 0.1, "batch"),
    "gradient": ESGradient(8, 0.1, 0.05, "plain"),
    "antithetic": ESGradient(8, 0.1, 0.05, "antithetic"),
    "raw gradient": ESGradient(6, 0.2, 0.01, "plain", normalise=False),
    "none": NoAdaptation(),
    "confirmed": ConfirmedHillClimb(24, 0.1),
    "ascent": ESAscent(3, 4, 0.1),
    "shrinking hill": HillClimb(12, 0.1, shrink=0.7),
    "orthogonal hill": HillClimb(12, 0.1, ORTHOGONAL),
    "orthogonal batch": BatchHillClimb(4, 3, 0.1, "batch", ORTHOGONAL),
    "orthogonal average": BatchHillClimb(4, 3, 0.1, "average", ORTHOGONAL),
    "orthogonal gradient": ESGradient(20, 0.1, 0.05, "antithetic", search=ORTHOGONAL),
    "orthogonal confirmed": ConfirmedHillClimb(16, 0.1, ORTHOGONAL, 0.8),
    "orthogonal ascent": ESAscent(2, 9, 0.1, search=ORTHOGONAL),
    "dpp hill": HillClimb(12, 0.1, DPP),
    "dpp batch": BatchHillClimb(4, 3, 0.1, "batch", DPP),
    "dpp plain gradient": ESGradient(8, 0.1, 0.05, "plain", search=DPP),
}
#: Calls of `tell` in one adaptation, where it is not one.
CALLS = {
    "hill": 13,
    "batch": 5,
    "average": 5,
    "batch of one": 6,
    "none": 0,
    "confirmed": 25,
    "ascent": 7,
    "shrinking hill": 13,
    "orthogonal hill": 13,
    "orthogonal batch": 5,
    "orthogonal average": 5,
    "orthogonal confirmed": 17,
    "orthogonal ascent": 5,
    "dpp hill": 13,
    "dpp batch": 5,
}
EVERY = pytest.mark.parametrize("name", OPERATORS)


def bowl(params):
    return -float(((params.astype(np.float64) - GOAL) ** 2).sum())


def noisy(params, seed):
    """A return that depends on the candidate and on the episode seed, float32."""
    return F(bowl(params) + 0.3 * float(directions.directions([seed], 1)[0, 0]))


def run(operator, theta=THETA, seed=5, value=noisy, state=None):
    """Run an adaptation from `state`, or from its start, with value(params, episode seed); returns the end state."""
    state = operator.start(theta, seed) if state is None else state
    while not operator.done(state):
        state = tell_one(operator, state, value)
    return state


def tell_one(operator, state, value=noisy):
    asked = operator.ask(state)
    rows = materialise([asked])
    returns = [value(row, int(s)) for row, s in zip(rows, asked.episode_seeds, strict=True)]
    return operator.tell(state, np.array(returns, F))


def same(a, b):
    """Two states, equal to the last bit."""
    assert type(a) is type(b)
    for key, value in state_to_arrays(a).items():
        other = state_to_arrays(b)[key]
        assert value.dtype == other.dtype, key
        assert value.shape == other.shape, key
        assert value.tobytes() == other.tobytes(), key


def direction(seed):
    return directions.directions([seed], D)[0]


# --- each operator against an independent reference


@pytest.mark.parametrize("seed", range(5))
def test_hill_climbing(seed):
    starts, episodes = candidate_seeds(seed, 12), episode_seeds(seed, 13)
    best = THETA
    pivot = noisy(best, episodes[0])
    history = [float(pivot)]
    for q in range(12):
        candidate = best + F(0.1) * direction(starts[q])
        value = noisy(candidate, episodes[q + 1])
        history.append(float(value))
        if value > pivot:
            best, pivot = candidate, value
    result = OPERATORS["hill"].result(run(OPERATORS["hill"], seed=seed))
    assert result.params.tobytes() == best.tobytes()
    assert (result.estimate, result.history) == (float(pivot), tuple(history))
    assert result.episodes == 13


@pytest.mark.parametrize("seed", range(5))
def test_hill_climbing_with_steps_that_shrink(seed):
    starts, episodes = candidate_seeds(seed, 12), episode_seeds(seed, 13)
    best, pivot, sigma, taken = THETA, noisy(THETA, episodes[0]), F(0.1), 0
    for q in range(12):
        candidate = best + sigma * direction(starts[q])
        value = noisy(candidate, episodes[q + 1])
        if value > pivot:
            best, pivot, sigma, taken = candidate, value, F(sigma * F(0.7)), taken + 1
    result = OPERATORS["shrinking hill"].result(run(OPERATORS["shrinking hill"], seed=seed))
    assert result.params.tobytes() == best.tobytes()
    assert result.estimate == float(pivot)
    assert taken > 0


@pytest.mark.parametrize("seed", range(5))
def test_batch_hill_climbing_takes_the_best_of_each_batch(seed):
    starts, episodes = candidate_seeds(seed, 12), episode_seeds(seed, 15)
    best, pivot = THETA, float(np.mean([noisy(THETA, s) for s in episodes[:3]], dtype=np.float64))
    for q in range(4):
        rows = [best + F(0.1) * direction(s) for s in starts[3 * q : 3 * q + 3]]
        values = [float(noisy(r, s)) for r, s in zip(rows, episodes[3 * q + 3 : 3 * q + 6], strict=True)]
        if max(values) > pivot:
            pivot = max(values)
            best = rows[values.index(pivot)]
    result = OPERATORS["batch"].result(run(OPERATORS["batch"], seed=seed))
    assert result.params.tobytes() == best.tobytes()
    assert result.estimate == pivot
    assert result.episodes == 15


@pytest.mark.parametrize("seed", range(5))
def test_batch_hill_climbing_by_averages(seed):
    starts, episodes = candidate_seeds(seed, 4), episode_seeds(seed, 15)

    def measure(row, at):
        values = [float(noisy(row, s)) for s in episodes[at : at + 3]]
        mean = sum(values) / 3
        return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / 2 / 3)

    best, (pivot, error) = THETA, measure(THETA, 0)
    for q in range(4):
        row = best + F(0.1) * direction(starts[q])
        mean, spread = measure(row, 3 * q + 3)
        if mean > pivot:
            best, pivot, error = row, mean, spread
    result = OPERATORS["average"].result(run(OPERATORS["average"], seed=seed))
    assert result.params.tobytes() == best.tobytes()
    assert result.estimate == pytest.approx(pivot, rel=1e-6)  # means are float32
    assert result.standard_error == pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("normalise", [True, False])
def test_es_gradient_plain(seed, normalise):
    operator = ESGradient(8, 0.1, 0.05, "plain", normalise)
    starts, episodes = candidate_seeds(seed, 8), episode_seeds(seed, 9)
    values = [noisy(THETA, episodes[0])]
    values += [noisy(THETA + F(0.1) * direction(s), e) for s, e in zip(starts, episodes[1:], strict=True)]
    scale = float(np.std(np.array(values, np.float64))) if normalise else 1.0
    gradient = np.zeros(D)
    for s, v in zip(starts, values[1:], strict=True):
        gradient += (float(v) - float(values[0])) / scale * direction(s) / (8 * 0.1)
    result = operator.result(run(operator, seed=seed))
    np.testing.assert_allclose(result.params, THETA + 0.05 * gradient, rtol=0, atol=1e-6)
    assert result.history == tuple(map(float, values))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("normalise", [True, False])
def test_es_gradient_antithetic(seed, normalise):
    operator = ESGradient(8, 0.1, 0.05, "antithetic", normalise)
    starts, episodes = candidate_seeds(seed, 4), episode_seeds(seed, 9)
    plus = [noisy(THETA + F(0.1) * direction(s), e) for s, e in zip(starts, episodes[1:5], strict=True)]
    minus = [noisy(THETA - F(0.1) * direction(s), e) for s, e in zip(starts, episodes[5:], strict=True)]
    values = [noisy(THETA, episodes[0]), *plus, *minus]
    scale = float(np.std(np.array(values, np.float64))) if normalise else 1.0
    gradient = np.zeros(D)
    for s, a, b in zip(starts, plus, minus, strict=True):
        gradient += (float(a) - float(b)) / scale * direction(s) / (2 * 4 * 0.1)
    result = operator.result(run(operator, seed=seed))
    np.testing.assert_allclose(result.params, THETA + 0.05 * gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["plain", "antithetic"])
def test_es_gradient_of_a_linear_function_is_the_projection_by_the_sample_covariance(kind):
    # steps and slopes are small dyadic numbers where possible; what float32 rounds stays far below the tolerance
    slope = np.array([1, -2, 0.5, 4, -0.25, 2, -1])
    operator = ESGradient(10, 0.25, 1.0, kind, normalise=False)
    state = run(operator, theta=np.zeros(D, F), value=lambda p, s: F(slope @ p.astype(np.float64) + 3))
    rows = directions.directions(candidate_seeds(5, 5 if kind == "antithetic" else 10), D).astype(np.float64)
    expected = rows.T @ rows @ slope / len(rows)
    np.testing.assert_allclose(operator.gradient(state), expected, rtol=0, atol=2e-5)
    assert np.abs(expected).max() > 1


def test_es_gradient_antithetic_is_blind_to_an_even_function():
    operator = ESGradient(10, 0.25, 1.0, "antithetic", normalise=False)
    state = run(operator, theta=np.zeros(D, F), value=lambda p, s: F((p.astype(np.float64) ** 2).sum()))
    np.testing.assert_array_equal(operator.gradient(state), 0)


def test_antithetic_halves_are_mirrored_about_the_pivot():
    asked = OPERATORS["antithetic"].ask(OPERATORS["antithetic"].start(np.zeros(D, F), 3))
    rows = materialise([asked])
    np.testing.assert_array_equal(rows[0], 0)
    np.testing.assert_array_equal(rows[1:5], -rows[5:])
    assert len(np.unique(rows, axis=0)) == 9


def test_none_returns_theta_and_runs_nothing():
    operator = NoAdaptation()
    state = operator.start(THETA, 1)
    assert operator.done(state)
    assert len(operator.ask(state)) == 0
    result = operator.result(state)
    assert result.params.tobytes() == THETA.tobytes()
    assert result.episodes == 0


def test_hill_climbing_climbs_a_bowl():
    operator = HillClimb(300, 0.1)
    result = operator.result(run(operator, value=lambda p, s: F(bowl(p))))
    assert result.estimate > 0.1 * bowl(THETA)
    assert bowl(result.params) == pytest.approx(result.estimate, rel=1e-5)


# --- what all of them promise


@EVERY
def test_number_of_episodes_is_as_promised(name):
    operator = OPERATORS[name]
    told, state = 0, operator.start(THETA, 5)
    while not operator.done(state):
        told += len(operator.ask(state))
        state = tell_one(operator, state)
    assert told == operator.episodes == operator.result(state).episodes == len(operator.result(state).history)


@pytest.mark.parametrize(
    ("operator", "episodes"),
    [
        (HillClimb(20, 0.1), 21),
        (BatchHillClimb(4, 5, 0.1), 25),
        (ESGradient(20, 0.1, 0.1), 21),
        (NoAdaptation(), 0),
    ],
)
def test_episodes_count_pivots(operator, episodes):
    assert operator.episodes == episodes


@EVERY
def test_ask_does_not_change_the_state(name):
    operator = OPERATORS[name]
    state = operator.start(THETA, 5)
    while not operator.done(state):
        kept = {k: v.copy() for k, v in state_to_arrays(state).items()}
        one, two = operator.ask(state), operator.ask(state)
        for field in ("base", "seeds", "sigmas", "episode_seeds", "offsets"):
            a, b = getattr(one, field), getattr(two, field)
            assert (a is None and b is None) or a.tobytes() == b.tobytes()
        assert materialise([one]).tobytes() == materialise([two]).tobytes()
        for key, value in state_to_arrays(state).items():
            assert value.tobytes() == kept[key].tobytes()
        state = tell_one(operator, state)


@EVERY
def test_tell_leaves_the_state_before_as_it_was(name):
    operator = OPERATORS[name]
    state = operator.start(THETA, 5)
    while not operator.done(state):
        kept = {k: v.tobytes() for k, v in state_to_arrays(state).items()}
        after = tell_one(operator, state)
        assert {k: v.tobytes() for k, v in state_to_arrays(state).items()} == kept
        same(after, tell_one(operator, state))
        state = after


@EVERY
def test_a_saved_state_goes_on_bit_for_bit_from_every_cut(name):
    operator = OPERATORS[name]
    end, state, cuts = run(operator), operator.start(THETA, 5), 0
    while True:
        restored = state_from_arrays(type(state), from_safetensors(to_safetensors(state_to_arrays(state))))
        same(restored, state)
        for field in dataclasses.fields(state):
            assert type(getattr(restored, field.name)) is type(getattr(state, field.name)), field.name
        same(run(operator, state=restored), end)
        cuts += 1
        if operator.done(state):
            break
        state = tell_one(operator, state)
    assert operator.result(restored).params.tobytes() == operator.result(end).params.tobytes()
    assert cuts == CALLS.get(name, 1) + 1


@EVERY
def test_theta_of_the_caller_is_not_touched(name):
    theta = THETA.copy()
    state = OPERATORS[name].start(theta, 5)
    theta[:] = 99
    assert OPERATORS[name].result(run(OPERATORS[name], state=state)).params.max() < 50


@EVERY
def test_equal_returns_leave_theta_alone(name):
    operator = OPERATORS[name]
    result = operator.result(run(operator, value=lambda p, s: F(-7.25)))
    assert result.params.tobytes() == THETA.tobytes()


@EVERY
def test_seeds_give_different_candidates(name):
    operator = OPERATORS[name]
    if name == "none":
        return
    tried = set()
    for seed in range(8):
        state = tell_one(operator, operator.start(THETA, seed))
        tried.add(materialise([operator.ask(operator.start(THETA, seed)), operator.ask(state)]).tobytes())
    assert len(tried) == 8


@EVERY
@pytest.mark.parametrize("bad", ["more", "fewer", "nan", "inf", "matrix"])
def test_wrong_returns_are_refused(name, bad):
    operator = OPERATORS[name]
    state = operator.start(THETA, 5)
    while not operator.done(state):
        n = len(operator.ask(state))
        returns = {
            "more": np.zeros(n + 1, F),
            "fewer": np.zeros(n - 1, F),
            "nan": np.array([np.nan] + [0] * (n - 1), F),
            "inf": np.array([0] * (n - 1) + [np.inf], F),
            "matrix": np.zeros((n, 1), F),
        }[bad]
        with pytest.raises(PolicyError, match="finite" if bad in ("nan", "inf") else "asked for"):
            operator.tell(state, returns)
        state = tell_one(operator, state)


@EVERY
def test_history_holds_the_told_returns_in_order(name):
    operator = OPERATORS[name]
    state, told = operator.start(THETA, 5), []
    while not operator.done(state):
        asked = operator.ask(state)
        returns = np.array([F(len(told) + 0.5 + i) for i in range(len(asked))], F)
        told += returns.tolist()
        state = operator.tell(state, returns)
    assert operator.result(state).history == tuple(told)


@EVERY
@given(seed=st.integers(0, 2**32 - 1), returns=st.lists(st.floats(-1e3, 1e3, width=32), min_size=60, max_size=60))
@settings(max_examples=20, deadline=None)
def test_any_returns_cut_anywhere_go_on_bit_for_bit(name, seed, returns):
    operator = OPERATORS[name]
    state, at = operator.start(THETA, seed), 0
    cut = state
    while not operator.done(state):
        asked = operator.ask(state)
        values = np.array(returns[at : at + len(asked)], F)
        at += len(asked)
        again = state_from_arrays(type(cut), state_to_arrays(cut))
        assert materialise([operator.ask(again)]).tobytes() == materialise([asked]).tobytes()
        state, cut = operator.tell(state, values), operator.tell(again, values)
        same(cut, state)
    result = operator.result(state)
    assert result.episodes == at == operator.episodes
    assert result.history == tuple(returns[:at])
    assert result.params.dtype == F
    assert np.isfinite(result.params).all()


# --- directions that a proposal carries


def test_batches_mix_proposals_with_and_without_offsets():
    rng = np.random.default_rng(0)
    seeds, episodes = np.arange(4, dtype=np.uint32), np.zeros(4, np.uint32)
    sigmas = np.array([0.5, 0, -0.25, 1], F)
    offsets = rng.standard_normal((4, D)).astype(F)
    negative_zero = np.array([-0.0] * D, F)
    seeded = Proposals(THETA, seeds, sigmas, episodes)
    carried = Proposals(negative_zero, seeds, sigmas, episodes, offsets)
    rows = materialise([carried, seeded, carried])
    assert rows.dtype == F
    np.testing.assert_array_equal(rows[4:8], materialise([seeded]))
    for at in (0, 8):
        for i in (0, 2, 3):
            assert rows[at + i].tobytes() == (negative_zero + sigmas[i] * offsets[i]).tobytes()
        assert rows[at + 1].tobytes() == negative_zero.tobytes()  # sigma 0 is the base to the last bit
    for i in range(4):
        assert materialise([carried.row(i)]).tobytes() == rows[i].tobytes()
        assert materialise([seeded.row(i)]).tobytes() == rows[4 + i].tobytes()


@pytest.mark.parametrize("name", [n for n in OPERATORS if n.startswith("orthogonal")])
def test_orthogonal_candidates_are_at_right_angles_and_seeded_ones_are_not(name):
    operator, turned, plain = OPERATORS[name], [], []
    state = operator.start(THETA, 3)
    while not operator.done(state):
        asked = operator.ask(state)
        for i in range(len(asked)):
            one = asked.row(i)
            if one.sigmas[0] > 0:
                turned.append(one.offsets[0].astype(np.float64))
                plain.append(directions.directions(one.seeds, D)[0].astype(np.float64))
        state = tell_one(operator, state)
    several = {"orthogonal batch": slice(0, 3), "orthogonal average": slice(0, 12, 3)}.get(name, slice(0, D))

    def largest_cosine(rows):
        units = np.array([r / np.linalg.norm(r) for r in rows[several]])
        return np.abs(units @ units.T - np.eye(len(units))).max()

    assert largest_cosine(turned) < 1e-6
    assert largest_cosine(plain) > 0.1
    np.testing.assert_allclose([np.linalg.norm(r) for r in turned], [np.linalg.norm(r) for r in plain], rtol=1e-6)


@pytest.mark.parametrize("name", [n for n in OPERATORS if not n.startswith("orthogonal")])
def test_other_candidates_are_rebuilt_from_a_seed(name):
    operator = OPERATORS[name]
    state = operator.start(THETA, 3)
    while not operator.done(state):
        assert operator.ask(state).offsets is None
        state = tell_one(operator, state)


# --- many at once


def evaluate_rows(params, tasks, seeds):
    returns = [
        np.nan if t.parameters["broken"] else noisy(p + F(t.parameters["shift"]), s)
        for p, t, s in zip(params, tasks, seeds, strict=True)
    ]
    values = np.array(returns, F)
    return EpisodeBatch(values, np.ones(len(values), np.int32), np.isfinite(values))


def items(count, broken=()):
    return [
        Item(THETA + F(i), Task("t", {"shift": 0.1 * i, "broken": float(i in broken)}), 40 + i) for i in range(count)
    ]


@EVERY
def test_adapt_many_is_each_alone_bit_for_bit(name):
    operator = OPERATORS[name]
    together = adapt_many(operator, evaluate_rows, items(5))
    for item, result in zip(items(5), together, strict=True):
        shift = F(item.task.parameters["shift"])
        alone = operator.result(
            run(operator, item.theta, item.seed, value=lambda p, s, shift=shift: noisy(p + shift, s))
        )
        assert result.params.tobytes() == alone.params.tobytes()
        assert result.history == alone.history
        single = adapt_many(operator, evaluate_rows, [item])[0]
        assert single.params.tobytes() == alone.params.tobytes()


@EVERY
def test_an_invalid_episode_fails_its_item_only(name):
    operator = OPERATORS[name]
    whole, part = (adapt_many(operator, evaluate_rows, items(5, broken)) for broken in ((), (1, 4)))
    if name == "none":  # it runs no episode that could fail
        assert None not in part
        return
    assert [i for i, r in enumerate(part) if r is None] == [1, 4]
    for i in (0, 2, 3):
        assert part[i].params.tobytes() == whole[i].params.tobytes()


def test_an_item_that_fails_late_fails_alone():
    calls = []

    def evaluate(params, tasks, seeds):
        calls.append(len(params))
        batch = evaluate_rows(params, tasks, seeds)
        valid = np.array([not (len(calls) == 3 and t.parameters["shift"] == F(0)) for t in tasks])
        return EpisodeBatch(batch.returns, batch.steps, valid)

    results = adapt_many(HillClimb(4, 0.1), evaluate, items(3))
    assert results[0] is None
    assert results[1] is not None
    assert calls == [3, 3, 3, 2, 2]


def test_function_evaluator_marks_what_is_not_finite():
    batch = FunctionEvaluator(lambda p: math.nan if p[0] > 0 else 1.0).evaluate(np.array([[1], [-1]], F), np.zeros(2))
    assert batch.valid.tolist() == [False, True]
    assert len(batch) == 2
