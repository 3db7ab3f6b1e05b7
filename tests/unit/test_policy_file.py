"""Policy files: the same policy back, or a CheckpointError."""

from __future__ import annotations

import json
import resource
import signal

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as to_safetensors

from esmaml_robot.errors import CheckpointError, PolicyError
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.policy_file import StoredPolicy, load_policy, save_policy

SPEC = PolicySpec(inputs=3, outputs=2, hidden=(5,))


def stored(seed=0):
    rng = np.random.default_rng(seed)
    normaliser = Normaliser(rng.normal(size=3), rng.uniform(1, 2, 3))
    theta = rng.normal(size=SPEC.dimension).astype(np.float32)
    theta[:3] = [0.0, -0.0, 1e-40]
    origin = {"run": "runs/first", "seed": 3, "estimate": -12.5, "words": ["a", "ü"]}
    return StoredPolicy(Policy(SPEC, theta, normaliser), "rover_uno", "0123456789abcdef", origin)


def content(one):
    policy = one.policy
    arrays = [policy.theta, policy.normaliser.mean, policy.normaliser.inverse_std]
    return (
        one.robot,
        one.spec_hash,
        one.origin,
        policy.spec,
        policy.policy_hash,
        [(a.dtype, a.shape, a.tobytes()) for a in arrays],
    )


@pytest.fixture
def saved(tmp_path):
    return save_policy(tmp_path / "adapted.safetensors", stored())


def outcome(path, data):
    path.write_bytes(data)
    try:
        loaded = load_policy(path)
    except CheckpointError as error:
        refusal = str(error)
    else:
        assert content(loaded) == content(stored())
        return "same"
    assert "\n" not in refusal, refusal
    assert str(path) in refusal
    return "refused"


def test_round_trip_bit_for_bit(saved):
    assert content(load_policy(saved)) == content(stored())


def test_every_damaged_byte_is_refused_or_harmless(saved):
    good, rng = saved.read_bytes(), np.random.default_rng(0)
    outcomes = []
    for place in range(len(good)):
        value = good[place] ^ (1 << int(rng.integers(8)))
        outcomes.append(outcome(saved, good[:place] + bytes([value]) + good[place + 1 :]))
    assert outcomes.count("refused") > 0.95 * len(outcomes)


def test_every_truncation_is_refused(saved):
    good = saved.read_bytes()
    for length in [*range(0, len(good), 7), len(good) - 1]:
        assert outcome(saved, good[:length]) == "refused"
    assert outcome(saved, good + b"\0") == "refused"


def test_damage_to_robot_and_origin_is_refused(saved):
    good = saved.read_bytes()
    for old, new in [(b"rover_uno", b"rover_unp"), (b"0123456789abcdef", b"0123456789abcdee"), (b"-12.5", b"-92.5")]:
        assert good.count(old) == 1
        assert outcome(saved, good.replace(old, new)) == "refused"


def test_theta_that_is_not_finite_cannot_even_be_built():
    theta = np.zeros(SPEC.dimension, np.float32)
    theta[4] = np.nan
    with pytest.raises(PolicyError, match=r"theta\[4\] is nan"):
        Policy(SPEC, theta, Normaliser.identity(3))


def test_a_file_with_nan_or_of_a_wrong_size_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    for theta in (np.full(SPEC.dimension, np.nan, np.float32), np.zeros(5, np.float32)):
        arrays = {"theta": theta, "normaliser_mean": np.zeros(3), "normaliser_inverse_std": np.ones(3)}
        header = {"format": "esmaml-policy-1", "policy": SPEC.model_dump_json(), "origin": "{}"}
        path.write_bytes(to_safetensors(arrays, metadata={**header, "robot": "r", "spec_hash": "0"}))
        with pytest.raises(CheckpointError, match="theta"):
            load_policy(path)


def test_a_file_written_before_policies_had_more_fields_still_loads(saved, monkeypatch):
    fields = {"inputs": 3, "outputs": 2, "hidden": [5], "activation": "tanh"}
    monkeypatch.setattr(PolicySpec, "model_dump_json", lambda self: json.dumps(fields))
    save_policy(saved, stored())
    monkeypatch.undo()
    with safe_open(saved, framework="numpy") as file:
        assert json.loads(file.metadata()["policy"]) == fields
    assert content(load_policy(saved)) == content(stored())


@pytest.mark.parametrize(
    "kind",
    [{"activation": "relu", "clock_steps": 9}, {"layers": "low_displacement", "displacement_rank": 2},
     {"layers": "toeplitz", "action_filter": 0.3}],
)  # fmt: skip
def test_every_kind_of_policy_comes_back(kind, tmp_path):
    spec = PolicySpec(inputs=3, outputs=2, hidden=(5,), **kind)
    policy = Policy(spec, np.arange(spec.dimension), Normaliser.identity(3))
    loaded = load_policy(save_policy(tmp_path / "x.safetensors", StoredPolicy(policy, "r", "0" * 16, {}))).policy
    assert (loaded.spec, loaded.policy_hash) == (spec, policy.policy_hash)


def test_missing_and_foreign_files(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(CheckpointError, match="there is no policy file"):
        load_policy(path)
    path.write_bytes(to_safetensors({"a": np.zeros(3)}, metadata={"format": "esmaml-checkpoint-1"}))
    with pytest.raises(CheckpointError, match="has format 'esmaml-checkpoint-1', not 'esmaml-policy-1'"):
        load_policy(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged or no policy file"):
        load_policy(path)


def test_a_full_disk_keeps_the_old_file(saved):
    good = saved.read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, old[1]))
    try:
        with pytest.raises(CheckpointError, match=r"no space left.*The old file is unchanged"):
            save_policy(saved, stored(seed=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert saved.read_bytes() == good
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]
