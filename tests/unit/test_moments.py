"""Moments of observations: merged parts are the whole, and the normaliser that comes out of them normalises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from esmaml_robot.moments import SMALLEST_STD, Moments
from esmaml_robot.policy import PolicyBatch, PolicySpec

OBSERVATION = st.floats(-1, 1, width=32)


@st.composite
def observations(draw):
    """Observations (n, inputs), and places to cut them."""
    n, inputs = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    values = draw(arrays(np.float64, (n, inputs), elements=OBSERVATION))
    return values, sorted(draw(st.lists(st.integers(0, n), max_size=6)))


def parts(values, cuts):
    return [p for p in np.split(values, cuts) if len(p)]


def close(found, expected):
    assert found.count == expected.count
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.squares, expected.squares, rtol=1e-9, atol=1e-12)


@given(observations())
def test_of_observations_is_numpys_mean_and_variance(given_values):
    values, _ = given_values
    found = Moments.of(values)
    assert found.count == len(values)
    np.testing.assert_allclose(found.mean, values.mean(axis=0), atol=1e-15)
    if found.count > 1:
        np.testing.assert_allclose(found.std, values.std(axis=0), atol=1e-12)


@given(observations())
def test_merged_parts_are_the_whole(given_values):
    values, cuts = given_values
    merged = Moments.empty(values.shape[1])
    for part in parts(values, cuts):
        merged = merged.merge(Moments.of(part))
    close(merged, Moments.of(values))


@given(observations())
def test_sums_say_the_same(given_values):
    values, _ = given_values
    close(Moments.of_sums(len(values), values.sum(axis=0), (values * values).sum(axis=0)), Moments.of(values))


@given(observations())
def test_nothing_changes_nothing_to_the_bit(given_values):
    values, _ = given_values
    one, nothing = Moments.of(values), Moments.empty(values.shape[1])
    for found in (one.merge(nothing), nothing.merge(one)):
        assert found.count == one.count
        assert found.mean.tobytes() == one.mean.tobytes()
        assert found.squares.tobytes() == one.squares.tobytes()
    assert nothing.merge(nothing).count == 0
    assert Moments.of_sums(0, np.zeros(2), np.zeros(2)).count == 0


def test_a_million_episodes_that_are_all_alike_do_not_drift():
    rng = np.random.default_rng(0)
    part = Moments.of(rng.uniform(-1, 1, (60, 3)))
    whole = Moments.empty(3)
    for _ in range(20_000):
        whole = whole.merge(part)
    assert whole.count == 1_200_000
    np.testing.assert_allclose(whole.mean, part.mean, rtol=1e-11)
    np.testing.assert_allclose(whole.std, part.std, rtol=1e-11)


def test_variance_of_an_input_far_from_zero_keeps_its_digits():
    values = 0.999 + 1e-4 * np.random.default_rng(0).uniform(-1, 1, (5000, 1))
    merged = Moments.empty(1)
    for part in np.split(values, 50):
        merged = merged.merge(Moments.of_sums(len(part), part.sum(axis=0), (part * part).sum(axis=0)))
    np.testing.assert_allclose(merged.std, values.std(axis=0), rtol=1e-6)


def test_the_normaliser_gives_mean_0_and_deviation_1():
    rng = np.random.default_rng(1)
    values = np.clip(rng.normal([0.3, -0.5, 0.0], [0.1, 0.2, 0.05], (4000, 3)), -1, 1).astype(np.float32)
    normaliser = Moments.of(values).normaliser()
    shown = (values - normaliser.mean) * normaliser.inverse_std
    np.testing.assert_allclose(shown.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(shown.std(axis=0), 1, atol=1e-5)
    # and it is the one that policies use: a linear policy of weight 0.1 shows a tenth of it
    spec = PolicySpec(inputs=3, outputs=1, hidden=())
    acts = PolicyBatch(spec, np.array([[0.1, 0, 0, 0]], np.float32), normaliser).act(values.T[:, :1])
    assert acts[0, 0] == pytest.approx(0.1 * shown[0, 0], abs=1e-6)


def test_an_input_that_hardly_varies_is_not_blown_up():
    values = np.tile([[0.25, 0.5]], (10, 1))
    values[::2, 1] += 2 * SMALLEST_STD * 1e-3
    normaliser = Moments.of(values).normaliser()
    np.testing.assert_allclose(normaliser.inverse_std, 1 / SMALLEST_STD, rtol=1e-6)
    assert normaliser.mean[0] == 0.25


@pytest.mark.parametrize("count", [0, 1])
def test_before_the_second_observation_nothing_is_normalised(count):
    moments = Moments.of(np.full((1, 3), 0.5)) if count else Moments.empty(3)
    assert moments.normaliser().is_identity
    np.testing.assert_array_equal(moments.std, 1)
