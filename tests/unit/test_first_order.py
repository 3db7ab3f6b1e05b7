"""First-order ES-MAML against closed forms: gradients and Hessian products of quadratics, and the ascent step."""

from __future__ import annotations

import numpy as np
import pytest

from esmaml_robot import first_order, meta
from esmaml_robot.adaptation.base import materialise
from esmaml_robot.adaptation.es_gradient import ESGradient
from esmaml_robot.errors import PolicyError
from esmaml_robot.evaluation import FunctionEvaluator
from esmaml_robot.meta import MetaConfig
from esmaml_robot.search import sample_directions

F = np.float32
D = 4
#: f(x) = slope . x - x' A x / 2, whose Hessian is -A everywhere
A = np.array([[2.0, 0.5, 0.0, 0.0], [0.5, 1.0, -0.3, 0.0], [0.0, -0.3, 3.0, 0.2], [0.0, 0.0, 0.2, 0.1]])
SLOPE = np.array([1.0, -2.0, 0.5, 3.0])
THETA = np.array([0.3, -0.2, 0.1, 0.5], F)
VECTOR = np.array([1.0, 2.0, -1.0, 0.5])


def quadratic(x):
    x = np.asarray(x, np.float64)
    return float(SLOPE @ x - 0.5 * x @ A @ x)


def told(operator, seed, function=quadratic):
    """Returns of the operator's episodes at THETA, in float64, the pivot first."""
    asked = operator.ask(operator.start(THETA, seed))
    return np.array([function(row) for row in materialise([asked])])


def products(operator, seeds):
    return np.array([first_order.hessian_product(operator, THETA, s, told(operator, s), VECTOR) for s in range(seeds)])


# --- the Hessian product


@pytest.mark.parametrize("kind", ["plain", "antithetic"])
def test_the_hessian_product_is_right_in_the_mean(kind):
    operator = ESGradient(400, 0.3, 0.1, kind, normalise=False)
    found = products(operator, 60)
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) + A @ VECTOR) < 4.5 * error + 0.01 * np.abs(A @ VECTOR)).all()
    assert error.max() < 0.6  # or the line above says nothing


def test_the_hessian_product_converges():
    wanted = -A @ VECTOR
    errors = []
    for queries in (100, 10_000):
        found = products(ESGradient(queries, 0.3, 0.1, "antithetic", normalise=False), 5)
        errors.append(np.linalg.norm(found - wanted, axis=1).mean() / np.linalg.norm(wanted))
    assert errors[1] < 0.12
    assert errors[1] < errors[0] / 5  # ten times fewer, but for luck


def test_the_hessian_of_a_linear_function_is_nothing_but_noise_around_zero():
    operator = ESGradient(400, 0.3, 0.1, "antithetic", normalise=False)
    for seed in range(5):
        returns = told(operator, seed, lambda x: float(SLOPE @ np.asarray(x, np.float64)))
        # of antithetic pairs even the noise is zero, but for the rounding of the candidates
        np.testing.assert_allclose(first_order.hessian_product(operator, THETA, seed, returns, VECTOR), 0, atol=1e-4)


def test_the_hessian_product_is_linear_in_the_vector_and_blind_to_an_offset_of_returns():
    operator, other = ESGradient(40, 0.3, 0.1, normalise=False), np.array([0.0, -1.0, 2.0, 1.0])
    returns = told(operator, 3)

    def product(v, r=returns):
        return first_order.hessian_product(operator, THETA, 3, r, v)

    np.testing.assert_allclose(product(2 * VECTOR + other), 2 * product(VECTOR) + product(other), rtol=1e-9)
    np.testing.assert_allclose(product(VECTOR, returns + 50), product(VECTOR), rtol=1e-9)


def test_a_normalised_operator_divides_by_the_deviation_of_its_returns():
    plain, normalised = (ESGradient(40, 0.3, 0.1, normalise=n) for n in (False, True))
    returns = told(plain, 3)
    a, b = (first_order.hessian_product(o, THETA, 3, returns, VECTOR) for o in (plain, normalised))
    np.testing.assert_allclose(b, a / returns.std(), rtol=1e-12)
    flat = np.full(41, -7.0)
    np.testing.assert_array_equal(first_order.hessian_product(normalised, THETA, 3, flat, VECTOR), 0)


def test_the_step_differentiated_is_the_step_that_the_operator_makes():
    """Moving theta along v moves theta + alpha G(theta) by (I + alpha H) v."""
    operator = ESGradient(20_000, 0.3, 0.05, "antithetic", normalise=False)

    def adapted(theta):
        state = operator.start(theta, 1)
        asked = operator.ask(state)
        returns = FunctionEvaluator(quadratic).evaluate(materialise([asked]), asked.episode_seeds).returns
        return operator.result(operator.tell(state, returns))

    step = 0.25
    plus, minus = (adapted((THETA + sign * step * VECTOR).astype(F)).params.astype(float) for sign in (1, -1))
    moved = (plus - minus) / (2 * step)
    history = adapted(THETA).history
    found = VECTOR + operator.alpha * first_order.hessian_product(operator, THETA, 1, history, VECTOR)
    np.testing.assert_allclose(found, moved, atol=0.02)
    assert np.abs(moved - VECTOR).max() > 0.1  # the Hessian does something here


# --- the gradient


def test_gradient_of_a_linear_function_is_the_sample_covariance_times_the_slope():
    rows = sample_directions("gaussian", 5, 16, D)
    points = first_order.pair_params(THETA, rows, 0.25)
    np.testing.assert_array_equal(points[:16], THETA + F(0.25) * rows)
    np.testing.assert_array_equal(points[16:], THETA - F(0.25) * rows)
    wide = rows.astype(np.float64)
    found = first_order.gradient(rows, points.astype(np.float64) @ SLOPE - 7, 0.25)
    np.testing.assert_allclose(found, wide.T @ (wide @ SLOPE) / 16, atol=1e-5)


def test_gradient_of_a_quadratic_has_no_error_but_that_of_the_directions():
    rows = sample_directions("gaussian", 5, 16, D)
    points = first_order.pair_params(THETA, rows, 2.0)  # even terms cancel at any sigma
    wide, true = rows.astype(np.float64), SLOPE - A @ THETA.astype(np.float64)
    found = first_order.gradient(rows, [quadratic(p) for p in points], 2.0)
    np.testing.assert_allclose(found, wide.T @ (wide @ true) / 16, atol=1e-4)
    many = sample_directions("gaussian", 5, 20_000, D)
    found = first_order.gradient(many, [quadratic(p) for p in first_order.pair_params(THETA, many, 0.1)], 0.1)
    np.testing.assert_allclose(found, true, atol=0.15)


def test_a_failed_episode_makes_the_gradient_nan():
    rows = sample_directions("gaussian", 5, 3, D)
    assert np.isnan(first_order.gradient(rows, [1.0, 2.0, 3.0, 4.0, np.nan, 6.0], 0.1)).all()


# --- the ascent step

PLAIN = {"optimiser": "sgd", "learning_rate": 1.0, "momentum": 0.0, "averaging": 1, "method": "first_order"}
GRADIENTS = np.array([[1.0, 2.0, 0.0, -4.0], [3.0, 0.0, 1.0, -2.0]])


def test_the_step_goes_along_the_mean_over_tasks():
    state = first_order.tell_gradients(MetaConfig(shaping="none", **PLAIN), meta.start(THETA), GRADIENTS, 99)
    np.testing.assert_allclose(state.theta, THETA + np.array([2.0, 1.0, 0.5, -3.0]))
    assert (state.iteration, state.episodes) == (1, 99)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 400.0])
def test_shaping_makes_the_step_free_of_the_scale_of_rewards(scale):
    config = MetaConfig(shaping="std", **PLAIN)
    state = first_order.tell_gradients(config, meta.start(THETA), scale * GRADIENTS, 1)
    size = np.sqrt((GRADIENTS**2).mean())
    np.testing.assert_allclose(state.theta - THETA, GRADIENTS.mean(axis=0) / size, rtol=1e-9)


def test_a_failed_task_counts_as_if_it_had_not_been_there():
    config, broken = MetaConfig(**PLAIN), np.insert(GRADIENTS, 1, [1, np.nan, 2, 3], axis=0)
    found = first_order.tell_gradients(config, meta.start(THETA), broken, 1)
    without = first_order.tell_gradients(config, meta.start(THETA), GRADIENTS, 1)
    assert found.theta.tobytes() == without.theta.tobytes()
    with pytest.raises(PolicyError, match="iteration 0: every task has a failed episode"):
        first_order.tell_gradients(config, meta.start(THETA), np.full((2, D), np.nan), 1)


def test_gradients_of_zero_do_not_move_theta():
    state = first_order.tell_gradients(MetaConfig(**PLAIN), meta.start(THETA), np.zeros((3, D)), 1)
    np.testing.assert_array_equal(state.theta, THETA)


# --- work items


def test_task_items_are_a_function_of_seed_and_iteration():
    config = MetaConfig(tasks=5, **PLAIN)
    items = first_order.task_items(config, 7, 3)
    assert items == first_order.task_items(MetaConfig(tasks=9, pairs=1, **PLAIN), 7, 3)[:5]
    seen = {first_order.task_items(config, s, t)[0] for s in range(10) for t in range(10)}
    for name in ("direction_seed", "task_index", "operator_seed", "score_seed"):
        assert len({getattr(i, name) for i in items}) == 5
        assert len({getattr(i, name) for i in seen}) == 100


@pytest.mark.parametrize("kind", ["gaussian", "orthogonal", "dpp"])
def test_directions_of_a_task_are_its_own(kind):
    config = MetaConfig(tasks=2, pairs=4, directions=kind, **PLAIN)
    one, two = (first_order.pair_rows(config, i, D) for i in first_order.task_items(config, 7, 3))
    assert one.shape == (4, D)
    assert not np.array_equal(one, two)
    if kind == "orthogonal":
        gram = one.astype(float) @ one.T
        np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-5)
    if kind == "gaussian":
        seed = first_order.task_items(config, 7, 3)[0].direction_seed
        np.testing.assert_array_equal(one, sample_directions("gaussian", seed, 4, D))
