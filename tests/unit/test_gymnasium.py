"""Gymnasium both ways: our families as its environments, its environments as families."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from esmaml_robot.checkpoint import RunFolder
from esmaml_robot.cli.settings import run_config
from esmaml_robot.errors import ConfigError, EsmamlError, SimulationError
from esmaml_robot.evaluation import TaskFamily
from esmaml_robot.policy import Normaliser, PolicyBatch, PolicySpec
from esmaml_robot.training import train
from sim import gym_env
from sim.gym_env import FamilyEnv
from sim.gymnasium_bridge import ENVIRONMENT_SEED
from sim.stepwise import StepwiseFamily
from sim.tasks import FAMILIES, make_family

F = np.float32


@pytest.fixture
def make():
    """gymnasium.make, closed at the end."""
    made = []

    def make(name, **arguments):
        made.append(gymnasium.make(name, **arguments))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_a_sound_environment(make, name):
    # warnings are errors here, the checker's too
    check_env(make(f"esmaml/{FAMILIES[name][1]}-v0").unwrapped)


def test_registering_twice_changes_nothing():
    before = dict(gymnasium.registry)
    gym_env.register()
    assert dict(gymnasium.registry) == before
    assert {f"esmaml/{c}-v0" for _, c in FAMILIES.values()} < set(before)


def actions(outputs, steps):
    return np.sin(0.3 * np.arange(steps)[:, None] + np.arange(outputs)).astype(F)


@pytest.mark.parametrize("name", ["four_corners", "cheetah_direction"])
def test_an_episode_is_that_of_the_simulator(make, name):
    env = make(f"esmaml/{FAMILIES[name][1]}-v0")
    seen, info = env.reset(seed=5, options={"split": "test", "task": 3})
    family = make_family(name)
    task = family.sample("test", 3)
    assert info == {"task": task.parameters}
    episodes = family.episodes()
    np.testing.assert_array_equal(seen, episodes.begin([task], np.zeros(1, np.uint32))[:, 0])
    total, steps = F(0), 0
    for action in actions(family.outputs, episodes.length):
        seen, reward, terminated, truncated, info = env.step(action)
        np.testing.assert_array_equal(seen, episodes.advance(action[:, None])[:, 0])
        total, steps = F(total + F(reward)), steps + 1
        assert env.observation_space.contains(seen)
        if terminated or truncated:
            break
    assert total == episodes.total[0]
    assert (steps, terminated, truncated) == (family.spec.episode.steps, False, True)
    family.close()


def test_an_abort_terminates_and_charges_for_the_rest(make):
    env = make("esmaml/FourCorners-v0")
    env.reset(seed=0)
    rewards = []
    while True:
        _, reward, terminated, truncated, _ = env.step(np.array([1.0, 0.0], F))
        rewards.append(reward)
        if terminated or truncated:
            break
    assert (terminated, truncated) == (True, False)
    left = 100 - len(rewards)
    assert left > 0
    assert rewards[-1] == pytest.approx(-4.0 * (1 + left), abs=4.1)
    assert sum(rewards) >= -400.0


def tasks_of(env, seed, count):
    infos = [env.reset(seed=seed)[1], *(env.reset()[1] for _ in range(count - 1))]
    return [i["task"]["goal_x"] for i in infos]


def test_a_seed_decides_the_tasks_of_all_later_resets(make):
    env = make("esmaml/Nav2d-v0")
    first = tasks_of(env, 7, 5)
    assert tasks_of(env, 7, 5) == first
    assert len({*first, *tasks_of(env, 8, 5)}) == 10
    train_task = env.reset(options={"task": 4})[1]["task"]
    assert env.reset(options={"task": 4, "split": "test"})[1]["task"] != train_task
    assert train_task == make_family("nav2d").sample("train", 4).parameters


def test_the_sinusoid_point_by_point_adds_up_to_its_return():
    family = make_family("sinusoid")
    spec, plain = PolicySpec(inputs=1, outputs=1, hidden=(6,)), Normaliser.identity(1)
    params = np.random.default_rng(0).standard_normal((3, spec.dimension)).astype(F)
    tasks, seeds = [family.sample("test", i) for i in range(3)], np.arange(3, dtype=np.uint32)
    episodes, policies = family.episodes(), PolicyBatch(spec, params, plain)
    seen = episodes.begin(tasks, seeds)
    total = np.zeros(3, F)
    for _ in range(episodes.length):
        seen = episodes.advance(policies.act(seen))
        total += episodes.reward
    whole = family.evaluate(spec, plain, params, tasks, seeds)
    np.testing.assert_allclose(total, whole.returns, rtol=1e-5)
    np.testing.assert_array_equal(total, episodes.total)
    assert episodes.steps.tolist() == [100, 100, 100]
    assert episodes.running.all()


@pytest.mark.parametrize(
    ("options", "says"),
    [({"taks": 3}, "'taks'"), ({"split": "tets"}, "'tets'"), ({"task": -1}, "-1"), ({"task": 2**32}, "4294967296")],
)
def test_reset_options_that_are_wrong(make, options, says):
    with pytest.raises(ConfigError, match=says):
        make("esmaml/Nav2d-v0").reset(options=options)


def test_a_family_by_name_and_options(make):
    env = make("esmaml/Family-v0", family="four_corners", options={"dynamics": "kinematic"})
    env.reset(seed=0)
    assert env.unwrapped.family.options.dynamics == "kinematic"
    with pytest.raises(ConfigError, match="no task family"):
        FamilyEnv("nowhere")


def test_the_policy_sees_no_task(make):
    """Two tasks that differ only in what is hidden look the same at first."""
    env = make("esmaml/CheetahDirection-v0")
    forward, ahead = env.reset(options={"task": 0})
    backward, back = env.reset(options={"task": 1})
    assert ahead["task"] != back["task"]
    np.testing.assert_array_equal(forward, backward)


# its environments as our families

SPEC = PolicySpec(inputs=4, outputs=2, hidden=())
PLAIN = Normaliser.identity(4)
VARY = {"vary": {"force_mag": [5.0, 15.0]}}


@pytest.fixture
def cartpole():
    family = make_family("gym:CartPole-v1", VARY)
    yield family
    family.close()


def thetas(count, spec=SPEC):
    return np.random.default_rng(0).standard_normal((count, spec.dimension)).astype(F)


def test_a_gymnasium_family_is_one_of_ours(cartpole):
    assert isinstance(cartpole, TaskFamily)
    assert isinstance(cartpole, StepwiseFamily)
    assert (cartpole.inputs, cartpole.outputs, cartpole.spec) == (4, 2, None)
    assert cartpole.interface_hash == make_family("gym:CartPole-v1").interface_hash
    assert cartpole.interface_hash != make_family("gym:Acrobot-v1").interface_hash


def test_an_episode_is_gymnasiums_own(cartpole):
    params, tasks = thetas(6), [cartpole.sample("test", i) for i in range(6)]
    got = cartpole.evaluate(SPEC, PLAIN, params, tasks, np.zeros(6, np.uint32))
    for row, task in enumerate(tasks):
        env = gymnasium.make("CartPole-v1")
        env.unwrapped.force_mag = task.parameters["force_mag"]
        seen, _ = env.reset(seed=int(task.parameters[ENVIRONMENT_SEED]))
        policy, total, steps, over = PolicyBatch(SPEC, params[row : row + 1], PLAIN), 0.0, 0, False
        # positions and angles have bounds, velocities have none
        low, high = env.observation_space.low, env.observation_space.high
        scale = np.where(np.isfinite(high) & (high < 1e6), (high - low) / 2, 1.0)
        while not over:
            outputs = policy.act((seen / scale).astype(F)[:, None])
            seen, reward, terminated, truncated, _ = env.step(int(np.argmax(outputs)))
            total, steps, over = total + reward, steps + 1, terminated or truncated
        env.close()
        assert (got.returns[row], got.steps[row], got.valid[row]) == (total, steps, True)
    assert len(set(got.returns.tolist())) > 2


def test_rows_of_a_gymnasium_family_are_independent_and_repeat(cartpole):
    params, tasks, seeds = thetas(40), [cartpole.sample("train", i) for i in range(40)], np.arange(40, dtype=np.uint32)
    together = cartpole.evaluate(SPEC, PLAIN, params, tasks, seeds, observe=True)
    for row in (0, 17, 39):
        one = slice(row, row + 1)
        alone = cartpole.evaluate(SPEC, PLAIN, params[one], tasks[one], seeds[one], observe=True)
        assert alone.returns[0] == together.returns[row]
        np.testing.assert_array_equal(alone.observed[0].mean, together.observed[row].mean)
        assert together.observed[row].count == together.steps[row]


def test_what_varies_changes_the_outcome_and_splits_share_no_seed(cartpole):
    task = cartpole.sample("train", 0)
    weak, strong = (type(task)(task.family, {**task.parameters, "force_mag": f}) for f in (1.0, 30.0))
    got = cartpole.evaluate(SPEC, PLAIN, np.repeat(thetas(1), 2, axis=0), [weak, strong], np.zeros(2, np.uint32))
    assert got.returns[0] != got.returns[1]
    drawn = [
        {int(cartpole.sample(split, i).parameters[ENVIRONMENT_SEED]) >> 29 for i in range(50)}
        for split in ("train", "validation", "test", "outside")
    ]
    assert drawn == [{1}, {2}, {3}, {4}]
    forces = [cartpole.sample("test", i).parameters["force_mag"] for i in range(50)]
    assert 5 <= min(forces) < 8 < 12 < max(forces) <= 15


def test_a_start_of_the_task_and_a_start_of_the_episode(cartpole):
    noisy = make_family("gym:CartPole-v1", {"start": "episode"})
    for family, starts in ((cartpole, 1), (noisy, 3)):
        task = family.sample("train", 0)
        seen = family.episodes().begin([task] * 3, np.arange(3, dtype=np.uint32))
        assert len(np.unique(seen, axis=1).T) == starts
        family.close()


def test_box_actions_are_scaled_to_their_bounds():
    family = make_family("gym:Pendulum-v1", {"vary": {"m": [0.5, 2.0]}, "vary_kwargs": {"g": {"values": [1.6, 9.8]}}})
    torques = []
    episodes = family.episodes()
    episodes.begin([family.sample("train", i) for i in range(3)], np.zeros(3, np.uint32))
    for env in episodes._envs:
        step = env.unwrapped.step
        env.unwrapped.step = lambda u, step=step: torques.append(float(u[0])) or step(u)
    episodes.advance(np.array([[-1.0, 0.5, 1.0]], F))
    assert torques == [-2.0, 1.0, 2.0]
    assert {env.unwrapped.g for env in episodes._envs} <= {1.6, 9.8}
    assert len({env.unwrapped.m for env in episodes._envs}) == 3
    family.close()


def test_discrete_observations_are_one_hot():
    family = make_family("gym:FrozenLake-v1", {"kwargs": {"is_slippery": False}})
    assert (family.inputs, family.outputs) == (16, 4)
    seen = family.episodes().begin([family.sample("train", 0)], np.zeros(1, np.uint32))[:, 0]
    # 0 and 1 are the bounds of a one-hot number, which become -1 and 1
    np.testing.assert_array_equal(seen, [1.0] + [-1.0] * 15)
    family.close()


def test_a_nan_makes_its_row_invalid_and_no_other(cartpole):
    params = thetas(2)
    params[0] = np.nan
    got = cartpole.evaluate(
        SPEC, PLAIN, params, [cartpole.sample("train", i) for i in range(2)], np.zeros(2, np.uint32)
    )
    assert got.valid.tolist() == [False, True]
    assert np.isnan(got.returns[0])
    assert got.returns[1] > 1


class Breaks(gymnasium.Env):
    """Three steps of nothing; in the second one, something that is not finite, and that it ends is up to `ends`."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, what="observation", ends=False, render_mode=None):
        self.what, self.ends = what, ends

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, F), {}

    def step(self, action):
        self.steps += 1
        now = self.steps == 2
        seen = np.array([0.0, np.nan if now and self.what == "observation" else 0.0], F)
        return seen, np.inf if now and self.what == "reward" else 1.0, now and self.ends, self.steps == 3, {}


@pytest.fixture
def breaks():
    gymnasium.register("esmaml_test/Breaks-v0", entry_point=Breaks, max_episode_steps=3)
    yield lambda **kwargs: make_family("gym:esmaml_test/Breaks-v0", {"kwargs": kwargs})
    del gymnasium.registry["esmaml_test/Breaks-v0"]


def returns_of(family):
    spec = PolicySpec(inputs=2, outputs=1, hidden=())
    params = np.zeros((2, spec.dimension), F)
    tasks = [family.sample("train", i) for i in range(2)]
    return family.evaluate(spec, Normaliser.identity(2), params, tasks, np.array([5, 6], np.uint32))


@pytest.mark.parametrize(("what", "says"), [("observation", "number 1 of the observation is nan"), ("reward", "inf")])
def test_an_environment_that_yields_what_is_not_finite_is_named_with_task_seed_and_step(breaks, what, says):
    family = breaks(what=what)
    with pytest.raises(SimulationError, match=says) as caught:
        returns_of(family)
    said = str(caught.value)
    assert "task family gym:esmaml_test/Breaks-v0" in said
    assert f"after step 2 of an episode with seed 5 in task {family.sample('train', 0).parameters}" in said


def test_an_environment_may_end_an_episode_for_it(breaks):
    got = returns_of(breaks(ends=True))
    assert got.valid.all()
    assert got.returns.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("gym:CartPoel-v1", {}, "CartPole"),
        ("gym:not an id", {}, "not an id"),
        ("gym:no_such_module:Thing-v0", {}, "no_such_module"),
        ("gym:CartPole-v1", {"vary": {"lenght": [0.3, 0.8]}}, "did you mean 'length'"),
        ("gym:CartPole-v1", {"vary": {"length": [0.8, 0.3]}}, "first number must be below"),
        ("gym:CartPole-v1", {"vary": {"kinematics_integrator": [0.0, 1.0]}}, "is a str; only a number"),
        ("gym:CartPole-v1", {"vary": {"g": [0, 1]}, "vary_kwargs": {"g": [0, 1]}}, "varied as an attribute already"),
        ("gym:CartPole-v1", {"kwargs": {"wheels": 3}}, "wheels"),
        ("gym:CartPole-v1", {"varies": {}}, "option varies: no such key; did you mean vary\\? \\(known: kwargs"),
        (
            "gym:CartPole-v1",
            {"vary": {"length": "hello"}},
            r"vary.length: expected \[a number, a number\] or {values: ",
        ),
        ("gym:Taxi-v4", {}, "a policy takes 1 to 256"),
        ("gym:Blackjack-v1", {}, "no limit of time"),
    ],
)
def test_bad_names_and_options_are_one_line(name, options, says):
    with pytest.raises(ConfigError, match=says) as caught:
        make_family(name, options)
    assert "\n" not in str(caught.value)


class Faulty(gymnasium.Env):
    """Fails in its third step."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float64)

    def __init__(self, fault="step"):
        self.fault, self.taken = fault, 0
        if fault == "make":
            raise KeyError("motor")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.taken = 0
        if self.fault == "reset":
            raise KeyError("motor")
        return np.zeros(1), {}

    def step(self, action):
        self.taken += 1
        if self.fault == "step" and self.taken == 3:
            raise KeyError("motor")
        return np.zeros(1), 0.0, False, False, {}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("step", r"'motor', at .*test_gymnasium.py:\d+ in step; after step 2 of an episode with seed 9 in task {'env"),
        (
            "reset",
            r"'motor', at .*test_gymnasium.py:\d+ in reset; after step 0 of an episode with seed 9 in task {'env",
        ),
        ("make", r"'motor', at .*test_gymnasium.py:\d+ in __init__; the environment cannot be made"),
    ],
)
def test_what_an_environment_raises_is_one_line(fault, says):
    policy = PolicySpec(inputs=1, outputs=1, hidden=())
    params, seeds = np.zeros((1, policy.dimension), F), np.array([9], np.uint32)

    def run():
        family = make_family("gym:Faulty-v0", {"kwargs": {"fault": fault}})
        family.evaluate(policy, Normaliser.identity(1), params, [family.sample("test", 0)], seeds)

    gymnasium.register("Faulty-v0", entry_point=Faulty, max_episode_steps=5)
    with pytest.raises(EsmamlError, match=rf"^task family gym:Faulty-v0: KeyError: {says}") as caught:
        run()
    assert "\n" not in str(caught.value)
    del gymnasium.registry["Faulty-v0"]


def test_nested_settings_name_an_attribute(tmp_path):
    config = run_config(
        "gym:CartPole-v1",
        seed=0,
        episodes=320,
        settings=("options.vary.unwrapped.force_mag=[5, 15]", "meta.pairs=2", "operator.queries=2"),
    )
    assert make_family(config.family, config.options).laws[0].describe() == "U(5, 15)"
    checkpoint = train(config, RunFolder(tmp_path / "run"), make_family)
    assert checkpoint.state.episodes == 320
    assert checkpoint.policy.normaliser.inverse_std.max() > 1  # it looked, and scales what hardly varies
