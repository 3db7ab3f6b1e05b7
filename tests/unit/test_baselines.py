"""Baselines: derivatives of the surrogate in closed form, exact episode counts, the same bits again, and learning."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.pg_maml import report
from esmaml_robot import directions
from esmaml_robot.baselines import pg_maml, pg_score
from esmaml_robot.baselines.gaussian_policy import LOG_STD_BOUNDS, GaussianPolicy
from esmaml_robot.baselines.pg_run import PGFolder, PGRun, parse_pg_config
from esmaml_robot.baselines.plain_es import Point, best_curve, episodes_to_reach, learning_curve, plain_es
from esmaml_robot.baselines.rollouts import Rollouts, advantages, collect
from esmaml_robot.baselines.surrogate import surrogate
from esmaml_robot.cli.baselines import default_marks, pg_config
from esmaml_robot.cli.main import app
from esmaml_robot.comparison import Row
from esmaml_robot.errors import CheckpointError, ConfigError, PolicyError
from esmaml_robot.evaluation import EpisodeBatch, Task
from esmaml_robot.float32 import clock_table
from esmaml_robot.policy import Normaliser, Policy, PolicyBatch, PolicySpec
from esmaml_robot.scoring import estimate
from sim.tasks.beacon import Nav2d

F = np.float32
SMALL = ("tasks=3", "rollouts=4", "policy.hidden=[4]")
EPISODES = 72  # three iterations of 3 tasks, 4 episodes before and 4 after


def config(*settings, episodes=EPISODES, seed=1):
    return pg_config("nav2d", seed=seed, episodes=episodes, policy=None, settings=(*SMALL, *settings))


@pytest.fixture(scope="module")
def nav2d():
    family = Nav2d()
    yield family
    family.close()


def normals(seed, *shape):
    count = int(np.prod(shape))
    return torch.from_numpy(directions.directions([seed], count)[0].astype(np.float64).reshape(shape))


# --- the stochastic policy

SPECS = [
    PolicySpec(inputs=3, outputs=2, hidden=()),
    PolicySpec(inputs=3, outputs=2, hidden=(5, 4)),
    PolicySpec(inputs=3, outputs=2, hidden=(5,), activation="relu"),
    PolicySpec(inputs=3, outputs=2, hidden=(6,), layers="toeplitz"),
    PolicySpec(inputs=3, outputs=2, hidden=(6,), layers="low_displacement", displacement_rank=2),
    PolicySpec(inputs=3, outputs=2, hidden=(5,), clock_steps=7),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.describe())
def test_its_mean_is_the_deterministic_policy_wherever_that_is_not_clipped(spec):
    params = 0.4 * normals(5, 4, spec.dimension + spec.outputs)
    seen = directions.directions([9], 4 * spec.inputs)[0].reshape(4, spec.inputs).clip(-1, 1)
    inputs = seen if spec.clock_steps is None else np.concatenate([seen, np.tile(clock_table(7)[:, 3], (4, 1))], axis=1)
    mean = GaussianPolicy(spec).network(params).mean(torch.from_numpy(inputs[:, None, :].astype(np.float64)))[:, 0]
    theta = params[:, : spec.dimension].numpy().astype(F)
    acted = PolicyBatch(spec, theta, Normaliser.identity(spec.inputs)).act(np.ascontiguousarray(seen.T), 3).T
    np.testing.assert_allclose(mean.numpy().clip(-1, 1), acted, atol=2e-6)
    assert np.abs(acted).max() < 1 or np.abs(mean.numpy()).max() > 1


def test_its_log_likelihood_is_that_of_independent_normals():
    spec = PolicySpec(inputs=3, outputs=2, hidden=(5,))
    policy, params = GaussianPolicy(spec), 0.3 * normals(1, 2, spec.dimension + 2)
    inputs, actions = normals(2, 2, 6, 3), normals(3, 2, 6, 2)
    normal = torch.distributions.Normal(
        policy.network(params).mean(inputs), torch.exp(params[:, None, spec.dimension :]).expand(2, 6, 2)
    )
    expected = normal.log_prob(actions).sum(dim=2) + np.log(2 * np.pi)
    np.testing.assert_allclose(policy.log_likelihood(params, inputs, actions), expected, rtol=1e-12)


def test_the_log_std_stays_within_its_bounds():
    spec = PolicySpec(inputs=1, outputs=2, hidden=())
    params = torch.zeros(1, spec.dimension + 2, dtype=torch.float64)
    params[0, -2:] = torch.tensor([-9.0, 9.0])
    assert GaussianPolicy(spec).log_std(params)[0].tolist() == list(LOG_STD_BOUNDS)


# --- derivatives of the surrogate against closed forms

CENTRE, TARGET, LOG_STD = 0.3, 1.0, -0.4
COUNT = 400_000


def bandit(steps, curvature):
    """Gradient and Hessian by (mean, log std) of the surrogate of `steps` draws, paid -(sum of draws - target)^2."""
    noise = normals(7, COUNT, steps)
    point = torch.tensor([CENTRE, LOG_STD], dtype=torch.float64)
    actions = CENTRE + np.exp(LOG_STD) * noise
    paid = -((actions.sum(dim=1) - TARGET) ** 2)
    advantage = (paid - paid.mean())[None, :, None].expand(1, COUNT, steps)

    def total(p):
        z = (actions - p[0]) * torch.exp(-p[1])
        return steps * surrogate((-0.5 * z * z - p[1])[None], advantage, torch.ones(1, COUNT, steps), curvature)[0]

    return torch.autograd.functional.jacobian(total, point), torch.autograd.functional.hessian(total, point)


@pytest.mark.parametrize("curvature", ["lvc", "dice"])
def test_of_one_draw_gradient_and_hessian_are_those_of_the_expected_return(curvature):
    # J = -(m - c)^2 - exp(2 s)
    gradient, hessian = bandit(1, curvature)
    variance = np.exp(2 * LOG_STD)
    np.testing.assert_allclose(gradient, [-2 * (CENTRE - TARGET), -2 * variance], atol=0.03)
    np.testing.assert_allclose(hessian, [[-2, 0], [0, -4 * variance]], atol=0.08)


def test_of_two_draws_dice_has_the_whole_hessian_and_lvc_lacks_the_cross_terms():
    # J = -(2 m - c)^2 - 2 exp(2 s): by m twice -8, of which -4 is by the means of different draws
    gradient, dice = bandit(2, "dice")
    same, lvc = bandit(2, "lvc")
    np.testing.assert_allclose(gradient, same, rtol=1e-9)
    assert gradient[0] == pytest.approx(-4 * (2 * CENTRE - TARGET), abs=0.05)
    assert dice[0, 0] == pytest.approx(-8, abs=0.3)
    assert lvc[0, 0] == pytest.approx(-4, abs=0.15)


def test_periods_after_the_end_of_an_episode_do_not_count():
    alive = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]], dtype=torch.float64)
    log_likelihood = normals(1, 1, 2, 3).requires_grad_()
    surrogate(log_likelihood, torch.full((1, 2, 3), 6.0), alive, "dice").sum().backward()
    np.testing.assert_allclose(log_likelihood.grad, 2.0 * alive)  # 6 over 3 periods


@pytest.mark.parametrize("curvature", ["lvc", "dice", "first_order"])
def test_the_adapted_point_is_differentiated_through_the_inner_step(nav2d, curvature):
    learner = pg_maml.Learner(config(f"curvature={curvature}", "inner_rate=0.7"), nav2d)
    theta = torch.tensor(learner.policy.start("scaled", 1.0, -0.5, 3), requires_grad=True)
    tasks = [nav2d.sample("train", i) for i in range(2)]
    adapted, batch = learner.adapt(theta, tasks, range(2), 4)
    vector = normals(8, 2, learner.policy.dimension)
    (product,) = torch.autograd.grad((adapted * vector).sum(), theta)

    def objective(point):
        return learner.objective(point.expand(2, -1), batch)

    slopes = torch.autograd.functional.jacobian(objective, theta)
    np.testing.assert_allclose(adapted.detach(), theta.detach() + 0.7 * slopes, atol=1e-12)
    expected = vector.sum(dim=0)
    if curvature != "first_order":
        for task in range(2):
            hessian = torch.autograd.functional.hessian(lambda p, t=task: objective(p)[t], theta)
            expected = expected + 0.7 * hessian @ vector[task]
    np.testing.assert_allclose(product, expected, rtol=1e-8, atol=1e-10)


# --- episodes


@pytest.fixture(scope="module")
def batch(nav2d):
    policy = GaussianPolicy(PolicySpec(inputs=2, outputs=2, hidden=(4,)))
    params = torch.tensor(np.stack([policy.start("scaled", 1.0, s, 2) for s in (-0.5, 0.5)]))
    tasks = [nav2d.sample("train", i) for i in (3, 8)]
    seeds = np.arange(10, dtype=np.uint32).reshape(2, 5)
    return policy, params, tasks, seeds, collect(nav2d, policy, params, tasks, seeds)


def test_what_is_stored_is_what_happened(nav2d, batch):
    _, _, tasks, seeds, got = batch
    episodes = nav2d.episodes()
    seen = episodes.begin([t for t in tasks for _ in range(5)], seeds.ravel())
    for t in range(100):
        alive = got.alive.reshape(10, 100)[:, t].numpy()
        np.testing.assert_array_equal(alive, episodes.running)
        np.testing.assert_array_equal(got.inputs.reshape(10, 100, 2)[:, t].numpy()[alive > 0], seen.T[alive > 0])
        seen = episodes.advance(got.actions.reshape(10, 100, 2)[:, t].numpy().clip(-1, 1).T.astype(F))
        np.testing.assert_array_equal(got.rewards.reshape(10, 100)[:, t].numpy(), episodes.reward)
    np.testing.assert_array_equal(got.returns.ravel(), episodes.total)
    np.testing.assert_array_equal(got.ended_early.ravel(), episodes.aborted)
    assert len(np.unique(got.returns)) == 10  # the seed of an episode decides its noise


def test_its_noise_has_the_deviation_that_the_policy_says(batch):
    policy, params, _, _, got = batch
    mean = policy.network(params).mean(got.flat(got.inputs)).reshape(got.actions.shape)
    noise = (got.actions - mean)[got.alive > 0]
    owner = torch.arange(2)[:, None, None].expand(got.alive.shape)[got.alive > 0]
    for p, log_std in enumerate((-0.5, 0.5)):
        own = noise[owner == p].numpy() / np.exp(log_std)
        assert abs(own.mean()) < 4 / np.sqrt(own.size)
        assert abs(own.std() - 1) < 4 / np.sqrt(2 * own.size)


def test_an_episode_does_not_depend_on_those_beside_it(nav2d, batch, monkeypatch):
    policy, params, tasks, seeds, got = batch
    alone = collect(nav2d, policy, params[1:], tasks[1:], seeds[1:, 2:4])
    np.testing.assert_array_equal(alone.returns, got.returns[1:, 2:4])
    monkeypatch.setattr(Nav2d, "width", 3)
    narrow = collect(nav2d, policy, params, tasks, seeds)
    for name in ("inputs", "actions", "rewards", "alive"):
        np.testing.assert_array_equal(getattr(narrow, name), getattr(got, name))
    np.testing.assert_array_equal(narrow.returns, got.returns)


def test_the_action_filter_is_between_the_draw_and_the_robot(nav2d, batch):
    _, params, tasks, seeds, plain = batch
    policy = GaussianPolicy(PolicySpec(inputs=2, outputs=2, hidden=(4,), action_filter=0.25))
    got = collect(nav2d, policy, params, tasks, seeds)
    # the first draw is the same, and a quarter of it is applied
    np.testing.assert_array_equal(got.actions[:, :, 0], plain.actions[:, :, 0])
    episodes = nav2d.episodes()
    episodes.begin([t for t in tasks for _ in range(5)], seeds.ravel())
    episodes.advance((0.25 * got.actions[:, :, 0].reshape(10, 2).numpy().clip(-1, 1)).T.astype(F))
    np.testing.assert_array_equal(got.rewards[:, :, 0].ravel(), episodes.reward)


def test_a_family_without_single_steps_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="quadratic: policy gradients need a family on a robot"):
        pg_maml.train(config(), Quadratic(), PGFolder(tmp_path / "a"))
    assert not (tmp_path / "a").exists()


def test_parameters_that_are_not_finite_are_refused(nav2d, batch):
    policy, params, tasks, seeds, _ = batch
    with pytest.raises(PolicyError, match="not finite"):
        collect(nav2d, policy, params * float("nan"), tasks, seeds)


def made_up(rewards, alive=None):
    """Rollouts of two policies with one sensor, (2, 3, H)."""
    rewards = torch.as_tensor(rewards, dtype=torch.float64)
    shape = tuple(rewards.shape)
    alive = torch.ones(shape, dtype=torch.float64) if alive is None else alive
    totals = (rewards * alive).sum(dim=2).numpy().astype(F)
    inputs = normals(4, *shape, 1).clip(-1, 1)
    return Rollouts(inputs, normals(5, *shape, 1), rewards * alive, alive, totals, np.zeros(shape[:2], bool))


def test_advantages_are_generalised_ones_over_the_fitted_values():
    rng_rewards = normals(6, 2, 3, 5)
    alive = torch.ones(2, 3, 5, dtype=torch.float64)
    alive[0, 1, 3:] = 0
    batch = made_up(rng_rewards, alive)
    got = advantages(batch, 1, 0.9, 0.7)
    for p in range(2):
        rows = [(k, t) for k in range(3) for t in range(5) if alive[p, k, t]]
        o = {(k, t): float(batch.inputs[p, k, t, 0]) for k, t in rows}
        features = np.array([[o[r], o[r] ** 2, r[1] / 100, (r[1] / 100) ** 2, (r[1] / 100) ** 3, 1] for r in rows])
        ahead = [sum(0.9 ** (s - t) * float(batch.rewards[p, k, s]) for s in range(t, 5)) for k, t in rows]
        weights = np.linalg.solve(features.T @ features + 1e-5 * np.eye(6), features.T @ np.array(ahead))
        value = dict(zip(rows, features @ weights, strict=True))
        expected = []
        for k, t in rows:
            left = [s for s in range(t, 5) if (k, s) in value]
            expected.append(
                sum(
                    0.63 ** (s - t) * (float(batch.rewards[p, k, s]) + 0.9 * value.get((k, s + 1), 0.0) - value[k, s])
                    for s in left
                )
            )
        expected = (np.array(expected) - np.mean(expected)) / np.std(expected)
        np.testing.assert_allclose([float(got[p, k, t]) for k, t in rows], expected, atol=1e-5)
    assert not got[alive == 0].any()


def test_episodes_that_all_return_the_same_say_nothing():
    got = advantages(made_up(torch.full((2, 3, 40), -4.0)), 1, 0.99, 1.0)
    assert not got.any()


# --- training


def trained(folder, *settings, family, **more):
    return pg_maml.train(config(*settings, **more), family, PGFolder(folder))


def bits(run):
    state = run.state
    return [a.tobytes() for a in (state.theta, state.mean, state.first, state.second)], state.iteration, state.episodes


def test_the_same_settings_give_the_same_bits_and_other_seeds_others(tmp_path, nav2d):
    threads = torch.get_num_threads()
    one = trained(tmp_path / "a", family=nav2d)
    two = trained(tmp_path / "b", family=Nav2d())
    assert bits(one) == bits(two)
    assert torch.get_num_threads() == threads
    assert bits(trained(tmp_path / "c", family=nav2d, seed=2))[0] != bits(one)[0]
    assert bits(PGFolder(tmp_path / "a").load()) == bits(one)
    rows = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert [r["episodes"] for r in rows] == [24, 48, 72]


def test_an_interrupted_run_goes_on_with_the_same_bits(tmp_path, nav2d):
    whole = trained(tmp_path / "a", family=nav2d)

    def pull_the_plug(progress):
        if progress.iteration == 2:
            raise KeyboardInterrupt

    folder = PGFolder(tmp_path / "b")
    with pytest.raises(KeyboardInterrupt):
        pg_maml.train(config(), nav2d, folder, save_seconds=0, on_progress=pull_the_plug)
    assert folder.load().state.iteration == 2
    assert bits(pg_maml.train(config(), nav2d, folder, resume=True)) == bits(whole)
    assert (tmp_path / "a" / "metrics.jsonl").read_text() == (tmp_path / "b" / "metrics.jsonl").read_text()
    with pytest.raises(CheckpointError, match="holds a run already"):
        trained(tmp_path / "b", family=nav2d)
    with pytest.raises(CheckpointError, match=r"other settings \(seed\)"):
        pg_maml.train(config(seed=5), nav2d, folder, resume=True)
    folder.file.unlink()  # as if killed before the first checkpoint
    assert bits(pg_maml.train(config(), nav2d, folder, resume=True)) == bits(whole)


def test_how_many_tasks_are_differentiated_together_changes_nothing_but_rounding(tmp_path, nav2d, monkeypatch):
    one = trained(tmp_path / "a", family=nav2d)
    monkeypatch.setattr(pg_maml, "CHUNK", 2)
    np.testing.assert_allclose(trained(tmp_path / "b", family=nav2d).state.theta, one.state.theta, rtol=1e-9)


class Counting(Nav2d):
    """Counts the episodes that begin."""

    begun = 0

    def episodes(self):
        episodes = super().episodes()
        begin = episodes.begin

        def counted(tasks, seeds):
            self.begun += len(tasks)
            return begin(tasks, seeds)

        episodes.begin = counted
        return episodes


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_every_episode_is_counted(tmp_path, inner_steps):
    family = Counting()
    run = trained(tmp_path / "a", f"inner_steps={inner_steps}", family=family)
    assert family.begun == run.state.episodes
    assert run.state.episodes <= EPISODES
    family.begun = 0
    budgeted = PGRun(pg_score.with_budget(run.config, 21), run.state)
    pg_score.adapted_params(budgeted, family, [family.sample("test", i) for i in range(10)], 0)
    assert family.begun == 10 * inner_steps * (21 // inner_steps)


def test_it_learns_to_adapt(tmp_path, nav2d):
    settings = ("tasks=10", "rollouts=20", "policy.hidden=[8]", "learning_rate=0.02")
    run = trained(tmp_path / "a", *settings, family=nav2d, episodes=4000)
    result = pg_score.score(run, nav2d, "test", 24, 0)
    for before, after in (
        (result.before_sampled, result.after_sampled),
        (result.before_mean, result.after_mean),
    ):
        gain = estimate(after.returns - before.returns)
        assert gain.low > 0
    # at the mean action it is the deterministic policy that its parameters are
    tasks = [nav2d.sample("test", i) for i in range(24)]
    theta = np.repeat(run.policy.theta[None], 24, axis=0)
    seeds = np.zeros(24, np.uint32)
    direct = nav2d.evaluate(run.config.policy, run.policy.normaliser, theta, tasks, seeds)
    np.testing.assert_array_equal(result.before_mean.returns, direct.returns)


def test_a_damaged_or_foreign_file_is_refused(tmp_path, nav2d):
    folder = PGFolder(tmp_path / "a")
    with pytest.raises(CheckpointError, match="holds no run of policy-gradient MAML"):
        folder.load()
    trained(folder.path, family=nav2d)
    whole = folder.file.read_bytes()
    for at in range(0, len(whole), 37):
        folder.file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CheckpointError):
            folder.load()
    folder.file.write_bytes(whole)
    folder.load()


def test_a_setting_that_is_wrong_is_named():
    with pytest.raises(ConfigError, match="rollouts"):
        config("rollouts=1")
    with pytest.raises(ConfigError, match="curvatures"):
        config("curvatures=dice")
    assert pg_config("nav2d", seed=0, episodes=None, policy=None, settings=()).adaptation_episodes == 21
    assert pg_config("nav2d", seed=0, episodes=None, policy=None, settings=("inner_steps=3",)).rollouts == 7
    assert parse_pg_config(config().model_dump(mode="json")) == config()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("curvatur=lvc", "option curvatur: no such key; did you mean curvature?"),
        ("inner_steps=two", "option inner_steps: expected a whole number (found 'two')"),
        ("curvature=cubic", "option curvature: must be 'lvc', 'dice' or 'first_order' (found 'cubic')"),
    ],
)
def test_a_bad_setting_is_one_line(setting, says):
    with pytest.raises(ConfigError) as caught:
        pg_config("nav2d", seed=0, episodes=None, policy=None, settings=(setting,))
    assert str(caught.value).startswith(f"policy-gradient MAML: {says}")


# --- learning from scratch


class Quadratic:
    """Return -(theta - target)^2 summed, one target a task; counts its episodes."""

    name = "quadratic"
    spec = None
    interface_hash = "q"
    inputs, outputs = 1, 1
    preset: dict = {}  # noqa: RUF012
    episodes_run = 0

    def sample(self, split, seed):
        return Task("quadratic", {"target": 1.0 + (seed % 5) / 5})

    def evaluate(self, policy, normaliser, params, tasks, episode_seeds, observe=False):
        self.episodes_run += len(params)
        targets = np.array([t.parameters["target"] for t in tasks])[:, None]
        returns = -((params - targets) ** 2).sum(axis=1)
        return EpisodeBatch(returns.astype(F), np.ones(len(params), np.int32), np.isfinite(returns))


START = Policy(PolicySpec(inputs=1, outputs=1, hidden=()), np.zeros(2, F), Normaliser.identity(1))


def test_each_task_is_learnt_by_itself_and_its_episodes_are_counted():
    family, es = Quadratic(), plain_es(0.1, 0.1)
    curve = learning_curve(family, START, es, [0, 21, 100, 400], "test", 4, 0)
    assert family.episodes_run == 4 * (20 + 80 + 300) + 4 * 4  # ten an iteration, and the scores
    np.testing.assert_array_equal(curve[0].returns, [F(-2 * (1 + i / 5) ** 2) for i in range(4)])
    means = [b.returns.mean() for b in curve]
    assert means == sorted(means)
    assert curve[-1].returns.min() > -0.1
    alone = learning_curve(Quadratic(), START, es, [100], "test", 1, 0)
    assert alone[0].returns[0] == curve[2].returns[0]


def test_each_mark_gets_the_steps_that_suit_it():
    grid = (plain_es(0.1, 0.02), plain_es(0.1, 0.5))
    points = best_curve(Quadratic(), START, [20, 1000], split="test", tasks=4, choosing=3, seed=0, grid=grid)
    assert [p.learning_rate for p in points] == [0.5, 0.02]  # big steps first, small ones to settle
    for point, mark in zip(points, (20, 1000), strict=True):
        own = next(c for c in grid if c.learning_rate == point.learning_rate)
        expected = learning_curve(Quadratic(), START, own, [mark], "test", 4, 0)[0]
        assert point.result == estimate(expected.returns)


def test_the_episodes_to_a_target_are_the_first_that_reach_it():
    points = [Point(n, 0.1, 0.1, estimate([v, v]), 0.0) for n, v in ((10, -5.0), (100, -2.0), (1000, -1.0))]
    assert episodes_to_reach(points, -2.0) == 100
    assert episodes_to_reach(points, -0.5) is None
    assert default_marks(1000) == [21, 100, 200, 500, 1000]
    assert default_marks(15) == [15]


# --- commands


def test_the_commands_train_score_and_compare(tmp_path):
    runner = CliRunner()
    common = ["--episodes", "48", "--set", "policy.hidden=[3]"]
    pg = [*common, "--set", "tasks=2", "--set", "rollouts=4", "--tasks", "2", "--json"]
    made = runner.invoke(app, ["baseline", "pg-maml", "nav2d", "--out", str(tmp_path / "pg"), *pg])
    assert made.exit_code == 0, made.output
    rows = json.loads(made.stdout)
    assert [r["label"] for r in rows] == ["PG-MAML", "PG-MAML, mean action", "PG-MAML *", "PG-MAML, mean action *"]
    assert {r["training_episodes"] for r in rows} == {48}
    refused = runner.invoke(
        app, ["baseline", "pg-maml", "nav2d", "--out", str(tmp_path / "no"), *pg, "--episodes", "15"]
    )
    assert refused.exit_code == 2
    assert "episodes is 15, too few for one iteration of policy-gradient MAML; give at least 16," in refused.stderr
    assert not (tmp_path / "no").exists()
    es = [*common, "--set", "meta.pairs=2", "--set", "operator.queries=3", "--workers", "1"]
    assert runner.invoke(app, ["train", "nav2d", "--out", str(tmp_path / "es"), *es]).exit_code == 0
    compared = runner.invoke(
        app,
        ["eval", str(tmp_path / "es"), "--pg-maml", str(tmp_path / "pg"), "--scratch", "21", "--tasks", "2", "--json"],
    )
    assert compared.exit_code == 0, compared.output
    labels = [r["label"] for r in json.loads(compared.stdout)]
    assert labels[-5:] == [r["label"] for r in rows] + ["plain ES, 21 episodes a task *"]
    scratch = runner.invoke(app, ["baseline", "scratch", "nav2d", "--budget", "30", "--tasks", "2", "--json"])
    assert scratch.exit_code == 0, scratch.output
    assert [p["episodes"] for p in json.loads(scratch.stdout)["curve"]] == [21, 30]


def test_the_table_of_the_benchmark_has_the_episodes_that_were_used():
    result = estimate([1.0, 2.0])
    lines = [[Row(label, 0.1, n, result, result, 0.0) for label, n in (("ES-MAML", 672), ("PG-MAML", 840))]] * 2
    console = Console(width=150, record=True, file=io.StringIO())
    report(lines, [0, 1], 2, console)
    said = console.export_text()
    assert "equal" not in said
    for label, count in (("ES-MAML", "672"), ("PG-MAML", "840")):
        (line,) = [line for line in said.splitlines() if label in line]
        assert count in line
        assert line.index(count) > said.splitlines()[2].index("training episodes")


def test_without_torch_everything_else_works_and_the_extra_is_named():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from esmaml_robot.cli.main import run\n"
        "sys.argv = ['esmaml', 'baseline', 'pg-maml', 'nav2d']; run()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 9
    assert ended.stderr.strip().splitlines() == [
        "esmaml: policy-gradient MAML needs torch, which is not installed; pip install 'esmaml-robot[baselines]'."
    ]
    loaded = "import sys, esmaml_robot.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], timeout=120, check=False).returncode == 0
