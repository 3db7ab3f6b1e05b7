"""Laws of randomisation: spans, the split outside, discrete tasks in turn, and splits that share no task."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmaml_robot import directions
from esmaml_robot.errors import ConfigError
from sim.laws import Choice, Cycle, Uniform, draw_parameters

SPLITS = ("train", "validation", "test", "outside")
MASS = Uniform("mass", 1.0, 3.0, "kg", "of the base", outside=(3.0, 4.0))
SPEED = Uniform("speed", -0.5, 0.5, "m/s", "that pays")
GROUND = Choice("ground", (0.2, 0.5, 0.9), "1", "friction", outside=(0.05, 1.3))
LEG = Choice("leg", (1.0, 2.0), "1", "that is weak")
WAY = Cycle("way", (1.0, -1.0, 0.0), "1", "that pays")
LAWS = (MASS, WAY, SPEED, GROUND, LEG)


def draws(split, count=2000, laws=LAWS):
    found = [draw_parameters(laws, split, i) for i in range(count)]
    assert all(list(p) == [law.name for law in laws] for p in found)
    return {law.name: np.array([p[law.name] for p in found]) for law in laws}


@pytest.mark.parametrize("split", SPLITS[:3])
def test_within_the_range_of_training_every_law_keeps_to_it(split):
    found = draws(split)
    for law in (MASS, SPEED):
        values = found[law.name]
        width = law.high - law.low
        assert law.low <= values.min() < law.low + 0.01 * width
        assert law.high - 0.01 * width < values.max() <= law.high
        # of a uniform law: mean and spread, four standard errors
        assert abs(values.mean() - (law.low + law.high) / 2) < 4 * width / np.sqrt(12 * len(values))
        assert values.std() == pytest.approx(width / np.sqrt(12), rel=0.05)
    for law in (GROUND, LEG):
        share = [np.mean(found[law.name] == v) for v in law.values]
        assert sum(share) == pytest.approx(1)
        assert max(abs(s - 1 / len(law.values)) for s in share) < 4 * 0.5 / np.sqrt(2000)


def test_outside_is_beyond_training_where_a_law_declares_it_and_as_training_elsewhere():
    found = draws("outside")
    assert 3.0 <= found["mass"].min() < 3.01
    assert 3.99 < found["mass"].max() <= 4.0
    assert set(found["ground"]) == {0.05, 1.3}
    assert -0.5 <= found["speed"].min() < -0.49
    assert set(found["leg"]) == {1.0, 2.0}


@pytest.mark.parametrize("split", SPLITS)
def test_a_cycle_goes_round_by_task_number(split):
    np.testing.assert_array_equal(draws(split, 12)["way"], [1.0, -1.0, 0.0] * 4)


@pytest.mark.parametrize("split", SPLITS)
def test_a_cycle_takes_no_uniform_number(split):
    """Adding or dropping one leaves the others' draws as they were."""
    for index in (0, 1, 77, 2**32 - 1):
        with_cycles = draw_parameters(LAWS, split, index)
        without = draw_parameters([law for law in LAWS if law is not WAY], split, index)
        assert without == {k: v for k, v in with_cycles.items() if k != "way"}
    assert draw_parameters((WAY,), split, 4) == {"way": -1.0}


def test_uniform_numbers_are_taken_in_the_order_of_declaration():
    stream = directions.uniforms(directions.fold(5, 1), 2)
    found = draw_parameters((MASS, SPEED), "train", 5)
    assert found == {"mass": 1.0 + stream[0] * 2.0, "speed": -0.5 + stream[1] * 1.0}


@pytest.mark.parametrize("laws", [(SPEED,), (MASS, SPEED)])
def test_splits_share_no_task(laws):
    tasks = [tuple(draw_parameters(laws, split, index).values()) for split in SPLITS for index in (*range(1500), 2**31)]
    assert len(set(tasks)) == len(tasks)


@given(st.integers(0, 2**32 - 1), st.sampled_from(SPLITS))
def test_a_task_is_a_function_of_its_number_and_its_numbers_are_plain(index, split):
    found = draw_parameters(LAWS, split, index)
    assert found == draw_parameters(LAWS, split, index)
    assert all(type(v) is float for v in found.values())


@pytest.mark.parametrize("u", [0.0, 0.5, 1 - 2.0**-32])
def test_the_ends_of_the_generator_stay_in_the_span(u):
    assert 1.0 <= MASS.draw(u, False) <= 3.0
    assert 3.0 <= MASS.draw(u, True) <= 4.0
    assert GROUND.draw(u, False) in GROUND.values
    assert Choice("many", tuple(map(float, range(1000))), "1", "").draw(1 - 2.0**-32, False) == 999.0


def test_laws_describe_themselves():
    described = [(law.describe(), law.describe_outside()) for law in LAWS]
    assert described == [
        ("U(1, 3)", "U(3, 4)"),
        ("in turn 1, -1, 0", ""),
        ("U(-0.5, 0.5)", ""),
        ("one of 0.2, 0.5, 0.9", "one of 0.05, 1.3"),
        ("one of 1, 2", ""),
    ]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: Uniform("payload", 0.3, 0.0, "kg", ""),
            r"law 'payload': its range is \(0.3, 0.0\); .*lower one first",
        ),
        (lambda: Uniform("payload", 0.0, float("nan"), "kg", ""), "law 'payload': its range has nan"),
        (lambda: Uniform("payload", 0.0, "0.3", "kg", ""), "law 'payload': its range has '0.3'"),
        (lambda: Uniform("payload", 0.0, 0.3, "kg", "", outside=(0.6, 0.4)), r"`outside` is \(0.6, 0.4\)"),
        (lambda: Uniform("payload", 0.0, 0.3, "kg", "", outside=(0.4, float("inf"))), "`outside` has inf"),
        (lambda: Uniform("payload", 0.0, 0.3, "kg", "", outside=(0.4,)), "`outside` is .*give 2 or more numbers"),
        (lambda: Uniform("payload", 0.0, 0.3, "kg", "", outside=(0.4, 0.5, 0.6)), "`outside` is .*give two numbers"),
        (lambda: Choice("leg", (), "1", ""), r"law 'leg': the list of its values is \(\); give 1 or more"),
        (lambda: Choice("leg", (1.0,), "1", "", outside=()), r"law 'leg': `outside` is \(\)"),
        (lambda: Choice("leg", (1.0, float("nan")), "1", ""), "law 'leg': the list of its values has nan"),
        (lambda: Cycle("way", (), "1", ""), r"law 'way': the list of its values is \(\)"),
        (lambda: Cycle("way", (1.0), "1", ""), "law 'way': the list of its values is 1.0"),
        (lambda: Cycle("way", (float("-inf"),), "1", ""), "law 'way': the list of its values has -inf"),
    ],
)
def test_a_law_that_cannot_be_is_refused_when_it_is_made(make, says):
    with pytest.raises(ConfigError, match=says):
        make()


def test_a_parameter_that_does_not_vary_is_a_law():
    assert Uniform("payload", 0.3, 0.3, "kg", "").draw(0.7, False) == 0.3
    assert Cycle("way", [1], "1", "").at(5) == 1
