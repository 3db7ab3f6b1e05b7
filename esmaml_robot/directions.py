"""Random numbers as functions of their place: a counter-based generator that C repeats bit for bit.

Nothing in this package keeps a generator. A number is a function of a seed, and a seed is folded out of another seed
and the place where it is needed (run seed, iteration, task, candidate, episode), so results do not depend on the
order of evaluation, on the number of workers, or on where a run was interrupted.

The bits come from Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
1, 2, 3", SC 2011): additions, rotations and exclusive-ors of 32-bit words, cheap on an 8-bit controller. A normal
deviate is the inverse distribution function, read from a table in integer arithmetic only and scaled by a power of
two, so that numpy, a PC, a Cortex-M and an AVR give the same float32 bits. The link then carries (seed, sigma)
in place of a vector. The C twin is firmware_export/runtime/directions.c; its table is generated from NORMAL_TABLE.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

U32 = npt.NDArray[np.uint32]
F32 = npt.NDArray[np.float32]

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA
_ROUNDS = 20
_MASK = 0xFFFFFFFF

#: Second key word of each use; keeps streams of one seed apart. DIRECTION is shared with the C runtime.
FOLD, DIRECTION, UNIFORM = 0x464F4C44, 0x44495245, 0x554E4946

# Inverse normal table. The 31 random magnitude bits u give p = (u + 1/2) / 2^32 in (0, 1/2). Each octave
# [2^-(k+2), 2^-(k+1)) of p, k = 0..OCTAVES-1, is cut into 16 equal cells; within a cell z is linear in p. The last
# octave reaches down to 2^-32. Values are unsigned with 13 fraction bits. The error of z is below 2.1e-4 for all but
# one draw in two million (the very tail, where 31 bits are few), far under what a test on a million draws can see.
OCTAVES = 31
CELLS = 16
TABLE_FRACTION_BITS = 13
#: A deviate is an integer multiple of 2^-21 with at most 24 bits, hence exact in float32.
OUTPUT_FRACTION_BITS = 21


def _make_table() -> U32:
    inverse = NormalDist().inv_cdf
    nodes = np.zeros((OCTAVES, CELLS + 1), dtype=np.uint32)
    for octave in range(OCTAVES):
        low = 2.0 ** -(octave + 2)
        for cell in range(CELLS + 1):
            z = -inverse(low * (1.0 + cell / CELLS))
            nodes[octave, cell] = round(z * 2**TABLE_FRACTION_BITS)
    return nodes


#: Shape (OCTAVES, CELLS + 1), uint16 range; row k, entry c is |z| at p = 2^-(k+2) (1 + c/16), 13 fraction bits.
NORMAL_TABLE: U32 = _make_table()


def threefry2x32(
    key: tuple[npt.ArrayLike, npt.ArrayLike], counter: tuple[npt.ArrayLike, npt.ArrayLike]
) -> tuple[U32, U32]:
    """Threefry-2x32-20 of broadcastable uint32 keys and counters; returns two uint32 arrays."""
    k0, k1 = (np.asarray(k, dtype=np.uint32) for k in key)
    ks = (k0, k1, k0 ^ k1 ^ np.uint32(_PARITY))
    x0, x1 = np.broadcast_arrays(*(np.asarray(c, dtype=np.uint32) for c in counter))
    x0, x1 = np.atleast_1d(x0) + ks[0], np.atleast_1d(x1) + ks[1]
    for r in range(_ROUNDS):
        n = np.uint32(_ROTATIONS[r % 8])
        x0 = x0 + x1
        x1 = (x1 << n) | (x1 >> np.uint32(32 - int(n)))
        x1 = x1 ^ x0
        if r % 4 == 3:
            j = r // 4 + 1
            x0 = x0 + ks[j % 3]
            x1 = x1 + ks[(j + 1) % 3] + np.uint32(j)
    return x0, x1


def _threefry_one(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """`threefry2x32` of plain integers: for a single block five times faster than arrays of one element."""
    ks = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    x0, x1 = (counter[0] + ks[0]) & _MASK, (counter[1] + ks[1]) & _MASK
    for r in range(_ROUNDS):
        n = _ROTATIONS[r % 8]
        x0 = (x0 + x1) & _MASK
        x1 = (((x1 << n) & _MASK) | (x1 >> (32 - n))) ^ x0
        if r % 4 == 3:
            j = r // 4 + 1
            x0 = (x0 + ks[j % 3]) & _MASK
            x1 = (x1 + ks[(j + 1) % 3] + j) & _MASK
    return x0, x1


def fold(seed: int, *places: int) -> int:
    """A new 32-bit seed out of `seed` and any number of non-negative integers that say where it is used."""
    for place in places:
        seed, _ = _threefry_one((seed & _MASK, FOLD), (place & _MASK, (place >> 32) & _MASK))
    return seed


def fold_many(seed: int, places: npt.ArrayLike) -> U32:
    """`fold(seed, place)` for an array of places, shape kept."""
    p = np.asarray(places, dtype=np.uint32)
    x0, _ = threefry2x32((seed & _MASK, FOLD), (p, np.zeros_like(p)))
    return x0.reshape(p.shape)


def _normal_from_bits(bits: U32) -> F32:
    magnitude = bits & np.uint32(0x7FFFFFFF)
    # position of the leading one: 31 - octave - 1; a magnitude of 0 is moved to 1 (probability 2^-31)
    magnitude = np.maximum(magnitude, np.uint32(1))
    _, exponent = np.frexp(magnitude.astype(np.float64))  # magnitude in [2^(e-1), 2^e): exact for 31 bits
    octave = (31 - exponent).astype(np.uint32)
    # left-align below the leading one: 30 bits, of which 4 choose the cell and the next 16 interpolate
    aligned = (magnitude << octave) & np.uint32(0x3FFFFFFF)
    cell = aligned >> np.uint32(26)
    part = (aligned >> np.uint32(10)) & np.uint32(0xFFFF)
    flat = NORMAL_TABLE.ravel()
    at = octave * np.uint32(CELLS + 1) + cell
    high, low = flat[at], flat[at + np.uint32(1)]
    z = (high << np.uint32(16)) - (high - low) * part  # 29 fraction bits
    value = (z >> np.uint32(29 - OUTPUT_FRACTION_BITS)).astype(np.float32) * np.float32(2.0**-OUTPUT_FRACTION_BITS)
    signed: F32 = np.where(bits >> np.uint32(31), -value, value).astype(np.float32)
    return signed


#: Seeds and rows of the last batch: whoever keeps one candidate out of many asks for its direction once more.
_last: tuple[U32, F32] = np.zeros(0, np.uint32), np.zeros((0, 0), np.float32)


def directions(seeds: npt.ArrayLike, dimension: int) -> F32:
    """Standard normal search directions, one row a seed.

    Args:
        seeds: uint32 seeds, shape (B,).
        dimension: d, the number of policy parameters.

    Returns:
        float32 array, shape (B, d). Deviate i of a row is word i % 2 of block i // 2 of the seed's stream, so a
        controller can make a direction element by element without storing it.
    """
    global _last
    s = np.asarray(seeds, dtype=np.uint32).reshape(-1, 1)
    if s.size == 1 and _last[1].shape[1] == dimension:
        found = np.flatnonzero(_last[0] == s)
        if found.size:
            return _last[1][found[:1]].copy()
    blocks = np.arange((dimension + 1) // 2, dtype=np.uint32).reshape(1, -1)
    x0, x1 = threefry2x32((s, np.uint32(DIRECTION)), (blocks, np.zeros_like(blocks)))
    bits = np.stack([x0, x1], axis=-1).reshape(s.shape[0], -1)[:, :dimension]
    rows = _normal_from_bits(bits)
    if s.size > 1:
        _last = s.ravel().copy(), rows.copy()
    return rows


def uniforms(seed: int, count: int) -> npt.NDArray[np.float64]:
    """`count` numbers in [0, 1), multiples of 2^-32, as a function of the seed."""
    words = [_threefry_one((seed & _MASK, UNIFORM), (block, 0))[0] for block in range(count)]
    return np.array(words, dtype=np.float64) * 2.0**-32


@lru_cache(maxsize=1)
def table_as_uint16() -> tuple[int, ...]:
    """NORMAL_TABLE flattened row by row, every entry below 2^16: what the C header carries."""
    flat = [int(v) for v in NORMAL_TABLE.ravel()]
    if max(flat) >= 2**16:
        raise AssertionError("the inverse normal table left its 16-bit range")
    return tuple(flat)
