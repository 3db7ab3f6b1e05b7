"""Work items on a closed-form family: what they compute, that budgets are exact, and that a split leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest

from esmaml_robot import directions, first_order, meta
from esmaml_robot.checkpoint import RunConfig, RunFolder
from esmaml_robot.errors import SimulationError
from esmaml_robot.evaluation import EpisodeBatch, Task, TaskFamily
from esmaml_robot.items import ItemRunner, Work
from esmaml_robot.moments import Moments
from esmaml_robot.policy import Normaliser
from esmaml_robot.training import train
from sim.family import FamilyOptions

F = np.float32
D = 6
CURVATURE = np.array([0.5, 1.0, 2.0, 3.0, 0.25, 1.5])


class Quadratic:
    """f(x) = -(x - c)' A (x - c) / 2 + noise * what the episode's seed says; counts the episodes it is asked for.

    A task whose number is in `broken` gives invalid episodes, or valid ones of no return where `silently`.
    """

    name, spec, preset, options = "quadratic", None, {}, FamilyOptions()
    interface_hash, inputs, outputs = "0" * 16, 2, 2

    def __init__(self, noise=0.0, broken=(), silently=False):
        self.noise, self.broken, self.silently = noise, set(broken), silently
        self.ran, self.asked_to_observe = 0, []

    def sample(self, split, seed):
        offset = {"train": 0.0, "validation": 0.5}[split]
        return Task("quadratic", {"number": float(seed), "centre": offset + (seed % 8) / 16})

    def evaluate(self, policy, normaliser, params, tasks, episode_seeds, observe=False):
        self.ran += len(params)
        self.asked_to_observe.append(observe)
        centres = np.array([t.parameters["centre"] for t in tasks])
        away = params.astype(np.float64) - centres[:, None]
        returns = -0.5 * (CURVATURE * away * away).sum(axis=1) + self.noise * (episode_seeds / 2**32 - 0.5)
        valid = np.array([t.parameters["number"] not in self.broken for t in tasks])
        returns = np.where(valid, returns, np.nan).astype(F)
        observed = None
        if observe:
            seen = [
                np.tanh(np.outer([1.0, 2.0, 3.0], row[:2])) + s / 2**34
                for row, s in zip(away, episode_seeds, strict=True)
            ]
            observed = [Moments.of(s) for s in seen]
        return EpisodeBatch(returns, np.ones(len(params), np.int32), valid | self.silently, observed)


def settings(**changes):
    base = {
        "family": "quadratic",
        "robot": "",
        "spec_hash": "0" * 16,
        "policy": {"inputs": 2, "outputs": 2, "hidden": []},
        "initial": "zeros",
        "operator": {"name": "hill_climb", "queries": 4, "sigma": 0.1},
        "meta": {"pairs": 5, "sigma": 0.1},
        "episodes": 1000,
        "seed": 3,
    }
    return RunConfig.model_validate({**base, **changes})


FIRST_ORDER = {"method": "first_order", "pairs": 4, "tasks": 5, "sigma": 0.1}
HESSIAN = {
    "meta": {**FIRST_ORDER, "method": "first_order_hessian"},
    "operator": {"name": "es_gradient", "queries": 6, "sigma": 0.1, "alpha": 0.1},
}
VARIANTS = {
    "zero_order": {},
    "normalise": {"normalise": True},
    "scores": {"meta": {"pairs": 5, "score_episodes": 3}, "normalise": True},
    "plain": {"operator": {"name": "none"}},
    "first_order": {"meta": {**FIRST_ORDER, "score_episodes": 2}, "normalise": True},
    "first_order_hessian": HESSIAN,
    "validation": {"validation": {"every": 2, "tasks": 3}, "normalise": True},
    "validation_hessian": {**HESSIAN, "validation": {"every": 1, "tasks": 4}},
    "validation_plain": {"operator": {"name": "none"}, "validation": {"every": 3, "tasks": 2}},
}


def runner(config, family=None):
    return ItemRunner(config, lambda name, options: family or Quadratic(0.5))


def work(kind="train", theta=None, iteration=2):
    return Work(kind, np.full(D, 0.2, F) if theta is None else theta, iteration, Normaliser.identity(2))


def test_the_family_is_what_the_protocol_asks_for():
    assert isinstance(Quadratic(), TaskFamily)


# --- budgets


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_episodes_counted_are_episodes_run(tmp_path, name, broken):
    config = settings(**VARIANTS[name])
    family = Quadratic(0.5)
    if broken:
        # a task of the third iteration, and one of the validation
        if config.meta.method == "zero_order":
            family.broken = {float(meta.work_items(config.meta, config.seed, 2)[0].task_index), 1.0}
        else:
            family.broken = {float(first_order.task_items(config.meta, config.seed, 2)[1].task_index), 1.0}
    progress = []
    checkpoint = train(config, RunFolder(tmp_path / "run"), lambda *_: family, on_progress=progress.append)
    assert checkpoint.state.episodes == family.ran
    assert checkpoint.state.iteration == config.iterations > 2
    assert family.ran <= config.episodes
    if broken:
        assert progress[2].failed > 0
    else:
        validations = -(-config.iterations // config.validation.every) if config.validation.every else 0
        per = config.episodes_per_iteration, config.episodes_per_validation
        assert family.ran == config.iterations * per[0] + validations * per[1]


@pytest.mark.parametrize("name", VARIANTS)
def test_observations_are_collected_in_training_with_normalise_and_nowhere_else(name):
    config, family = settings(**VARIANTS[name]), Quadratic()
    outcome = runner(config, family).run(work(), 0, config.item_count("train"))
    assert set(family.asked_to_observe) == {config.normalise}
    assert sum(m.count for m in outcome.observed) == (3 * family.ran if config.normalise else 0)
    family.asked_to_observe.clear()
    runner(config, family).run(work("validate"), 0, config.item_count("validate"))
    assert set(family.asked_to_observe) == {False}


# --- any chunk


@pytest.mark.parametrize("kind", ["train", "validate"])
@pytest.mark.parametrize("name", VARIANTS)
def test_any_split_of_the_items_gives_the_same_bits(name, kind):
    config = settings(**VARIANTS[name])
    whole = runner(config).run(work(kind), 0, config.item_count(kind))
    assert len(np.unique(whole.values)) == whole.values.size
    used = runner(config)
    count = config.item_count(kind)
    cuts = [(0, 1), (1, count), (0, count - 1), (count - 1, count)]
    parts = {cut: used.run(work(kind), *cut) for cut in cuts}
    for (first, last), part in parts.items():
        assert part.values.tobytes() == whole.values[first:last].tobytes()
        for a, b in zip(part.observed, whole.observed[first:last], strict=True):
            assert (a.count, a.mean.tobytes(), a.squares.tobytes()) == (b.count, b.mean.tobytes(), b.squares.tobytes())
    assert parts[0, 1].episodes + parts[1, count].episodes == whole.episodes


# --- values


def test_zero_order_values_are_returns_after_adaptation():
    config, family = settings(operator={"name": "hill_climb", "queries": 20, "sigma": 0.1}), Quadratic()
    far = work(theta=np.full(D, 2, F))
    items = meta.work_items(config.meta, config.seed, 2)
    starts = meta.perturbed(config.meta, far.params, items)
    values = runner(config, family).run(far, 0, 10).values
    tasks = [family.sample("train", i.task_index) for i in items]
    before = family.evaluate(None, None, starts, tasks, np.zeros(10)).returns
    assert (values > before + 0.5).all()
    plain = settings(operator={"name": "none"})
    np.testing.assert_array_equal(runner(plain, family).run(far, 0, 10).values, before)


def test_score_episodes_average_over_episodes_of_seeds_of_their_own():
    noisy = {"noise": 100.0}
    config = settings(operator={"name": "none"}, meta={"pairs": 5, "sigma": 0.1, "score_episodes": 4})
    items = meta.work_items(config.meta, config.seed, 2)
    starts = meta.perturbed(config.meta, work().params, items)
    family = Quadratic(**noisy)
    expected = []
    for start, item in zip(starts, items, strict=True):
        seeds = directions.fold_many(item.score_seed, np.arange(4))
        tasks = [family.sample("train", item.task_index)] * 4
        expected.append(family.evaluate(None, None, np.stack([start] * 4), tasks, seeds).returns.mean())
    values = runner(config, Quadratic(**noisy)).run(work(), 0, 10).values
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    # both halves of a pair run the same episodes: the noise is gone from their difference
    calm = runner(config, Quadratic()).run(work(), 0, 10).values
    np.testing.assert_allclose(values[::2] - values[1::2], calm[::2] - calm[1::2], atol=1e-4)
    assert np.abs(values - calm).max() > 1


def true_gradient(point, centre):
    return -CURVATURE * (point.astype(np.float64) - centre)


@pytest.mark.parametrize("hessian", [False, True])
def test_first_order_items_are_the_gradient_at_the_adapted_parameters(hessian):
    operator = {"name": "es_gradient", "queries": 8000, "sigma": 0.1, "alpha": 0.25, "normalise": False}
    method = "first_order_hessian" if hessian else "first_order"
    config = settings(operator=operator, meta={"method": method, "pairs": 4000, "tasks": 2, "sigma": 0.1})
    theta, family = np.linspace(-2, 2, D).astype(F), Quadratic()
    found = runner(config, family).run(work(theta=theta), 0, 2).values
    for row, item in zip(found, first_order.task_items(config.meta, config.seed, 2), strict=True):
        centre = family.sample("train", item.task_index).parameters["centre"]
        adapted = theta + 0.25 * true_gradient(theta, centre)
        slope = true_gradient(adapted, centre)
        expected = slope - 0.25 * CURVATURE * slope if hessian else slope
        other = slope if hessian else slope - 0.25 * CURVATURE * slope
        scale = np.linalg.norm(expected)
        assert np.linalg.norm(row - expected) < 0.1 * scale
        assert np.linalg.norm(row - other) > 0.2 * scale  # the other method would not pass


def test_a_validation_adapts_to_the_first_tasks_of_its_split_whatever_the_iteration():
    config, family = settings(validation={"every": 1, "tasks": 3}), Quadratic(0.5)
    first = runner(config, family).run(work("validate", iteration=1), 0, 3)
    later = runner(config, family).run(work("validate", iteration=9), 0, 3)
    assert first.values.tobytes() == later.values.tobytes()
    far = work("validate", np.full(D, 3, F))
    calm = runner(config, Quadratic()).run(far, 0, 3).values
    tasks = [family.sample("validation", n) for n in range(3)]
    before = Quadratic().evaluate(None, None, np.stack([far.params] * 3), tasks, np.zeros(3)).returns
    assert (calm > before).all()
    assert len(set(np.round(before, 3))) == 3


def test_a_failed_task_is_nan_and_leaves_the_others_alone():
    for name in ("zero_order", "first_order", "scores"):
        config = settings(**VARIANTS[name])
        whole = runner(config, Quadratic(0.5)).run(work(), 0, config.item_count("train")).values
        source = meta.work_items if config.meta.method == "zero_order" else first_order.task_items
        items = source(config.meta, config.seed, 2)
        family = Quadratic(0.5, {float(items[2].task_index)})
        found = runner(config, family).run(work(), 0, len(items)).values
        hit = np.array([i.task_index == items[2].task_index for i in items])
        assert np.isnan(found[hit]).all()
        np.testing.assert_array_equal(found[~hit], whole[~hit])


def test_a_return_that_is_none_stops_the_run_and_names_task_seed_and_step():
    config = settings()
    items = meta.work_items(config.meta, config.seed, 2)
    family = Quadratic(0.5, {float(items[2].task_index)}, silently=True)
    with pytest.raises(SimulationError) as caught:
        runner(config, family).run(work(), 0, len(items))
    said = str(caught.value)
    assert "task family quadratic: the return is nan after step 1 of an episode with seed " in said
    assert f"in task {family.sample('train', items[2].task_index).parameters}" in said
