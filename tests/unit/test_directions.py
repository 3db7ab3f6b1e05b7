"""The counter-based generator: published bits, the distribution of its normals, and functions of place only."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmaml_robot import directions as d

SEED = st.integers(0, 2**32 - 1)


def words(arrays):
    return [int(a.ravel()[0]) for a in arrays]


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [  # known answers published with Random123 for threefry2x32, 20 rounds
        ((0, 0), (0, 0), [0x6B200159, 0x99BA4EFE]),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), [0x1CB996FC, 0xBB002BE7]),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), [0xC4923A9C, 0x483DF7A0]),
    ],
)
def test_threefry_gives_the_published_bits(key, counter, expected):
    assert words(d.threefry2x32(key, counter)) == expected


def threefry_by_hand(key, counter):
    """Threefry-2x32-20 in unbounded Python integers."""
    mask, rotations = 2**32 - 1, [13, 15, 26, 6, 17, 29, 16, 24]
    keys = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    a, b = (counter[0] + keys[0]) & mask, (counter[1] + keys[1]) & mask
    for r in range(20):
        a = (a + b) & mask
        n = rotations[r % 8]
        b = ((b << n | b >> (32 - n)) & mask) ^ a
        if r % 4 == 3:
            j = r // 4 + 1
            a, b = (a + keys[j % 3]) & mask, (b + keys[(j + 1) % 3] + j) & mask
    return [a, b]


@given(st.tuples(SEED, SEED), st.tuples(SEED, SEED))
def test_threefry_equals_integers_by_hand(key, counter):
    assert words(d.threefry2x32(key, counter)) == threefry_by_hand(key, counter)


@pytest.fixture(scope="module")
def million():
    return d.directions(np.arange(1000, dtype=np.uint32), 1000).ravel().astype(np.float64)


def test_moments_of_a_million_normals(million):
    n = million.size
    assert n == 10**6
    # four standard errors of each moment of a normal sample
    assert abs(million.mean()) < 4 / math.sqrt(n)
    assert abs(million.std() - 1) < 4 / math.sqrt(2 * n)
    assert abs((million**3).mean()) < 4 * math.sqrt(15 / n)
    assert abs((million**4).mean() - 3) < 4 * math.sqrt(96 / n)


def test_kolmogorov_smirnov_of_a_million_normals(million):
    ordered = np.sort(million)
    n = ordered.size
    cdf = np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in ordered])
    above = np.arange(1, n + 1) / n - cdf
    below = cdf - np.arange(n) / n
    assert max(above.max(), below.max()) < 1.628 / math.sqrt(n)  # critical value at 1 %


def test_neighbours_in_a_row_and_rows_are_uncorrelated(million):
    rows = million.reshape(1000, 1000)
    for a, b in [(rows[:, :-1], rows[:, 1:]), (rows[:-1], rows[1:]), (rows[:, ::2], rows[:, 1::2])]:
        assert abs((a * b).mean()) < 4 / math.sqrt(a.size)


def exact(bits):
    """|z| in float64 at the middle of the interval that 31 magnitude bits stand for."""
    return -NormalDist().inv_cdf((max(1, bits) + 0.5) / 2**32)


def test_table_error_is_as_documented():
    rng = np.random.default_rng(0)
    # two million consecutive draws would have one beyond; magnitudes from 2^10 up are all but 2^-21 of them
    plain = rng.integers(2**10, 2**31, 20_000, dtype=np.uint32)
    octaves = np.concatenate([rng.integers(2**e, 2 ** (e + 1), 500, dtype=np.uint32) for e in range(10, 31)])
    for bits in (plain, octaves):
        values = d._normal_from_bits(bits).astype(np.float64)
        error = np.abs(values - np.array([exact(int(b)) for b in bits]))
        assert error.max() < 2.1e-4
    worst = max(abs(float(d._normal_from_bits(np.array([b], np.uint32))[0]) - exact(b)) for b in range(2**10))
    assert worst < 0.5  # the very tail is coarse, but not wild


def test_deviates_are_monotone_symmetric_and_multiples_of_two_to_the_minus_21():
    bits = np.unique(np.random.default_rng(1).integers(1, 2**31, 50_000, dtype=np.uint32))
    values = d._normal_from_bits(bits)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_array_equal(d._normal_from_bits(bits | np.uint32(2**31)), -values)
    scaled = values.astype(np.float64) * 2**21
    np.testing.assert_array_equal(scaled, np.rint(scaled))
    assert scaled.max() < 2**24
    assert np.isfinite(d._normal_from_bits(np.array([0, 2**31, 2**32 - 1], np.uint32))).all()


@given(SEED, st.integers(1, 40), st.integers(1, 40))
def test_a_longer_direction_begins_with_the_shorter(seed, a, b):
    short, long = sorted((a, b))
    one, two = d.directions([seed], long), d.directions([seed], short)
    np.testing.assert_array_equal(one[:, :short], two)
    assert one.dtype == np.float32


def test_prefix_of_a_known_seed():
    np.testing.assert_array_equal(d.directions([7], 10)[:, :7], d.directions([7], 7))


@given(st.lists(SEED, min_size=1, max_size=6), st.integers(1, 9))
def test_rows_depend_on_their_own_seed_only(seeds, dimension):
    together = d.directions(seeds, dimension)
    assert together.shape == (len(seeds), dimension)
    for seed, row in zip(seeds, together, strict=True):
        np.testing.assert_array_equal(d.directions([seed], dimension)[0], row)


def test_a_deviate_is_a_word_of_the_block_that_the_docstring_names():
    row = d.directions([123], 5)[0]
    for i in range(5):
        word = threefry_by_hand((123, d.DIRECTION), (i // 2, 0))[i % 2]
        assert row[i] == d._normal_from_bits(np.array([word], np.uint32))[0]


@given(SEED, st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=8))
def test_fold_many_is_fold_of_each(seed, places):
    folded = d.fold_many(seed, places)
    assert folded.dtype == np.uint32
    assert folded.tolist() == [d.fold(seed, p) for p in places]
    square = d.fold_many(seed, np.array([places, places]))
    assert square.tolist() == [folded.tolist()] * 2


@given(SEED, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_fold_of_two_places_is_fold_of_fold(seed, a, b):
    assert d.fold(seed, a, b) == d.fold(d.fold(seed, a), b)
    assert d.fold(seed) == seed
    assert d.fold(seed, a) == threefry_by_hand((seed, d.FOLD), (a & 0xFFFFFFFF, a >> 32))[0]


def test_fold_tells_places_apart():
    seeds = {d.fold(s, p) for s in range(60) for p in range(60)}
    assert len(seeds) == 3600
    assert d.fold(1, 2**32) != d.fold(1, 0)
    assert d.fold(1, 2, 3) != d.fold(1, 3, 2)


def test_uniforms():
    values = d.uniforms(5, 100_000)
    assert values.min() >= 0
    assert values.max() < 1
    n = values.size
    assert abs(values.mean() - 0.5) < 4 / math.sqrt(12 * n)
    counts, _ = np.histogram(values, bins=100, range=(0, 1))
    chi_squared = float(((counts - n / 100) ** 2 / (n / 100)).sum())
    assert 61.1 < chi_squared < 149.4  # 99 degrees of freedom, 0.1 % on either side
    np.testing.assert_array_equal(values[:10], d.uniforms(5, 10))
    np.testing.assert_array_equal(values * 2**32, np.rint(values * 2**32))
    assert not np.array_equal(d.uniforms(6, 10), values[:10])


def test_streams_of_one_seed_differ():
    first = {threefry_by_hand((9, use), (0, 0))[0] for use in (d.FOLD, d.DIRECTION, d.UNIFORM)}
    assert len(first) == 3
    assert d.uniforms(9, 1)[0] * 2**32 == threefry_by_hand((9, d.UNIFORM), (0, 0))[0]


def test_the_table_fits_sixteen_bits():
    flat = d.table_as_uint16()
    assert len(flat) == 31 * 17
    assert max(flat) < 2**16
    assert flat[16] == round(-NormalDist().inv_cdf(0.5) * 2**13) == 0
