"""The policy's arithmetic: tanh32 against the real tanh, the batched forward pass against plain numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmaml_robot.errors import PolicyError
from esmaml_robot.policy import Normaliser, Policy, PolicyBatch, PolicySpec, initial_theta, tanh32

SHAPES = [(), (8,), (16, 16), (5, 3, 7)]


def reference_forward(spec, theta, mean, inverse_std, observations):
    """The documented forward pass written down once more, in float64 with matrix products: (B, in) -> (B, out)."""
    x = np.clip((observations.astype(np.float64) - mean) * inverse_std, -10, 10)
    at = 0
    sizes = [spec.inputs, *spec.hidden, spec.outputs]
    for layer in range(len(sizes) - 1):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        w = theta[at : at + n_in * n_out].astype(np.float64).reshape(n_out, n_in)
        b = theta[at + n_in * n_out : at + n_in * n_out + n_out].astype(np.float64)
        at += n_in * n_out + n_out
        x = x @ w.T + b
        if layer < len(sizes) - 2:
            x = np.tanh(x)
    assert at == len(theta)
    return np.clip(x, -1, 1)


def random_policy(hidden, seed=0, scale=1.0, normalise=False, inputs=3, outputs=2):
    spec = PolicySpec(inputs=inputs, outputs=outputs, hidden=hidden)
    rng = np.random.default_rng(seed)
    theta = (scale * rng.standard_normal(spec.dimension)).astype(np.float32)
    normaliser = Normaliser.identity(inputs)
    if normalise:
        mean, inverse_std = rng.uniform(-0.5, 0.5, inputs), rng.uniform(0.5, 40.0, inputs)
        normaliser = Normaliser(mean.astype(np.float32), inverse_std.astype(np.float32))
    return Policy(spec, theta, normaliser)


def test_tanh32_is_close_to_tanh_everywhere():
    grid = np.linspace(-12, 12, 2_000_001).astype(np.float32)
    error = np.abs(tanh32(grid).astype(np.float64) - np.tanh(grid.astype(np.float64)))
    assert error.max() <= 5e-7


def test_tanh32_never_leaves_minus_one_to_one():
    # every float32 around the saturation, where a rational function could overshoot
    near = np.arange(np.float32(5.0).view(np.uint32), np.float32(8.5).view(np.uint32), dtype=np.uint32).view(np.float32)
    assert np.abs(tanh32(near)).max() <= 1.0
    far = np.array([8.0, 9.0, 1e10, np.finfo(np.float32).max, np.inf], dtype=np.float32)
    assert np.abs(tanh32(far)).max() <= 1.0
    np.testing.assert_array_equal(tanh32(-far), -tanh32(far))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_tanh32_is_odd_and_keeps_small_numbers(value):
    x = np.array([value], dtype=np.float32)
    y = tanh32(x)
    np.testing.assert_array_equal(tanh32(-x), -y)
    assert abs(float(y[0]) - np.tanh(float(x[0]))) <= 5e-7
    if 1e-30 < abs(value) < 1e-3:  # relative accuracy near zero, where the absolute bound says nothing
        assert abs(float(y[0]) / np.tanh(float(x[0])) - 1) < 1e-6


def test_tanh32_passes_nan_on():
    assert np.isnan(tanh32(np.array([np.nan], dtype=np.float32))).all()


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("hidden", SHAPES)
def test_forward_equals_an_independent_reference(hidden, normalise):
    policy = random_policy(hidden, seed=len(hidden), normalise=normalise)
    observations = np.random.default_rng(1).uniform(-1, 1, (500, 3)).astype(np.float32)
    expected = reference_forward(
        policy.spec, policy.theta, policy.normaliser.mean, policy.normaliser.inverse_std, observations
    )
    actions = policy.act(observations)
    assert actions.dtype == np.float32
    assert actions.shape == (500, 2)
    assert (np.abs(expected) < 1).any()  # else the clip would hide everything
    # float32 sums of about twenty numbers of magnitude up to 10 (the normaliser's clip)
    np.testing.assert_allclose(actions, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("hidden", SHAPES)
def test_rows_of_a_batch_do_not_touch_each_other(hidden, normalise):
    spec = PolicySpec(inputs=3, outputs=2, hidden=hidden)
    rng = np.random.default_rng(7)
    params = rng.standard_normal((33, spec.dimension)).astype(np.float32)
    observations = rng.uniform(-1, 1, (3, 33)).astype(np.float32)
    normaliser = random_policy(hidden, normalise=normalise).normaliser
    together = PolicyBatch(spec, params, normaliser).act(observations)
    for row in (0, 1, 16, 32):
        alone = PolicyBatch(spec, params[row : row + 1], normaliser).act(observations[:, row : row + 1])
        assert alone.tobytes() == np.ascontiguousarray(together[:, row : row + 1]).tobytes()
    params[5] = np.nan  # a candidate that diverged stays alone with it
    spoilt = PolicyBatch(spec, params, normaliser).act(observations)
    others = np.arange(33) != 5
    assert np.isnan(spoilt[:, 5]).all()
    assert spoilt[:, others].tobytes() == together[:, others].tobytes()


def test_one_policy_on_many_observations_equals_one_by_one():
    policy = random_policy((16, 16), normalise=True)
    observations = np.random.default_rng(2).uniform(-1, 1, (64, 3)).astype(np.float32)
    one_by_one = np.concatenate([policy.act(o[None, :]) for o in observations])
    assert policy.act(observations).tobytes() == one_by_one.tobytes()


@pytest.mark.parametrize(
    ("inputs", "hidden", "outputs", "dimension"), [(2, (8,), 2, 42), (3, (16, 16), 4, 404), (28, (), 8, 232)]
)
def test_dimension_counts_weights_and_biases(inputs, hidden, outputs, dimension):
    spec = PolicySpec(inputs=inputs, outputs=outputs, hidden=hidden)
    assert spec.dimension == dimension
    assert Policy(spec, initial_theta(spec, "scaled", 1.0, seed=3), Normaliser.identity(spec.inputs)).theta.shape == (
        dimension,
    )


def test_initial_theta_rest_is_at_rest_and_yet_easy_to_wake():
    spec = PolicySpec(inputs=3, outputs=2, hidden=(8,))
    theta = initial_theta(spec, "rest", 4.0, seed=5)
    first, second = theta[:24].reshape(8, 3), theta[32:48].reshape(2, 8)
    np.testing.assert_allclose(first[:4].T @ first[:4], 36.0 * np.eye(3), atol=1e-3)  # features, not read yet
    assert not second[:, :4].any()
    assert not first[4:].any()  # amplifiers of what the operator adds to their inputs
    np.testing.assert_allclose(second[:, 4:] @ second[:, 4:].T, 16.0 * np.eye(2), atol=1e-4)
    assert not theta[24:32].any()
    assert not theta[48:].any()
    observations = np.random.default_rng(3).uniform(-1, 1, (50, 3)).astype(np.float32)
    assert not Policy(spec, theta, Normaliser.identity(3)).act(observations).any()
    theta[12:24] += np.float32(0.1)
    assert np.abs(Policy(spec, theta, Normaliser.identity(3)).act(observations)).max() > 0.1


def test_initial_theta_is_a_function_of_its_seed_and_scales_with_its_gain():
    spec = PolicySpec(inputs=100, outputs=50, hidden=())
    one, again = (initial_theta(spec, "scaled", 1.0, seed=9) for _ in range(2))
    assert one.tobytes() == again.tobytes()
    assert one.tobytes() != initial_theta(spec, "scaled", 1.0, seed=10).tobytes()
    assert one[:5000].std() == pytest.approx(0.1, rel=0.05)  # gain / sqrt(inputs)
    assert not one[5000:].any()
    np.testing.assert_allclose(initial_theta(spec, "scaled", 3.0, seed=9), 3 * one, rtol=1e-6)
    assert not initial_theta(spec, "zeros", 3.0, seed=9).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_parameters_that_are_not_finite_are_refused_by_name(bad):
    policy = random_policy((8,))
    theta = policy.theta.copy()
    theta[11] = bad
    with pytest.raises(PolicyError, match=r"theta\[11\]"):
        Policy(policy.spec, theta, policy.normaliser)


def test_policy_hash_depends_on_every_part():
    policy = random_policy((8,), normalise=True)
    hashes = {policy.policy_hash}
    for part in ("theta", "mean", "inverse_std"):
        values = {
            "theta": policy.theta.copy(),
            "mean": policy.normaliser.mean.copy(),
            "inverse_std": policy.normaliser.inverse_std.copy(),
        }
        values[part][0] = np.nextafter(values[part][0], np.float32(np.inf))
        changed = Policy(policy.spec, values["theta"], Normaliser(values["mean"], values["inverse_std"]))
        hashes.add(changed.policy_hash)
    assert len(hashes) == 4
