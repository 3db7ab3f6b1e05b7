"""Counts, SI and [-1, 1]: every function against plain float32 scalars, one rounding an operation."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from esmaml_robot.robot_spec import RobotSpec, load_robot
from esmaml_robot.signals import MAX_SLEW, Signals

F = np.float32

SPEC = RobotSpec.model_validate(
    {
        "format": 1,
        "name": "bot",
        "control_rate_hz": 50,
        "physics_rate_hz": 50,
        "episode": {"steps": 10, "reset": "self"},
        "watchdog": {"hold_ms": 100, "release_ms": 200},
        "sensors": [
            {
                "name": "angle",
                "unit": "rad",
                "source": "adc.0",
                "counts": [0, 1023],
                "scale": 0.00307,
                "offset": -1.57,
                "range": [-1.2, 1.4],
                "observed": True,
            },
            {
                "name": "light",
                "unit": "lx",
                "source": "adc.1",
                "counts": [-500, 4095],
                "scale": -0.25,
                "offset": 3.3,
                "range": [-1000, 130],
                "observed": False,
            },
            {
                "name": "tick",
                "unit": "m",
                "source": "enc.0",
                "counts": [0, 65535],
                "scale": 0.0001,
                "offset": 0.0,
                "range": [0.5, 6.0],
                "observed": True,
            },
        ],
        "actuators": [
            {
                "name": "servo",
                "unit": "rad",
                "sink": "servo.0",
                "counts": [500, 2500],
                "scale": 0.0011,
                "offset": -1.65,
                "range": [-1.0, 1.0],
                "rate_limit": 3.0,
                "hold": "last",
                "safe": 0.0,
            },
            {
                "name": "fan",
                "unit": "W",
                "sink": "pwm.0",
                "counts": [0, 255],
                "scale": -0.02,
                "offset": 5.1,
                "range": [0.1, 5.0],
                "rate_limit": 1e6,
                "hold": 1.0,
                "safe": 5.0,
            },
        ],
        "abort": [
            {"name": "tilt", "sensor": "angle", "allowed": [-1.0, 1.1]},
            {"name": "end", "sensor": "tick", "allowed": [0.0, 6.0]},
        ],
        "reward": {
            "terms": [
                {"kind": "constant", "weight": 0.7},
                {"kind": "linear", "sensor": "light", "weight": -0.013},
                {"kind": "square", "sensor": "angle", "weight": -2.1, "target": 0.1},
                {"kind": "progress", "sensor": "tick", "weight": 11.3},
                {"kind": "action_square", "actuator": "fan", "weight": -0.003},
                {"kind": "action_square", "actuator": "servo", "weight": -0.3},
            ],
            "after_abort": -1.0,
        },
    }
)
SIGNALS = Signals(SPEC)
SENSOR = st.integers(0, 2)
ACTUATOR = st.integers(0, 1)


def sensor_counts(i):
    return st.integers(*SPEC.sensors[i].counts)


ALL_SENSORS = st.tuples(*(sensor_counts(i) for i in range(3)))
ALL_ACTUATORS = st.tuples(st.integers(591, 2409), st.integers(5, 250))


def column(values, dtype):
    return np.array(values, dtype=dtype).reshape(-1, 1)


def si_of(i, count):
    """Counts to SI with float32 scalars."""
    s = SPEC.sensors[i]
    return F(F(count) * F(s.scale)) + F(s.offset)


def command_of(i, count):
    a = SPEC.actuators[i]
    return F(F(count) * F(a.scale)) + F(a.offset)


def clamp(x, low, high):
    return min(max(x, low), high)


def ends_of(i):
    a = SPEC.actuators[i]
    return sorted(round((v - a.offset) / a.scale) for v in a.range)


@given(ALL_SENSORS)
def test_to_si(counts):
    found = SIGNALS.to_si(column(counts, np.int32))
    assert found.dtype == np.float32
    assert found[:, 0].tolist() == [si_of(i, c) for i, c in enumerate(counts)]


@given(SENSOR, st.floats(-1e7, 1e7))
def test_quantise_gives_the_nearest_count_within_its_limits(i, value):
    sensor = SPEC.sensors[i]
    truth = np.zeros((3, 1))
    truth[i] = value
    found = SIGNALS.quantise(truth)
    assert found.dtype == np.int32
    wanted = (value - float(F(sensor.offset))) / float(F(sensor.scale))
    assert found[i, 0] == clamp(round(wanted), *sensor.counts)


@given(ALL_SENSORS)
def test_quantise_of_a_counts_own_value_is_that_count(counts):
    si = SIGNALS.to_si(column(counts, np.int32)).astype(np.float64)
    assert SIGNALS.quantise(si)[:, 0].tolist() == list(counts)


@given(ALL_SENSORS)
def test_observe_scales_the_observed_sensors_in_order(counts):
    si = SIGNALS.to_si(column(counts, np.int32))
    expected = []
    for i in (0, 2):
        low, high = SPEC.sensors[i].range
        centre, gain = F(0.5 * (low + high)), F(2.0 / (high - low))
        expected.append(clamp(F(F(si_of(i, counts[i]) - centre) * gain), F(-1), F(1)))
    found = SIGNALS.observe(si)
    assert found.dtype == np.float32
    assert found[:, 0].tolist() == expected


def test_observe_maps_the_ends_of_a_range_to_plus_and_minus_one():
    for i, row in ((0, 0), (2, 1)):
        for value, expected in zip(SPEC.sensors[i].range, (-1.0, 1.0), strict=True):
            si = np.zeros((3, 1), np.float32)
            si[i] = value
            assert abs(float(SIGNALS.observe(si)[row, 0]) - expected) < 1e-6


@given(st.tuples(*[st.floats(-1, 1, width=32)] * 2))
def test_to_counts(action):
    expected = []
    for i, a in enumerate(action):
        act = SPEC.actuators[i]
        low, high = act.range
        si = F(F(F(a) * F(0.5 * (high - low))) + F(0.5 * (low + high)))
        scaled = F(F(si - F(act.offset)) * F(1.0 / act.scale))
        rounded = math.trunc(float(F(scaled + F(math.copysign(0.5, scaled)))))
        expected.append(clamp(rounded, *ends_of(i)))
    found = SIGNALS.to_counts(column(action, np.float32))
    assert found.dtype == np.int32
    assert found[:, 0].tolist() == expected


def test_ends_and_centre_of_an_action_are_those_of_the_range():
    for value, place in ((-1.0, 0), (1.0, 1)):
        found = SIGNALS.to_counts(np.full((2, 1), value, np.float32))[:, 0]
        for i, act in enumerate(SPEC.actuators):
            assert found[i] == round((act.range[place] - act.offset) / act.scale)
    assert SIGNALS.actuator_low[:, 0].tolist() == [591, 5]
    assert SIGNALS.actuator_high[:, 0].tolist() == [2409, 250]


@given(ALL_ACTUATORS)
def test_commands_si(counts):
    found = SIGNALS.commands_si(column(counts, np.int32))
    assert found.dtype == np.float32
    assert found[:, 0].tolist() == [command_of(i, c) for i, c in enumerate(counts)]


@given(ALL_ACTUATORS, ALL_ACTUATORS)
def test_limit_moves_towards_the_wish_by_at_most_the_slew(counts, previous):
    slew = [54, MAX_SLEW]  # 3 rad/s / (0.0011 rad * 50 Hz) = 54.5; 1e6 / (0.02 * 50) = 1e6
    assert SIGNALS.slew[:, 0].tolist() == slew
    found = SIGNALS.limit(column(counts, np.int32), column(previous, np.int32))[:, 0].tolist()
    for wish, before, now, limit in zip(counts, previous, found, slew, strict=True):
        step = wish - before
        assert now == before + (min(step, limit) if step > 0 else max(step, -limit))


def test_safe_and_hold_in_counts():
    assert SIGNALS.safe[:, 0].tolist() == [1500, 5]
    assert SIGNALS.hold[:, 0].tolist() == [0, 205]
    assert SIGNALS.hold_last[:, 0].tolist() == [True, False]


@given(ALL_SENSORS, ALL_SENSORS, ALL_ACTUATORS)
@settings(max_examples=200)
def test_reward_sums_all_five_kinds_in_the_order_of_the_file(now, before, commands):
    light, angle = si_of(1, now[1]), si_of(0, now[0])
    tick, tick_before = si_of(2, now[2]), si_of(2, before[2])
    fan, servo = command_of(1, commands[1]), command_of(0, commands[0])
    error = F(angle - F(0.1))
    total = F(0)
    total = F(total + F(0.7))
    total = F(total + F(F(-0.013) * light))
    total = F(total + F(F(-2.1) * F(error * error)))
    total = F(total + F(F(11.3) * F(tick - tick_before)))
    total = F(total + F(F(-0.003) * F(fan * fan)))
    total = F(total + F(F(-0.3) * F(servo * servo)))
    si, previous = (SIGNALS.to_si(column(c, np.int32)) for c in (now, before))
    found = SIGNALS.reward(si, previous, column(commands, np.int32))
    assert found.dtype == np.float32
    assert found.tolist() == [total]


def test_each_kind_of_reward_alone_by_hand():
    now, before = column([1.0, 2.0, 5.0], np.float32), column([0.0, 0.0, 2.0], np.float32)
    commands = column([1500, 205], np.int32)  # 0 rad, 1 W
    kinds = {
        "constant": ({"weight": 2.5}, 2.5),
        "linear": ({"weight": 3.0, "sensor": "light"}, 6.0),
        "square": ({"weight": 2.0, "sensor": "tick", "target": 1.0}, 32.0),
        "progress": ({"weight": 4.0, "sensor": "tick"}, 12.0),
        "action_square": ({"weight": -5.0, "actuator": "fan"}, -5.0),
    }
    for kind, (fields, expected) in kinds.items():
        plain = SPEC.model_dump()
        plain["reward"]["terms"] = [{"kind": kind, **fields}]
        reward = Signals(RobotSpec.model_validate(plain)).reward(now, before, commands)
        assert abs(float(reward[0]) - expected) < 1e-5, kind


@given(ALL_SENSORS)
def test_aborted_where_a_sensor_is_outside_its_span(counts):
    angle, tick = si_of(0, counts[0]), si_of(2, counts[2])
    expected = not (F(-1.0) <= angle <= F(1.1)) or not (F(0.0) <= tick <= F(6.0))
    assert SIGNALS.aborted(SIGNALS.to_si(column(counts, np.int32))).tolist() == [expected]


def test_the_edge_of_an_allowed_span_is_inside():
    spec = load_robot("rover_uno")
    signals = Signals(spec)
    counts = np.array([[4500, 4501, -4500, -4501], [0, 0, 0, 0], [0, 0, 0, 0]], np.int32)
    assert signals.aborted(signals.to_si(counts)).tolist() == [False, True, False, True]


@given(st.lists(st.tuples(ALL_SENSORS, ALL_ACTUATORS), min_size=1, max_size=5))
def test_columns_do_not_influence_one_another(rows):
    counts = np.array([r[0] for r in rows], np.int32).T
    commands = np.array([r[1] for r in rows], np.int32).T
    si = SIGNALS.to_si(counts)
    previous = si[:, ::-1]
    whole = (
        SIGNALS.observe(si),
        SIGNALS.commands_si(commands),
        SIGNALS.reward(si, previous, commands)[None],
        SIGNALS.aborted(si)[None],
        SIGNALS.limit(commands, commands[:, ::-1]),
    )
    for b in range(len(rows)):
        one = slice(b, b + 1)
        s, p, c = si[:, one], previous[:, one], commands[:, one]
        alone = (
            SIGNALS.observe(s),
            SIGNALS.commands_si(c),
            SIGNALS.reward(s, p, c)[None],
            SIGNALS.aborted(s)[None],
            SIGNALS.limit(c, commands[:, ::-1][:, one]),
        )
        for together, single in zip(whole, alone, strict=True):
            np.testing.assert_array_equal(together[:, one], single)


def test_adjacent_observed_sensors_are_a_view_and_others_are_picked():
    rover = Signals(load_robot("rover_uno"))
    assert rover.observed == slice(0, 2)
    assert isinstance(SIGNALS.observed, np.ndarray)
    assert SIGNALS.observed.tolist() == [0, 2]
