"""Task families by name and of one's own: options, errors that name the culprit, batches, and rows that are alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from esmaml_robot.cli.settings import run_config
from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task, TaskFamily
from esmaml_robot.policy import Normaliser, PolicyBatch, PolicySpec
from sim.family import RobotFamily
from sim.laws import Uniform
from sim.rollout import run_episodes
from sim.tasks import FAMILIES, family_class, make_family
from sim.tasks.beacon import FourCorners, RoverOptions
from sim.tasks.cheetah import CheetahVelocity

F = np.float32
CONFIGS = Path(__file__).parents[2] / "hardware_configs"
MLP = PolicySpec(inputs=2, outputs=2, hidden=(8,))
PLAIN = Normaliser.identity(2)
ROBOTS = [name for name in FAMILIES if issubclass(family_class(name), RobotFamily)]


# --- every family keeps the contract


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_what_the_protocol_asks_for(name):
    family = make_family(name)
    assert isinstance(family, TaskFamily)
    assert family.name == name
    doc = (type(family).__doc__ or "").strip()
    assert doc.splitlines()[0].endswith(".")  # the line that lists show
    again = make_family(name)
    assert again.interface_hash == family.interface_hash
    assert len(family.interface_hash) == 16


@pytest.mark.parametrize("name", FAMILIES)
def test_a_task_is_a_function_of_split_and_number(name):
    family = make_family(name)
    for split in ("train", "validation", "test"):
        one = family.sample(split, 77)
        assert one == family.sample(split, 77) == make_family(name).sample(split, 77)
        assert one.family == name
        assert Task(**one.to_json()) == one
        assert all(np.isfinite(list(one.parameters.values())))
    random = family.sample("train", 0).parameters != family.sample("train", 2**31).parameters
    if random:  # or the tasks are a handful that come in turn
        drawn = [tuple(family.sample(s, i).parameters.items()) for s in ("train", "validation") for i in range(200)]
        assert len(set(drawn)) == 400


@pytest.mark.parametrize("name", ROBOTS)
def test_rows_together_are_each_alone_and_a_used_plant_is_as_good_as_a_new_one(name):
    family, new = make_family(name), make_family(name)
    config = run_config(name, seed=0)
    rng = np.random.default_rng(0)
    thetas = (0.5 * rng.standard_normal((3, config.policy.dimension))).astype(F)
    tasks, seeds = [family.sample("train", i) for i in range(3)], np.array([5, 6, 7], np.uint32)
    normaliser = Normaliser.identity(config.policy.inputs)
    together = family.evaluate(config.policy, normaliser, thetas, tasks, seeds, observe=True)
    assert together.valid.all()
    seen = [m.mean.tobytes() for m in together.observed]
    assert len(set(zip(seen, together.returns.tolist(), strict=True))) == 3  # they went different ways
    for i in (2, 0):
        rows = slice(i, i + 1)
        for other in (family, new):
            alone = other.evaluate(config.policy, normaliser, thetas[rows], tasks[rows], seeds[rows], observe=True)
            assert alone.returns.tobytes() == together.returns[rows].tobytes()
            assert alone.steps[0] == together.steps[i]
            assert alone.observed[0].mean.tobytes() == together.observed[i].mean.tobytes()
    family.close()
    new.close()


# --- options


class Sized(RoverOptions):
    size: int = 3


class Narrow(FourCorners):
    """Four corners, two rovers at a time."""

    width = 2
    Options = Sized
    options: Sized


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("four_corners", {"colour": 1}, "task family four_corners: option colour: no such key \\(known: dynamics\\)"),
        ("cheetah_velocity", {"phsyics": {}}, "task family cheetah_velocity: option phsyics: .*did you mean physics"),
        ("cheetah_velocity", {"physics": {"iterations": 3}}, "option physics.iterations: "),
        ("cheetah_velocity", {"physics": {"solver_iterations": 0}}, "option physics.solver_iterations: .*1"),
        ("cheetah_velocity", {"physics": 5}, "option physics: "),
    ],
)
def test_an_unknown_or_bad_option_is_named(name, options, words):
    with pytest.raises(ConfigError, match=words) as caught:
        make_family(name, options)
    assert "\n" not in str(caught.value)


def test_options_of_a_family():
    assert Narrow().options.size == 3
    assert Narrow(options={"size": 4}).options.size == 4
    with pytest.raises(ConfigError, match=r"option size: expected a whole number \(found 'large'\)"):
        Narrow(options={"size": "large"})


def test_a_group_of_options_keeps_what_is_not_given():
    default = CheetahVelocity().options.physics
    changed = CheetahVelocity(options={"physics": {"solver_iterations": 33}}).options.physics
    assert changed.solver_iterations == 33
    assert changed == default.model_copy(update={"solver_iterations": 33})
    assert not changed.cone_friction  # the family's, where the engine's own default is another


# --- batches


def batch(count, seed=0):
    family = FourCorners()
    thetas = (2 * np.random.default_rng(seed).standard_normal((count, MLP.dimension))).astype(F)
    return thetas, [family.sample("train", i) for i in range(count)], np.arange(count, dtype=np.uint32)


@pytest.mark.parametrize("observe", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_narrow_family_runs_the_same_episodes_a_few_at_a_time(count, observe):
    wide, narrow = FourCorners(), Narrow()
    rows = batch(count)
    a, b = (f.evaluate(MLP, PLAIN, *rows, observe=observe) for f in (wide, narrow))
    assert a.returns.tobytes() == b.returns.tobytes()
    assert a.steps.tolist() == b.steps.tolist()
    assert a.valid.tolist() == b.valid.tolist()
    if observe:
        assert [m.count for m in a.observed] == [m.count for m in b.observed]
        assert [m.mean.tobytes() for m in a.observed] == [m.mean.tobytes() for m in b.observed]
    else:
        assert a.observed is b.observed is None
    wide.close()
    narrow.close()


def test_a_record_is_of_one_batch():
    family, ticks = Narrow(), []
    family.evaluate(MLP, PLAIN, *batch(2), record=ticks.append)
    assert len(ticks) > 1
    with pytest.raises(ValueError, match="3 rows do not fit one batch of 2"):
        family.evaluate(MLP, PLAIN, *batch(3), record=ticks.append)
    family.close()


def test_step_by_step_episodes_are_those_of_a_rollout():
    family, (thetas, tasks, seeds) = FourCorners(), batch(3)
    thetas[1] = 0  # rests, and so stays in the arena
    outcome = run_episodes(family.plant, family.signals, PolicyBatch(MLP, thetas, PLAIN), tasks, seeds)
    episodes, policies = family.episodes(), PolicyBatch(MLP, thetas, PLAIN)
    seen, total = episodes.begin(tasks, seeds), np.zeros(3)
    for tick in range(family.spec.episode.steps):
        seen = episodes.advance(policies.act(seen, tick))
        total += episodes.reward
    assert episodes.total.tobytes() == outcome.returns.tobytes()
    np.testing.assert_allclose(total, outcome.returns, rtol=1e-5)  # what an abort costs is in its last reward
    assert episodes.aborted.any()
    assert not episodes.aborted.all()
    family.close()


def test_a_closed_family_can_be_used_again():
    family, rows = FourCorners(), batch(2)
    family.close()  # nothing was made yet
    first = family.evaluate(MLP, PLAIN, *rows).returns
    plant = family.plant
    family.close()
    assert family.evaluate(MLP, PLAIN, *rows).returns.tobytes() == first.tobytes()
    assert family.plant is not plant
    family.close()


# --- a family of one's own


class Bare(RobotFamily):
    """No body yet."""

    name, robot = "bare", "rover_uno"
    laws = (Uniform("mass", 0.0, 1.0, "kg", "of what it carries"),)


def test_a_family_without_a_body_says_so():
    family = Bare()
    assert family.sample("test", 3).parameters.keys() == {"mass"}
    with pytest.raises(ConfigError, match="Bare has no make_plant"):
        _ = family.plant


MODULE = '''
import numpy as np
from sim.tasks.beacon import FourCorners


class Mine(FourCorners):
    """A rover of my own."""

    name = "mine"
    robot = "mine.yaml"


class Unstable(FourCorners):
    """A body that blows up in the third control period."""

    name = "unstable"

    def make_plant(self):
        plant, periods = super().make_plant(), iter([1, 2, 3])
        step = plant.step

        def broken(commands, torque_on=True, running=None):
            truth = step(commands, torque_on, running)
            return np.full_like(truth, np.nan) if next(periods) == 3 else truth

        plant.step = broken
        return plant


NOT_A_CLASS = 3


class NoFamily:
    pass
'''


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module `own_family` in a folder of its own, with a robot file beside it, as a user has it."""
    (tmp_path / "own_family.py").write_text(MODULE)
    (tmp_path / "broken_family.py").write_text("import no_such_thing")
    text = (CONFIGS / "rover_uno.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("name: rover_uno", "name: mine"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("own_family", "broken_family"):
        sys.modules.pop(name, None)


def test_module_and_class_and_the_robot_file_beside_it(own_module, monkeypatch):
    family = make_family("own_family:Mine")
    assert family.spec.name == "mine"
    assert family.robot_file() == str(own_module / "mine.yaml")
    one = run_config("own_family:Mine", seed=0, episodes=9000)
    assert (one.family, one.robot, one.spec_hash) == ("own_family:Mine", "mine", family.spec.spec_hash)
    monkeypatch.chdir("/")
    assert make_family("own_family:Mine").spec.spec_hash == family.spec.spec_hash  # found beside the module


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module:Family", r"cannot import 'no_such_module' \(No module named 'no_such_module'\)"),
        ("broken_family:Family", r"cannot import 'broken_family' \(No module named 'no_such_thing'\)"),
        ("own_family:Nobody", "own_family has no class 'Nobody' with `sample` and `evaluate`"),
        ("own_family:NOT_A_CLASS", "own_family has no class 'NOT_A_CLASS'"),
        ("own_family:NoFamily", "own_family has no class 'NoFamily'.*derive it from sim.family.RobotFamily"),
        ("own_family:", "own_family has no class ''"),
        (":Mine", "task family ':Mine'"),
        ("own_family.Mine", "no task family 'own_family.Mine': .*module:Class"),
        ("four_korners", r"no task family 'four_korners': did you mean 'four_corners'\?"),
    ],
)
def test_a_family_that_cannot_be_found_is_named(own_module, name, words):
    with pytest.raises(ConfigError, match=words) as caught:
        make_family(name)
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_body_that_blows_up_ends_training_with_one_line_and_its_exit_code(own_module, workers):
    command = [sys.executable, "-c", "from esmaml_robot.cli.main import run; run()"]
    sets = ["--set", "meta.pairs=2", "--set", "operator.queries=2", "--workers", workers, "--episodes", 50]
    done = subprocess.run(
        [*map(str, [*command, "train", "own_family:Unstable", "--out", "run", *sets])],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(CONFIGS.parent)},
    )
    assert done.returncode == 10, done.stderr
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("esmaml: ")]
    assert done.stderr.rstrip().endswith(line)
    assert "Traceback" not in done.stderr
    for part in ("task family unstable", "sensor 'x' is nan", "after control period 3 ", "seed ", "'goal_x'"):
        assert part in line
