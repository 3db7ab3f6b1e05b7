"""Adapting over the serial link: real firmware on a pty, PyBullet behind its pins, the target hidden."""

import itertools
import json

import numpy as np
import pytest

from esmaml_robot.adaptation import OperatorConfig
from esmaml_robot.adaptation.base import Proposals, materialise
from esmaml_robot.bridge.black_box import read_black_box
from esmaml_robot.checkpoint import RunFolder
from esmaml_robot.deployment.journal import read_journal
from esmaml_robot.policy_file import load_policy
from sim.tasks import make_family
from sim.tasks.beacon import CORNERS
from sim.trajectories import sensor_paths

#: Of 160 sessions with this meta-policy (40 operator seeds, 4 corners), 75 % end within 1 m of the true corner after 20
#: queries; of the seeds, 14 in 40 do so at all four. A climber needs luck, so the test names a seed that has it.
OPERATOR_SEED = 5


@pytest.mark.parametrize("corner", range(4))
def test_the_hidden_corner_is_reached_and_returns_equal_the_simulators(esmaml, make_run, tmp_path, corner):
    run = make_run(tmp_path / "run")
    port = f"sim://rover_uno?seed={corner}"
    done = esmaml("adapt", run, "--robot", "rover_uno", "--port", port, "--seed", OPERATOR_SEED, "--json")
    result = json.loads(done.stdout)
    assert result["episodes"] == 21

    family = make_family("four_corners")
    task = family.sample("test", corner)
    policy = RunFolder(run).newest().policy
    episodes = [r for r in read_journal(run / "adapted" / "robot" / "journal") if r["kind"] == "episode"]
    assert len(episodes) == 21
    assert all(e["valid"] for e in episodes)

    # the same candidates in the simulator, in one batch
    base, pivot, candidates = policy.theta, -np.inf, []
    for episode in episodes:
        seed = np.array([episode["direction_seed"]], np.uint32)
        sigma = np.array([episode["sigma"]], np.float32)
        candidate = materialise([Proposals(base, seed, sigma, np.zeros(1, np.uint32))])[0]
        candidates.append(candidate)
        if episode["return"] > pivot:
            base, pivot = candidate, episode["return"]
    seeds = np.array([e["episode_seed"] for e in episodes], np.uint32)
    simulated = family.evaluate(policy.spec, policy.normaliser, np.stack(candidates), [task] * 21, seeds)
    over_the_link = np.array([e["return"] for e in episodes], np.float32)
    assert np.abs(simulated.returns - over_the_link).max() == 0.0  # the line asks for 1e-4

    adapted = load_policy(run / "adapted" / "robot" / "adapted.safetensors").policy
    assert adapted.theta.tobytes() == base.tobytes()
    paths, _ = sensor_paths(family, adapted.spec, adapted.normaliser, adapted.theta[None, :], [task])
    distances = np.linalg.norm(np.array(CORNERS) - paths[-1, :2, 0], axis=1)
    assert distances.argmin() == corner
    assert distances.min() < 1.0, f"the adapted rover ends {distances.min():.2f} m from its corner"


def test_unplugging_in_mid_episode_releases_and_resume_ends_at_the_same_parameters(esmaml, make_run, tmp_path):
    run = make_run(tmp_path / "run")
    plant_log = tmp_path / "plant.log"
    undisturbed = json.loads(
        esmaml("adapt", run, "--port", "sim://rover_uno?seed=2", "--name", "calm", "--json").stdout
    )
    port = f"sim://rover_uno?seed=2&unplug_at=6:40&log={plant_log}"
    cut = esmaml("adapt", run, "--port", port, "--name", "cut", "--json", check=False)
    assert cut.returncode == 6
    (line,) = cut.stderr.strip().splitlines()[-1:]
    box = run / "adapted" / "cut" / "blackbox.jsonl"
    assert f"esmaml robot log {box}" in line
    head, messages, _ = read_black_box(box)
    assert head["error"].startswith("LinkLost")
    ticks = [m["fields"]["tick"] for m in messages if m["message"] == "telemetry"]
    assert 35 < ticks[-1] < 40, "up to the last records, of which the cable may have kept some"
    assert line.startswith("esmaml: ")
    assert "Traceback" not in cut.stderr

    # in the robot's own time: released within the watchdog time of the last sign of life
    ticks = [json.loads(row) for row in plant_log.read_text().splitlines()]
    moving = [t for t in ticks if t["torque_on"]]
    last = moving[-1]["time_us"]
    episode_start = max(t["time_us"] for t in ticks if t["kind"] == "R")
    unplugged_at = episode_start + 40 * 100_000
    assert last <= unplugged_at + 600_000
    assert not ticks[-1]["torque_on"]
    assert ticks[-1]["actuators"] == [0, 0]

    journal = read_journal(run / "adapted" / "cut" / "journal")
    told = [r for r in journal if r["kind"] == "episode" and r["valid"]]
    assert 0 < len(told) < 21
    resumed = json.loads(
        esmaml("adapt", run, "--port", "sim://rover_uno?seed=2", "--name", "cut", "--resume", "--json").stdout
    )
    assert resumed["returns"] == undisturbed["returns"]
    calm, again = (load_policy(run / "adapted" / name / "adapted.safetensors").policy.theta for name in ("calm", "cut"))
    assert calm.tobytes() == again.tobytes()


def test_all_modes_end_at_the_same_parameters_on_every_board(esmaml, make_run, tmp_path):
    run = make_run(tmp_path / "run")
    thetas, returns = {}, {}
    for board, mode in itertools.product(("host", "mps2_an386"), ("on-board", "alone", "host")):
        name, port = f"{board}_{mode}", f"sim://rover_uno?seed=2&board={board}"
        done = esmaml("adapt", run, "--port", port, "--mode", mode, "--name", name, "--seed", OPERATOR_SEED, "--json")
        returns[name] = json.loads(done.stdout)["returns"]
        thetas[name] = load_policy(run / "adapted" / name / "adapted.safetensors").policy.theta.tobytes()
    assert len(set(thetas.values())) == 1
    assert len({tuple(r) for r in returns.values()}) == 1
    assert len(returns["host_alone"]) == 21
    journals = [read_journal(run / "adapted" / f"host_{mode}" / "journal") for mode in ("on-board", "alone", "host")]
    assert journals[0] == journals[1] == journals[2]
    session = ("--name", "host_alone", "--seed", OPERATOR_SEED, "--resume")
    again = esmaml("adapt", run, "--port", "sim://rover_uno?seed=2", "--mode", "alone", *session, check=False)
    assert again.returncode == 3
    assert "is not resumed" in again.stderr


def test_the_emulated_uno_adapts_in_all_modes(esmaml, make_run, tmp_path):
    run = make_run(tmp_path / "run", operator=OperatorConfig(queries=2, sigma=0.15, shrink=0.8))
    thetas = []
    for board, mode in (("host", "on-board"), *itertools.product(("atmega328p",), ("on-board", "alone", "host"))):
        port = f"sim://rover_uno?seed=2&board={board}"
        esmaml("adapt", run, "--port", port, "--mode", mode, "--name", f"{board}_{mode}", "--seed", OPERATOR_SEED)
        thetas.append(load_policy(run / "adapted" / f"{board}_{mode}" / "adapted.safetensors").policy.theta.tobytes())
    assert len(set(thetas)) == 1


@pytest.mark.parametrize(
    ("settings", "port", "words"),
    [
        (
            {"operator": OperatorConfig(name="es_ascent")},
            "sim://rover_uno?seed=2",
            "es_ascent, is none that a controller",
        ),
        (
            {"operator": OperatorConfig(name="es_gradient", queries=42)},
            "sim://rover_uno?seed=2&board=atmega328p",
            "at most 40 queries of this operator",
        ),
        ({}, "/dev/null", "carried back to its start"),
    ],
)
def test_what_a_controller_alone_cannot_do_is_refused(esmaml, make_run, tmp_path, settings, port, words):
    run = make_run(tmp_path / "run", **settings)
    refused = esmaml("adapt", run, "--port", port, "--mode", "alone", check=False)
    assert refused.returncode == 2
    assert words in refused.stderr


def test_a_session_is_not_overwritten(esmaml, make_run, tmp_path):
    run = make_run(tmp_path / "run")
    esmaml("adapt", run, "--port", "sim://rover_uno?seed=1")
    before = (run / "adapted" / "robot" / "journal").read_bytes()
    again = esmaml("adapt", run, "--port", "sim://rover_uno?seed=1", check=False)
    assert again.returncode == 3
    assert "--resume" in again.stderr
    assert (run / "adapted" / "robot" / "journal").read_bytes() == before


def test_resuming_a_finished_session_runs_nothing_and_changes_nothing(esmaml, make_run, tmp_path):
    run = make_run(tmp_path / "run")
    first = json.loads(esmaml("adapt", run, "--port", "sim://rover_uno?seed=1", "--json").stdout)
    theta = load_policy(run / "adapted" / "robot" / "adapted.safetensors").policy.theta
    again = json.loads(esmaml("adapt", run, "--port", "sim://rover_uno?seed=1", "--resume", "--json").stdout)
    assert again["returns"] == first["returns"]
    assert load_policy(run / "adapted" / "robot" / "adapted.safetensors").policy.theta.tobytes() == theta.tobytes()


def test_a_run_trained_without_an_operator_is_adapted_by_hill_climbing(esmaml, make_run, tmp_path):
    operator = OperatorConfig(name="none", queries=2, sigma=0.1)
    run = make_run(tmp_path / "run", operator=operator)
    result = json.loads(esmaml("adapt", run, "--port", "sim://rover_uno?seed=1", "--json").stdout)
    assert result["episodes"] == 3


def test_resuming_a_training_run_needs_only_its_folder(esmaml, make_run, tmp_path):
    run = make_run(tmp_path / "run", episodes=2816)
    result = json.loads(esmaml("train", "--out", run, "--resume", "--json").stdout)
    assert (result["iterations"], result["episodes"]) == (1, 2816)
    other = esmaml("train", "--out", run, "--resume", "--seed", "7", check=False)
    assert other.returncode == 3
    assert "seed" in other.stderr
