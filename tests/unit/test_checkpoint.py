"""Checkpoints: the same bits back, or a CheckpointError; never another policy and never another exception."""

from __future__ import annotations

import json
import resource
import signal
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from safetensors.numpy import save as to_safetensors

from esmaml_robot.checkpoint import (
    Best,
    Checkpoint,
    RunConfig,
    RunFolder,
    config_differences,
    load_checkpoint,
    metrics_until,
    parse_run_config,
    save_checkpoint,
)
from esmaml_robot.errors import CheckpointError, ConfigError, PolicyError
from esmaml_robot.meta import MetaState
from esmaml_robot.moments import Moments
from esmaml_robot.policy import Normaliser

CONFIG = {
    "family": "four_corners",
    "robot": "rover_uno",
    "spec_hash": "0123456789abcdef",
    "policy": {"inputs": 2, "outputs": 2, "hidden": [4]},
    "operator": {"name": "hill_climb", "queries": 3, "sigma": 0.1},
    "meta": {"pairs": 4},
    "episodes": 1000,
    "seed": 3,
}
D = 22


def checkpoint(iteration=7, seed=0, validated=True):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=D) for _ in range(4)]
    normaliser = Normaliser(rng.normal(size=2), rng.uniform(1, 2, 2))
    observed = Moments(12345, rng.normal(size=2), rng.uniform(1, 2, 2))
    earlier = Normaliser(rng.normal(size=2), rng.uniform(1, 2, 2))
    best = Best(rng.normal(size=D).astype(np.float32), earlier, -1 / 3, 2) if validated else Best()
    state = MetaState(*arrays, iteration, 1234)
    return Checkpoint(RunConfig.model_validate(CONFIG), state, normaliser, observed, best)


def content(one):
    """Everything in a checkpoint, as bytes."""
    state = one.state
    arrays = [state.theta, state.mean, state.first, state.second, one.observed.mean, one.observed.squares]
    if one.best.theta is not None:
        arrays.append(one.best.theta)
    for normaliser in filter(None, (one.normaliser, one.best.normaliser)):
        arrays += [normaliser.mean, normaliser.inverse_std]
    return (
        one.config,
        state.iteration,
        state.episodes,
        one.observed.count,
        (one.best.score, one.best.stale),
        one.policy.policy_hash,
        [(a.dtype, a.shape, a.tobytes()) for a in arrays],
    )


@contextmanager
def file_size_limit(size):
    """No file of this process may grow beyond `size` bytes, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def saved(tmp_path):
    return save_checkpoint(tmp_path / "0000007.safetensors", checkpoint())


def test_round_trip_bit_for_bit(saved):
    assert content(load_checkpoint(saved)) == content(checkpoint())


def test_round_trip_of_a_run_without_a_validation(tmp_path):
    one = checkpoint(validated=False)
    loaded = load_checkpoint(save_checkpoint(tmp_path / "x.safetensors", one))
    assert content(loaded) == content(one)
    assert loaded.best == Best()


def test_the_policy_is_the_best_on_validation_tasks_else_the_running_mean():
    one = checkpoint()
    assert one.policy.theta.tobytes() == one.best.theta.tobytes()
    assert one.policy.normaliser is one.best.normaliser
    one = checkpoint(validated=False)
    assert one.policy.theta.tobytes() == one.state.mean.astype(np.float32).tobytes()
    assert one.policy.normaliser is one.normaliser


def test_round_trip_keeps_signs_of_zero_and_small_numbers(tmp_path):
    one = checkpoint()
    one.state.theta[:4] = [0.0, -0.0, 1e-40, 1 / 3]
    one.state.mean[:4] = [-0.0, 5e-324, 1e-30, -1 / 3]
    loaded = load_checkpoint(save_checkpoint(tmp_path / "x.safetensors", one))
    assert content(loaded) == content(one)


def test_nothing_but_the_checkpoint_is_left_in_the_folder(saved):
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def outcome(path, data):
    """What loading `data` gives: a refusal, or the very same content."""
    path.write_bytes(data)
    try:
        loaded = load_checkpoint(path)
    except CheckpointError as error:
        refusal = str(error)
    else:
        assert content(loaded) == content(checkpoint())
        return "same"
    assert "\n" not in refusal, refusal
    assert str(path) in refusal
    return "refused"


def test_every_damaged_byte_is_refused_or_harmless(saved):
    good, rng = saved.read_bytes(), np.random.default_rng(0)
    assert outcome(saved, good) == "same"
    outcomes = []
    header = 8 + int.from_bytes(good[:8], "little")
    assert header < len(good) - 500
    places = [*range(8), *rng.integers(8, header, 1200), *rng.integers(header, len(good), 300)]
    for place in places:
        values = {good[place] ^ (1 << int(rng.integers(8))), int(rng.integers(256))} - {good[place]}
        outcomes += [outcome(saved, good[:place] + bytes([v]) + good[place + 1 :]) for v in values]
    assert outcomes.count("refused") > 0.95 * len(outcomes)


def test_damage_of_every_bit_of_a_number_in_the_header_is_refused(saved):
    good = saved.read_bytes()
    for text in (
        b'"iteration":"7"',
        b'"episodes":"1234"',
        rb"\"seed\":3",
        rb"\"sigma\":0.1",
        b'"theta":{"dtype":"F64"',
    ):
        assert good.count(text) == 1, text
        end = good.index(text) + len(text) - 1 - text.endswith(b'"')
        if text.startswith(b'"theta"'):
            end -= 2  # F64 -> I64: the same bytes as other numbers
        for bit in range(8):
            damaged = good[:end] + bytes([good[end] ^ (1 << bit)]) + good[end + 1 :]
            assert outcome(saved, damaged) == "refused", (text, bit)
    assert outcome(saved, good.replace(b'"theta":{"dtype":"F64"', b'"theta":{"dtype":"I64"')) == "refused"


def test_every_truncation_is_refused(saved):
    good = saved.read_bytes()
    for length in [*range(0, len(good), 7), len(good) - 1]:
        assert outcome(saved, good[:length]) == "refused"
    assert outcome(saved, good + b"\0") == "refused"


@pytest.mark.parametrize("array", ["theta", "mean", "first", "second"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_saved(tmp_path, array, value):
    one = checkpoint()
    getattr(one.state, array)[5] = value
    with pytest.raises(PolicyError, match=r"theta\[5\] is (nan|inf)"):
        save_checkpoint(tmp_path / "x.safetensors", one)
    assert list(tmp_path.iterdir()) == []


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "no.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match=r"there is no checkpoint .*; `esmaml train` writes one"):
            load_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"folder .* does not exist"):
        save_checkpoint(tmp_path / "no" / "x.safetensors", checkpoint())


def test_foreign_safetensors_files(tmp_path):
    path = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}, {"format": "esmaml-checkpoint-99"}):
        path.write_bytes(to_safetensors({"theta": np.zeros(3)}, metadata=metadata))
        with pytest.raises(CheckpointError, match=r"has format .*, this version reads 'esmaml-checkpoint-2'"):
            load_checkpoint(path)
    path.write_bytes(to_safetensors({"theta": np.zeros(3)}, metadata={"format": "esmaml-checkpoint-2"}))
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(path)
    path.write_bytes(b"\x80\x04\x95 a pickle would begin like this")
    with pytest.raises(CheckpointError, match="damaged or no checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize("room", [0, 100, 1500])
def test_a_full_disk_keeps_the_old_file(saved, room):
    good = saved.read_bytes()
    assert len(good) > 1500
    with file_size_limit(room), pytest.raises(CheckpointError, match=r"no space left.*The old file is unchanged"):
        save_checkpoint(saved, checkpoint(seed=1))
    assert saved.read_bytes() == good
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_run_folder(tmp_path):
    folder, config = RunFolder(tmp_path / "run"), RunConfig.model_validate(CONFIG)
    assert folder.newest_file() is None
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        folder.newest()
    folder.create(config)
    assert "four_corners" in folder.config_file.read_text()
    with pytest.raises(CheckpointError, match="holds a run already"):
        folder.create(config)
    for iteration in (0, 3, 12, 100):
        save_checkpoint(folder.checkpoint_file(iteration), checkpoint(iteration))
    assert folder.newest().state.iteration == 100
    folder.keep_newest(2)
    assert [p.name for p in sorted(folder.checkpoints.iterdir())] == ["0000012.safetensors", "0000100.safetensors"]
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="a file"):
        RunFolder(tmp_path / "file").create(config)


def test_config_differences_and_budget():
    old = RunConfig.model_validate(CONFIG)
    assert config_differences(old, RunConfig.model_validate(CONFIG)) == []
    new = RunConfig.model_validate({**CONFIG, "seed": 4, "meta": {"pairs": 5}, "episodes": 5000})
    assert config_differences(old, new) == ["episodes", "meta", "seed"]
    assert old.episodes_per_iteration == 2 * 4 * (4 + 1)
    assert old.iterations == 25
    assert RunConfig.model_validate({**CONFIG, "episodes": 1}).iterations == 1


def parts_of(config):
    """Episodes of an iteration and of a validation, counted by hand for CONFIG's hill climber of 3 queries."""
    adaptation, scores = 3 + 1, config.meta.score_episodes
    if config.meta.method == "zero_order":
        iteration = 2 * config.meta.pairs * (adaptation + scores)
    else:
        iteration = config.meta.tasks * (adaptation + 2 * config.meta.pairs * scores)
    return iteration, config.validation.tasks * (adaptation + scores)


@given(
    episodes=st.integers(1, 3000),
    every=st.integers(0, 5),
    tasks=st.integers(2, 40),
    scores=st.integers(1, 3),
    method=st.sampled_from(["zero_order", "first_order"]),
    warm=st.none() | st.integers(0, 2999),
)
def test_the_budget_holds_whole_iterations_with_their_validations_and_no_further_one(
    episodes, every, tasks, scores, method, warm
):
    changes = {
        "episodes": episodes,
        "validation": {"every": every, "tasks": tasks},
        "meta": {"pairs": 2, "tasks": 3, "method": method, "score_episodes": scores},
    }
    if warm is not None:
        changes["warm_start"] = {"run": "runs/a", "policy_hash": "0" * 16, "episodes": warm}
        assume(warm < episodes)
    config = RunConfig.model_validate({**CONFIG, **changes})
    iteration, validation = parts_of(config)

    def used(iterations):
        validations = -(-iterations // every) if every else 0
        return (warm or 0) + iterations * iteration + validations * validation

    assert (config.episodes_per_iteration, config.episodes_per_validation) == (iteration, validation)
    if config.iterations > 1:
        assert used(config.iterations) <= episodes
    assert used(config.iterations + 1) > episodes
    assert config.progress(0) == 0
    assert config.progress(config.iterations) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 2**32}, "training option seed: .*found 4294967296"),
        ({"meta": {"pairs": 0}}, "training option meta.pairs: .*found 0"),
        ({"meta": {"sigma": float("nan")}}, "training option meta.sigma: .*finite.*found nan"),
        ({"operator": {"sigmas": 1}}, r"training option operator.sigmas: no such key; did you mean operator.sigma\?"),
        ({"policy": 5}, "training option policy: .*found 5"),
        ({"colour": "red"}, r"training option colour: no such key \(known: episodes, family"),
        ({"validation": {"tasks": 1}}, "training option validation.tasks: .*found 1"),
        ({"meta": {"method": "first_order_hessian"}}, "first_order_hessian needs operator.name es_gradient"),
        ({"options": 3}, "training option options: .*found 3"),
    ],
)
def test_bad_training_options(change, words):
    with pytest.raises(ConfigError, match=words) as caught:
        parse_run_config({**CONFIG, **change})
    assert "\n" not in str(caught.value)


def test_metrics_until_leaves_out_later_and_torn_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert metrics_until(path, 5) == []
    rows = [{"iteration": i, "mean_return": -i / 3} for i in range(1, 8)]
    text = "".join(json.dumps(r) + "\n" for r in rows)
    path.write_text(text[:-9])
    assert metrics_until(path, 7) == rows[:6]
    assert metrics_until(path, 4) == rows[:4]
