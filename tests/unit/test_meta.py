"""The outer loop: fitness shaping, the gradient's direction, optimisers by hand, and a small whole meta-training."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from esmaml_robot import directions, first_order, meta, search
from esmaml_robot.adaptation import OperatorConfig
from esmaml_robot.adaptation.side_by_side import Item, adapt_many
from esmaml_robot.errors import PolicyError
from esmaml_robot.evaluation import EpisodeBatch, Task
from esmaml_robot.meta import MetaConfig
from esmaml_robot.search import sample_directions

F = np.float32
PLAIN = {"optimiser": "sgd", "learning_rate": 1.0, "momentum": 0.0, "shaping": "none", "averaging": 1}
PAIRS = arrays(np.float64, st.tuples(st.integers(1, 9), st.just(2)), elements=st.integers(-5, 5).map(float))


def rows_of(items, d):
    return directions.directions([i.direction_seed for i in items[::2]], d).astype(np.float64)


def one_step(config, value, d, theta=None, iteration=0):
    """The state after one step on a plain function of the parameters, and the items."""
    state = meta.start(np.zeros(d, F) if theta is None else theta)
    items = meta.work_items(config, 3, iteration)
    points = meta.perturbed(config, state.params, items)
    return meta.tell(config, state, items, [value(p.astype(np.float64)) for p in points], len(items)), items


# --- fitness shaping


@given(PAIRS)
def test_centred_ranks_sum_to_zero_and_stay_within_a_half(values):
    shaped = meta.shape_fitness(values, "centred_ranks")
    assert shaped.shape == values.shape
    if values.size > 1:
        assert abs(shaped.sum()) < 1e-9
    assert np.abs(shaped).max() <= 0.5


@given(PAIRS)
def test_centred_ranks_keep_order_and_ties(values):
    flat, shaped = values.ravel(), meta.shape_fitness(values, "centred_ranks").ravel()
    for a in range(flat.size):
        below, equal = int((flat < flat[a]).sum()), int((flat == flat[a]).sum())
        mean_rank = below + (equal - 1) / 2
        assert shaped[a] == pytest.approx(mean_rank / (flat.size - 1) - 0.5)


@given(PAIRS, st.integers(1, 50), st.integers(-9, 9))
def test_shaping_ignores_the_scale_of_rewards_and_ranks_their_offset_too(values, scale, offset):
    np.testing.assert_allclose(
        meta.shape_fitness(values * scale, "std"), meta.shape_fitness(values, "std"), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_array_equal(
        meta.shape_fitness(values * scale + offset, "centred_ranks"), meta.shape_fitness(values, "centred_ranks")
    )


@given(PAIRS)
def test_std_divides_by_the_standard_deviation(values):
    shaped = meta.shape_fitness(values, "std")
    if np.std(values) > 0:
        assert np.std(shaped) == pytest.approx(1)
        np.testing.assert_allclose(shaped * np.std(values), values)
    else:
        np.testing.assert_array_equal(shaped, 0)


@pytest.mark.parametrize("shaping", ["std", "centred_ranks", "none"])
@pytest.mark.parametrize("constant", [0.0, -400.0, 0.1])
def test_equal_returns_do_not_move_theta(shaping, constant):
    state, _ = one_step(MetaConfig(pairs=8, **{**PLAIN, "shaping": shaping}), lambda p: constant, 6)
    np.testing.assert_array_equal(state.theta, 0)


def test_none_leaves_values_as_they_are():
    values = np.array([[1.0, 5.0], [-2.0, 3.0]])
    np.testing.assert_array_equal(meta.shape_fitness(values, "none"), values)


# --- gradient


def cosine(a, b):
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def test_gradient_of_a_linear_function_is_the_sample_covariance_times_the_slope():
    slope = np.array([1.0, -2.0, 0.5, 3.0, 0.25])
    config = MetaConfig(pairs=16, sigma=0.25, **PLAIN)
    state, items = one_step(config, lambda p: slope @ p - 7, 5)
    rows = rows_of(items, 5)
    np.testing.assert_allclose(state.theta, rows.T @ rows @ slope / 16, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shaping", ["none", "std", "centred_ranks"])
def test_gradient_converges_to_the_true_direction(shaping):
    goal = np.linspace(-1, 2, 8)
    weights = np.linspace(0.5, 1.5, 8)
    theta = np.linspace(1, -1, 8).astype(F)
    for value, true in [
        (lambda p: goal @ p, goal),
        (lambda p: -float(weights @ (p - goal) ** 2), 2 * weights * (goal - theta)),
    ]:
        found = []
        for pairs in (20, 4000):
            config = MetaConfig(pairs=pairs, sigma=0.05, **{**PLAIN, "shaping": shaping})
            state, _ = one_step(config, value, 8, theta)
            found.append(cosine(state.theta - theta, true))
        assert found[1] > 0.995
        assert found[1] > found[0]
        if shaping == "none":  # and its length too
            assert np.linalg.norm(state.theta - theta) == pytest.approx(np.linalg.norm(true), rel=0.1)


def test_perturbed_points_are_theta_plus_and_minus_sigma_g():
    config = MetaConfig(pairs=3, sigma=0.5)
    items = meta.work_items(config, 1, 0)
    theta = np.array([1, -2, 3], F)
    points = meta.perturbed(config, theta, items)
    for i, row in enumerate(directions.directions([i.direction_seed for i in items[::2]], 3)):
        np.testing.assert_array_equal(points[2 * i], theta + F(0.5) * row)
        np.testing.assert_array_equal(points[2 * i + 1], theta - F(0.5) * row)


# --- optimisers


def given_gradients(config, gradients, progress=0.0):
    """States of the optimiser under gradients of our choice: one pair whose difference makes exactly that step."""
    d = 4
    state, states = meta.start(np.zeros(d, F)), []
    for factor in gradients:
        items = meta.work_items(config, 3, state.iteration)
        # one pair: gradient = (plus - minus) g / (2 sigma)
        state = meta.tell(config, state, items, [factor * config.sigma, -factor * config.sigma], 2, progress)
        states.append((state, factor * rows_of(items, d)[0]))
    return states


def test_adam_against_the_published_update_written_out():
    config = MetaConfig(pairs=1, shaping="none", learning_rate=0.1, momentum=0.8, second_momentum=0.95, averaging=1)
    theta, m, v = np.zeros(4), np.zeros(4), np.zeros(4)
    for t, (state, g) in enumerate(given_gradients(config, [1.0, -3.0, 0.5, 0.0, 2.0]), start=1):
        m = 0.8 * m + 0.2 * g
        v = 0.95 * v + 0.05 * g**2
        theta = theta + 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8)
        np.testing.assert_allclose(state.theta, theta, rtol=1e-12)
        assert state.iteration == t
        assert state.episodes == 2 * t
    assert np.abs(theta).max() > 0.1


def test_sgd_with_momentum():
    config = MetaConfig(pairs=1, optimiser="sgd", shaping="none", learning_rate=0.1, momentum=0.7, averaging=1)
    theta, m = np.zeros(4), np.zeros(4)
    for state, g in given_gradients(config, [1.0, -3.0, 0.5, 0.0, 2.0]):
        m = 0.7 * m + g
        theta = theta + 0.1 * m
        np.testing.assert_allclose(state.theta, theta, rtol=1e-12)


def test_learning_rate_goes_linearly_to_its_end():
    steady, falling = MetaConfig(learning_rate=0.2), MetaConfig(learning_rate=0.2, learning_rate_final=0.05)
    assert [steady.rate(p) for p in (0, 0.5, 1)] == [0.2, 0.2, 0.2]
    assert [falling.rate(p) for p in (0, 0.5, 1, 7)] == pytest.approx([0.2, 0.125, 0.05, 0.05])
    base = {"pairs": 1, "optimiser": "sgd", "shaping": "none", "momentum": 0.0}
    full = given_gradients(MetaConfig(**base, learning_rate=0.2, learning_rate_final=0.05), [1.0], 0.0)[0][0]
    half = given_gradients(MetaConfig(**base, learning_rate=0.2, learning_rate_final=0.05), [1.0], 0.5)[0][0]
    np.testing.assert_allclose(half.theta, full.theta * 0.125 / 0.2, rtol=1e-12)


def test_sigma_goes_linearly_to_its_end_and_the_gradient_follows_it():
    steady, falling = MetaConfig(sigma=0.2), MetaConfig(sigma=0.2, sigma_final=0.1)
    assert [steady.sigma_at(p) for p in (0, 0.5, 1)] == [0.2, 0.2, 0.2]
    assert [falling.sigma_at(p) for p in (0, 0.5, 1, 3)] == pytest.approx([0.2, 0.15, 0.1, 0.1])
    theta = np.array([1, -2, 3], F)
    config = MetaConfig(pairs=2, sigma=0.5, sigma_final=0.25, **PLAIN)
    items = meta.work_items(config, 1, 0)
    points = meta.perturbed(config, theta, items, 1.0)
    np.testing.assert_array_equal(points, meta.perturbed(MetaConfig(pairs=2, sigma=0.25), theta, items))
    # a linear function has the same gradient at any sigma: dividing by another one than was used would show
    slope = np.array([1.0, -2.0, 0.5])
    ends = [
        meta.tell(config, meta.start(theta), items, meta.perturbed(config, theta, items, p).astype(float) @ slope, 4, p)
        for p in (0.0, 1.0)
    ]
    np.testing.assert_allclose(ends[0].theta, ends[1].theta, rtol=1e-5)


@pytest.mark.parametrize("kind", ["orthogonal", "dpp"])
def test_other_directions_are_those_of_the_iteration_and_a_part_of_the_items_gets_its_own_rows(kind):
    config = MetaConfig(pairs=4, sigma=0.5, directions=kind, **PLAIN)
    items = meta.work_items(config, 1, 7)
    theta = np.zeros(6, F)
    points = meta.perturbed(config, theta, items)
    rows = sample_directions(kind, items[0].root, 4, 6)
    np.testing.assert_array_equal(points, np.repeat(rows, 2, axis=0) * np.tile([[0.5], [-0.5]], (4, 1)).astype(F))
    np.testing.assert_array_equal(meta.perturbed(config, theta, items[3:6]), points[3:6])
    slope = np.arange(6.0)
    state = meta.tell(config, meta.start(theta), items, points.astype(float) @ slope, 8)
    np.testing.assert_allclose(state.theta, rows.T.astype(float) @ (rows.astype(float) @ slope) / 4, rtol=1e-5)
    assert {i.root for i in items} != {i.root for i in meta.work_items(config, 1, 8)}


def test_a_dpp_set_of_the_outer_loop_is_a_block_of_pairs():
    def rows(kind, pairs):
        config = MetaConfig(pairs=pairs, sigma=1.0, directions=kind, **PLAIN)
        return meta.perturbed(config, np.zeros(6, F), meta.work_items(config, 1, 7)[::2])

    block, root = meta.DPP_BLOCK, meta.work_items(MetaConfig(), 1, 7)[0].root
    many = rows("dpp", 3 * block)
    np.testing.assert_array_equal(many[:block], rows("dpp", block))  # a set does not depend on those after it
    np.testing.assert_array_equal(rows("dpp", block), sample_directions("dpp", root, block, 6))
    np.testing.assert_array_equal(many, sample_directions("dpp", root, 3 * block, 6, block=block))
    assert len(np.unique(many, axis=0)) == 3 * block
    np.testing.assert_array_equal(rows("orthogonal", 40), sample_directions("orthogonal", root, 40, 6))


@pytest.mark.parametrize("method", ["zero_order", "first_order"])
def test_no_number_of_pairs_makes_a_large_dpp_pool(monkeypatch, method):
    pools = []
    monkeypatch.setattr(search, "direction_kernel", lambda rows: pools.append(len(rows)))
    monkeypatch.setattr(search, "k_dpp", lambda kernel, count, uniforms: np.arange(count))
    config = MetaConfig(method=method, pairs=1003, tasks=1, directions="dpp", **PLAIN)
    if method == "zero_order":
        rows = meta.perturbed(config, np.zeros(5, F), meta.work_items(config, 9, 0)[::2])
    else:
        rows = first_order.pair_rows(config, first_order.task_items(config, 9, 0)[0], 5)
    assert rows.shape == (1003, 5)
    assert pools == 62 * [80] + [55]


def test_running_mean():
    config = MetaConfig(pairs=1, optimiser="sgd", shaping="none", learning_rate=0.1, averaging=3)
    thetas, mean = [], np.zeros(4)
    for t, (state, _) in enumerate(given_gradients(config, [1.0, -3.0, 0.5, 0.0, 2.0, 1.0]), start=1):
        thetas.append(state.theta)
        mean = np.mean(thetas, axis=0) if t <= 3 else mean + (state.theta - mean) / 3
        np.testing.assert_allclose(state.mean, mean, rtol=1e-9, atol=1e-15)
        np.testing.assert_array_equal(state.result, state.mean.astype(F))
    last = given_gradients(MetaConfig(pairs=1, shaping="none", averaging=1), [1.0, 2.0])[-1][0]
    np.testing.assert_array_equal(last.mean, last.theta)


# --- failures


@pytest.mark.parametrize("shaping", ["std", "centred_ranks", "none"])
def test_a_failed_pair_counts_as_if_it_had_not_been_there(shaping):
    config = MetaConfig(pairs=6, shaping=shaping)
    state, items = meta.start(np.ones(5, F)), meta.work_items(config, 3, 0)
    values = np.random.default_rng(0).normal(size=12)
    values[3] = np.nan  # the minus half of pair 1
    values[8] = np.inf  # the plus half of pair 4
    kept = [0, 1, 4, 5, 6, 7, 10, 11]
    found = meta.tell(config, state, items, values, 12)
    without = meta.tell(config, state, [items[i] for i in kept], values[kept], 12)
    assert found.theta.tobytes() == without.theta.tobytes()
    assert found.first.tobytes() == without.first.tobytes()
    assert not np.array_equal(found.theta, state.theta)


def test_no_whole_pair_is_an_error():
    config = MetaConfig(pairs=2)
    state, items = meta.start(np.ones(5, F)), meta.work_items(config, 3, 0)
    with pytest.raises(PolicyError, match="iteration 0: every pair has a failed episode"):
        meta.tell(config, state, items, [1.0, np.nan, np.nan, 2.0], 4)


def test_a_step_that_is_not_finite_is_refused():
    config = MetaConfig(pairs=1, optimiser="sgd", shaping="none", learning_rate=1e308)
    state, items = meta.start(np.ones(5, F)), meta.work_items(config, 3, 0)
    with (
        pytest.raises(PolicyError, match="theta not finite; lower the learning rate"),
        np.errstate(over="ignore", invalid="ignore"),
    ):
        meta.tell(config, state, items, [1e30, -1e30], 2)


# --- work items


def test_work_items_are_a_function_of_seed_and_iteration():
    config = MetaConfig(pairs=5)
    assert meta.work_items(config, 7, 3) == meta.work_items(MetaConfig(pairs=5, sigma=9, learning_rate=1), 7, 3)
    assert meta.work_items(MetaConfig(pairs=9), 7, 3)[:10] == meta.work_items(config, 7, 3)
    seen = {meta.work_items(config, s, t)[0] for s in range(10) for t in range(10)}
    assert len({i.direction_seed for i in seen}) == 100


def test_halves_of_a_pair_share_all_but_the_sign():
    items = meta.work_items(MetaConfig(pairs=50), 7, 3)
    assert len(items) == 100
    for plus, minus in zip(items[::2], items[1::2], strict=True):
        assert (plus.sign, minus.sign) == (1, -1)
        for name in ("direction_seed", "task_index", "operator_seed", "score_seed"):
            assert getattr(plus, name) == getattr(minus, name)
    for name in ("direction_seed", "task_index", "operator_seed", "score_seed"):
        assert len({getattr(i, name) for i in items}) == 50
    first = items[0]
    assert len({first.direction_seed, first.task_index, first.operator_seed, first.score_seed}) == 4


# --- a whole meta-training without a simulator


class Doors:
    """Two doors, at 3 and -3; the return is minus the distance to the right one of x = place * exp(reach).

    theta = (place, reach). Standing in the middle is as good as any place between the doors for plain ES, which learns
    nothing about reach; after adaptation only a large reach brings a few small steps of `place` to either door.
    """

    def sample(self, index):
        return Task("doors", {"door": 3.0 if index % 2 else -3.0})

    def evaluate(self, params, tasks, seeds):
        p = params.astype(np.float64)
        x = p[:, 0] * np.exp(p[:, 1])
        doors = np.array([t.parameters["door"] for t in tasks])
        returns = (-np.abs(x - doors)).astype(F)
        return EpisodeBatch(returns, np.ones(len(returns), np.int32), np.ones(len(returns), bool))


def train_on_doors(operator, seed, episodes):
    family, config = Doors(), MetaConfig(pairs=16, sigma=0.1, learning_rate=0.05, averaging=5)
    state = meta.start(np.zeros(2, F))
    while state.episodes < episodes:
        items = meta.work_items(config, seed, state.iteration)
        starts = meta.perturbed(config, state.params, items)
        tasks = [family.sample(i.task_index) for i in items]
        work = [Item(s, t, i.operator_seed) for s, t, i in zip(starts, tasks, items, strict=True)]
        adapted = np.stack([a.params for a in adapt_many(operator, family.evaluate, work)])
        scores = family.evaluate(adapted, tasks, np.zeros(len(tasks), np.uint32)).returns
        state = meta.tell(config, state, items, scores, len(items) * (operator.episodes + 1))
    return state.result


@pytest.mark.parametrize("seed", range(2))
def test_es_maml_adapts_where_plain_es_does_not(seed):
    operator = OperatorConfig(name="hill_climb", queries=6, sigma=0.15).build()
    family, scores = Doors(), {}
    for name, trained in [("maml", operator), ("plain", OperatorConfig(name="none").build())]:
        theta = train_on_doors(trained, seed, episodes=16_000)
        work = [Item(theta, family.sample(i), 10_000 + i) for i in range(100)]
        adapted = np.stack([a.params for a in adapt_many(operator, family.evaluate, work)])
        scores[name] = float(family.evaluate(adapted, [w.task for w in work], np.zeros(100)).returns.mean())
    assert scores["maml"] > -1.3  # without adaptation nothing is better than -3
    assert scores["maml"] > scores["plain"] + 0.6
