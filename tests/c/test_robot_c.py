"""robot_model.c, compiled: every function against esmaml_robot.signals, bit for bit."""

from __future__ import annotations

import ctypes
import re
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esmaml_robot import directions
from esmaml_robot.robot_spec import RobotSpec, load_robot
from esmaml_robot.signals import Signals
from firmware_export.compiler import STRICT_FLAGS, compile_c
from firmware_export.robot_c import write_robot_c

FLOAT_P, INT_P = ctypes.POINTER(ctypes.c_float), ctypes.POINTER(ctypes.c_int32)
N = 5000

# every kind of reward term, hold: last beside a fixed hold, negative scales, offsets, unsigned and signed counts
WALKER = {
    "format": 1,
    "name": "walker",
    "control_rate_hz": 50,
    "physics_rate_hz": 100,
    "episode": {"steps": 250, "reset": "self"},
    "watchdog": {"hold_ms": 60, "release_ms": 250},
    "sensors": [
        {"name": "pitch", "unit": "rad", "source": "imu.0", "counts": [-32768, 32767], "scale": -1.0e-4,
         "offset": 0.013, "range": [-1.5, 1.7], "observed": True},
        {"name": "distance", "unit": "m", "source": "enc.0", "counts": [0, 65535], "scale": 0.00037, "offset": -3.0,
         "range": [-3.0, 21.0], "observed": False},
        {"name": "current", "unit": "A", "source": "adc.1", "counts": [0, 4095], "scale": 0.00321, "offset": -6.5,
         "range": [-6.5, 6.5], "observed": True},
        {"name": "speed", "unit": "m/s", "source": "enc.1", "counts": [-2000, 2000], "scale": 0.0017,
         "range": [-3.4, 3.4], "observed": True},
    ],
    "actuators": [
        {"name": "hip", "unit": "us", "sink": "pwm.0", "counts": [0, 50000], "scale": 0.05, "offset": 0.0,
         "range": [800, 2200.3], "rate_limit": 3000, "hold": "last", "safe": 1500},
        {"name": "knee", "unit": "N m", "sink": "can.1", "counts": [-512, 511], "scale": -0.0041, "offset": 0.002,
         "range": [-1.3, 2.0], "rate_limit": 15.0, "hold": 0.5, "safe": 0.0},
        {"name": "wheel", "unit": "V", "sink": "pwm.1", "counts": [-255, 255], "scale": 0.047, "offset": 0.0,
         "range": [-11.9, 11.9], "rate_limit": 0.01, "hold": -1.0, "safe": 0.0},
    ],
    "abort": [
        {"name": "fell", "sensor": "pitch", "allowed": [-0.9, 1.1]},
        {"name": "stalled", "sensor": "current", "allowed": [-5.0, 4.25]},
        {"name": "fell_hard", "sensor": "pitch", "allowed": [-1.2, 0.8]},
    ],
    "reward": {
        "terms": [
            {"kind": "constant", "weight": 0.3},
            {"kind": "progress", "sensor": "distance", "weight": 7.7},
            {"kind": "square", "sensor": "pitch", "weight": -1.9, "target": 0.07},
            {"kind": "linear", "sensor": "speed", "weight": 0.123},
            {"kind": "action_square", "actuator": "knee", "weight": -0.011},
            {"kind": "action_square", "actuator": "hip", "weight": -1.0e-7},
            {"kind": "constant", "weight": -0.1},
        ],
        "after_abort": -2.7,
    },
}  # fmt: skip

SPECS = {"rover": load_robot("rover_uno"), "walker": RobotSpec.model_validate(WALKER)}


class Model:
    """The compiled robot_model.c of a spec, one row at a time, and the Signals of the same spec."""

    def __init__(self, spec, folder):
        self.spec, self.signals = spec, Signals(spec)
        write_robot_c(spec, folder)
        library = compile_c([folder / "robot_model.c"], folder / "robot_model.so", include=[folder], shared=True)
        self.library = ctypes.CDLL(str(library))
        self.library.robot_reward.restype = ctypes.c_float
        self.header = (folder / "robot_model.h").read_text()

    def call(self, name, *arrays):
        pointers = [a.ctypes.data_as(FLOAT_P if a.dtype == np.float32 else INT_P) for a in arrays]
        return getattr(self.library, f"robot_{name}")(*pointers)

    def rows(self, name, out, *inputs):
        """Call a function whose last argument is its output, row by row; `out` (B, n) is filled and returned."""
        for i in range(len(out)):
            self.call(name, *(np.ascontiguousarray(a[i]) for a in inputs), out[i])
        return out

    def random_counts(self, signals, seed, spread=1.0):
        u = directions.uniforms(seed, N * len(signals)).reshape(N, -1)
        low, high = (np.array([s.counts[k] for s in signals]) for k in (0, 1))
        middle, half = (low + high) / 2, spread * (high - low) / 2
        counts = np.rint(middle + (2 * u - 1) * half).astype(np.int32)
        counts[0], counts[1] = low, high
        return counts

    def commands(self, seed, spread=1.0):
        return self.random_counts(self.spec.actuators, seed, spread)

    def si(self, seed):
        return np.ascontiguousarray(self.signals.to_si(self.random_counts(self.spec.sensors, seed).T).T)


@pytest.fixture(scope="module", params=sorted(SPECS))
def model(request, tmp_path_factory):
    return Model(SPECS[request.param], tmp_path_factory.mktemp(request.param))


def same_bits(got, expected):
    """Equal element by element as bits, the batch being the first axis of `got` and the last one of `expected`."""
    want = np.ascontiguousarray(expected.T)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    assert got.tobytes() == want.tobytes()


def test_sensors_si(model):
    counts = model.random_counts(model.spec.sensors, 1)
    got = model.rows("sensors_si", np.empty(counts.shape, np.float32), counts)
    same_bits(got, model.signals.to_si(counts.T))


def test_observe(model):
    si = model.si(2)
    si[2:200] *= np.float32(3)  # beyond the range
    si[200], si[201] = np.inf, -np.inf
    got = model.rows("observe", np.empty((N, len(model.spec.observed)), np.float32), si)
    same_bits(got, model.signals.observe(si.T))
    assert (np.abs(got) == 1).any()
    assert (np.abs(got) < 1).any()
    nan = np.full((1, si.shape[1]), np.nan, np.float32)
    assert np.isnan(model.rows("observe", np.zeros((1, got.shape[1]), np.float32), nan)).all()


def test_counts(model):
    n = len(model.spec.actuators)
    action = (2 * directions.uniforms(3, N * n).reshape(N, n) - 1).astype(np.float32)
    action[:6] = np.array([[-1], [1], [0], [-0.0], [2.5], [-2.5]], np.float32)
    action[6:500] *= np.float32(4)  # a policy never asks for it; it saturates all the same
    got = model.rows("counts", np.full((N, n), 12345, np.int32), action)
    same_bits(got, model.signals.to_counts(action.T))
    low, high = model.signals.actuator_low[:, 0], model.signals.actuator_high[:, 0]
    assert (got == low).any()
    assert (got == high).any()
    assert ((got > low) & (got < high)).any()


def test_counts_round_half_away_from_zero_at_every_count(model):
    low, high = model.signals.actuator_low[0, 0], model.signals.actuator_high[0, 0]
    halves = np.arange(low, high, max(1, (high - low) // 4000)) + 0.5
    scale, offset = model.spec.actuators[0].scale, model.spec.actuators[0].offset
    half, centre = model.signals.action_half[0, 0], model.signals.action_centre[0, 0]
    exact = ((halves * scale + offset - centre) / half).astype(np.float32)
    near = np.concatenate([exact, np.nextafter(exact, np.float32(-2)), np.nextafter(exact, np.float32(2))])
    action = np.zeros((len(near), len(model.spec.actuators)), np.float32)
    action[:, 0] = near
    got = model.rows("counts", np.empty(action.shape, np.int32), action)
    same_bits(got, model.signals.to_counts(action.T))


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3e38, -3e38])
def test_counts_saturate_for_any_number(model, value):
    action = np.full((1, len(model.spec.actuators)), value, np.float32)
    got = model.rows("counts", np.zeros(action.shape, np.int32), action)[0]
    positive = (value > 0) == (np.array([a.scale for a in model.spec.actuators]) > 0)
    expected = np.where(positive, model.signals.actuator_high[:, 0], model.signals.actuator_low[:, 0])
    np.testing.assert_array_equal(got, expected)


def test_nan_action_is_refused_and_counts_left_alone(model):
    n = len(model.spec.actuators)
    for bad in range(n):
        action, counts = np.zeros(n, np.float32), np.full(n, 4321, np.int32)
        action[bad] = np.nan
        assert model.call("counts", action, counts) == 0
        np.testing.assert_array_equal(counts, 4321)
    action = np.zeros(n, np.float32)
    assert model.call("counts", action, counts) == 1
    assert (counts != 4321).all()


def test_limit(model):
    wanted, previous = model.commands(5, spread=1.5), model.commands(6)
    near = slice(100, 2500)  # so close that some are within reach
    shift = np.rint(
        2 * (directions.uniforms(7, wanted.size).reshape(wanted.shape) - 0.5) * 2 * model.signals.slew[:, 0]
    )
    wanted[near] = previous[near] + shift[near].astype(np.int32)
    got = model.rows("limit", np.empty(wanted.shape, np.int32), wanted, previous)
    same_bits(got, model.signals.limit(wanted.T, previous.T))
    assert (got == wanted).any()
    assert (got != wanted).any()
    for i in range(50):  # in place, as the firmware does it
        inplace = wanted[i].copy()
        model.call("limit", inplace, previous[i], inplace)
        np.testing.assert_array_equal(inplace, got[i])


def test_reward(model):
    si, previous, commands = model.si(8), model.si(9), model.commands(10)
    got = np.array(
        [model.call("reward", si[i], previous[i], commands[i]) for i in range(N)], dtype=np.float64
    ).astype(np.float32)  # fmt: skip
    expected = model.signals.reward(si.T, previous.T, commands.T)
    same_bits(got, expected)
    assert len(np.unique(got)) > 100


def test_aborted(model):
    si = model.si(11)
    for k, a in enumerate(model.spec.abort):  # exactly at both limits, and one float beyond them
        index = [s.name for s in model.spec.sensors].index(a.sensor)
        ends = np.array(a.allowed, np.float32)
        si[4 * k + 2 : 4 * k + 4, index] = ends
        si[4 * k + 4 : 4 * k + 6, index] = np.nextafter(ends, np.array([-np.inf, np.inf], np.float32))
    got = np.array([model.call("aborted", row) for row in si])
    np.testing.assert_array_equal(got > 0, model.signals.aborted(si.T))
    assert 0 < (got > 0).mean() < 1
    # the index is that of the first condition that is met
    for row, answer in zip(si[:300], got, strict=False):
        met = [
            k + 1
            for k, a in enumerate(model.spec.abort)
            for value in [row[[s.name for s in model.spec.sensors].index(a.sensor)]]
            if value < np.float32(a.allowed[0]) or value > np.float32(a.allowed[1])
        ]
        assert answer == (met[0] if met else 0)


def test_nan_sensor_aborts(model):
    middle = np.array([0.5 * sum(s.range) for s in model.spec.sensors], np.float32)
    assert model.call("aborted", middle) == 0
    for k, a in enumerate(model.spec.abort):
        si = middle.copy()
        si[[s.name for s in model.spec.sensors].index(a.sensor)] = np.nan
        assert 0 < model.call("aborted", si) <= k + 1


def test_hold_and_constants(model):
    n = len(model.spec.actuators)
    last, out = np.arange(1000, 1000 + n, dtype=np.int32), np.zeros(n, np.int32)
    model.call("hold", last, out)
    expected = np.where(model.signals.hold_last[:, 0], last, model.signals.hold[:, 0])
    np.testing.assert_array_equal(out, expected)
    safe = np.frombuffer((ctypes.c_int32 * n).in_dll(model.library, "robot_safe"), np.int32)
    np.testing.assert_array_equal(safe, model.signals.safe[:, 0])
    after = ctypes.c_float.in_dll(model.library, "robot_after_abort").value
    assert np.float32(after) == np.float32(model.spec.reward.after_abort)


def test_header_states_the_spec(model):
    macros = dict(re.findall(r'#define (ROBOT_\w+) "?([\w.]+)"?', model.header))
    spec = model.spec
    assert macros.pop("ROBOT_MODEL_H", "") == ""
    assert macros == {
        "ROBOT_NAME": spec.name,
        "ROBOT_SPEC_HASH": spec.spec_hash,
        "ROBOT_SENSORS": str(len(spec.sensors)),
        "ROBOT_OBSERVED": str(len(spec.observed)),
        "ROBOT_ACTUATORS": str(len(spec.actuators)),
        "ROBOT_ABORTS": str(len(spec.abort)),
        "ROBOT_CONTROL_PERIOD_US": str(round(1e6 / spec.control_rate_hz)),
        "ROBOT_EPISODE_STEPS": str(spec.episode.steps),
        "ROBOT_HOLD_US": str(1000 * spec.watchdog.hold_ms),
        "ROBOT_RELEASE_US": str(1000 * spec.watchdog.release_ms),
    }


@pytest.mark.parametrize("robot", sorted(SPECS))
def test_cpp_includes_the_header_and_links(robot, tmp_path):
    write_robot_c(SPECS[robot], tmp_path)
    (tmp_path / "main.cpp").write_text(
        '#include "robot_model.h"\n#include "robot_model.h"\n'
        "int main() { std::int32_t out[ROBOT_ACTUATORS]; robot_hold(robot_safe, out); return out[0] == 0x7fffffff; }\n"
        .replace("std::", "")
    )  # fmt: skip
    subprocess.run(["gcc", *STRICT_FLAGS, "-c", "robot_model.c"], cwd=tmp_path, check=True, timeout=60)
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    subprocess.run(["g++", *flags, "main.cpp", "robot_model.o", "-o", "main"], cwd=tmp_path, check=True, timeout=60)
    assert subprocess.run([tmp_path / "main"], timeout=60).returncode == 0


def test_robot_without_abort_conditions_never_aborts(tmp_path):
    spec = RobotSpec.model_validate({**WALKER, "abort": []})
    model = Model(spec, tmp_path)
    assert model.call("aborted", np.full(len(spec.sensors), 1e30, np.float32)) == 0


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_counts_agree_for_drawn_actions(model, data):
    n = len(model.spec.actuators)
    unit = st.floats(-1, 1, width=32)
    action = np.array([data.draw(st.lists(unit, min_size=n, max_size=n))], np.float32)
    got = model.rows("counts", np.empty((1, n), np.int32), action)
    same_bits(got, model.signals.to_counts(action.T))
