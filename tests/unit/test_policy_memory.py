"""What a policy remembers within an episode, and rows that are exchanged while the others go on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from esmaml_robot.errors import PolicyError
from esmaml_robot.float32 import clock_table
from esmaml_robot.policy import Normaliser, Policy, PolicyBatch, PolicySpec

B = 6
WHOLE = {"clock_steps": 7, "action_filter": 0.3}


def batch_of(seed=0, rows=B, normaliser=None, **kind):
    spec = PolicySpec(inputs=3, outputs=2, hidden=(5,), **kind)
    params = np.random.default_rng(seed).normal(scale=0.3, size=(rows, spec.dimension)).astype(np.float32)
    plain = normaliser or Normaliser.identity(3)
    return spec, params, PolicyBatch(spec, params, plain)


def observations_of(steps, rows=B):
    return np.random.default_rng(1).uniform(-1, 1, (steps, 3, rows)).astype(np.float32)


@pytest.mark.parametrize("steps", [2, 3, 4, 7, 12, 100, 4096])
def test_clock_is_sine_and_cosine_and_exact_at_the_quarters(steps):
    sine, cosine = clock_table(steps)
    angles = [2 * math.pi * k / steps for k in range(steps)]
    np.testing.assert_allclose(sine, [math.sin(a) for a in angles], atol=1e-7)
    np.testing.assert_allclose(cosine, [math.cos(a) for a in angles], atol=1e-7)
    for quarter, (s, c) in enumerate([(0, 1), (1, 0), (0, -1), (-1, 0)]):
        if quarter * steps % 4 == 0:
            assert (sine[quarter * steps // 4], cosine[quarter * steps // 4]) == (s, c)
    assert not np.signbit(sine[sine == 0]).any()


def test_rows_may_be_at_different_ticks():
    spec, params, batch = batch_of(clock_steps=7)
    ticks, x = np.array([0, 3, 6, 7, 8, 700]), observations_of(1)[0]
    together = batch.act(x, ticks)
    for row, tick in enumerate(ticks):
        alone = PolicyBatch(spec, params[row : row + 1], Normaliser.identity(3))
        assert alone.act(x[:, row : row + 1], int(tick)).tobytes() == together[:, row : row + 1].tobytes()
        assert alone.act(x[:, row : row + 1], int(tick % 7)).tobytes() == together[:, row : row + 1].tobytes()
        assert alone.act(x[:, row : row + 1], int(tick + 1)).tobytes() != together[:, row : row + 1].tobytes()
    assert batch.act(x).tobytes() == batch.act(x, np.zeros(B, int)).tobytes() == batch.act(x, 0).tobytes()


def test_the_normaliser_leaves_the_clock_alone():
    spec, params, _ = batch_of(clock_steps=7)
    shifted = Normaliser(np.full(3, 0.5), np.full(3, 2.0))
    x, ticks = observations_of(1)[0], np.arange(B)
    normalised = PolicyBatch(spec, params, shifted).act(x, ticks)
    by_hand = PolicyBatch(spec, params, Normaliser.identity(3)).act((x - np.float32(0.5)) * np.float32(2), ticks)
    assert normalised.tobytes() == by_hand.tobytes()


def test_filter_goes_its_share_of_the_way_from_zero():
    spec, params, batch = batch_of(action_filter=0.3)
    unfiltered = PolicyBatch(spec.model_copy(update={"action_filter": None}), params, Normaliser.identity(3))
    last = np.zeros((2, B), np.float32)
    for x in observations_of(20):
        wanted = unfiltered.act(x)
        last = last + (wanted - last) * np.float32(0.3)
        assert batch.act(x).tobytes() == last.tobytes()


def test_an_action_handed_out_is_not_changed_by_the_next_one():
    _, _, batch = batch_of(**WHOLE)
    first, second = observations_of(2)
    actions = batch.act(first)
    kept = actions.copy()
    batch.act(second)
    assert actions.tobytes() == kept.tobytes()
    actions[:] = 9  # nor does the caller change what the filter remembers
    assert np.abs(batch.act(second)).max() <= 1


@pytest.mark.parametrize("rows", [np.array([4, 1]), np.isin(np.arange(B), [1, 4]), slice(1, 5, 3)])
def test_a_row_begun_anew_in_mid_batch_equals_one_that_ran_alone(rows):
    spec, params, batch = batch_of(**WHOLE)
    fresh = np.random.default_rng(5).normal(scale=0.3, size=(2, spec.dimension)).astype(np.float32)
    steps = observations_of(9)
    undisturbed = PolicyBatch(spec, params, Normaliser.identity(3))
    starts = np.zeros(B, int)
    alone = PolicyBatch(spec, fresh, Normaliser.identity(3))
    picked = np.arange(B)[rows]
    others = ~np.isin(np.arange(B), picked)
    for t, x in enumerate(steps):
        if t == 4:
            batch.set_params(rows, fresh)
            batch.reset(rows)
            starts[rows] = t
        actions = batch.act(x, t - starts)
        expected = undisturbed.act(x, t)
        assert actions[:, others].tobytes() == expected[:, others].tobytes()
        if t >= 4:
            again = alone.act(np.ascontiguousarray(x[:, picked]), t - 4)
            assert np.ascontiguousarray(actions[:, picked]).tobytes() == again.tobytes()


def test_parameters_exchanged_without_a_reset_keep_the_last_action():
    spec, params, batch = batch_of(action_filter=0.3)
    first, second = observations_of(2)
    last = batch.act(first)
    batch.set_params(slice(None), params[::-1])
    other = PolicyBatch(spec, params[::-1], Normaliser.identity(3))
    other.resume(last)
    assert batch.act(second).tobytes() == other.act(second).tobytes()
    other.reset()
    assert other.act(second).tobytes() == PolicyBatch(spec, params[::-1], Normaliser.identity(3)).act(second).tobytes()


@pytest.mark.parametrize("kind", [{}, WHOLE, {"layers": "low_displacement", "displacement_rank": 2}])
def test_one_policy_serves_batches_of_any_width(kind):
    spec, params, shared = batch_of(rows=1, **kind)
    for width in (4, 1, 9):
        x = observations_of(1, width)[0]
        shared.reset()
        expected = PolicyBatch(spec, np.repeat(params, width, axis=0), Normaliser.identity(3)).act(x, 3)
        fresh = PolicyBatch(spec, params, Normaliser.identity(3))
        assert shared.act(x, 3).tobytes() == fresh.act(x, 3).tobytes() == expected.tobytes()
    other = params + np.float32(1)
    shared.set_params(slice(None), other)
    shared.reset()
    assert shared.act(x, 3).tobytes() == PolicyBatch(spec, other, Normaliser.identity(3)).act(x, 3).tobytes()


def test_wrong_shapes_are_refused():
    spec, params, batch = batch_of()
    with pytest.raises(PolicyError, match="5 observations were given to a batch of 6 policies"):
        batch.act(observations_of(1, 5)[0])
    with pytest.raises(PolicyError, match=rf"needs \(B, {spec.dimension}\)"):
        batch.set_params(slice(0, 1), params[:1, :-1])
    with pytest.raises(PolicyError, match="params have shape"):
        PolicyBatch(spec, params[0], Normaliser.identity(3))


def test_a_policy_acts_from_a_given_memory():
    spec, params, batch = batch_of(rows=1, **WHOLE)
    policy = Policy(spec, params[0], Normaliser.identity(3))
    last, steps = np.zeros((1, 2), np.float32), observations_of(10, 1)
    for t, x in enumerate(steps):
        last = policy.act(x.T, t, last)
        assert batch.act(x, t).tobytes() == last.T.tobytes()
