"""The policy's arithmetic: tanh32 against the real tanh, the forward pass against plain numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esmaml_robot.errors import PolicyError
from esmaml_robot.float32 import relu_in_place, tanh32
from esmaml_robot.policy import Normaliser, Policy, PolicyBatch, PolicySpec, initial_theta

SHAPES = [(), (8,), (16, 16), (5, 3, 7)]

KINDS = [
    {},
    {"layers": "toeplitz"},
    {"layers": "low_displacement", "displacement_rank": 1},
    {"layers": "low_displacement", "displacement_rank": 3},
]


def specs():
    """Architectures of all kinds, small enough to be run many times."""
    return st.builds(
        lambda kind, **rest: PolicySpec(**kind, **rest),
        kind=st.sampled_from(KINDS),
        inputs=st.integers(1, 9),
        outputs=st.integers(1, 5),
        hidden=st.lists(st.integers(1, 12), max_size=3).map(tuple),
        activation=st.sampled_from(["tanh", "relu"]),
        clock_steps=st.none() | st.integers(2, 40),
        action_filter=st.none() | st.floats(0.01, 0.99),
    )


def krylov(first, sign):
    """The f-circulant matrix: each column is the one before it, shifted down, with f times its end on top."""
    columns = [first]
    while len(columns) < len(first):
        last = columns[-1]
        columns.append(np.concatenate([[sign * last[-1]], last[:-1]]))
    return np.stack(columns, axis=1)


def layer_matrix(spec, values, n_in, n_out):
    """W of one layer out of its weights, in float64, by the formulas of the papers."""
    if spec.layers == "toeplitz":
        return np.array([[values[i - j + n_in - 1] for j in range(n_in)] for i in range(n_out)])
    if spec.layers == "low_displacement":
        n = max(n_in, n_out)
        g, h = values.reshape(2, spec.displacement_rank, n)
        products = [krylov(a, 1.0) @ krylov(b, -1.0) for a, b in zip(g, h, strict=True)]
        return sum(products)[:n_out, :n_in]
    return values.reshape(n_out, n_in)


def reference_forward(spec, theta, mean, inverse_std, observations, ticks=0, previous=0.0):
    """The documented forward pass written down once more, in float64 with matrix products: (B, in) -> (B, out)."""
    x = np.clip((observations.astype(np.float64) - mean) * inverse_std, -10, 10)
    if spec.clock_steps:
        angle = np.broadcast_to(2 * np.pi * np.asarray(ticks) / spec.clock_steps, len(x))
        x = np.column_stack([x, np.sin(angle), np.cos(angle)])
    theta, at = theta.astype(np.float64), 0
    sizes = [x.shape[1], *spec.hidden, spec.outputs]
    for layer in range(len(sizes) - 1):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        count = {
            "dense": n_in * n_out,
            "toeplitz": n_in + n_out - 1,
            "low_displacement": 2 * (spec.displacement_rank or 0) * max(n_in, n_out),
        }[spec.layers]
        w = layer_matrix(spec, theta[at : at + count], n_in, n_out)
        x = x @ w.T + theta[at + count : at + count + n_out]
        at += count + n_out
        if layer < len(sizes) - 2:
            x = np.tanh(x) if spec.activation == "tanh" else np.maximum(x, 0)
    assert at == len(theta)
    wanted = np.clip(x, -1, 1)
    return wanted if spec.action_filter is None else previous + spec.action_filter * (wanted - previous)


def policy_of(spec, seed, normalise=False):
    """A policy whose layers keep the size of what goes through them, so that rounding is all that differs."""
    rng = np.random.default_rng(seed)
    theta = initial_theta(spec, "scaled", 1.0, seed)
    theta += (0.2 * (theta == 0) * rng.standard_normal(theta.size)).astype(np.float32)  # the biases
    normaliser = Normaliser.identity(spec.inputs)
    if normalise:
        normaliser = Normaliser(rng.uniform(-0.5, 0.5, spec.inputs), rng.uniform(0.5, 3.0, spec.inputs))
    return Policy(spec, theta, normaliser)


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


@settings(max_examples=300, deadline=None)
@given(specs(), st.booleans(), st.integers(0, 2**31))
def test_every_kind_of_policy_equals_an_independent_reference(spec, normalise, seed):
    policy = policy_of(spec, seed, normalise)
    rng = np.random.default_rng(seed)
    observations = rng.uniform(-1, 1, (20, spec.inputs)).astype(np.float32)
    ticks = rng.integers(0, 100, 20)
    previous = rng.uniform(-1, 1, (20, spec.outputs)).astype(np.float32)
    normaliser = policy.normaliser
    expected = reference_forward(
        spec, policy.theta, normaliser.mean, normaliser.inverse_std, observations, ticks, previous
    )
    actions = policy.act(observations, ticks, previous)
    np.testing.assert_allclose(actions, expected, atol=1e-5, rtol=0)
    assert np.abs(actions).max() <= 1
    at_zero = policy.act(observations, np.zeros(20, int), np.zeros_like(previous))
    assert policy.act(observations).tobytes() == at_zero.tobytes()


def in_order(weights, bias, x):
    """The sum b + W x with one rounding an operation, term by term, the order that C has."""
    out = []
    for row, total in zip(weights, bias, strict=True):
        for w, value in zip(row, x, strict=True):
            total = np.float32(total + np.float32(w * value))
        out.append(total)
    return np.array(out, np.float32)


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize(("inputs", "outputs"), [(40, 1), (9, 1), (33, 2), (1, 1), (130, 3)])
def test_sums_are_in_the_order_of_the_inputs(inputs, outputs, batch):
    spec = PolicySpec(inputs=inputs, outputs=outputs, hidden=())
    rng = np.random.default_rng(inputs)
    params = (0.05 * rng.standard_normal((batch, spec.dimension))).astype(np.float32)
    observations = rng.uniform(-1, 1, (inputs, batch)).astype(np.float32)
    actions = PolicyBatch(spec, params, Normaliser.identity(inputs)).act(observations)
    for row in range(batch):
        weights, bias = params[row, : inputs * outputs].reshape(outputs, inputs), params[row, inputs * outputs :]
        assert actions[:, row].tobytes() == in_order(weights, bias, observations[:, row]).tobytes()


def test_relu_passes_nan_on_and_has_one_zero():
    x = np.array([np.nan, -0.0, 0.0, -1.0, 2.0, -np.inf, np.inf], np.float32)
    relu_in_place(x)
    np.testing.assert_array_equal(x, [np.nan, 0, 0, 0, 2, 0, np.inf])
    assert not np.signbit(x[1:]).any()


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
