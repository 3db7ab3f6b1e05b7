"""Gradients out of differences: against closed forms, and where regression pays."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from esmaml_robot.adaptation.decode import Decoder
from esmaml_robot.adaptation.es_gradient import ESGradient
from esmaml_robot.directions import directions


def rows_of(count, d, seed=0):
    return directions(np.arange(seed, seed + count, dtype=np.uint32), d).astype(np.float64)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize(("count", "d"), [(30, 4), (5, 20), (8, 8)])
@pytest.mark.parametrize("strength", [1e-3, 0.1, 10])
def test_ridge_is_the_solution_of_its_normal_equations(count, d, strength):
    rows, weights = rows_of(count, d), np.sin(np.arange(count)) + 0.3
    found = Decoder("ridge", strength).gradient(rows, weights, 0.25)
    expected = np.linalg.solve(rows.T @ rows / count + strength * np.eye(d), rows.T @ weights / count) / 0.25
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("count", "d"), [(40, 5), (12, 30)])
@pytest.mark.parametrize("strength", [0.05, 0.5])
def test_lasso_meets_its_optimality_conditions(count, d, strength):
    rows, weights = rows_of(count, d), np.cos(3 * np.arange(count))
    found = Decoder("lasso", strength).gradient(rows, weights, 0.5) * 0.5
    slope = rows.T @ (weights - rows @ found) / count
    penalty = strength * np.abs(rows.T @ weights / count).max()
    active = found != 0
    assert 0 < active.sum() < d or strength == 0.05
    np.testing.assert_allclose(slope[active], penalty * np.sign(found[active]), atol=1e-5)
    assert np.abs(slope[~active]).max(initial=0) <= penalty * (1 + 1e-5)


def test_lasso_finds_a_few_parameters_among_many_from_few_directions():
    slope = np.zeros(60)
    slope[[3, 17, 40]] = [2, -1, 1.5]
    rows = rows_of(30, 60)
    weights = rows @ slope * 0.1
    assert cosine(Decoder("lasso", 0.02).gradient(rows, weights, 0.1), slope) > 0.99
    assert cosine(Decoder("mc").gradient(rows, weights, 0.1), slope) < 0.8


def test_ridge_removes_the_spread_that_a_sum_has():
    slope = np.linspace(-1, 1, 6)
    rows = rows_of(10, 6)
    weights = rows @ slope * 0.1
    assert cosine(Decoder("ridge", 1e-3).gradient(rows, weights, 0.1), slope) > 0.9999
    assert cosine(Decoder("mc").gradient(rows, weights, 0.1), slope) < 0.97


def test_strong_ridge_points_where_the_sum_does():
    rows, weights = rows_of(10, 30), np.sin(np.arange(10))
    strong, summed = Decoder("ridge", 1e4).gradient(rows, weights, 1.0), Decoder("mc").gradient(rows, weights, 1.0)
    np.testing.assert_allclose(strong * 1e4, summed, rtol=1e-2)


@pytest.mark.parametrize("kind", ["mc", "ridge", "lasso"])
def test_scale_of_returns_and_of_sigma_do_not_turn_the_gradient(kind):
    rows, weights = rows_of(12, 9), np.sin(np.arange(12))
    once = Decoder(kind, 0.2).gradient(rows, weights, 0.1)
    np.testing.assert_allclose(Decoder(kind, 0.2).gradient(rows, 1000 * weights, 0.1), 1000 * once, rtol=1e-6)
    np.testing.assert_allclose(Decoder(kind, 0.2).gradient(rows, weights, 0.2), once / 2, rtol=1e-9)
    np.testing.assert_array_equal(Decoder(kind, 0.2).gradient(rows, np.zeros(12), 0.1), 0)


@pytest.mark.parametrize("kind", ["ridge", "lasso"])
def test_the_operator_uses_its_decoder(kind):
    slope = np.array([0, 3, 0, 0, -4, 0, 0])
    operator = ESGradient(40, 0.25, 1.0, "antithetic", normalise=False, decoder=Decoder(kind, 0.01))
    state = operator.start(np.zeros(7, np.float32), 1)
    asked = operator.ask(state)
    rows = directions(asked.seeds, 7) * asked.sigmas[:, None]
    state = operator.tell(state, (rows.astype(np.float64) @ slope).astype(np.float32))
    np.testing.assert_allclose(operator.gradient(state), slope, atol=0.15)
    summed = ESGradient(40, 0.25, 1.0, "antithetic", normalise=False).gradient(state)
    assert np.abs(summed - slope).max() > 0.5


_PROGRAM = """
import numpy as np
from esmaml_robot.adaptation.decode import Decoder
from esmaml_robot.directions import directions
rows = directions(np.arange(300, dtype=np.uint32), 400).astype(np.float64)
weights = np.sin(np.arange(300))
for kind in ("mc", "ridge", "lasso"):
    print(Decoder(kind).gradient(rows, weights, 0.1).tobytes().hex())
"""


def test_bits_do_not_depend_on_the_number_of_threads():
    outputs = []
    for threads in ("1", "2", "4"):
        environment = {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "PATH": ""}
        done = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] == outputs[2]
    assert len(outputs[0].split()) == 3
