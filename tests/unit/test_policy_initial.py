"""Initial parameters: at rest and easy to wake, of the size asked for, a function of the seed."""

from __future__ import annotations

import numpy as np
import pytest

from esmaml_robot.errors import PolicyError
from esmaml_robot.policy import Normaliser, Policy, PolicySpec, initial_theta
from esmaml_robot.policy_layers import layers_of, stages_of

TOEPLITZ = {"layers": "toeplitz"}
RANK_2 = {"layers": "low_displacement", "displacement_rank": 2}


def matrices(spec, theta):
    """The weight matrix of every layer, multiplied out, in float64."""
    out, inner = [], None
    for stage in stages_of(spec):
        weights = stage.weights(theta).astype(np.float64)
        if stage.bias is None:
            inner = weights
        else:
            out.append(weights if inner is None else weights @ inner)
            inner = None
    return out


def act(spec, theta, observations):
    return Policy(spec, theta, Normaliser.identity(spec.inputs)).act(observations)


def test_rest_is_at_rest_and_yet_easy_to_wake():
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
    assert not act(spec, theta, observations).any()
    theta[12:24] += np.float32(0.1)
    assert np.abs(act(spec, theta, observations)).max() > 0.1


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("clock_steps", [None, 12])
@pytest.mark.parametrize(
    ("kind", "hidden"),
    [
        ({}, (8,)), ({}, (12, 9)), (TOEPLITZ, (8,)), (TOEPLITZ, (12, 9)), (TOEPLITZ, (6, 6, 6)),
        (RANK_2, ()), (RANK_2, (8,)), (RANK_2, (12, 9)),
    ],
)  # fmt: skip
def test_rest_of_every_kind_rests_and_wakes_in_every_output(kind, hidden, clock_steps, activation):
    spec = PolicySpec(inputs=3, outputs=3, hidden=hidden, activation=activation, clock_steps=clock_steps, **kind)
    theta = initial_theta(spec, "rest", 4.0, seed=5)
    observations = np.random.default_rng(3).uniform(-1, 1, (50, 3)).astype(np.float32)
    assert not act(spec, theta, observations).any()
    # small normal steps, as an operator takes them: what they do is large beside what they are, in every output
    steps = 0.02 * np.random.default_rng(4).standard_normal((40, spec.dimension)).astype(np.float32)
    for layer in layers_of(spec):
        steps[:, layer.bias_at : layer.end] = 0  # a bias moves an output without amplification
    moved = np.stack([act(spec, theta + step, observations) for step in steps])
    spread = moved.std(axis=1).mean(axis=0)  # over observations: the outputs respond to what is observed
    assert (spread > 0.02).all()


@pytest.mark.parametrize("kind", [{}, RANK_2])
def test_a_single_hidden_unit_can_rest(kind):
    spec = PolicySpec(inputs=3, outputs=2, hidden=(1,), **kind)
    theta = initial_theta(spec, "rest", 4.0, seed=5)
    assert theta.any()
    assert not act(spec, theta, np.ones((1, 3), np.float32)).any()


def test_rest_of_toeplitz_layers_is_the_layout_it_claims():
    spec = PolicySpec(inputs=3, outputs=2, hidden=(8,), layers="toeplitz")
    theta = initial_theta(spec, "rest", 4.0, seed=5)
    first, second = matrices(spec, theta)
    assert not first[4:].any()
    assert first[:4].any(axis=1).all()
    np.testing.assert_array_equal(second, 4.0 * np.eye(2, 8, k=4))


@pytest.mark.parametrize(("hidden", "outputs"), [((8,), 5), ((8, 3), 4), ((1,), 2)])
def test_rest_of_toeplitz_layers_that_are_too_narrow_is_refused(hidden, outputs):
    spec = PolicySpec(inputs=3, outputs=outputs, hidden=hidden, layers="toeplitz")
    with pytest.raises(PolicyError, match=r"'rest' needs hidden Toeplitz layers.*'scaled' or 'zeros'"):
        initial_theta(spec, "rest", 4.0, seed=5)
    assert initial_theta(spec, "scaled", 4.0, seed=5).any()


def test_scaled_is_a_function_of_its_seed_and_scales_with_its_gain():
    spec = PolicySpec(inputs=100, outputs=50, hidden=())
    one, again = (initial_theta(spec, "scaled", 1.0, seed=9) for _ in range(2))
    assert one.tobytes() == again.tobytes()
    assert one.tobytes() != initial_theta(spec, "scaled", 1.0, seed=10).tobytes()
    assert one[:5000].std() == pytest.approx(0.1, rel=0.05)  # gain / sqrt(inputs)
    assert not one[5000:].any()
    np.testing.assert_allclose(initial_theta(spec, "scaled", 3.0, seed=9), 3 * one, rtol=1e-6)
    assert not initial_theta(spec, "zeros", 3.0, seed=9).any()


@pytest.mark.parametrize("kind", [{}, TOEPLITZ, RANK_2], ids=["dense", "toeplitz", "rank 2"])
def test_scaled_matrices_of_every_kind_have_entries_of_one_size(kind):
    spec = PolicySpec(inputs=20, outputs=30, hidden=(40,), **kind)
    sizes = np.zeros(2)
    for seed in range(60):
        found = matrices(spec, initial_theta(spec, "scaled", 2.0, seed))
        sizes += [(m**2).mean() * m.shape[1] / 60 for m in found]
    np.testing.assert_allclose(sizes, 4.0, rtol=0.15)  # gain^2
