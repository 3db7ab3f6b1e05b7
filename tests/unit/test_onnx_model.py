"""policy.onnx: names, shapes, metadata, results and bytes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esmaml_robot import directions
from esmaml_robot.errors import ExportError, PolicyError
from esmaml_robot.policy import Normaliser, Policy, PolicyBatch, PolicySpec, initial_theta
from esmaml_robot.robot_spec import load_robot
from firmware_export.onnx_model import IR_VERSION, OPSET, feeds, onnx_bytes, write_onnx
from firmware_export.reference import random_memory, random_sensors, reference_of

ROVER = load_robot("rover_uno")
NORMALISER = Normaliser(np.array([0.3, -0.2], np.float32), np.array([2.5, 30.0], np.float32))


RANK_2 = {"layers": "low_displacement", "displacement_rank": 2}


def make_policy(hidden=(8,), normaliser=None, seed=1, **kind):
    spec = PolicySpec(inputs=2, outputs=2, hidden=hidden, **kind)
    frozen = normaliser or Normaliser.identity(spec.inputs)
    return Policy(spec, directions.directions([seed], spec.dimension)[0], frozen)


def session_of(data):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def plain_numpy(policy, sensors):
    """The exported path of a dense tanh policy in float64, from the robot file's own numbers and nothing else."""
    low, high = (np.array([s.range[k] for s in ROVER.observed]) for k in (0, 1))
    x = np.clip((sensors.astype(np.float64) - (low + high) / 2) * 2 / (high - low), -1, 1)
    x = np.clip((x - policy.normaliser.mean) * policy.normaliser.inverse_std.astype(np.float64), -10, 10)
    at = 0
    for layer, (n_in, n_out) in enumerate(policy.spec.shapes):
        w = policy.theta[at : at + n_in * n_out].astype(np.float64).reshape(n_out, n_in)
        x = x @ w.T + policy.theta[at + n_in * n_out : at + (n_in + 1) * n_out]
        at += (n_in + 1) * n_out
        x = np.tanh(x) if layer < len(policy.spec.shapes) - 1 else x
    low, high = (np.array([a.range[k] for a in ROVER.actuators]) for k in (0, 1))
    return (low + high) / 2 + np.clip(x, -1, 1) * (high - low) / 2


@pytest.mark.parametrize("normaliser", [None, NORMALISER], ids=["raw", "normalised"])
@pytest.mark.parametrize("hidden", [(), (8,), (16, 16)])
def test_onnxruntime_agrees_with_numpy(hidden, normaliser):
    policy = make_policy(hidden, normaliser)
    sensors = random_sensors(ROVER, 2000, seed=2)
    commands = session_of(onnx_bytes(policy, ROVER)).run(["actuators"], {"sensors": sensors})[0]
    assert commands.dtype == np.float32
    np.testing.assert_allclose(commands, reference_of(policy, ROVER).actuators(sensors), atol=1e-5, rtol=0)
    np.testing.assert_allclose(commands, plain_numpy(policy, sensors), atol=2e-5, rtol=0)
    assert (np.abs(commands) < 1).any()


def specs():
    kinds = [{}, {"layers": "toeplitz"}, {"layers": "low_displacement", "displacement_rank": 1}, RANK_2]
    return st.builds(
        lambda kind, **rest: PolicySpec(inputs=2, outputs=2, **kind, **rest),
        kind=st.sampled_from(kinds),
        hidden=st.lists(st.integers(1, 20), max_size=3).map(tuple),
        activation=st.sampled_from(["tanh", "relu"]),
        clock_steps=st.none() | st.integers(2, 60),
        action_filter=st.none() | st.floats(0.01, 0.99),
    )


@settings(max_examples=80, deadline=None)
@given(specs(), st.booleans(), st.integers(0, 2**31))
def test_every_kind_of_policy_agrees_with_numpy(spec, normalise, seed):
    frozen = NORMALISER if normalise else Normaliser.identity(2)
    policy = Policy(spec, initial_theta(spec, "scaled", 1.0, seed), frozen)
    sensors, memory = random_sensors(ROVER, 200, seed), random_memory(spec, 200, seed)
    sensors[-1] = np.nan
    session = session_of(onnx_bytes(policy, ROVER))
    commands = session.run(["actuators"], feeds(policy, sensors, memory))[0]
    expected = reference_of(policy, ROVER).actuators(sensors, memory)
    assert np.isfinite(expected[:-1]).all()
    np.testing.assert_allclose(commands, expected, atol=1e-5, rtol=0)


def test_clock_and_filter_go_through_inputs_and_outputs():
    policy = make_policy((8,), clock_steps=20, action_filter=0.25)
    session = session_of(onnx_bytes(policy, ROVER))
    assert {i.name: i.shape for i in session.get_inputs()} == {
        "sensors": ["batch", 2],
        "clock": ["batch", 2],
        "previous_action": ["batch", 2],
    }
    assert {o.name: o.shape for o in session.get_outputs()} == {"actuators": ["batch", 2], "action": ["batch", 2]}
    stored = session.get_modelmeta().custom_metadata_map
    assert (stored["clock_steps"], stored["action_filter"]) == ("20", "0.25")


def test_an_episode_through_the_graph_is_the_episode_of_the_batch():
    policy = make_policy((8,), clock_steps=5, action_filter=0.25)
    session = session_of(onnx_bytes(policy, ROVER))
    batch = PolicyBatch(policy.spec, policy.theta[None], policy.normaliser)
    signals = reference_of(policy, ROVER).signals
    action = np.zeros((1, 2), np.float32)
    for tick, row in enumerate(random_sensors(ROVER, 12, seed=2)):
        angle = 2 * np.pi * tick / 5
        clock = np.array([[np.sin(angle), np.cos(angle)]], np.float32)
        _, action = session.run(
            ["actuators", "action"], {"sensors": row[None], "clock": clock, "previous_action": action}
        )
        si = np.zeros((len(ROVER.sensors), 1), np.float32)
        si[signals.observed] = row[:, None]
        np.testing.assert_allclose(action, batch.act(signals.observe(si), tick).T, atol=1e-5)


def test_interface_is_named_typed_and_batched():
    session = session_of(onnx_bytes(make_policy(), ROVER))
    (sensors,), (actuators,) = session.get_inputs(), session.get_outputs()
    assert (sensors.name, sensors.type, sensors.shape) == ("sensors", "tensor(float)", ["batch", 2])
    assert (actuators.name, actuators.type, actuators.shape) == ("actuators", "tensor(float)", ["batch", 2])
    for batch in (1, 7):
        assert session.run(None, {"sensors": np.zeros((batch, 2), np.float32)})[0].shape == (batch, 2)


def test_metadata_tells_robot_signals_rate_and_hashes():
    policy = make_policy()
    assert session_of(onnx_bytes(policy, ROVER)).get_modelmeta().custom_metadata_map == {
        "robot": "rover_uno",
        "policy": "tanh MLP 2-8-2, 42 parameters",
        "control_rate_hz": "10",
        "sensors": "x [m] -2.5 .. 2.5\ny [m] -2.5 .. 2.5",
        "actuators": "vx [m/s] -1.0 .. 1.0\nvy [m/s] -1.0 .. 1.0",
        "spec_hash": ROVER.spec_hash,
        "layout_hash": policy.spec.layout_hash,
        "policy_hash": policy.policy_hash,
    }


def test_opset_is_the_stated_one_and_only_old_operators_are_used():
    model = onnx.load_model_from_string(onnx_bytes(make_policy((16, 16), NORMALISER), ROVER))
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)] == [("", 13)]
    assert model.ir_version == IR_VERSION == 7
    assert {n.op_type for n in model.graph.node} == {"Sub", "Mul", "Clip", "Gemm", "Tanh", "Add"}
    assert all(n.name for n in model.graph.node)
    onnx.checker.check_model(model, full_check=True)
    every = make_policy((16,), NORMALISER, activation="relu", clock_steps=9, action_filter=0.5, **RANK_2)
    model = onnx.load_model_from_string(onnx_bytes(every, ROVER))
    assert {n.op_type for n in model.graph.node} == {"Sub", "Mul", "Clip", "Gemm", "Relu", "Add", "Concat"}
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]


def test_parameters_are_stored_exactly_and_in_layout_order():
    policy = make_policy((8,))
    model = onnx.load_model_from_string(onnx_bytes(policy, ROVER))
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    parts = [stored[f"layer{k}.{part}"].ravel() for k in (0, 1) for part in ("weight", "bias")]
    assert np.concatenate(parts).tobytes() == policy.theta.tobytes()


@pytest.mark.parametrize("width", [1, 3, 8, 33])
@pytest.mark.parametrize("kind", [{}, {"activation": "relu"}, {"activation": "relu", **RANK_2}])
def test_nan_sensor_gives_nan_commands(kind, width):
    sensors = np.array([[np.nan, 0.1], [0.1, np.nan], *[[0.1, 0.1]] * 9], np.float32)
    session = session_of(onnx_bytes(make_policy((width,), NORMALISER, **kind), ROVER))
    for rows in (sensors, sensors[:1], sensors[1:4]):
        commands = session.run(None, {"sensors": rows})[0]
        expected = np.isnan(rows).any(axis=1)
        np.testing.assert_array_equal(np.isnan(commands), np.column_stack([expected, expected]))


def test_exported_twice_the_bytes_are_the_same(tmp_path):
    policy = make_policy((16, 16), NORMALISER)
    first, second = write_onnx(policy, ROVER, tmp_path / "a" / "x.onnx"), write_onnx(policy, ROVER, tmp_path / "b.onnx")
    assert first.read_bytes() == second.read_bytes() == onnx_bytes(policy, ROVER)
    assert onnx_bytes(make_policy((16, 16), NORMALISER, seed=2), ROVER) != first.read_bytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_parameters_that_became_bad_after_the_policy_was_made_are_refused(bad, tmp_path):
    policy = make_policy()
    policy.theta[5] = bad
    with pytest.raises(PolicyError, match=r"theta\[5\]"):
        write_onnx(policy, ROVER, tmp_path / "policy.onnx")
    assert list(tmp_path.iterdir()) == []


def test_normaliser_is_float32_whatever_it_is_made_of():
    assert Normaliser(np.zeros(2), np.ones(2)).mean.dtype == np.float32


def test_normaliser_of_another_sign_is_refused(tmp_path):
    zero = Normaliser(np.zeros(2, np.float32), np.array([1, 0], np.float32))
    with pytest.raises(ExportError, match="above zero"):
        write_onnx(make_policy(normaliser=zero), ROVER, tmp_path / "policy.onnx")
    assert list(tmp_path.iterdir()) == []


SESSION = session_of(onnx_bytes(make_policy(), ROVER))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(*[st.floats(width=32, allow_nan=False)] * 2), min_size=1, max_size=20))
def test_commands_stay_in_range_for_any_sensors(rows):
    commands = SESSION.run(None, {"sensors": np.array(rows, np.float32)})[0]
    assert np.isfinite(commands).all()
    assert (np.abs(commands) <= 1.0).all()
