"""Search directions: each kind's rows are standard normal, and related as promised; the k-DPP sampler is exact."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esmaml_robot import dpp, search
from esmaml_robot.directions import directions, uniforms
from esmaml_robot.errors import ConfigError
from esmaml_robot.search import Search, candidate_seeds, orthogonal, sample_directions

KINDS = ("gaussian", "orthogonal", "dpp")
EVERY = pytest.mark.parametrize("kind", KINDS)


def units(rows):
    r = rows.astype(np.float64)
    return r / np.sqrt((r * r).sum(axis=1))[:, None]


def kolmogorov_smirnov(values):
    ordered = np.sort(np.asarray(values, np.float64).ravel())
    n = ordered.size
    cdf = np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in ordered])
    return max((np.arange(1, n + 1) / n - cdf).max(), (cdf - np.arange(n) / n).max()) * math.sqrt(n)


# --- all kinds


@EVERY
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 9), d=st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_directions_are_a_function_of_their_arguments(kind, seed, count, d):
    rows = sample_directions(kind, seed, count, d)
    assert rows.shape == (count, d)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    for function in vars(search).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
    assert sample_directions(kind, seed, count, d).tobytes() == rows.tobytes()
    assert sample_directions(kind, seed ^ 1, count, d).tobytes() != rows.tobytes()


@EVERY
def test_every_row_is_standard_normal_by_itself(kind):
    count, d, sets = 4, 4, 600
    drawn = np.stack([sample_directions(kind, seed, count, d, rho=3) for seed in range(sets)]).astype(np.float64)
    for row in range(count):  # the last rows are those that had most to give way
        values = drawn[:, row]
        assert kolmogorov_smirnov(values) < 1.95  # 0.1 % critical value
        squares = (values * values).sum(axis=1)
        assert abs(squares.mean() - d) < 4 * math.sqrt(2 * d / sets)
        covariance = values.T @ values / sets
        assert np.abs(covariance - np.eye(d)).max() < 4.5 * math.sqrt(2 / sets)


def test_gaussian_rows_are_those_that_a_controller_rebuilds():
    np.testing.assert_array_equal(sample_directions("gaussian", 9, 7, 11), directions(candidate_seeds(9, 7), 11))


@EVERY
def test_rows_that_have_seeds_are_rebuilt_from_them(kind):
    drawn = Search(kind, 4).draw(5, 6, 10)
    assert len(drawn.seeds) == len(set(drawn.seeds.tolist())) == 6
    if kind == "orthogonal":
        assert drawn.rows is not None
    else:
        assert drawn.rows is None
        np.testing.assert_array_equal(drawn.matrix(10), directions(drawn.seeds, 10))
    np.testing.assert_array_equal(drawn.matrix(10), sample_directions(kind, 5, 6, 10, rho=4))
    for shared in (drawn.seeds, drawn.rows):
        assert shared is None or not shared.flags.writeable


def test_an_unknown_kind_is_named():
    with pytest.raises(ConfigError, match="no search directions 'halton': known are gaussian, orthogonal, dpp"):
        sample_directions("halton", 1, 2, 3)


_PROGRAM = """
from esmaml_robot.search import sample_directions
for kind in ("gaussian", "orthogonal", "dpp"):
    print(sample_directions(kind, 3, 30, 150).tobytes().hex())
"""


def test_bits_do_not_depend_on_the_number_of_threads():
    outputs = []
    for threads in ("1", "2", "4"):
        environment = {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "PATH": ""}
        done = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] == outputs[2]


# --- orthogonal


@pytest.mark.parametrize(("count", "d"), [(1, 5), (5, 5), (3, 200), (13, 5), (7, 1), (60, 42)])
def test_rows_of_a_block_are_at_right_angles_and_keep_their_lengths(count, d):
    rows, plain = sample_directions("orthogonal", 2, count, d), sample_directions("gaussian", 2, count, d)
    for begin in range(0, count, d):
        block = units(rows[begin : begin + d])
        assert np.abs(block @ block.T - np.eye(len(block))).max() < 1e-6
        np.testing.assert_allclose(rows[begin], plain[begin], rtol=1e-6)  # nothing to give way to
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.linalg.norm(plain, axis=1), rtol=1e-6)


def test_lengths_say_nothing_about_other_rows():
    # chi_d lengths, independent within a set: |r|^2 uncorrelated between rows
    squares = np.stack([(sample_directions("orthogonal", s, 3, 3).astype(float) ** 2).sum(axis=1) for s in range(4000)])
    correlation = np.corrcoef(squares.T)
    assert np.abs(correlation - np.eye(3)).max() < 4 / math.sqrt(4000)


def test_blocks_are_turned_block_by_block():
    drawn = Search("orthogonal").draw(4, 10, 6, block=4)
    for begin, end in ((0, 4), (4, 8), (8, 10)):
        block = units(drawn.rows[begin:end])
        assert np.abs(block @ block.T - np.eye(end - begin)).max() < 1e-6
    across = units(drawn.rows)[:4] @ units(drawn.rows)[4:8].T
    assert np.abs(across).max() > 0.1


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5), (1, 4), (40, 60)])
def test_gram_schmidt(shape):
    matrix = np.random.default_rng(1).standard_normal(shape)
    kept = matrix.copy()
    found = orthogonal(matrix)
    np.testing.assert_array_equal(matrix, kept)
    short = min(shape)
    gram = found @ found.T if shape[0] <= shape[1] else found.T @ found
    np.testing.assert_allclose(gram, np.eye(short), atol=1e-12)
    # the same span: projecting the matrix on it changes nothing
    projected = matrix @ found.T @ found if shape[0] <= shape[1] else found @ found.T @ matrix
    np.testing.assert_allclose(projected, matrix, atol=1e-12)


# --- k-DPP


def positive_definite(n, rank, seed=0):
    factor = np.random.default_rng(seed).standard_normal((n, rank))
    return factor @ factor.T + 1e-3 * np.eye(n)


@pytest.mark.parametrize(
    "kernel",
    [
        np.array([[2.5]]),
        positive_definite(2, 1),
        positive_definite(3, 3),
        positive_definite(8, 3),
        positive_definite(51, 60),
        np.eye(6) * 3,
        np.ones((9, 9)) + 1e-3 * np.eye(9),
        np.diag(np.geomspace(1e-6, 1e6, 12)),
    ],
    ids=["1", "2", "3", "degenerate", "odd", "multiple of the identity", "one direction", "wide"],
)
def test_eigenvectors(kernel):
    values, vectors = dpp.eigen(kernel)
    np.testing.assert_allclose(np.sort(values), np.linalg.eigvalsh(kernel), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(len(kernel)), atol=1e-10)
    np.testing.assert_allclose((vectors.T * values) @ vectors, kernel, rtol=1e-9, atol=1e-9 * kernel.max())


@pytest.mark.parametrize("k", [1, 2, 4])
def test_sets_come_with_probability_proportional_to_their_determinant(k):
    n, draws = 5, 1500
    scale = np.linspace(0.6, 1.4, n)  # single items differ in weight, too
    kernel = positive_definite(n, 3, seed=4) * np.outer(scale, scale)
    sets = list(itertools.combinations(range(n), k))
    weights = np.array([np.linalg.det(kernel[np.ix_(s, s)]) for s in sets])
    expected = draws * weights / weights.sum()
    found = dict.fromkeys(sets, 0)
    for seed in range(draws):
        found[tuple(dpp.k_dpp(kernel, k, uniforms(seed, n + k)).tolist())] += 1
    counts = np.array([found[s] for s in sets])
    seen = expected > 5
    chi_squared = float(((counts - expected)[seen] ** 2 / expected[seen]).sum())
    freedom = int(seen.sum()) - 1
    assert freedom >= 3
    assert chi_squared < freedom + 4 * math.sqrt(2 * freedom)
    uniform = draws / len(sets)
    assert float(((counts - uniform) ** 2 / uniform).sum()) > 10 * freedom


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_as_many_different_items_as_asked_for(seed, count, d):
    n = count + seed % 20
    kernel = dpp.direction_kernel(directions(np.arange(n, dtype=np.uint32), d))
    chosen = dpp.k_dpp(kernel, count, uniforms(seed, n + count))
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == count
    assert 0 <= chosen.min() <= chosen.max() < n


def test_polynomials_that_leave_the_range_of_floats_do_no_harm():
    values = np.geomspace(1e-8, 1e8, 400)  # e_200 is about 10^1000
    chosen = dpp._choose_vectors(values, 200, uniforms(1, 400))
    assert len(set(chosen.tolist())) == 200
    assert chosen.mean() > 290  # the large ones


def exact_and_uniform_overlap(d, n, k, sets):
    """Expected sum of cos^2 over pairs of a k-DPP's set, given each choice of eigenvectors, and of a uniform set."""
    rows = directions(candidate_seeds(1, n), d)
    cosines = units(rows) @ units(rows).T
    squared = cosines**2 - np.eye(n)
    values, vectors = dpp.eigen(dpp.direction_kernel(rows))
    overlaps = []
    for seed in range(sets):
        v = vectors[dpp._choose_vectors(values, k, uniforms(seed, n))]
        marginal = v.T @ v
        pairs = np.outer(np.diag(marginal), np.diag(marginal)) - marginal**2
        overlaps.append((squared * pairs).sum() / 2)
    uniform = squared.sum() / 2 * k * (k - 1) / (n * (n - 1))
    return np.array(overlaps), uniform


@pytest.mark.parametrize(("d", "n", "k"), [(6, 60, 12), (42, 100, 20), (200, 150, 60)])
def test_chosen_directions_overlap_less_than_uniform_ones(d, n, k):
    overlaps, uniform = exact_and_uniform_overlap(d, n, k, sets=150)
    error = overlaps.std(ddof=1) / math.sqrt(len(overlaps))
    assert overlaps.mean() + 4 * error < uniform


def test_a_few_dpp_directions_of_few_parameters_differ_more_than_gaussian_ones():
    def volume(kind, seed):
        return np.linalg.slogdet(dpp.direction_kernel(sample_directions(kind, seed, 4, 6)))[1]

    chosen, plain = (np.array([volume(kind, seed) for seed in range(300)]) for kind in ("dpp", "gaussian"))
    error = math.sqrt(chosen.var() / 300 + plain.var() / 300)
    assert chosen.mean() - plain.mean() > 4 * error
