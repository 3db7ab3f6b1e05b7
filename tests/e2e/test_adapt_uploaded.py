"""Adapting with directions that no seed gives: candidates are uploaded, and the rest is as ever."""

import json

import numpy as np
import pytest

from esmaml_robot.adaptation import OperatorConfig
from esmaml_robot.adaptation.base import materialise
from esmaml_robot.checkpoint import RunFolder
from esmaml_robot.deployment.journal import read_journal
from esmaml_robot.policy_file import load_policy
from sim.tasks import make_family

OPERATORS = {
    "orthogonal climber": OperatorConfig(name="hill_climb", queries=6, sigma=0.3, directions="orthogonal"),
    "orthogonal pairs": OperatorConfig(name="es_gradient", queries=6, sigma=0.3, directions="orthogonal"),
    "confirmed": OperatorConfig(name="confirmed_hill_climb", queries=7, sigma=0.3, directions="orthogonal"),
}


def in_simulation(policy, operator, seed, corner):
    """The same adaptation in the simulator, its candidates and result."""
    family = make_family("four_corners")
    task = family.sample("test", corner)
    state, candidates = operator.start(policy.theta, seed), []
    while not operator.done(state):
        asked = operator.ask(state)
        rows = materialise([asked])
        candidates.append(rows)
        batch = family.evaluate(policy.spec, policy.normaliser, rows, [task] * len(rows), asked.episode_seeds)
        state = operator.tell(state, batch.returns)
    family.close()
    return np.concatenate(candidates), operator.result(state)


@pytest.mark.parametrize("name", OPERATORS)
def test_returns_and_result_are_the_simulators(esmaml, make_run, tmp_path, name):
    config = OPERATORS[name]
    run = make_run(tmp_path / "run", operator=config)
    done = esmaml("adapt", run, "--robot", "rover_uno", "--port", "sim://rover_uno?seed=1", "--seed", 3, "--json")
    result = json.loads(done.stdout)
    policy = RunFolder(run).newest().policy
    candidates, expected = in_simulation(policy, config.build(), 3, 1)
    assert result["returns"] == list(expected.history)
    assert len(set(expected.history)) > 1
    adapted = load_policy(run / "adapted" / "robot" / "adapted.safetensors").policy
    assert adapted.theta.tobytes() == expected.params.tobytes()

    episodes = [r for r in read_journal(run / "adapted" / "robot" / "journal") if r["kind"] == "episode"]
    moved = (candidates != policy.theta).any(axis=1)
    assert [e["uploaded"] for e in episodes] == [bool(e["sigma"]) for e in episodes]
    assert sum(e["uploaded"] for e in episodes) >= 3
    assert moved.sum() >= 3


def test_resuming_after_unplugging_ends_at_the_same_parameters(esmaml, make_run, tmp_path):
    run = make_run(tmp_path / "run", operator=OPERATORS["orthogonal climber"])
    calm = json.loads(esmaml("adapt", run, "--port", "sim://rover_uno?seed=2", "--name", "calm", "--json").stdout)
    cut = esmaml(
        "adapt", run, "--port", "sim://rover_uno?seed=2&unplug_at=4:20", "--name", "cut", "--json", check=False
    )
    assert cut.returncode == 6
    told = [r for r in read_journal(run / "adapted" / "cut" / "journal") if r["kind"] == "episode" and r["valid"]]
    assert 0 < len(told) < 7
    again = json.loads(
        esmaml("adapt", run, "--port", "sim://rover_uno?seed=2", "--name", "cut", "--resume", "--json").stdout
    )
    assert again["returns"] == calm["returns"]
    ends = [load_policy(run / "adapted" / n / "adapted.safetensors").policy.theta for n in ("calm", "cut")]
    assert ends[0].tobytes() == ends[1].tobytes()
